//! Calls that come round: made, listed and removed here, and fired through the same door as every other call.
//!
//! Promises: a firing goes through [`Executor::call`] with the role of an agent, whoever made the schedule, so that a gate
//! that would ask asks; each firing runs once, also when the host stops in the middle of it (it is claimed durably, called
//! under an idempotency key of its own, and settled); a schedule whose key was revoked stops. Never: two firings of one
//! schedule at the same time.

mod error;
mod fire;
mod limits;
#[cfg(test)]
mod tests;
mod timetable;

pub use error::ScheduleError;
pub use limits::ScheduleLimits;

use crate::{CallError, Executor};
use serde::Serialize;
use serde_json::Value;
use sophon_audit::{Action, Outcome, Record};
use sophon_store::{Added, ScheduleFilter, SchedulePlace, ScheduleRow};
use sophon_types::{
    CallId, CanonicalJson, CorrelationId, Fault as _, Principal, Role, ScheduleId, Timestamp, ToolName, UserId,
};
use timetable::Timetable;

/// What the vault seals for: arguments of schedules.
const PURPOSE: &str = "schedule-arguments";

/// A schedule to make.
#[derive(Debug, Clone)]
pub struct ScheduleRequest {
    /// The tool's full name, not yet checked.
    pub tool: String,
    /// The exact arguments of every call.
    pub arguments: CanonicalJson,
    /// When: a cron pattern of five fields.
    pub cron: String,
    /// In which time zone; a name of the IANA database.
    pub zone: String,
    /// Up to how many seconds later than the pattern says.
    pub jitter_seconds: u64,
    /// What becomes of firings that were missed: `skip` or `once`.
    pub missed: String,
    /// What the request belongs to.
    pub correlation: CorrelationId,
}

/// A schedule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScheduleView {
    /// Its id.
    pub schedule_id: ScheduleId,
    /// For whom it calls.
    pub user: UserId,
    /// What it calls.
    pub tool: ToolName,
    /// With which arguments; left out in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Value>,
    /// The cron pattern.
    pub cron: String,
    /// The time zone.
    pub time_zone: String,
    /// Up to how much later, in seconds.
    pub jitter_seconds: u64,
    /// What becomes of missed firings.
    pub missed: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it fires next, its jitter included; null where it has stopped.
    pub next_at: Option<Timestamp>,
    /// The last firing, as the pattern says.
    pub last_fire_at: Option<Timestamp>,
    /// The call that it became.
    pub last_call_id: Option<CallId>,
    /// What became of it: a call's status, or the code of a refusal.
    pub last_outcome: Option<String>,
}

/// A part of the schedules, the oldest first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScheduleListing {
    /// The schedules, without their arguments.
    pub schedules: Vec<ScheduleView>,
    /// How many of this page cannot be read; they do not fire.
    pub unreadable: u64,
    /// Where the next page begins; nothing on the last one.
    pub next: Option<String>,
}

/// What becomes of firings that were missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missed {
    /// They are left out.
    Skip,
    /// One call makes up for all of them.
    Once,
}

impl Missed {
    fn named(text: &str) -> Result<Self, ScheduleError> {
        match text {
            "skip" => Ok(Self::Skip),
            "once" => Ok(Self::Once),
            other => Err(ScheduleError::Missed { given: other.chars().take(40).collect() }),
        }
    }
}

impl Executor {
    /// Makes a schedule for the caller, which has to exist, fire and fit the tool's schema now.
    ///
    /// # Errors
    /// [`CallError`]; every refusal is recorded.
    pub async fn schedule(&self, principal: &Principal, request: ScheduleRequest) -> Result<ScheduleView, CallError> {
        let record = Record::new(Action::ScheduleCreate, Outcome::Ok)
            .principal(principal)
            .correlation(request.correlation)
            .detail("cron", self.0.parts.audit.redactor().text(&request.cron))
            .detail("jitter_seconds", request.jitter_seconds);
        let made = self.make_schedule(principal, request, &record).await;
        let refusal = match &made {
            // What could not be recorded was taken back.
            Ok(_) | Err(CallError::Audit(_)) => return made,
            Err(error @ (CallError::Store(_) | CallError::Vault(_))) => Outcome::failed(error.code()),
            Err(error) => Outcome::denied(error.code()),
        };
        self.0.parts.audit.append(record.then(Action::ScheduleCreate, refusal)).await?;
        made
    }

