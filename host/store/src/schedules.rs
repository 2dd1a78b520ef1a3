//! Schedules: calls that come round. Their arguments are sealed by the vault; here are bytes.

use crate::engine::{Row, classify, conflict};
use crate::row::{column, count, one, parsed, time, time_opt};
use crate::writer::Scope;
use crate::{Store, StoreError};
use sophon_types::{CallId, KeyId, ScheduleId, TenantId, Timestamp, ToolName, UserId};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleRow {
    /// Its id.
    pub id: ScheduleId,
    /// In which tenant.
    pub tenant: TenantId,
    /// Who made it, and for whom it calls.
    pub user: UserId,
    /// The key that made it.
    pub key: KeyId,
    /// What it calls.
    pub tool: ToolName,
    /// When: a cron pattern.
    pub cron: String,
    /// In which time zone.
    pub zone: String,
    /// Up to how much later than the pattern says, in seconds.
    pub jitter_seconds: u64,
    /// What becomes of firings that were missed, in the executor's word.
    pub missed: String,
    /// The sealed arguments.
    pub arguments: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
    /// The next firing as the pattern says; none where it has stopped.
    pub fire_at: Option<Timestamp>,
    /// The next firing with its jitter.
    pub due_at: Option<Timestamp>,
    /// Since when that firing is under way.
    pub claimed_at: Option<Timestamp>,
    /// The last firing as the pattern says.
    pub last_fire_at: Option<Timestamp>,
    /// The call that it became.
    pub last_call: Option<CallId>,
    /// What became of it: a status, or the code of a refusal.
    pub last_outcome: Option<String>,
}

/// What became of adding a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is there.
    Added,
    /// The user has as many as there may be.
    UserFull,
    /// The tenant has as many as there may be.
    TenantFull,
}

/// How a firing ended, and the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The firing as the pattern says.
    pub fire_at: Timestamp,
    /// The call that it became.
    pub call: Option<CallId>,
    /// What became of it.
    pub outcome: String,
    /// The next one: as the pattern says, and with its jitter. None where the schedule stops.
    pub next: Option<(Timestamp, Timestamp)>,
}

/// Which schedules to list.
#[derive(Debug, Clone)]
pub struct ScheduleFilter {
    /// Of this tenant.
    pub tenant: TenantId,
    /// Of this user only.
    pub user: Option<UserId>,
    /// Behind this place only.
    pub after: Option<SchedulePlace>,
    /// At most so many, the oldest first.
    pub limit: u32,
}

/// A place in a list of schedules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchedulePlace {
    created_at: i64,
    id: String,
}

impl fmt::Display for SchedulePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.created_at, self.id)
    }
}

impl FromStr for SchedulePlace {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "is not the `next` of a page of schedules".to_owned();
        let (created_at, id) = text.split_once('.').ok_or_else(wrong)?;
        if id.is_empty() || id.len() > 64 {
            return Err(wrong());
        }
        Ok(Self { created_at: created_at.parse().map_err(|_no_number| wrong())?, id: id.to_owned() })
    }
}

/// A part of the schedules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchedulePage {
    /// Those that could be read.
    pub rows: Vec<ScheduleRow>,
    /// How many could not.
    pub unreadable: u64,
    /// Where the next page begins; nothing on the last one.
    pub next: Option<SchedulePlace>,
}

/// A schedule that is due.
#[derive(Debug)]
pub struct DueSchedule {
    /// Its id, as it stands there.
    pub id: String,
    /// The schedule, where it can be read.
    pub row: Result<ScheduleRow, StoreError>,
}

/// Schedules.
#[derive(Debug, Clone, Copy)]
pub struct Schedules<'s> {
    store: &'s Store,
}

impl<'s> Schedules<'s> {
    pub(crate) fn new(store: &'s Store) -> Self {
        Self { store }
    }

