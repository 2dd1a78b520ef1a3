//! What can go wrong with the audit log.

use sophon_store::StoreError;
use sophon_types::{Fault, FaultKind, Stage};

/// Why the log did not do what it was asked. `Clone`, because one failed write answers many callers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The log cannot be written: a write failed and none has succeeded since, or the log is closed. What asked
    /// for the record must not happen.
    #[error("the audit log cannot be written: {detail}")]
    Unavailable {
        /// What failed.
        detail: String,
    },
    /// More records wait than may; only [`crate::AuditLog::enqueue`] says so, the others wait.
    #[error("the audit log's queue is full")]
    Busy,
    /// The log ends before its newest checkpoint: rows were cut off.
    #[error("the audit log of {writer} ends at {head}, but a checkpoint was signed at {checkpoint}")]
    Truncated {
        /// Whose chain.
        writer: String,
        /// Where the chain ends.
        head: u64,
        /// Where it ended when the checkpoint was signed.
        checkpoint: u64,
    },
    /// The log contradicts itself, its newest checkpoint, or what this process has written.
    #[error("the audit log of {writer} was changed at {seq}: {what}")]
    Broken {
        /// Whose chain.
        writer: String,
        /// Where.
        seq: u64,
        /// What does not fit.
        what: String,
    },
    /// An export is not readable as one.
    #[error("not an audit export: line {line}: {what}")]
    Export {
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
    /// The store failed while reading.
    #[error(transparent)]
    Store(StoreError),
}

impl Fault for AuditError {
    fn stage(&self) -> Stage {
        Stage::Audit
    }

    fn kind(&self) -> FaultKind {
        match self {
            Self::Unavailable { .. } | Self::Busy | Self::Truncated { .. } | Self::Broken { .. } => {
                FaultKind::Unavailable
            }
            Self::Export { .. } => FaultKind::Invalid,
            Self::Store(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "audit_unavailable",
            Self::Busy => "audit_busy",
            Self::Truncated { .. } => "audit_truncated",
            Self::Broken { .. } => "audit_broken",
            Self::Export { .. } => "invalid_audit_export",
            Self::Store(error) => error.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Unavailable { .. } => {
                "see that the disk that holds the home folder has room and that no other process holds the database; the log \
                 goes on by itself as soon as it can be written"
            }
            Self::Busy => "repeat the request",
            Self::Truncated { .. } | Self::Broken { .. } => {
                "run `sophon audit verify` to see every problem and `sophon audit export` to keep what is left, then \
                 restore the home folder from a backup"
            }
            Self::Export { .. } => "give the file that `sophon audit export` wrote, unchanged",
            Self::Store(error) => return error.hint(),
        };
        Some(hint.into())
    }
}
