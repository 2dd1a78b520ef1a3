//! SA011: network wishes that a person should look at twice.

use super::{Check, Context, Findings, Rule};
use crate::analysis::report::Severity;
use crate::manifest::Manifest;
use crate::network::{HostPattern, NetworkRule, Scheme};
use std::net::IpAddr;

pub(super) const RULE: Rule = Rule {
    id: "SA011",
    title: "wide or unsafe network wish",
    severity: Severity::Warning,
    what: "A network rule is a wildcard, allows plain http, or names a host that is not public. A note where the \
           skill asks for the network without naming hosts.",
    why: "Wildcards reach whatever appears below the name, plain http can be read and changed on the way, and \
          internal hosts are where credentials of machines lie.",
    advice: "name the hosts that the skill needs, over https",
    check: Check::Any(check),
};

fn check(context: &Context<'_>, findings: &mut Findings) {
    let manifest = context.manifest;
    let rules = manifest.permissions.network.as_deref().unwrap_or_default();
    if rules.is_empty() && manifest.wants_network() {
        findings.note(
            "manifest.json: permissions.network",
            "the skill asks for the network and names no host, so none is granted".into(),
            "name the hosts, or let the person who installs grant them (`sophon install --allow-host HOST`)",
        );
    }
    for (index, rule) in rules.iter().enumerate() {
        let place = format!("manifest.json: permissions.network[{index}]");
        check_rule(rule, &place, manifest, findings);
    }
}

fn check_rule(rule: &NetworkRule, place: &str, manifest: &Manifest, findings: &mut Findings) {
    if let HostPattern::Wildcard(_) = rule.host {
        findings.warning(
            place,
            format!("{} is every host below that name, whoever runs it", rule.host),
            "name the hosts that the skill needs",
        );
    }
    if rule.schemes.contains(&Scheme::Http) {
        let message = if manifest.credentials.is_empty() {
            "requests over plain http can be read and changed on the way"
        } else {
            "requests over plain http can be read and changed on the way, credentials in them too"
        };
        findings.warning(place, message.into(), "use https only");
    }
    if is_internal(&rule.host) {
        findings.warning(
            place,
            format!("{} is not a public host; it is reached only where a person grants it by name", rule.host),
            "leave it out; the person who installs grants it (`sophon install --allow-host HOST:PORT`)",
        );
    }
}

/// A rough look, for a warning only: egress decides on the addresses that a name resolves to.
pub(super) fn is_internal(host: &HostPattern) -> bool {
    match host {
        HostPattern::Ip(IpAddr::V4(ip)) => {
            ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || ip.is_broadcast()
        }
        HostPattern::Ip(IpAddr::V6(ip)) => {
            ip.is_loopback() || ip.is_unspecified() || ip.is_unique_local() || ip.is_unicast_link_local()
        }
        HostPattern::Exact(name) => {
            let last = name.rsplit('.').next().unwrap_or(name);
            !name.contains('.') || matches!(last, "local" | "localhost" | "internal" | "lan" | "home")
        }
        HostPattern::Wildcard(_) => false,
    }
}
