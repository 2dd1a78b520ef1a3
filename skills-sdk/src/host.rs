//! The imports of a skill. In a guest they are the host's; on the author's machine, where there is none, they are
//! answered by [`testing::Host`](crate::testing::Host).

#[cfg(target_family = "wasm")]
pub(crate) use crate::bindings::sophon::skill::{credentials, http, log, progress, settings, state, workspace};

#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::testing::imports::{credentials, http, log, progress, settings, state, workspace};
