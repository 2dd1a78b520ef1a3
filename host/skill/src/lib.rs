//! What a skill is: manifest, package, signature, trust and static analysis.
//!
//! Promises: no I/O (bytes in, evidence out), no clock, no randomness of its own, no code of a skill is ever run.
//! Everything that comes in is hostile: work and memory are bounded before they are spent, and there is one view of
//! every input, shared by whoever checks and whoever uses it.
//!
//! The way of a package:
//!
//! 1. [`Package::read`]: a strict zip file ([`Archive`]) with a [`Manifest`] that breaks no rule ([`ManifestErrors`]
//!    names all that are broken), its entrypoint, `README.md` and `LICENSE`.
//! 2. [`verify`]: the [`Envelope`] beside it binds name, version and digest to a key of the [`TrustStore`]; a name
//!    belongs to one key; the analysis ([`Package::analyse`], [`RULES`]) must not reject it ([`Report`]). The evidence is
//!    [`VerifiedPackage`].
//! 3. [`VerifiedPackage::install`]: a person's [`InstallTerms`] make it an [`InstalledSkill`]. [`changes`] says what
//!    an update would add to what was agreed to.
//!
//! For authors: [`pack`] (deterministic), [`SigningIdentity`], [`Envelope::sign`], [`tools_section`] and
//! [`with_tools_section`].
//!
//! For egress: [`NetworkRule`], [`HostPattern`], [`PathPattern`] and [`HostGrant`], pure matching over parsed parts.
//!
//! For installing what a Python skill requires: [`requirements`], [`Requirement`], [`Listing`] and [`Layer`], over bytes that others
//! fetch.
//!
//! For hints: [`RulePlace`], [`entry_line`] and [`workspace_line`], the lines of a manifest that would allow something.

mod analysis;
mod archive;
pub mod ceilings;
mod changes;
mod install;
mod manifest;
mod network;
mod package;
mod requirements;
mod sections;
mod signature;
#[cfg(test)]
mod testing;
mod text;
mod trust;
mod verify;

pub use analysis::{
    Flaw, MAX_COMPONENT, Need, OFFERED, Offer, Placement, RULES, Report, Rule, RuleFinding, Severity, Subject, Verdict,
    Wish, analyse,
};
pub use archive::{Archive, ArchiveError, ArchiveLimits, pack};
pub use changes::{Change, changes};
pub use install::{InstallTerms, InstalledSkill, TermsError};
pub use manifest::{
    Access, ArgumentCheck, Category, CredentialUse, Effect, Field, FieldKind, Filesystem, Integration, Manifest,
    ManifestErrors, Permissions, Preset, Protocol, RulePlace, Runtime, SandboxWish, Setting, Shown, Tool, Violation,
    entry_line, workspace_line,
};
pub use network::{
    GrantError, HostError, HostGrant, HostPattern, NetworkRule, PathError, PathPattern, Scheme, StreamError,
    StreamGrant, StreamProtocol, StreamWish, is_made_for_credentials, is_reserved_header, may_carry_credential,
};
pub use package::{Package, PackageError};
pub use requirements::{Layer, Listing, Offered, Requirement, RequirementError, requirements};
pub use sections::{TOOLS_SECTION, tools_section, with_tools_section};
pub use signature::{
    BadSignature, Envelope, EnvelopeError, Fingerprint, IdentityError, KeyError, PublicKey, SigningIdentity, Statement,
};
pub use trust::{Publisher, PublisherRole, Standing, TrustStore};
pub use verify::{Unsigned, VerifiedPackage, VerifyError, verify};
