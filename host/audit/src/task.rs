//! The one task that extends the chain.
//!
//! It takes what is queued, gives each record its place, and hands the batch to the store in one append; while
//! that becomes durable the next batch gathers. After a failed write the log is *broken*: it refuses everything
//! until it has written again, and then says in the log itself that it was interrupted and what was lost. What a healthy
//! log had no room for, it says with the next batch.
//!
//! Checkpoints are signed with the first batch of a chain, so that no chain is without; after so many records; and
//! at the latest a while after the first record that none covers yet.

use crate::action::{Action, Outcome};
use crate::chain::{link, sign};
use crate::log::{CallState, Subject};
use crate::sink::{self, SinkRecord, Sinks};
use crate::{AuditError, Checkpoint, Receipt, Record};
use ed25519_dalek::SigningKey;
use sophon_store::{AuditHead, AuditRow, CallChange, NotOpen, Store, StoreError};
use sophon_types::{Clock, Digest, Timestamp};
use std::collections::HashSet;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

/// Records of one append. Bounds how long the first of them waits for the last.
const BATCH: usize = 1024;
/// How long records wait for company where nobody waits for them.
const LINGER: Duration = Duration::from_millis(20);
/// How often a broken log tries to write again.
const PROBE: Duration = Duration::from_millis(500);
/// Possible ends of the chain that are remembered while the log is broken.
const DOUBTFUL: usize = 16;

pub(crate) type Reply<T> = oneshot::Sender<Result<T, AuditError>>;

/// What the log's handles ask of the task.
#[derive(Debug)]
pub(crate) enum Message {
    Record {
        row: Box<AuditRow>,
        subject: Subject,
        /// What happens to the call's row in the same transaction.
        change: Option<Box<CallChange>>,
        reply: Reply<Receipt>,
    },
    /// A record that nobody waits for, and when it was submitted. Its text is this task's to make: whoever submitted it has
    /// other things to do.
    Unawaited(Box<Record>, Timestamp),
    Checkpoint(Reply<Option<Checkpoint>>),
    Close(Reply<()>),
}

impl Message {
    fn is_awaited(&self) -> bool {
        !matches!(self, Self::Unawaited(..))
    }
}

/// Whether the log can be written, for handles to see without asking the task; and what they could not hand over to it.
#[derive(Debug, Default)]
pub(crate) struct Health {
    broken: Mutex<Option<AuditError>>,
    /// Records without a waiter that were refused, and that the log does not tell of yet.
    refused: AtomicU64,
}

impl Health {
    /// The reason why nothing can be recorded, as an error.
    pub(crate) fn check(&self) -> Result<(), AuditError> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).clone().map_or(Ok(()), Err)
    }

    fn set(&self, broken: Option<AuditError>) {
        *self.broken.lock().unwrap_or_else(PoisonError::into_inner) = broken;
    }

    /// A record that nobody waits for was refused: the log says so as soon as it writes.
    pub(crate) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were refused since this was asked last; whoever asks has them to tell of.
    fn take_refused(&self) -> u64 {
        self.refused.swap(0, Ordering::Relaxed)
    }
}

pub(crate) struct Task {
    pub(crate) store: Store,
    pub(crate) sinks: Arc<OnceLock<Sinks>>,
    pub(crate) writer: String,
    pub(crate) signing: SigningKey,
    pub(crate) checkpoint_every: u64,
    /// How long a record stays without a checkpoint that covers it.
    pub(crate) sign_within: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) health: Arc<Health>,
    /// Told after a message that somebody waits for, and where many are in the queue.
    pub(crate) urgent: Arc<Notify>,
    /// The end of the chain that is known to be durable.
    pub(crate) head: AuditHead,
    /// Where the chain may end if a write that was reported as failed has happened after all.
    pub(crate) doubtful: Vec<AuditHead>,
    /// The newest checkpoint.
    pub(crate) checkpoint: Option<Checkpoint>,
    /// The first durable record that no checkpoint covers.
    pub(crate) unsigned: Option<Unsigned>,
    /// Records without a waiter that are not in the log, and that it does not tell of yet.
    pub(crate) lost: u64,
}

