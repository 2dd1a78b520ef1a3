//! SA010: keys of the manifest that the contract does not have: without effect, and perhaps misspelt.

use super::{Context, Findings};

pub(super) fn check(context: &Context<'_>, findings: &mut Findings) {
    for key in context.manifest.unknown_keys() {
        let shown: String = key.chars().map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect();
        findings.warning(
            &format!("manifest.json: {shown}"),
            "the key is not known and has no effect".into(),
            "remove it, or correct its spelling",
        );
    }
}
