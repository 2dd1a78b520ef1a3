//! What is wrong with a manifest: every violation at once, each with its place and what would mend it.

use serde::Serialize;
use sophon_types::{Fault, FaultKind, Stage};
use std::fmt;

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Where, such as `tools[2].riskLevel`; empty for the whole document.
    pub field: String,
    /// What is wrong.
    pub problem: String,
    /// What to write instead.
    pub hint: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = if self.field.is_empty() { "(document)" } else { &self.field };
        write!(f, "{field}: {}; {}", self.problem, self.hint)
    }
}

/// All violations of one manifest; never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ManifestErrors {
    /// The violations, in the order of the document's rules.
    pub violations: Vec<Violation>,
}

impl fmt::Display for ManifestErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.violations.as_slice() {
            [only] => write!(f, "manifest.json: {}: {}", only.field, only.problem),
            all => {
                write!(f, "manifest.json: {} problems", all.len())?;
                all.iter().try_for_each(|violation| write!(f, "\n  {violation}"))
            }
        }
    }
}

impl std::error::Error for ManifestErrors {}

impl Fault for ManifestErrors {
    fn stage(&self) -> Stage {
        Stage::Manifest
    }
    fn kind(&self) -> FaultKind {
        FaultKind::Unprocessable
    }
    fn code(&self) -> &'static str {
        "invalid_manifest"
    }
    fn hint(&self) -> Option<String> {
        self.violations.first().map(|first| match first.field.as_str() {
            "" => first.hint.clone(),
            field => format!("{field}: {}", first.hint),
        })
    }
}
