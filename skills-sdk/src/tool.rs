//! What `#[tool]` makes of a function, and how a call reaches it: arguments from JSON, the function, its result to JSON.

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
pub fn finish<T, E: Into<ToolError>>(result: std::result::Result<T, E>) -> Result<T> {
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

/// The way of a call through a tool: arguments from JSON, the function, its result to JSON.
pub fn call<A, T>(name: &str, arguments: &str, run: fn(A) -> Result<T>) -> Result<String>
where
    A: DeserializeOwned,
    T: Serialize,
{
    let arguments = serde_json::from_str(arguments)
        .map_err(|error| ToolError::invalid_arguments(format_args!("{name}: the arguments do not fit: {error}")))?;
    serde_json::to_string(&run(arguments)?)
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

/// Whether all names differ; evaluated while the skill is compiled.
pub const fn all_differ(tools: &[Entry]) -> bool {
    let mut i = 0;
    while i < tools.len() {
        let mut j = i + 1;
        while j < tools.len() {
            if same(tools[i].name.as_bytes(), tools[j].name.as_bytes()) {
                return false;
            }
            j += 1;
        }
        i += 1;
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

/// Makes the functions with [`#[tool]`](crate::tool) the tools of this skill. Write it once, in `lib.rs`.
///
/// ```
/// use sophon_sdk::tool;
///
/// sophon_sdk::skill!(add, text::upper);
///
/// /// Adds two numbers.
/// #[tool(risk = "none")]
/// fn add(a: i32, b: i32) -> Option<i32> {
///     a.checked_add(b)
/// }
///
/// mod text {
///     /// Makes a text upper case.
///     #[sophon_sdk::tool(risk = "none")]
///     pub fn upper(text: String) -> String {
///         text.to_uppercase()
///     }
/// }
/// # fn main() {}
/// ```
///
/// A tool that is not in the list is not part of the skill; the compiler then says that the function is never used.
/// Two tools of one name do not compile, and neither does a function without `#[tool]` (`a type was expected`).
#[macro_export]
macro_rules! skill {
    () => {
        ::core::compile_error!("a skill has at least one tool: sophon_sdk::skill!(my_tool);");
    };
    ($($tool:ty),+ $(,)?) => {
        const _: () = {
            const TOOLS: &[$crate::__private::Entry] = &[$($crate::__private::Entry::of::<$tool>()),+];

            ::core::assert!(
                $crate::__private::all_differ(TOOLS),
                "two tools of this skill have the same name; give one another with #[tool(name = \"..\")]"
            );

            struct Skill;

            impl $crate::__private::Guest for Skill {
                fn call_tool(
                    name: ::std::string::String,
                    arguments: ::std::string::String,
                    context: $crate::__private::CallContext,
                ) -> ::core::result::Result<::std::string::String, $crate::__private::WitToolError> {
                    $crate::__private::dispatch(TOOLS, &name, &arguments, context)
                }
            }

            // Only a guest exports these: on the author's machine the crate is an ordinary library with tests.
            #[cfg(target_family = "wasm")]
            $crate::__private::export_tools!(Skill with_types_in $crate::__private::bindings);

            #[cfg(target_family = "wasm")]
            #[unsafe(export_name = "sophon_describe_v1")]
            extern "C" fn describe() -> u64 {
                // What only a build needs is a third of a small skill; see `sophon_sdk::describe`.
                if ::core::option_env!("SOPHON_DESCRIBE").is_none() {
                    $crate::__private::describe(&[$($crate::__private::description::<$tool>),+])
                } else {
                    0
                }
            }
        };
    };
}
