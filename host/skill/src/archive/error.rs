//! Why an archive is refused.

use crate::text::quote;
use sophon_types::{Fault, FaultKind, Stage};

/// A broken rule of the archive, with the entry where there is one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The bytes do not begin and end as a zip file does.
    #[error("this is not a zip file: {0}")]
    NotZip(&'static str),
    /// Two readers could see different archives in these bytes: bytes before, between or behind the entries,
    /// a second end record, headers that contradict each other.
    #[error("the archive can be read in two ways: {0}")]
    Ambiguous(String),
    /// A feature that skills do not need: encryption, zip64, several disks, other compression methods, streamed
    /// entries, unknown extra fields.
    #[error("the archive uses {0}")]
    Unsupported(String),
    /// A limit of [`ArchiveLimits`](crate::ArchiveLimits) is broken.
    #[error("the archive is too large: {0}")]
    TooLarge(String),
    /// An entry's name is not allowed.
    #[error("{0}")]
    Name(String),
    /// Two entries would be one file on some system.
    #[error("{} and {} are one file on some systems", quote(.0), quote(.1))]
    Duplicate(String, String),
    /// A link, device or file with special mode bits.
    #[error("{} is {what}", quote(.name))]
    NotAFile {
        /// The entry.
        name: String,
        /// What it is instead of a plain file.
        what: &'static str,
    },
    /// An archive within the archive.
    #[error("{} is itself {what}", quote(.name))]
    Nested {
        /// The entry.
        name: String,
        /// The kind of archive.
        what: &'static str,
    },
    /// The compressed data does not give what the header says.
    #[error("{} is damaged: {what}", quote(.name))]
    Damaged {
        /// The entry.
        name: String,
        /// How.
        what: &'static str,
    },
}

impl Fault for ArchiveError {
    fn stage(&self) -> Stage {
        Stage::Package
    }
    fn kind(&self) -> FaultKind {
        match self {
            Self::TooLarge(_) => FaultKind::TooLarge,
            Self::NotZip(_) => FaultKind::Invalid,
            _ => FaultKind::Unprocessable,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::NotZip(_) => "not_a_package",
            Self::Ambiguous(_) => "ambiguous_archive",
            Self::Unsupported(_) => "unsupported_archive",
            Self::TooLarge(_) => "archive_too_large",
            Self::Name(_) => "unsafe_entry_name",
            Self::Duplicate(..) => "duplicate_entry",
            Self::NotAFile { .. } => "entry_not_a_file",
            Self::Nested { .. } => "nested_archive",
            Self::Damaged { .. } => "damaged_archive",
        }
    }
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Name(_) | Self::Duplicate(..) => "rename the file and build the package again".into(),
            Self::NotAFile { .. } => "replace it by a plain file and build the package again".into(),
            Self::Nested { .. } => "unpack it into the package's folder, or leave it out".into(),
            Self::TooLarge(_) => "leave out what the skill does not need to run".into(),
            _ => "build the package with `sophon build`".into(),
        })
    }
}
