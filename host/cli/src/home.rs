//! The home folder: where everything of one host rests, and who may read it.
//!
//! ```text
//! sophon.toml   what the operator set            keys/        kek, audit-signing, audit-hash, code-cache,
//!                                                              sandboxes (no key: whose sandboxes are this home's)
//! sophon.db     the database                     identities/  signing identities of skill authors
//! blobs/        packages, and what they require  run/         lock, and gateway.json while one runs
//! ```

use crate::error::CliError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sophon_types::Entropy;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use zeroize::{Zeroize as _, Zeroizing};

/// 32 bytes that nobody else may know.
pub(crate) type KeyBytes = Zeroizing<[u8; 32]>;

/// The paths of a home. Says nothing about whether anything is there.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    root: PathBuf,
}

impl Home {
    pub(crate) fn at(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.root.join("sophon.toml")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.root.join("sophon.db")
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    /// The file of a signing identity.
    pub(crate) fn identity(&self, name: &str) -> Result<PathBuf, CliError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > 64 || name.starts_with('.') || !name.chars().all(plain) {
            let rule = "the name of an identity is 1 to 64 of A-Z, a-z, 0-9, '-', '_' and '.'";
            return Err(CliError::usage(rule, "sophon key identity ann"));
        }
        Ok(self.root.join("identities").join(format!("{name}.key")))
    }

    pub(crate) fn workspaces(&self) -> PathBuf {
        self.root.join("run/workspaces")
    }

    /// What skills require, unpacked while it is in use.
    pub(crate) fn requirements(&self) -> PathBuf {
        self.root.join("run/requirements")
    }

    pub(crate) fn code_cache(&self) -> PathBuf {
        self.root.join("cache/compiled")
    }

    pub(crate) fn run_file(&self) -> PathBuf {
        self.root.join("run/gateway.json")
    }

    pub(crate) fn key_file(&self, name: &str) -> PathBuf {
        self.root.join("keys").join(name)
    }

    fn lock_file(&self) -> PathBuf {
        self.root.join("run/lock")
    }

    /// Makes what is missing; the home and all that is in it belong to its owner alone.
    pub(crate) fn create(&self) -> Result<(), CliError> {
        for folder in ["", "blobs", "keys", "identities", "run", "run/workspaces"] {
            let path = if folder.is_empty() { self.root.clone() } else { self.root.join(folder) };
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .map_err(|error| CliError::file(&path, error))?;
        }
        let mode = fs::metadata(&self.root).map_err(|error| CliError::file(&self.root, error))?.permissions().mode();
        if mode & 0o077 != 0 {
            let own = fs::Permissions::from_mode(0o700);
            fs::set_permissions(&self.root, own).map_err(|error| CliError::file(&self.root, error))?;
        }
        Ok(())
    }

    /// Takes the home for this process alone; none where another process has it. What a gateway that was killed left of
    /// its run is gone by then: its address may be anybody's by now. So is every key file that was not finished.
    pub(crate) fn lock(&self) -> Result<Option<HomeLock>, CliError> {
        let path = self.lock_file();
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| CliError::file(&path, error))?;
        match file.try_lock() {
            Ok(()) => {
                let stale = self.run_file();
                match fs::remove_file(&stale) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(CliError::file(stale, error)),
                    _ => {}
                }
                for folder in [self.root.join("keys"), self.root.join("identities")] {
                    sweep_unfinished(&folder).map_err(|error| CliError::file(folder, error))?;
                }
                Ok(Some(HomeLock { _file: file }))
            }
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(CliError::file(&path, error)),
        }
    }

    /// Refuses a home that has been in use and whose database is gone: an empty one in its place would look like a new
    /// home, and its audit log like one that nobody has cut off. Touches nothing.
    pub(crate) fn check_database(&self) -> Result<(), CliError> {
        let path = self.database();
        let size = match fs::metadata(&path) {
            Ok(found) => found.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(CliError::file(path, error)),
        };
        // The last key that is made, long after the first bytes of the database.
        if size == 0 && self.key_file(CODE_KEY).exists() {
            return Err(CliError::DatabaseLost { path });
        }
        Ok(())
    }

    /// A key of this home. Where it is missing, `missing` says whether that is because the home is new.
    pub(crate) fn key(&self, name: &str, missing: Missing, entropy: &dyn Entropy) -> Result<KeyBytes, CliError> {
        let path = self.key_file(name);
        match read_key(&path) {
            Err(CliError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            read => return read,
        }
        if missing == Missing::Lost {
            return Err(CliError::KeyFileMissing { path });
        }
        let key: KeyBytes = Zeroizing::new(entropy.bytes());
        let mut text = Zeroizing::new(STANDARD.encode(*key));
        text.push('\n');
        // Only ever created, never replaced: what an old key protects would be lost with it.
        write_private(&path, text.as_bytes()).map_err(|error| CliError::file(&path, error))?;
        Ok(key)
    }
}

