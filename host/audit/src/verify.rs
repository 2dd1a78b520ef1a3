//! Checking the stored log: every chain as it hangs together, the columns against the body, and that the table has no
//! row beside the chains; and the shorter check of a chain's end before it is continued.

use crate::action::{Action, OutcomeKind};
use crate::chain::{GENESIS, is_signed, link};
use crate::walk::{BodyRule, Chain, Link};
use crate::{AuditError, Checkpoint};
use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};
use sophon_store::{AuditHead, AuditRow, Store, StoreError};
use sophon_types::{Clock, Digest, Timestamp};
use std::fmt;
use std::sync::Arc;

/// Rows and checkpoints that are read at once.
const PAGE: u32 = 1000;
/// Problems that are listed; more are counted.
const MAX_PROBLEMS: usize = 1000;

/// What is wrong at one place of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Whose chain.
    pub writer: String,
    /// Where in the chain; for a checkpoint, where it was signed.
    pub seq: u64,
    /// What is wrong.
    pub what: String,
}

/// Rows at the end of a chain that no checkpoint covers yet: only their hashes, which anybody can compute, speak for
/// them. A few are normal while the host runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsigned {
    /// Whose chain.
    pub writer: String,
    /// The first of them.
    pub from: u64,
    /// How many.
    pub rows: u64,
}

/// Bodies that retention has dropped: the rows' places are proven, their content is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedBodies {
    /// Whose chain.
    pub writer: String,
    /// Up to which row.
    pub upto: u64,
    /// How many rows have no body.
    pub rows: u64,
}

/// What a check has found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Rows that were checked.
    pub records: u64,
    /// Of these, rows whose body was withheld from an export: their place is proven, their content is not shown.
    pub withheld: u64,
    /// Chains of which retention has dropped bodies, as signed records of theirs say.
    pub dropped: Vec<DroppedBodies>,
    /// Chains.
    pub writers: u64,
    /// Checkpoints that were checked.
    pub checkpoints: u64,
    /// The ends of chains that no checkpoint covers.
    pub unsigned: Vec<Unsigned>,
    /// The newest checkpoint of each chain whose signature holds and whose row is there: what to keep elsewhere, for
    /// [`crate::AuditReader::verify_against`].
    #[serde(skip)]
    pub anchors: Vec<Checkpoint>,
    /// What is wrong, at most 1,000 places.
    pub problems: Vec<Problem>,
    /// Problems beyond those listed.
    pub unlisted: u64,
}

impl Verification {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.problems.is_empty()
    }

    pub(crate) fn add(&mut self, writer: &str, seq: u64, what: impl Into<String>) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem { writer: writer.to_owned(), seq, what: what.into() });
        } else {
            self.unlisted += 1;
        }
    }
}

/// Checks everything in the store.
pub(crate) async fn verify(
    store: &Store,
    public_key: &[u8; 32],
    expected: &Expected,
    kept: Option<&Checkpoint>,
) -> Result<Verification, AuditError> {
    let mut found = Verification::default();
    let key = VerifyingKey::from_bytes(public_key).ok();
    let mut writers = store.audit_scans().writers().await.map_err(AuditError::Store)?;
    if let Some(kept) = kept.filter(|kept| !writers.contains(&kept.writer)) {
        writers.push(kept.writer.clone());
    }
    let now = expected.clock.as_ref().map(|clock| clock.0.now());
    for writer in writers {
        let mut chain = Chain::new(&writer, key);
        if let Some(kept) = kept.filter(|kept| kept.writer == writer) {
            chain.keep_to(kept, &mut found);
        }
        // The end first, then the checkpoints, then rows as far as either: so whatever is appended meanwhile, every
        // checkpoint of the rows that are walked is known.
        chain.upto = match store.audit_scans().head(&writer).await {
            Ok(head) => chain.upto.max(head.seq),
            Err(StoreError::Corrupt { .. }) => u64::MAX,
            Err(error) => return Err(AuditError::Store(error)),
        };
        let mut after = 0;
        loop {
            match store.audit_scans().checkpoints(&writer, after, PAGE).await {
                Ok(page) => {
                    let Some(last) = page.last() else { break };
                    after = last.number;
                    page.into_iter().for_each(|checkpoint| chain.checkpoint(checkpoint, &mut found));
                }
                Err(StoreError::Corrupt { what }) => {
                    found.add(&writer, 0, format!("the checkpoints after number {after} cannot be read: {what}"));
                    break;
                }
                Err(error) => return Err(AuditError::Store(error)),
            }
        }
        let (mut after, mut position) = (0, 0);
        let mut readable = true;
        let upto = chain.upto;
        while after < upto {
            match store.audit_scans().chain(&writer, after, PAGE).await {
                Ok(page) => {
                    let Some(last) = page.last() else { break };
                    after = last.row.seq;
                    for stored in page.iter().filter(|stored| stored.row.seq <= upto) {
                        chain.row(&Link::of(&stored.row), BodyRule::Kept, &mut found);
                        compare_columns(&writer, &stored.row, &mut found);
                        if stored.position <= position {
                            found.add(&writer, stored.row.seq, "it stands before the row that it follows: reordered");
                        }
                        position = stored.position;
                    }
                }
                Err(StoreError::Corrupt { what }) => {
                    found.add(&writer, after + 1, format!("the rows from here on cannot be read: {what}"));
                    readable = false;
                    break;
                }
                Err(error) => return Err(AuditError::Store(error)),
            }
        }
        if readable {
            let extent = store.audit_scans().extent(&writer, chain.end.seq).await.map_err(AuditError::Store)?;
            if let Some(least) = extent.least.filter(|least| *least < 1) {
                found.add(&writer, 0, format!("a row claims the place {least}, before the first: it was forged"));
            }
            if extent.rows != chain.rows {
                let (there, walked) = (extent.rows, chain.rows);
                found.add(&writer, chain.end.seq, format!("{there} rows stand here or before, the chain has {walked}"));
            }
        }
        chain.finish(expected.checkpoint_every, now, &mut found);
    }
    Ok(found)
}

