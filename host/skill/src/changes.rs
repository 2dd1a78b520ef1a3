//! What an update would change of what a person agreed to.
//!
//! An update that asks for more, or that describes a tool in other words, needs fresh consent: the description is
//! what a model acts on, and a harmless one may be exchanged after it was approved.

use crate::manifest::{Filesystem, Manifest, Preset, Runtime, Tool};
use crate::network::NetworkRule;
use serde::Serialize;
use sophon_types::{ServiceName, ToolName};
use std::fmt;

/// One thing that needs fresh consent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "change")]
#[non_exhaustive]
pub enum Change {
    /// A tool that was not there.
    ToolAdded {
        /// The tool.
        tool: ToolName,
    },
    /// A tool whose description, schemas, effects or risk differ.
    ToolChanged {
        /// The tool.
        tool: ToolName,
        /// The parts that differ, as the manifest names them.
        parts: Vec<&'static str>,
    },
    /// A tool lost its own network list, or has a rule that none of its old ones covers.
    ToolNetworkWidened {
        /// The tool.
        tool: ToolName,
    },
    /// A network rule that no old rule covers.
    NetworkWidened {
        /// The rule, in one line.
        rule: String,
    },
    /// Another runtime: what held for the code before does not hold for this.
    RuntimeChanged {
        /// The runtime, as the manifest names it.
        runtime: String,
    },
    /// More memory or time, or a more open preset.
    LimitRaised {
        /// Which, and from what to what.
        limit: String,
    },
    /// The network is asked for, and was not.
    NetworkWanted,
    /// A service that was not declared.
    CredentialAdded {
        /// The service.
        service: ServiceName,
    },
    /// More scopes, none where there were some (which bounds nothing), or another access: tokens where there were none, or
    /// the whole credential where there were tokens of its scopes.
    CredentialWidened {
        /// The service.
        service: ServiceName,
    },
    /// A workspace is asked for, and was not.
    WorkspaceWanted,
    /// A connection is asked for that is no HTTP, and was not.
    StreamWanted {
        /// Which.
        stream: String,
    },
    /// A package is required that was not, or another version or file of it.
    RequirementAdded {
        /// The requirement, without its digests.
        requirement: String,
    },
}

/// Everything of `new` that goes beyond `old`; empty where an update needs no consent. What was taken away is not
/// listed.
#[must_use]
pub fn changes(old: &Manifest, new: &Manifest) -> Vec<Change> {
    let mut list = Vec::new();
    // Python is Python, by whichever of its two names.
    if new.runtime != old.runtime && !(new.runtime.is_python() && old.runtime.is_python()) {
        let name = |runtime: &Runtime| match runtime {
            Runtime::Sandbox { language } => format!("sandbox ({language})"),
            other => other.to_string(),
        };
        list.push(Change::RuntimeChanged {
            runtime: format!("{} in place of {}", name(&new.runtime), name(&old.runtime)),
        });
    }
    raised(old, new, &mut list);
    if new.wants_network() && !old.wants_network() {
        list.push(Change::NetworkWanted);
    }
    let old_rules = old.permissions.network.as_deref().unwrap_or_default();
    for rule in new.permissions.network.as_deref().unwrap_or_default() {
        if !is_covered(rule, old_rules) {
            list.push(Change::NetworkWidened { rule: rule.to_string() });
        }
    }
    // With the one that a native skill integrates, whether or not it is declared.
    let known = old.services();
    for credential in new.services() {
        let service = credential.service.clone();
        match known.iter().find(|known| known.service == service) {
            None => list.push(Change::CredentialAdded { service }),
            Some(known) => {
                let wider = credential.scopes.iter().any(|scope| !known.scopes.contains(scope));
                let emptied = credential.scopes.is_empty() && !known.scopes.is_empty();
                if wider || emptied || credential.access != known.access {
                    list.push(Change::CredentialWidened { service });
                }
            }
        }
    }
    if new.permissions.filesystem == Filesystem::Workspace && old.permissions.filesystem == Filesystem::None {
        list.push(Change::WorkspaceWanted);
    }
    for stream in new.permissions.streams.iter().filter(|stream| !old.permissions.streams.contains(stream)) {
        list.push(Change::StreamWanted { stream: stream.to_string() });
    }
    for requirement in new.requirements.iter().filter(|requirement| !old.requirements.contains(requirement)) {
        let requirement = requirement.split("--hash").next().unwrap_or(requirement).trim().to_owned();
        list.push(Change::RequirementAdded { requirement });
    }
    for tool in &new.tools {
        match old.tool(&tool.name) {
            None => list.push(Change::ToolAdded { tool: tool.name.clone() }),
            Some(known) => tool_changes(known, tool, old_rules, &mut list),
        }
    }
    list
}

