//! The open log: submitting records and receiving evidence that they are durable.

use crate::retention::Reached;
use crate::sink::{Demand, Sink, Sinks};
use crate::task::{Health, Message, Task};
use crate::verify::check_end;
use crate::{Action, AuditError, AuditKeys, AuditReader, Checkpoint, Record, Redactor};
use sophon_store::{CallChange, Store};
use sophon_types::{CallId, Clock, Digest, Timestamp};
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};

/// How long a record stays without a checkpoint that covers it.
const SIGN_WITHIN: Duration = Duration::from_secs(60);
/// Records that may wait to be written.
const QUEUE: usize = 8192;

/// How a log is opened.
#[derive(Debug, Clone)]
pub struct AuditConfig {
    /// The name of the chain that is written; one process writes one.
    pub writer: String,
    /// The log's keys.
    pub keys: AuditKeys,
    /// A checkpoint is signed after at most this many records (at least 1), and in any case a minute after the first
    /// record that none covers.
    pub checkpoint_every: u64,
}

/// Evidence that a record is durable. Made when its commit has returned, and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    seq: u64,
    digest: Digest,
    subject: Subject,
    row: CallState,
}

/// What became of the call's row that a record took along ([`AuditLog::append_with`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallState {
    /// It is as the change says, or the record took none along.
    Changed,
    /// It had reached its final state before, or is not known: it stays as it is.
    NotOpen,
}

/// What a record was about, as far as its receipt says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) action: Action,
    pub(crate) call: Option<CallId>,
}

impl Receipt {
    pub(crate) fn new(seq: u64, digest: Digest, subject: Subject, row: CallState) -> Self {
        Self { seq, digest, subject, row }
    }

    /// What became of the change that the record took along.
    #[must_use]
    pub fn row(&self) -> CallState {
        self.row
    }

    /// The record's place in the chain.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The record's hash, which covers every record before it.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// What was recorded: a receipt for one thing is no evidence for another.
    #[must_use]
    pub fn action(&self) -> Action {
        self.subject.action
    }

    /// The call that the record belongs to, where it names one.
    #[must_use]
    pub fn call(&self) -> Option<CallId> {
        self.subject.call
    }
}

/// The open log. Cheap to clone; every clone is the same chain. It can be read like any [`AuditReader`].
#[derive(Clone)]
pub struct AuditLog {
    queue: mpsc::Sender<Message>,
    urgent: Arc<Notify>,
    health: Arc<Health>,
    reader: AuditReader,
    redactor: Redactor,
    clock: Arc<dyn Clock>,
    writer: Arc<str>,
    sinks: Arc<OnceLock<Sinks>>,
    /// When the last record was submitted that was there before this process.
    opened_at: Option<Timestamp>,
    reached: Arc<Mutex<Option<Reached>>>,
}

impl AuditLog {
    /// Opens the writer's chain, and checks its end: the newest checkpoint must be signed by these keys and be part
    /// of the chain, and the rows after it must follow from it and be no more than one checkpoint covers. A chain
    /// without any checkpoint was not written by this host, which signs with the first record. What a killed process
    /// left unsigned is signed. Must be called within a tokio runtime, which then runs the log's task.
    ///
    /// # Errors
    /// [`AuditError::Truncated`] or [`AuditError::Broken`] where the check fails: a log that was tampered with is
    /// not continued ([`AuditReader`] still reads it). [`AuditError::Store`] where the store cannot be read.
    pub async fn open(config: AuditConfig, store: Store, clock: Arc<dyn Clock>) -> Result<Self, AuditError> {
        Self::open_signing(config, store, clock, SIGN_WITHIN).await
    }

