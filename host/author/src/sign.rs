//! Signatures: the envelope beside a package, written and checked.

use crate::{AuthorError, files};
use serde::Serialize;
use sophon_skill::{
    ArchiveLimits, Envelope, Fingerprint, Package, PublicKey, Report, SigningIdentity, TrustStore, Unsigned,
};
use sophon_types::{Digest, SkillName, Trust, Version};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Bytes of an envelope file that are read; the envelope's own reader has the exact bound.
const ENVELOPE: usize = 64 << 10;

/// A signature that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Signed {
    /// The skill.
    pub skill: SkillName,
    /// Its version.
    pub version: Version,
    /// SHA-256 of the package.
    pub digest: Digest,
    /// The envelope, beside the package.
    pub envelope: PathBuf,
    /// The signer's name, as the owner of the key chose it.
    pub signer: String,
    /// The key, for whoever is to trust it.
    pub public_key: PublicKey,
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
}

/// A signature that holds.
#[derive(Debug, Clone, Serialize)]
pub struct Verification {
    /// The skill.
    pub skill: SkillName,
    /// Its version.
    pub version: Version,
    /// SHA-256 of the package.
    pub digest: Digest,
    /// How far the package is trusted here.
    pub trust: Trust,
    /// The key that signed it.
    pub signer: Option<Fingerprint>,
    /// Whose key that is, in the words of whoever trusted it.
    pub publisher: Option<String>,
    /// What the analysis says; never a rejection.
    pub report: Report,
}

/// Where the envelope of a package stands: `NAME-VERSION.sophon-skill.dsse.json`.
pub(crate) fn envelope_beside(package: &Path) -> PathBuf {
    let mut name = OsString::from(package);
    name.push(".dsse.json");
    name.into()
}

/// Reads a package from a file.
pub(crate) fn read_package(path: &Path) -> Result<Package, AuthorError> {
    Ok(Package::read(files::read(path, ArchiveLimits::default().archive_bytes)?)?)
}

/// Reads an envelope from a file; nothing where there is none.
pub(crate) fn read_envelope(path: &Path) -> Result<Option<Envelope>, AuthorError> {
    if !path.is_file() {
        return Ok(None);
    }
    let bytes = files::read(path, ENVELOPE)?;
    let envelope = Envelope::parse(&bytes);
    envelope.map(Some).map_err(|source| AuthorError::Envelope { path: path.to_owned(), source })
}

/// Signs a package: writes the envelope beside it, over an older one where there is one.
///
/// # Errors
/// [`AuthorError`] where the file is no package, or the envelope cannot be written.
pub fn sign(package: &Path, identity: &SigningIdentity) -> Result<Signed, AuthorError> {
    let read = read_package(package)?;
    let envelope = envelope_beside(package);
    let name = envelope.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let dir = package.parent().unwrap_or(Path::new(""));
    let written = files::replace(dir, &name, Envelope::sign(identity, &read).to_json().as_bytes())?;
    let manifest = read.manifest();
    let public_key = identity.public_key();
    Ok(Signed {
        skill: manifest.name.clone(),
        version: manifest.version.clone(),
        digest: *read.digest(),
        envelope: written,
        signer: identity.name().to_owned(),
        fingerprint: public_key.fingerprint(),
        public_key,
    })
}

/// Checks a package as an installation would: its signature (by default the envelope beside it) by a key of `trust`,
/// the name's pin, and the analysis.
///
/// # Errors
/// [`AuthorError`]: of kind [`Untrusted`](sophon_types::FaultKind::Untrusted) where nobody this home trusts signed it.
pub fn verify(package: &Path, envelope: Option<&Path>, trust: &TrustStore) -> Result<Verification, AuthorError> {
    let read = read_package(package)?;
    let path = envelope.map_or_else(|| envelope_beside(package), Path::to_owned);
    let Some(envelope) = read_envelope(&path)? else { return Err(AuthorError::NotSigned { path }) };
    let verified = sophon_skill::verify(read, Some(&envelope), trust, Unsigned::Refuse)?;
    let signer = verified.signer().copied();
    let publisher = signer.and_then(|signer| trust.publisher(&signer));
    Ok(Verification {
        skill: verified.manifest().name.clone(),
        version: verified.manifest().version.clone(),
        digest: *verified.digest(),
        trust: verified.trust(),
        signer,
        publisher: publisher.map(|publisher| publisher.name.clone()),
        report: verified.report().clone(),
    })
}
