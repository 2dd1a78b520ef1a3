//! The files of all requirements of a skill together, as Python looks for them.

use super::RequirementError;
use super::lock::{Requirement, normal};
use crate::archive::{Archive, ArchiveLimits, Nested};
use bytes::Bytes;
use sophon_types::Digest;
use std::collections::BTreeMap;

/// Files of one wheel.
const ENTRIES: usize = 20_000;
/// How many times its size a file of a wheel may unpack to.
const RATIO: usize = 200;

/// Unpacked requirements: relative paths and what is in them. Held in memory, within the bound that was given.
#[derive(Debug, Clone)]
pub struct Layer {
    files: BTreeMap<String, Bytes>,
    digest: Digest,
}

impl Layer {
    /// Unpacks wheels, each of which [`Requirement::check`] has passed. `most` is how many bytes there may be in all.
    ///
    /// # Errors
    /// [`RequirementError`] where one is no wheel of its package, two have different files of one name, or all are too large.
    pub fn of(wheels: &[(Requirement, Bytes)], most: usize) -> Result<Self, RequirementError> {
        let mut files: BTreeMap<String, Bytes> = BTreeMap::new();
        let mut size = 0_usize;
        for (requirement, bytes) in wheels {
            requirement.check(bytes)?;
            let too_large = |what: String| RequirementError::TooLarge { most_mb: most >> 20, what };
            let unpacked = unpacked(requirement, bytes, most - size).map_err(|refused| match refused {
                Refused::TooLarge(what) => too_large(format!("{requirement}: {what}")),
                Refused::Bad(what) => RequirementError::BadWheel { subject: requirement.to_string(), what },
            })?;
            for (path, content) in unpacked {
                size += content.len();
                match files.insert(path.clone(), content.clone()) {
                    Some(other) if other != content => {
                        return Err(RequirementError::Conflict(requirement.name().to_owned(), path));
                    }
                    _ => {}
                }
            }
        }
        let digests: Vec<Digest> = files.values().map(|content| Digest::of(content)).collect();
        let parts: Vec<&[u8]> =
            files.keys().zip(&digests).flat_map(|(path, digest)| [path.as_bytes(), &digest.as_bytes()[..]]).collect();
        let digest = Digest::of_parts(&parts);
        Ok(Self { files, digest })
    }

    /// Every file, by its path.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.files.iter().map(|(path, content)| (path.as_str(), content))
    }

    /// The digest over all paths and contents.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }
}

/// Why a wheel is not unpacked.
enum Refused {
    TooLarge(String),
    Bad(String),
}

/// The files of one wheel where they belong (PEP 427): what is in `NAME-VERSION.data` under `purelib` and `platlib` at the
/// top, and its programs, headers and data nowhere.
fn unpacked(requirement: &Requirement, bytes: &[u8], most: usize) -> Result<Vec<(String, Bytes)>, Refused> {
    let bad = Refused::Bad;
    let limits = ArchiveLimits {
        archive_bytes: usize::MAX,
        entries: ENTRIES,
        file_bytes: most,
        total_bytes: most,
        ratio: RATIO,
    };
    let archive = Archive::read_nesting(bytes, &limits, Nested::Keep).map_err(|error| match error {
        crate::ArchiveError::TooLarge(what) => Refused::TooLarge(what),
        other => bad(other.to_string()),
    })?;
    let info = archive.files().find_map(|(path, content)| {
        let (folder, "WHEEL") = path.split_once('/')? else { return None };
        Some((folder.strip_suffix(".dist-info")?.to_owned(), content.clone()))
    });
    let (own, about) = info.ok_or_else(|| bad("it has no .dist-info/WHEEL".into()))?;
    if !String::from_utf8_lossy(&about).lines().any(|line| line.trim_start().starts_with("Wheel-Version: 1.")) {
        return Err(bad("it is not of version 1 of the format".into()));
    }
    let name = own.split('-').next().unwrap_or(&own);
    if normal(name) != requirement.name() {
        return Err(bad(format!("it is a wheel of {:?}", name.chars().take(80).collect::<String>())));
    }
    let data = format!("{own}.data/");
    let mut files = Vec::new();
    for (path, content) in archive.files() {
        let path = match path.strip_prefix(&data).map(|rest| rest.split_once('/')) {
            None => path,
            Some(Some(("purelib" | "platlib", rest))) => rest,
            Some(_programs_headers_data) => continue,
        };
        files.push((path.to_owned(), content.clone()));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack;
    use sophon_types::Fault as _;

    fn wheel(name: &str, files: &[(&str, &str)]) -> (Requirement, Bytes) {
        let mut all: BTreeMap<String, Vec<u8>> =
            files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect();
        all.insert(format!("{name}-1.0.dist-info/WHEEL"), b"Wheel-Version: 1.0\nTag: py3-none-any\n".to_vec());
        locked(name, pack(&all).unwrap().into())
    }

    fn locked(name: &str, bytes: Bytes) -> (Requirement, Bytes) {
        (Requirement::read(&format!("{name}==1.0 --hash={}", Digest::of(&bytes))).unwrap(), bytes)
    }

    #[test]
    fn wheels_come_together_as_python_looks_for_them() {
        let one =
            wheel("one", &[("one/__init__.py", "x = 1"), ("one-1.0.data/scripts/run", "#!"), ("ns/__init__.py", "")]);
        let two = wheel("two", &[("two-1.0.data/purelib/two.py", "y = 2"), ("ns/__init__.py", "")]);
        let layer = Layer::of(&[one.clone(), two.clone()], 1 << 20).unwrap();
        let paths: Vec<&str> = layer.files().map(|(path, _)| path).collect();
        let expected =
            ["ns/__init__.py", "one-1.0.dist-info/WHEEL", "one/__init__.py", "two-1.0.dist-info/WHEEL", "two.py"];
        assert_eq!(paths, expected);
        assert_eq!(layer.digest(), Layer::of(&[two, one.clone()], 1 << 20).unwrap().digest());
        assert_ne!(layer.digest(), Layer::of(&[one], 1 << 20).unwrap().digest());
    }

    #[test]
    fn what_is_no_sound_wheel_is_refused() {
        let code = |wheels: &[(Requirement, Bytes)], most: usize| Layer::of(wheels, most).unwrap_err().code();
        let fine = wheel("one", &[("one.py", "x = 1")]);
        let (lock, bytes) = fine.clone();
        assert_eq!(code(&[(lock, Bytes::from([&bytes[..], b"x"].concat()))], 1 << 20), "requirement_other_digest");
        assert_eq!(code(&[fine, wheel("two", &[("one.py", "x = 2")])], 1 << 20), "requirements_conflict");
        assert_eq!(code(&[wheel("one", &[("one.py", &"x".repeat(5000))])], 4096), "requirements_too_large");
        let half = wheel("one", &[("one.py", &"x".repeat(3000))]);
        let other = wheel("two", &[("two.py", &"x".repeat(3000))]);
        assert_eq!(code(&[half, other], 4096), "requirements_too_large");
        let (_, of_another) = wheel("two", &[]);
        assert_eq!(code(&[locked("one", of_another)], 1 << 20), "requirement_bad_wheel");
        let plain = pack(&[("one.py".to_owned(), b"x".to_vec())].into()).unwrap();
        assert_eq!(code(&[locked("one", plain.into())], 1 << 20), "requirement_bad_wheel");
        assert_eq!(code(&[locked("one", Bytes::from_static(b"no zip"))], 1 << 20), "requirement_bad_wheel");
    }
}