/// When a record became durable without a checkpoint: by this process's time, which the timer follows, and by the
/// record's own, which also goes on while the machine sleeps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unsigned {
    since: Instant,
    time: Timestamp,
}

impl Task {
    pub(crate) async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        let mut received = Vec::with_capacity(BATCH);
        let mut closing = Vec::new();
        let mut next_probe = Instant::now();
        loop {
            let healthy = self.health.check().is_ok();
            let sign_at = self.unsigned.filter(|_| healthy).map(|unsigned| unsigned.since + self.sign_within);
            let count = tokio::select! {
                () = sleep_until(next_probe), if !healthy => {
                    self.recover().await;
                    next_probe = Instant::now() + PROBE;
                    continue;
                }
                () = sleep_until(sign_at.unwrap_or(next_probe)), if sign_at.is_some() => {
                    if self.sign_end().await.is_err() {
                        next_probe = Instant::now() + PROBE;
                    }
                    continue;
                }
                count = messages.recv_many(&mut received, BATCH) => count,
            };
            if count == 0 {
                break;
            }
            gather(&mut messages, &mut received, &self.urgent).await;
            let mut batch = Batch::default();
            for message in received.drain(..) {
                match message {
                    Message::Record { row, subject, change, reply } => {
                        let key = change.as_ref().and_then(|change| change.key());
                        // Of two changes of one thing in one commit nobody could say which of them found it open.
                        if key.as_ref().is_some_and(|key| batch.changed.contains(key))
                            && self.write(std::mem::take(&mut batch)).await.is_err()
                        {
                            next_probe = Instant::now() + PROBE;
                        }
                        batch.push(*row, subject, (change, key), Some(reply));
                    }
                    Message::Unawaited(record, time) => {
                        let subject = record.subject();
                        batch.push(record.into_row(time), subject, (None, None), None);
                    }
                    Message::Checkpoint(reply) => batch.checkpoints.push(reply),
                    Message::Close(reply) => {
                        // What was accepted until now is still received and written.
                        messages.close();
                        closing.push(reply);
                    }
                }
            }
            if self.write(batch).await.is_err() {
                next_probe = Instant::now() + PROBE;
            }
        }
        let end = self.end().await;
        self.health.set(Some(AuditError::Unavailable { detail: "the audit log is closed".into() }));
        for reply in closing {
            drop(reply.send(end.clone()));
        }
    }

    /// The last act: the end of the chain is signed.
    async fn end(&mut self) -> Result<(), AuditError> {
        if self.health.check().is_err() {
            self.recover().await;
        }
        self.sign_end().await
    }

    /// Signs the end of the chain as it is, where it is not signed.
    async fn sign_end(&mut self) -> Result<(), AuditError> {
        self.write(Batch { force_checkpoint: true, ..Batch::default() }).await
    }

    /// Writes a batch and answers everybody in it.
    async fn write(&mut self, mut batch: Batch) -> Result<(), AuditError> {
        if batch.is_empty() {
            return Ok(());
        }
        if let Err(broken) = self.health.check() {
            self.lost += batch.refuse(&broken);
            return Err(broken);
        }
        let mut rows = std::mem::take(&mut batch.rows);
        self.lost += self.health.take_refused();
        if self.lost > 0 {
            // Behind those that wait for an answer: nobody waits for this one.
            rows.push(self.interruption("records_refused"));
        }
        let (rows, end) = self.chain(rows);
        let times = rows.first().map(|row| row.time).zip(rows.last().map(|row| row.time));
        let checkpoint = self.due(&end, times.map(|(_, last)| last), &batch);
        if rows.is_empty() && checkpoint.is_none() {
            batch.confirm(Vec::new(), &NotOpen::new(), self.checkpoint.as_ref());
            return Ok(());
        }
        let places: Vec<_> = rows.iter().map(|row| (row.seq, row.hash)).collect();
        let changes = std::mem::take(&mut batch.changes);
        // Without sinks nothing is copied.
        let for_sinks = self.sinks.get().map(|_sinks| sink::records(&self.writer, &rows));
        match self.store.audit().append(&self.writer, self.head.clone(), rows, checkpoint.clone(), changes).await {
            Ok(not_open) => {
                self.head = end;
                self.lost = 0;
                self.unsigned = match (&checkpoint, self.unsigned, times) {
                    (Some(_signed), ..) => None,
                    (None, None, Some((first, _))) => Some(Unsigned { since: Instant::now(), time: first }),
                    (None, before, _) => before,
                };
                self.checkpoint = checkpoint.or(self.checkpoint.take());
                if let (Some(sinks), Some(records)) =
                    (self.sinks.get(), for_sinks.filter(|records| !records.is_empty()))
                    && let Err(detail) = sinks.write(records).await
                {
                    // The records are there; what asked for them must not happen all the same. The next are tried anew.
                    tracing::error!(detail, "a required sink of the audit log did not take a record");
                    batch.refuse(&AuditError::Unavailable { detail });
                    return Ok(());
                }
                batch.confirm(places, &not_open, self.checkpoint.as_ref());
                Ok(())
            }
            Err(error) => {
                self.doubtful.push(end);
                let broken = AuditError::Unavailable { detail: error.to_string() };
                tracing::error!(%error, "the audit log cannot be written; nothing is accepted until it can");
                self.health.set(Some(broken.clone()));
                self.lost += batch.refuse(&broken);
                Err(broken)
            }
        }
    }

    /// What the log says of records that it has not.
    fn interruption(&self, code: &'static str) -> AuditRow {
        Record::new(Action::AuditCheckpoint, Outcome::failed(code)).detail("lost", self.lost).into_row(self.clock.now())
    }

    /// Gives rows their places after the present end; returns the new end.
    fn chain(&self, mut rows: Vec<AuditRow>) -> (Vec<AuditRow>, AuditHead) {
        let mut end = self.head.clone();
        for row in &mut rows {
            row.seq = end.seq + 1;
            row.prev = end.hash;
            row.hash = link(&self.writer, row.seq, &row.prev, &row.body_digest);
            end = AuditHead { seq: row.seq, hash: row.hash };
        }
        (rows, end)
    }

    /// The checkpoint to sign with a batch that ends here, if one is due or asked for.
    fn due(&self, end: &AuditHead, last: Option<Timestamp>, batch: &Batch) -> Option<Checkpoint> {
        let (number, signed) = self.checkpoint.as_ref().map_or((0, 0), |last| (last.number, last.seq));
        let asked = batch.force_checkpoint || !batch.checkpoints.is_empty();
        let late =
            self.unsigned.zip(last).is_some_and(|(unsigned, last)| between(unsigned.time, last) >= self.sign_within);
        let due = end.seq - signed >= self.checkpoint_every || signed == 0 || late || asked;
        (due && end.seq > signed).then(|| sign(&self.signing, &self.writer, number + 1, end, self.clock.now()))
    }

    /// Tries to write again after a failure: reads the end of the chain, which must be the one that was
    /// acknowledged or, where only the answer of the failed write was wrong, the one after it; then records the
    /// interruption.
    async fn recover(&mut self) {
        let found = match self.store.audit().head(&self.writer).await {
            Ok(found) => found,
            Err(error) => return self.still_broken(&error),
        };
        if found != self.head && !self.doubtful.contains(&found) {
            let what = format!("the chain ends here, not at {} where this process left it", self.head.seq);
            let broken = AuditError::Broken { writer: self.writer.clone(), seq: found.seq, what };
            if self.health.check().as_ref() != Err(&broken) {
                tracing::error!(error = %broken, "the audit log was changed from outside");
            }
            return self.health.set(Some(broken));
        }
        let checkpoint = match self.store.audit().last_checkpoint(&self.writer).await {
            Ok(checkpoint) => checkpoint,
            Err(error) => return self.still_broken(&error),
        };
        // What was reported as failed and happened all the same, no sink has had yet.
        let late = match self.behind(found.seq).await {
            Ok(late) => late,
            Err(error) => return self.still_broken(&error),
        };
        self.head = found;
        self.lost += self.health.take_refused();
        let (rows, end) = self.chain(vec![self.interruption("audit_interrupted")]);
        let number = checkpoint.as_ref().map_or(0, |last| last.number);
        let signed = sign(&self.signing, &self.writer, number + 1, &end, self.clock.now());
        let told: Vec<_> = late.into_iter().chain(sink::records(&self.writer, &rows)).collect();
        match self.store.audit().append(&self.writer, self.head.clone(), rows, Some(signed.clone()), Vec::new()).await {
            Ok(_no_changes) => {
                tracing::warn!(lost = self.lost, "the audit log can be written again");
                self.head = end;
                self.checkpoint = Some(signed);
                self.unsigned = None;
                self.lost = 0;
                self.doubtful.clear();
                if let Some(sinks) = self.sinks.get()
                    && let Err(detail) = sinks.write(told).await
                {
                    // Nobody waits for these; what comes next is refused where the sink still takes nothing.
                    tracing::error!(detail, "a required sink of the audit log did not take what was recovered");
                }
                self.health.set(None);
            }
            Err(error) => {
                // What is in doubt for long is always the same record at the same place but for its time; a
                // handful of ends is more than one failure leaves.
                self.doubtful.truncate(DOUBTFUL);
                self.doubtful.insert(0, end);
                self.still_broken(&error);
            }
        }
    }

    /// The rows from the end that is known to be durable to `upto`, as sinks get them.
    async fn behind(&self, upto: u64) -> Result<Vec<SinkRecord>, StoreError> {
        if self.sinks.get().is_none() || upto <= self.head.seq {
            return Ok(Vec::new());
        }
        let most = u32::try_from(upto - self.head.seq).unwrap_or(u32::MAX);
        let found = self.store.audit().chain(&self.writer, self.head.seq, most).await?;
        let rows: Vec<AuditRow> = found.into_iter().map(|stored| stored.row).collect();
        Ok(sink::records(&self.writer, &rows))
    }

    fn still_broken(&self, error: &StoreError) {
        self.health.set(Some(AuditError::Unavailable { detail: error.to_string() }));
    }
}

