//! The macros of the Sophon SDK. Use them through `sophon-sdk`, which re-exports them.
//!
//! Promise: what is written wrong is complained about where it stands, all of it at once, with what to write instead
//! (`skills-sdk/tests/ui` has every complaint).

mod errors;
mod options;
mod skill;
mod tool;
mod types;

use proc_macro::TokenStream;

/// Makes a function a tool of a skill.
///
/// ```text
/// /// Counts the words of a text.
/// #[tool(risk = "none")]
/// fn count_words(
///     /// The text.
///     text: String,
///     /// Count only words of at least this many letters.
///     min_letters: Option<u32>,
/// ) -> usize { … }
/// ```
///
/// * The function's **doc comment** is the description that the agent reads; a tool without one does not compile.
/// * The **parameters** become the properties of the arguments object. Their doc comments become the descriptions in
///   its JSON Schema. Types own their data (`String`, not `&str`) and derive `serde::Deserialize` and
///   `schemars::JsonSchema`. An `Option` may be left out. Properties that the tool does not have are refused.
/// * Any `#[serde(..)]` or `#[schemars(..)]` attribute of a field works on a parameter:
///   `#[serde(rename = "type")] kind: Kind`, `#[schemars(range(min = 1, max = 100))] limit: u32`.
///   `#[arg(default = 20)]` gives it a value where it is left out.
/// * Instead, **one** parameter marked `#[args]` takes the whole arguments object as a struct of yours.
/// * The **result** is any type with `serde::Serialize` and `schemars::JsonSchema`, or a `Result` of one whose error
///   converts to `sophon_sdk::ToolError` (every standard error does). A type whose last name is `Result` is taken for
///   one, whatever its crate.
///
/// The function itself stays as it is, for unit tests and other callers.
///
/// # Options
///
/// | | |
/// |---|---|
/// | `risk = "none"` | required: `none`, `low`, `medium`, `high` or `critical` |
/// | `effects = ["delete"]` | what the tool does to the world: `delete`, `email`, `message`, `payment`, `publish`, `shell`; each raises the least risk |
/// | `editable` | a person who approves the call may edit its arguments |
/// | `name = "list"` | the tool's name, in place of the function's |
#[proc_macro_attribute]
pub fn tool(options: TokenStream, item: TokenStream) -> TokenStream {
    tool::expand(options.into(), item.into()).into()
}

/// Makes the functions with [`#[tool]`](macro@tool) the tools of this skill. Write it once, in `lib.rs`.
///
/// ```text
/// sophon_sdk::skill!(add, text::upper);
///
/// /// Adds two numbers.
/// #[tool(risk = "none")]
/// fn add(a: i32, b: i32) -> Option<i32> { … }
///
/// mod text {
///     /// Makes a text upper case.
///     #[sophon_sdk::tool(risk = "none")]
///     pub fn upper(text: String) -> String { … }
/// }
/// ```
///
/// A tool that is not in the list is not part of the skill; the compiler then says that the function is never used.
/// Two tools of one name do not compile, and neither does a function without `#[tool]` (`constant provided when a type was
/// expected`, with the function's name: write `#[sophon_sdk::tool(risk = "none")]` above it).
#[proc_macro]
pub fn skill(tools: TokenStream) -> TokenStream {
    skill::expand(tools.into()).into()
}