/// The file of the key that compiled code is kept under: the last key that a new home gets.
pub(crate) const CODE_KEY: &str = "code-cache";

/// The file of what tells this home's sandboxes from those of others on the same engine.
pub(crate) const SANDBOXES_KEY: &str = "sandboxes";

/// What it means that a key file is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Nothing has been done with the key yet: it is made.
    Unused,
    /// Something that rests in the home was made with the key. A new one would hide that.
    Lost,
}

/// A change of a key, half done until [`NextKey::adopt`]: both files are there, so that whichever key the data is sealed
/// with when the process ends, its file exists.
pub(crate) struct NextKey {
    next: PathBuf,
    present: PathBuf,
}

impl Home {
    /// The place of the key that is to follow `name`.
    pub(crate) fn following(&self, name: &str) -> NextKey {
        NextKey { next: self.key_file(&format!("{name}.next")), present: self.key_file(name) }
    }

    /// Makes the key that is to follow `name`.
    pub(crate) fn next_key(&self, name: &str, entropy: &dyn Entropy) -> Result<(NextKey, KeyBytes), CliError> {
        let next = self.following(name);
        next.discard()?;
        let key: KeyBytes = Zeroizing::new(entropy.bytes());
        let mut text = Zeroizing::new(STANDARD.encode(*key));
        text.push('\n');
        write_private(&next.next, text.as_bytes()).map_err(|error| CliError::file(&next.next, error))?;
        Ok((next, key))
    }

    /// The key that was to follow `name` when an earlier process ended in the middle of the change.
    pub(crate) fn interrupted_key(&self, name: &str) -> Result<Option<(NextKey, KeyBytes)>, CliError> {
        let next = self.following(name);
        match read_key(&next.next) {
            Ok(key) => Ok(Some((next, key))),
            Err(CliError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl NextKey {
    /// The new key is the key from now on.
    pub(crate) fn adopt(self) -> Result<(), CliError> {
        let moved = fs::rename(&self.next, &self.present).and_then(|()| sync_folder(&self.present));
        moved.map_err(|error| CliError::file(&self.present, error))
    }

    /// The key stays what it was.
    pub(crate) fn discard(&self) -> Result<(), CliError> {
        match fs::remove_file(&self.next) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(CliError::file(&self.next, error)),
            _ => Ok(()),
        }
    }
}

/// The home is this process's while this lives.
#[derive(Debug)]
pub(crate) struct HomeLock {
    _file: File,
}

/// Writes a new file that only its owner can read, durably and whole: it is there with all its bytes or not at all.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = PathBuf::from(beside);
    // What an earlier process of the same number left there when it was killed.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = write_beside(&beside, path, bytes);
    let tidied = fs::remove_file(&beside);
    written?;
    tidied?;
    sync_folder(path)
}

/// Removes what [`write_private`] began in this folder and a killed process did not end, unless somebody is writing it.
fn sweep_unfinished(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_unfinished)
            && entry.file_type()?.is_file()
            && File::open(entry.path())?.try_lock().is_ok()
        {
            fs::remove_file(entry.path())?;
        }
    }
    sync_entries(folder)
}

