//! What a Python skill needs beside itself: packages of an index, each pinned to one version and to the digests of its files.
//!
//! The manifest's `requirements` are the lock: [`requirements`] reads them, [`Requirement::choose`] picks the one wheel of an
//! index's [`Listing`] that this host can use, and [`Layer::of`] unpacks what came, within bounds, into files in memory. Only
//! wheels are taken, and nothing of them is ever run on the way: a wheel is a zip file, and is read as strictly as a package.

mod layer;
mod listing;
mod lock;

pub use layer::Layer;
pub use listing::{Listing, Offered};
pub use lock::{Requirement, requirements};

use sophon_types::{Fault, FaultKind, Stage};

/// The Python that skills run in.
pub(crate) const PYTHON: (u32, u32) = (3, 11);
/// The machine that it runs on, as wheels name it.
pub(crate) const MACHINE: &str = if cfg!(target_arch = "aarch64") { "aarch64" } else { "x86_64" };
/// The C library that it runs on.
pub(crate) const GLIBC: (u32, u32) = (2, 36);

/// Why a skill's requirements cannot be installed. Nothing of them is kept then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequirementError {
    /// It names no one version.
    #[error("the requirement {0:?} does not name one version")]
    NotPinned(String),
    /// It names no digest.
    #[error("the requirement {0:?} names no digest of its files")]
    NotHashed(String),
    /// Two of them are of one package.
    #[error("{0} is required twice")]
    Twice(String),
    /// The index does not have that version.
    #[error("{0}: the index does not have it")]
    NotFound(String),
    /// The index has its source only; building it would run it.
    #[error("{0}: the index has no wheel of it, only its source, which would have to be run to be installed")]
    OnlySource(String),
    /// No wheel is for the Python of this host's sandboxes.
    #[error("{subject}: no wheel of it is for {platform}")]
    Unfit {
        /// The package and its version.
        subject: String,
        /// What it would have to be for.
        platform: String,
    },
    /// What the index has is not what was locked.
    #[error("{subject}: {found} is not one of the digests that it is locked to")]
    OtherDigest {
        /// The package and its version.
        subject: String,
        /// What the index offers, or what came.
        found: String,
    },
    /// What came is no wheel that can be unpacked.
    #[error("{subject}: its wheel cannot be used: {what}")]
    BadWheel {
        /// The package and its version.
        subject: String,
        /// What is wrong with it.
        what: String,
    },
    /// Two of them have a file of one name with different content.
    #[error("{0} and another requirement both have {1}")]
    Conflict(String, String),
    /// All of them together are larger than they may be.
    #[error("the requirements are larger than the {most_mb} MiB that a skill may have: {what}")]
    TooLarge {
        /// The bound.
        most_mb: usize,
        /// What went over it.
        what: String,
    },
    /// The index's list of files makes no sense.
    #[error("{0}: the index's list of files cannot be read: {1}")]
    BadListing(String, String),
}

impl Fault for RequirementError {
    fn stage(&self) -> Stage {
        Stage::Build
    }

    fn kind(&self) -> FaultKind {
        match self {
            Self::NotFound(_) => FaultKind::NotFound,
            Self::TooLarge { .. } => FaultKind::TooLarge,
            Self::BadListing(..) => FaultKind::Upstream,
            _ => FaultKind::Unprocessable,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotPinned(_) => "requirement_not_pinned",
            Self::NotHashed(_) => "requirement_not_hashed",
            Self::Twice(_) => "requirement_twice",
            Self::NotFound(_) => "requirement_not_found",
            Self::OnlySource(_) => "requirement_only_source",
            Self::Unfit { .. } => "requirement_unfit",
            Self::OtherDigest { .. } => "requirement_other_digest",
            Self::BadWheel { .. } => "requirement_bad_wheel",
            Self::Conflict(..) => "requirements_conflict",
            Self::TooLarge { .. } => "requirements_too_large",
            Self::BadListing(..) => "index_listing_unreadable",
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotPinned(_) => "write each as NAME==VERSION --hash=sha256:DIGEST, without markers and options".into(),
            Self::NotHashed(_) => {
                "add the digest of its wheel, NAME==VERSION --hash=sha256:DIGEST; `pip-compile --generate-hashes` writes \
                 such lines, for what the package itself needs too"
                    .into()
            }
            Self::Twice(_) => "leave one of the two out".into(),
            Self::NotFound(_) => "look at the name and the version; [containers] python_index names the index".into(),
            Self::OnlySource(_) => "require a version that has a wheel, or put the package's own files into the skill".into(),
            Self::Unfit { .. } => "require a version that has such a wheel, or one in plain Python (py3-none-any)".into(),
            Self::OtherDigest { .. } => {
                "do not install it before it is known why: look the version's digests up at the index, and correct the lock \
                 if it was wrong"
                    .into()
            }
            Self::BadWheel { .. } => "require another version, and tell whoever made the package".into(),
            Self::Conflict(..) => "leave one of the two out".into(),
            Self::TooLarge { .. } => "require less; [containers] requirements_mb is the bound".into(),
            Self::BadListing(..) => "see that [containers] python_index is an index in the form of PyPI's /simple".into(),
        })
    }
}
