//! SA010: keys of the manifest that the contract does not have: without effect, and perhaps misspelt.

use super::{Check, Context, Findings, Rule};
use crate::analysis::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "SA010",
    title: "unknown key in the manifest",
    severity: Severity::Warning,
    what: "The manifest has a key that the contract does not know.",
    why: "The key has no effect. Perhaps it is misspelt, and something that was meant to be limited is not.",
    advice: "remove the key, or correct its spelling",
    check: Check::Any(check),
};

fn check(context: &Context<'_>, findings: &mut Findings) {
    for key in context.manifest.unknown_keys() {
        let shown: String = key.chars().map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect();
        findings.warning(
            &format!("manifest.json: {shown}"),
            "the key is not known and has no effect".into(),
            "remove it, or correct its spelling",
        );
    }
}
