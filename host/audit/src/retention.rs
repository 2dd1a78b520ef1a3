//! Retention: bodies of old records go, digests stay, and a record of the log says which. So the chain can still be
//! checked, and a body that is gone without such a record is found.

use crate::action::{Action, Outcome};
use crate::{AuditError, AuditLog, Record};
use serde::Deserialize;
use serde_json::Value;
use sophon_types::Timestamp;
use std::time::{Duration, Instant};

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

/// How far the clock may have gone on since the log last said how late it is, when a process begins: a host that was
/// off for longer keeps its records until somebody has looked at its clock.
const JUMP: Duration = Duration::from_secs(31 * 24 * 60 * 60);
/// How often the log says how late it is where nothing is dropped.
const SAID: Duration = Duration::from_secs(24 * 60 * 60);

/// How late it is for retention: what was known at a moment of this process, and that moment by a clock that nobody sets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reached {
    now: Timestamp,
    since: Instant,
}

/// What the newest record of retention says.
struct Said {
    dropped: Dropped,
    /// How late it was.
    now: Timestamp,
}

impl Said {
    fn read(body: &str) -> Option<Self> {
        let dropped = Dropped::read(body)?;
        let record: Value = serde_json::from_str(body).ok()?;
        let now = record["detail"]["now"].as_str().or(record["time"].as_str())?;
        Some(Self { dropped, now: Timestamp::parse(now).ok()? })
    }
}

impl AuditLog {
    /// Drops the bodies of records that are older than `age` (two days at the least) and covered by a checkpoint; records
    /// first, signed, which. Says how many rows that were.
    ///
    /// A clock that is set forward makes nothing old: while a process runs, what counts as old goes on with its own time; at
    /// its beginning, with the clock by no more than 31 days beyond what the log says, unless `confirmed` says that somebody
    /// has seen that it is at least that late. And whatever the clock says, nothing goes from the intent of the first
    /// unfinished call on: what became of it is looked up there.
    ///
    /// # Errors
    /// [`AuditError`] where the log cannot be read or written; what was recorded as dropped goes with the next try then.
    pub async fn retain(&self, age: Duration, confirmed: Option<Timestamp>) -> Result<u64, AuditError> {
        let (store, writer) = (self.store().audit_scans(), self.writer());
        let before = store.newest_retention(writer).await.map_err(AuditError::Store)?;
        let before = before.as_deref().and_then(Said::read);
        if let Some(before) = &before {
            // An earlier try may have ended between the record and what it says.
            self.drop_bodies(before.dropped).await?;
        }
        let age = age.max(LEAST_RETENTION);
        let now = self.late(confirmed, before.as_ref());
        let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        let older_than = Timestamp::from_micros(now.as_micros().saturating_sub(age));
        let from = before.as_ref().map_or(1, |before| before.dropped.upto + 1);
        let signed = store.last_checkpoint(writer).await.map_err(AuditError::Store)?.map_or(0, |last| last.seq);
        let first_kept = store.first_since(writer, from, older_than).await.map_err(AuditError::Store)?;
        let mut upto = first_kept.map_or(signed, |seq| signed.min(seq - 1));
        if let Some(needed) = store.first_of_unfinished(writer, from, upto).await.map_err(AuditError::Store)? {
            upto = needed - 1;
        }
        let said = before.as_ref().is_some_and(|before| now.since(before.now) < SAID);
        if upto < from && (said || signed == 0) {
            return Ok(0);
        }
        let dropped = Dropped { from, upto: upto.max(from - 1) };
        let record = Record::new(Action::AuditRetention, Outcome::Ok)
            .detail("from", dropped.from)
            .detail("upto", dropped.upto)
            .detail("older_than", older_than.to_string())
            .detail("now", now.to_string());
        self.append(record).await?;
        self.checkpoint().await?;
        self.drop_bodies(dropped).await?;
        Ok(dropped.upto + 1 - dropped.from)
    }

    /// How late it is, as far as that may be believed.
    fn late(&self, confirmed: Option<Timestamp>, before: Option<&Said>) -> Timestamp {
        let clock = self.clock().now();
        let mut held = self.reached();
        let reached = held.get_or_insert_with(|| {
            // Where nothing was ever dropped, the log's own last word before this process says how late it was then.
            let known = before.map(|before| before.now).or(self.opened_at()).unwrap_or(clock);
            let known = confirmed.map_or(known, |seen| seen.max(known));
            let jumped = clock.since(known) > JUMP;
            if jumped {
                tracing::error!(
                    %clock, %known,
                    "the clock is far ahead of what the audit log knows: no record is dropped for it; where it is right, \
                     set audit.clock_confirmed to today's date"
                );
            }
            Reached { now: if jumped { known } else { clock.max(known) }, since: Instant::now() }
        });
        clock.min(reached.now.plus(reached.since.elapsed()))
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
