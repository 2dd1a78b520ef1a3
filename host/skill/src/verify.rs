//! From a package to evidence: signature, pin and analysis, in one place.
//!
//! [`VerifiedPackage`] has no other constructor, is never deserialised, and holds the bytes that were checked.

use crate::analysis::{Report, Verdict};
use crate::archive::Archive;
use crate::install::{InstallTerms, InstalledSkill, TermsError};
use crate::manifest::Manifest;
use crate::package::Package;
use crate::signature::{Envelope, Fingerprint};
use crate::trust::{Publisher, PublisherRole, Standing, TrustStore};
use bytes::Bytes;
use sophon_types::{Digest, Fault, FaultKind, SkillName, Stage, Trust, Version};
use std::sync::Arc;

/// What to do with a package that nobody this home trusts has signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unsigned {
    /// Refuse it.
    #[default]
    Refuse,
    /// A person wants it all the same. It becomes [`Trust::Unsigned`]; a name that is pinned to a key stays refused.
    DangerouslyAllow,
}

/// How far ahead a major version may jump at once. A key thief who publishes the highest version there can be must
/// not leave the owner without a version to follow it (TUF's fast-forward attack).
const MAX_MAJOR_STEP: u64 = 10_000;

/// A package whose signature, pin and analysis were checked.
///
/// Of the package it keeps the manifest and the archive as it is packed, so that a thousand of them fit into memory.
#[derive(Debug)]
pub struct VerifiedPackage {
    manifest: Manifest,
    archive: Bytes,
    component: Digest,
    digest: Digest,
    trust: Trust,
    signer: Option<Fingerprint>,
    report: Report,
}

impl VerifiedPackage {
    /// The manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// SHA-256 of the entrypoint: what compiled code is known by.
    #[must_use]
    pub fn component_digest(&self) -> &Digest {
        &self.component
    }

    /// The entrypoint: of a skill of the runtime wasm a component, validated. Unpacked from the bytes that were verified.
    ///
    /// # Panics
    /// Never: what was read once is read the same again.
    #[must_use]
    pub fn component(&self) -> Bytes {
        self.read_again().entrypoint().clone()
    }

    /// All files, unpacked from the bytes that were verified: what a native skill's sandbox is given.
    ///
    /// # Panics
    /// Never: what was read once is read the same again.
    #[must_use]
    pub fn files(&self) -> Archive {
        self.read_again().archive().clone()
    }

    fn read_again(&self) -> Package {
        Package::read(self.archive.clone()).expect("these bytes were read before")
    }

    /// SHA-256 of the whole archive.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// How far it is trusted.
    #[must_use]
    pub fn trust(&self) -> Trust {
        self.trust
    }

    /// The key that signed it; nothing for [`Trust::Unsigned`].
    #[must_use]
    pub fn signer(&self) -> Option<&Fingerprint> {
        self.signer.as_ref()
    }

