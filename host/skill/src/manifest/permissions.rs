//! Reads what grants power: `permissions`, `sandbox` and network rules. An unknown key is a violation here, because
//! a misspelt limit would be no limit.

use super::line::entry_line;
use super::model::{CredentialUse, Filesystem, Permissions, Preset, SandboxWish};
use super::reader::{Node, Object, Record, Unknown};
use crate::archive::check_name;
use crate::network::{HostPattern, NetworkRule, Scheme, StreamWish};
use crate::text::quote;
use serde_json::{Value, json};
use sophon_types::{ServiceName, SkillName};

/// Rules in one list.
const MAX_RULES: usize = 64;
/// Ports, methods or paths in one rule.
const MAX_PARTS: usize = 32;
/// DESIGN: `permissions {maxMemoryMb ≤ 4096}`.
const MAX_MEMORY_MB: u64 = 4096;
const MAX_SECONDS: u64 = 3600;

pub(super) fn sandbox(node: &Node<'_>) -> Option<SandboxWish> {
    let object = node.object()?;
    let wish = SandboxWish {
        preset: object.optional("preset").and_then(|n| n.word(&Preset::WORDS)),
        network: object.optional("network").and_then(|n| n.boolean()),
        timeout_seconds: number(&object, "timeoutSeconds", MAX_SECONDS),
        max_memory_mb: number(&object, "maxMemoryMb", MAX_MEMORY_MB),
    };
    object.finish(Unknown::Refuse);
    Some(wish)
}

pub(super) fn permissions(node: &Node<'_>) -> Option<Permissions> {
    let object = node.object()?;
    let network = object.optional("network").and_then(|n| match n.value() {
        // As `sandbox.network`: wanting the network names no host.
        Value::Bool(true) => Some(Vec::new()),
        Value::Bool(false) => None,
        _ => rules(&n),
    });
    let permissions = Permissions {
        network,
        streams: object.optional("streams").map_or(Some(Vec::new()), |n| n.each(MAX_RULES, stream))?,
        filesystem: object.optional("filesystem").and_then(|n| filesystem(&n)).unwrap_or_default(),
        max_memory_mb: number(&object, "maxMemoryMb", MAX_MEMORY_MB),
        max_cpu_seconds: number(&object, "maxCpuSeconds", MAX_SECONDS),
    };
    object.finish(Unknown::Refuse);
    Some(permissions)
}

fn number(object: &Object<'_>, key: &'static str, max: u64) -> Option<u32> {
    object.optional(key)?.integer(1, max)?.try_into().ok()
}

/// `none`, `workspace`, or the public contract's list of relative paths (which all lie in the workspace).
fn filesystem(node: &Node<'_>) -> Option<Filesystem> {
    if !node.value().is_array() {
        return node.word(&[("none", Filesystem::None), ("workspace", Filesystem::Workspace)]);
    }
    let paths = node.items(MAX_PARTS)?;
    for path in &paths {
        let text = path.text(512)?;
        let relative = text.trim_start_matches("./").trim_end_matches('/');
        if relative != "." && !relative.is_empty() && check_name(relative).is_err() {
            path.report(
                format!("{} is not a plain relative path", quote(text)),
                r#"write "workspace" instead of a list"#,
            );
        }
    }
    Some(if paths.is_empty() { Filesystem::None } else { Filesystem::Workspace })
}

/// A list of network rules.
pub(super) fn rules(node: &Node<'_>) -> Option<Vec<NetworkRule>> {
    node.each(MAX_RULES, rule)
}

/// `{protocol, host?, port?}`: what is left open is filled in by the person who grants it.
fn stream(node: &Node<'_>) -> Option<StreamWish> {
    let object = node.object()?;
    let protocol = object
        .required("protocol", "name what is spoken, such as imap")
        .and_then(|n| n.parse("write a protocol such as imap or postgres; HTTP belongs into permissions.network"));
    let host: Option<HostPattern> = match object.optional("host") {
        Some(host) => Some(host.parse("write a bare host such as mail.example.com, or leave it out")?),
        None => None,
    };
    if matches!(host, Some(HostPattern::Wildcard(_))) {
        node.report("the host is a wildcard", "name one host, or leave it to the person who grants it");
    }
    let port = match object.optional("port") {
        Some(port) => Some(port.integer(1, u64::from(u16::MAX)).and_then(|port| u16::try_from(port).ok())?),
        None => None,
    };
    object.finish(Unknown::Refuse);
    Some(StreamWish { protocol: protocol?, host, port })
}

