//! SA022: what this version asks for beyond the version before it. Only where the older manifest is at hand.

use super::{Check, Context, Findings, Rule};
use crate::analysis::report::Severity;
use crate::changes::{Change, changes};

pub(super) const RULE: Rule = Rule {
    id: "SA022",
    title: "asks for more than the version before",
    severity: Severity::Warning,
    what: "Compared with an older manifest: a new tool, other words or schemas of a tool, more of the network, of \
           credentials, of files, of memory or of time, another runtime.",
    why: "A person agreed to the version before. What it did not ask for needs fresh consent, and so does a \
          description that a model will act on.",
    advice: "say in README.md why the update needs it; whoever installs it has to agree again",
    check: Check::Any(check),
};

fn check(context: &Context<'_>, findings: &mut Findings) {
    let Some(previous) = context.previous else { return };
    for change in changes(previous, context.manifest) {
        let field = match &change {
            Change::ToolAdded { tool } | Change::ToolChanged { tool, .. } | Change::ToolNetworkWidened { tool } => {
                let index = context.manifest.tools.iter().position(|known| known.name == *tool).unwrap_or_default();
                format!("tools[{index}]")
            }
            Change::RuntimeChanged { .. } => "runtime".to_owned(),
            Change::LimitRaised { .. } => "sandbox".to_owned(),
            Change::NetworkWidened { .. } | Change::NetworkWanted => "permissions.network".to_owned(),
            Change::CredentialAdded { .. } | Change::CredentialWidened { .. } => "credentials".to_owned(),
            Change::WorkspaceWanted => "permissions.filesystem".to_owned(),
            Change::StreamWanted { .. } => "permissions.streams".to_owned(),
            Change::RequirementAdded { .. } => "requirements".to_owned(),
        };
        let message = format!("beyond version {}: {change}", previous.version);
        findings.warning(&format!("manifest.json: {field}"), message, RULE.advice);
    }
}
