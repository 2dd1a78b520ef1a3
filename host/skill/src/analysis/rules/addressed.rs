//! SA019: the texts of a package describe; they do not give orders to the model that reads them.

use super::{Check, Context, Findings, Rule};
use crate::analysis::report::Severity;
use sophon_guard::FindingKind;

pub(super) const RULE: Rule = Rule {
    id: "SA019",
    title: "text that addresses the model",
    severity: Severity::Warning,
    what: "A name, a description, another text of the manifest, or README.md holds a phrase that gives orders to a \
           model, a marker by which chat formats separate speakers, or a forged marker of external content.",
    why: "Descriptions of tools stand in the context of the agent that chooses among them. An order in one tool's \
          description can change how the agent uses all others.",
    advice: "describe what the tool does, in words for a reader; leave out orders, role markers and tags",
    check: Check::Any(check),
};

fn check(context: &Context<'_>, findings: &mut Findings) {
    for noticed in &context.noticed {
        let what = match noticed.kind {
            FindingKind::PromptInjection => "a phrase that gives orders to a model",
            FindingKind::RoleMarker => "a marker by which chat formats separate speakers",
            FindingKind::BoundaryForgery => "a forged marker of external content",
            _ => continue,
        };
        findings.warning(&noticed.place, format!("the text holds {what} ({})", noticed.rule), RULE.advice);
    }
}
