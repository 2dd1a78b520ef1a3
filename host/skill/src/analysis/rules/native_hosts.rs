//! SA031: where a native skill says that it goes, for the person who grants it.

use super::hosts::is_name_only;
use super::network::is_internal;
use super::{Check, Context, Findings, Rule};
use crate::analysis::hosts::parse;
use crate::analysis::report::{Severity, Wish};
use crate::manifest::{Manifest, RulePlace};
use crate::network::{HostPattern, Scheme};
use crate::text::quote;
use serde_json::json;
use std::collections::BTreeSet;

pub(super) const RULE: Rule = Rule {
    id: "SA031",
    title: "host that a person has to choose",
    severity: Severity::Warning,
    what: "The source of a native skill, or a text in its assemblies, names hosts in its URLs. A note for each where the manifest asks for the network \
           and names none itself: the person who installs chooses among them. A warning where the manifest names hosts \
           and this one is not among them, or does not ask for the network at all, or where the code names more than 32 hosts \
           that the manifest does not.",
    why: "A skill of the public contract asks for the network as a whole. It is granted the hosts that a person has \
          seen and chosen, and no others.",
    advice: "grant the host at installation (`sophon install --allow-host HOST`), or leave the host out of the code",
    check: Check::Native(check),
};

/// Most hosts that are proposed, of those that the manifest does not name. A list of more is a list of something else.
const MOST: usize = 32;

fn check(context: &Context<'_>, findings: &mut Findings) {
    let manifest = context.manifest;
    let (wishes, more) = &context.wishes;
    if *more {
        findings.warning(
            "the package",
            format!("the code names more than {MOST} hosts; the others are not listed"),
            RULE.advice,
        );
    }
    for wish in wishes {
        match manifest.permissions.network.as_deref().filter(|rules| !rules.is_empty()) {
            Some(_) => {
                let line = RulePlace::of(&manifest.permissions).line(&[json!(wish.host.to_string())]);
                let message = format!("the code names {}, which no rule of permissions.network covers", wish.shown());
                findings.warning(&wish.place, message, format!("if the skill talks to it, {line}"));
            }
            None if manifest.leaves_hosts_open() => {
                let message = format!("the code names {}; a person has to grant it", wish.shown());
                findings.note(&wish.place, message, wish.advice());
            }
            None => {
                let message = format!("the code names {}, and the manifest asks for no network", wish.shown());
                findings.warning(&wish.place, message, RULE.advice);
            }
        }
    }
}

fn is_covered(manifest: &Manifest, wish: &Wish) -> bool {
    manifest.permissions.network.iter().flatten().any(|rule| rule.host.covers(&wish.host))
}

/// The hosts that the code's texts name (each with its place) and the manifest does not, each once, in the order in which they
/// are named; and whether there are more than are proposed.
pub(in crate::analysis) fn wishes(
    texts: impl Iterator<Item = (String, String)>,
    manifest: &Manifest,
) -> (Vec<Wish>, bool) {
    // A pattern of a field names the hosts that its value may have; one that is exact needs no asking.
    let endpoint = manifest.integration.iter().filter_map(|integration| integration.test_endpoint.clone());
    let endpoint = endpoint.map(|endpoint| ("manifest.json: integration.testEndpoint".to_owned(), endpoint));
    let mut seen = BTreeSet::new();
    let mut wishes = Vec::new();
    for (place, text) in endpoint.chain(texts) {
        for (scheme, host, port) in named(&text) {
            let wish = Wish { host, scheme, port, place: place.clone() };
            // What the manifest names needs no choosing, and leaves the others their places.
            let settled = is_name_only(&wish.host) || is_covered(manifest, &wish);
            if settled || !seen.insert((wish.host.clone(), port, scheme)) {
                continue;
            }
            // Nobody asks what else there is: it is neither read nor remembered.
            if wishes.len() == MOST {
                return (wishes, true);
            }
            wishes.push(wish);
        }
    }
    (wishes, false)
}

/// Hosts in the URLs of a literal. A label that is a field of a format stands for any.
fn named(text: &str) -> Vec<(Scheme, HostPattern, Option<u16>)> {
    let mut found = Vec::new();
    for (scheme, mark) in [(Scheme::Https, "https://"), (Scheme::Http, "http://")] {
        for (at, _) in text.match_indices(mark) {
            let rest = &text[at + mark.len()..];
            let end = rest.find(['/', '?', '#', ' ', '"', '\'', '\n', '\\', ')', '>', ',', ';']).unwrap_or(rest.len());
            let authority = rest[..end].rsplit('@').next().unwrap_or_default();
            let (host, port) = match authority.rsplit_once(':') {
                Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (host, port.parse().ok()),
                Some((host, _field)) if !host.contains(':') => (host, None),
                _ => (authority, None),
            };
            if let Some(host) = pattern(host) {
                found.push((scheme, host, port));
            }
        }
    }
    found
}

