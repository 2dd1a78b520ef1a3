//! Rows of the audit log. What a row means, and that rows form a chain, is the audit crate's; here a batch of rows
//! is appended at a stated end of a chain, or not at all.

use crate::calls::{self, CallChange, NotOpen};
use crate::chunks::Chunks;
use crate::engine::{Connection, Engine, Pool, Row, Script, TEXT_AT, UNLESS, classify};
use crate::row::{all, bytes, column, count, digest, one, signed, time};
use crate::writer::{Failed, Scope};
use crate::{Store, StoreError};
use sophon_types::{Digest, Timestamp};
use sqlx::QueryBuilder;
use std::sync::Arc;

/// One row, as it is appended. The columns beside the body repeat what queries filter by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Its place in its writer's chain, from 1.
    pub seq: u64,
    /// When it was submitted.
    pub time: Timestamp,
    /// The tenant.
    pub tenant: Option<String>,
    /// The user.
    pub user: Option<String>,
    /// The action's code.
    pub action: String,
    /// The tool.
    pub tool: Option<String>,
    /// The outcome's word.
    pub outcome: String,
    /// What it belongs to.
    pub correlation: Option<String>,
    /// The call.
    pub call: Option<String>,
    /// The canonical text of the record.
    pub body: Option<String>,
    /// SHA-256 of the body.
    pub body_digest: Digest,
    /// The hash of the row before.
    pub prev: Digest,
    /// The hash of this row.
    pub hash: Digest,
}

/// A row that came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAuditRow {
    /// Its place over all writers, in order of arrival.
    pub position: u64,
    /// Whose chain it is in.
    pub writer: String,
    /// The row.
    pub row: AuditRow,
}

/// The end of a writer's chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditHead {
    /// The last row's place; 0 where there is none.
    pub seq: u64,
    /// The last row's hash.
    pub hash: Digest,
}

/// Which rows the table has for a writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditExtent {
    /// How many.
    pub rows: u64,
    /// The least place that one of them claims; a chain begins with 1.
    pub least: Option<i64>,
}

/// A signed statement about the end of a chain at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Whose chain.
    pub writer: String,
    /// Counts the writer's checkpoints, from 1.
    pub number: u64,
    /// The last row's place then.
    pub seq: u64,
    /// The last row's hash then.
    pub hash: Digest,
    /// When.
    pub time: Timestamp,
    /// The ed25519 signature over all of it.
    pub signature: [u8; 64],
}

/// Which rows to read. Every part that is given must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// The tenant.
    pub tenant: Option<String>,
    /// The user.
    pub user: Option<String>,
    /// The action's code.
    pub action: Option<String>,
    /// The tool.
    pub tool: Option<String>,
    /// The outcome's word.
    pub outcome: Option<String>,
    /// What it belongs to.
    pub correlation: Option<String>,
    /// The call.
    pub call: Option<String>,
    /// Paths into the body, and the text that stands there.
    pub fields: Vec<(String, String)>,
    /// Not earlier than this.
    pub since: Option<Timestamp>,
    /// Earlier than this.
    pub until: Option<Timestamp>,
}

/// Which end to begin at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// Oldest first.
    #[default]
    Oldest,
    /// Newest first.
    Newest,
}

/// Rows of the audit log.
#[derive(Debug, Clone, Copy)]
pub struct AuditLines<'s> {
    store: &'s Store,
    /// Where reads go.
    pool: &'s Pool,
}

impl<'s> AuditLines<'s> {
    pub(crate) fn new(store: &'s Store, pool: &'s Pool) -> Self {
        Self { store, pool }
    }

