//! What lies in a home after a restart: nothing half-written, nothing that belongs to nobody, no key but the first.

use crate::harness::Home;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The keys of a home as they were first seen.
#[derive(Default)]
pub(super) struct KnownKeys(BTreeMap<PathBuf, Vec<u8>>);

impl KnownKeys {
    /// A key that was there once is there for ever, and the same.
    #[track_caller]
    pub(super) fn check(&mut self, home: &Home) {
        for path in files(&home.path().join("keys")) {
            // Not yet whole, and not yet anybody's key; whether it goes is looked at after a restart.
            if path.extension().is_some_and(|ending| ending == "new") {
                continue;
            }
            let bytes = std::fs::read(&path).expect("a key file");
            assert_eq!(bytes.len(), 45, "{} is not whole", path.display());
            let known = self.0.entry(path.clone()).or_insert_with(|| bytes.clone());
            assert_eq!(*known, bytes, "{} is another key", path.display());
        }
        for path in self.0.keys() {
            assert!(path.exists(), "{} is gone", path.display());
        }
    }
}

/// Checks that every file in the home is one that belongs there while a gateway serves that runs no call. `packages`
/// are the digests of what is installed, in hexadecimal.
#[track_caller]
pub(super) fn check(home: &Home, packages: &BTreeSet<String>) {
    let root = home.path();
    let mut surprises = Vec::new();
    let mut blobs = BTreeSet::new();
    for path in files(&root) {
        let inside = path.strip_prefix(&root).expect("it is in the home").to_string_lossy().into_owned();
        let parts: Vec<&str> = inside.split('/').collect();
        let belongs = match &*parts {
            ["sophon.toml" | "sophon.db" | "sophon.db-wal" | "sophon.db-shm"] => true,
            ["keys", "kek" | "audit-signing" | "audit-hash" | "code-cache" | "sandboxes"] => true,
            ["run", "lock" | "gateway.json"] => true,
            ["cache", "compiled", code] => code.ends_with(".cwasm"),
            ["blobs", "sha256", folder, blob] => {
                blobs.insert((*blob).to_owned());
                blob.len() == 64 && blob.starts_with(folder)
            }
            _ => false,
        };
        if !belongs {
            surprises.push(inside);
        }
    }
    assert!(surprises.is_empty(), "left over: {surprises:?}");
    assert_eq!(blobs, *packages, "packages that lie there, and those that are installed");
    let workspaces: Vec<_> = std::fs::read_dir(root.join("run/workspaces")).expect("workspaces").collect();
    assert!(workspaces.is_empty(), "left over: {workspaces:?}");
    let beside = files(root.parent().expect("a folder"));
    let beside: Vec<_> = beside.iter().filter(|path| !path.starts_with(&root)).collect();
    let known = |path: &&PathBuf| {
        path.file_name().is_some_and(|name| ["port", "gateway.log", "authority.pem"].iter().any(|known| name == *known))
    };
    assert!(beside.iter().all(known), "left over: {beside:?}");
}

/// Every file below `folder`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}