    /// Adds a schedule, where its user has fewer than `of_user` and its tenant fewer than `of_tenant`.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where the id exists.
    pub async fn add(&self, row: ScheduleRow, of_user: u64, of_tenant: u64) -> Result<Added, StoreError> {
        self.store
            .writer()
            .run(Scope::Several, move |connection| {
                Box::pin(async move {
                    let found = sqlx::query(
                        "SELECT COUNT(*) AS of_tenant, COUNT(CASE WHEN user_id = $1 THEN 1 END) AS of_user \
                         FROM schedules WHERE tenant = $2",
                    )
                    .bind(row.user.as_str())
                    .bind(row.tenant.as_str())
                    .fetch_one(&mut *connection)
                    .await
                    .map_err(|error| classify(&error))?;
                    if count(&found, "of_user")? >= of_user {
                        return Ok(Added::UserFull);
                    }
                    if count(&found, "of_tenant")? >= of_tenant {
                        return Ok(Added::TenantFull);
                    }
                    sqlx::query(
                        "INSERT INTO schedules (id, tenant, user_id, key_id, tool, cron, zone, jitter_seconds, missed, \
                         arguments, created_at, fire_at, due_at) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
                    )
                    .bind(row.id.to_string())
                    .bind(row.tenant.as_str())
                    .bind(row.user.as_str())
                    .bind(row.key.to_string())
                    .bind(row.tool.as_str())
                    .bind(row.cron)
                    .bind(row.zone)
                    .bind(i64::try_from(row.jitter_seconds).unwrap_or(i64::MAX))
                    .bind(row.missed)
                    .bind(row.arguments)
                    .bind(row.created_at.as_micros())
                    .bind(row.fire_at.map(Timestamp::as_micros))
                    .bind(row.due_at.map(Timestamp::as_micros))
                    .execute(connection)
                    .await
                    .map_err(|error| conflict(&error, "a schedule with this id exists already"))?;
                    Ok(Added::Added)
                })
            })
            .await
    }