    /// Appends rows, and a checkpoint where one is due, at the end of a chain; in the same transaction, changes the
    /// calls that the rows tell of. Says which of these were not open.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where the chain does not end with `head` now; nothing is appended or changed then.
    pub async fn append(
        &self,
        writer: &str,
        head: AuditHead,
        rows: Vec<AuditRow>,
        checkpoint: Option<Checkpoint>,
        calls: Vec<CallChange>,
    ) -> Result<NotOpen, StoreError> {
        let mut script = Script::default();
        expect(&mut script, writer, &head);
        insert(&mut script, writer, rows);
        if let Some(checkpoint) = checkpoint {
            note(&mut script, checkpoint);
        }
        let finished = calls::apply(&mut script, calls);
        let rows = self.store.writer().script(script).await.map_err(|failed| match failed {
            Failed::Unmet => {
                let what = format!("the audit chain of {writer} does not end at {}", head.seq);
                StoreError::Conflict { what }
            }
            Failed::Store(error) => error,
        })?;
        calls::not_open(finished, &rows)
    }

    /// The end of a writer's chain; seq 0 and a hash of zeros where it has none.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn head(&self, writer: &str) -> Result<AuditHead, StoreError> {
        let mut connection = self.pool.acquire().await.map_err(|error| classify(&error))?;
        last(&mut connection, writer).await
    }

    /// Every writer that has rows or checkpoints.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn writers(&self) -> Result<Vec<String>, StoreError> {
        let rows = sqlx::query("SELECT writer FROM audit UNION SELECT writer FROM audit_checkpoints ORDER BY writer")
            .fetch_all(self.pool)
            .await
            .map_err(|error| classify(&error))?;
        rows.iter().map(|row| column(row, "writer")).collect()
    }

    /// Rows of one chain in its order, after `after`, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn chain(&self, writer: &str, after: u64, limit: u32) -> Result<Vec<StoredAuditRow>, StoreError> {
        let found = sqlx::query("SELECT * FROM audit WHERE writer = $1 AND seq > $2 ORDER BY seq LIMIT $3")
            .bind(writer)
            .bind(signed(after))
            .bind(i64::from(limit))
            .fetch_all(self.pool)
            .await;
        all(found, read)
    }

    /// How many rows of a writer stand at `upto` or before, and the least place among them. Counts the table's own
    /// rows, whatever place they claim, not what an index says of them; so it tells of rows that a walk from the
    /// chain's beginning does not meet.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn extent(&self, writer: &str, upto: u64) -> Result<AuditExtent, StoreError> {
        // `+` and a column that no index has keep the count on the table.
        let row = sqlx::query(
            "SELECT COUNT(body_digest) AS n, MIN(seq) AS least FROM audit WHERE +writer = $1 AND +seq <= $2",
        )
        .bind(writer)
        .bind(signed(upto))
        .fetch_one(self.pool)
        .await
        .map_err(|error| classify(&error))?;
        Ok(AuditExtent { rows: count(&row, "n")?, least: column(&row, "least")? })
    }

    /// Rows that match, in order of arrival or against it, beyond the position `after`, at most `limit`. Rows that
    /// claim a place before the first are in no chain, so they are left out; [`AuditLines::extent`] counts them.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn page(
        &self,
        filter: &AuditFilter,
        order: Order,
        after: Option<u64>,
        limit: u32,
    ) -> Result<Vec<StoredAuditRow>, StoreError> {
        let mut query = select(filter, order, after, limit);
        let rows = query.build().fetch_all(self.pool).await.map_err(|error| classify(&error))?;
        rows.iter().map(read).collect()
    }

    /// The checkpoints of a writer after number `after`, in order, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn checkpoints(&self, writer: &str, after: u64, limit: u32) -> Result<Vec<Checkpoint>, StoreError> {
        let rows =
            sqlx::query("SELECT * FROM audit_checkpoints WHERE writer = $1 AND number > $2 ORDER BY number LIMIT $3")
                .bind(writer)
                .bind(signed(after))
                .bind(i64::from(limit))
                .fetch_all(self.pool)
                .await
                .map_err(|error| classify(&error))?;
        rows.iter().map(read_checkpoint).collect()
    }

    /// The body of the newest record that tells of dropped bodies.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn newest_retention(&self, writer: &str) -> Result<Option<String>, StoreError> {
        let row = sqlx::query(
            "SELECT body FROM audit WHERE writer = $1 AND action = 'audit.retention' ORDER BY seq DESC LIMIT 1",
        )
        .bind(writer)
        .fetch_optional(self.pool)
        .await
        .map_err(|error| classify(&error))?;
        row.map_or(Ok(None), |row| column(&row, "body"))
    }

    /// The first row of a chain, from `seq` on, that is not earlier than `time`.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn first_since(&self, writer: &str, seq: u64, time: Timestamp) -> Result<Option<u64>, StoreError> {
        // `+` keeps the search on the chain's own index, which gives the order.
        let row =
            sqlx::query("SELECT seq FROM audit WHERE writer = $1 AND seq >= $2 AND +time >= $3 ORDER BY seq LIMIT 1")
                .bind(writer)
                .bind(signed(seq))
                .bind(time.as_micros())
                .fetch_optional(self.pool)
                .await
                .map_err(|error| classify(&error))?;
        row.map(|row| count(&row, "seq")).transpose()
    }

    /// When the last row of a chain was submitted, as it says itself.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn last_time(&self, writer: &str) -> Result<Option<Timestamp>, StoreError> {
        let found = sqlx::query("SELECT time FROM audit WHERE writer = $1 ORDER BY seq DESC LIMIT 1")
            .bind(writer)
            .fetch_optional(self.pool)
            .await;
        one(found, |row| time(row, "time"))
    }

    /// The first row among these that tells of a call which is not finished.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn first_of_unfinished(&self, writer: &str, from: u64, upto: u64) -> Result<Option<u64>, StoreError> {
        let found = sqlx::query(
            "SELECT seq FROM audit WHERE writer = $1 AND seq >= $2 AND seq <= $3 \
             AND +call_id IN (SELECT id FROM calls WHERE finished_at IS NULL) ORDER BY seq LIMIT 1",
        )
        .bind(writer)
        .bind(signed(from))
        .bind(signed(upto))
        .fetch_optional(self.pool)
        .await;
        one(found, |row| count(row, "seq"))
    }

    /// Drops the bodies of these rows, and the columns that name people and calls; but for the rows that tell of it.
    ///
    /// # Errors
    /// [`StoreError`] where the change cannot be made durable.
    pub async fn drop_bodies(&self, writer: &str, from: u64, upto: u64) -> Result<(), StoreError> {
        let writer = writer.to_owned();
        self.store
            .writer()
            .run(Scope::Statement, move |connection| {
                Box::pin(async move {
                    sqlx::query(
                        "UPDATE audit SET body = NULL, user_id = NULL, tool = NULL, correlation = NULL, call_id = NULL \
                         WHERE writer = $1 AND seq >= $2 AND seq <= $3 AND body IS NOT NULL \
                         AND action <> 'audit.retention'",
                    )
                    .bind(writer)
                    .bind(signed(from))
                    .bind(signed(upto))
                    .execute(connection)
                    .await
                    .map_err(|error| classify(&error))?;
                    Ok(())
                })
            })
            .await
    }

    /// The newest checkpoint of a writer.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn last_checkpoint(&self, writer: &str) -> Result<Option<Checkpoint>, StoreError> {
        sqlx::query("SELECT * FROM audit_checkpoints WHERE writer = $1 ORDER BY number DESC LIMIT 1")
            .bind(writer)
            .fetch_optional(self.pool)
            .await
            .map_err(|error| classify(&error))?
            .map(|row| read_checkpoint(&row))
            .transpose()
    }
}