/// What a check may presuppose of the host that writes the log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expected {
    /// Records that a checkpoint covers, at most.
    pub(crate) checkpoint_every: Option<u64>,
    pub(crate) clock: Option<Now>,
}

/// The clock, for structs that derive.
#[derive(Clone)]
pub(crate) struct Now(pub(crate) Arc<dyn Clock>);

impl fmt::Debug for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Now")
    }
}

/// Checks the end of one chain before it is continued: from the newest checkpoint on. Returns the end.
pub(crate) async fn check_end(
    store: &Store,
    writer: &str,
    checkpoint: Option<&Checkpoint>,
    key: &VerifyingKey,
    checkpoint_every: u64,
) -> Result<AuditHead, AuditError> {
    let head = store.audit_scans().head(writer).await.map_err(AuditError::Store)?;
    let broken = |seq: u64, what: &str| AuditError::Broken { writer: writer.to_owned(), seq, what: what.to_owned() };
    let mut end = GENESIS;
    if checkpoint.is_none() && head != GENESIS {
        return Err(broken(head.seq, "no checkpoint covers the chain, though each begins with one: they were removed"));
    }
    if let Some(checkpoint) = checkpoint {
        if !is_signed(key, checkpoint) {
            return Err(broken(checkpoint.seq, "the newest checkpoint is not signed by this home's key"));
        }
        if head.seq < checkpoint.seq {
            return Err(AuditError::Truncated {
                writer: writer.to_owned(),
                head: head.seq,
                checkpoint: checkpoint.seq,
            });
        }
        // The row it was signed at is read again below, and has to hash to what was signed.
        let before =
            store.audit_scans().chain(writer, checkpoint.seq.saturating_sub(1), 1).await.map_err(AuditError::Store)?;
        match before.first().map(|stored| &stored.row) {
            Some(row) if row.seq == checkpoint.seq && row.hash == checkpoint.hash => {}
            _other => return Err(broken(checkpoint.seq, "the row is not the one that the checkpoint was signed for")),
        }
        end = AuditHead { seq: checkpoint.seq, hash: checkpoint.hash };
        if head.seq - checkpoint.seq > checkpoint_every {
            let what = "more rows follow the newest checkpoint than one covers: later checkpoints were removed (or \
                        audit.checkpoint_every was lowered after the host was killed: start once with its old value)";
            return Err(broken(end.seq + 1, what));
        }
    }
    loop {
        let page = store.audit_scans().chain(writer, end.seq, PAGE).await.map_err(AuditError::Store)?;
        if page.is_empty() {
            break;
        }
        for stored in page {
            let row = stored.row;
            let expected = link(writer, end.seq + 1, &end.hash, &row.body_digest);
            let body = row.body.as_deref().is_none_or(|body| Digest::of(body.as_bytes()) == row.body_digest);
            if row.seq != end.seq + 1 || row.prev != end.hash || row.hash != expected || !body {
                return Err(broken(end.seq + 1, "the row does not follow from the one before"));
            }
            end = AuditHead { seq: row.seq, hash: row.hash };
        }
    }
    if end == head { Ok(head) } else { Err(broken(end.seq, "the chain changed while it was read")) }
}

/// The columns that queries filter by must say what the body says.
fn compare_columns(writer: &str, row: &AuditRow, found: &mut Verification) {
    if row.action.parse::<Action>().is_err() {
        found.add(writer, row.seq, format!("unknown action {:?}", row.action));
    }
    if row.outcome.parse::<OutcomeKind>().is_err() {
        found.add(writer, row.seq, format!("unknown outcome {:?}", row.outcome));
    }
    let Some(body) = row.body.as_deref() else { return };
    let said: Said = match serde_json::from_str(body) {
        Ok(said) => said,
        Err(error) => return found.add(writer, row.seq, format!("its body is not a record: {error}")),
    };
    for (name, fits) in [
        ("time", said.time == row.time),
        ("tenant", said.tenant == row.tenant),
        ("user", said.user == row.user),
        ("action", said.action == row.action),
        ("tool", said.tool == row.tool),
        ("outcome", said.outcome == row.outcome),
        ("correlation", said.correlation == row.correlation),
        ("call", said.call == row.call),
    ] {
        if !fits {
            found.add(writer, row.seq, format!("the column {name} was changed"));
        }
    }
}

/// What a body says about its columns.
#[derive(Deserialize)]
struct Said {
    time: Timestamp,
    #[serde(default)]
    tenant: Option<String>,
    #[serde(default)]
    user: Option<String>,
    action: String,
    #[serde(default)]
    tool: Option<String>,
    outcome: String,
    #[serde(default)]
    correlation: Option<String>,
    #[serde(default)]
    call: Option<String>,
}
