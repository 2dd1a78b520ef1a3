//! Calls that were cut short: recorded as of unknown outcome, never run again.

use crate::outcome::Ending;
use crate::{CallError, CallStatus, Executor};
use sophon_audit::{Action, Outcome, Query, Record};
use sophon_store::CallRow;
use sophon_types::Timestamp;

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
    for row in parts.store.calls().unfinished().await? {
        let now = parts.clock.now();
        let (status, ending) = match recorded(executor, &row).await? {
            // It ended, and the record says how; only its row was not written any more.
            Some(status) => (status, Ending::lost()),
            None => {
                // The record first: were the host killed in between, the next start finds it.
                parts.audit.append(unknown(&row, cause)).await?;
                (CallStatus::UnknownOutcome, Ending::unknown())
            }
        };
        let sealed = ending.seal(&parts.vault, row.id)?;
        parts.store.calls().finish(row.id, status.as_str(), Some(sealed), now).await?;
    }
    Ok(())
}

fn unknown(row: &CallRow, cause: Cause) -> Record {
    Record::new(Action::CallOutcome, Outcome::Unknown)
        .tenant(&row.tenant)
        .user(&row.user)
        .key(row.key)
        .tool(&row.tool)
        .call(row.id)
        .correlation(row.correlation)
        .detail("cause", cause.as_str())
}

/// How far back of the call's own start its outcome is looked for: the clock may have been set back meanwhile.
const CLOCK_SLACK: i64 = 3_600_000_000;

/// How the call ended, where the audit log has its outcome.
async fn recorded(executor: &Executor, row: &CallRow) -> Result<Option<CallStatus>, CallError> {
    let since = Timestamp::from_micros(row.created_at.as_micros().saturating_sub(CLOCK_SLACK));
    let query = Query {
        call: Some(row.id),
        action: Some(Action::CallOutcome),
        since: Some(since),
        limit: Some(1),
        ..Query::default()
    };
    let page = executor.0.parts.audit.query(&query).await?;
    Ok(page.entries.first().map(|entry| match entry.record["outcome"].as_str() {
        Some("ok") => CallStatus::Succeeded,
        Some("failed") => CallStatus::Failed,
        _ => CallStatus::UnknownOutcome,
    }))
}
