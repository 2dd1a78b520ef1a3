//! Calls that were cut short: recorded as of unknown outcome, never run again.

use crate::events::{Event, Owner};
use crate::outcome::Ending;
use crate::{CallError, CallStatus, Executor};
use sophon_audit::{Action, Order, Outcome, OutcomeKind, Query, Record};
use sophon_store::{CallRow, StoreError};

/// Why calls are settled without having ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The host was stopped or killed while they ran; this is the next start.
    Restart,
    /// The host stops now, and they have used up their grace.
    Shutdown,
    /// Their last state could not be written when they ended.
    Lost,
}

impl Cause {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Shutdown => "shutdown",
            Self::Lost => "lost",
        }
    }
}

/// Gives every unfinished call that does not run its last state, durably, and says so in the audit log. One that cannot
/// be settled does not keep the others from it.
pub(crate) async fn settle(executor: &Executor, cause: Cause) -> Result<(), CallError> {
    let mut first = Ok(());
    for row in executor.0.parts.store.calls().unfinished().await? {
        if executor.0.flights.has(row.id) {
            continue;
        }
        if let Err(error) = settle_one(executor, &row, cause).await {
            tracing::error!(%error, call = %row.id, "a call could not be settled");
            first = first.and(Err(error));
        }
    }
    first
}

/// Settles one call that is not finished and does not run.
pub(crate) async fn settle_one(executor: &Executor, row: &CallRow, cause: Cause) -> Result<(), CallError> {
    let parts = &executor.0.parts;
    if row.status == CallStatus::AwaitingApproval.as_str() {
        return executor.settle_undecided(row).await;
    }
    let (status, ending) = match recorded(executor, row).await? {
        // It ended, and the record says how; only its row was not written any more.
        Recorded::Ended(status) => (status, Ending::lost()),
        // Nothing of it ever ran: without its intent no code of a skill does.
        Recorded::Nothing => return Ok(parts.store.calls().withdraw(row.id).await?),
        Recorded::Intent => {
            // The record first: were the host killed in between, the next start finds it. Apart from the row, so that one
            // that cannot be written does not keep the log from what it has of others.
            parts
                .audit
                .append(of_row(row, Action::CallOutcome, Outcome::Unknown).detail("cause", cause.as_str()))
                .await?;
            (CallStatus::UnknownOutcome, Ending::unknown())
        }
    };
    let sealed = ending.seal(&parts.vault, row.id)?;
    match parts.store.calls().finish(row.id, status.as_str(), Some(sealed), parts.clock.now()).await {
        // Its own last write came through after all, and was told of.
        Err(StoreError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(()) => {
            let owner = Owner { tenant: row.tenant.clone(), user: row.user.clone(), key: row.key };
            let event = Event::CallFinished { owner, call_id: row.id, tool: row.tool.clone(), status };
            executor.0.events.publish(parts.clock.now(), event);
            Ok(())
        }
    }
}

/// A record about a call of which only the row is left.
pub(crate) fn of_row(row: &CallRow, action: Action, outcome: Outcome) -> Record {
    Record::new(action, outcome)
        .tenant(&row.tenant)
        .user(&row.user)
        .key(row.key)
        .tool(&row.tool)
        .call(row.id)
        .correlation(row.correlation)
}

/// What the audit log has of a call.
enum Recorded {
    /// Its outcome.
    Ended(CallStatus),
    /// That it was about to run.
    Intent,
    /// Nothing.
    Nothing,
}

/// Looks by places in the log, never by times: the clock may have been set meanwhile, and a call whose intent is
/// overlooked would be taken back and could run again. From the end, where the intent of an unfinished call lies; only of
/// a call that has none the whole log is read.
async fn recorded(executor: &Executor, row: &CallRow) -> Result<Recorded, CallError> {
    let audit = &executor.0.parts.audit;
    let of_call = Query { call: Some(row.id), limit: Some(1), ..Query::default() };
    let intent = Query { action: Some(Action::CallIntent), order: Order::Newest, ..of_call.clone() };
    let Some(intent) = audit.find(&intent).await?.entries.into_iter().next() else { return Ok(Recorded::Nothing) };
    let outcome = Query { action: Some(Action::CallOutcome), after: Some(intent.position), ..of_call };
    let Some(entry) = audit.find(&outcome).await?.entries.into_iter().next() else { return Ok(Recorded::Intent) };
    let outcome = entry.record["outcome"].as_str().map(str::parse);
    Ok(Recorded::Ended(match outcome {
        Some(Ok(OutcomeKind::Ok)) => CallStatus::Succeeded,
        Some(Ok(OutcomeKind::Failed)) => CallStatus::Failed,
        _ => CallStatus::UnknownOutcome,
    }))
}
