//! A home, a gateway process, the command line, an upstream that speaks TLS, and skills that misbehave.
//!
//! Everything is real: processes, sockets, files. What a test starts it also ends, by its process id.

mod chance;
mod cli;
mod crowd;
mod gateway;
mod guest;
mod home;
mod host_calls;
mod http;
mod mount;
mod packages;
mod paste;
mod process;
mod provider;
mod sinks;
mod tenant;
mod upstream;
mod wasi_http;

pub(crate) use chance::Chance;
pub(crate) use cli::{Cli, Finished};
pub(crate) use crowd::Crowd;
pub(crate) use gateway::{Gateway, Key, Launch};
pub(crate) use guest::{Behaviour, Exchange, Guest, Request};
pub(crate) use home::Home;
pub(crate) use http::{Answer, Client};
pub(crate) use mount::{Access, Mount};
pub(crate) use packages::{Publisher, Signed, demo_publisher, example, files};
pub(crate) use paste::{edit, hints, paste};
pub(crate) use process::{command, root, setting, sophon, target};
pub(crate) use provider::{Provider, browse, open};
pub(crate) use sinks::{Collector, Sink};
pub(crate) use tenant::Tenant;
pub(crate) use upstream::{Hold, Reply, Upstream};