    async fn open_signing(
        config: AuditConfig,
        store: Store,
        clock: Arc<dyn Clock>,
        sign_within: Duration,
    ) -> Result<Self, AuditError> {
        let signing = config.keys.signing_key();
        let checkpoint_every = config.checkpoint_every.max(1);
        let checkpoint = store.audit().last_checkpoint(&config.writer).await.map_err(AuditError::Store)?;
        let key = signing.verifying_key();
        let head = check_end(&store, &config.writer, checkpoint.as_ref(), &key, checkpoint_every).await?;
        let opened_at = store.audit().last_time(&config.writer).await.map_err(AuditError::Store)?;
        let health = Arc::new(Health::default());
        let (queue, messages) = mpsc::channel(QUEUE);
        let urgent = Arc::<Notify>::default();
        let (writer, sinks) = (Arc::from(config.writer.as_str()), Arc::<OnceLock<Sinks>>::default());
        let task = Task {
            store: store.clone(),
            sinks: Arc::clone(&sinks),
            writer: config.writer,
            signing,
            checkpoint_every,
            sign_within,
            clock: Arc::clone(&clock),
            health: Arc::clone(&health),
            urgent: Arc::clone(&urgent),
            head,
            doubtful: Vec::new(),
            checkpoint,
            unsigned: None,
            lost: 0,
        };
        let left_unsigned = task.head.seq - task.checkpoint.as_ref().map_or(0, |last| last.seq);
        tokio::spawn(task.run(messages));
        let log = Self {
            queue,
            urgent,
            health,
            reader: AuditReader::with_keys(store, &config.keys).expecting(checkpoint_every, Arc::clone(&clock)),
            redactor: Redactor::new(&config.keys),
            clock,
            writer,
            sinks,
            opened_at,
            reached: Arc::default(),
        };
        if left_unsigned > 0 {
            tracing::warn!(rows = left_unsigned, "the last process was killed; the records it left are signed now");
            // Where that cannot be written, neither can anything else: whoever tries is told, and the log recovers.
            if let Err(error) = log.checkpoint().await {
                tracing::warn!(%error, "the records that the last process left are not signed yet");
            }
        }
        Ok(log)
    }

    /// Appends a record. When this returns, the record and every one submitted before it are durable.
    ///
    /// The record keeps its place even if the caller stops waiting.
    ///
    /// # Errors
    /// [`AuditError::Unavailable`] where it could not be written; what asked for it must not happen.
    pub async fn append(&self, record: Record) -> Result<Receipt, AuditError> {
        self.submit(record, None).await
    }

    /// Appends a record and changes the row of the call that it tells of, in one transaction: neither is ever there
    /// without the other.
    ///
    /// # Errors
    /// As [`AuditLog::append`]; the call's row is as it was then, unless a required sink alone refused the record
    /// ([`Self::has_required_sinks`]).
    pub async fn append_with(&self, record: Record, change: CallChange) -> Result<Receipt, AuditError> {
        self.submit(record, Some(Box::new(change))).await
    }

    async fn submit(&self, record: Record, change: Option<Box<CallChange>>) -> Result<Receipt, AuditError> {
        self.health.check()?;
        let subject = record.subject();
        let row = Box::new(record.into_row(self.clock.now()));
        let (reply, receipt) = oneshot::channel();
        let message = Message::Record { row, subject, change, reply };
        self.send(message, receipt).await
    }

    /// Gives a record its place in the chain now; it is durable at the latest when a later [`AuditLog::append`]
    /// returns. For records whose effect waits for a later one anyway.
    ///
    /// # Errors
    /// [`AuditError::Busy`] where too many wait, [`AuditError::Unavailable`] where the log cannot be written. The log counts
    /// what it refuses here, and says how many those were with the next records that it writes: what such a record is about
    /// happens all the same.
    pub fn enqueue(&self, record: Record) -> Result<(), AuditError> {
        self.try_enqueue(record).inspect_err(|_refused| self.health.count_refused())
    }