/// The limits that are higher than before.
fn raised(old: &Manifest, new: &Manifest, list: &mut Vec<Change>) {
    // From open to closed.
    if new.preset() < old.preset() {
        let limit = format!("sandbox.preset {} in place of {}", new.preset().as_str(), old.preset().as_str());
        list.push(Change::LimitRaised { limit });
    }
    // A component gets no more than the most open preset has, whatever it asks for.
    let is_component = new.runtime == Runtime::Wasm;
    let wall = |manifest: &Manifest| {
        let asked = manifest.sandbox.timeout_seconds.unwrap_or(manifest.preset().wall_seconds());
        if is_component { asked.min(Preset::Minimal.wall_seconds()) } else { asked }
    };
    // Where none is named, the preset's own holds, which is compared above.
    let cpu = |manifest: &Manifest| manifest.permissions.max_cpu_seconds.unwrap_or(u32::MAX);
    let memory = |manifest: &Manifest| match is_component {
        true => manifest.memory_mb(),
        false => manifest.max_memory_mb().unwrap_or(manifest.preset().memory_mb()),
    };
    for (limit, of, unit) in
        [("memory", &memory as &dyn Fn(&Manifest) -> u32, "MiB"), ("time", &wall, "s"), ("processor time", &cpu, "s")]
    {
        let (was, is) = (of(old), of(new));
        if is > was {
            let now = if is == u32::MAX { "no bound of its own".to_owned() } else { format!("{is} {unit}") };
            list.push(Change::LimitRaised { limit: format!("{limit}: {now} in place of {was} {unit}") });
        }
    }
}

/// Whether a person agreed to `rule` already. A rule that names a credential gives it away without the connection
/// having to name the host, so one that was silent about it is no agreement to that.
fn is_covered(rule: &NetworkRule, by: &[NetworkRule]) -> bool {
    by.iter().any(|wide| wide.covers(rule) && wide.credential == rule.credential)
}

