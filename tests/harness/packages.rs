//! Packages and who signs them.

use super::guest::Guest;
use super::process::{root, target};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sophon_skill::{Envelope, Package, SigningIdentity, pack};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Someone who signs.
pub(crate) struct Publisher(SigningIdentity);

impl Publisher {
    /// `seed` tells one from another.
    pub(crate) fn new(name: &str, seed: u8) -> Self {
        Self(SigningIdentity::from_seed(name, &[seed; 32]).expect("an identity"))
    }

    pub(crate) fn name(&self) -> &str {
        self.0.name()
    }

    pub(crate) fn public_key(&self) -> String {
        self.0.public_key().to_string()
    }

    pub(crate) fn fingerprint(&self) -> String {
        self.0.public_key().fingerprint().to_string()
    }

    pub(crate) fn sign(&self, guest: &Guest) -> Signed {
        self.sign_package(package(guest))
    }

    pub(crate) fn sign_package(&self, package: Vec<u8>) -> Signed {
        let read = Package::read(package.clone()).expect("the package can be read");
        Signed { envelope: Some(Envelope::sign(&self.0, &read).to_json()), package }
    }
}

/// A package with its signature, or without.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    pub(crate) package: Vec<u8>,
    pub(crate) envelope: Option<String>,
}

impl Signed {
    pub(crate) fn unsigned(guest: &Guest) -> Self {
        Self { package: package(guest), envelope: None }
    }

    /// The body of `POST /v1/skills`.
    pub(crate) fn body(&self, more: Value) -> Value {
        let mut body = json!({"package": STANDARD.encode(&self.package)});
        if let Some(envelope) = &self.envelope {
            body["signature"] = serde_json::from_str(envelope).expect("an envelope is JSON");
        }
        let (Some(members), Value::Object(more)) = (body.as_object_mut(), more) else { unreachable!() };
        members.extend(more);
        body
    }

    /// Writes the two files as they lie in a folder, and gives the package's path.
    pub(crate) fn write(&self, folder: &std::path::Path, name: &str) -> PathBuf {
        let path = folder.join(format!("{name}.sophon-skill"));
        std::fs::write(&path, &self.package).expect("the package");
        if let Some(envelope) = &self.envelope {
            std::fs::write(folder.join(format!("{name}.sophon-skill.dsse.json")), envelope).expect("the signature");
        }
        path
    }
}

fn package(guest: &Guest) -> Vec<u8> {
    files(guest.manifest_json().to_string().into_bytes(), guest.component())
}

/// A package of this manifest and this component.
pub(crate) fn files(manifest: Vec<u8>, component: Vec<u8>) -> Vec<u8> {
    let files = BTreeMap::from([
        ("LICENSE".to_owned(), b"Apache-2.0\n".to_vec()),
        ("README.md".to_owned(), b"# A skill of the tests\n".to_vec()),
        ("manifest.json".to_owned(), manifest),
        ("skill.wasm".to_owned(), component),
    ]);
    pack(&files).expect("a package")
}

/// The public key of who signs the example skills.
pub(crate) fn demo_publisher() -> String {
    let path = target().join("skills/demo-publisher.pub");
    let key = std::fs::read_to_string(&path);
    key.unwrap_or_else(|error| panic!("{}: {error}; run scripts/build-examples", path.display())).trim().to_owned()
}

/// An example skill, as `scripts/build-examples` leaves it.
pub(crate) fn example(name: &str) -> (PathBuf, Signed) {
    let folder = target().join("skills");
    let found = std::fs::read_dir(&folder).ok().into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> = found
        .filter(|path| path.extension().is_some_and(|ending| ending == "sophon-skill"))
        .filter(|path| path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&format!("{name}-"))))
        .collect();
    found.sort();
    let Some(path) = found.pop() else {
        panic!("{}: no package of {name}; run {}/scripts/build-examples", folder.display(), root().display());
    };
    let package = std::fs::read(&path).expect("the package");
    let mut beside = path.clone().into_os_string();
    beside.push(".dsse.json");
    let envelope = std::fs::read_to_string(beside).ok();
    (path, Signed { package, envelope })
}
