//! Arguments and schemas: canonical JSON is a fixed point and has each key once, and no schema that a manifest may
//! have makes checking panic, run long or repeat what the caller sent.
//!
//! The input is a schema, a line with `---`, and arguments.
#![no_main]
#![expect(clippy::unwrap_used, reason = "what is not as promised has to end the run")]

use libfuzzer_sys::fuzz_target;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};
use sophon_fuzz::Input;
use sophon_skill::{ArgumentCheck, Manifest, Shown};
use sophon_types::CanonicalJson;
use std::collections::BTreeSet;
use std::fmt;

/// Stands in the arguments as a value only, never in a schema.
const CANARY: &str = "cAnArYvAlUe";

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let (schema, arguments) = (input.until(b"\n---\n"), input.rest());
    canonical(schema);
    let arguments = canonical(arguments);
    let Ok(schema) = serde_json::from_slice::<Value>(schema) else { return };
    let Some(schema) = admitted(&schema) else { return };
    let Ok(check) = ArgumentCheck::new(&schema) else { return };
    for arguments in [json!({}), json!({ "a": [CANARY], "b": { "a": CANARY } })].into_iter().chain(arguments) {
        let arguments = CanonicalJson::of(arguments).unwrap();
        let violations = check.violations(arguments.value(), Shown::PlacesOnly);
        assert!(violations.len() <= 20);
        assert!(!violations.iter().any(|said| said.contains(CANARY)), "{violations:?}");
        let again = CanonicalJson::parse(arguments.as_str().as_bytes()).unwrap();
        assert_eq!(check.violations(again.value(), Shown::PlacesOnly).is_empty(), violations.is_empty());
    }
});

/// What holds of every JSON text that is accepted; the value.
fn canonical(text: &[u8]) -> Option<Value> {
    let plain = serde_json::from_slice::<Value>(text);
    let Ok(once) = CanonicalJson::parse(text) else { return None };
    assert!(plain.is_ok());
    assert!(serde_json::from_slice::<OnceEach>(text).unwrap().0, "a key stands twice");
    assert_eq!(once.as_str().len(), once.as_str().trim().len());
    let twice = CanonicalJson::parse(once.as_str().as_bytes()).unwrap();
    assert_eq!((twice.as_str(), twice.digest()), (once.as_str(), once.digest()));
    let of = CanonicalJson::of(once.value().clone()).unwrap();
    assert_eq!(of.as_str(), once.as_str());
    Some(once.into_value())
}

/// The schema as a manifest's tool has it, where a manifest may.
fn admitted(schema: &Value) -> Option<Value> {
    let manifest = json!({
        "name": "probe", "version": "1.0.0", "author": "a", "license": "MIT", "description": "d",
        "runtime": "wasm", "entrypoint": "skill.wasm",
        "tools": [{"name": "go", "description": "d", "riskLevel": "low", "parameters": schema}],
    });
    let manifest = Manifest::parse(manifest.to_string().as_bytes()).ok()?;
    Some(manifest.tools[0].parameters.clone())
}

/// Whether every object of a text has each key once; a reader of its own.
struct OnceEach(bool);

impl<'de> Deserialize<'de> for OnceEach {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Walk)
    }
}

struct Walk;

impl<'de> Visitor<'de> for Walk {
    type Value = OnceEach;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<OnceEach, E> {
        Ok(OnceEach(true))
    }
    fn visit_bool<E>(self, _: bool) -> Result<OnceEach, E> {
        Ok(OnceEach(true))
    }
    fn visit_u64<E>(self, _: u64) -> Result<OnceEach, E> {
        Ok(OnceEach(true))
    }
    fn visit_i64<E>(self, _: i64) -> Result<OnceEach, E> {
        Ok(OnceEach(true))
    }
    fn visit_f64<E>(self, _: f64) -> Result<OnceEach, E> {
        Ok(OnceEach(true))
    }
    fn visit_str<E>(self, _: &str) -> Result<OnceEach, E> {
        Ok(OnceEach(true))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<OnceEach, A::Error> {
        let mut once = true;
        while let Some(item) = items.next_element::<OnceEach>()? {
            once &= item.0;
        }
        Ok(OnceEach(once))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<OnceEach, A::Error> {
        let (mut once, mut seen) = (true, BTreeSet::new());
        while let Some(key) = fields.next_key::<String>()? {
            once &= seen.insert(key);
            once &= fields.next_value::<OnceEach>()?.0;
        }
        Ok(OnceEach(once))
    }
}
