//! Questions to a person and their answers. What was asked and what was decided is sealed by the vault; here are bytes.

use crate::calls::{self, Begun, CallRow};
use crate::chunks::Chunks;
use crate::engine::{Row, Script, classify, conflict};
use crate::row::{all, column, digest, one, parsed, time, time_opt};
use crate::writer::Scope;
use crate::{Store, StoreError};
use sophon_types::{ApprovalId, CallId, Digest, GrantId, KeyId, Risk, TenantId, Timestamp, ToolName, UserId};

/// Rows that one sweep deletes in one transaction.
const SWEEP: i64 = 500;

/// One question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalRow {
    /// Its id.
    pub id: ApprovalId,
    /// The caller's tenant.
    pub tenant: TenantId,
    /// The person behind the caller.
    pub user: UserId,
    /// The key that called.
    pub key: KeyId,
    /// What is asked about, in the approval crate's words: a call, an effect, a plan.
    pub kind: String,
    /// The id of the call or plan.
    pub subject: String,
    /// The tool; of a plan that of its gravest step.
    pub tool: ToolName,
    /// The effective risk.
    pub risk: Risk,
    /// Where it stands, in the approval crate's words.
    pub status: String,
    /// What an answer is bound to.
    pub fingerprint: Digest,
    /// The sealed request.
    pub request: Vec<u8>,
    /// The sealed decision.
    pub decision: Option<Vec<u8>>,
    /// Who approved first, where two have to.
    pub first_by: Option<UserId>,
    /// Who decided.
    pub decided_by: Option<UserId>,
    /// When it was asked.
    pub created_at: Timestamp,
    /// Until when it may be decided; once approved, until when it may start.
    pub expires_at: Timestamp,
    /// When it was decided.
    pub decided_at: Option<Timestamp>,
    /// When what was approved began.
    pub started_at: Option<Timestamp>,
}

/// Which questions to list.
#[derive(Debug, Clone)]
pub struct ApprovalFilter {
    /// Of this tenant.
    pub tenant: TenantId,
    /// Of this user only.
    pub user: Option<UserId>,
    /// Of this key only.
    pub key: Option<KeyId>,
    /// In this state only.
    pub status: Option<String>,
    /// Asked before this one.
    pub before: Option<Timestamp>,
    /// At most so many, the newest first.
    pub limit: u32,
}

/// A step of a question's life. It is taken only from the state that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// The question.
    pub id: ApprovalId,
    /// The state that it must be in.
    pub from: &'static str,
    /// The state that it gets into.
    pub to: &'static str,
    /// The sealed decision.
    pub decision: Option<Vec<u8>>,
    /// Who decided; nobody, where time did.
    pub by: Option<UserId>,
    /// When.
    pub at: Timestamp,
    /// Until when what was approved may start.
    pub expires_at: Timestamp,
}

/// Questions to a person.
#[derive(Debug, Clone, Copy)]
pub struct Approvals<'s> {
    store: &'s Store,
}

impl<'s> Approvals<'s> {
    pub(crate) fn new(store: &'s Store) -> Self {
        Self { store }
    }

    /// Asks: the question, and the call that waits for its answer, become durable together. A call may find its twin
    /// ([`Calls::begin`](crate::Calls::begin)); nothing is asked then.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where an id exists.
    pub async fn ask(&self, row: ApprovalRow, call: Option<CallRow>, now: Timestamp) -> Result<Begun, StoreError> {
        self.store
            .writer()
            .run(Scope::Several, move |connection| {
                Box::pin(async move {
                    if let Some(call) = call
                        && let Begun::Existing(twin) = calls::begin(connection, call, now).await?
                    {
                        return Ok(Begun::Existing(twin));
                    }
                    let mut script = Script::default();
                    insert(&mut script, row);
                    let inserted = script.run(connection).await;
                    inserted.map_err(|error| conflict(&error, "an approval with this id exists already"))?;
                    Ok(Begun::Inserted)
                })
            })
            .await
    }