    /// What the analysis found. Its verdict is never [`Verdict::Reject`].
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Whether it may follow `highest`, the highest version of this name that was ever installed (also where that
    /// was removed since): strictly higher, and not absurdly so.
    ///
    /// # Errors
    /// [`VerifyError::Rollback`] or [`VerifyError::FastForward`].
    pub fn check_follows(&self, highest: &Version) -> Result<(), VerifyError> {
        let manifest = self.manifest();
        let (name, offered) = (manifest.name.clone(), manifest.version.clone());
        // Build metadata does not count (SemVer 2.0, section 10).
        if offered.cmp_precedence(highest).is_le() {
            return Err(VerifyError::Rollback { name, offered, highest: highest.clone() });
        }
        if offered.major > highest.major.saturating_add(MAX_MAJOR_STEP) {
            return Err(VerifyError::FastForward { name, offered, highest: highest.clone() });
        }
        Ok(())
    }

    /// Puts it to use in a tenant, on a person's terms.
    ///
    /// # Errors
    /// [`TermsError`] where the terms name what the manifest does not have.
    pub fn install(self: &Arc<Self>, terms: InstallTerms) -> Result<InstalledSkill, TermsError> {
        InstalledSkill::new(Arc::clone(self), terms)
    }
}

/// Verifies a package.
///
/// The order matters: who vouches is settled before the code is looked at, so that nobody unknown can make the
/// analysis work.
///
/// # Errors
/// [`VerifyError`] names the first check that failed.
pub fn verify(
    package: Package,
    envelope: Option<&Envelope>,
    trust_store: &TrustStore,
    unsigned: Unsigned,
) -> Result<VerifiedPackage, VerifyError> {
    let name = &package.manifest().name;
    if let Some(envelope) = envelope {
        check_binding(&package, envelope)?;
    }
    let signer = envelope.map(|envelope| signer(envelope, trust_store)).transpose()?.flatten();
    if let Some(pinned) = trust_store.pins.get(name)
        && signer.map(Publisher::fingerprint) != Some(*pinned)
    {
        return Err(VerifyError::PinnedToOther { name: name.clone(), pinned: *pinned });
    }
    let trust = match (signer.map(|signer| signer.role), envelope, unsigned) {
        (Some(PublisherRole::Local), _, _) => Trust::LocalDev,
        (Some(PublisherRole::Publisher), _, _) => Trust::Trusted,
        (None, _, Unsigned::DangerouslyAllow) => Trust::Unsigned,
        (None, None, Unsigned::Refuse) => return Err(VerifyError::Unsigned { name: name.clone() }),
        (None, Some(envelope), Unsigned::Refuse) => {
            let claimed = envelope.claimed_key_id().map(str::to_owned);
            return Err(VerifyError::UnknownSigner { name: name.clone(), claimed });
        }
    };
    let signer = signer.map(Publisher::fingerprint);
    let report = package.analyse();
    if report.verdict == Verdict::Reject {
        return Err(VerifyError::Rejected { name: name.clone(), report: Box::new(report) });
    }
    let (digest, component, archive) = (*package.digest(), Digest::of(package.entrypoint()), package.bytes().clone());
    Ok(VerifiedPackage { manifest: package.into_manifest(), archive, component, digest, trust, signer, report })
}

/// The envelope must speak of exactly this package.
fn check_binding(package: &Package, envelope: &Envelope) -> Result<(), VerifyError> {
    let (manifest, statement) = (package.manifest(), envelope.statement());
    let what = if statement.name != manifest.name {
        "name"
    } else if statement.version != manifest.version {
        "version"
    } else if statement.digest != *package.digest() {
        "content"
    } else {
        return Ok(());
    };
    Err(VerifyError::OtherPackage { name: manifest.name.clone(), what })
}

/// The known key that made the signature. The keys to try are ours; the envelope's key id serves messages alone.
fn signer<'a>(envelope: &Envelope, trust_store: &'a TrustStore) -> Result<Option<&'a Publisher>, VerifyError> {
    let found = trust_store.publishers.iter().find(|publisher| envelope.is_signed_by(&publisher.key).is_ok());
    let name = || envelope.statement().name.clone();
    match found {
        Some(publisher) if publisher.standing == Standing::Revoked => {
            Err(VerifyError::Revoked { name: name(), publisher: publisher.name.clone() })
        }
        Some(publisher) => Ok(Some(publisher)),
        None => {
            let claimed = envelope.claimed_key_id().and_then(|id| id.parse().ok());
            match claimed.and_then(|fingerprint| trust_store.publisher(&fingerprint)) {
                // It names a key that we know, and that key did not sign it: forged or damaged.
                Some(publisher) => Err(VerifyError::Forged { name: name(), publisher: publisher.name.clone() }),
                None => Ok(None),
            }
        }
    }
}

