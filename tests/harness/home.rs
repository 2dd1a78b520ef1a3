//! A home folder of its own for each test.

use super::upstream::Upstream;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A home. Removed when it is dropped.
pub(crate) struct Home {
    folder: TempDir,
}

impl Home {
    /// A home whose gateway trusts the upstreams of this test run.
    pub(crate) fn new() -> Self {
        Self::configured("")
    }

    /// The same, with more of `sophon.toml`.
    pub(crate) fn configured(more: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("sophon-e2e-").tempdir().expect("a folder");
        let home = Self { folder };
        std::fs::create_dir(home.path()).expect("the home");
        home.configure_trusting(more);
        home
    }

    /// Writes a `sophon.toml` that trusts the upstreams of this test run.
    pub(crate) fn configure_trusting(&self, more: &str) {
        let authority = self.beside("authority.pem");
        std::fs::write(&authority, Upstream::authority()).expect("the authority's file");
        self.configure(&format!("[egress]\nextra_ca_files = [{authority:?}]\n{more}"));
    }

    /// Replaces `sophon.toml`.
    pub(crate) fn configure(&self, text: &str) {
        std::fs::write(self.path().join("sophon.toml"), text).expect("sophon.toml");
    }

    /// What `SOPHON_HOME` names.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// A file beside the home, for what a person would keep elsewhere.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Every file whose bytes hold `needle`, in the home and beside it.
    pub(crate) fn files_with(&self, needle: &[u8]) -> Vec<PathBuf> {
        let mut found = Vec::new();
        search(self.folder.path(), needle, &mut found);
        found
    }
}

fn search(folder: &Path, needle: &[u8], found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            search(&path, needle, found);
        } else if std::fs::read(&path).is_ok_and(|bytes| bytes.windows(needle.len()).any(|part| part == needle)) {
            found.push(path);
        }
    }
}
