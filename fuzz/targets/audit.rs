//! Audit records: no secret of a call's parameters is recorded, and no changed export passes for the exported one.
//!
//! The first byte chooses: parameters whose names give the secret away, or whose schema does, or its own look; the
//! genuine export damaged; an export as it comes. After it, for parameters: a line that spells the name, then JSON.
#![no_main]
#![expect(clippy::unwrap_used, reason = "what is not as promised has to end the run")]

use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value, json};
use sophon_audit::{Action, ExportScope, Outcome, Record, verify_export};
use sophon_fuzz::{Home, Input};
use sophon_types::{CanonicalJson, Clock as _, Role};

/// In no input and no name.
const SECRET: &str = "correct-horse-7391";
/// A secret by its look alone.
const LOOKS: &str = "ghp_aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA5";
const NAMES: [&str; 12] = [
    "accessKey",
    "api_key",
    "Authorization",
    "client-secret",
    "cookie",
    "credential",
    "passphrase",
    "password",
    "privateKey",
    "secret",
    "sessionId",
    "token",
];

struct Scene {
    home: Home,
    /// One home, once with all bodies and once with one tenant's.
    exports: [String; 2],
}

impl Scene {
    fn new() -> Self {
        let home = Home::new();
        let exports = home.runtime.block_on(async {
            for n in 0..6 {
                let params = home.audit.redactor().params(&json!({ "n": n, "password": SECRET }), None);
                let record = Record::new(Action::CallIntent, Outcome::Intent).params(params).detail("n", n);
                let record = match n % 2 {
                    0 => record.principal(&Home::principal(Role::Agent)),
                    _ => record.tenant(&"other".parse().unwrap()),
                };
                home.audit.append(record).await.unwrap();
            }
            home.audit.checkpoint().await.unwrap();
            let mut exports = [String::new(), String::new()];
            for (text, scope) in
                exports.iter_mut().zip([ExportScope::Everything, ExportScope::Tenant("acme".parse().unwrap())])
            {
                let mut export = home.audit.reader().export(scope, sophon_fuzz::Fixed.now());
                while let Some(chunk) = export.next_chunk().await.unwrap() {
                    text.push_str(&chunk);
                }
            }
            exports
        });
        let scene = Self { home, exports };
        assert!(scene.exports.iter().all(|export| scene.passes(export.as_bytes()) && !export.contains(SECRET)));
        scene
    }

    fn passes(&self, export: &[u8]) -> bool {
        verify_export(export, Some(&self.home.keys.public_key())).is_ok_and(|found| found.is_intact())
    }
}

thread_local! {
    static SCENE: Scene = Scene::new();
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let kind = input.byte();
    SCENE.with(|scene| match kind % 5 {
        0..3 => params(scene, kind % 5, &mut input),
        3 => {
            let genuine = &scene.exports[usize::from(input.byte() % 2)];
            let mut damaged = genuine.clone().into_bytes();
            input.damage(&mut damaged);
            assert!(damaged == genuine.as_bytes() || !scene.passes(&damaged), "{}", String::from_utf8_lossy(&damaged));
        }
        _ => {
            let text = input.rest();
            assert!(scene.exports.iter().any(|export| export.as_bytes() == text) || !scene.passes(text));
        }
    });
});

fn params(scene: &Scene, kind: u8, input: &mut Input<'_>) {
    let spelling = input.line();
    let Ok(params) = CanonicalJson::parse(input.rest()) else { return };
    let mut params = params.into_value();
    let mut schema = None;
    match kind {
        0 => named(&mut params, &spelled(spelling), &json!([{ "deep": SECRET }, SECRET])),
        1 => {
            let secret = json!(SECRET);
            schema = flagged(&mut params, spelling.first().copied().unwrap_or_default(), &secret);
        }
        _ => looks(&mut params),
    }
    let text = params.to_string();
    let redacted = scene.home.audit.redactor().params(&params, schema.as_ref());
    let recorded = redacted.value().to_string();
    assert!(!recorded.contains(SECRET), "{text}\n{recorded}");
    assert!(kind != 2 || !recorded.contains(LOOKS), "{text}\n{recorded}");
    assert!(recorded.len() <= 17 << 10, "{}", recorded.len());
    assert_eq!(scene.home.audit.redactor().params(&params, schema.as_ref()), redacted);
}

/// A sensitive name with other capitals, and with separators and words around it.
fn spelled(how: &[u8]) -> String {
    let mut how = Input::new(how);
    let name = NAMES[usize::from(how.byte()) % NAMES.len()];
    let mut out = String::new();
    for c in name.chars() {
        let twist = how.byte();
        let c = if twist & 1 == 0 { c.to_ascii_lowercase() } else { c.to_ascii_uppercase() };
        out.push(c);
        out.push_str(["", "", "_", "-", " ", ".", "\u{200b}", "$"][usize::from(twist >> 1) % 8]);
    }
    ["user_", "", "", "my"][usize::from(how.byte()) % 4].to_owned() + &out
}

/// Puts `secret` under `name` into every object.
fn named(value: &mut Value, name: &str, secret: &Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| named(item, name, secret)),
        Value::Object(fields) => {
            fields.values_mut().for_each(|field| named(field, name, secret));
            fields.insert(name.to_owned(), secret.clone());
        }
        _ => {}
    }
}

/// Makes every field of the outermost object the secret, and a schema that says so.
fn flagged(params: &mut Value, how: u8, secret: &Value) -> Option<Value> {
    let fields = params.as_object_mut()?;
    let flag = match how & 3 {
        0 => json!({ "writeOnly": true }),
        1 => json!({ "type": "string", "format": "password" }),
        2 => json!({ "x-sensitive": true }),
        _ => json!({ "$ref": "#/$defs/hidden" }),
    };
    let (inner, value) = match how >> 2 & 3 {
        0 => (flag, secret.clone()),
        1 => (json!({ "items": flag }), json!([secret, secret])),
        2 => (json!({ "anyOf": [{ "type": "null" }, flag] }), secret.clone()),
        _ => (json!({ "properties": { "in": flag } }), json!({ "in": secret })),
    };
    let mut properties = Map::new();
    for (name, field) in fields.iter_mut() {
        *field = value.clone();
        properties.insert(name.clone(), inner.clone());
    }
    let defs = json!({ "hidden": { "allOf": [{ "writeOnly": true }] } });
    // What is composed of several parts is sensitive where one of them says so.
    Some(match how >> 4 & 3 {
        0 => json!({ "properties": properties, "$defs": defs }),
        1 => json!({ "allOf": [{ "properties": properties }], "$defs": defs }),
        2 => {
            let plain: Map<_, _> = properties.keys().map(|name| (name.clone(), json!({ "type": "string" }))).collect();
            json!({ "properties": plain, "allOf": [{ "properties": properties }], "$defs": defs })
        }
        _ => json!({ "additionalProperties": inner, "$defs": defs }),
    })
}

/// Puts what looks like a secret into every text.
fn looks(value: &mut Value) {
    match value {
        Value::String(text) => *text = format!("{text} {LOOKS} {text}"),
        Value::Array(items) => items.iter_mut().for_each(|item| looks(item)),
        Value::Object(fields) => fields.values_mut().for_each(|field| looks(field)),
        _ => {}
    }
}
