//! Reading the log: queries, and the way to verification and export. Works on a log that is refused for appending.

use crate::action::{Action, OutcomeKind};
use crate::chain::link;
use crate::csv::CsvExport;
use crate::export::{Export, ExportScope};
use crate::field::Field;
use crate::verify::{self, Expected, Now, Verification};
use crate::{AuditError, AuditKeys, Checkpoint, Order};
use ed25519_dalek::SigningKey;
use serde::Serialize;
use serde_json::Value;
use sophon_store::{AuditFilter, AuditLines, Store, StoredAuditRow};
use sophon_types::{CallId, Clock, CorrelationId, Digest, TenantId, Timestamp, ToolName, UserId};
use std::sync::Arc;

/// Entries of one page, at most.
const MAX_LIMIT: u32 = 1000;
/// Entries of one page where the query does not say.
const DEFAULT_LIMIT: u32 = 100;

/// Which entries to read. Every part that is given must match.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// The tenant.
    pub tenant: Option<TenantId>,
    /// The user.
    pub user: Option<UserId>,
    /// The action.
    pub action: Option<Action>,
    /// The tool.
    pub tool: Option<ToolName>,
    /// The outcome.
    pub outcome: Option<OutcomeKind>,
    /// What it belongs to.
    pub correlation: Option<CorrelationId>,
    /// The call.
    pub call: Option<CallId>,
    /// Further fields of the record.
    pub fields: Vec<Field>,
    /// Not earlier than this.
    pub since: Option<Timestamp>,
    /// Earlier than this.
    pub until: Option<Timestamp>,
    /// Oldest or newest first.
    pub order: Order,
    /// Continue behind this: [`Page::next`] of the page before.
    pub after: Option<u64>,
    /// Entries wanted; 100 where it is `None`, never more than 1,000.
    pub limit: Option<u32>,
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// Its place over all writers, in order of arrival: what [`Query::after`] takes.
    pub position: u64,
    /// Whose chain it is in.
    pub writer: String,
    /// Its place in that chain.
    pub seq: u64,
    /// Its hash, which covers every entry before it in the chain.
    pub hash: Digest,
    /// What was recorded: an object with `time`, `action`, `outcome` and what else applies; null where the body
    /// is no longer kept.
    pub record: Value,
    /// Why it cannot be what was recorded, where that shows from the entry alone; whether it belongs to the chain is
    /// for [`AuditReader::verify`] to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspect: Option<&'static str>,
}

/// One page of entries.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Page {
    /// The entries.
    pub entries: Vec<Entry>,
    /// Where the next page begins, where there may be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// A log that is read. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AuditReader {
    store: Store,
    public_key: [u8; 32],
    expected: Expected,
    // Only for the end of exports. Its Debug output is its public half.
    signing: Option<Arc<SigningKey>>,
}

impl AuditReader {
    /// A reader that expects checkpoints signed by this ed25519 key ([`crate::AuditKeys::public_key`]).
    #[must_use]
    pub fn new(store: Store, public_key: [u8; 32]) -> Self {
        Self { store, public_key, expected: Expected::default(), signing: None }
    }

    /// A reader that has the log's keys, so that what it exports is signed at its end.
    #[must_use]
    pub fn with_keys(store: Store, keys: &AuditKeys) -> Self {
        Self { signing: Some(Arc::new(keys.signing_key())), ..Self::new(store, keys.public_key()) }
    }

    /// The same reader, told how many records a checkpoint covers at most and what time it is: more records without
    /// a signature, or ones that have been so for long, are then a problem. An [`crate::AuditLog`] is told already.
    #[must_use]
    pub fn expecting(self, checkpoint_every: u64, clock: Arc<dyn Clock>) -> Self {
        Self { expected: Expected { checkpoint_every: Some(checkpoint_every), clock: Some(Now(clock)) }, ..self }
    }

    /// The key that checkpoints are verified with.
    #[must_use]
    pub fn public_key(&self) -> &[u8; 32] {
        &self.public_key
    }

    /// A page of entries. Like everything here that may look at every row it is read over connections of its own.
    ///
    /// # Errors
    /// [`AuditError::Store`] where the store cannot be read.
    pub async fn query(&self, query: &Query) -> Result<Page, AuditError> {
        self.page(self.store.audit_scans(), query).await
    }

