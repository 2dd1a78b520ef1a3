//! Calls that were cut short: recorded as of unknown outcome, never run again.

use crate::outcome::Ending;
use crate::{CallError, CallStatus, Executor};
use sophon_audit::{Action, Outcome, Record};

/// Why calls are settled without having ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The host was stopped or killed while they ran; this is the next start.
    Restart,
    /// The host stops now, and they have used up their grace.
    Shutdown,
}

impl Cause {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Shutdown => "shutdown",
        }
    }
}

/// Gives every unfinished call its last state, durably, and says so in the audit log.
pub(crate) async fn settle(executor: &Executor, cause: Cause) -> Result<(), CallError> {
    let parts = &executor.0.parts;
    let now = parts.clock.now();
    for row in parts.store.calls().unfinished().await? {
        let record = Record::new(Action::CallOutcome, Outcome::Unknown)
            .tenant(&row.tenant)
            .user(&row.user)
            .key(row.key)
            .tool(&row.tool)
            .call(row.id)
            .correlation(row.correlation)
            .detail("cause", cause.as_str());
        // The record first: were the host killed in between, the call would be settled and recorded once more.
        parts.audit.append(record).await?;
        let sealed = Ending::unknown().seal(&parts.vault, row.id)?;
        let status = CallStatus::UnknownOutcome.as_str();
        parts.store.calls().finish(row.id, status, Some(sealed), now).await?;
    }
    Ok(())
}
