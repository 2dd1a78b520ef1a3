//! The lines of the lock, and which file of an index is the one that a line means.

use super::{GLIBC, MACHINE, Offered, PYTHON, RequirementError};
use crate::manifest::Manifest;
use sophon_types::Digest;
use std::collections::BTreeSet;
use std::fmt;

/// A package, its one version, and the digests that its file may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    name: String,
    version: String,
    digests: Vec<Digest>,
}

/// The manifest's requirements, as a lock.
///
/// # Errors
/// [`RequirementError`] where a line names no one version or no digest.
pub fn requirements(manifest: &Manifest) -> Result<Vec<Requirement>, RequirementError> {
    let mut names = BTreeSet::new();
    let mut found = Vec::with_capacity(manifest.requirements.len());
    for line in &manifest.requirements {
        let requirement = Requirement::read(line)?;
        if !names.insert(requirement.name.clone()) {
            return Err(RequirementError::Twice(requirement.name));
        }
        found.push(requirement);
    }
    Ok(found)
}

impl Requirement {
    /// Reads `NAME==VERSION --hash=sha256:DIGEST…`, as pip's requirements files have it. Extras change nothing (what they add
    /// has lines of its own); markers and options are refused.
    pub(crate) fn read(line: &str) -> Result<Self, RequirementError> {
        let shown = || line.chars().take(120).collect::<String>();
        let not_pinned = || RequirementError::NotPinned(shown());
        let (what, hashes) = match line.find("--hash") {
            Some(at) => line.split_at(at),
            None => (line, ""),
        };
        let (name, version) = what.trim().trim_end_matches('\\').split_once("==").ok_or_else(not_pinned)?;
        let name = match name.trim().split_once('[') {
            Some((name, extras)) if extras.ends_with(']') => name.trim(),
            Some(_) => return Err(not_pinned()),
            None => name.trim(),
        };
        let version = version.trim();
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let is_version = |c: char| c.is_ascii_alphanumeric() || "._+!-".contains(c);
        let ends_well = |text: &str| {
            text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.ends_with(|c: char| c.is_ascii_alphanumeric())
        };
        if !ends_well(name) || !name.chars().all(is_name) || !ends_well(version) || !version.chars().all(is_version) {
            return Err(not_pinned());
        }
        let mut digests = Vec::new();
        for word in hashes.split_whitespace().filter(|word| *word != "\\") {
            let digest = word.strip_prefix("--hash=").and_then(|digest| digest.parse().ok()).ok_or_else(not_pinned)?;
            digests.push(digest);
        }
        if digests.is_empty() {
            return Err(RequirementError::NotHashed(shown()));
        }
        Ok(Self { name: normal(name), version: version.to_ascii_lowercase(), digests })
    }

    /// The name as an index knows it (PEP 503): lower case, with single dashes.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The digests that its file may have.
    #[must_use]
    pub fn digests(&self) -> &[Digest] {
        &self.digests
    }

