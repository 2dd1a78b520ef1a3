//! Packages, keys and what an attacker has.

use sophon_skill::{SigningIdentity, with_tools_section};
use std::collections::BTreeMap;

/// Seeds of keys that no home trusts.
pub const FORGED_KEYS: [u8; 2] = [0xa1, 0xa2];

/// The identity of a seed.
#[must_use]
pub fn identity(seed: u8) -> SigningIdentity {
    SigningIdentity::from_seed("fuzz", &[seed; 32]).unwrap()
}

const TOOLS: &str = r#"[{"name":"get","description":"Gets.","riskLevel":"low"}]"#;

/// The smallest component that exports `sophon:skill/tools` (`component.wat` beside it is its source), with its tools.
#[must_use]
pub fn component() -> Vec<u8> {
    with_tools_section(include_bytes!("component.wasm"), TOOLS.as_bytes()).unwrap()
}

/// The files of a sound package.
#[must_use]
pub fn package_files() -> BTreeMap<String, Vec<u8>> {
    let manifest = format!(
        r#"{{"name":"demo","version":"1.0.0","author":"Ann","license":"MIT","description":"A demo.",
        "runtime":"wasm","entrypoint":"skill.wasm","tools":{TOOLS}}}"#
    );
    BTreeMap::from([
        ("manifest.json".to_owned(), manifest.into_bytes()),
        ("skill.wasm".to_owned(), component()),
        ("README.md".to_owned(), b"# Demo\n".to_vec()),
        ("LICENSE".to_owned(), b"MIT\n".to_vec()),
    ])
}