    /// Notes that a standing yes was used, and the single approval that it gives; nothing where it has ended.
    ///
    /// # Errors
    /// [`StoreError`] where the change cannot be made durable.
    pub async fn mint(&self, row: ApprovalRow, grant: GrantId, now: Timestamp) -> Result<bool, StoreError> {
        self.store
            .writer()
            .run(Scope::Several, move |connection| {
                Box::pin(async move {
                    let used = sqlx::query(
                        "UPDATE grants SET uses = uses + 1 \
                         WHERE id = $1 AND tenant = $2 AND user_id = $3 AND revoked_at IS NULL AND expires_at > $4",
                    )
                    .bind(grant.to_string())
                    .bind(row.tenant.as_str())
                    .bind(row.user.as_str())
                    .bind(now.as_micros())
                    .execute(&mut *connection)
                    .await
                    .map_err(|error| classify(&error))?;
                    if used.rows_affected() != 1 {
                        return Ok(false);
                    }
                    let mut script = Script::default();
                    insert(&mut script, row);
                    let inserted = script.run(connection).await;
                    inserted.map_err(|error| conflict(&error, "an approval with this id exists already"))?;
                    Ok(true)
                })
            })
            .await
    }

    /// Notes the first of two who have to approve.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where the question is not pending, or somebody was first already.
    pub async fn first(&self, id: ApprovalId, by: &UserId, decision: Vec<u8>) -> Result<(), StoreError> {
        let by = by.clone();
        self.store
            .writer()
            .run(Scope::Statement, move |connection| {
                Box::pin(async move {
                    let done = sqlx::query(
                        "UPDATE approvals SET first_by = $1, decision = $2 \
                         WHERE id = $3 AND status = 'pending' AND first_by IS NULL",
                    )
                    .bind(by.as_str())
                    .bind(decision)
                    .bind(id.to_string())
                    .execute(connection)
                    .await
                    .map_err(|error| classify(&error))?;
                    exactly_one(done.rows_affected(), id)
                })
            })
            .await
    }

    /// Takes a step of a question's life apart from its record, which is durable already. Says whether the question was in
    /// the state that the step is taken from.
    ///
    /// # Errors
    /// [`StoreError`] where the change cannot be made durable.
    pub async fn decide(&self, step: Decided) -> Result<bool, StoreError> {
        self.store
            .writer()
            .run(Scope::Several, move |connection| {
                Box::pin(async move {
                    let mut script = Script::default();
                    decide(&mut script, vec![step]);
                    let taken = script.run(connection).await.map_err(|error| classify(&error))?;
                    Ok(!taken.is_empty())
                })
            })
            .await
    }

    /// Takes back a question that nobody has seen.
    ///
    /// # Errors
    /// [`StoreError`] where the change cannot be made durable.
    pub async fn withdraw(&self, id: ApprovalId) -> Result<(), StoreError> {
        self.store
            .writer()
            .run(Scope::Statement, move |connection| {
                Box::pin(async move {
                    sqlx::query("DELETE FROM approvals WHERE id = $1 AND status = 'pending'")
                        .bind(id.to_string())
                        .execute(connection)
                        .await
                        .map_err(|error| classify(&error))?;
                    Ok(())
                })
            })
            .await
    }

