//! The check of one chain, wherever its rows come from: each row against its hash, each hash against the one before,
//! and the whole against the signed checkpoints.

use crate::Checkpoint;
use crate::chain::{GENESIS, is_signed, link};
use crate::retention::Dropped;
use crate::task::between;
use crate::verify::{DroppedBodies, Unsigned, Verification};
use ed25519_dalek::VerifyingKey;
use sophon_store::{AuditHead, AuditRow};
use sophon_types::{Digest, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;

/// Rows that were without a checkpoint for longer than this were not left so by the host, which signs after a minute.
const UNSIGNED_AT_MOST: Duration = Duration::from_secs(300);

/// What of a row the chain speaks of.
pub(crate) struct Link<'r> {
    pub(crate) seq: u64,
    /// Where the row says it beside its body.
    pub(crate) time: Option<Timestamp>,
    pub(crate) prev: Digest,
    pub(crate) hash: Digest,
    pub(crate) body_digest: Digest,
    pub(crate) body: Option<&'r str>,
}

impl<'r> Link<'r> {
    pub(crate) fn of(row: &'r AuditRow) -> Self {
        Self {
            seq: row.seq,
            time: Some(row.time),
            prev: row.prev,
            hash: row.hash,
            body_digest: row.body_digest,
            body: row.body.as_deref(),
        }
    }
}

/// Whether a row may come without its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyRule {
    /// The store keeps every body.
    Kept,
    /// An export may withhold some.
    MayBeWithheld,
}

/// The check of one chain: checkpoints first, then rows in order, then the end.
pub(crate) struct Chain {
    writer: String,
    key: Option<VerifyingKey>,
    pub(crate) end: AuditHead,
    pub(crate) rows: u64,
    numbers: u64,
    /// Checkpoints whose row was not met yet, and whether their signature holds.
    signed: BTreeMap<u64, (Checkpoint, bool)>,
    /// What was kept elsewhere, until its row is met.
    kept: Option<Checkpoint>,
    /// The newest checkpoint that holds and whose row was met.
    sealed: Option<Checkpoint>,
    /// The times of the first and the latest row after it.
    since: Option<(Timestamp, Timestamp)>,
    /// Rows without a body, as ranges.
    gone: Vec<(u64, u64)>,
    /// What records of retention say was dropped, and where they stand.
    told: Vec<(u64, Dropped)>,
    /// The last row to check.
    pub(crate) upto: u64,
}

impl Chain {
    pub(crate) fn new(writer: &str, key: Option<VerifyingKey>) -> Self {
        Self {
            writer: writer.to_owned(),
            key,
            end: GENESIS,
            rows: 0,
            numbers: 0,
            signed: BTreeMap::new(),
            kept: None,
            sealed: None,
            since: None,
            gone: Vec::new(),
            told: Vec::new(),
            upto: 0,
        }
    }

    /// The row of this checkpoint, which was kept elsewhere, must be in the chain.
    pub(crate) fn keep_to(&mut self, kept: &Checkpoint, found: &mut Verification) {
        if !self.key.is_some_and(|key| is_signed(&key, kept)) {
            return found.add(&self.writer, kept.seq, "the checkpoint that was kept is not signed by this home's key");
        }
        self.upto = self.upto.max(kept.seq);
        self.kept = Some(kept.clone());
    }

    pub(crate) fn checkpoint(&mut self, checkpoint: Checkpoint, found: &mut Verification) {
        found.checkpoints += 1;
        let Checkpoint { number, seq, .. } = checkpoint;
        let holds = checkpoint.writer == self.writer && self.key.is_some_and(|key| is_signed(&key, &checkpoint));
        if !holds {
            found.add(&self.writer, seq, format!("the signature of checkpoint {number} is wrong"));
        }
        if number != self.numbers + 1 {
            found.add(&self.writer, seq, format!("checkpoint {} is missing", self.numbers + 1));
        }
        if self.signed.last_key_value().is_some_and(|(last, _)| *last >= seq) {
            found.add(&self.writer, seq, format!("checkpoint {number} does not lie behind the one before"));
        }
        self.numbers = number;
        self.upto = self.upto.max(seq);
        self.signed.insert(seq, (checkpoint, holds));
    }

