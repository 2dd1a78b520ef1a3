//! Calls in flight, and the results that are kept for a while. Results are sealed by the vault; here are bytes.

use crate::approvals::{self, Decided, Resume};
use crate::chunks::Chunks;
use crate::engine::{Connection, Row, Script, classify, conflict};
use crate::plans;
use crate::row::{all, column, count, digest, one, parsed, time, time_opt};
use crate::writer::Scope;
use crate::{Store, StoreError};
use sophon_types::{CallId, CorrelationId, Digest, KeyId, PlanId, TenantId, Timestamp, ToolName, UserId};
use std::collections::HashSet;

/// Rows that one sweep deletes in one transaction, so that no caller waits for a large one.
const SWEEP: i64 = 500;

/// One sweep. Both of its parts are answered by an index: nothing that is kept is looked at.
const SWEEP_SQL: &str = "DELETE FROM calls WHERE id IN (SELECT id FROM calls \
                         WHERE finished_at IS NOT NULL AND expires_at <= $1 LIMIT $2)";

/// Bytes of a sealed result beyond which it counts as large (the index `calls_large` has the same number).
pub const LARGE_RESULT: u64 = 4096;

/// Large results that are let go of in one transaction.
const DROPPED: i64 = 128;

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
    /// Its sealed result; empty where it was let go of ([`Calls::drop_results`]).
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

/// A change of a call that becomes durable in the same transaction as the audit row that tells of it
/// ([`AuditLines::append`](crate::AuditLines::append)): neither is ever there without the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallChange {
    /// A call without an idempotency key begins. (One with a key may find a twin: [`Calls::begin`].)
    Begin(Box<CallRow>),
    /// A call that waited for a person begins, and its approval is used up; unless either is not as it should be.
    Resume(Resume),
    /// A person's decision takes effect, unless the question is not in the state that it was decided in.
    Decide(Box<Decided>),
    /// A call reaches its final state, unless it has one.
    Finish {
        /// The call.
        id: CallId,
        /// Its last state.
        status: String,
        /// Its sealed result.
        sealed_result: Option<Vec<u8>>,
        /// When.
        at: Timestamp,
    },
    /// A plan reaches its final state, unless it has one.
    EndPlan {
        /// The plan.
        id: PlanId,
        /// Its last state.
        status: String,
        /// When.
        at: Timestamp,
    },
}

impl CallChange {
    /// The id of what changes, where it may turn out that it cannot: of a call, of a question, or of a plan.
    #[must_use]
    pub fn key(&self) -> Option<String> {
        match self {
            Self::Begin(_call) => None,
            // Apart from the end of the same call, which may stand in the same transaction.
            Self::Resume(resume) => Some(format!("resume {}", resume.call)),
            Self::Decide(decided) => Some(decided.id.to_string()),
            Self::Finish { id, .. } => Some(id.to_string()),
            Self::EndPlan { id, .. } => Some(id.to_string()),
        }
    }
}

