//! Reads `credentials`, `integration` and `settings`: what a person connects and configures.

use super::model::{Access, CredentialUse, Field, FieldKind, Integration, Setting};
use super::reader::{Node, Object, Unknown};
use crate::text::quote;
use sophon_types::ServiceName;
use std::collections::BTreeSet;

const MAX_CREDENTIALS: usize = 16;
const MAX_SCOPES: usize = 64;
const MAX_FIELDS: usize = 32;
const MAX_SETTINGS: usize = 64;
const SERVICE: &str = "name the service, such as github";

pub(super) fn credentials(node: &Node<'_>) -> Option<Vec<CredentialUse>> {
    let mut seen = BTreeSet::new();
    let mut uses = Vec::new();
    for item in node.items(MAX_CREDENTIALS)? {
        let Some(credential) = credential(&item) else { continue };
        if !seen.insert(credential.service.clone()) {
            item.report(format!("the service {} stands twice", credential.service), "join the two entries");
        }
        uses.push(credential);
    }
    Some(uses)
}

fn credential(node: &Node<'_>) -> Option<CredentialUse> {
    let object = node.object()?;
    let service = object.required("service", SERVICE).and_then(|n| n.parse::<ServiceName>(SERVICE));
    let scopes = object
        .optional("scopes")
        .map_or(Some(Vec::new()), |n| n.each(MAX_SCOPES, |scope| scope.text(256).map(str::to_owned)));
    let required = object.optional("required").map_or(Some(false), |n| n.boolean());
    // A public skill says `injected`, meaning that its code is handed the secret. No skill is: it is served as `proxy`.
    let access = object.optional("access").map_or(Some(Access::Proxy), |n| {
        n.word(&[("proxy", Access::Proxy), ("scoped-token", Access::ScopedToken), ("injected", Access::Proxy)])
    });
    object.finish(Unknown::Note);
    let (service, scopes, access) = (service?, scopes?, access?);
    if access == Access::ScopedToken && scopes.is_empty() {
        node.report(
            format!("a token of narrow scope for {service} is asked for, and no scope is named"),
            r#"name the scopes that the token is to have, or write "access": "proxy""#,
        );
        return None;
    }
    Some(CredentialUse { service, scopes, required: required?, access })
}

pub(super) fn integration(node: &Node<'_>) -> Option<Integration> {
    let object = node.object()?;
    let service = object.required("service", SERVICE).and_then(|n| n.parse::<ServiceName>(SERVICE));
    let display_name = text(&object, "displayName", 128);
    let auth_type = text(&object, "authType", 64);
    // Shown in public catalogues only.
    for key in ["description", "icon", "category"] {
        if let Some(node) = object.optional(key) {
            node.text_or_empty(2000)?;
        }
    }
    let fields = object.optional("fields").map_or(Some(Vec::new()), |n| fields(&n));
    let test_endpoint = text(&object, "testEndpoint", 2048);
    object.finish(Unknown::Note);
    let service = service?;
    Some(Integration {
        display_name: display_name.unwrap_or_else(|| service.to_string()),
        service,
        auth_type: auth_type.unwrap_or_else(|| "custom".to_owned()),
        fields: fields?,
        test_endpoint,
    })
}

/// Optional text; empty is as good as absent.
fn text(object: &Object<'_>, key: &'static str, max: usize) -> Option<String> {
    let text = object.optional(key)?.text_or_empty(max)?;
    (!text.is_empty()).then(|| text.to_owned())
}

fn fields(node: &Node<'_>) -> Option<Vec<Field>> {
    let mut seen = BTreeSet::new();
    let mut fields = Vec::new();
    for item in node.items(MAX_FIELDS)? {
        let Some(field) = field(&item) else { continue };
        if !seen.insert(field.key.clone()) {
            item.report(format!("the field {} stands twice", field.key), "give each field its own key");
        }
        fields.push(field);
    }
    Some(fields)
}

fn field(node: &Node<'_>) -> Option<Field> {
    const KINDS: [(&str, FieldKind); 4] = [
        ("secret", FieldKind::Secret),
        ("text", FieldKind::Text),
        ("url", FieldKind::Url),
        ("email", FieldKind::Email),
    ];
    let object = node.object()?;
    let key = object.required("key", "name the field, such as token").and_then(|n| key(&n));
    let kind = object.required("type", "write one of secret, text, url, email").and_then(|n| n.word(&KINDS));
    let required = object.optional("required").map_or(Some(false), |n| n.boolean());
    let label = text(&object, "label", 256);
    let pattern = text(&object, "pattern", 512);
    if let (Some(pattern), Some(node)) = (&pattern, object.optional("pattern"))
        && let Err(bad) = node.record().patterns.admit(pattern)
    {
        node.report(bad.problem(&quote(pattern)), bad.hint());
    }
    let pattern_message = text(&object, "patternMessage", 512);
    let placeholder = text(&object, "placeholder", 512);
    let help_text = text(&object, "helpText", 2000);
    let help_url = text(&object, "helpUrl", 2048);
    object.finish(Unknown::Note);
    let key = key?;
    Some(Field {
        label: label.unwrap_or_else(|| key.clone()),
        key,
        kind: kind?,
        required: required?,
        pattern,
        pattern_message,
        placeholder,
        help_text,
        help_url,
    })
}

/// A key of a field or setting: a letter, then letters, digits, `_`, `.` and `-`, at most 64 characters.
fn key(node: &Node<'_>) -> Option<String> {
    let text = node.text(64)?;
    let valid = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if !valid {
        node.report(
            format!("{} is not a key", quote(text)),
            "begin with a letter; then letters, digits, '_', '.' and '-'",
        );
        return None;
    }
    Some(text.to_owned())
}

pub(super) fn settings(node: &Node<'_>) -> Option<Vec<Setting>> {
    let mut seen = BTreeSet::new();
    let mut settings = Vec::new();
    for item in node.items(MAX_SETTINGS)? {
        let Some(setting) = setting(&item) else { continue };
        if !seen.insert(setting.key.clone()) {
            item.report(format!("the setting {} stands twice", setting.key), "give each setting its own key");
        }
        settings.push(setting);
    }
    Some(settings)
}

fn setting(node: &Node<'_>) -> Option<Setting> {
    let object = node.object()?;
    let key = object.required("key", "name the setting").and_then(|n| key(&n));
    let description = object.required("description", "say what the setting does").and_then(|n| n.text(2000));
    let default = object.optional("default").map(|n| n.text_or_empty(4096).map(str::to_owned));
    object.finish(Unknown::Refuse);
    Some(Setting {
        key: key?,
        description: description?.to_owned(),
        default: match default {
            Some(value) => Some(value?),
            None => None,
        },
    })
}