    /// The one file of those that an index offers: a wheel of this version, for this host's sandboxes, of a digest that
    /// is in the lock. Where the index says no digest the file is taken, and what comes is looked at.
    ///
    /// # Errors
    /// [`RequirementError`], which says what there is instead.
    pub fn choose<'a>(&self, offered: &'a [Offered]) -> Result<&'a Offered, RequirementError> {
        let wheels: Vec<(&Offered, Wheel<'_>)> =
            offered.iter().filter_map(|file| Some((file, self.wheel(&file.name)?))).collect();
        if wheels.is_empty() {
            let source = offered.iter().any(|file| self.is_source(&file.name));
            let error = if source { RequirementError::OnlySource } else { RequirementError::NotFound };
            return Err(error(self.to_string()));
        }
        let mut fit: Vec<_> =
            wheels.into_iter().filter_map(|(file, wheel)| Some((wheel.rank(MACHINE)?, file))).collect();
        if fit.is_empty() {
            let platform = format!("CPython {}.{} on {} Linux", PYTHON.0, PYTHON.1, MACHINE);
            return Err(RequirementError::Unfit { subject: self.to_string(), platform });
        }
        fit.sort_by_key(|(rank, _)| *rank);
        let locked = |file: &Offered| file.sha256.is_none_or(|digest| self.digests.contains(&digest));
        if let Some((_, file)) = fit.iter().rev().find(|(_, file)| locked(file)) {
            return Ok(file);
        }
        let found = fit.last().and_then(|(_, file)| file.sha256).map(|digest| digest.to_string()).unwrap_or_default();
        Err(RequirementError::OtherDigest { subject: self.to_string(), found })
    }

    /// Checks what came.
    ///
    /// # Errors
    /// [`RequirementError::OtherDigest`] where it is not what was locked.
    pub fn check(&self, bytes: &[u8]) -> Result<(), RequirementError> {
        let found = Digest::of(bytes);
        if self.digests.contains(&found) {
            return Ok(());
        }
        Err(RequirementError::OtherDigest { subject: self.to_string(), found: found.to_string() })
    }

    /// The parts of a wheel's name (PEP 427), where it is one of this package and version.
    fn wheel<'a>(&self, file: &'a str) -> Option<Wheel<'a>> {
        let stem = file.strip_suffix(".whl")?;
        let parts: Vec<&str> = stem.split('-').collect();
        let [name, version, .., python, abi, platform] = parts[..] else { return None };
        if parts.len() > 6 || normal(name) != self.name || !self.is_version(version) {
            return None;
        }
        Some(Wheel { python, abi, platform })
    }

    fn is_source(&self, file: &str) -> bool {
        let stem = [".tar.gz", ".zip", ".tar.bz2", ".tgz"].iter().find_map(|end| file.strip_suffix(end));
        let parts = stem.and_then(|stem| stem.rsplit_once('-'));
        parts.is_some_and(|(name, version)| normal(name) == self.name && self.is_version(version))
    }

    fn is_version(&self, written: &str) -> bool {
        written.to_ascii_lowercase().replace('_', "-") == self.version.replace('_', "-")
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

/// PEP 503.
pub(super) fn normal(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for c in name.chars() {
        let c = if "-_.".contains(c) { '-' } else { c.to_ascii_lowercase() };
        if c != '-' || !normal.ends_with('-') {
            normal.push(c);
        }
    }
    normal
}

/// What a wheel is for.
struct Wheel<'a> {
    python: &'a str,
    abi: &'a str,
    platform: &'a str,
}

impl Wheel<'_> {
    /// How closely it is made for what it would run in, the closest highest; nothing where it does not run there.
    fn rank(&self, machine: &str) -> Option<(u32, u32)> {
        let platform = self.platform.split('.').filter_map(|tag| platform(tag, machine)).max()?;
        let abi = self.abi.split('.').filter_map(|abi| abi_rank(abi, self.python)).max()?;
        Some((abi, platform))
    }
}

/// `cp311-cp311`, `cp37-abi3`, `py3-none`.
fn abi_rank(abi: &str, python: &str) -> Option<u32> {
    let (major, minor) = PYTHON;
    let own = format!("cp{major}{minor}");
    let mut pythons = python.split('.');
    let minor_of = |tag: &str, prefix: &str| tag.strip_prefix(prefix)?.parse::<u32>().ok();
    let older = |tag: &str| minor_of(tag, &format!("cp{major}")).is_some_and(|found| found <= minor);
    let plain = |tag: &str| {
        tag == format!("py{major}") || minor_of(tag, &format!("py{major}")).is_some_and(|found| found <= minor)
    };
    match abi {
        "none" => pythons.any(|tag| plain(tag) || tag == own).then_some(0),
        "abi3" => pythons.any(older).then_some(1),
        _ if abi == own => pythons.any(|tag| tag == own).then_some(2),
        _ => None,
    }
}

