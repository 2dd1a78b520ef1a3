//! SA012: what the manifest asks for and the component does not import: more is granted than is needed.

use super::{Check, Context, Findings, Rule};
use crate::analysis::offered::{Need, OFFERED};
use crate::analysis::report::Severity;
use crate::manifest::{Access, Filesystem};

pub(super) const RULE: Rule = Rule {
    id: "SA012",
    title: "declared but not used",
    severity: Severity::Note,
    what: "The manifest asks for the network, a credential, a token, a workspace or a setting that the component has \
           no way to use.",
    why: "More is granted than is needed, and the next version could use it without asking.",
    advice: "remove from the manifest what the component does not use",
    check: Check::Component(check),
};

fn check(context: &Context<'_>, findings: &mut Findings) {
    let manifest = context.manifest;
    let imports = |need: Need| {
        let offers = OFFERED.iter().filter(move |offer| offer.need == need);
        offers.into_iter().any(|offer| {
            let names = context.facts.imports.iter().filter_map(|import| import.interface.as_ref());
            names.into_iter().any(|name| name.interface == offer.interface)
        })
    };
    // A credential is used through http too, without the interface of its own.
    let network = imports(Need::Network);
    let unused = [
        (manifest.wants_network() && !network, "the network", "permissions.network"),
        (!manifest.credentials.is_empty() && !imports(Need::Credentials) && !network, "credentials", "credentials"),
        (
            manifest.permissions.filesystem == Filesystem::Workspace && !imports(Need::Workspace),
            "a workspace",
            "permissions.filesystem",
        ),
    ];
    for (_, what, key) in unused.into_iter().filter(|(unused, ..)| *unused) {
        findings.note(
            &format!("manifest.json: {key}"),
            format!("the manifest asks for {what}, which the component does not use"),
            format!("remove {key} from the manifest"),
        );
    }
    if network {
        credentials(context, findings, imports(Need::Credentials));
    }
    let settings = context.facts.imports.iter().filter_map(|import| import.interface.as_ref());
    if !manifest.settings.is_empty() && !settings.into_iter().any(|name| name.interface == SETTINGS) {
        findings.note(
            "manifest.json: settings",
            format!("the manifest declares settings, and the component does not import {SETTINGS} to read them"),
            "remove settings from the manifest",
        );
    }
}

const SETTINGS: &str = "sophon:skill/settings";

/// Credentials that no request can carry, and tokens that nothing can ask for.
fn credentials(context: &Context<'_>, findings: &mut Findings, asks: bool) {
    let rules = context.manifest.permissions.network.as_deref().unwrap_or_default();
    for (index, credential) in context.manifest.credentials.iter().enumerate() {
        let service = &credential.service;
        let travels = rules.iter().any(|rule| rule.credential.as_ref().is_none_or(|only| only == service));
        if !rules.is_empty() && !travels {
            findings.note(
                &format!("manifest.json: credentials[{index}]"),
                format!("every network rule is for another credential than {service}, so it can go nowhere"),
                format!("name it in the rule for its host, or remove {service} from credentials"),
            );
        }
        if credential.access == Access::ScopedToken && !asks {
            findings.note(
                &format!("manifest.json: credentials[{index}].access"),
                "the skill may have tokens, and does not import sophon:skill/credentials to ask for them".into(),
                r#"write "access": "proxy""#,
            );
        }
    }
}