/// Where nobody waits for what was received, waits a while for more: records that only have to be there before a later one
/// need no commit of their own. Meanwhile they come without waking this task, which costs whoever sends one more than
/// sending it; what is urgent does.
async fn gather(messages: &mut mpsc::Receiver<Message>, received: &mut Vec<Message>, urgent: &Notify) {
    // Said of a message that was received long ago, or of one that is received now.
    let _said = pin!(urgent.notified()).as_mut().enable();
    take(messages, received);
    if received.len() < BATCH && !received.iter().any(Message::is_awaited) {
        tokio::select! {
            () = urgent.notified() => {}
            () = sleep(LINGER) => {}
        }
        take(messages, received);
    }
}

/// What is there, up to a whole batch.
fn take(messages: &mut mpsc::Receiver<Message>, received: &mut Vec<Message>) {
    let room = BATCH.saturating_sub(received.len());
    if room > 0 {
        // Polled, once: `try_recv` may hold this thread up until somebody has finished sending. What is not ready yet comes with
        // the next batch.
        let _taken = messages.poll_recv_many(&mut Context::from_waker(Waker::noop()), received, room);
    }
}

/// From one moment to a later one; nothing where a clock was set back.
pub(crate) fn between(earlier: Timestamp, later: Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(later.as_micros().saturating_sub(earlier.as_micros())).unwrap_or(0))
}

