//! Native skills in real sandboxes: an engine and gVisor, as `scripts/test` starts them.
//!
//! Where there is no engine these tests do nothing, and `scripts/test` names every one of them.

mod component;
mod hostile;
mod lab;
mod leftovers;
mod ordinary;
mod presets;
mod refused;
mod warm;

use super::*;
use crate::SandboxError;
use lab::*;
