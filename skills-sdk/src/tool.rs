//! What `#[tool]` makes of a function, and how a call reaches it: arguments from JSON, the function, its result to JSON.

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::bindings::exports::sophon::skill::tools::CallContext;
use crate::context;
use crate::error::{ErrorKind, Result, ToolError};

/// A function with `#[tool]` on it. Implemented by that attribute only.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a tool",
    label = "not a tool",
    note = "write `#[sophon_sdk::tool(risk = \"none\")]` above the function"
)]
pub trait Tool {
    /// The name in the manifest.
    const NAME: &'static str;
    /// The function's doc comment.
    const DESCRIPTION: &'static str;
    /// `none`, `low`, `medium`, `high` or `critical`.
    const RISK: &'static str;
    /// What the tool does to the world, such as `delete`.
    const EFFECTS: &'static [&'static str];
    /// Whether a person may edit the arguments before approving.
    const EDITABLE: bool;

    /// Runs the function: arguments and result as JSON.
    fn call(arguments: &str) -> Result<String>;
    /// The JSON Schema of the arguments.
    fn parameters() -> Value;
    /// The JSON Schema of the result.
    fn returns() -> Value;
}

/// What a tool can take. Implemented by what is read from JSON and has a JSON Schema.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a parameter of a tool",
    label = "it is not read from JSON, or has no JSON Schema",
    note = "write `#[derive(serde::Deserialize, schemars::JsonSchema)]` above `{Self}`, or take a type that has both"
)]
pub trait Argument: DeserializeOwned + JsonSchema {}

#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned + JsonSchema> Argument for T {}

/// Checks that a type can be taken, where it stands in the tool's parameters.
pub const fn argument<T: Argument>() {}

/// What a tool can give back. Implemented by what is written as JSON and has a JSON Schema.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of a tool",
    label = "it is not written as JSON, or has no JSON Schema",
    note = "write `#[derive(serde::Serialize, schemars::JsonSchema)]` above `{Self}`, or return a type that has both"
)]
pub trait Outcome: Serialize + JsonSchema {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + JsonSchema> Outcome for T {}

/// What a tool can fail with. Implemented by what converts to a [`ToolError`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of a tool",
    label = "it does not convert to `sophon_sdk::ToolError`",
    note = "return `sophon_sdk::Result<..>`, or implement `std::error::Error` for `{Self}`"
)]
pub trait Failure: Into<ToolError> {}

#[diagnostic::do_not_recommend]
impl<E: Into<ToolError>> Failure for E {}

/// The success type of a tool that returns a `Result`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a `Result`",
    note = "a tool returns a value, or a `Result` whose error converts to `sophon_sdk::ToolError`"
)]
pub trait Fallible {
    /// The value.
    type Value;
}

impl<T, E> Fallible for std::result::Result<T, E> {
    type Value = T;
}

/// The result of a tool with the error that the contract knows.
pub fn finish<T, E: Failure>(result: std::result::Result<T, E>) -> Result<T> {
    result.map_err(Into::into)
}

/// One row of the dispatch table.
#[derive(Clone, Copy)]
pub struct Entry {
    pub(crate) name: &'static str,
    pub(crate) call: fn(&str) -> Result<String>,
}

impl Entry {
    /// The row of a tool.
    pub const fn of<T: Tool>() -> Self {
        Self { name: T::NAME, call: T::call }
    }
}

/// The arguments of a tool from JSON.
pub fn read<A: Argument>(name: &str, arguments: &str) -> Result<A> {
    serde_json::from_str(arguments)
        .map_err(|error| ToolError::invalid_arguments(format_args!("{name}: the arguments do not fit: {error}")))
}

/// The result of a tool to JSON.
pub fn write<T: Outcome>(name: &str, result: T) -> Result<String> {
    serde_json::to_string(&result)
        .map_err(|error| ToolError::failed(format_args!("{name}: the result is not JSON: {error}")))
}

/// Runs one of `tools`, as the host asked for it.
pub fn dispatch(
    tools: &[Entry],
    name: &str,
    arguments: &str,
    from: CallContext,
) -> std::result::Result<String, crate::bindings::exports::sophon::skill::tools::ToolError> {
    context::enter(from);
    let called = match tools.iter().find(|tool| tool.name == name) {
        Some(tool) => (tool.call)(arguments),
        None => Err(ToolError::new(ErrorKind::UnknownTool, name)),
    };
    called.map_err(ToolError::into_wit)
}

/// Whether no tool before the one at `index` has its name; evaluated while the skill is compiled.
pub const fn is_new(tools: &[Entry], index: usize) -> bool {
    let mut before = 0;
    while before < index {
        if same(tools[before].name.as_bytes(), tools[index].name.as_bytes()) {
            return false;
        }
        before += 1;
    }
    true
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}
