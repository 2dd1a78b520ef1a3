//! SA004: what an import needs is declared in the manifest. The manifest is what a person reads and agrees to, and
//! what decides which interfaces are linked.

use super::hosts::proposed;
use super::{Check, Context, Findings, Rule};
use crate::analysis::offered::{Need, OFFERED};
use crate::analysis::report::Severity;
use crate::manifest::{Filesystem, Manifest, RulePlace, entry_line, workspace_line};
use crate::text::quote;
use serde_json::json;

pub(super) const RULE: Rule = Rule {
    id: "SA004",
    title: "use that is not declared",
    severity: Severity::Error,
    what: "The component imports the network, credentials or a workspace, and the manifest does not ask for it.",
    why: "The manifest is what a person reads and agrees to. What it does not name is not linked.",
    advice: "declare in the manifest what the component uses",
    check: Check::Component(check),
};

fn check(context: &Context<'_>, findings: &mut Findings) {
    let manifest = context.manifest;
    for import in &context.facts.imports {
        let Some(name) = &import.interface else { continue };
        let Some(offer) = OFFERED.iter().find(|offer| offer.interface == name.interface) else { continue };
        let (declared, message, advice) = match offer.need {
            Need::Nothing => continue,
            Need::Network => (manifest.wants_network(), "the manifest does not ask for the network", network(context)),
            Need::Credentials => {
                (!manifest.credentials.is_empty(), "the manifest declares no credentials", credentials(manifest))
            }
            Need::Workspace => (
                manifest.permissions.filesystem == Filesystem::Workspace,
                "the manifest does not ask for a workspace",
                workspace_line(&manifest.permissions),
            ),
        };
        if !declared {
            findings.error(&format!("import {}", quote(&import.name)), message.into(), advice);
        }
    }
}

/// The line for the hosts that the code names, else for one that stands in for them.
fn network(context: &Context<'_>) -> String {
    let place = RulePlace::of(&context.manifest.permissions);
    match proposed(context) {
        rules if !rules.is_empty() => format!("{}, with the hosts that the skill talks to", place.line(&rules)),
        _ => {
            format!("{}, with the hosts that the skill talks to in its place", place.line(&[json!("api.example.com")]))
        }
    }
}

fn credentials(manifest: &Manifest) -> String {
    let entry = json!({ "service": "github", "scopes": [], "required": true, "access": "proxy" });
    let line = entry_line("credentials", manifest.credentials.len(), &entry);
    format!("{line}, with the service that the skill uses in place of github")
}
