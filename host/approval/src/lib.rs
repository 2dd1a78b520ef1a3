//! How risky a call is, and whether a person has to say yes first.
//!
//! [`assess`] takes a call whose skill is installed and gives an [`AssessedCall`]: the effective risk with every reason
//! for it. [`Gate::pass`] turns that into an [`ApprovedCall`], the only thing the sandbox runs, bound to the exact
//! canonical arguments; or says why it does not ([`Stopped`]). What a person has to decide becomes a [`Question`] on the
//! [`Desk`]: durable, sealed, with an end. [`Gate::redeem`] turns a person's [`Answer`] into an [`ApprovedCall`].
//!
//! Promises: a manifest can raise the risk of a tool, never lower it below a floor; nothing that a skill or a model
//! returned is an input here; what is not clearly allowed waits for a person, and no answer in time is a no; an answer is
//! good for the one thing that was asked, once, and for what the person saw.

mod assess;
mod config;
mod desk;
mod diff;
mod error;
mod gate;
mod grant;
mod policy;
mod question;
mod standing;

pub use assess::{AssessedCall, CallRequest, Reason, assess, weight};
pub use config::{ApprovalConfig, QuietHoursConfig, RuleConfig};
pub use desk::{Asked, Card, Decision, Desk, DeskParts, Listing, Told, Untold, Waiting};
pub use diff::{Change, changes};
pub use error::DeskError;
pub use gate::{ApprovedBy, ApprovedCall, Gate, NeedsApproval, Setting, Stale, Stopped, Subject};
pub use grant::Terms;
pub use policy::{Policy, PolicyError};
pub use question::{Answer, EffectAsked, FromConnection, Kind, Question, Status, StepAsked};
pub use standing::Covered;
