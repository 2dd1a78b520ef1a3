//! Calls in flight, and the results that are kept for a while. Results are sealed by the vault; here are bytes.

use crate::engine::{Connection, Row, classify, conflict};
use crate::row::{all, column, digest, one, parsed, time, time_opt};
use crate::writer::Scope;
use crate::{Store, StoreError};
use sophon_types::{CallId, CorrelationId, Digest, KeyId, TenantId, Timestamp, ToolName, UserId};

/// Rows that one sweep deletes in one transaction, so that no caller waits for a large one.
const SWEEP: i64 = 500;

/// One sweep. Both of its parts are answered by an index: nothing that is kept is looked at.
const SWEEP_SQL: &str = "DELETE FROM calls WHERE id IN (SELECT id FROM calls \
                         WHERE finished_at IS NOT NULL AND expires_at <= $1 LIMIT $2)";

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRow {
    /// Its id.
    pub id: CallId,
    /// The caller's tenant.
    pub tenant: TenantId,
    /// The person behind it.
    pub user: UserId,
    /// The key that called.
    pub key: KeyId,
    /// The tool.
    pub tool: ToolName,
    /// What it belongs to.
    pub correlation: CorrelationId,
    /// The caller's own name for this call: the same name again is the same call.
    pub idempotency_key: Option<String>,
    /// SHA-256 of tool and arguments, so that one name is not used for two requests.
    pub request_digest: Digest,
    /// Its state, in the executor's words.
    pub status: String,
    /// Its sealed result.
    pub sealed_result: Option<Vec<u8>>,
    /// When it began.
    pub created_at: Timestamp,
    /// When it reached a final state.
    pub finished_at: Option<Timestamp>,
    /// When the row may be swept, once it is finished.
    pub expires_at: Timestamp,
}

/// What [`Calls::begin`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// The call is new and its row durable.
    Inserted,
    /// The caller has used this idempotency key before, for this call.
    Existing(Box<CallRow>),
}

/// Calls.
#[derive(Debug, Clone, Copy)]
pub struct Calls<'s> {
    store: &'s Store,
}

impl<'s> Calls<'s> {
    pub(crate) fn new(store: &'s Store) -> Self {
        Self { store }
    }

    /// Records a call before it runs, or finds the one that this caller gave the same idempotency key. A finished
    /// call whose row has expired (at the new call's `created_at`) makes way.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where the call's id exists.
    pub async fn begin(&self, call: CallRow) -> Result<Begun, StoreError> {
        self.store
            .writer()
            .run(Scope::Several, move |connection| {
                Box::pin(async move {
                    if let Some(key) = call.idempotency_key.as_deref()
                        && let Some(row) = by_idempotency_key(connection, &call.tenant, &call.user, key).await?
                    {
                        let existing = read(&row)?;
                        if existing.finished_at.is_none() || existing.expires_at > call.created_at {
                            return Ok(Begun::Existing(Box::new(existing)));
                        }
                        sqlx::query("DELETE FROM calls WHERE id = $1")
                            .bind(existing.id.to_string())
                            .execute(&mut *connection)
                            .await
                            .map_err(|error| classify(&error))?;
                    }
                    insert(connection, call).await?;
                    Ok(Begun::Inserted)
                })
            })
            .await
    }

    /// Notes another state of a call that is not finished.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where the call is finished or not known.
    pub async fn progress(&self, id: CallId, status: &str) -> Result<(), StoreError> {
        let status = status.to_owned();
        self.store
            .writer()
            .run(Scope::Statement, move |connection| {
                Box::pin(async move {
                    let done = sqlx::query("UPDATE calls SET status = $1 WHERE id = $2 AND finished_at IS NULL")
                        .bind(status)
                        .bind(id.to_string())
                        .execute(connection)
                        .await
                        .map_err(|error| classify(&error))?;
                    exactly_one(done.rows_affected(), id)
                })
            })
            .await
    }

    /// Brings a call into its final state, once.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where the call is finished or not known.
    pub async fn finish(
        &self,
        id: CallId,
        status: &str,
        sealed_result: Option<Vec<u8>>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let status = status.to_owned();
        self.store
            .writer()
            .run(Scope::Statement, move |connection| {
                Box::pin(async move {
                    let done = sqlx::query(
                        "UPDATE calls SET status = $1, sealed_result = $2, finished_at = $3 \
                         WHERE id = $4 AND finished_at IS NULL",
                    )
                    .bind(status)
                    .bind(sealed_result)
                    .bind(at.as_micros())
                    .bind(id.to_string())
                    .execute(connection)
                    .await
                    .map_err(|error| classify(&error))?;
                    exactly_one(done.rows_affected(), id)
                })
            })
            .await
    }

    /// A call.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn get(&self, id: CallId) -> Result<Option<CallRow>, StoreError> {
        let found = sqlx::query("SELECT * FROM calls WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(self.store.readers())
            .await;
        one(found, read)
    }

