//! What the fuzz targets share: taking an input apart, a home whose network is in memory, and second opinions.
//!
//! A target asserts what the house promises, not only that nothing panics. What decides is never the code under test:
//! each promise is checked by means of another kind (the `url` and `zip` crates, a hand-written reading of the wire).

#![expect(clippy::unwrap_used, reason = "what cannot be set up, or is not as promised, has to end the run")]

mod forge;
mod home;
mod input;
mod world;

pub use forge::{FORGED_KEYS, component, identity, package_files};
pub use home::{Counter, Fixed, Home, name};
pub use input::Input;
pub use world::{Cables, Heard, TOKEN, World, manifest_of};
