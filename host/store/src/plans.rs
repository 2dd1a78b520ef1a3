//! Several calls that were asked for at once. Their steps are sealed by the vault; here are bytes.

use crate::chunks::Chunks;
use crate::engine::{Connection, Row, Script, classify, conflict};
use crate::row::{all, column, digest, one, parsed, time, time_opt};
use crate::writer::Scope;
use crate::{Store, StoreError};
use sophon_types::{CorrelationId, Digest, KeyId, PlanId, TenantId, Timestamp, UserId};

/// One plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanRow {
    /// Its id.
    pub id: PlanId,
    /// The caller's tenant.
    pub tenant: TenantId,
    /// The person behind the caller.
    pub user: UserId,
    /// The key that asked.
    pub key: KeyId,
    /// What it belongs to.
    pub correlation: CorrelationId,
    /// The caller's own name for it: the same name again is the same plan.
    pub idempotency_key: Option<String>,
    /// SHA-256 of its steps, so that one name is not used for two plans.
    pub request_digest: Digest,
    /// Its state, in the executor's words.
    pub status: String,
    /// Its sealed steps.
    pub body: Vec<u8>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it reached a final state.
    pub finished_at: Option<Timestamp>,
    /// When the row may be swept, once it is finished.
    pub expires_at: Timestamp,
}

/// What [`Plans::begin`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BegunPlan {
    /// The plan is new and its row durable.
    Inserted,
    /// The caller has used this idempotency key before.
    Existing(Box<PlanRow>),
    /// The user has as many unfinished plans as may be.
    TooMany,
}

/// Plans.
#[derive(Debug, Clone, Copy)]
pub struct Plans<'s> {
    store: &'s Store,
}

impl<'s> Plans<'s> {
    pub(crate) fn new(store: &'s Store) -> Self {
        Self { store }
    }

    /// Records a plan before anything of it runs, or finds the one that this caller gave the same idempotency key. A
    /// user has at most `most` that are not finished.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where the id exists.
    pub async fn begin(&self, plan: PlanRow, most: u32, now: Timestamp) -> Result<BegunPlan, StoreError> {
        self.store
            .writer()
            .run(Scope::Several, move |connection| {
                Box::pin(async move {
                    if let Some(key) = plan.idempotency_key.as_deref()
                        && let Some(existing) = by_idempotency_key(connection, &plan.tenant, &plan.user, key).await?
                    {
                        if existing.finished_at.is_none() || existing.expires_at > now {
                            return Ok(BegunPlan::Existing(Box::new(existing)));
                        }
                        sqlx::query("DELETE FROM plans WHERE id = $1")
                            .bind(existing.id.to_string())
                            .execute(&mut *connection)
                            .await
                            .map_err(|error| classify(&error))?;
                    }
                    let inserted = sqlx::query(
                        "INSERT INTO plans (id, tenant, user_id, key_id, correlation, idempotency_key, request_digest, \
                         status, body, created_at, expires_at) SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11 \
                         WHERE (SELECT COUNT(*) FROM plans WHERE tenant = $2 AND user_id = $3 AND finished_at IS NULL) < $12",
                    )
                    .bind(plan.id.to_string())
                    .bind(plan.tenant.as_str())
                    .bind(plan.user.as_str())
                    .bind(plan.key.to_string())
                    .bind(plan.correlation.to_string())
                    .bind(plan.idempotency_key)
                    .bind(plan.request_digest.as_bytes().to_vec())
                    .bind(plan.status)
                    .bind(plan.body)
                    .bind(plan.created_at.as_micros())
                    .bind(plan.expires_at.as_micros())
                    .bind(i64::from(most))
                    .execute(connection)
                    .await
                    .map_err(|error| conflict(&error, "a plan with this id exists already"))?;
                    Ok(if inserted.rows_affected() == 1 { BegunPlan::Inserted } else { BegunPlan::TooMany })
                })
            })
            .await
    }

