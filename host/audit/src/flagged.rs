//! The record of what was noticed in a text on its way to a model: rules and how often, never the text.

use crate::{Action, Outcome, Record};
use sophon_guard::{Detector, Finding, FindingKind, PATTERNS_VERSION};
use std::collections::BTreeMap;

impl Record {
    /// The same subject, of whose text (`from`: tool, error, external or tool-description) `findings` tell; `None` where none of them is as
    /// severe as the log wants, or all are redacted secrets, of which other records tell.
    #[must_use]
    pub fn flagged(self, from: &'static str, findings: &[Finding], detector: &Detector) -> Option<Self> {
        let told = findings.iter().filter(|finding| finding.severity >= detector.log_from());
        let told: Vec<_> = told.filter(|finding| finding.kind != FindingKind::SecretRedacted).collect();
        let severity = told.iter().map(|finding| finding.severity).max()?;
        let mut rules: BTreeMap<&str, u64> = BTreeMap::new();
        for finding in &told {
            *rules.entry(&finding.rule).or_default() += 1;
        }
        let rules = serde_json::to_value(rules).ok()?;
        let severity = serde_json::to_value(severity).ok()?;
        let record = self.then(Action::ContentFlagged, Outcome::Ok).detail("from", from);
        Some(record.detail("rules", rules).detail("severity", severity).detail("patterns", PATTERNS_VERSION))
    }
}
