//! What the host and the first process of a native skill's sandbox say to each other.
//!
//! One pair of pipes (the container's standard input and output) carries [`Frame`]s: the skill's own input and output,
//! and the connections that it makes to the loopback forwarder. The program `sophon-init` (`src/main.rs`) is the end
//! inside; `host/sandbox` is the other.
//!
//! Promise: no I/O here. A [`Decoder`] never keeps more than one frame of the size that it was told, whoever writes:
//! the end inside is the skill's neighbour, and nothing that comes from it is trusted.

mod frame;

pub use frame::{Decoder, Frame, Garbage, Kind, encode};

/// The version of this protocol; an image of another is refused.
pub const PROTOCOL: u8 = 2;

/// Where the forwarder listens inside the sandbox.
pub const FORWARDER: &str = "127.0.0.1:3128";

/// Bytes of a frame that goes to the host.
pub const MOST_OUT: usize = 64 << 10;

/// Bytes of a frame that comes from the host.
pub const MOST_IN: usize = 32 << 20;