    async fn make_schedule(
        &self,
        principal: &Principal,
        request: ScheduleRequest,
        record: &Record,
    ) -> Result<ScheduleView, CallError> {
        let parts = &self.0.parts;
        let limits = parts.schedules.clone();
        let ScheduleRequest { tool, arguments, cron, zone, jitter_seconds, missed, .. } = request;
        Missed::named(&missed)?;
        if arguments.as_str().len() > limits.max_argument_bytes as usize {
            return Err(ScheduleError::Arguments { most: limits.max_argument_bytes }.into());
        }
        let now = parts.clock.now();
        let timetable = Timetable::new(&cron, &zone, jitter_seconds)?;
        let bounds = limits.clone();
        // A pattern that never fires is searched for through the centuries.
        let checked = tokio::task::spawn_blocking(move || timetable.checked(now, &bounds)).await;
        let (timetable, first) = checked.map_err(|_panic| CallError::Lost)??;
        let tool: ToolName = tool.parse()?;
        let (ready, index) = self.resolve(principal, &tool)?;
        self.validate(principal, &ready, index, &arguments).await?;
        let id = ScheduleId::mint(&*parts.entropy);
        let row = ScheduleRow {
            id,
            tenant: principal.tenant.clone(),
            user: principal.user.clone(),
            key: principal.key,
            tool,
            cron,
            zone,
            jitter_seconds,
            missed,
            arguments: parts.vault.seal(PURPOSE, id.as_bytes(), arguments.as_str().as_bytes())?,
            created_at: now,
            fire_at: Some(first),
            due_at: Some(timetable.due(id, first)),
            claimed_at: None,
            last_fire_at: None,
            last_call: None,
            last_outcome: None,
        };
        let record = record.clone().tool(&row.tool).detail("schedule", id.to_string());
        parts.audit.append(record.clone().then(Action::ScheduleCreate, Outcome::Intent)).await?;
        let view = ScheduleView { arguments: Some(arguments.into_value()), ..ScheduleView::from(row.clone()) };
        let (of_user, of_tenant) = (limits.max_per_user, limits.max_per_tenant);
        match parts.store.schedules().add(row, of_user.into(), of_tenant.into()).await? {
            Added::Added => {}
            Added::UserFull => return Err(ScheduleError::TooMany { of: "the user", most: of_user }.into()),
            Added::TenantFull => return Err(ScheduleError::TooMany { of: "the tenant", most: of_tenant }.into()),
        }
        if let Err(unrecorded) = parts.audit.append(record).await {
            // It does not fire where nobody can see that it was made.
            if let Err(error) = parts.store.schedules().remove(&principal.tenant, Some(&principal.user), id).await {
                tracing::error!(%error, schedule = %id, "a schedule that is not recorded could not be taken back");
            }
            return Err(unrecorded.into());
        }
        Ok(view)
    }

    /// The caller's schedules behind a place, without their arguments; an admin sees those of the whole tenant.
    ///
    /// # Errors
    /// [`CallError`] where they cannot be read.
    pub async fn schedules(
        &self,
        principal: &Principal,
        after: Option<SchedulePlace>,
        limit: u32,
    ) -> Result<ScheduleListing, CallError> {
        let (tenant, user) = (principal.tenant.clone(), whose(principal).cloned());
        let page = self.0.parts.store.schedules().list(ScheduleFilter { tenant, user, after, limit }).await?;
        Ok(ScheduleListing {
            schedules: page.rows.into_iter().map(ScheduleView::from).collect(),
            unreadable: page.unreadable,
            next: page.next.map(|next| next.to_string()),
        })
    }

    /// A schedule of the caller, with its arguments; an admin's, one of the tenant.
    ///
    /// # Errors
    /// [`ScheduleError::Unknown`] where the caller has no such schedule.
    pub async fn schedule_of(&self, principal: &Principal, id: ScheduleId) -> Result<ScheduleView, CallError> {
        let found = self.0.parts.store.schedules().get(&principal.tenant, whose(principal), id).await?;
        let row = found.ok_or(ScheduleError::Unknown)?;
        let arguments = Some(self.scheduled_arguments(&row)?.into_value());
        Ok(ScheduleView { arguments, ..ScheduleView::from(row) })
    }

    /// Removes a schedule of the caller; an admin, one of the tenant. A firing that is under way goes on.
    ///
    /// # Errors
    /// [`ScheduleError::Unknown`] where the caller has no such schedule.
    pub async fn unschedule(
        &self,
        principal: &Principal,
        id: ScheduleId,
        correlation: CorrelationId,
    ) -> Result<(), CallError> {
        let parts = &self.0.parts;
        let record = Record::new(Action::ScheduleDelete, Outcome::Intent)
            .principal(principal)
            .correlation(correlation)
            .detail("schedule", id.to_string());
        parts.audit.append(record.clone()).await?;
        let removed = parts.store.schedules().remove(&principal.tenant, whose(principal), id).await;
        let outcome = match &removed {
            Ok(Some(_row)) => Outcome::Ok,
            Ok(None) => Outcome::denied(ScheduleError::Unknown.code()),
            Err(error) => Outcome::failed(error.code()),
        };
        let recorded = parts.audit.append(record.then(Action::ScheduleDelete, outcome)).await;
        // What failed is what the caller learns first.
        let removed = removed?;
        recorded?;
        removed.map(drop).ok_or_else(|| ScheduleError::Unknown.into())
    }

    fn scheduled_arguments(&self, row: &ScheduleRow) -> Result<CanonicalJson, CallError> {
        let plain = self.0.parts.vault.unseal(PURPOSE, row.id.as_bytes(), &row.arguments)?;
        Ok(CanonicalJson::parse(&plain)?)
    }
}

impl From<ScheduleRow> for ScheduleView {
    fn from(row: ScheduleRow) -> Self {
        Self {
            schedule_id: row.id,
            user: row.user,
            tool: row.tool,
            arguments: None,
            cron: row.cron,
            time_zone: row.zone,
            jitter_seconds: row.jitter_seconds,
            missed: row.missed,
            created_at: row.created_at,
            next_at: row.due_at,
            last_fire_at: row.last_fire_at,
            last_call_id: row.last_call,
            last_outcome: row.last_outcome,
        }
    }
}

/// Whose schedules a caller may see: an admin everybody's, others their own.
fn whose(principal: &Principal) -> Option<&UserId> {
    (principal.role != Role::Admin).then_some(&principal.user)
}
