//! File systems of a test's own, for whoever may mount them.

use super::process::command;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// What was mounted. Taken away when it is dropped, whoever still has files open there.
pub(crate) struct Mount {
    at: PathBuf,
}

/// Whether a file system can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    ReadOnly,
    ReadWrite,
}

impl Mount {
    /// An empty file system of so many bytes in memory, over the folder `at`; nothing where this user may not.
    pub(crate) fn tmpfs(at: &Path, bytes: u64) -> Option<Self> {
        Self::mounted(at, &["-t", "tmpfs", "-o", &format!("size={bytes},mode=0700"), "none"])
    }

    /// The folder `at` itself once more, so that it cannot be written by that path; nothing where this user may not.
    pub(crate) fn read_only(at: &Path) -> Option<Self> {
        let itself = at.to_str().expect("a path");
        let mount = Self::mounted(at, &["--bind", itself])?;
        mount.remount(&["-o", "remount,bind,ro"]);
        Some(mount)
    }

    /// Nobody may have a file open for writing there.
    pub(crate) fn make(&self, access: Access) {
        let option = match access {
            Access::ReadOnly => "remount,ro",
            Access::ReadWrite => "remount,rw",
        };
        self.remount(&["-o", option]);
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "whether a machine must be able to mount is for whoever runs the tests to say"
    )]
    fn mounted(at: &Path, words: &[&str]) -> Option<Self> {
        let output = command("mount").args(words).arg(at).output().expect("mount starts");
        if output.status.success() {
            return Some(Self { at: at.to_owned() });
        }
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let left_out = format!("LEFT OUT, as this user may not mount file systems (run it as root): {why}\n");
        assert!(std::env::var_os("SOPHON_MOUNTS").is_none_or(|wanted| wanted != "required"), "{left_out}");
        // Past what the test runner keeps of tests that pass: nobody would read it.
        drop(std::io::stderr().write_all(left_out.as_bytes()));
        None
    }

    fn remount(&self, words: &[&str]) {
        let output = command("mount").args(words).arg(&self.at).output().expect("mount starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        drop(command("umount").arg("--lazy").arg(&self.at).status());
    }
}
