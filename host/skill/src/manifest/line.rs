//! The lines of `manifest.json` that would allow what was refused, as every hint of the host writes them.
//!
//! Two forms, and each works whatever stands in the manifest: `add VALUE to LIST in manifest.json` for a list that has
//! entries, and `put "KEY": VALUE into manifest.json` (or `into permissions in manifest.json`), which sets a member.

use super::model::{Filesystem, Permissions};
use serde_json::Value;

/// Where another network rule goes in a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RulePlace {
    /// At the end of `permissions.network`.
    List,
    /// Into a new list in `permissions`, which says other things already.
    Permissions,
    /// Into a new list in new `permissions`.
    Manifest,
}

impl RulePlace {
    /// The place in a manifest with these permissions.
    #[must_use]
    pub fn of(permissions: &Permissions) -> Self {
        match &permissions.network {
            Some(rules) if !rules.is_empty() => Self::List,
            _ if *permissions == Permissions::default() => Self::Manifest,
            _ => Self::Permissions,
        }
    }

    /// The line that adds these rules, which are a manifest's: a host, or an object.
    #[must_use]
    pub fn line(self, rules: &[Value]) -> String {
        let rules: Vec<_> = rules.iter().map(Value::to_string).collect();
        let rules = rules.join(", ");
        match self {
            Self::List => format!("add {rules} to permissions.network in manifest.json"),
            Self::Permissions => format!(r#"put "network": [{rules}] into permissions in manifest.json"#),
            Self::Manifest => format!(r#"put "permissions": {{"network": [{rules}]}} into manifest.json"#),
        }
    }
}

/// The line that asks for a workspace.
#[must_use]
pub fn workspace_line(permissions: &Permissions) -> String {
    if (Permissions { filesystem: Filesystem::None, ..permissions.clone() }) == Permissions::default() {
        r#"put "permissions": {"filesystem": "workspace"} into manifest.json"#.to_owned()
    } else {
        r#"put "filesystem": "workspace" into permissions in manifest.json"#.to_owned()
    }
}

/// The line that adds `entry` to a list at the top of the manifest (`credentials`, `settings`), which has `entries` now.
#[must_use]
pub fn entry_line(list: &str, entries: usize, entry: &Value) -> String {
    match entries {
        0 => format!(r#"put "{list}": [{entry}] into manifest.json"#),
        _ => format!("add {entry} to {list} in manifest.json"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{HostPattern, NetworkRule};
    use crate::testing::{manifest, parsed, pasted};
    use serde_json::json;

    #[test]
    fn a_pasted_line_is_read_whatever_stood_there() {
        let rule = json!({"host": "b.example", "methods": ["GET"], "credential": "svc"});
        let wanted = NetworkRule {
            methods: vec!["GET".into()],
            credential: Some("svc".parse().unwrap()),
            ..NetworkRule::bare("b.example".parse::<HostPattern>().unwrap())
        };
        let entry = json!({"service": "svc", "access": "proxy"});
        for credentials in [json!(null), json!([]), json!([{"service": "other"}])] {
            for permissions in [
                json!(null),
                json!({}),
                json!({"network": true}),
                json!({"network": false}),
                json!({"network": []}),
                json!({"network": ["a.example"]}),
                json!({"network": ["a.example"], "filesystem": "none"}),
                json!({"filesystem": "workspace", "maxMemoryMb": 16}),
                json!({"maxMemoryMb": 16}),
            ] {
                let mut document = manifest();
                for (key, value) in [("credentials", &credentials), ("permissions", &permissions)] {
                    if !value.is_null() {
                        document[key] = value.clone();
                    }
                }
                let before = parsed(&document);
                let declared = pasted(&document, &entry_line("credentials", before.credentials.len(), &entry));
                let place = RulePlace::of(&before.permissions);
                let allowed = pasted(&declared, &place.line(std::slice::from_ref(&rule)));
                let after = parsed(&pasted(&allowed, &workspace_line(&parsed(&allowed).permissions)));
                assert_eq!(after.permissions.network.iter().flatten().next_back(), Some(&wanted), "{permissions}");
                let rules = |permissions: &Permissions| permissions.network.iter().flatten().count();
                assert_eq!(rules(&after.permissions), rules(&before.permissions) + 1, "{permissions}");
                assert_eq!(after.permissions.filesystem, Filesystem::Workspace);
                assert_eq!(after.permissions.max_memory_mb, before.permissions.max_memory_mb);
                assert_eq!(after.credentials.len(), before.credentials.len() + 1, "{credentials}");
            }
        }
    }
}