/// The [keys](CallChange::key) of changes that found nothing to change: of calls that were finished before, are not known
/// or have no approval, of questions that were decided before, and of plans that were finished before or are not known.
pub type NotOpen = HashSet<String>;

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
    /// call whose row has expired `now` makes way; `now` is of the clock that `expires_at` is of.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where the call's id exists.
    pub async fn begin(&self, call: CallRow, now: Timestamp) -> Result<Begun, StoreError> {
        self.store
            .writer()
            .run(Scope::Several, move |connection| Box::pin(async move { begin(connection, call, now).await }))
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

    /// Bytes that each tenant's large results ([`LARGE_RESULT`]) take.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn kept_results(&self) -> Result<Vec<(TenantId, u64)>, StoreError> {
        let found = sqlx::query(KEPT_SQL).fetch_all(self.store.readers()).await;
        all(found, |row| Ok((parsed(row, "tenant")?, count(row, "bytes")?)))
    }

    /// Lets go of a tenant's large results, the oldest first, until so many `bytes` are free or none is left. The calls stay,
    /// each with an empty result. Returns how many bytes that freed.
    ///
    /// # Errors
    /// [`StoreError`] where the change cannot be made durable; a part of it may have been made.
    pub async fn drop_results(&self, tenant: &TenantId, bytes: u64) -> Result<u64, StoreError> {
        let mut freed = 0;
        while freed < bytes {
            let (tenant, wanted) = (tenant.clone(), bytes - freed);
            let some = self
                .store
                .writer()
                .run(Scope::Several, move |connection| {
                    Box::pin(async move { drop_some(connection, &tenant, wanted).await })
                })
                .await?;
            if some == 0 {
                break;
            }
            freed += some;
        }
        Ok(freed)
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

const KEPT_SQL: &str = "SELECT tenant, SUM(length(sealed_result)) AS bytes FROM calls \
                        WHERE length(sealed_result) > 4096 GROUP BY tenant";

const OLDEST_SQL: &str = "SELECT id, length(sealed_result) AS bytes FROM calls \
                          WHERE tenant = $1 AND length(sealed_result) > 4096 ORDER BY finished_at LIMIT $2";

async fn drop_some(connection: &mut Connection, tenant: &TenantId, wanted: u64) -> Result<u64, StoreError> {
    let oldest = sqlx::query(OLDEST_SQL).bind(tenant.as_str()).bind(DROPPED).fetch_all(&mut *connection).await;
    let mut freed = 0;
    for (id, bytes) in all(oldest, |row| Ok((column::<String>(row, "id")?, count(row, "bytes")?)))? {
        if freed >= wanted {
            break;
        }
        sqlx::query("UPDATE calls SET sealed_result = x'' WHERE id = $1")
            .bind(id)
            .execute(&mut *connection)
            .await
            .map_err(|error| classify(&error))?;
        freed += bytes;
    }
    Ok(freed)
}

/// Inserts a call, or finds its twin; within a transaction that is open.
pub(crate) async fn begin(connection: &mut Connection, call: CallRow, now: Timestamp) -> Result<Begun, StoreError> {
    if let Some(key) = call.idempotency_key.as_deref()
        && let Some(row) = by_idempotency_key(connection, &call.tenant, &call.user, key).await?
    {
        let existing = read(&row)?;
        if existing.finished_at.is_none() || existing.expires_at > now {
            return Ok(Begun::Existing(Box::new(existing)));
        }
        sqlx::query("DELETE FROM calls WHERE id = $1")
            .bind(existing.id.to_string())
            .execute(&mut *connection)
            .await
            .map_err(|error| classify(&error))?;
    }
    let mut script = Script::default();
    insert(&mut script, vec![call]);
    let inserted = script.run(connection).await;
    inserted.map_err(|error| conflict(&error, "a call with this id exists already"))?;
    Ok(Begun::Inserted)
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

static INSERT: Chunks = Chunks::new(
    "INSERT OR FAIL INTO calls (id, tenant, user_id, key_id, tool, correlation, idempotency_key, request_digest, status, \
     sealed_result, created_at, finished_at, expires_at) SELECT * FROM ",
    13,
    " AS change WHERE change.column1 IS NOT NULL",
);

static FINISH: Chunks = Chunks::new(
    "UPDATE OR FAIL calls SET status = change.column2, sealed_result = change.column3, finished_at = change.column4 FROM ",
    4,
    " AS change WHERE calls.id = change.column1 AND calls.finished_at IS NULL RETURNING id",
);

fn insert(script: &mut Script, calls: Vec<CallRow>) {
    INSERT.add(script, calls, |script, call| {
        script
            .bind(call.id.to_string())
            .bind(call.tenant.to_string())
            .bind(call.user.to_string())
            .bind(call.key.to_string())
            .bind(call.tool.to_string())
            .bind(call.correlation.to_string())
            .bind(call.idempotency_key)
            .bind(call.request_digest.as_bytes().to_vec())
            .bind(call.status)
            .bind(call.sealed_result)
            .bind(call.created_at.as_micros())
            .bind(call.finished_at.map(Timestamp::as_micros))
            .bind(call.expires_at.as_micros());
    });
}

/// Adds to a script the calls that the changes begin, what they decide, resume and finish, and the plans that they end; the
/// ids of these come back as rows. Returns the ids that are expected.
pub(crate) fn apply(script: &mut Script, changes: Vec<CallChange>) -> NotOpen {
    let (mut begun, mut decided, mut resumed, mut finished) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut ended = Vec::new();
    let mut expected = NotOpen::new();
    for change in changes {
        expected.extend(change.key());
        match change {
            CallChange::Begin(row) => begun.push(*row),
            CallChange::Decide(step) => decided.push(*step),
            CallChange::Resume(resume) => resumed.push(resume),
            CallChange::Finish { id, status, sealed_result, at } => finished.push((id, status, sealed_result, at)),
            CallChange::EndPlan { id, status, at } => ended.push((id, status, at)),
        }
    }
    insert(script, begun);
    approvals::decide(script, decided);
    approvals::resume(script, resumed);
    FINISH.add(script, finished, |script, (id, status, sealed_result, at)| {
        script.bind(id.to_string()).bind(status).bind(sealed_result).bind(at.as_micros());
    });
    plans::end(script, ended);
    expected
}

/// Which of the changes that were expected did not come back as rows.
pub(crate) fn not_open(mut expected: NotOpen, rows: &[Row]) -> Result<NotOpen, StoreError> {
    for row in rows {
        expected.remove(column::<&str>(row, "id")?);
    }
    Ok(expected)
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

    async fn opened() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let config = StoreConfig { database: folder.path().join("sophon.db"), blobs: folder.path().join("blobs") };
        let store = Store::open(config).await.unwrap();
        (folder, store)
    }

    async fn plan(store: &Store, sql: &str) -> Vec<String> {
        let rows = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
            .bind(0_i64)
            .bind(SWEEP)
            .fetch_all(store.readers())
            .await
            .unwrap();
        rows.iter().map(|row| column(row, "detail").unwrap()).collect()
    }

    #[tokio::test]
    async fn attack_44_the_oldest_large_results_of_a_tenant_make_room_and_nobody_elses() {
        let (_folder, store) = opened().await;
        let calls = store.calls();
        let row = |n: u8, tenant: &str, bytes: usize| CallRow {
            id: CallId::from_bytes([n; 16]),
            tenant: tenant.parse().unwrap(),
            user: "ann".parse().unwrap(),
            key: KeyId::from_bytes([1; 16]),
            tool: "demo.get".parse().unwrap(),
            correlation: CorrelationId::from_bytes([1; 16]),
            idempotency_key: Some(format!("key-{n}")),
            request_digest: Digest::of(b"x"),
            status: "succeeded".into(),
            sealed_result: Some(vec![7; bytes]),
            created_at: Timestamp::from_micros(i64::from(n)),
            finished_at: Some(Timestamp::from_micros(i64::from(n))),
            expires_at: Timestamp::from_micros(i64::MAX),
        };
        let rows = [(1, "acme", 9_000), (2, "rival", 9_000), (3, "acme", 100), (4, "acme", 8_000), (5, "acme", 7_000)];
        for (n, tenant, bytes) in rows {
            calls.begin(row(n, tenant, bytes), Timestamp::from_micros(0)).await.unwrap();
        }
        let (acme, rival) = ("acme".parse().unwrap(), "rival".parse().unwrap());
        assert_eq!(calls.kept_results().await.unwrap(), [(acme, 24_000), (rival, 9_000)]);
        let acme: TenantId = "acme".parse().unwrap();
        assert_eq!(calls.drop_results(&acme, 10_000).await.unwrap(), 17_000);
        let mut kept = Vec::new();
        for (n, _, _) in rows {
            let found = calls.get(CallId::from_bytes([n; 16])).await.unwrap().expect("the call stays");
            kept.push(found.sealed_result.map(|sealed| sealed.len()));
        }
        assert_eq!(kept, [Some(0), Some(9_000), Some(100), Some(0), Some(7_000)]);
        // There is no more than there is.
        assert_eq!(calls.drop_results(&acme, u64::MAX).await.unwrap(), 7_000);
        for sql in [KEPT_SQL, OLDEST_SQL] {
            let plan = plan(&store, sql).await;
            assert!(plan[0].contains("calls_large") && !plan.iter().any(|step| step.contains("TEMP")), "{plan:?}");
        }
    }

    #[tokio::test]
    async fn a_sweep_reads_no_call_that_it_keeps() {
        let (_folder, store) = opened().await;
        let plan = plan(&store, SWEEP_SQL).await;
        assert!(plan.iter().any(|step| step.contains("USING INDEX calls_by_expiry")), "{plan:?}");
        assert!(plan.iter().all(|step| !step.contains("SCAN")), "{plan:?}");
    }
}
