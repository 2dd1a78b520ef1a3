//! The audit log.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sophon_audit::{Entry, Page, Verification};
use std::fmt::Write as _;
use utoipa::ToSchema;

/// Which records.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditQuery {
    pub(crate) user: Option<String>,
    pub(crate) action: Option<String>,
    pub(crate) tool: Option<String>,
    pub(crate) outcome: Option<String>,
    pub(crate) correlation: Option<String>,
    pub(crate) call: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) skill: Option<String>,
    pub(crate) risk: Option<String>,
    pub(crate) code: Option<String>,
    pub(crate) field: Option<String>,
    /// Of an export only: jsonl or csv.
    pub(crate) format: Option<String>,
    pub(crate) since: Option<String>,
    pub(crate) until: Option<String>,
    pub(crate) order: Option<String>,
    pub(crate) after: Option<u64>,
    pub(crate) limit: Option<u32>,
}

/// A page of records.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditPage {
    /// In the order that was asked for.
    entries: Vec<AuditEntry>,
    /// Ask for the next page with `after` set to this; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

/// A record and its place in the chain.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditEntry {
    /// Its place over all chains, in order of arrival.
    position: u64,
    /// Whose chain it is in.
    writer: String,
    /// Its place in that chain.
    seq: u64,
    /// Its hash, which covers every record before it in the chain.
    hash: String,
    /// What was recorded: time, action, outcome and what else applies; null where retention has dropped it.
    record: Value,
    /// Why this record is not to be believed, where it does not fit its own hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    suspect: Option<&'static str>,
}

impl From<Page> for AuditPage {
    fn from(page: Page) -> Self {
        let entry = |entry: Entry| AuditEntry {
            position: entry.position,
            writer: entry.writer,
            seq: entry.seq,
            hash: entry.hash.to_string(),
            record: entry.record,
            suspect: entry.suspect,
        };
        Self { entries: page.entries.into_iter().map(entry).collect(), next: page.next }
    }
}

/// What checking the chain found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditVerification {
    /// Whether nothing was found wrong.
    intact: bool,
    /// Records checked.
    records: u64,
    /// Chains checked.
    writers: u64,
    /// Signed checkpoints checked.
    checkpoints: u64,
    /// Records, at the ends of chains, that no checkpoint covers yet; those of the last minute as a rule.
    unsigned: u64,
    /// Records whose body retention has dropped, as signed records of the log say.
    dropped: u64,
    /// What was found wrong.
    problems: Vec<ChainProblem>,
    /// Problems beyond those listed.
    unlisted: u64,
    /// The key (Ed25519, hexadecimal) that checkpoints were checked with; keep it outside the home to check exports.
    public_key: String,
}

impl AuditVerification {
    pub(crate) fn of(found: Verification, public_key: &[u8; 32]) -> Self {
        let problem = |problem: sophon_audit::Problem| ChainProblem {
            writer: problem.writer,
            seq: problem.seq,
            what: problem.what,
        };
        let mut hex = String::with_capacity(64);
        // Writing to a String does not fail.
        public_key.iter().for_each(|byte| write!(hex, "{byte:02x}").unwrap_or_default());
        Self {
            intact: found.is_intact(),
            records: found.records,
            writers: found.writers,
            checkpoints: found.checkpoints,
            unsigned: found.unsigned.iter().map(|end| end.rows).sum(),
            dropped: found.dropped.iter().map(|dropped| dropped.rows).sum(),
            unlisted: found.unlisted,
            problems: found.problems.into_iter().map(problem).collect(),
            public_key: hex,
        }
    }
}

/// Something wrong in a chain.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChainProblem {
    /// Whose chain.
    writer: String,
    /// At which record.
    seq: u64,
    /// What.
    what: String,
}