static INSERT: Chunks = Chunks::new(
    "INSERT OR FAIL INTO audit (writer, seq, time, tenant, user_id, action, tool, outcome, correlation, call_id, body, \
     body_digest, prev, hash) SELECT * FROM ",
    14,
    " AS change WHERE change.column1 IS NOT NULL",
);

/// Adds to a script what ends it unless the chain ends with `head`.
fn expect(script: &mut Script, writer: &str, head: &AuditHead) {
    if head.seq == 0 {
        script.statement(&format!("{UNLESS} NOT EXISTS (SELECT 1 FROM audit WHERE writer = ?)"));
        script.bind(writer.to_owned());
        return;
    }
    let end = "(SELECT seq, hash FROM audit WHERE writer = ? ORDER BY seq DESC LIMIT 1)";
    script.statement(&format!("{UNLESS} EXISTS (SELECT 1 FROM {end} AS last WHERE last.seq = ? AND last.hash = ?)"));
    script.bind(writer.to_owned()).bind(signed(head.seq)).bind(head.hash.as_bytes().to_vec());
}

fn insert(script: &mut Script, writer: &str, rows: Vec<AuditRow>) {
    let writer: Arc<str> = writer.into();
    INSERT.add(script, rows, |script, row| {
        script
            .bind(Arc::clone(&writer))
            .bind(signed(row.seq))
            .bind(row.time.as_micros())
            .bind(row.tenant)
            .bind(row.user)
            .bind(row.action)
            .bind(row.tool)
            .bind(row.outcome)
            .bind(row.correlation)
            .bind(row.call)
            .bind(row.body)
            .bind(row.body_digest.as_bytes().to_vec())
            .bind(row.prev.as_bytes().to_vec())
            .bind(row.hash.as_bytes().to_vec());
    });
}

