//! SA015: what the code says it talks to and what the manifest asks for are the same.

use super::network::is_internal;
use super::{Check, Context, Findings, Rule};
use crate::analysis::hosts::{Mention, likely, mentions, parse};
use crate::analysis::offered::{Need, OFFERED};
use crate::analysis::report::Severity;
use crate::manifest::{Permissions, RulePlace};
use crate::network::{HostPattern, NetworkRule, Scheme};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

pub(super) const RULE: Rule = Rule {
    id: "SA015",
    title: "host that no permission covers",
    severity: Severity::Warning,
    what: "The data of the component holds an http or https URL whose host, scheme and port no rule of \
           permissions.network covers, or the name of such a host that fills a text by itself; or it names more than \
           2,000 different hosts. A note where the component cannot send requests at all, and for \
           well-known documentation. Names of XML and JSON schemas, which nobody fetches, do not count.",
    why: "Requests there would be refused, so either the manifest lacks a line, or the code holds something that a \
          reader of the manifest is not told of.",
    advice: "add the host to permissions.network where the skill talks to it; else remove it from the code",
    check: Check::Component(check),
};

/// Hosts in names of schemas and in examples (RFC 2606).
const NAMES: [&str; 16] = [
    "json-schema.org",
    "www.w3.org",
    "w3.org",
    "schema.org",
    "xmlns.com",
    "schemas.xmlsoap.org",
    "schemas.microsoft.com",
    "schemas.openxmlformats.org",
    "docs.oasis-open.org",
    "purl.org",
    "ns.adobe.com",
    "relaxng.org",
    "xml.org",
    "example.com",
    "example.org",
    "example.net",
];

/// Hosts that messages of compilers, interpreters and libraries point readers to.
const DOCUMENTATION: [&str; 52] = [
    "docs.rs",
    "crates.io",
    "doc.rust-lang.org",
    "www.rust-lang.org",
    "rust-lang.github.io",
    "rustsec.org",
    "serde.rs",
    "tokio.rs",
    "docs.python.org",
    "bugs.python.org",
    "peps.python.org",
    "www.python.org",
    "packaging.python.org",
    "pypi.org",
    "nodejs.org",
    "developer.mozilla.org",
    "bugzilla.mozilla.org",
    "www.mozilla.org",
    "mozilla.org",
    "tc39.es",
    "www.ecma-international.org",
    "go.dev",
    "golang.org",
    "pkg.go.dev",
    "learn.microsoft.com",
    "docs.microsoft.com",
    "go.microsoft.com",
    "aka.ms",
    "dot.net",
    "datatracker.ietf.org",
    "tools.ietf.org",
    "www.rfc-editor.org",
    "rfc-editor.org",
    "unicode.org",
    "www.unicode.org",
    "url.spec.whatwg.org",
    "html.spec.whatwg.org",
    "encoding.spec.whatwg.org",
    "webassembly.github.io",
    "component-model.bytecodealliance.org",
    "emscripten.org",
    "llvm.org",
    "gcc.gnu.org",
    "www.gnu.org",
    "www.apache.org",
    "opensource.org",
    "spdx.org",
    "creativecommons.org",
    "en.wikipedia.org",
    "stackoverflow.com",
    "www.sqlite.org",
    "docs.github.com",
];

fn check(context: &Context<'_>, findings: &mut Findings) {
    let sends = OFFERED.iter().filter(|offer| offer.need == Need::Network).any(|offer| {
        let interfaces = context.facts.imports.iter().filter_map(|import| import.interface.as_ref());
        interfaces.into_iter().any(|name| name.interface == offer.interface)
    });
    let (uncovered, more) = uncovered(context);
    if more {
        let severity = if sends { Severity::Warning } else { Severity::Note };
        let message =
            "the code names more than 2000 hosts that no rule covers; the others are not looked at".to_owned();
        findings.push(severity, "component", message, RULE.advice.into());
    }
    for named in uncovered {
        let place = context.place(context.strings.origin(named.offset));
        let host = &named.host;
        let what = match named.scheme {
            Some(scheme) => {
                let port = named.other_port().map(|port| format!(":{port}")).unwrap_or_default();
                format!("the code names {scheme}://{host}{port}")
            }
            None => format!("the code names the host {host}"),
        };
        if named.documentation {
            let message = format!("{what}, which is documentation; no network rule covers it");
            findings.note(&place, message, "nothing, where it is part of a message");
        } else if !sends {
            let message = format!("{what}; the component cannot send requests, but may show it");
            findings.note(&place, message, "nothing, where it is part of a text");
        } else {
            let message = format!("{what}, which no rule of permissions.network covers");
            findings.warning(&place, message, advice(&named, &context.manifest.permissions));
        }
    }
}

/// Rules for the public hosts that the code seems to talk to and that no rule covers; the first few.
pub(super) fn proposed(context: &Context<'_>) -> Vec<Value> {
    const MOST: usize = 8;
    let mut rules: Vec<_> = uncovered(context)
        .0
        .iter()
        .filter(|named| named.scheme.is_some() && !named.documentation && !is_internal(&named.host))
        .map(Named::rule)
        .collect();
    rules.truncate(MOST);
    rules
}

/// A host that the code names and no rule covers.
struct Named {
    host: HostPattern,
    /// `None` for a name that stands alone.
    scheme: Option<Scheme>,
    port: Option<u16>,
    documentation: bool,
    offset: usize,
}

impl Named {
    /// The port, where it is not the scheme's own.
    fn other_port(&self) -> Option<u16> {
        self.port.filter(|port| *port != self.scheme.unwrap_or(Scheme::Https).default_port())
    }

