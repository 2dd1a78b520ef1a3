//! Writing a file so that a reader sees all of it or none, also where others may write into the folder.

use sophon_types::Entropy;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Writes `bytes` beside `path` under a name that nobody can foresee, and moves them to `path`, replacing what is there.
/// Follows no symbolic link at either name; `mode` is what the process's umask leaves of it. What a process that was
/// killed in the middle of this has left beside `path` is removed first.
///
/// # Errors
/// What the operating system says; then nothing new is left.
pub fn write_whole(path: &Path, bytes: &[u8], mode: u32, entropy: &dyn Entropy) -> io::Result<()> {
    if let Err(error) = sweep(path) {
        tracing::debug!(path = %path.display(), %error, "files that were not finished could not be looked for");
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", hex::encode(entropy.bytes::<8>())));
    let beside = PathBuf::from(beside);
    // `create_new` is O_EXCL: whatever stands there already, a link too, is an error.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
    // So that nobody who sweeps takes it for a dead one's. A file system without locks can do without this.
    if let Err(error) = file.lock() {
        tracing::debug!(path = %beside.display(), %error, "a file could not be locked");
    }
    let moved = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&beside, path));
    if moved.is_err()
        && let Err(error) = fs::remove_file(&beside)
    {
        tracing::debug!(path = %beside.display(), %error, "a file that was not finished could not be removed");
    }
    moved
}

/// Removes what was to become `path` and never did, unless somebody is writing it now. In a folder that others may write
/// into nothing is touched: it could be theirs.
fn sweep(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Some(name) = path.file_name() else { return Ok(()) };
    if fs::metadata(folder)?.permissions().mode() & 0o022 != 0 {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // Of the entry itself: whatever a link points to is somebody else's.
        if is_unfinished(&entry.file_name(), name)
            && entry.file_type()?.is_file()
            && File::open(entry.path())?.try_lock().is_ok()
        {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// `NAME.HEX.new`, with sixteen digits.
fn is_unfinished(candidate: &OsStr, name: &OsStr) -> bool {
    let digits = candidate.as_bytes().strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"."));
    let digits = digits.and_then(|rest| rest.strip_suffix(b".new"));
    digits.is_some_and(|digits| digits.len() == 16 && digits.iter().all(u8::is_ascii_hexdigit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::CountingEntropy;
    use std::os::unix::fs::symlink;

    #[test]
    fn no_link_is_followed_and_nothing_is_left_over() {
        let folder = tempfile::tempdir().unwrap();
        let (victim, path) = (folder.path().join("victim"), folder.path().join("port"));
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, &path).unwrap();
        write_whole(&path, b"4711\n", 0o600, &CountingEntropy::default()).unwrap();
        assert_eq!((fs::read(&victim).unwrap(), fs::read(&path).unwrap()), (b"precious".to_vec(), b"4711\n".to_vec()));
        assert!(fs::symlink_metadata(&path).unwrap().is_file(), "the link was replaced, not followed");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        // Even where somebody did foresee the name, what they put there is not written through.
        let foreseen = format!(".{}.new", hex::encode((&CountingEntropy::default() as &dyn Entropy).bytes::<8>()));
        symlink(&victim, folder.path().join(format!("port{foreseen}"))).unwrap();
        let refused = write_whole(&path, b"4712\n", 0o600, &CountingEntropy::default()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&victim).unwrap(), b"precious");

        fs::create_dir(folder.path().join("folder")).unwrap();
        let before = fs::read_dir(folder.path()).unwrap().count();
        let entropy = CountingEntropy::default();
        entropy.fill(&mut [0; 8]);
        write_whole(&folder.path().join("folder"), b"x", 0o600, &entropy).unwrap_err();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), before, "nothing is left of a failure");
    }

    #[test]
    fn what_a_killed_process_was_writing_is_swept_but_not_what_another_writes_now() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("port");
        let [dead, alive, other] =
            ["port.0123456789abcdef.new", "port.00112233445566aa.new", "port.new"].map(|name| folder.path().join(name));
        for file in [&dead, &alive, &other] {
            fs::write(file, "47").unwrap();
        }
        let writing = File::open(&alive).unwrap();
        writing.lock().unwrap();
        write_whole(&path, b"4711\n", 0o600, &CountingEntropy::default()).unwrap();
        assert!(!dead.exists() && alive.exists() && other.exists());
        drop(writing);
        write_whole(&path, b"4712\n", 0o600, &CountingEntropy::default()).unwrap();
        assert!(!alive.exists() && other.exists());
    }
}
