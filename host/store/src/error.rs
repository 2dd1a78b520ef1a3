//! What can go wrong at the store.

use sophon_types::{Fault, FaultKind, Stage};

/// Why the store did not do what it was asked. `Clone`, because one failed commit answers many callers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process holds the database's write lock for longer than the busy timeout.
    #[error("the database is locked by another process")]
    Locked,
    /// The disk (or the database's page limit) is full, or writing to it fails. Nothing of the refused change
    /// was kept.
    #[error("the database cannot be written, the disk is full or failing: {detail}")]
    Full {
        /// The engine's words.
        detail: String,
    },
    /// A row or blob is not what this host wrote: damaged, or changed from outside.
    #[error("stored data is damaged: {what}")]
    Corrupt {
        /// Which table, column or blob.
        what: String,
    },
    /// The change contradicts what is stored: a key that exists, a version that is not the next, a row that is
    /// in its final state.
    #[error("conflict: {what}")]
    Conflict {
        /// What contradicts.
        what: String,
    },
    /// A skill's state would grow beyond its quota.
    #[error("quota exceeded: {what}")]
    Quota {
        /// Which limit.
        what: String,
    },
    /// The database was written by a newer version of this host.
    #[error("the database is newer than this program: {detail}")]
    Newer {
        /// Which migration is not known here.
        detail: String,
    },
    /// The database or blob folder cannot be opened, is read-only, or was closed.
    #[error("the store is unavailable: {detail}")]
    Unavailable {
        /// The engine's words.
        detail: String,
    },
    /// A statement failed in a way that a correct program does not cause.
    #[error("the store failed: {detail}")]
    Internal {
        /// The engine's words.
        detail: String,
    },
}

impl Fault for StoreError {
    fn stage(&self) -> Stage {
        Stage::Store
    }

    fn kind(&self) -> FaultKind {
        match self {
            Self::Locked | Self::Full { .. } | Self::Newer { .. } | Self::Unavailable { .. } => FaultKind::Unavailable,
            Self::Corrupt { .. } | Self::Internal { .. } => FaultKind::Internal,
            Self::Conflict { .. } => FaultKind::Conflict,
            Self::Quota { .. } => FaultKind::TooLarge,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Locked => "store_locked",
            Self::Full { .. } => "store_full",
            Self::Corrupt { .. } => "store_corrupt",
            Self::Conflict { .. } => "conflict",
            Self::Quota { .. } => "quota_exceeded",
            Self::Newer { .. } => "store_newer",
            Self::Unavailable { .. } => "store_unavailable",
            Self::Internal { .. } => "store_internal",
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Locked => "stop the other process that uses this home, or wait until it has finished",
            Self::Full { .. } => "free space on the disk that holds the home folder; nothing else needs to be repaired",
            Self::Corrupt { .. } => "restore the home folder from a backup",
            Self::Conflict { .. } => return None,
            Self::Quota { .. } => "delete entries that are no longer needed, or store less",
            Self::Newer { .. } => "run the version of sophon that wrote this home, or a later one",
            Self::Unavailable { .. } => "check that the home folder exists and that this user may write in it",
            Self::Internal { .. } => "run `sophon doctor`; the log has the statement's own words",
        };
        Some(hint.into())
    }
}
