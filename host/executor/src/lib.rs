//! The life of a call, from a tool's name to a wrapped result. Knows every stage, implements none.
//!
//! ```text
//! resolve → validate → assess → gate → intent → run → sanitise → outcome → reply
//! ```
//!
//! [`Executor::call`] takes a call through these stages; each hands the next one evidence that only it can make.
//!
//! Promises, in the order of effects that no failure may break: the intent, with the credentials that the call may use,
//! is durable in the audit log before any code of the skill runs; the outcome is durable before the reply leaves; where
//! the audit cannot be written the call is refused. A call belongs to the host, not to the client's connection: it goes
//! on when the client hangs up, and what was in flight at a crash is reported as of unknown outcome, never run again.

mod api;
mod approvals;
mod budget;
mod call;
mod catalogue;
mod compiling;
mod connected;
mod effects;
mod error;
mod events;
mod flight;
mod install;
mod outcome;
mod places;
mod plan;
mod publishers;
mod recovery;
mod requirements;
mod results;
mod run;
mod schedules;
mod stages;
mod steady;
#[cfg(test)]
mod tests;
mod tier;
mod webhooks;

pub use api::{
    ApprovalRef, CallOutput, CallRequest, CallStatus, CallView, Consent, ErrorView, HostChoice, InstallRequest,
    ProgressView, PublisherView, Results, SkillView, ToolView,
};
pub use approvals::{ApprovalView, Approve, GrantRequest, Scope, Standing};
pub use budget::ToolBudget;
pub use call::{CallLimits, Executor, Parts};
pub use catalogue::OfferedTool;
pub use error::{CallError, InstallError};
pub use events::{Decision, Event, EventId, Events, Next, Owner, Posted, Subject, Watch};
pub use plan::{OnFailure, PlanRequest, PlanStep, PlanView, Reference, StepView, check_plan};
pub use requirements::Requirements;
pub use schedules::{ScheduleError, ScheduleLimits, ScheduleListing, ScheduleRequest, ScheduleView};
pub use webhooks::{Told, Webhook, Webhooks};
