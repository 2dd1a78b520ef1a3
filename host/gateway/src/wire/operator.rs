//! The person at the machine.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A challenge.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HelloQuery {
    pub(crate) nonce: String,
}

/// What reading the configuration again has changed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReloadedBody {
    /// Keys that hold from now on.
    pub(crate) applied: Vec<String>,
    /// Keys that hold from the next start on.
    pub(crate) needs_restart: Vec<String>,
}

/// The answer of a gateway that knows the token of its run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Hello {
    /// HMAC-SHA256 under the token, of `sophon operator hello 1`, a line feed and the nonce, in hexadecimal.
    pub(crate) proof: String,
}