    pub(crate) fn row(&mut self, row: &Link<'_>, rule: BodyRule, found: &mut Verification) {
        let (writer, seq) = (self.writer.as_str(), row.seq);
        found.records += 1;
        self.rows += 1;
        if seq > self.end.seq + 1 {
            let what = match seq - self.end.seq - 1 {
                1 => "the row is missing".to_owned(),
                missing => format!("{missing} rows from here on are missing"),
            };
            found.add(writer, self.end.seq + 1, what);
        } else if seq <= self.end.seq {
            found.add(writer, seq, "the row stands twice or out of order");
        }
        if row.prev != self.end.hash {
            found.add(writer, seq, "it does not follow from the row before, which was changed, removed or replaced");
        }
        if row.hash != link(writer, seq, &row.prev, &row.body_digest) {
            found.add(writer, seq, "its hash is wrong: the row was changed");
        }
        if let Some(dropped) = row.body.and_then(Dropped::read) {
            self.told.push((seq, dropped));
        }
        match (row.body, rule) {
            (Some(body), _) if Digest::of(body.as_bytes()) != row.body_digest => {
                found.add(writer, seq, "its body was changed");
            }
            (Some(_), _) => {}
            (None, BodyRule::MayBeWithheld) => found.withheld += 1,
            (None, BodyRule::Kept) => match self.gone.last_mut() {
                Some((_, last)) if *last + 1 == seq => *last = seq,
                _ => self.gone.push((seq, seq)),
            },
        }
        if let Some(kept) = self.kept.take_if(|kept| kept.seq == seq)
            && kept.hash != row.hash
        {
            found.add(writer, seq, "it is not the row that the kept checkpoint was signed for: the log was rewritten");
        }
        self.since = row.time.map(|time| self.since.map_or((time, time), |(first, latest)| (first, latest.max(time))));
        if let Some((checkpoint, holds)) = self.signed.remove(&seq) {
            if checkpoint.hash != row.hash {
                found.add(writer, seq, "it is not the row that a checkpoint was signed for");
            } else if holds {
                (self.sealed, self.since) = (Some(checkpoint), None);
            }
        }
        self.end = AuditHead { seq, hash: row.hash };
    }

    pub(crate) fn finish(self, checkpoint_every: Option<u64>, now: Option<Timestamp>, found: &mut Verification) {
        found.writers += 1;
        self.judge_end(checkpoint_every, now, found);
        self.judge_bodies(found);
        if let Some(kept) = &self.kept {
            let what =
                format!("the kept checkpoint was signed here, but the log ends at {}: it was truncated", self.end.seq);
            found.add(&self.writer, kept.seq, what);
        }
        found.anchors.extend(self.sealed);
        for seq in self.signed.into_keys() {
            let what = match seq > self.end.seq {
                true => format!("a checkpoint was signed here, but the log ends at {}: it was truncated", self.end.seq),
                false => "a checkpoint was signed here, but the row is missing".to_owned(),
            };
            found.add(&self.writer, seq, what);
        }
    }
}

impl Chain {
    /// Whether bodies are missing only where a signed record says that they were dropped.
    fn judge_bodies(&self, found: &mut Verification) {
        let sealed = self.sealed.as_ref().map_or(0, |checkpoint| checkpoint.seq);
        let signed = self.told.iter().filter(|(seq, dropped)| *seq <= sealed && dropped.upto < *seq);
        // Each goes on where the one before has ended, so the last one says it all.
        let upto = signed.map(|(_, dropped)| dropped.upto).max().unwrap_or(0);
        let mut rows = 0;
        for &(first, last) in &self.gone {
            rows += last.min(upto).saturating_sub(first - 1);
            for seq in first.max(upto + 1)..=last {
                found.add(&self.writer, seq, "its body is missing, and no record says that it was dropped");
            }
        }
        if rows > 0 {
            found.dropped.push(DroppedBodies { writer: self.writer.clone(), upto, rows });
        }
    }

    /// Whether the rows that no checkpoint covers can be so few and so young as the host leaves them.
    fn judge_end(&self, checkpoint_every: Option<u64>, now: Option<Timestamp>, found: &mut Verification) {
        let sealed = self.sealed.as_ref().map_or(0, |checkpoint| checkpoint.seq);
        let rows = self.end.seq.saturating_sub(sealed);
        if rows == 0 {
            return;
        }
        let from = sealed + 1;
        found.unsigned.push(Unsigned { writer: self.writer.clone(), from, rows });
        if self.sealed.is_none() {
            let what = "no checkpoint of this home's key covers the chain: they were removed, or another host wrote it";
            found.add(&self.writer, from, what);
        } else if checkpoint_every.is_some_and(|every| rows > every) {
            let what = format!("{rows} rows from here on are not signed: checkpoints were removed");
            found.add(&self.writer, from, what);
        } else if let Some((first, latest)) = self.since
            && between(first, now.map_or(latest, |now| now.max(latest))) > UNSIGNED_AT_MOST
        {
            let what = format!(
                "{rows} rows from here on have not been signed for long: checkpoints were removed, or could not be written"
            );
            found.add(&self.writer, from, what);
        }
    }
}