    /// The rule that would cover it.
    fn rule(&self) -> Value {
        let host = self.host.to_string();
        let mut rule = Map::from_iter([("host".to_owned(), host.as_str().into())]);
        if self.scheme == Some(Scheme::Http) {
            rule.insert("schemes".into(), json!(["http"]));
        }
        if let Some(port) = self.other_port() {
            rule.insert("ports".into(), json!([port]));
        }
        // A rule of a host alone is written as the host.
        if rule.len() == 1 { host.into() } else { rule.into() }
    }
}

/// The hosts that the code names and no rule covers, each once a scheme and port; and whether there are more.
fn uncovered(context: &Context<'_>) -> (Vec<Named>, bool) {
    let rules: Vec<_> = context.manifest.permissions.network.iter().flatten().collect();
    let is_settled = |mention: &Mention<'_>| {
        NAMES.iter().any(|name| is(mention, name)) || covers(&rules, mention, mention.raw.len())
    };
    let (found, more) = mentions(context.strings, context.carriers, context.facts, is_settled, is_documentation);
    let mut seen = BTreeMap::new();
    let mut named: Vec<Named> = Vec::new();
    for mention in &found {
        let lengths = || mention.ends.iter().copied().chain([mention.raw.len()]);
        let covered = lengths().any(|length| covers(&rules, mention, length));
        if covered || NAMES.iter().any(|name| is(mention, name)) {
            continue;
        }
        // A guess that is covered explains nothing: the name goes on.
        let whole = parse(mention.raw);
        let guess = likely(mention);
        let guess =
            guess.filter(|host| !rules.iter().any(|rule| admits(rule, mention, host, whole.as_ref() == Some(host))));
        let Some(host) = guess.or_else(|| whole.clone()) else { continue };
        if is_reserved(&host) {
            continue;
        }
        // What follows belongs to it only where it ends there.
        let port = mention.port().filter(|_| whole.as_ref() == Some(&host));
        let documentation = is_documentation(mention);
        match seen.entry((host.clone(), mention.scheme, port)) {
            Entry::Occupied(before) => {
                let before: &mut Named = &mut named[*before.get()];
                before.documentation &= documentation;
            }
            Entry::Vacant(place) => {
                place.insert(named.len());
                named.push(Named { host, scheme: mention.scheme, port, documentation, offset: mention.offset });
            }
        }
    }
    (named, more)
}

/// Whether the host may be `name`, and is followed by what may follow a host.
fn is(mention: &Mention<'_>, name: &str) -> bool {
    let begins = mention.raw.get(..name.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(name));
    begins && mention.may_end(name.len())
}

/// Whether a rule covers the host that the first `length` letters are.
fn covers(rules: &[&NetworkRule], mention: &Mention<'_>, length: usize) -> bool {
    let host = mention.raw.get(..length).and_then(parse);
    let whole = length == mention.raw.len();
    host.is_some_and(|host| rules.iter().any(|rule| admits(rule, mention, &host, whole)))
}

/// Whether a rule admits `host` as it is mentioned: by that scheme, where one is named, and at that port, where one can be read;
/// what follows is a port of its own only where it is the `whole` of what may be the host.
fn admits(rule: &NetworkRule, mention: &Mention<'_>, host: &HostPattern, whole: bool) -> bool {
    let Some(scheme) = mention.scheme else { return rule.host.covers(host) };
    // A port that is filled in when the code runs may be any.
    let port = match mention.port().filter(|_| whole) {
        None if whole && mention.rest.starts_with(':') => None,
        port => Some(port.unwrap_or(scheme.default_port())),
    };
    let port_admitted = port.is_none_or(|port| rule.admits_port(scheme, port));
    rule.host.covers(host) && rule.schemes.contains(&scheme) && port_admitted
}

fn is_documentation(mention: &Mention<'_>) -> bool {
    // Of a code host, what lies below a repository: issues, files, releases.
    let below = |depth: usize| mention.rest.split('/').skip(1).take_while(|part| !part.is_empty()).count() >= depth;
    let code = ["github.com", "gitlab.com", "codeberg.org"].iter().any(|name| is(mention, name)) && below(2);
    code || DOCUMENTATION.iter().any(|name| is(mention, name))
}

/// Whether a host is named in schemas and examples only, or never resolves.
pub(super) fn is_name_only(host: &HostPattern) -> bool {
    let (HostPattern::Exact(name) | HostPattern::Wildcard(name)) = host else { return false };
    NAMES.contains(&name.as_str()) || is_reserved(&HostPattern::Exact(name.clone()))
}

/// RFC 2606 and 6761: names that never resolve.
fn is_reserved(host: &HostPattern) -> bool {
    let HostPattern::Exact(name) = host else { return false };
    let last = name.rsplit('.').next().unwrap_or(name);
    matches!(last, "example" | "invalid" | "test")
        || NAMES.iter().rev().take(3).any(|example| name.strip_suffix(example).is_some_and(|rest| rest.ends_with('.')))
}

/// The line that would cover it.
fn advice(named: &Named, permissions: &Permissions) -> String {
    let host = &named.host;
    if is_internal(host) {
        let scheme = named.scheme.unwrap_or(Scheme::Https);
        let port = named.other_port().unwrap_or(scheme.default_port());
        return format!(
            "remove it; where it is meant, a person grants it: `sophon install --allow-host {scheme}://{host}:{port}`"
        );
    }
    let line = RulePlace::of(permissions).line(&[named.rule()]);
    format!("if the skill talks to it, {line}; else remove it from the code")
}
