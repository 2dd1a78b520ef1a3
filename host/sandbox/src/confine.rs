//! The host under Landlock: what it does not need of the file system it cannot reach, whatever goes wrong in it.
//!
//! Best effort: a kernel has as much of Landlock as it has, and what was reached is reported. The host's ports are not
//! among it: they change with what persons grant. Compilers have neither files nor ports (`compile/worker.rs`).

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, LandlockStatus, RestrictionStatus, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope, path_beneath_rules,
};
use std::fmt;
use std::path::{Path, PathBuf};

/// The rights that this host knows of. Newer kernels have more; those are not asked for, so nothing changes with one.
const KNOWN: ABI = ABI::V6;

/// The files that a host needs, beside those of the system.
#[derive(Debug, Clone, Default)]
pub struct Needs {
    /// Read and written, with all that is below.
    pub write: Vec<PathBuf>,
    /// Read.
    pub read: Vec<PathBuf>,
    /// Read and started.
    pub start: Vec<PathBuf>,
}

/// What Landlock holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confinement {
    /// Everything that was asked for.
    Full {
        /// The kernel's version of Landlock.
        abi: i32,
    },
    /// What this kernel knows of it.
    Partial {
        /// The kernel's version of Landlock.
        abi: i32,
    },
    /// Nothing: the kernel has no Landlock, or it is off.
    None,
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { abi } => write!(f, "Landlock holds (ABI {abi})"),
            Self::Partial { abi } => write!(f, "Landlock holds in part (ABI {abi})"),
            Self::None => f.write_str("this kernel has no Landlock"),
        }
    }
}

/// What every program reads: its libraries, the resolver's files, what the kernel shows.
const READ: [&str; 7] = ["/etc", "/proc", "/sys", "/run/systemd/resolve", "/run/resolvconf", "/run/nscd", "/usr/share"];
/// Libraries are started, as far as the kernel can tell: the linker is.
const LIBRARIES: [&str; 4] = ["/usr", "/lib", "/lib64", "/nix/store"];
/// Devices that are no hardware.
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/urandom", "/dev/random", "/dev/tty"];

/// Confines this thread, and all that it starts from now on, to the files of `needs` and of the system, for ever. Call it
/// before there are other threads. Paths that are not there are left out.
///
/// # Errors
/// Where the kernel has Landlock and refuses the rules; nothing is confined then.
pub fn confine(needs: &Needs) -> Result<Confinement, String> {
    let refused = |error: landlock::RulesetError| error.to_string();
    let all = AccessFs::from_all(KNOWN);
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let start = AccessFs::from_read(KNOWN);
    let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)
        .and_then(|ruleset| ruleset.scope(Scope::from_all(KNOWN)))
        .and_then(Ruleset::create)
        .map_err(refused)?;
    let status = ruleset
        .add_rules(path_beneath_rules(paths(&READ), read))
        .and_then(|ruleset| ruleset.add_rules(path_beneath_rules(paths(&LIBRARIES), start)))
        .and_then(|ruleset| ruleset.add_rules(path_beneath_rules(paths(&DEVICES), all)))
        .and_then(|ruleset| ruleset.add_rules(path_beneath_rules(&needs.read, read)))
        .and_then(|ruleset| ruleset.add_rules(path_beneath_rules(&needs.start, start)))
        .and_then(|ruleset| ruleset.add_rules(path_beneath_rules(&needs.write, all)))
        .and_then(landlock::RulesetCreated::restrict_self)
        .map_err(refused)?;
    Ok(reached(&status))
}

/// What this kernel can do, found out without being confined: a thread that ends at once is.
#[must_use]
pub fn landlock_here() -> Confinement {
    let found = std::thread::spawn(|| confine(&Needs::default())).join();
    found.ok().and_then(Result::ok).unwrap_or(Confinement::None)
}

fn reached(status: &RestrictionStatus) -> Confinement {
    let abi = match status.landlock {
        LandlockStatus::Available { effective_abi, kernel_abi } => kernel_abi.unwrap_or(effective_abi as i32),
        LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => return Confinement::None,
    };
    match status.ruleset {
        RulesetStatus::FullyEnforced => Confinement::Full { abi },
        RulesetStatus::PartiallyEnforced => Confinement::Partial { abi },
        RulesetStatus::NotEnforced => Confinement::None,
    }
}

/// The folder that a file is in, for a host that has to write that file anew.
#[must_use]
pub fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::ErrorKind;

    #[test]
    fn what_a_confined_host_does_not_need_it_cannot_reach() {
        let home = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let (kept, secret) = (home.path().join("kept"), outside.path().join("secret"));
        fs::write(&kept, b"k").unwrap();
        fs::write(&secret, b"s").unwrap();
        let read_only = outside.path().join("shown");
        fs::write(&read_only, b"r").unwrap();
        let needs =
            Needs { write: vec![home.path().into()], read: vec![read_only.clone()], start: vec!["/not/there".into()] };
        // A thread of its own: what is confined stays so.
        let confined = std::thread::spawn(move || {
            let reached = confine(&needs).unwrap();
            if reached == Confinement::None {
                return reached;
            }
            let refused = |result: std::io::Result<()>| result.unwrap_err().kind() == ErrorKind::PermissionDenied;
            assert!(refused(fs::read(&secret).map(drop)), "a file outside was read");
            assert!(refused(fs::write(&secret, b"x")), "a file outside was written");
            assert!(refused(fs::read_dir(secret.parent().unwrap()).map(drop)), "a folder outside was listed");
            assert!(refused(fs::write("/etc/x", b"x")), "/etc was written");
            assert_eq!(fs::read(&kept).unwrap(), b"k");
            fs::write(kept.with_file_name("new"), b"n").unwrap();
            fs::rename(kept.with_file_name("new"), kept.with_file_name("newer")).unwrap();
            assert_eq!(fs::read(&read_only).unwrap(), b"r");
            assert!(refused(fs::write(&read_only, b"x")));
            assert!(fs::read("/etc/hosts").is_ok());
            reached
        })
        .join()
        .unwrap();
        assert_eq!(confined, landlock_here());
        assert!(fs::read(outside.path().join("secret")).is_ok(), "only that thread is confined");
    }
}
