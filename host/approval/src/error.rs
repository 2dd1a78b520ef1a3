//! Why a question cannot be asked, or a decision not be taken.

use crate::Status;
use crate::gate::Stale;
use sophon_audit::AuditError;
use sophon_store::StoreError;
use sophon_types::{Fault, FaultKind, Stage};
use sophon_vault::VaultError;

/// Why a question cannot be asked, or a decision not be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeskError {
    /// There is no such question for this caller.
    #[error("there is no such approval, or it is not yours to see")]
    Unknown,
    /// The caller may see it and not decide it.
    #[error("an agent's key cannot decide; a person with the role approver or admin can")]
    NotAPerson,
    /// Somebody or something was faster.
    #[error("the approval is {} already", .0.as_str())]
    Decided(Status),
    /// The time to decide is over.
    #[error("the time to decide has passed; what was asked about has not happened and will not")]
    Expired,
    /// What was asked about is not the same any more.
    #[error("the approval is superseded: {0}; what was asked about has not happened and will not")]
    Superseded(Stale),
    /// The tool does not let a person change its arguments.
    #[error("the arguments of this tool cannot be edited")]
    NotEditable,
    /// One person cannot be two.
    #[error("this needs a second person, and you have approved it already")]
    SamePerson,
    /// The person has seen another card.
    #[error("the arguments are not those that you have seen: somebody has edited them")]
    Unseen,
    /// Allowing more than this once is not possible here.
    #[error("this can only be approved once: {0}")]
    OnceOnly(&'static str),
    /// As many questions wait as may.
    #[error("{0} questions of this {1} wait for a person already")]
    TooMany(usize, &'static str),
    /// What is asked about is too large to be kept while it waits.
    #[error("arguments of {0} bytes are too large to wait for a person (at most {1})")]
    TooLarge(usize, usize),
    /// Something that was asked for is out of bounds.
    #[error("{place}: {message}")]
    Bounds {
        /// Which value.
        place: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// The log cannot be written, so nothing may happen.
    #[error("the decision cannot be recorded, so it is refused: {0}")]
    Audit(#[from] AuditError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The vault failed, or a row was not written by this host.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl Fault for DeskError {
    fn stage(&self) -> Stage {
        match self {
            Self::Audit(_) => Stage::Audit,
            Self::Store(error) => error.stage(),
            Self::Vault(error) => error.stage(),
            _ => Stage::Gate,
        }
    }

    fn kind(&self) -> FaultKind {
        match self {
            Self::Unknown => FaultKind::NotFound,
            Self::NotAPerson | Self::SamePerson => FaultKind::Denied,
            Self::Decided(_) | Self::Expired | Self::Unseen | Self::Superseded(_) => FaultKind::Conflict,
            Self::NotEditable | Self::OnceOnly(_) => FaultKind::Unprocessable,
            Self::TooMany(..) => FaultKind::Unavailable,
            Self::TooLarge(..) => FaultKind::TooLarge,
            Self::Bounds { .. } => FaultKind::Invalid,
            Self::Audit(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Vault(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown_approval",
            Self::NotAPerson => "not_an_approver",
            Self::Decided(_) => "approval_decided",
            Self::Expired => "approval_expired",
            Self::Superseded(_) => "approval_superseded",
            Self::NotEditable => "not_editable",
            Self::SamePerson => "second_person_required",
            Self::Unseen => "arguments_changed",
            Self::OnceOnly(_) => "once_only",
            Self::TooMany(..) => "too_many_approvals",
            Self::TooLarge(..) => "too_large_to_wait",
            Self::Bounds { .. } => "out_of_bounds",
            Self::Audit(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::Vault(error) => error.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown => Some("GET /v1/approvals?status=pending lists what waits for you".into()),
            Self::NotAPerson => Some("decide with the key of an approver or an admin of the same tenant".into()),
            Self::Decided(_) | Self::Expired | Self::Superseded(_) => {
                Some("the agent can call the tool again; that asks a new question".into())
            }
            Self::NotEditable => Some("approve it as it is, or reject it with a reason".into()),
            Self::SamePerson => Some("an admin of the tenant has to approve it as well".into()),
            Self::Unseen => Some("read the card again, and approve with its fingerprint".into()),
            Self::OnceOnly(_) => Some("approve it with scope \"once\"".into()),
            Self::TooMany(..) => Some("decide what waits, or raise [approval] max_pending".into()),
            Self::TooLarge(..) => Some("send less at once".into()),
            Self::Bounds { .. } => None,
            Self::Audit(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Vault(error) => error.hint(),
        }
    }
}