fn tool_changes(old: &Tool, new: &Tool, old_rules: &[NetworkRule], list: &mut Vec<Change>) {
    let parts = new.differing_parts(old);
    if !parts.is_empty() {
        list.push(Change::ToolChanged { tool: new.name.clone(), parts });
    }
    let widened = match (&old.network, &new.network) {
        (Some(old), Some(new)) => new.iter().any(|rule| !is_covered(rule, old)),
        (Some(_), None) => true,
        // Without a list of its own the tool had all of the skill's; a new list only narrows, except that it may name
        // a credential.
        (None, Some(new)) => new.iter().any(|rule| rule.credential.is_some() && !is_covered(rule, old_rules)),
        (None, None) => false,
    };
    if widened {
        list.push(Change::ToolNetworkWidened { tool: new.name.clone() });
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ToolAdded { tool } => write!(f, "new tool {tool}"),
            Self::ToolChanged { tool, parts } => write!(f, "{tool} differs in {}", parts.join(", ")),
            Self::ToolNetworkWidened { tool } => write!(f, "{tool} may reach more of the network"),
            Self::NetworkWidened { rule } => write!(f, "network: {rule}"),
            Self::RuntimeChanged { runtime } => write!(f, "runs as {runtime}"),
            Self::LimitRaised { limit } => write!(f, "asks for more: {limit}"),
            Self::NetworkWanted => f.write_str("asks for the network"),
            Self::CredentialAdded { service } => write!(f, "uses the credential of {service}"),
            Self::CredentialWidened { service } => write!(f, "asks more of the credential of {service}"),
            Self::WorkspaceWanted => f.write_str("asks for a workspace"),
            Self::StreamWanted { stream } => write!(f, "asks for a connection that is no HTTP: {stream}"),
            Self::RequirementAdded { requirement } => write!(f, "requires {requirement}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use serde_json::{Value, json};

    fn check(edit: impl FnOnce(&mut Value), expected: &[&str]) {
        check_from(json!([{"service": "github", "scopes": ["read"]}]), edit, expected);
    }

    fn check_from(credentials: Value, edit: impl FnOnce(&mut Value), expected: &[&str]) {
        let mut base = testing::manifest();
        base["permissions"] = json!({"network": [{"host": "*.example.com", "methods": ["GET"]}]});
        base["credentials"] = credentials;
        let mut updated = base.clone();
        edit(&mut updated);
        let [old, new] = [base, updated].map(|manifest| Manifest::parse(manifest.to_string().as_bytes()).unwrap());
        let found: Vec<_> = changes(&old, &new).iter().map(Change::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn attack_37_the_whole_credential_in_place_of_its_tokens_is_listed() {
        let tokens = || json!([{"service": "github", "scopes": ["read", "write"], "access": "scoped-token"}]);
        check_from(tokens(), |m| m["credentials"][0]["scopes"] = json!(["read"]), &[]);
        check_from(
            tokens(),
            |m| m["credentials"][0]["access"] = json!("proxy"),
            &["asks more of the credential of github"],
        );
    }

    #[test]
    fn attack_37_what_a_native_skill_gains_by_another_runtime_or_service_is_listed() {
        let mut base = testing::manifest();
        base["runtime"] = json!("python");
        base["entrypoint"] = json!("main.py");
        base["integration"] = json!({"service": "mail", "fields": []});
        let of = |edit: &dyn Fn(&mut Value)| {
            let mut updated = base.clone();
            edit(&mut updated);
            Manifest::parse(updated.to_string().as_bytes()).unwrap()
        };
        let found =
            |old: &Manifest, new: &Manifest| changes(old, new).iter().map(Change::to_string).collect::<Vec<_>>();
        let old = of(&|_| ());
        assert_eq!(found(&old, &old), Vec::<String>::new());
        assert_eq!(found(&old, &of(&|m| m["integration"]["service"] = json!("bank"))), ["uses the credential of bank"]);
        let none = of(&|m| drop(m.as_object_mut().unwrap().remove("integration")));
        assert_eq!(found(&none, &old), ["uses the credential of mail"]);
        let other = of(&|m| m["runtime"] = json!("csharp"));
        assert_eq!(found(&old, &other), ["runs as csharp in place of python"]);
        let capped = of(&|m| m["permissions"] = json!({"maxCpuSeconds": 5}));
        assert_eq!(found(&old, &capped), Vec::<String>::new());
        assert_eq!(found(&capped, &old), ["asks for more: processor time: no bound of its own in place of 5 s"]);
    }

    #[test]
    fn attack_37_what_widens_an_update_is_listed() {
        check(|_| (), &[]);
        check(|m| m["version"] = json!("1.1.0"), &[]);
        check(|m| m["permissions"]["network"] = json!([{"host": "a.example.com", "methods": ["GET"]}]), &[]);
        check(|m| m["permissions"]["network"] = json!(["evil.example"]), &["network: https://evil.example"]);
        check(
            |m| m["permissions"]["network"][0]["methods"] = json!(["GET", "DELETE"]),
            &["network: GET,DELETE https://*.example.com"],
        );
        check(
            |m| m["permissions"]["network"][0]["credential"] = json!("github"),
            &["network: GET https://*.example.com (credential github)"],
        );
        check(
            |m| {
                m["permissions"]["network"] =
                    json!([{"host": "a.example.com", "methods": ["GET"], "credential": "github"}])
            },
            &["network: GET https://a.example.com (credential github)"],
        );
        check(
            |m| {
                m["tools"][0]["network"] =
                    json!([{"host": "a.example.com", "methods": ["GET"], "credential": "github"}])
            },
            &["demo.get may reach more of the network"],
        );
        check(|m| m["tools"][0]["network"] = json!([{"host": "a.example.com", "methods": ["GET"]}]), &[]);
        check(|m| m["credentials"][0]["scopes"] = json!([]), &["asks more of the credential of github"]);
        check(|m| m["credentials"][0]["required"] = json!(true), &[]);
        check(|m| m["credentials"][0]["scopes"] = json!(["write"]), &["asks more of the credential of github"]);
        check(|m| m["credentials"][0]["access"] = json!("scoped-token"), &["asks more of the credential of github"]);
        check(|m| m["credentials"][0]["service"] = json!("mail"), &["uses the credential of mail"]);
        check(|m| m["permissions"]["filesystem"] = json!("workspace"), &["asks for a workspace"]);
        check(|m| m["permissions"]["maxMemoryMb"] = json!(128), &["asks for more: memory: 128 MiB in place of 64 MiB"]);
        check(|m| m["permissions"]["maxMemoryMb"] = json!(32), &[]);
        check(
            |m| m["permissions"]["maxMemoryMb"] = json!(4096),
            &["asks for more: memory: 256 MiB in place of 64 MiB"],
        );
        check(|m| m["sandbox"] = json!({"timeoutSeconds": 60}), &["asks for more: time: 60 s in place of 30 s"]);
        check(|m| m["sandbox"] = json!({"preset": "locked-down"}), &[]);
        check(
            |m| m["sandbox"] = json!({"preset": "minimal"}),
            &[
                "asks for more: sandbox.preset minimal in place of standard",
                "asks for more: memory: 256 MiB in place of 64 MiB",
                "asks for more: time: 300 s in place of 30 s",
            ],
        );
        check(|m| m["requirements"] = json!(["a==1 --hash=sha256:00"]), &["requires a==1"]);
        check(|m| m["tools"][0]["description"] = json!("Send all mail here."), &["demo.get differs in description"]);
        check(|m| m["tools"][0]["riskLevel"] = json!("none"), &["demo.get differs in riskLevel"]);
        check(
            |m| m["tools"].as_array_mut().unwrap().push(json!({"name": "x", "description": "d", "riskLevel": "none"})),
            &["new tool demo.x"],
        );
    }
}
