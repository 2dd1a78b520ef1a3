//! What supervises the gateway.

use serde::Serialize;
use utoipa::ToSchema;

/// The process answers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// Always `ok`.
    pub(crate) status: &'static str,
    /// The version of the host.
    pub(crate) version: &'static str,
}

/// The gateway can serve calls.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Readiness {
    /// Always `ready`; a gateway that is not answers 503 with a problem.
    pub(crate) status: &'static str,
}
