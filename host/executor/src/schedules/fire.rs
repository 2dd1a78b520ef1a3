//! Firing what is due.

use super::Missed;
use super::timetable::Timetable;
use crate::api::{CallRequest, Results};
use crate::call::KEPT;
use crate::{CallError, Executor};
use futures::StreamExt as _;
use sophon_audit::{Action, Outcome, Record};
use sophon_store::{DueSchedule, ScheduleRow, Settled};
use sophon_types::{CallId, CorrelationId, Fault as _, FaultKind, Principal, Role, Timestamp};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often it is looked for what is due.
const LOOK: Duration = Duration::from_secs(1);
/// Schedules that are fired from one look, of all tenants and of one, and how many of them at the same time.
const MOST: u32 = 256;
const OF_TENANT: u32 = 32;
const AT_ONCE: usize = 8;
/// A firing that is late by more than this was missed: the host did not run, or was too busy.
const LATE: Duration = Duration::from_secs(120);

/// How long a firing that cannot be at this moment stands back for others.
const BACK: Duration = Duration::from_secs(5);

/// What became of a firing that was left out.
const MISSED: &str = "missed";

/// Whether a firing is done with for this time.
enum Done {
    /// It is, or it is somebody else's.
    Settled,
    /// It has to wait for a moment; what it has claimed stays.
    Waits,
}

/// What became of a firing.
struct Fired {
    call: Option<CallId>,
    /// For the log.
    outcome: Outcome,
    /// For the schedule: a status or a code.
    word: String,
    /// Whether the schedule fires again.
    goes_on: bool,
}

impl Fired {
    fn refused(code: &'static str, goes_on: bool) -> Self {
        Self { call: None, outcome: Outcome::denied(code), word: code.into(), goes_on }
    }
}