    /// The schedules of a tenant, or of one user of it, oldest first. One that cannot be read keeps nobody from the others.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn list(&self, filter: ScheduleFilter) -> Result<SchedulePage, StoreError> {
        let after = filter.after.as_ref();
        let found = sqlx::query(
            "SELECT * FROM schedules WHERE tenant = $1 AND ($2 IS NULL OR user_id = $2) \
             AND ($3 IS NULL OR (created_at, id) > ($3, $4)) ORDER BY created_at, id LIMIT $5",
        )
        .bind(filter.tenant.as_str())
        .bind(filter.user.as_ref().map(UserId::as_str))
        .bind(after.map(|after| after.created_at))
        .bind(after.map(|after| after.id.as_str()))
        // One more tells whether there is a next page.
        .bind(i64::from(filter.limit) + 1)
        .fetch_all(self.store.readers())
        .await
        .map_err(|error| classify(&error))?;
        let most = filter.limit as usize;
        let last = found.get(most.saturating_sub(1)).filter(|_| found.len() > most);
        let place = |row| Ok(SchedulePlace { created_at: column(row, "created_at")?, id: column(row, "id")? });
        let mut page = SchedulePage { rows: Vec::new(), unreadable: 0, next: last.map(place).transpose()? };
        for row in found.iter().take(most) {
            match read(row) {
                Ok(row) => page.rows.push(row),
                Err(error) => {
                    let id = column::<&str>(row, "id").unwrap_or_default();
                    tracing::error!(%error, schedule = id, "a schedule cannot be read");
                    page.unreadable += 1;
                }
            }
        }
        Ok(page)
    }

    /// A schedule of a tenant, or of one user of it.
    ///
    /// # Errors
    /// [`StoreError`] where the database, or the schedule, cannot be read.
    pub async fn get(
        &self,
        tenant: &TenantId,
        user: Option<&UserId>,
        id: ScheduleId,
    ) -> Result<Option<ScheduleRow>, StoreError> {
        let found =
            sqlx::query("SELECT * FROM schedules WHERE id = $1 AND tenant = $2 AND ($3 IS NULL OR user_id = $3)")
                .bind(id.to_string())
                .bind(tenant.as_str())
                .bind(user.map(UserId::as_str))
                .fetch_optional(self.store.readers())
                .await;
        one(found, read)
    }

    /// Removes a schedule of a tenant, or of one user of it; returns it where there was one.
    ///
    /// # Errors
    /// [`StoreError`] where the change cannot be made durable.
    pub async fn remove(
        &self,
        tenant: &TenantId,
        user: Option<&UserId>,
        id: ScheduleId,
    ) -> Result<Option<ScheduleRow>, StoreError> {
        let (tenant, user) = (tenant.clone(), user.cloned());
        self.store
            .writer()
            .run(Scope::Several, move |connection| {
                Box::pin(async move {
                    let found = sqlx::query(
                        "DELETE FROM schedules WHERE id = $1 AND tenant = $2 AND ($3 IS NULL OR user_id = $3) RETURNING *",
                    )
                    .bind(id.to_string())
                    .bind(tenant.as_str())
                    .bind(user.as_ref().map(UserId::as_str))
                    .fetch_optional(connection)
                    .await;
                    one(found, read)
                })
            })
            .await
    }

    /// Schedules that are due: of each tenant the longest first and no more than `of_tenant`, and tenants by turns. One that
    /// cannot be read keeps nobody from the others.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn due(&self, now: Timestamp, of_tenant: u32, most: u32) -> Result<Vec<DueSchedule>, StoreError> {
        let found = sqlx::query(
            "SELECT schedules.* FROM (SELECT id, ROW_NUMBER() OVER (PARTITION BY tenant ORDER BY due_at, id) AS turn \
             FROM schedules WHERE due_at <= $1) AS due JOIN schedules ON schedules.id = due.id \
             WHERE due.turn <= $2 ORDER BY due.turn, schedules.due_at, schedules.id LIMIT $3",
        )
        .bind(now.as_micros())
        .bind(i64::from(of_tenant))
        .bind(i64::from(most))
        .fetch_all(self.store.readers())
        .await
        .map_err(|error| classify(&error))?;
        found.iter().map(|row| Ok(DueSchedule { id: column(row, "id")?, row: read(row) })).collect()
    }

    /// Has a firing that is due `now` wait for as long as `by`, so that others come first; nothing where it is not due any more.
    /// What was claimed stays claimed.
    ///
    /// # Errors
    /// [`StoreError`] where the change cannot be made durable.
    pub async fn postpone(&self, id: String, now: Timestamp, by: Duration) -> Result<(), StoreError> {
        self.store
            .writer()
            .run(Scope::Statement, move |connection| {
                Box::pin(async move {
                    sqlx::query("UPDATE schedules SET due_at = $1 WHERE id = $2 AND due_at <= $3")
                        .bind(now.plus(by).as_micros())
                        .bind(id)
                        .bind(now.as_micros())
                        .execute(connection)
                        .await
                        .map_err(|error| classify(&error))?;
                    Ok(())
                })
            })
            .await
    }

    /// Claims a firing; false where the schedule is gone, or its next firing is another by now. A firing that was claimed
    /// before keeps its first time.
    ///
    /// # Errors
    /// [`StoreError`] where the change cannot be made durable.
    pub async fn claim(
        &self,
        id: ScheduleId,
        fire_at: Timestamp,
        due_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.store
            .writer()
            .run(Scope::Statement, move |connection| {
                Box::pin(async move {
                    let done = sqlx::query(
                        "UPDATE schedules SET claimed_at = COALESCE(claimed_at, $1), fire_at = $2 WHERE id = $3 AND due_at = $4",
                    )
                    .bind(now.as_micros())
                    .bind(fire_at.as_micros())
                    .bind(id.to_string())
                    .bind(due_at.as_micros())
                    .execute(connection)
                    .await
                    .map_err(|error| classify(&error))?;
                    Ok(done.rows_affected() == 1)
                })
            })
            .await
    }

    /// Notes how a firing ended, and sets the next one.
    ///
    /// # Errors
    /// [`StoreError`] where the change cannot be made durable.
    pub async fn settle(&self, id: ScheduleId, settled: Settled) -> Result<(), StoreError> {
        self.store
            .writer()
            .run(Scope::Statement, move |connection| {
                Box::pin(async move {
                    sqlx::query(
                        "UPDATE schedules SET claimed_at = NULL, last_fire_at = $1, last_call = $2, last_outcome = $3, \
                         fire_at = $4, due_at = $5 WHERE id = $6",
                    )
                    .bind(settled.fire_at.as_micros())
                    .bind(settled.call.map(|call| call.to_string()))
                    .bind(settled.outcome)
                    .bind(settled.next.map(|(fire, _)| fire.as_micros()))
                    .bind(settled.next.map(|(_, due)| due.as_micros()))
                    .bind(id.to_string())
                    .execute(connection)
                    .await
                    .map_err(|error| classify(&error))?;
                    Ok(())
                })
            })
            .await
    }
}

fn read(row: &Row) -> Result<ScheduleRow, StoreError> {
    let call = column::<Option<&str>>(row, "last_call")?;
    Ok(ScheduleRow {
        id: parsed(row, "id")?,
        tenant: parsed(row, "tenant")?,
        user: parsed(row, "user_id")?,
        key: parsed(row, "key_id")?,
        tool: parsed(row, "tool")?,
        cron: column(row, "cron")?,
        zone: column(row, "zone")?,
        jitter_seconds: count(row, "jitter_seconds")?,
        missed: column(row, "missed")?,
        arguments: column(row, "arguments")?,
        created_at: time(row, "created_at")?,
        fire_at: time_opt(row, "fire_at")?,
        due_at: time_opt(row, "due_at")?,
        claimed_at: time_opt(row, "claimed_at")?,
        last_fire_at: time_opt(row, "last_fire_at")?,
        last_call: call.map(|_| parsed(row, "last_call")).transpose()?,
        last_outcome: column(row, "last_outcome")?,
    })
}
