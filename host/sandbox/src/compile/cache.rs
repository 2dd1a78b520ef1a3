//! Compiled code on disk, each file under the host's MAC. What does not verify is compiled again, never mapped.

use super::mapped::Sealed;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sophon_types::Timestamp;
use std::collections::HashSet;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};
use wasmtime::Engine;
use wasmtime::component::Component;

/// Bytes of a MAC (HMAC-SHA256).
const MAC: usize = 32;
/// The largest file that is read back.
const MOST: u64 = 512 << 20;
/// What was written within this time is not swept: it may be of what is being installed.
const YOUNG: Duration = Duration::from_secs(60 * 60);

/// What a sweep removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// A folder of compiled code.
pub struct CodeCache {
    folder: PathBuf,
    key: [u8; 32],
}

impl std::fmt::Debug for CodeCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CodeCache").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl CodeCache {
    /// Uses `folder`, made where missing, with `key`, which nobody but this host may know. Half-written files of an
    /// earlier run are removed; where they cannot be, what is whole is used all the same.
    ///
    /// # Errors
    /// Where the folder cannot be made or listed.
    pub fn open(folder: &Path, key: [u8; 32]) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "partial")
                && let Err(error) = fs::remove_file(&path)
            {
                tracing::warn!(file = %path.display(), %error, "a half-written file could not be removed");
            }
        }
        Ok(Self { folder: folder.to_owned(), key })
    }

    /// The component of that name, where there is one that this host made. A damaged file is removed.
    pub(super) fn load(&self, engine: &Engine, name: &str) -> Option<Component> {
        let path = self.folder.join(name);
        match self.read(engine, name, &path) {
            Ok(component) => Some(component),
            Err(Unusable::Absent) => None,
            Err(Unusable::Damaged(why)) => {
                tracing::warn!(file = %path.display(), why, "compiled code is not used, and made again");
                if let Err(error) = fs::remove_file(&path) {
                    tracing::warn!(file = %path.display(), %error, "it could not be removed");
                }
                None
            }
        }
    }

    fn read(&self, engine: &Engine, name: &str, path: &Path) -> Result<Component, Unusable> {
        let damaged = |why: &dyn ToString| Unusable::Damaged(why.to_string());
        let file = match fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Unusable::Absent),
            Err(error) => return Err(damaged(&error)),
        };
        let mut stored = Vec::new();
        file.take(MOST).read_to_end(&mut stored).map_err(|error| damaged(&error))?;
        let Some((code, mac)) = stored.split_last_chunk::<MAC>() else { return Err(damaged(&"it is cut short")) };
        let mut sealed = Sealed::new(code).map_err(|error| damaged(&error))?;
        // Over what can no longer change, not over what was read.
        let content = sealed.content().map_err(|error| damaged(&error))?;
        self.mac(name, &content).verify_slice(mac).map_err(|_differs| damaged(&"its MAC does not verify"))?;
        sealed.map(engine).map_err(|error| damaged(&error))
    }

    /// Keeps `code`. Failing to is no failure: it is compiled again next time.
    pub(super) fn store(&self, name: &str, code: &[u8]) {
        if let Err(error) = self.write(name, code) {
            tracing::warn!(folder = %self.folder.display(), %error, "compiled code could not be kept");
        }
    }

    fn write(&self, name: &str, code: &[u8]) -> io::Result<()> {
        let partial = self.folder.join(format!("{name}.{}.partial", std::process::id()));
        let mut file = fs::File::create(&partial)?;
        let mac = self.mac(name, code).finalize().into_bytes();
        let written = file.write_all(code).and_then(|()| file.write_all(&mac));
        // No fsync: a file that a crash leaves torn fails its MAC.
        let kept = written.and_then(|()| fs::rename(&partial, self.folder.join(name)));
        // On a full disk what could not be finished would keep the space that others need.
        if kept.is_err()
            && let Err(error) = fs::remove_file(&partial)
        {
            tracing::warn!(file = %partial.display(), %error, "a half-written file could not be removed");
        }
        kept
    }

    /// Removes files of compiled code that are not in `keep` and were written more than an hour before `now`. What is
    /// removed and needed all the same is compiled again. Files with other names than this cache gives are left alone.
    pub(super) fn sweep(&self, keep: &HashSet<String>, now: Timestamp) -> io::Result<Swept> {
        let mut swept = Swept::default();
        for file in fs::read_dir(&self.folder)? {
            let file = file?;
            let name = file.file_name();
            if !name.to_str().is_some_and(|name| is_ours(name) && !keep.contains(name)) {
                continue;
            }
            let found = file.metadata()?;
            if !found.is_file() || now.since(written(&found)?) <= YOUNG {
                continue;
            }
            fs::remove_file(file.path())?;
            swept.files += 1;
            swept.bytes += found.len();
        }
        Ok(swept)
    }

    fn mac(&self, name: &str, code: &[u8]) -> Hmac<Sha256> {
        // HMAC takes a key of any length (RFC 2104).
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes a key of any length");
        mac.update(b"sophon-compiled-code-v1");
        mac.update(&(name.len() as u64).to_be_bytes());
        mac.update(name.as_bytes());
        mac.update(code);
        mac
    }
}

/// Whether this cache makes files of that name: `COMPONENT-ENGINE.cwasm`, see `compile::name`.
fn is_ours(name: &str) -> bool {
    let parts = name.strip_suffix(".cwasm").and_then(|name| name.split_once('-'));
    let hex = |text: &str, digits| text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    parts.is_some_and(|(component, engine)| hex(component, 64) && hex(engine, 16))
}

/// When a file was written; 1970 for one that is older.
fn written(file: &fs::Metadata) -> io::Result<Timestamp> {
    let since = file.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Timestamp::from_micros(0).plus(since))
}

enum Unusable {
    Absent,
    Damaged(String),
}