/// `api.example.com` as it is; `{}.example.com` and `%s.example.com` as `*.example.com`; `{}` as nothing.
fn pattern(host: &str) -> Option<HostPattern> {
    let field = |label: &str| label.contains(['{', '}', '%', '<', '$']);
    let labels: Vec<&str> = host.trim_end_matches('.').split('.').collect();
    let host = match labels.iter().rposition(|label| field(label)) {
        None => parse(host)?,
        Some(last) => {
            let fixed = labels.get(last + 1..).filter(|rest| rest.len() >= 2)?;
            format!("*.{}", fixed.join(".")).parse().ok()?
        }
    };
    match &host {
        HostPattern::Exact(name) if !name.contains('.') && name != "localhost" => None,
        _ => Some(host),
    }
}

impl Wish {
    /// As a message shows it.
    fn shown(&self) -> String {
        let scheme = if self.scheme == Scheme::Http { "http://" } else { "" };
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("{scheme}{}{port}", quote(&self.host.to_string()).trim_matches('"'))
    }

    fn advice(&self) -> String {
        match (&self.host, self.grant()) {
            (HostPattern::Wildcard(suffix), _) => {
                format!("grant your own host below {suffix}: `sophon install --allow-host YOURS.{suffix}`")
            }
            (_, Some(grant)) if is_internal(&self.host) => {
                format!("if this is meant: `sophon install --allow-host {grant}`")
            }
            (_, Some(grant)) => format!("`sophon install --allow-host {grant}`"),
            (_, None) => RULE.advice.to_owned(),
        }
    }

    /// What a person would grant; nothing for a family of hosts.
    #[must_use]
    pub fn grant(&self) -> Option<String> {
        if let HostPattern::Wildcard(_) = self.host {
            return None;
        }
        let scheme = match (self.scheme, self.port) {
            (Scheme::Http, _) => "http://",
            (Scheme::Https, Some(_)) => "https://",
            (Scheme::Https, None) => "",
        };
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        Some(format!("{scheme}{}{port}", self.host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_out_of_literals() {
        let check = |text: &str, expected: &[&str]| {
            let found: Vec<_> = named(text)
                .into_iter()
                .map(|(scheme, host, port)| Wish { host, scheme, port, place: String::new() }.shown())
                .collect();
            assert_eq!(found, expected, "{text}");
        };
        check("https://api.example.net/v1?x", &["api.example.net"]);
        check("https://{}.example.net/api/{}", &["*.example.net"]);
        check("https://{region}.api.example.net", &["*.api.example.net"]);
        check("https://%s.example.net", &["*.example.net"]);
        check("https://{}", &[]);
        check("https://{}/x", &[]);
        check("https://{}.com", &[]);
        check("http://192.168.1.10:8123/api", &["http://192.168.1.10:8123"]);
        check("http://localhost:11434", &["http://localhost:11434"]);
        check("https://user:pw@evil.net/", &["evil.net"]);
        check("https://api.example.net:{}", &["api.example.net"]);
        check("see https://a.example.net, https://b.example.net", &["a.example.net", "b.example.net"]);
    }

    #[test]
    fn no_more_is_read_than_is_proposed() {
        let manifest = Manifest::parse(crate::testing::manifest().to_string().as_bytes()).unwrap();
        let mut read = 0;
        let texts = (0..1000).map(|host| {
            read += 1;
            ("main.py".to_owned(), format!("https://host{}.acme.net", host / 2))
        });
        let (wishes, more) = wishes(texts, &manifest);
        assert_eq!((wishes.len(), more), (MOST, true));
        assert_eq!(read, 2 * MOST + 1);
    }

    #[test]
    fn what_the_manifest_names_takes_nobodys_place() {
        let mut manifest = crate::testing::manifest();
        manifest["permissions"] = json!({"network": ["api.acme.net"]});
        let manifest = Manifest::parse(manifest.to_string().as_bytes()).unwrap();
        let ports = (0..1000).map(|port| ("main.py".to_owned(), format!("https://api.acme.net:{port}")));
        let other = ("main.py".to_owned(), "https://evil.acme.net".to_owned());
        let (wishes, more) = wishes(ports.chain([other]), &manifest);
        assert_eq!((wishes.len(), more), (1, false), "{wishes:?}");
    }
}
