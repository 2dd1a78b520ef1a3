//! SA004: what an import needs is declared in the manifest. The manifest is what a person reads and agrees to, and
//! what decides which interfaces are linked.

use super::{Context, Findings, Rule};
use crate::analysis::offered::{Need, OFFERED};
use crate::analysis::report::Severity;
use crate::manifest::Filesystem;
use crate::text::quote;

pub(super) const RULE: Rule = Rule {
    id: "SA004",
    title: "use that is not declared",
    severity: Severity::Error,
    what: "The component imports the network, credentials or a workspace, and the manifest does not ask for it.",
    why: "The manifest is what a person reads and agrees to. What it does not name is not linked.",
    advice: "declare in the manifest what the component uses",
    check: Some(check),
};

fn check(context: &Context<'_>, findings: &mut Findings) {
    let manifest = context.manifest;
    for import in &context.facts.imports {
        let Some(name) = &import.interface else { continue };
        let Some(offer) = OFFERED.iter().find(|offer| offer.interface == name.interface) else { continue };
        let (declared, message, advice) = match offer.need {
            Need::Nothing => continue,
            Need::Network => (
                manifest.wants_network(),
                "the manifest does not ask for the network",
                r#"add "permissions": {"network": ["api.example.com"]} with the hosts that the skill talks to"#,
            ),
            Need::Credentials => (
                !manifest.credentials.is_empty(),
                "the manifest declares no credentials",
                r#"add "credentials": [{"service": "github", "access": "proxy"}] with the services that the skill uses"#,
            ),
            Need::Workspace => (
                manifest.permissions.filesystem == Filesystem::Workspace,
                "the manifest does not ask for a workspace",
                r#"add "permissions": {"filesystem": "workspace"}"#,
            ),
        };
        if !declared {
            findings.error(&format!("import {}", quote(&import.name)), message.into(), advice);
        }
    }
}
