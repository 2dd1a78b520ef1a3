//! Text from outside, wrapped for a model.

use crate::extract::WireBody;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Text that came from outside.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ContentBody {
    /// Where it comes from, such as `email` or a URL.
    pub(crate) source: String,
    /// The text.
    pub(crate) text: String,
}

impl WireBody for ContentBody {}

/// The same text, wrapped.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WrappedContent {
    /// The wrapped text: one genuine pair of boundary markers around it.
    pub(crate) content: String,
    /// What the genuine markers carry.
    pub(crate) nonce: String,
    /// What was noticed in the text.
    pub(crate) findings: Vec<FindingBody>,
}

/// Something noticed in untrusted text; it never blocks.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FindingBody {
    /// What it is, such as `boundary_forgery`.
    pub(crate) kind: String,
    /// The rule that noticed it.
    pub(crate) rule: String,
    /// How much it matters: low, medium or high.
    pub(crate) severity: String,
    /// Where it begins, in bytes.
    pub(crate) start: usize,
    /// Where it ends.
    pub(crate) end: usize,
}

impl From<&sophon_guard::Finding> for FindingBody {
    fn from(finding: &sophon_guard::Finding) -> Self {
        Self {
            kind: super::name_of(&finding.kind),
            rule: finding.rule.clone(),
            severity: super::name_of(&finding.severity),
            start: finding.start,
            end: finding.end,
        }
    }
}

impl From<sophon_guard::Wrapped> for WrappedContent {
    fn from(wrapped: sophon_guard::Wrapped) -> Self {
        Self {
            findings: wrapped.findings.iter().map(FindingBody::from).collect(),
            content: wrapped.content,
            nonce: wrapped.nonce,
        }
    }
}