fn note(script: &mut Script, checkpoint: Checkpoint) {
    script
        .statement(
            "INSERT INTO audit_checkpoints (writer, number, seq, hash, time, signature) VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(checkpoint.writer)
        .bind(signed(checkpoint.number))
        .bind(signed(checkpoint.seq))
        .bind(checkpoint.hash.as_bytes().to_vec())
        .bind(checkpoint.time.as_micros())
        .bind(checkpoint.signature.to_vec());
}

async fn last(connection: &mut Connection, writer: &str) -> Result<AuditHead, StoreError> {
    sqlx::query("SELECT seq, hash FROM audit WHERE writer = $1 ORDER BY seq DESC LIMIT 1")
        .bind(writer)
        .fetch_optional(connection)
        .await
        .map_err(|error| classify(&error))?
        .map_or(Ok(AuditHead { seq: 0, hash: Digest::from_bytes([0; 32]) }), |row| {
            Ok(AuditHead { seq: count(&row, "seq")?, hash: digest(&row, "hash")? })
        })
}

fn select(filter: &AuditFilter, order: Order, after: Option<u64>, limit: u32) -> QueryBuilder<Engine> {
    let mut query = QueryBuilder::new("SELECT * FROM audit WHERE seq >= 1");
    for (column, value) in [
        (" AND tenant = ", &filter.tenant),
        (" AND user_id = ", &filter.user),
        (" AND action = ", &filter.action),
        (" AND tool = ", &filter.tool),
        (" AND outcome = ", &filter.outcome),
        (" AND correlation = ", &filter.correlation),
        (" AND call_id = ", &filter.call),
    ] {
        if let Some(value) = value {
            query.push(column).push_bind(value.clone());
        }
    }
    for (path, value) in &filter.fields {
        let [before, between, behind] = TEXT_AT;
        query.push(before).push_bind(path.clone()).push(between).push_bind(value.clone()).push(behind);
    }
    // Times follow positions but for a clock that was set back, so the index on time gives the bounds of the scan,
    // and the exact test (`+` keeps it off the index, which would need a sort) is made row by row.
    if let Some(since) = filter.since {
        query.push(" AND +time >= ").push_bind(since.as_micros());
        query.push(" AND position >= (SELECT MIN(position) FROM audit WHERE time >= ").push_bind(since.as_micros());
        query.push(")");
    }
    if let Some(until) = filter.until {
        query.push(" AND +time < ").push_bind(until.as_micros());
        query.push(" AND position <= (SELECT MAX(position) FROM audit WHERE time < ").push_bind(until.as_micros());
        query.push(")");
    }
    if let Some(after) = after {
        query.push(match order {
            Order::Oldest => " AND position > ",
            Order::Newest => " AND position < ",
        });
        query.push_bind(signed(after));
    }
    query.push(match order {
        Order::Oldest => " ORDER BY position LIMIT ",
        Order::Newest => " ORDER BY position DESC LIMIT ",
    });
    query.push_bind(i64::from(limit));
    query
}

fn read(row: &Row) -> Result<StoredAuditRow, StoreError> {
    Ok(StoredAuditRow {
        position: count(row, "position")?,
        writer: column(row, "writer")?,
        row: AuditRow {
            seq: count(row, "seq")?,
            time: time(row, "time")?,
            tenant: column(row, "tenant")?,
            user: column(row, "user_id")?,
            action: column(row, "action")?,
            tool: column(row, "tool")?,
            outcome: column(row, "outcome")?,
            correlation: column(row, "correlation")?,
            call: column(row, "call_id")?,
            body: column(row, "body")?,
            body_digest: digest(row, "body_digest")?,
            prev: digest(row, "prev")?,
            hash: digest(row, "hash")?,
        },
    })
}

fn read_checkpoint(row: &Row) -> Result<Checkpoint, StoreError> {
    Ok(Checkpoint {
        writer: column(row, "writer")?,
        number: count(row, "number")?,
        seq: count(row, "seq")?,
        hash: digest(row, "hash")?,
        time: time(row, "time")?,
        signature: bytes(row, "signature")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoreConfig;
    use sqlx::Row as _;

    #[tokio::test]
    async fn what_a_tenant_asks_for_looks_at_its_own_rows_only() {
        let folder = tempfile::tempdir().unwrap();
        let paths = StoreConfig { database: folder.path().join("sophon.db"), blobs: folder.path().join("blobs") };
        let store = Store::open(paths).await.unwrap();
        let of_acme = AuditFilter { tenant: Some("acme".into()), ..AuditFilter::default() };
        let at = Timestamp::from_micros(1);
        for (filter, order) in [
            (of_acme.clone(), Order::Oldest),
            (AuditFilter { fields: vec![("$.detail.n".into(), "1".into())], ..of_acme.clone() }, Order::Newest),
            (AuditFilter { since: Some(at), until: Some(at), call: Some("call".into()), ..of_acme }, Order::Newest),
        ] {
            let query = select(&filter, order, Some(7), 10);
            let mut explained = QueryBuilder::<Engine>::new("EXPLAIN QUERY PLAN ");
            explained.push(query.sql().as_str());
            let rows = explained.build().fetch_all(store.audit_scans().pool).await.unwrap();
            let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
            assert!(plan[0].contains("USING INDEX audit_by_tenant (tenant=? AND position"), "{plan:?}");
            assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "no sort: {plan:?}");
        }
    }

    #[tokio::test]
    async fn attack_44_scans_of_the_audit_log_keep_nobody_from_reading() {
        let folder = tempfile::tempdir().unwrap();
        let paths = StoreConfig { database: folder.path().join("sophon.db"), blobs: folder.path().join("blobs") };
        let store = Store::open(paths).await.unwrap();
        // As many as there may be, none of which is over.
        let scans = store.audit_scans();
        let held = [scans.pool.acquire().await.unwrap(), scans.pool.acquire().await.unwrap()];
        let (filter, mut next) = (AuditFilter::default(), Vec::new());
        for _ in 0..20 {
            next.push(Box::pin(scans.page(&filter, Order::Oldest, None, 10)));
        }
        for one in &mut next {
            assert!(futures::poll!(one).is_pending(), "there are two at a time");
        }
        assert!(store.keys().list(&"acme".parse().unwrap()).await.unwrap().is_empty());
        assert_eq!(store.audit().head("host").await.unwrap().seq, 0);
        drop(held);
        for one in next {
            assert!(one.await.unwrap().is_empty());
        }
    }
}
