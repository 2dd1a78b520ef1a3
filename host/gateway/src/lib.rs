//! The HTTP edge of the house: authentication, limits, and the routes under `/v1`.
//!
//! Promises: a request passes the check of its names, its key, its role and its rate before any handler sees it, and a
//! route that is not in the one table of routes does not exist; every error leaves as an RFC 9457 problem with a
//! correlation id; JSON shapes and HTTP status codes are known here and nowhere else. Never: a decision about what a
//! skill may do, or a secret in an answer, a log line or a metric (an API key is shown once, to whoever made it).
//!
//! - [`Gateway::new`] takes the [`GatewayParts`] that it stands on; [`Gateway::router`] is all of it without a socket,
//!   [`Gateway::serve`] with one.
//! - [`GatewayConfig`] and [`RateLimits`]: what an operator may set.
//! - [`OperatorToken`] and [`RunFile`]: how the person at the machine speaks to the gateway of their home; a
//!   [`Challenge`] tells them first that it is that gateway. [`write_whole`] writes such files.
//! - [`GatewayError`]: what the gateway itself refuses.

mod admission;
mod auth;
mod budgets;
mod config;
mod connections;
mod correlation;
mod counter;
mod error;
mod extract;
#[cfg(test)]
mod fixtures;
mod frame;
mod gateway;
mod held;
mod key;
mod limit;
mod metrics;
mod openapi;
mod operator;
mod origin;
mod page;
mod passes;
mod peer;
mod places;
mod problem;
mod readiness;
mod reading;
mod refusals;
mod reload;
mod routes;
mod server;
mod shares;
mod shedding;
mod stall;
#[cfg(test)]
mod tests;
mod turns;
mod untrusted;
mod watchers;
mod whole_file;
mod wire;
mod work;

pub use budgets::{DestinationBudget, Sharing, ToolBudget};
pub use config::{ForwardedHeader, GatewayConfig, RateLimits};
pub use error::GatewayError;
pub use gateway::{Gateway, GatewayParts};
pub use key::KeyText;
pub use limit::Limits;
pub use operator::{Challenge, OperatorToken, RunFile, RunFileGuard};
pub use peer::Network;
pub use reading::{Reading, Refused};
pub use reload::{Reload, ReloadError, Reloaded};
pub use whole_file::write_whole;