fn rule(node: &Node<'_>) -> Option<NetworkRule> {
    const HOST: &str = "write a bare host such as api.example.com or *.example.com";
    if node.value().is_string() {
        return Some(NetworkRule::bare(node.parse(HOST)?));
    }
    let object = node.object()?;
    let host = object.required("host", HOST).and_then(|n| n.parse(HOST));
    let schemes = match object.optional("schemes") {
        Some(schemes) => parts(&schemes, |n| n.word(&[("https", Scheme::Https), ("http", Scheme::Http)])),
        None => Some(vec![Scheme::Https]),
    };
    let list = |key| object.optional(key);
    let ports = list("ports").map_or(Some(Vec::new()), |n| {
        parts(&n, |n| n.integer(1, u64::from(u16::MAX)).and_then(|port| u16::try_from(port).ok()))
    });
    let methods = list("methods").map_or(Some(Vec::new()), |n| parts(&n, method));
    let paths = list("paths").map_or(Some(Vec::new()), |n| {
        parts(&n, |n| n.parse("write a path such as /user, or a prefix such as /repos/*"))
    });
    let credential = match object.optional("credential") {
        Some(service) => Some(service.parse::<ServiceName>("write a service of the manifest's credentials")?),
        None => None,
    };
    object.finish(Unknown::Refuse);
    Some(NetworkRule { host: host?, schemes: schemes?, ports: ports?, methods: methods?, paths: paths?, credential })
}

/// A list that, where it is given, is not empty: an empty list would read as "none" and mean "all".
fn parts<'a, T>(node: &Node<'a>, read: impl Fn(&Node<'a>) -> Option<T>) -> Option<Vec<T>> {
    let parts = node.each(MAX_PARTS, read)?;
    if parts.is_empty() {
        node.report("the list is empty", "leave the key out, or name at least one");
        return None;
    }
    Some(parts)
}

/// What a rule has to agree with.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub(super) skill: Option<&'a SkillName>,
    /// The services that the manifest declares; nothing where they could not be read.
    pub(super) credentials: Option<&'a [CredentialUse]>,
    /// The skill's own rules, which a tool's can only narrow; nothing where they could not be read.
    pub(super) rules: Option<&'a [NetworkRule]>,
}

impl Surroundings<'_> {
    /// A credential that a rule names must be declared.
    pub(super) fn check_credentials(&self, rules: &[NetworkRule], place: &str, record: &Record) {
        let Some(declared) = self.credentials else { return };
        for (number, rule) in rules.iter().enumerate() {
            let Some(service) = &rule.credential else { continue };
            if !declared.iter().any(|credential| credential.service == *service) {
                record.report(
                    &format!("{place}[{number}].credential"),
                    format!("{service} is not declared"),
                    entry_line("credentials", declared.len(), &json!({ "service": service, "access": "proxy" })),
                );
            }
        }
    }

    /// A tool's rule must lie within one of the skill's.
    pub(super) fn check_within(&self, rules: &[NetworkRule], place: &str, record: &Record) {
        let Some(wide) = self.rules else { return };
        for (number, rule) in rules.iter().enumerate() {
            if !wide.iter().any(|wide| wide.covers(rule)) {
                record.report(
                    &format!("{place}[{number}]"),
                    format!("{rule} is not within permissions.network"),
                    "a tool's list can only narrow the skill's: add the rule to permissions.network too",
                );
            }
        }
    }
}

fn method(node: &Node<'_>) -> Option<String> {
    let text = node.text(20)?;
    // RFC 9110, section 9.1: a token, by convention letters in upper case. CONNECT and TRACE are not requests
    // that egress would ever send.
    if !text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-') || matches!(text, "CONNECT" | "TRACE") {
        node.report(
            format!("{} is not a method that can be allowed", quote(text)),
            "write methods such as GET or POST",
        );
        return None;
    }
    Some(text.to_owned())
}