/// What is written together, with those who wait for it.
#[derive(Default)]
struct Batch {
    rows: Vec<AuditRow>,
    /// One for each row.
    subjects: Vec<Subject>,
    /// One for each row.
    replies: Vec<Option<Reply<Receipt>>>,
    /// What happens to calls in the same transaction.
    changes: Vec<CallChange>,
    /// One for each row: what its change is known by.
    keys: Vec<Option<String>>,
    /// The same, to look in. No two changes of a batch are of one thing.
    changed: HashSet<String>,
    checkpoints: Vec<Reply<Option<Checkpoint>>>,
    force_checkpoint: bool,
}

impl Batch {
    fn push(
        &mut self,
        row: AuditRow,
        subject: Subject,
        (change, key): (Option<Box<CallChange>>, Option<String>),
        reply: Option<Reply<Receipt>>,
    ) {
        self.rows.push(row);
        self.subjects.push(subject);
        self.changed.extend(key.clone());
        self.keys.push(key);
        self.changes.extend(change.map(|change| *change));
        self.replies.push(reply);
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.checkpoints.is_empty() && !self.force_checkpoint
    }

    /// Answers everybody; `places` has sequence number and hash of each row.
    fn confirm(self, places: Vec<(u64, Digest)>, not_open: &NotOpen, checkpoint: Option<&Checkpoint>) {
        let told = self.replies.into_iter().zip(self.subjects).zip(self.keys);
        for (((reply, subject), key), (seq, hash)) in told.zip(places) {
            let Some(reply) = reply else { continue };
            let row = match key {
                Some(key) if not_open.contains(&key) => CallState::NotOpen,
                _ => CallState::Changed,
            };
            // Whoever stopped waiting has its record all the same.
            drop(reply.send(Ok(Receipt::new(seq, hash, subject, row))));
        }
        for reply in self.checkpoints {
            drop(reply.send(Ok(checkpoint.cloned())));
        }
    }

