//! The audit log: who did what with which outcome, in a chain that shows tampering.
//!
//! Promises: [`AuditLog::append`] returns only when the record and everything submitted before it is durable; once
//! a write has failed nothing is accepted until a write succeeds again; what is changed, deleted, reordered or cut
//! off before a checkpoint is found by [`AuditReader::verify`]. Never: a secret in the clear ([`Redactor`]), or a
//! record that is silently lost: how many the log has not taken, it says itself as soon as it writes again.
//!
//! - [`Record`], [`Action`], [`Outcome`]: what is recorded. [`Redacted`]: parameters as they may be recorded.
//! - [`AuditLog`]: opens a writer's chain and appends; [`Receipt`] is the evidence that a record is durable.
//! - [`AuditReader`]: [`Query`], verification and [`Export`], also where a log is refused for appending.
//! - [`AuditKeys`]: the signing key of checkpoints and the key of keyed hashes. [`verify_export`] needs only the
//!   public key, and no store.
//!
//! A row's hash covers the writer, the sequence number, the hash before and the digest of the body. So a body may
//! be withheld (from another tenant's export) and the chain still be checked. With the first row, every so many
//! rows, after a minute, and at close, the end of the chain is signed; a signed checkpoint kept elsewhere
//! ([`AuditReader::verify_against`]) is what makes a cut-off end visible.

mod action;
mod chain;
mod csv;
mod error;
mod export;
mod field;
mod flagged;
mod keys;
mod line;
mod log;
mod reader;
mod record;
mod redact;
mod retention;
mod sink;
mod task;
mod verify;
mod walk;

pub use action::{Action, Outcome, OutcomeKind, UnknownName};
pub use csv::CsvExport;
pub use error::AuditError;
pub use export::{Export, ExportScope, verify_export};
pub use field::Field;
pub use keys::AuditKeys;
pub use log::{AuditConfig, AuditLog, CallState, Receipt};
pub use reader::{AuditReader, Entry, Page, Query};
pub use record::Record;
pub use redact::{Redacted, Redactor};
pub use retention::LEAST_RETENTION;
pub use sink::{Demand, Sink, SinkRecord};
pub use sophon_store::{CallChange, Checkpoint, Decided, Order, Resume};
pub use verify::{DroppedBodies, Problem, Unsigned, Verification};