    /// The call that this caller gave this idempotency key.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn by_idempotency_key(
        &self,
        tenant: &TenantId,
        user: &UserId,
        key: &str,
    ) -> Result<Option<CallRow>, StoreError> {
        let mut connection = self.store.readers().acquire().await.map_err(|error| classify(&error))?;
        by_idempotency_key(&mut connection, tenant, user, key).await?.map(|row| read(&row)).transpose()
    }

    /// Every call that is not finished, oldest first: after a start, those that a crash interrupted.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn unfinished(&self) -> Result<Vec<CallRow>, StoreError> {
        let found = sqlx::query("SELECT * FROM calls WHERE finished_at IS NULL ORDER BY created_at, id")
            .fetch_all(self.store.readers())
            .await;
        all(found, read)
    }

    /// Takes back a call that was begun and never ran; nothing where it is finished.
    ///
    /// # Errors
    /// [`StoreError`] where the change cannot be made durable.
    pub async fn withdraw(&self, id: CallId) -> Result<(), StoreError> {
        self.store
            .writer()
            .run(Scope::Statement, move |connection| {
                Box::pin(async move {
                    sqlx::query("DELETE FROM calls WHERE id = $1 AND finished_at IS NULL")
                        .bind(id.to_string())
                        .execute(connection)
                        .await
                        .map_err(|error| classify(&error))?;
                    Ok(())
                })
            })
            .await
    }

    /// Deletes finished calls that have expired. Returns how many.
    ///
    /// # Errors
    /// [`StoreError`] where the change cannot be made durable.
    pub async fn sweep_expired(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut swept = 0;
        loop {
            let deleted = self
                .store
                .writer()
                .run(Scope::Statement, move |connection| {
                    Box::pin(async move {
                        let done = sqlx::query(SWEEP_SQL)
                            .bind(now.as_micros())
                            .bind(SWEEP)
                            .execute(connection)
                            .await
                            .map_err(|error| classify(&error))?;
                        Ok(done.rows_affected())
                    })
                })
                .await?;
            swept += deleted;
            if deleted < SWEEP.unsigned_abs() {
                return Ok(swept);
            }
        }
    }
}

async fn by_idempotency_key(
    connection: &mut Connection,
    tenant: &TenantId,
    user: &UserId,
    key: &str,
) -> Result<Option<Row>, StoreError> {
    sqlx::query("SELECT * FROM calls WHERE tenant = $1 AND user_id = $2 AND idempotency_key = $3")
        .bind(tenant.as_str())
        .bind(user.as_str())
        .bind(key)
        .fetch_optional(connection)
        .await
        .map_err(|error| classify(&error))
}

async fn insert(connection: &mut Connection, call: CallRow) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO calls (id, tenant, user_id, key_id, tool, correlation, idempotency_key, request_digest, status, \
         sealed_result, created_at, finished_at, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    )
    .bind(call.id.to_string())
    .bind(call.tenant.as_str())
    .bind(call.user.as_str())
    .bind(call.key.to_string())
    .bind(call.tool.as_str())
    .bind(call.correlation.to_string())
    .bind(call.idempotency_key)
    .bind(call.request_digest.as_bytes().as_slice())
    .bind(call.status)
    .bind(call.sealed_result)
    .bind(call.created_at.as_micros())
    .bind(call.finished_at.map(Timestamp::as_micros))
    .bind(call.expires_at.as_micros())
    .execute(connection)
    .await
    .map_err(|error| conflict(&error, "a call with this id exists already"))?;
    Ok(())
}

fn exactly_one(rows: u64, id: CallId) -> Result<(), StoreError> {
    if rows == 1 {
        return Ok(());
    }
    Err(StoreError::Conflict { what: format!("{id} is finished or not known") })
}

fn read(row: &Row) -> Result<CallRow, StoreError> {
    Ok(CallRow {
        id: parsed(row, "id")?,
        tenant: parsed(row, "tenant")?,
        user: parsed(row, "user_id")?,
        key: parsed(row, "key_id")?,
        tool: parsed(row, "tool")?,
        correlation: parsed(row, "correlation")?,
        idempotency_key: column(row, "idempotency_key")?,
        request_digest: digest(row, "request_digest")?,
        status: column(row, "status")?,
        sealed_result: column(row, "sealed_result")?,
        created_at: time(row, "created_at")?,
        finished_at: time_opt(row, "finished_at")?,
        expires_at: time(row, "expires_at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoreConfig;
    use sqlx::AssertSqlSafe;

    #[tokio::test]
    async fn a_sweep_reads_no_call_that_it_keeps() {
        let folder = tempfile::tempdir().unwrap();
        let config = StoreConfig { database: folder.path().join("sophon.db"), blobs: folder.path().join("blobs") };
        let store = Store::open(config).await.unwrap();
        let plan: Vec<String> = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {SWEEP_SQL}")))
            .bind(0_i64)
            .bind(SWEEP)
            .fetch_all(store.readers())
            .await
            .unwrap()
            .iter()
            .map(|row| column(row, "detail").unwrap())
            .collect();
        assert!(plan.iter().any(|step| step.contains("USING INDEX calls_by_expiry")), "{plan:?}");
        assert!(plan.iter().all(|step| !step.contains("SCAN")), "{plan:?}");
    }
}
