//! What the tests of this crate share: a small skill, keys.

use crate::manifest::Manifest;
use crate::package::Package;
use crate::sections::with_tools_section;
use crate::signature::SigningIdentity;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A manifest that breaks no rule.
pub(crate) fn manifest() -> Value {
    json!({
        "name": "demo", "version": "1.0.0", "author": "Ann", "license": "MIT", "description": "A demo.",
        "runtime": "wasm", "entrypoint": "skill.wasm",
        "tools": [{"name": "get", "description": "Gets.", "riskLevel": "low"}],
    })
}

/// The manifest once the line of a hint is pasted where it says. Whatever stands before or after the line is left out.
pub(crate) fn pasted(manifest: &Value, hint: &str) -> Value {
    let mut manifest = manifest.clone();
    if let Some((_, line)) = hint.split_once("put ") {
        let (line, place) = line.split_once(" into ").unwrap();
        let members: Value = serde_json::from_str(&format!("{{{line}}}")).unwrap();
        let into = if place.starts_with("permissions ") { &mut manifest["permissions"] } else { &mut manifest };
        for (key, value) in members.as_object().unwrap() {
            into[key] = value.clone();
        }
    } else {
        let (line, place) = hint.split_once("add ").unwrap().1.split_once(" to ").unwrap();
        let entries: Vec<Value> = serde_json::from_str(&format!("[{line}]")).unwrap();
        let list = place.split_once(" in manifest.json").unwrap().0.replace('.', "/");
        manifest.pointer_mut(&format!("/{list}")).unwrap().as_array_mut().unwrap().extend(entries);
    }
    manifest
}

/// A component that exports `sophon:skill/tools` with a function `call-tool`, and has `inside` besides.
pub(crate) fn component_text(inside: &str) -> String {
    format!(
        r#"(component
            {inside}
            (core module $m (func (export "call-tool") (result i32) i32.const 0))
            (core instance $i (instantiate $m))
            (func $f (result u32) (canon lift (core func $i "call-tool")))
            (instance $tools (export "call-tool" (func $f)))
            (export "sophon:skill/tools@1.0.0" (instance $tools)))"#
    )
}

pub(crate) fn component(inside: &str) -> Vec<u8> {
    let bytes = wat::parse_str(component_text(inside)).unwrap();
    let tools = manifest()["tools"].to_string();
    with_tools_section(&bytes, tools.as_bytes()).unwrap()
}

/// The files of a sound package.
pub(crate) fn files(manifest: &Value) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    files.insert("manifest.json".to_owned(), manifest.to_string().into_bytes());
    files.insert("skill.wasm".to_owned(), component(""));
    files.insert("README.md".to_owned(), b"# Demo\n".to_vec());
    files.insert("LICENSE".to_owned(), b"MIT\n".to_vec());
    files
}

pub(crate) fn package(manifest: &Value) -> Package {
    Package::read(crate::pack(&files(manifest)).unwrap()).unwrap()
}

pub(crate) fn parsed(manifest: &Value) -> Manifest {
    Manifest::parse(manifest.to_string().as_bytes()).unwrap()
}

pub(crate) fn identity(seed: u8) -> SigningIdentity {
    SigningIdentity::from_seed(&format!("identity {seed}"), &[seed; 32]).unwrap()
}
