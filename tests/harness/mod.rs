//! A home, a gateway process, the command line, an upstream that speaks TLS, and skills that misbehave.
//!
//! Everything is real: processes, sockets, files. What a test starts it also ends, by its process id.

mod cli;
mod crowd;
mod gateway;
mod guest;
mod home;
mod host_calls;
mod http;
mod packages;
mod process;
mod tenant;
mod upstream;
mod wasi_http;

pub(crate) use cli::Cli;
pub(crate) use crowd::Crowd;
pub(crate) use gateway::{Gateway, Key};
pub(crate) use guest::{Behaviour, Exchange, Guest, Request};
pub(crate) use home::Home;
pub(crate) use http::Answer;
pub(crate) use packages::{Publisher, Signed, demo_publisher, example, files};
pub(crate) use process::{command, root, target};
pub(crate) use tenant::Tenant;
pub(crate) use upstream::{Hold, Reply, Upstream};
