//! SA009: what the package shows to people and models holds no character that one of them does not see.

use super::{Check, Context, Findings, Rule};
use crate::analysis::document::each_text;
use crate::analysis::report::Severity;
use crate::text::first_unseen;
use sophon_guard::FindingKind;

pub(super) const RULE: Rule = Rule {
    id: "SA009",
    title: "hidden text",
    severity: Severity::Error,
    what: "A text of the manifest holds a character that people do not see or that changes how its neighbours are \
           shown: controls, bidirectional overrides, tags, zero-width characters. In README.md, where some scripts \
           need joiners, only what hides something is found, and it is a warning.",
    why: "A reader and a model must see the same. Hidden characters carry orders that only the model reads.",
    advice: "remove the character; a reader and a model must see the same",
    check: Check::Any(check),
};

fn check(context: &Context<'_>, findings: &mut Findings) {
    each_text(context.manifest, |path, text| {
        if let Some(unseen) = first_unseen(text) {
            findings.error(&format!("manifest.json: {path}"), format!("the text holds {unseen}"), RULE.advice);
        }
    });
    let hidden = |kind| matches!(kind, FindingKind::HiddenUnicode | FindingKind::TerminalEscape);
    for noticed in context.noticed.iter().filter(|noticed| hidden(noticed.kind)) {
        if noticed.place.starts_with("README") {
            let message = format!("the text holds characters that do not show ({})", noticed.rule);
            findings.warning(&noticed.place, message, RULE.advice);
        }
    }
}
