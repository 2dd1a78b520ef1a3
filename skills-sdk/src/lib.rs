//! Write skills for Sophon Host: plain functions that an AI agent may call, in a sandbox that reaches only what a person
//! granted.
//!
//! # A complete skill
//!
//! `Cargo.toml` makes a `cdylib` (see `examples/` for the release profile that keeps it small); `src/lib.rs` is
//!
//! ```
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//! use sophon_sdk::{Result, http, tool};
//!
//! #[derive(Serialize, Deserialize, JsonSchema)]
//! struct Issue {
//!     /// The number, as in `#12`.
//!     number: u64,
//!     title: String,
//! }
//!
//! /// Lists the open issues of a repository, newest first.
//! #[tool(risk = "low")]
//! fn list_issues(
//!     /// The repository's owner.
//!     owner: String,
//!     /// The repository's name.
//!     repo: String,
//!     /// How many at most.
//!     #[schemars(range(min = 1, max = 100))]
//!     #[arg(default = 20)]
//!     limit: u32,
//! ) -> Result<Vec<Issue>> {
//!     let issues = http::get("https://api.github.com")
//!         .path(["repos", &owner, &repo, "issues"])
//!         .query("per_page", limit)
//!         .credential("github")
//!         .send()?
//!         .error_for_status()?
//!         .json()?;
//!     Ok(issues)
//! }
//!
//! sophon_sdk::skill!(list_issues);
//! ```
//!
//! and `manifest.json` names the skill and what it wants to reach; `sophon build` fills in the tools, with the JSON
//! Schemas of their parameters and results, from the code.
//!
//! # A tour
//!
//! * [`tool`](macro@tool) makes a function a tool; [`skill!`] lists the tools of the skill.
//! * [`ToolError`], [`OrFail`], [`bail!`] and [`ensure!`]: how a tool fails so that the agent knows what to do next.
//! * [`http`]: requests, with credentials that are named and never held; [`credentials`] says what is connected.
//! * [`state`]: what lasts from one call to the next. [`workspace`]: files for one call.
//! * [`settings`], [`log`], [`progress`], [`context`]: the rest of what the host offers.
//! * [`describe`]: how `sophon build` learns what the tools are.
//!
//! A skill imports only what it uses: a tool that only computes gets a component that can do nothing else.
//!
//! # Tests
//!
//! On your own machine the crate is an ordinary library, and `cargo test` runs ordinary tests of your functions;
//! `testing::Host` stands in for the host where a function needs one. `sophon test` runs the built skill in the real
//! sandbox, with recorded exchanges (`examples/README.md` has the format).

pub mod context;
pub mod credentials;
pub mod http;
pub mod log;
pub mod progress;
pub mod settings;
pub mod state;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
pub mod workspace;

#[doc(hidden)]
pub mod bindings;
pub mod describe;
mod error;
mod host;
mod tool;

pub use crate::error::{ErrorKind, OrFail, Result, ToolError};
pub use schemars;
pub use serde;
pub use serde_json;
pub use sophon_sdk_macros::{skill, tool};

/// What the macros write; not for use by hand, and free to change.
#[doc(hidden)]
pub mod __private {
    pub use crate::bindings;
    pub use crate::bindings::export_tools;
    pub use crate::bindings::exports::sophon::skill::tools::{CallContext, Guest, ToolError as WitToolError};
    pub use crate::describe::{describe, describe_json, description, gives, takes};
    pub use crate::tool::{
        Argument, Entry, Failure, Fallible, Outcome, Tool, argument, dispatch, finish, is_new, read, write,
    };
    pub use serde_json::Value;
}
