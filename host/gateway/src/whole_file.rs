//! Writing a file so that a reader sees all of it or none, also where others may write into the folder.

use sophon_types::Entropy;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Writes `bytes` beside `path` under a name that nobody can foresee, and moves them to `path`, replacing what is there.
/// Follows no symbolic link at either name; `mode` is what the process's umask leaves of it.
///
/// # Errors
/// What the operating system says; then nothing new is left.
pub fn write_whole(path: &Path, bytes: &[u8], mode: u32, entropy: &dyn Entropy) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", hex::encode(entropy.bytes::<8>())));
    let beside = PathBuf::from(beside);
    // `create_new` is O_EXCL: whatever stands there already, a link too, is an error.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
    let moved = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&beside, path));
    if moved.is_err()
        && let Err(error) = fs::remove_file(&beside)
    {
        tracing::debug!(path = %beside.display(), %error, "a file that was not finished could not be removed");
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::CountingEntropy;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

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
}