    /// The same for what the host itself has to know to go on: it does not wait for anybody's scans.
    ///
    /// # Errors
    /// [`AuditError::Store`] where the store cannot be read.
    pub async fn find(&self, query: &Query) -> Result<Page, AuditError> {
        self.page(self.store.audit(), query).await
    }

    async fn page(&self, lines: AuditLines<'_>, query: &Query) -> Result<Page, AuditError> {
        let limit = query.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT);
        let filter = AuditFilter {
            tenant: query.tenant.as_ref().map(ToString::to_string),
            user: query.user.as_ref().map(ToString::to_string),
            action: query.action.map(|action| action.to_string()),
            tool: query.tool.as_ref().map(ToString::to_string),
            outcome: query.outcome.map(|outcome| outcome.to_string()),
            correlation: query.correlation.map(|id| id.to_string()),
            call: query.call.map(|id| id.to_string()),
            fields: query.fields.iter().map(Field::path).collect(),
            since: query.since,
            until: query.until,
        };
        let rows = lines.page(&filter, query.order, query.after, limit).await.map_err(AuditError::Store)?;
        let next = if rows.len() == limit as usize { rows.last().map(|row| row.position) } else { None };
        Ok(Page { entries: rows.into_iter().map(entry).collect(), next })
    }

    /// The newest entries, oldest of them first; of one tenant, or of all.
    ///
    /// # Errors
    /// [`AuditError::Store`] where the store cannot be read.
    pub async fn tail(&self, tenant: Option<TenantId>, count: u32) -> Result<Vec<Entry>, AuditError> {
        let query = Query { tenant, order: Order::Newest, limit: Some(count), ..Query::default() };
        let mut entries = self.query(&query).await?.entries;
        entries.reverse();
        Ok(entries)
    }

    /// Checks every row of every chain, and every checkpoint. Reads page by page; what is appended meanwhile is
    /// checked or not, but never a problem.
    ///
    /// # Errors
    /// [`AuditError::Store`] where the store cannot be read. Damage in rows is a [`crate::Problem`], not an error.
    pub async fn verify(&self) -> Result<Verification, AuditError> {
        verify::verify(&self.store, &self.public_key, &self.expected, None).await
    }

    /// The same check, and that the row which this checkpoint was signed for is still there. A checkpoint that was
    /// kept elsewhere ([`crate::AuditLog::checkpoint`], or [`Verification::anchors`] of an export) shows that a log
    /// was cut off or rewritten together with its own checkpoints.
    ///
    /// # Errors
    /// [`AuditError::Store`] where the store cannot be read.
    pub async fn verify_against(&self, kept: &Checkpoint) -> Result<Verification, AuditError> {
        verify::verify(&self.store, &self.public_key, &self.expected, Some(kept)).await
    }

    /// Records that match, oldest first, as comma-separated values.
    #[must_use]
    pub fn export_csv(&self, query: Query) -> CsvExport {
        CsvExport::new(self.clone(), query)
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The log as JSON lines, to be kept outside the home and checked by [`crate::verify_export`].
    #[must_use]
    pub fn export(&self, scope: ExportScope, time: Timestamp) -> Export {
        let every = self.expected.checkpoint_every;
        Export::new(self.store.clone(), self.public_key, scope, time, every, self.signing.clone())
    }
}

fn entry(stored: StoredAuditRow) -> Entry {
    let StoredAuditRow { position, writer, row } = stored;
    let suspect = if row.hash != link(&writer, row.seq, &row.prev, &row.body_digest) {
        Some("its hash is wrong: the row was changed, or was never written by this host")
    } else if row.body.as_deref().is_some_and(|body| Digest::of(body.as_bytes()) != row.body_digest) {
        Some("its body was changed")
    } else {
        None
    };
    let record = row.body.map_or(Value::Null, |body| {
        // What is not JSON was not written by this host: shown as it is, judged by `verify`.
        serde_json::from_str(&body).unwrap_or(Value::String(body))
    });
    Entry { position, writer, seq: row.seq, hash: row.hash, record, suspect }
}
