//! Further places that records go to, besides the database: each gets every record once it is durable there. The database
//! is always one of them, for a call's own state rests in it: where it takes nothing, nothing happens, whatever others take.

use async_trait::async_trait;
use sophon_store::AuditRow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// How long a sink that is required may take for what is written together.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is written together and waits for a sink that is not required.
const WAITING: usize = 256;

/// A record on its way to a sink.
#[derive(Debug, Clone)]
pub struct SinkRecord {
    /// Whose chain.
    pub writer: String,
    /// Its place in the chain.
    pub seq: u64,
    /// Its hash, in hexadecimal.
    pub hash: String,
    /// The action's code.
    pub action: String,
    /// The outcome's word.
    pub outcome: String,
    /// When it was submitted (RFC 3339).
    pub time: String,
    /// The record, as it was hashed.
    pub body: String,
}

/// A further place for records.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Its name, for the operator.
    fn name(&self) -> &str;

    /// Takes these records, in order.
    ///
    /// # Errors
    /// Why it did not.
    async fn write(&self, records: &[SinkRecord]) -> Result<(), String>;
}

/// Whether what asked for a record waits for a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// It does: where the sink does not take the record, it is refused.
    Required,
    /// It does not: what the sink does not take is lost to it, and counted.
    BestEffort,
}

/// The sinks of a log.
pub(crate) struct Sinks(Vec<Attached>);

enum Attached {
    Required(Arc<dyn Sink>),
    BestEffort { name: String, queue: mpsc::Sender<Arc<[SinkRecord]>>, lost: AtomicU64 },
}

impl Sinks {
    /// Must be called within a tokio runtime, which then runs a task for each sink that nobody waits for.
    pub(crate) fn new(sinks: Vec<(Arc<dyn Sink>, Demand)>) -> Self {
        let attached = |(sink, demand): (Arc<dyn Sink>, Demand)| match demand {
            Demand::Required => Attached::Required(sink),
            Demand::BestEffort => {
                let name = sink.name().to_owned();
                let (queue, waiting) = mpsc::channel(WAITING);
                tokio::spawn(feed(sink, waiting));
                Attached::BestEffort { name, queue, lost: AtomicU64::new(0) }
            }
        };
        Self(sinks.into_iter().map(attached).collect())
    }

    /// Whether one of them has to take every record.
    pub(crate) fn demand_all(&self) -> bool {
        self.0.iter().any(|attached| matches!(attached, Attached::Required(_)))
    }

    /// Gives what is durable to every sink; says which required one did not take it.
    pub(crate) async fn write(&self, records: Vec<SinkRecord>) -> Result<(), String> {
        let records: Arc<[SinkRecord]> = records.into();
        let mut missing = Ok(());
        for attached in &self.0 {
            match attached {
                Attached::Required(sink) => {
                    let taken = tokio::time::timeout(PATIENCE, sink.write(&records)).await;
                    let taken = taken.unwrap_or_else(|_elapsed| Err("it takes too long".into()));
                    missing =
                        missing.and(taken.map_err(|cause| format!("{} did not take the record: {cause}", sink.name())));
                }
                Attached::BestEffort { name, queue, lost } => {
                    if queue.try_send(Arc::clone(&records)).is_err() {
                        let lost = lost.fetch_add(records.len() as u64, Ordering::Relaxed) + records.len() as u64;
                        tracing::error!(sink = name, lost, "records are lost to a sink of the audit log");
                    }
                }
            }
        }
        missing
    }
}

impl fmt::Debug for Sinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sinks({})", self.0.len())
    }
}

async fn feed(sink: Arc<dyn Sink>, mut waiting: mpsc::Receiver<Arc<[SinkRecord]>>) {
    let mut works = true;
    while let Some(records) = waiting.recv().await {
        match sink.write(&records).await {
            Ok(()) if works => {}
            Ok(()) => {
                works = true;
                tracing::info!(sink = sink.name(), "a sink of the audit log takes records again");
            }
            Err(cause) => {
                works = false;
                tracing::error!(
                    sink = sink.name(),
                    records = records.len(),
                    cause,
                    "a sink of the audit log did not take records"
                );
            }
        }
    }
}

/// The rows as sinks get them; nothing of rows without a body.
pub(crate) fn records(writer: &str, rows: &[AuditRow]) -> Vec<SinkRecord> {
    let record = |row: &AuditRow| SinkRecord {
        writer: writer.to_owned(),
        seq: row.seq,
        hash: row.hash.to_string(),
        action: row.action.clone(),
        outcome: row.outcome.clone(),
        time: row.time.to_string(),
        body: row.body.clone().unwrap_or_default(),
    };
    rows.iter().map(record).collect()
}