    /// Uses an approval of an effect or a plan up.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where it is not approved, or used up.
    pub async fn start(&self, id: ApprovalId, at: Timestamp) -> Result<(), StoreError> {
        self.store
            .writer()
            .run(Scope::Statement, move |connection| {
                Box::pin(async move {
                    let done = sqlx::query(
                        "UPDATE approvals SET started_at = $1 WHERE id = $2 AND status = 'approved' AND started_at IS NULL",
                    )
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

    /// A question.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn get(&self, id: ApprovalId) -> Result<Option<ApprovalRow>, StoreError> {
        let found = sqlx::query("SELECT * FROM approvals WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(self.store.readers())
            .await;
        one(found, read)
    }

    /// The question that a call or plan waits for, or waited for last.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn of(&self, owner: (&TenantId, &UserId), subject: &str) -> Result<Option<ApprovalRow>, StoreError> {
        let found = sqlx::query(
            "SELECT * FROM approvals WHERE tenant = $1 AND user_id = $2 AND subject = $3 ORDER BY created_at DESC LIMIT 1",
        )
        .bind(owner.0.as_str())
        .bind(owner.1.as_str())
        .bind(subject)
        .fetch_optional(self.store.readers())
        .await;
        one(found, read)
    }

    /// The last call of this tool that began with an approval, of the same user: what a new question is compared with.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn last_started(
        &self,
        tenant: &TenantId,
        user: &UserId,
        tool: &ToolName,
    ) -> Result<Option<ApprovalRow>, StoreError> {
        let found = sqlx::query(
            "SELECT * FROM approvals WHERE tenant = $1 AND user_id = $2 AND tool = $3 AND kind = 'call' \
             AND started_at IS NOT NULL ORDER BY created_at DESC LIMIT 1",
        )
        .bind(tenant.as_str())
        .bind(user.as_str())
        .bind(tool.as_str())
        .fetch_optional(self.store.readers())
        .await;
        one(found, read)
    }

    /// Questions that match, the newest first.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn list(&self, filter: ApprovalFilter) -> Result<Vec<ApprovalRow>, StoreError> {
        let mut query = sqlx::QueryBuilder::new("SELECT * FROM approvals WHERE tenant = ");
        query.push_bind(filter.tenant.to_string());
        if let Some(user) = filter.user {
            query.push(" AND user_id = ").push_bind(user.to_string());
        }
        if let Some(key) = filter.key {
            query.push(" AND key_id = ").push_bind(key.to_string());
        }
        if let Some(status) = filter.status {
            query.push(" AND status = ").push_bind(status);
        }
        if let Some(before) = filter.before {
            query.push(" AND created_at < ").push_bind(before.as_micros());
        }
        query.push(" ORDER BY created_at DESC, id LIMIT ").push_bind(i64::from(filter.limit));
        all(query.build().fetch_all(self.store.readers()).await, read)
    }

    /// What is pending, and what is approved and has not begun; the oldest first.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn open(&self) -> Result<Vec<ApprovalRow>, StoreError> {
        let found = sqlx::query(
            "SELECT * FROM approvals WHERE status = 'pending' OR (status = 'approved' AND started_at IS NULL) \
             ORDER BY created_at, id",
        )
        .fetch_all(self.store.readers())
        .await;
        all(found, read)
    }

    /// Deletes what is over and was asked before `before`. Returns how many.
    ///
    /// # Errors
    /// [`StoreError`] where the change cannot be made durable.
    pub async fn sweep(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.store
            .writer()
            .run(Scope::Statement, move |connection| {
                Box::pin(async move {
                    let done = sqlx::query(
                        "DELETE FROM approvals WHERE id IN (SELECT id FROM approvals WHERE created_at <= $1 \
                         AND NOT (status = 'pending' OR (status = 'approved' AND started_at IS NULL)) LIMIT $2)",
                    )
                    .bind(before.as_micros())
                    .bind(SWEEP)
                    .execute(connection)
                    .await
                    .map_err(|error| classify(&error))?;
                    Ok(done.rows_affected())
                })
            })
            .await
    }
}

static INSERT: Chunks = Chunks::new(
    "INSERT OR FAIL INTO approvals (id, tenant, user_id, key_id, kind, subject, tool, risk, status, fingerprint, request, \
     decision, first_by, decided_by, created_at, expires_at, decided_at, started_at) SELECT * FROM ",
    18,
    " AS change WHERE change.column1 IS NOT NULL",
);

static DECIDE: Chunks = Chunks::new(
    "UPDATE OR FAIL approvals SET status = change.column3, decision = COALESCE(change.column4, approvals.decision), \
     decided_by = change.column5, decided_at = change.column6, expires_at = change.column7 FROM ",
    7,
    " AS change WHERE approvals.id = change.column1 AND approvals.status = change.column2 \
     AND approvals.started_at IS NULL RETURNING id",
);

/// Adds steps to a script; the ids of those that are taken come back as rows.
pub(crate) fn decide(script: &mut Script, steps: Vec<Decided>) {
    DECIDE.add(script, steps, |script, step| {
        script
            .bind(step.id.to_string())
            .bind(step.from.to_owned())
            .bind(step.to.to_owned())
            .bind(step.decision)
            .bind(step.by.map(|by| by.to_string()))
            .bind(step.at.as_micros())
            .bind(step.expires_at.as_micros());
    });
}

static START: Chunks = Chunks::new(
    "UPDATE OR FAIL approvals SET started_at = change.column2 FROM ",
    2,
    " AS change WHERE approvals.id = change.column1 AND approvals.status = 'approved' AND approvals.started_at IS NULL \
     AND approvals.expires_at > change.column2",
);

static RESUME: Chunks = Chunks::new(
    "UPDATE OR FAIL calls SET status = change.column4 FROM ",
    4,
    " AS change WHERE calls.id = change.column1 AND calls.finished_at IS NULL AND calls.status = 'awaiting_approval' \
     AND EXISTS (SELECT 1 FROM approvals WHERE approvals.id = change.column2 AND approvals.subject = calls.id \
     AND approvals.started_at = change.column3) RETURNING 'resume ' || id AS id",
);

/// A call that was approved begins: its approval is used up in the same transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// The call, which waits.
    pub call: CallId,
    /// Its approval, which is given and not used up.
    pub approval: ApprovalId,
    /// The state of a call that runs.
    pub status: &'static str,
    /// When.
    pub at: Timestamp,
}