impl Executor {
    /// Fires what is due, from now on until the executor is gone.
    pub fn keep_time(&self) {
        let inner = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(LOOK);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let Some(inner) = inner.upgrade() else { return };
                if inner.draining.load(Ordering::SeqCst) {
                    return;
                }
                Self(inner).fire_due().await;
            }
        });
    }

    /// Fires what is due at this moment.
    pub(crate) async fn fire_due(&self) {
        let now = self.0.parts.clock.now();
        let due = match self.0.parts.store.schedules().due(now, OF_TENANT, MOST).await {
            Ok(due) => due,
            Err(error) => return tracing::warn!(%error, "it could not be read which schedules are due"),
        };
        futures::stream::iter(due)
            .for_each_concurrent(AT_ONCE, |due| async move {
                let DueSchedule { id, row } = due;
                let fired = match row {
                    Ok(row) => self.fire(row, now).await,
                    Err(unreadable) => Err(unreadable.into()),
                };
                match fired {
                    Ok(Done::Settled) => return,
                    Ok(Done::Waits) => {}
                    Err(error) => tracing::warn!(schedule = id, %error, "a schedule could not be fired"),
                }
                // It is tried again, behind those that are due meanwhile: nobody's firings keep others from theirs.
                if let Err(error) = self.0.parts.store.schedules().postpone(id, now, BACK).await {
                    tracing::warn!(%error, "a firing could not be put off");
                }
            })
            .await;
    }

    async fn fire(&self, row: ScheduleRow, now: Timestamp) -> Result<Done, CallError> {
        let parts = &self.0.parts;
        let (Some(planned), Some(due)) = (row.fire_at, row.due_at) else { return Ok(Done::Settled) };
        let timetable = Timetable::new(&row.cron, &row.zone, row.jitter_seconds)?;
        let missed = Missed::named(&row.missed)?;
        // A firing that was claimed is finished, whatever the time: it may have run already.
        let (fire_at, fired) = if let Some(claimed) = row.claimed_at {
            if now.since(claimed) < KEPT {
                (planned, self.call_scheduled(&row, planned, claimed).await?)
            } else {
                // The key by which it would be known is forgotten. It may have run, so it does not again.
                let fired = Fired { outcome: Outcome::Unknown, ..Fired::refused("unknown_outcome", true) };
                (planned, Some(fired))
            }
        } else if now.since(due) > LATE && missed == Missed::Skip {
            (planned, Some(Fired::refused(MISSED, true)))
        } else {
            // One call for all that were missed: the latest of them.
            let latest = timetable.latest(now).filter(|latest| now.since(due) > LATE && *latest > planned);
            let fire_at = latest.unwrap_or(planned);
            if !parts.store.schedules().claim(row.id, fire_at, due, now).await? {
                return Ok(Done::Settled);
            }
            (fire_at, self.call_scheduled(&row, fire_at, now).await?)
        };
        let Some(fired) = fired else { return Ok(Done::Waits) };
        let record = Record::new(Action::ScheduleFire, fired.outcome)
            .tenant(&row.tenant)
            .user(&row.user)
            .key(row.key)
            .tool(&row.tool)
            .detail("schedule", row.id.to_string())
            .detail("fire_at", fire_at.to_string());
        let record = fired.call.map_or(record.clone(), |call| record.call(call));
        parts.audit.append(record).await?;
        // Whatever was missed with it is left out too, and not gone through one by one.
        let from = if fired.word == MISSED { fire_at.max(now) } else { fire_at };
        let next = timetable.next(fire_at, from, &parts.schedules).filter(|_| fired.goes_on);
        let next = next.map(|next| (next, timetable.due(row.id, next)));
        let settled = Settled { fire_at, call: fired.call, outcome: fired.word, next };
        parts.store.schedules().settle(row.id, settled).await?;
        Ok(Done::Settled)
    }

    /// Calls the tool of a firing that was claimed at `claimed`; `None` where that has to wait.
    async fn call_scheduled(
        &self,
        row: &ScheduleRow,
        fire_at: Timestamp,
        claimed: Timestamp,
    ) -> Result<Option<Fired>, CallError> {
        let parts = &self.0.parts;
        // The operator's own keys are not among these; a key that was revoked stops what it has made.
        let keys = parts.store.keys().list(&row.tenant).await?;
        if keys.iter().any(|key| key.id == row.key && key.revoked_at.is_some()) {
            return Ok(Some(Fired::refused("key_revoked", false)));
        }
        let principal =
            Principal { tenant: row.tenant.clone(), user: row.user.clone(), key: row.key, role: Role::Agent };
        let key = format!("schedule:{}:{fire_at}", row.id);
        let before = parts.store.calls().by_idempotency_key(&row.tenant, &row.user, &key).await?;
        // What was called already is counted already.
        if before.is_none()
            && let Err(wait) = self.0.tool_budget.take(&principal, &row.tool)
        {
            if parts.clock.now().since(claimed).saturating_add(wait) <= LATE {
                return Ok(None);
            }
            return Ok(Some(Fired::refused("rate_limited", true)));
        }
        let request = CallRequest {
            tool: row.tool.to_string(),
            arguments: self.scheduled_arguments(row)?,
            session: None,
            idempotency_key: Some(key),
            wait: Duration::ZERO,
            correlation: CorrelationId::mint(&*parts.entropy),
            results: Results::Text,
        };
        match self.call(&principal, request).await {
            Ok(view) => {
                let word = view.status.as_str().to_owned();
                Ok(Some(Fired { call: Some(view.call_id), outcome: Outcome::Ok, word, goes_on: true }))
            }
            // For a moment; the claim stays, and with it the key.
            Err(error) if error.kind() == FaultKind::Unavailable && parts.clock.now().since(claimed) <= LATE => {
                tracing::info!(schedule = %row.id, %error, "a firing waits");
                Ok(None)
            }
            Err(error) => {
                Ok(Some(Fired { outcome: Outcome::failed(error.code()), ..Fired::refused(error.code(), true) }))
            }
        }
    }
}