/// `any`, or Linux with a C library that is not newer (PEP 600 and the names before it).
fn platform(tag: &str, machine: &str) -> Option<u32> {
    if tag == "any" {
        return Some(0);
    }
    let old = tag.strip_suffix(machine)?.strip_suffix('_')?;
    let (major, minor) = match old {
        "manylinux1" => (2, 5),
        "manylinux2010" => (2, 12),
        "manylinux2014" => (2, 17),
        _ => {
            let (major, minor) = old.strip_prefix("manylinux_")?.split_once('_')?;
            (major.parse().ok()?, minor.parse().ok()?)
        }
    };
    ((major, minor) <= GLIBC).then_some(1 + minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(byte: u8) -> Digest {
        Digest::from_bytes([byte; 32])
    }

    #[test]
    fn a_line_names_one_version_and_its_digests() {
        let line = format!("Py_MySQL[rsa] == 1.1.1 --hash={} --hash={}", hash(1), hash(2));
        let read = Requirement::read(&line).unwrap();
        assert_eq!((read.name(), read.version.as_str()), ("py-mysql", "1.1.1"));
        assert_eq!(read.digests(), [hash(1), hash(2)]);
        let code = |line: &str| {
            use sophon_types::Fault as _;
            Requirement::read(line).map(|_| "").unwrap_or_else(|error| error.code())
        };
        assert_eq!(code("requests==2.0"), "requirement_not_hashed");
        let good = format!("--hash={}", hash(1));
        for floating in [
            "requests",
            "requests>=2",
            "requests==2.*",
            "a==1,<2",
            "a==1; python_version > '3'",
            "a===1",
            "git+https://x.example/a",
            "a @ https://x.example/a.whl",
            "-r other.txt",
            "../a==1",
            "a/b==1",
        ] {
            assert_eq!(code(&format!("{floating} {good}")), "requirement_not_pinned", "{floating}");
        }
        for odd in ["a==1 --hash=md5:00", "a==1 --hash=sha256:00", &format!("a==1 {good} --pre")] {
            assert_eq!(code(odd), "requirement_not_pinned", "{odd}");
        }
    }

    #[test]
    fn the_file_is_a_wheel_that_fits_and_is_locked() {
        use sophon_types::Fault as _;
        let arch = MACHINE;
        let chosen = |files: &[(&str, Option<u8>)]| {
            let offered: Vec<Offered> = files
                .iter()
                .map(|(name, digest)| Offered {
                    name: name.replace("ARCH", arch),
                    url: "x".into(),
                    sha256: digest.map(hash),
                })
                .collect();
            let lock = Requirement::read(&format!("Foo-Bar==1.0 --hash={} --hash={}", hash(1), hash(2))).unwrap();
            lock.choose(&offered).map(|file| file.name.replace(arch, "ARCH")).map_err(|error| error.code())
        };
        let check = |files: &[(&str, Option<u8>)], expected: &str| {
            assert_eq!(chosen(files), Ok(expected.to_owned()), "{files:?}");
        };
        let pure = "foo_bar-1.0-py3-none-any.whl";
        check(&[(pure, Some(1))], pure);
        check(&[(pure, None)], pure);
        check(&[("foo_bar-1.0-py2.py3-none-any.whl", Some(2))], "foo_bar-1.0-py2.py3-none-any.whl");
        let own = "foo_bar-1.0-cp311-cp311-manylinux_2_17_ARCH.manylinux2014_ARCH.whl";
        check(&[(pure, Some(1)), (own, Some(2))], own);
        // Not locked, so the plainer one.
        check(&[(pure, Some(1)), (own, Some(3))], pure);
        let stable = "foo_bar-1.0-1-cp37-abi3-manylinux1_ARCH.whl";
        check(&[(stable, Some(1)), (pure, Some(3))], stable);
        for (files, code) in [
            (vec![], "requirement_not_found"),
            (vec![("foo_bar-1.1-py3-none-any.whl", Some(1))], "requirement_not_found"),
            (vec![("foo-1.0-py3-none-any.whl", Some(1))], "requirement_not_found"),
            (vec![("foo-bar-1.0.tar.gz", Some(1))], "requirement_only_source"),
            (vec![(pure, Some(9))], "requirement_other_digest"),
            (vec![("foo_bar-1.0-cp312-cp312-manylinux2014_ARCH.whl", Some(1))], "requirement_unfit"),
            (vec![("foo_bar-1.0-cp311-cp311-musllinux_1_1_ARCH.whl", Some(1))], "requirement_unfit"),
            (vec![("foo_bar-1.0-cp311-cp311-manylinux_2_39_ARCH.whl", Some(1))], "requirement_unfit"),
            (vec![("foo_bar-1.0-cp311-cp311-win_amd64.whl", Some(1))], "requirement_unfit"),
            (vec![("foo_bar-1.0-py2-none-any.whl", Some(1))], "requirement_unfit"),
        ] {
            assert_eq!(chosen(&files), Err(code), "{files:?}");
        }
    }
}
