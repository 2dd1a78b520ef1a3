//! The open log: submitting records and receiving evidence that they are durable.

use crate::task::{Health, Message, Task};
use crate::verify::check_end;
use crate::{AuditError, AuditKeys, AuditReader, Checkpoint, Record, Redactor};
use sophon_store::Store;
use sophon_types::{Clock, Digest};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Records that may wait to be written.
const QUEUE: usize = 8192;

/// How a log is opened.
#[derive(Debug, Clone)]
pub struct AuditConfig {
    /// The name of the chain that is written; one process writes one.
    pub writer: String,
    /// The log's keys.
    pub keys: AuditKeys,
    /// A checkpoint is signed after at most this many records (at least 1).
    pub checkpoint_every: u64,
}

/// Evidence that a record is durable. Made when its commit has returned, and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    seq: u64,
    digest: Digest,
}

impl Receipt {
    pub(crate) fn new(seq: u64, digest: Digest) -> Self {
        Self { seq, digest }
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
}

/// The open log. Cheap to clone; every clone is the same chain. It can be read like any [`AuditReader`].
#[derive(Clone)]
pub struct AuditLog {
    queue: mpsc::Sender<Message>,
    health: Arc<Health>,
    reader: AuditReader,
    redactor: Redactor,
    clock: Arc<dyn Clock>,
}

impl AuditLog {
    /// Opens the writer's chain, and checks its end: the newest checkpoint must be signed by these keys and be part
    /// of the chain, and the rows after it must follow from it. Must be called within a tokio runtime, which then
    /// runs the log's task.
    ///
    /// # Errors
    /// [`AuditError::Truncated`] or [`AuditError::Broken`] where the check fails: a log that was tampered with is
    /// not continued ([`AuditReader`] still reads it). [`AuditError::Store`] where the store cannot be read.
    pub async fn open(config: AuditConfig, store: Store, clock: Arc<dyn Clock>) -> Result<Self, AuditError> {
        let signing = config.keys.signing_key();
        let checkpoint = store.audit().last_checkpoint(&config.writer).await.map_err(AuditError::Store)?;
        let head = check_end(&store, &config.writer, checkpoint.as_ref(), &signing.verifying_key()).await?;
        let health = Arc::new(Health::default());
        let (queue, messages) = mpsc::channel(QUEUE);
        let task = Task {
            store: store.clone(),
            writer: config.writer,
            signing,
            checkpoint_every: config.checkpoint_every.max(1),
            clock: Arc::clone(&clock),
            health: Arc::clone(&health),
            head,
            doubtful: Vec::new(),
            checkpoint,
            lost: 0,
        };
        tokio::spawn(task.run(messages));
        Ok(Self {
            queue,
            health,
            reader: AuditReader::new(store, config.keys.public_key()),
            redactor: Redactor::new(&config.keys),
            clock,
        })
    }

    /// Appends a record. When this returns, the record and every one submitted before it are durable.
    ///
    /// The record keeps its place even if the caller stops waiting.
    ///
    /// # Errors
    /// [`AuditError::Unavailable`] where it could not be written; what asked for it must not happen.
    pub async fn append(&self, record: Record) -> Result<Receipt, AuditError> {
        self.health.check()?;
        let row = Box::new(record.into_row(self.clock.now()));
        let (reply, receipt) = oneshot::channel();
        self.queue.send(Message::Record { row, reply: Some(reply) }).await.map_err(|_closed| closed())?;
        receipt.await.map_err(|_dropped| closed())?
    }

    /// Gives a record its place in the chain now; it is durable at the latest when a later [`AuditLog::append`]
    /// returns. For records whose effect waits for a later one anyway.
    ///
    /// # Errors
    /// [`AuditError::Busy`] where too many wait, [`AuditError::Unavailable`] where the log cannot be written.
    pub fn enqueue(&self, record: Record) -> Result<(), AuditError> {
        self.health.check()?;
        let row = Box::new(record.into_row(self.clock.now()));
        self.queue.try_send(Message::Record { row, reply: None }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AuditError::Busy,
            mpsc::error::TrySendError::Closed(_) => closed(),
        })
    }

    /// Signs the present end of the chain, after everything submitted before; the newest checkpoint where nothing
    /// was appended since, `None` where the chain is empty.
    ///
    /// # Errors
    /// [`AuditError::Unavailable`] where it could not be written.
    pub async fn checkpoint(&self) -> Result<Option<Checkpoint>, AuditError> {
        let (reply, signed) = oneshot::channel();
        self.queue.send(Message::Checkpoint(reply)).await.map_err(|_closed| closed())?;
        signed.await.map_err(|_dropped| closed())?
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
        done.await.map_err(|_dropped| closed())?
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
