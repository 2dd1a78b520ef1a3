//! Retention: bodies of old records go, digests stay, and a record of the log says which. So the chain can still be
//! checked, and a body that is gone without such a record is found.

use crate::action::{Action, Outcome};
use crate::{AuditError, AuditLog, Record};
use serde::Deserialize;
use serde_json::Value;
use sophon_types::Timestamp;
use std::time::Duration;

/// The least age at which a body may go: results of calls are kept for a day, and what became of a call is looked up in its
/// records.
pub const LEAST_RETENTION: Duration = Duration::from_secs(2 * 24 * 60 * 60);
/// Rows whose bodies go in one transaction.
const BATCH: u64 = 500;

/// What a record of retention says: bodies of the rows `from` to `upto` of its chain are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Dropped {
    pub(crate) from: u64,
    pub(crate) upto: u64,
}

impl Dropped {
    /// What the body of a record says, where it is a record of retention.
    pub(crate) fn read(body: &str) -> Option<Self> {
        if !body.contains(Action::AuditRetention.as_str()) {
            return None;
        }
        let record: Value = serde_json::from_str(body).ok()?;
        let of_retention = record["action"] == Action::AuditRetention.as_str() && record["outcome"] == "ok";
        of_retention.then(|| serde_json::from_value(record["detail"].clone()).ok()).flatten()
    }
}

impl AuditLog {
    /// Drops the bodies of records that are older than `age` (two days at the least) and covered by a checkpoint; records
    /// first, signed, which. Says how many rows that were.
    ///
    /// # Errors
    /// [`AuditError`] where the log cannot be read or written; what was recorded as dropped goes with the next try then.
    pub async fn retain(&self, age: Duration) -> Result<u64, AuditError> {
        let (store, writer) = (self.store().audit(), self.writer());
        let before = store.newest_retention(writer).await.map_err(AuditError::Store)?;
        let before = before.as_deref().and_then(Dropped::read);
        if let Some(before) = before {
            // An earlier try may have ended between the record and what it says.
            self.drop_bodies(before).await?;
        }
        let age = i64::try_from(age.max(LEAST_RETENTION).as_micros()).unwrap_or(i64::MAX);
        let older_than = Timestamp::from_micros(self.clock().now().as_micros().saturating_sub(age));
        let from = before.map_or(1, |before| before.upto + 1);
        let signed = store.last_checkpoint(writer).await.map_err(AuditError::Store)?.map_or(0, |last| last.seq);
        let first_kept = store.first_since(writer, from, older_than).await.map_err(AuditError::Store)?;
        let upto = first_kept.map_or(signed, |seq| signed.min(seq - 1));
        if upto < from {
            return Ok(0);
        }
        let dropped = Dropped { from, upto };
        let record = Record::new(Action::AuditRetention, Outcome::Ok)
            .detail("from", from)
            .detail("upto", upto)
            .detail("older_than", older_than.to_string());
        self.append(record).await?;
        self.checkpoint().await?;
        self.drop_bodies(dropped).await?;
        Ok(upto - from + 1)
    }

    async fn drop_bodies(&self, Dropped { from, upto }: Dropped) -> Result<(), AuditError> {
        let mut from = from;
        while from <= upto {
            let last = upto.min(from.saturating_add(BATCH - 1));
            self.store().audit().drop_bodies(self.writer(), from, last).await.map_err(AuditError::Store)?;
            from = last + 1;
        }
        Ok(())
    }
}