    fn try_enqueue(&self, record: Record) -> Result<(), AuditError> {
        self.health.check()?;
        self.place(self.unawaited(record)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AuditError::Busy,
            mpsc::error::TrySendError::Closed(_) => closed(),
        })
    }

    /// The same; where too many wait, waits until fewer do.
    ///
    /// # Errors
    /// [`AuditError::Unavailable`] where the log cannot be written. That is not counted: whoever waits for the place acts
    /// upon it.
    pub async fn enqueue_in_turn(&self, record: Record) -> Result<(), AuditError> {
        self.health.check()?;
        match self.place(self.unawaited(record)) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(message)) => {
                let room = self.queue.reserve().await.map_err(|_closed| closed())?;
                // A log that has broken meanwhile makes room too.
                self.health.check()?;
                room.send(message);
                Ok(())
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(closed()),
        }
    }

    fn unawaited(&self, record: Record) -> Message {
        Message::Unawaited(Box::new(record), self.clock.now())
    }

    fn place(&self, message: Message) -> Result<(), mpsc::error::TrySendError<Message>> {
        let placed = self.queue.try_send(message);
        if self.queue.capacity() < QUEUE / 2 {
            self.urgent.notify_one();
        }
        placed
    }

    /// Signs the present end of the chain, after everything submitted before; the newest checkpoint where nothing
    /// was appended since, `None` where the chain is empty.
    ///
    /// # Errors
    /// [`AuditError::Unavailable`] where it could not be written.
    pub async fn checkpoint(&self) -> Result<Option<Checkpoint>, AuditError> {
        let (reply, signed) = oneshot::channel();
        self.send(Message::Checkpoint(reply), signed).await
    }

    /// Makes what was submitted durable, signs the end of the chain, and ends. Later records are refused.
    ///
    /// # Errors
    /// [`AuditError::Unavailable`] where the last records could not be written.
    pub async fn close(&self) -> Result<(), AuditError> {
        let (reply, done) = oneshot::channel();
        if self.queue.send(Message::Close(reply)).await.is_err() {
            return Ok(());
        }
        self.urgent.notify_one();
        done.await.map_err(|_dropped| closed())?
    }

    /// Sends a message and waits for what becomes of it.
    async fn send<T>(
        &self,
        message: Message,
        answer: oneshot::Receiver<Result<T, AuditError>>,
    ) -> Result<T, AuditError> {
        self.queue.send(message).await.map_err(|_closed| closed())?;
        self.urgent.notify_one();
        answer.await.map_err(|_dropped| closed())?
    }

    /// From now on every record goes to these sinks too, once it is durable. Once, before anything else is asked of the
    /// log; must be called within a tokio runtime.
    pub fn attach(&self, sinks: Vec<(Arc<dyn Sink>, Demand)>) {
        if !sinks.is_empty() && self.sinks.set(Sinks::new(sinks)).is_err() {
            tracing::warn!("the audit log has its sinks already; the first ones stay");
        }
    }

    /// Whether a sink has to take a record besides the database. Then one that is refused may be in the database all the same,
    /// and so may the change that it took along ([`Self::append_with`]).
    #[must_use]
    pub fn has_required_sinks(&self) -> bool {
        self.sinks.get().is_some_and(Sinks::demand_all)
    }

    pub(crate) fn writer(&self) -> &str {
        &self.writer
    }

    pub(crate) fn opened_at(&self) -> Option<Timestamp> {
        self.opened_at
    }

    pub(crate) fn reached(&self) -> MutexGuard<'_, Option<Reached>> {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Makes parameters and foreign text recordable.
    #[must_use]
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// The log for readers.
    #[must_use]
    pub fn reader(&self) -> &AuditReader {
        &self.reader
    }
}

/// Whoever may append may read.
impl Deref for AuditLog {
    type Target = AuditReader;
    fn deref(&self) -> &AuditReader {
        &self.reader
    }
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLog").field("reader", &self.reader).finish_non_exhaustive()
    }
}

fn closed() -> AuditError {
    AuditError::Unavailable { detail: "the audit log is closed".into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;
    use sophon_store::StoreConfig;
    use sophon_types::Timestamp;

    struct Still;

    impl Clock for Still {
        fn now(&self) -> Timestamp {
            Timestamp::from_micros(1_769_850_000_000_000)
        }
    }

    /// Nobody asks, and far fewer records than a checkpoint covers: only the timer can have signed.
    #[tokio::test]
    async fn attack_43_the_last_records_are_signed_after_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let places = StoreConfig { database: folder.path().join("sophon.db"), blobs: folder.path().join("blobs") };
        let store = Store::open(places).await.unwrap();
        let keys = AuditKeys::new([7; 32], [8; 32]);
        let config = AuditConfig { writer: "host".into(), keys, checkpoint_every: 1000 };
        let within = Duration::from_millis(300);
        let log = AuditLog::open_signing(config, store.clone(), Arc::new(Still), within).await.unwrap();
        for _ in 0..3 {
            log.append(Record::new(Action::GatewayStart, Outcome::Ok)).await.unwrap();
        }
        let signed = async {
            loop {
                let last = store.audit().last_checkpoint("host").await.unwrap().unwrap();
                if last.seq == 3 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), signed).await.expect("the timer signs");
        assert!(log.verify().await.unwrap().unsigned.is_empty());
    }
}