/// `NAME.PROCESS.new`.
fn is_unfinished(name: &str) -> bool {
    let process = name.strip_suffix(".new").and_then(|rest| rest.rsplit_once('.'));
    process.is_some_and(|(_, process)| !process.is_empty() && process.bytes().all(|b| b.is_ascii_digit()))
}

fn write_beside(beside: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(beside)?;
    // So that nobody who sweeps takes it for a dead one's.
    file.lock()?;
    file.write_all(bytes)?;
    file.sync_all()?;
    // A link, not a move: it fails where there is a file already.
    fs::hard_link(beside, path)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    sync_entries(folder.unwrap_or(Path::new(".")))
}

fn sync_entries(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Reads a key from its file, which only its owner may be able to read.
fn read_key(path: &Path) -> Result<KeyBytes, CliError> {
    let text = read_private(path)?;
    parse_key(&text).ok_or_else(|| CliError::KeyFileInvalid { path: path.to_owned() })
}

/// Reads a file that only its owner may be able to read.
pub(crate) fn read_private(path: &Path) -> Result<Zeroizing<String>, CliError> {
    let failed = |error| CliError::file(path, error);
    let mut file = File::open(path).map_err(failed)?;
    // Of the open file, so that what is checked is what is read.
    let mode = file.metadata().map_err(failed)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(CliError::KeyFileOpen { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::new());
    file.read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// 32 bytes as 64 hexadecimal digits or as base64.
pub(crate) fn parse_key(text: &str) -> Option<KeyBytes> {
    let text = text.trim();
    let mut bytes = if text.len() == 64 { from_hex(text)? } else { STANDARD.decode(text).ok()? };
    let mut key: KeyBytes = Zeroizing::new([0; 32]);
    let fits = bytes.len() == key.len();
    if fits {
        key.copy_from_slice(&bytes);
    }
    bytes.zeroize();
    fits.then_some(key)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.as_bytes().chunks(2).map(|pair| Some(digit(pair[0])? * 16 + digit(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::SystemEntropy;

    fn home() -> (tempfile::TempDir, Home) {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().join("home"));
        home.create().unwrap();
        (folder, home)
    }

    #[test]
    fn a_home_belongs_to_its_owner() {
        let (_folder, home) = home();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(home.root()), 0o700);
        let key = home.key("kek", Missing::Unused, &SystemEntropy).unwrap();
        assert_eq!(mode(&home.key_file("kek")), 0o600);
        assert_eq!(
            *home.key("kek", Missing::Unused, &SystemEntropy).unwrap(),
            *key,
            "the key is the same the next time"
        );
        assert_ne!(*home.key("audit-hash", Missing::Unused, &SystemEntropy).unwrap(), *key);

        fs::set_permissions(home.key_file("kek"), fs::Permissions::from_mode(0o640)).unwrap();
        let refused = home.key("kek", Missing::Unused, &SystemEntropy).unwrap_err();
        assert!(matches!(refused, CliError::KeyFileOpen { mode: 0o640, .. }), "{refused}");
    }

    #[test]
    fn a_damaged_key_is_not_replaced() {
        let (_folder, home) = home();
        write_private(&home.key_file("kek"), b"short\n").unwrap();
        assert!(matches!(home.key("kek", Missing::Unused, &SystemEntropy), Err(CliError::KeyFileInvalid { .. })));
        assert_eq!(fs::read(home.key_file("kek")).unwrap(), b"short\n");
    }

    #[test]
    fn a_key_that_something_was_made_with_is_never_made_anew() {
        let (_folder, home) = home();
        let refused = home.key("kek", Missing::Lost, &SystemEntropy).unwrap_err();
        assert!(matches!(refused, CliError::KeyFileMissing { .. }), "{refused}");
        assert!(!home.key_file("kek").exists());
        let made = home.key("kek", Missing::Unused, &SystemEntropy).unwrap();
        assert_eq!(*home.key("kek", Missing::Lost, &SystemEntropy).unwrap(), *made);
    }

    #[test]
    fn a_home_that_was_in_use_does_not_begin_again_with_an_empty_database() {
        let (_folder, home) = home();
        home.check_database().unwrap();
        home.key(CODE_KEY, Missing::Unused, &SystemEntropy).unwrap();
        assert!(matches!(home.check_database(), Err(CliError::DatabaseLost { .. })));
        fs::write(home.database(), b"").unwrap();
        assert!(matches!(home.check_database(), Err(CliError::DatabaseLost { .. })));
        fs::write(home.database(), b"SQLite format 3\0").unwrap();
        home.check_database().unwrap();
    }

    #[test]
    fn a_key_file_is_whole_or_absent() {
        let (_folder, home) = home();
        let path = home.key_file("kek");
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let looked = scope.spawn(|| {
                let mut seen = 0;
                while !done.load(std::sync::atomic::Ordering::SeqCst) {
                    if let Ok(bytes) = fs::read(&path) {
                        assert_eq!(bytes.len(), 45, "a key that is not whole");
                        seen += 1;
                    }
                }
                seen
            });
            for _ in 0..100 {
                home.key("kek", Missing::Unused, &SystemEntropy).unwrap();
                fs::remove_file(&path).unwrap();
            }
            home.key("kek", Missing::Unused, &SystemEntropy).unwrap();
            while fs::read(&path).is_err() {}
            done.store(true, std::sync::atomic::Ordering::SeqCst);
            looked.join().unwrap();
        });
        let names: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["kek"], "nothing lies beside it");
        // What is there is not replaced, and nothing is left of the attempt.
        write_private(&path, b"another").unwrap_err();
        assert_eq!(fs::read(&path).unwrap().len(), 45);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn key_files_that_a_killed_process_began_are_gone_when_the_home_is_taken() {
        let (_folder, home) = home();
        let [dead, alive] = ["kek.4711.new", "audit-hash.4712.new"].map(|name| home.key_file(name));
        let identity = home.root().join("identities/ann.key.4713.new");
        let named_so = home.key_file("kek.next");
        for file in [&dead, &alive, &identity, &named_so] {
            write_private(file, b"half").unwrap();
        }
        let writing = File::open(&alive).unwrap();
        writing.lock().unwrap();
        let lock = home.lock().unwrap();
        assert!(lock.is_some());
        assert!(!dead.exists() && !identity.exists());
        assert!(alive.exists(), "somebody writes it");
        assert!(named_so.exists(), "a change of the key that has to be ended");
    }

    #[test]
    fn a_home_has_one_user_at_a_time() {
        let (_folder, home) = home();
        let lock = home.lock().unwrap();
        assert!(lock.is_some());
        assert!(home.lock().unwrap().is_none());
        drop(lock);
        assert!(home.lock().unwrap().is_some());
    }

    #[test]
    fn who_takes_a_home_forgets_the_run_of_a_gateway_that_was_killed() {
        let (_folder, home) = home();
        let serving = home.lock().unwrap().unwrap();
        fs::write(home.run_file(), "{}").unwrap();
        assert!(home.lock().unwrap().is_none());
        assert!(home.run_file().exists(), "it is the run of whoever has the home");
        drop(serving);
        let _lock = home.lock().unwrap().unwrap();
        assert!(!home.run_file().exists(), "nobody runs");
    }

    #[test]
    fn keys_are_read_as_hexadecimal_or_base64() {
        let bytes = [0xab_u8; 32];
        assert_eq!(*parse_key(&"aB".repeat(32)).unwrap(), bytes);
        assert_eq!(*parse_key(&format!("{}\n", STANDARD.encode(bytes))).unwrap(), bytes);
        for wrong in ["", "ab", &"zz".repeat(32), &STANDARD.encode([1; 31]), &STANDARD.encode([1; 33])] {
            assert!(parse_key(wrong).is_none(), "{wrong}");
        }
    }
}