    /// Brings an unfinished plan into another state, which is not its last one
    /// ([`CallChange::EndPlan`](crate::CallChange::EndPlan)).
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where the plan is finished or not known.
    pub async fn change(&self, id: PlanId, status: &str) -> Result<(), StoreError> {
        let status = status.to_owned();
        self.store
            .writer()
            .run(Scope::Statement, move |connection| {
                Box::pin(async move {
                    let done = sqlx::query("UPDATE plans SET status = $1 WHERE id = $2 AND finished_at IS NULL")
                        .bind(status)
                        .bind(id.to_string())
                        .execute(connection)
                        .await
                        .map_err(|error| classify(&error))?;
                    if done.rows_affected() == 1 {
                        return Ok(());
                    }
                    Err(StoreError::Conflict { what: format!("{id} is finished or not known") })
                })
            })
            .await
    }

    /// Takes back a plan of which nothing has run; nothing where it is finished.
    ///
    /// # Errors
    /// [`StoreError`] where the change cannot be made durable.
    pub async fn withdraw(&self, id: PlanId) -> Result<(), StoreError> {
        self.store
            .writer()
            .run(Scope::Statement, move |connection| {
                Box::pin(async move {
                    sqlx::query("DELETE FROM plans WHERE id = $1 AND finished_at IS NULL")
                        .bind(id.to_string())
                        .execute(connection)
                        .await
                        .map_err(|error| classify(&error))?;
                    Ok(())
                })
            })
            .await
    }

    /// A plan.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn get(&self, id: PlanId) -> Result<Option<PlanRow>, StoreError> {
        let found = sqlx::query("SELECT * FROM plans WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(self.store.readers())
            .await;
        one(found, read)
    }

    /// Every plan that is not finished, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn unfinished(&self) -> Result<Vec<PlanRow>, StoreError> {
        let found = sqlx::query("SELECT * FROM plans WHERE finished_at IS NULL ORDER BY created_at, id")
            .fetch_all(self.store.readers())
            .await;
        all(found, read)
    }

    /// Deletes finished plans that have expired.
    ///
    /// # Errors
    /// [`StoreError`] where the change cannot be made durable.
    pub async fn sweep(&self, now: Timestamp) -> Result<(), StoreError> {
        self.store
            .writer()
            .run(Scope::Statement, move |connection| {
                Box::pin(async move {
                    sqlx::query(
                        "DELETE FROM plans WHERE id IN (SELECT id FROM plans \
                         WHERE finished_at IS NOT NULL AND expires_at <= $1 LIMIT 500)",
                    )
                    .bind(now.as_micros())
                    .execute(connection)
                    .await
                    .map_err(|error| classify(&error))?;
                    Ok(())
                })
            })
            .await
    }
}

static END: Chunks = Chunks::new(
    "UPDATE OR FAIL plans SET status = change.column2, finished_at = change.column3 FROM ",
    3,
    " AS change WHERE plans.id = change.column1 AND plans.finished_at IS NULL RETURNING id",
);

/// Adds to a script the plans that end; the ids of those that had not ended come back as rows.
pub(crate) fn end(script: &mut Script, plans: Vec<(PlanId, String, Timestamp)>) {
    END.add(script, plans, |script, (id, status, at)| {
        script.bind(id.to_string()).bind(status).bind(at.as_micros());
    });
}

async fn by_idempotency_key(
    connection: &mut Connection,
    tenant: &TenantId,
    user: &UserId,
    key: &str,
) -> Result<Option<PlanRow>, StoreError> {
    let found = sqlx::query("SELECT * FROM plans WHERE tenant = $1 AND user_id = $2 AND idempotency_key = $3")
        .bind(tenant.as_str())
        .bind(user.as_str())
        .bind(key)
        .fetch_optional(connection)
        .await;
    one(found, read)
}

fn read(row: &Row) -> Result<PlanRow, StoreError> {
    Ok(PlanRow {
        id: parsed(row, "id")?,
        tenant: parsed(row, "tenant")?,
        user: parsed(row, "user_id")?,
        key: parsed(row, "key_id")?,
        correlation: parsed(row, "correlation")?,
        idempotency_key: column(row, "idempotency_key")?,
        request_digest: digest(row, "request_digest")?,
        status: column(row, "status")?,
        body: column(row, "body")?,
        created_at: time(row, "created_at")?,
        finished_at: time_opt(row, "finished_at")?,
        expires_at: time(row, "expires_at")?,
    })
}
