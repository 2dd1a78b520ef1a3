//! Parameters as they may be recorded: what is, or may be, a secret becomes a keyed hash.
//!
//! The same value gives the same hash within one home, so that an auditor can see that two calls used the same
//! value; without the home's key nobody can test a guess against it.

use crate::AuditKeys;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Map, Value, json};
use sha2::Sha256;
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Characters of a text that are recorded; of a longer one the rest is a hash.
const MAX_TEXT: usize = 256;
/// Bytes of JSON that are recorded; what is larger altogether is a hash.
const MAX_PARAMS: usize = 16 * 1024;
/// Levels that are looked into; what lies deeper is a hash.
const MAX_DEPTH: usize = 32;
/// Parts of a schema that may speak of one value; of a value of which more do, nobody reads whether it is sensitive,
/// and it is taken to be.
const MAX_PARTS: usize = 256;

/// Parts of names that sound sensitive, in small letters and without separators.
const SENSITIVE: [&str; 24] = [
    "accesskey",
    "accountnumber",
    "apikey",
    "authorization",
    "bearer",
    "cardnumber",
    "clientsecret",
    "cookie",
    "credential",
    "creditcard",
    "cvc",
    "cvv",
    "passcode",
    "passphrase",
    "passwd",
    "password",
    "pincode",
    "privatekey",
    "recoverycode",
    "secret",
    "securitycode",
    "sessionid",
    "signingkey",
    "token",
];
/// Names that are sensitive as a whole but are parts of harmless ones.
const SENSITIVE_WHOLE: [&str; 8] = ["auth", "iban", "otp", "pass", "pin", "pwd", "ssn", "totp"];

/// A value that may be recorded. Made by a [`Redactor`] only.
#[derive(Clone, PartialEq)]
pub struct Redacted(Value);

impl Redacted {
    /// The value.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.0
    }
}

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl From<Redacted> for Value {
    fn from(redacted: Redacted) -> Self {
        redacted.0
    }
}

/// Makes values recordable. Cheap to clone.
#[derive(Clone)]
pub struct Redactor {
    key: Arc<Zeroizing<[u8; 32]>>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").finish_non_exhaustive()
    }
}

impl Redactor {
    pub(crate) fn new(keys: &AuditKeys) -> Self {
        Self { key: Arc::new(keys.hashing().clone()) }
    }

    /// Parameters of a call, with the JSON Schema of the tool where it is known.
    ///
    /// A value becomes `{"hmac": <16 hexadecimal digits>, "len": <bytes>}` where its name sounds sensitive, where
    /// the schema says `writeOnly`, `format: password`, `x-sensitive`, `sensitive` or `secret`, or where it looks like a
    /// secret. Of a text
    /// over 256 characters the beginning stays, beside such a hash of the whole.
    #[must_use]
    pub fn params(&self, params: &Value, schema: Option<&Value>) -> Redacted {
        let view = SchemaView::of(schema);
        let redacted = self.value(params, &view, 0);
        if redacted.to_string().len() > MAX_PARAMS {
            return Redacted(self.hashed(params));
        }
        Redacted(redacted)
    }

    /// A text that the host did not write itself: an error of a skill, an address, a line of log.
    #[must_use]
    pub fn text(&self, text: &str) -> Redacted {
        Redacted(self.string(text))
    }

    /// The keyed hash of some bytes: 16 hexadecimal digits of HMAC-SHA256.
    #[must_use]
    pub fn keyed_hash(&self, bytes: &[u8]) -> String {
        // HMAC takes a key of any length (RFC 2104), so this never gives the empty text.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.key.as_slice()) else { return String::new() };
        mac.update(b"sophon-audit-value-v1");
        mac.update(bytes);
        hex::encode(&mac.finalize().into_bytes()[..8])
    }

