//! Shared names and values of Sophon Host: what every floor of the house may speak of.
//!
//! Promises: no I/O, no async, no clock and no randomness of its own ([`Clock`] and [`Entropy`] are passed in).
//!
//! - [`names`](SkillName): validated names of skills, tools, services, tenants and users.
//! - [`ids`](CallId): random identifiers of calls, keys, sessions and correlations.
//! - [`Digest`]: SHA-256 of bytes. [`CanonicalJson`]: JSON as RFC 8785 writes it, duplicate keys refused.
//! - [`Risk`], [`Trust`], [`Principal`]: who may do what with which code.
//! - [`is_invisible`] and its like: the one table of characters that a reader does not see.
//! - [`Fault`]: what every error of the house can say of itself: stage, kind, code and a hint that works.

mod canonical;
mod digest;
mod entropy;
mod fault;
mod ids;
mod names;
mod principal;
mod risk;
mod time;
mod trust;
mod unicode;

pub use canonical::{CanonicalJson, JsonError};
pub use digest::{Digest, DigestError};
pub use entropy::Entropy;
pub use fault::{Fault, FaultKind, FaultReport, Stage};
pub use ids::{ApprovalId, CallId, CorrelationId, GrantId, IdError, KeyId, PlanId, ScheduleId, SessionId};
pub use names::{NameError, ServiceName, SkillName, TenantId, ToolName, UserId};
pub use principal::{Principal, Role};
pub use risk::{Risk, UnknownRisk};
pub use semver::Version;
pub use time::{Clock, Timestamp};
pub use trust::Trust;
pub use unicode::{is_bidi_control, is_invisible, is_joiner, is_tag, is_variation_selector};
