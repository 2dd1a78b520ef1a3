//! Errors (RFC 9457).

use serde::Serialize;
use utoipa::ToSchema;

/// A problem: what is wrong with the request, and what mends it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProblemBody {
    /// A URN with the code.
    pub(crate) r#type: String,
    /// The kind of problem, in words.
    pub(crate) title: String,
    /// The HTTP status.
    pub(crate) status: u16,
    /// Subject and cause.
    pub(crate) detail: String,
    /// The stable code that programs may rely on.
    pub(crate) code: String,
    /// One line that, followed, mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    /// Where it failed, such as `validate` or `sandbox`.
    pub(crate) stage: String,
    /// The kind of failure, such as `invalid` or `needs-approval`.
    pub(crate) kind: String,
    /// What the log and the audit log know this request by.
    pub(crate) correlation_id: String,
}
