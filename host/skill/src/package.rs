//! A package: a sound archive with a sound manifest and the files that the contract demands.
//!
//! Says nothing of who made it or what its code does; see [`verify`](crate::verify).

use crate::analysis::{Report, Subject};
use crate::archive::{Archive, ArchiveError, ArchiveLimits};
use crate::manifest::{Manifest, ManifestErrors, Runtime};
use bytes::Bytes;
use sophon_types::{Digest, Fault, FaultKind, Stage};

/// The public contract's bound.
const MAX_README: usize = 64 * 1024;

/// A package that was read. Holds its bytes, so what was checked is what is used.
#[derive(Debug, Clone)]
pub struct Package {
    bytes: Bytes,
    digest: Digest,
    archive: Archive,
    manifest: Manifest,
    entrypoint: Bytes,
}

impl Package {
    /// Reads a `.sophon-skill` file under the default limits.
    ///
    /// # Errors
    /// [`PackageError`].
    pub fn read(bytes: impl Into<Bytes>) -> Result<Self, PackageError> {
        Self::read_within(bytes.into(), &ArchiveLimits::default())
    }

    /// Reads a package that was read before: its digest must be `expected`, so that a file that was exchanged
    /// since then is not used.
    ///
    /// # Errors
    /// [`PackageError::OtherDigest`], else as [`Package::read`].
    pub fn read_pinned(bytes: impl Into<Bytes>, expected: &Digest) -> Result<Self, PackageError> {
        let bytes = bytes.into();
        let found = Digest::of(&bytes);
        if found != *expected {
            return Err(PackageError::OtherDigest { expected: *expected, found });
        }
        Self::read(bytes)
    }

    /// Reads a package under other limits.
    ///
    /// # Errors
    /// [`PackageError`].
    pub fn read_within(bytes: Bytes, limits: &ArchiveLimits) -> Result<Self, PackageError> {
        let archive = Archive::read(&bytes, limits)?;
        let missing = |file: &str| PackageError::Missing { file: file.to_owned() };
        let manifest = Manifest::parse(archive.file("manifest.json").ok_or_else(|| missing("manifest.json"))?)?;
        let entrypoint = archive.file(&manifest.entrypoint).ok_or_else(|| missing(&manifest.entrypoint))?.clone();
        // Skills of the public contract are taken as they are, and some come without.
        if manifest.runtime == Runtime::Wasm {
            archive.file("LICENSE").ok_or_else(|| missing("LICENSE"))?;
            archive.file("README.md").ok_or_else(|| missing("README.md"))?;
        }
        if let Some(readme) = archive.file("README.md")
            && (readme.len() > MAX_README || std::str::from_utf8(readme).is_err())
        {
            return Err(PackageError::Readme { size: readme.len() });
        }
        let digest = Digest::of(&bytes);
        Ok(Self { bytes, digest, archive, manifest, entrypoint })
    }

    /// The manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The manifest alone.
    #[must_use]
    pub(crate) fn into_manifest(self) -> Manifest {
        self.manifest
    }

    /// SHA-256 of the whole archive.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The archive's bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The content of the manifest's entrypoint.
    #[must_use]
    pub fn entrypoint(&self) -> &Bytes {
        &self.entrypoint
    }

    /// The README. Untrusted text.
    #[must_use]
    pub fn readme(&self) -> &str {
        self.archive.file("README.md").and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }

    /// Analyses all of it: the component, the manifest, the README and every other file.
    #[must_use]
    pub fn analyse(&self) -> Report {
        Subject::package(self).analyse()
    }

    /// All files.
    #[must_use]
    pub fn archive(&self) -> &Archive {
        &self.archive
    }
}

/// Why bytes are not a package.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// The archive is refused.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The manifest is refused.
    #[error(transparent)]
    Manifest(#[from] ManifestErrors),
    /// A file that the contract demands is not there (at the root, spelt exactly so).
    #[error("the package has no file {file}")]
    Missing {
        /// Its name.
        file: String,
    },
    /// The README is too long or not UTF-8.
    #[error("README.md has {size} bytes or is not UTF-8 text; at most {MAX_README} bytes are allowed")]
    Readme {
        /// Its size in bytes.
        size: usize,
    },
    /// The bytes are not the ones that were checked before.
    #[error("the package is {found}, not {expected} as when it was checked")]
    OtherDigest {
        /// What was checked.
        expected: Digest,
        /// What is there.
        found: Digest,
    },
}

impl Fault for PackageError {
    fn stage(&self) -> Stage {
        match self {
            Self::Manifest(errors) => errors.stage(),
            _ => Stage::Package,
        }
    }
    fn kind(&self) -> FaultKind {
        match self {
            Self::Archive(error) => error.kind(),
            Self::Manifest(errors) => errors.kind(),
            Self::Missing { .. } | Self::Readme { .. } => FaultKind::Unprocessable,
            Self::OtherDigest { .. } => FaultKind::Untrusted,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Archive(error) => error.code(),
            Self::Manifest(errors) => errors.code(),
            Self::Missing { .. } => "missing_file",
            Self::Readme { .. } => "invalid_readme",
            Self::OtherDigest { .. } => "digest_mismatch",
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            Self::Archive(error) => error.hint(),
            Self::Manifest(errors) => errors.hint(),
            Self::Missing { file } => Some(format!("put {file} at the root of the skill's folder and build again")),
            Self::Readme { .. } => Some("shorten README.md to 64 KiB of UTF-8 text".into()),
            Self::OtherDigest { .. } => Some("install the package again from where it came from".into()),
        }
    }
}
