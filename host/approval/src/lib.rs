//! How risky a call is, and whether a person has to say yes first.
//!
//! [`assess`] takes a call whose skill is installed and gives an [`AssessedCall`]: the effective risk with every reason
//! for it. [`Gate::pass`] turns that into an [`ApprovedCall`], the only thing the sandbox runs, bound to the exact
//! canonical arguments; or says [`NeedsApproval`].
//!
//! Promises: a manifest can raise the risk of a tool, never lower it below a floor; nothing that a skill or a model
//! returned is an input here; what is not clearly allowed waits for a person.

mod assess;
mod gate;

pub use assess::{AssessedCall, CallRequest, Policy, Reason, assess};
pub use gate::{ApprovedCall, Gate, NeedsApproval};