    /// Answers everybody with the error; returns how many records nobody waited for.
    fn refuse(self, error: &AuditError) -> u64 {
        let mut lost = 0;
        for reply in self.replies {
            match reply {
                Some(reply) => drop(reply.send(Err(error.clone()))),
                None => lost += 1,
            }
        }
        for reply in self.checkpoints {
            drop(reply.send(Err(error.clone())));
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unawaited() -> Message {
        Message::Unawaited(Box::new(Record::new(Action::SkillLog, Outcome::Ok)), Timestamp::from_micros(0))
    }

    /// How many there are when one unawaited record has waited for company.
    async fn gathers(urgent: &Notify, later: Vec<Message>) -> usize {
        let (queue, mut messages) = mpsc::channel(8);
        let mut received = vec![unawaited()];
        let sends = async {
            // The other has begun to wait.
            tokio::task::yield_now().await;
            for message in later {
                let awaited = message.is_awaited();
                queue.send(message).await.unwrap();
                if awaited {
                    urgent.notify_one();
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(biased; gather(&mut messages, &mut received, urgent), sends);
        received.len()
    }

    fn awaited() -> Message {
        Message::Checkpoint(oneshot::channel().0)
    }

    #[tokio::test]
    async fn company_is_waited_for_until_something_is_urgent() {
        let urgent = Notify::new();
        // What is urgent ends the wait at once: what comes after it comes too late.
        assert_eq!(gathers(&urgent, vec![unawaited(), awaited(), unawaited(), unawaited()]).await, 3);
        // What nobody waits for does not.
        assert_eq!(gathers(&urgent, vec![unawaited(), unawaited(), unawaited()]).await, 4);
        // What was urgent long ago is no reason now.
        urgent.notify_one();
        assert_eq!(gathers(&urgent, vec![unawaited(), unawaited()]).await, 3);
    }
}
