//! SA015: what the code says it talks to and what the manifest asks for are the same.

use super::network::is_internal;
use super::{Context, Findings, Rule};
use crate::analysis::hosts::{Mention, likely, mentions, parse};
use crate::analysis::offered::{Need, OFFERED};
use crate::analysis::report::Severity;
use crate::network::{HostPattern, NetworkRule, Scheme};
use std::collections::BTreeSet;

pub(super) const RULE: Rule = Rule {
    id: "SA015",
    title: "host that no permission covers",
    severity: Severity::Warning,
    what: "The data of the component holds an http or https URL, or a host name that stands alone, and no rule of \
           permissions.network covers that host. A note where the component cannot send requests at all, and for \
           well-known documentation. Names of XML and JSON schemas, which nobody fetches, do not count.",
    why: "Requests there would be refused, so either the manifest lacks a line, or the code holds something that a \
          reader of the manifest is not told of.",
    advice: "add the host to permissions.network where the skill talks to it; else remove it from the code",
    check: Some(check),
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
    let manifest = context.manifest;
    let rules: Vec<_> = manifest.permissions.network.iter().flatten().collect();
    let found = mentions(context.strings, context.carriers, context.facts, |mention| {
        NAMES.iter().any(|name| is(mention, name)) || covers(&rules, mention, mention.raw.len())
    });
    let sends = OFFERED.iter().filter(|offer| offer.need == Need::Network).any(|offer| {
        let interfaces = context.facts.imports.iter().filter_map(|import| import.interface.as_ref());
        interfaces.into_iter().any(|name| name.interface == offer.interface)
    });
    let mut seen = BTreeSet::new();
    for mention in &found {
        let lengths = || mention.ends.iter().copied().chain([mention.raw.len()]);
        let covered = lengths().any(|length| covers(&rules, mention, length));
        if covered || NAMES.iter().any(|name| is(mention, name)) {
            continue;
        }
        // A guess that is covered explains nothing: the name goes on.
        let guess = likely(mention).filter(|host| !rules.iter().any(|rule| rule.host.covers(host)));
        let Some(host) = guess.or_else(|| parse(mention.raw)) else { continue };
        if is_reserved(&host) || !seen.insert((host.clone(), mention.scheme)) {
            continue;
        }
        let place = context.place(context.strings.origin(mention.offset));
        let scheme = mention.scheme.unwrap_or(Scheme::Https);
        let what = match mention.scheme {
            Some(scheme) => format!("the code names {scheme}://{host}"),
            None => format!("the code names the host {host}"),
        };
        if is_documentation(mention) {
            let message = format!("{what}, which is documentation; no network rule covers it");
            findings.note(&place, message, "nothing, where it is part of a message");
        } else if !sends {
            let message = format!("{what}; the component cannot send requests, but may show it");
            findings.note(&place, message, "nothing, where it is part of a text");
        } else {
            let advice = advice(&host, scheme, mention.port());
            findings.warning(&place, format!("{what}, which no rule of permissions.network covers"), advice);
        }
    }
}

/// Whether the host may be `name`, and is followed by what may follow a host.
fn is(mention: &Mention<'_>, name: &str) -> bool {
    let begins = mention.raw.get(..name.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(name));
    begins && mention.may_end(name.len())
}

/// Whether a rule covers the host that the first `length` letters are.
fn covers(rules: &[&NetworkRule], mention: &Mention<'_>, length: usize) -> bool {
    let host = mention.raw.get(..length).and_then(parse);
    host.is_some_and(|host| rules.iter().any(|rule| rule.host.covers(&host)))
}

fn is_documentation(mention: &Mention<'_>) -> bool {
    // Of a code host, what lies below a repository: issues, files, releases.
    let below = |depth: usize| mention.rest.split('/').skip(1).take_while(|part| !part.is_empty()).count() >= depth;
    let code = ["github.com", "gitlab.com", "codeberg.org"].iter().any(|name| is(mention, name)) && below(2);
    code || DOCUMENTATION.iter().any(|name| is(mention, name))
}

/// RFC 2606 and 6761: names that never resolve.
fn is_reserved(host: &HostPattern) -> bool {
    let HostPattern::Exact(name) = host else { return false };
    let last = name.rsplit('.').next().unwrap_or(name);
    matches!(last, "example" | "invalid" | "test")
        || NAMES.iter().rev().take(3).any(|example| name.strip_suffix(example).is_some_and(|rest| rest.ends_with('.')))
}

/// The line that would cover it.
fn advice(host: &HostPattern, scheme: Scheme, port: Option<u16>) -> String {
    let port = port.filter(|port| *port != scheme.default_port());
    if is_internal(host) {
        let port = port.unwrap_or(scheme.default_port());
        return format!(
            "remove it; where it is meant, a person grants it: `sophon install --allow-host {scheme}://{host}:{port}`"
        );
    }
    let line = match (scheme, port) {
        (Scheme::Https, None) => format!(r#""{host}""#),
        (Scheme::Http, None) => format!(r#"{{"host": "{host}", "schemes": ["http"]}}"#),
        (Scheme::Https, Some(port)) => format!(r#"{{"host": "{host}", "ports": [{port}]}}"#),
        (Scheme::Http, Some(port)) => format!(r#"{{"host": "{host}", "schemes": ["http"], "ports": [{port}]}}"#),
    };
    format!(r#"if the skill talks to it, add "permissions": {{"network": [{line}]}}; else remove it from the code"#)
}