/// Adds to a script the calls that begin with an approval; the ids of those that may come back as rows.
pub(crate) fn resume(script: &mut Script, resumed: Vec<Resume>) {
    START.add(script, resumed.clone(), |script, resume| {
        script.bind(resume.approval.to_string()).bind(resume.at.as_micros());
    });
    RESUME.add(script, resumed, |script, resume| {
        script
            .bind(resume.call.to_string())
            .bind(resume.approval.to_string())
            .bind(resume.at.as_micros())
            .bind(resume.status.to_owned());
    });
}

fn insert(script: &mut Script, row: ApprovalRow) {
    INSERT.add(script, vec![row], |script, row| {
        script
            .bind(row.id.to_string())
            .bind(row.tenant.to_string())
            .bind(row.user.to_string())
            .bind(row.key.to_string())
            .bind(row.kind)
            .bind(row.subject)
            .bind(row.tool.to_string())
            .bind(row.risk.as_str().to_owned())
            .bind(row.status)
            .bind(row.fingerprint.as_bytes().to_vec())
            .bind(row.request)
            .bind(row.decision)
            .bind(row.first_by.map(|by| by.to_string()))
            .bind(row.decided_by.map(|by| by.to_string()))
            .bind(row.created_at.as_micros())
            .bind(row.expires_at.as_micros())
            .bind(row.decided_at.map(Timestamp::as_micros))
            .bind(row.started_at.map(Timestamp::as_micros));
    });
}

fn exactly_one(rows: u64, id: ApprovalId) -> Result<(), StoreError> {
    if rows == 1 {
        return Ok(());
    }
    Err(StoreError::Conflict { what: format!("{id} is decided already, or not known") })
}

fn read(row: &Row) -> Result<ApprovalRow, StoreError> {
    let user = |name| column::<Option<&str>>(row, name)?.map(|_text| parsed::<UserId>(row, name)).transpose();
    Ok(ApprovalRow {
        id: parsed(row, "id")?,
        tenant: parsed(row, "tenant")?,
        user: parsed(row, "user_id")?,
        key: parsed(row, "key_id")?,
        kind: column(row, "kind")?,
        subject: column(row, "subject")?,
        tool: parsed(row, "tool")?,
        risk: parsed(row, "risk")?,
        status: column(row, "status")?,
        fingerprint: digest(row, "fingerprint")?,
        request: column(row, "request")?,
        decision: column(row, "decision")?,
        first_by: user("first_by")?,
        decided_by: user("decided_by")?,
        created_at: time(row, "created_at")?,
        expires_at: time(row, "expires_at")?,
        decided_at: time_opt(row, "decided_at")?,
        started_at: time_opt(row, "started_at")?,
    })
}
