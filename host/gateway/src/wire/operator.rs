//! The person at the machine.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A challenge.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HelloQuery {
    pub(crate) nonce: String,
}

/// The answer of a gateway that knows the token of its run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Hello {
    /// HMAC-SHA256 under the token, of `sophon operator hello 1`, a line feed and the nonce, in hexadecimal.
    pub(crate) proof: String,
}