    fn value(&self, value: &Value, schema: &SchemaView<'_>, depth: usize) -> Value {
        if depth > MAX_DEPTH || schema.is_sensitive() {
            return self.hashed(value);
        }
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
            Value::String(text) => self.string(text),
            Value::Array(items) => {
                let schema = schema.items();
                Value::Array(items.iter().map(|item| self.value(item, &schema, depth + 1)).collect())
            }
            Value::Object(fields) => Value::Object(
                fields
                    .iter()
                    .map(|(name, value)| {
                        let shown = if sounds_sensitive(name) {
                            self.hashed(value)
                        } else {
                            self.value(value, &schema.property(name), depth + 1)
                        };
                        (self.name(name), shown)
                    })
                    .collect::<Map<_, _>>(),
            ),
        }
    }

    /// A field's name is the caller's text as well.
    fn name(&self, name: &str) -> String {
        if name.chars().count() > MAX_TEXT || is_secret(name) {
            return format!("hmac:{}", self.keyed_hash(name.as_bytes()));
        }
        name.to_owned()
    }

    fn string(&self, text: &str) -> Value {
        if is_secret(text) {
            return self.hash_of(text.as_bytes());
        }
        match text.char_indices().nth(MAX_TEXT) {
            None => Value::String(text.to_owned()),
            Some((end, _)) => {
                json!({ "cut": &text[..end], "hmac": self.keyed_hash(text.as_bytes()), "len": text.len() })
            }
        }
    }

    /// The hash in place of a value. Truth values and nulls carry too little to hide and stay.
    fn hashed(&self, value: &Value) -> Value {
        match value {
            Value::Null | Value::Bool(_) => value.clone(),
            Value::String(text) => self.hash_of(text.as_bytes()),
            other => self.hash_of(other.to_string().as_bytes()),
        }
    }

    fn hash_of(&self, bytes: &[u8]) -> Value {
        json!({ "hmac": self.keyed_hash(bytes), "len": bytes.len() })
    }
}

fn is_secret(text: &str) -> bool {
    !sophon_guard::scan_secrets(text).is_empty()
}

fn sounds_sensitive(name: &str) -> bool {
    let plain: String = name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    SENSITIVE.iter().any(|part| plain.contains(part)) || SENSITIVE_WHOLE.contains(&plain.as_str())
}

/// Words by which a schema says that a value is sensitive.
const FLAGS: [&str; 4] = ["writeOnly", "x-sensitive", "sensitive", "secret"];
/// Keywords that hold schemas of the same value: one, or a list of them.
const SAME: [&str; 6] = ["allOf", "anyOf", "oneOf", "if", "then", "else"];
/// Keywords that hold schemas of an array's items.
const ITEMS: [&str; 5] = ["items", "prefixItems", "additionalItems", "contains", "unevaluatedItems"];

/// All parts of a schema that speak of the value at hand: what one of them says is sensitive, is. Reads only what it
/// needs; a schema that it cannot follow says nothing, and names and patterns still do.
struct SchemaView<'s> {
    root: Option<&'s Value>,
    here: Vec<&'s Value>,
}

impl<'s> SchemaView<'s> {
    fn of(schema: Option<&'s Value>) -> Self {
        Self { root: schema, here: Vec::new() }.over(schema.into_iter().collect())
    }

    fn is_sensitive(&self) -> bool {
        self.here.len() > MAX_PARTS
            || self.here.iter().any(|schema| {
                FLAGS.iter().any(|flag| schema.get(flag) == Some(&Value::Bool(true)))
                    || schema.get("format").is_some_and(|format| format == "password")
            })
    }

    fn property(&self, name: &str) -> Self {
        let mut found = Vec::new();
        for schema in &self.here {
            let named = schema.get("properties").and_then(|properties| properties.get(name));
            // Whether a pattern means this name is not worked out here: it may.
            let patterns = schema.get("patternProperties").and_then(Value::as_object);
            let others = ["additionalProperties", "unevaluatedProperties"].map(|word| schema.get(word));
            found.extend(named.into_iter().chain(patterns.into_iter().flat_map(Map::values)));
            found.extend(others.into_iter().flatten().filter(|_| named.is_none()));
        }
        self.over(found)
    }

    fn items(&self) -> Self {
        let held = self.here.iter().flat_map(|schema| ITEMS.iter().filter_map(|word| schema.get(word)));
        self.over(held.flat_map(one_or_many).collect())
    }

    /// The view of these schemas, what they refer to, and what they are composed of; each once, since references may
    /// run in a circle.
    fn over(&self, mut open: Vec<&'s Value>) -> Self {
        let mut here: Vec<&Value> = Vec::new();
        while let Some(schema) = open.pop() {
            if here.len() > MAX_PARTS {
                break;
            }
            if !schema.is_object() || here.iter().any(|known| std::ptr::eq(*known, schema)) {
                continue;
            }
            here.push(schema);
            if let Some(pointer) = schema.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix('#')) {
                open.extend(self.root.and_then(|root| root.pointer(pointer)));
            }
            open.extend(SAME.iter().filter_map(|word| schema.get(word)).flat_map(one_or_many));
            open.extend(schema.get("dependentSchemas").and_then(Value::as_object).into_iter().flat_map(Map::values));
        }
        Self { root: self.root, here }
    }
}

