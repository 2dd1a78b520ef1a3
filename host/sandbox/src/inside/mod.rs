//! The WebAssembly executor inside a sandbox: the same one as in the host's process, its doors on the other side of a pipe.
//!
//! The host starts its own program in a container ([`component_worker`]) and hands it one component and one call. What
//! the component asks for is put to the host, message by message; the host answers through the doors of that call and
//! within its limits, which it keeps itself: what comes from inside is not trusted.

mod doors;
mod wire;
mod worker;

pub(crate) use wire::{Answer, Ask, Begin, Done, FromInside, Head, Messages, Reply, Service, StateAsk, encode};
pub use worker::component_worker;