/// Why a package is not accepted.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// There is no signature.
    #[error("{name} is not signed")]
    Unsigned {
        /// The skill.
        name: SkillName,
    },
    /// No key that this home trusts made the signature.
    #[error("{name} is signed by nobody this home trusts{}", claim(.claimed.as_deref()))]
    UnknownSigner {
        /// The skill.
        name: SkillName,
        /// The key id that the envelope claims.
        claimed: Option<String>,
    },
    /// The signature names a known key, which did not make it.
    #[error("{name}: the signature claims to be of {publisher:?} but does not match: forged or damaged")]
    Forged {
        /// The skill.
        name: SkillName,
        /// Whose key it claims.
        publisher: String,
    },
    /// The key was revoked.
    #[error("{name} is signed with the revoked key of {publisher:?}")]
    Revoked {
        /// The skill.
        name: SkillName,
        /// Whose key it is.
        publisher: String,
    },
    /// The signature is for another package.
    #[error("{name}: the signature is for another {what}")]
    OtherPackage {
        /// The skill.
        name: SkillName,
        /// What differs: `name`, `version` or `content`.
        what: &'static str,
    },
    /// The name belongs to another key, whoever signed this.
    #[error("the name {name} belongs to the key {pinned}, which has not signed this package")]
    PinnedToOther {
        /// The skill.
        name: SkillName,
        /// The key that the name is pinned to.
        pinned: Fingerprint,
    },
    /// The version is not higher than one that was installed before.
    #[error("{name} {offered} is not newer than {highest}, which was installed before")]
    Rollback {
        /// The skill.
        name: SkillName,
        /// The version of the package.
        offered: Version,
        /// The highest version ever installed.
        highest: Version,
    },
    /// The version jumps too far ahead.
    #[error("{name} {offered} is too far ahead of {highest}")]
    FastForward {
        /// The skill.
        name: SkillName,
        /// The version of the package.
        offered: Version,
        /// The highest version ever installed.
        highest: Version,
    },
    /// The analysis rejects it.
    #[error("{name} is rejected by the analysis\n{report}")]
    Rejected {
        /// The skill.
        name: SkillName,
        /// What was found.
        report: Box<Report>,
    },
}

fn claim(claimed: Option<&str>) -> String {
    claimed.map_or_else(String::new, |id| format!(" (it claims the key {})", crate::text::quote(id)))
}

impl Fault for VerifyError {
    fn stage(&self) -> Stage {
        match self {
            Self::Rejected { .. } => Stage::Analysis,
            Self::Rollback { .. } | Self::FastForward { .. } => Stage::Package,
            _ => Stage::Signature,
        }
    }
    fn kind(&self) -> FaultKind {
        match self {
            Self::Rejected { .. } => FaultKind::Denied,
            Self::Rollback { .. } | Self::FastForward { .. } => FaultKind::Conflict,
            _ => FaultKind::Untrusted,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Unsigned { .. } => "unsigned",
            Self::UnknownSigner { .. } => "unknown_signer",
            Self::Forged { .. } => "forged_signature",
            Self::Revoked { .. } => "revoked_key",
            Self::OtherPackage { .. } => "signature_for_other_package",
            Self::PinnedToOther { .. } => "name_pinned_to_other_key",
            Self::Rollback { .. } => "version_not_newer",
            Self::FastForward { .. } => "version_too_far_ahead",
            Self::Rejected { .. } => "rejected_by_analysis",
        }
    }
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unsigned { .. } => "build it with `sophon build`, which signs, or get its .dsse.json file; \
                 --dangerously-allow-unsigned lets it in, on record"
                .into(),
            Self::UnknownSigner { .. } => {
                "get the publisher's public key over another channel, then `sophon key trust KEY --name NAME`".into()
            }
            Self::Forged { .. } | Self::OtherPackage { .. } => {
                "get package and .dsse.json file again from where they came from; both must be of one build".into()
            }
            Self::Revoked { .. } => "ask the publisher for a package that is signed with the new key".into(),
            Self::PinnedToOther { .. } => {
                "sign with the identity of that key (`sophon build --identity NAME`), get the package from its publisher, \
                 or give the skill another name"
                    .into()
            }
            Self::Rollback { highest, .. } => {
                let next = Version::new(highest.major, highest.minor, highest.patch.saturating_add(1));
                format!(r#"put "version": "{next}" into manifest.json, and build again"#)
            }
            Self::FastForward { highest, .. } => {
                format!("choose a major version of at most {}", highest.major.saturating_add(MAX_MAJOR_STEP))
            }
            Self::Rejected { report, .. } => report.first_advice()?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests;