fn one_or_many(value: &Value) -> &[Value] {
    value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor() -> Redactor {
        Redactor::new(&AuditKeys::new([1; 32], [2; 32]))
    }

    fn check(params: Value, schema: Option<Value>, secrets: &[&str], kept: &[&str]) {
        let text = redactor().params(&params, schema.as_ref()).value().to_string();
        for secret in secrets {
            assert!(!text.contains(secret), "{secret} is in {text}");
            assert!(text.contains("hmac"), "{text}");
        }
        for kept in kept {
            assert!(text.contains(kept), "{kept} is not in {text}");
        }
    }

    #[test]
    fn attack_43_secrets_in_parameters_become_keyed_hashes() {
        check(json!({"user": "ann", "Pass-Word": "hunter2hunter2"}), None, &["hunter2"], &["\"user\":\"ann\""]);
        check(json!({"apiKey": {"nested": ["deep-value"]}}), None, &["deep-value"], &["apiKey"]);
        check(json!({"pin": 987_654}), None, &["987654"], &[]);
        check(json!({"spinning": 987_654}), None, &[], &["987654"]);
        let schema = json!({
            "properties": {
                "a": {"writeOnly": true}, "b": {"format": "password"}, "c": {"x-sensitive": true}, "d": {},
                "e": {"$ref": "#/$defs/hidden"}, "f": {"type": "array", "items": {"anyOf": [{"format": "password"}]}},
                "loop": {"$ref": "#/properties/loop"}
            },
            "$defs": {"hidden": {"allOf": [{"writeOnly": true}]}}
        });
        check(
            json!({"a": "va-1", "b": "vb-1", "c": "vc-1", "d": "vd-1", "e": "ve-1", "f": ["vf-1"], "loop": "vl-1"}),
            Some(schema),
            &["va-1", "vb-1", "vc-1", "ve-1", "vf-1"],
            &["vd-1", "vl-1"],
        );
        // What several parts of a schema say of one value holds together, wherever they stand.
        let parts = json!({
            "properties": {"a": {"type": "string"}, "b": {"type": "array", "prefixItems": [{"secret": true}]}},
            "allOf": [{"properties": {"a": {"sensitive": true}}}],
            "if": {"properties": {"c": {"format": "password"}}},
            "patternProperties": {"^x": {"writeOnly": true}},
        });
        check(
            json!({"a": "va-2", "b": ["vb-2"], "c": "vc-2", "xd": "vd-2"}),
            Some(parts),
            &["va-2", "vb-2", "vc-2", "vd-2"],
            &[],
        );
        let many: Vec<_> = (0..MAX_PARTS + 1).map(|n| json!({"const": n})).collect();
        check(json!({"a": "va-3"}), Some(json!({"properties": {"a": {"anyOf": many}}})), &["va-3"], &[]);
        // By its look alone, as a value, inside a longer text, and as a name.
        let pattern = format!("ghp_{}", "aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA5");
        check(json!({"note": pattern}), None, &[&pattern], &[]);
        check(json!({"note": format!("{} {pattern}", "x ".repeat(400))}), None, &[&pattern], &[]);
        let named: Map<_, _> = [(pattern.clone(), Value::from(1))].into_iter().collect();
        check(Value::Object(named), None, &[&pattern], &[]);
    }

    #[test]
    fn long_texts_are_cut_and_large_parameters_hashed() {
        let long = "wörds and ".repeat(100);
        let cut = redactor().params(&json!({ "text": long }), None);
        let shown = &cut.value()["text"];
        assert_eq!(shown["cut"].as_str().unwrap().chars().count(), MAX_TEXT);
        assert_eq!(shown["len"], long.len());
        let many: Vec<_> = (0..10_000).collect();
        let large = redactor().params(&json!({ "many": many }), None);
        assert!(large.value()["hmac"].is_string() && large.value().to_string().len() < 100);
        let mut deep = json!("bottom-value");
        for _ in 0..100 {
            deep = json!({ "d": deep });
        }
        assert!(!redactor().params(&deep, None).value().to_string().contains("bottom-value"));
    }

    #[test]
    fn hashes_depend_on_the_key_and_the_value() {
        let (one, other) = (redactor(), Redactor::new(&AuditKeys::new([1; 32], [3; 32])));
        assert_eq!(one.keyed_hash(b"value"), one.clone().keyed_hash(b"value"));
        assert_ne!(one.keyed_hash(b"value"), one.keyed_hash(b"valuf"));
        assert_ne!(one.keyed_hash(b"value"), other.keyed_hash(b"value"));
        assert_eq!(one.keyed_hash(b"value").len(), 16);
    }
}
