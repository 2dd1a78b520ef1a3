//! Where state rests: the database, blobs and migrations.
//!
//! Promises: a method that changes something returns only when the change is durable (committed with an fsync);
//! changes take effect in the order in which they were submitted, whole or not at all; a blob that comes back is
//! the blob that was put. Never: a decision about what may be stored, or a secret in the clear (callers seal).
//!
//! - [`Store::open`] opens the database (SQLite) and the blob folder, and brings the tables up to date.
//! - One writer task owns the only connection that writes. It gathers what is queued into one transaction
//!   ("group commit"), so that a hundred callers share one fsync. Reads go to a small pool beside it, and so does the copying
//!   of the write-ahead log into the database, so that nobody's commit waits for it.
//! - Typed handles by subject: [`Store::keys`], [`Store::skills`], [`Store::publishers`], [`Store::connections`],
//!   [`Store::vault_meta`], [`Store::flows`], [`Store::calls`], [`Store::approvals`], [`Store::grants`], [`Store::state`], [`Store::audit`],
//!   [`Store::webhook_messages`], [`Store::blobs`], [`Store::plans`], [`Store::schedules`].
//! - [`StoreError`]: what can go wrong, and what mends it.
//!
//! All SQL of the house is in this crate, in the common subset of SQLite and PostgreSQL; what only one engine
//! understands is in the module `engine`.

mod approvals;
mod audit;
mod blobs;
mod calls;
mod checkpoints;
mod chunks;
mod connections;
mod engine;
mod error;
mod flows;
mod grants;
mod keys;
mod plans;
mod private;
mod publishers;
mod row;
mod schedules;
mod skills;
mod state;
mod store;
mod webhooks;
mod writer;

pub use approvals::{ApprovalFilter, ApprovalRow, Approvals, Decided, Resume};
pub use audit::{AuditExtent, AuditFilter, AuditHead, AuditLines, AuditRow, Checkpoint, Order, StoredAuditRow};
pub use blobs::Blobs;
pub use calls::{Begun, CallChange, CallRow, Calls, LARGE_RESULT, NotOpen};
pub use connections::{Connection, ConnectionRow, Connections, SealedField, VaultMeta};
pub use error::StoreError;
pub use flows::{FlowRow, Flows};
pub use grants::{GrantRow, Grants, Part, Raised, SessionRow, Sessions};
pub use keys::{KeyRow, Keys};
pub use plans::{BegunPlan, PlanRow, Plans};
pub use publishers::{PublisherRow, Publishers};
pub use schedules::{Added, DueSchedule, ScheduleFilter, SchedulePage, SchedulePlace, ScheduleRow, Schedules, Settled};
pub use skills::{Activation, SkillRow, Skills};
pub use state::{Quota, State, Swap};
pub use store::{Store, StoreConfig};
pub use webhooks::{Kept, WebhookMessage, WebhookMessages};
