//! JSON as clients see it. The only place where these shapes exist: nothing below this crate is serialised to a client
//! as it is, so a change inside cannot change the contract by accident. Unknown fields in requests are errors.

mod approvals;
mod audit;
mod calls;
mod content;
mod credentials;
mod events;
mod health;
mod keys;
mod oauth;
mod operator;
mod plans;
mod problem;
mod publishers;
mod schedules;
mod skills;

pub(crate) use approvals::{
    ApprovalBody, ApprovalList, ApprovalQuery, ApproveBody, GrantBody, GrantItem, GrantList, RaiseBody, RejectBody,
    SessionBody, SessionList, SessionQuery,
};
pub(crate) use audit::{AuditPage, AuditQuery, AuditVerification};
pub(crate) use calls::{CallAnswer, CallBody, ToolList, WaitQuery};
pub(crate) use content::{ContentBody, FindingBody, WrappedContent};
pub(crate) use credentials::{ConnectionBody, ConnectionList, CredentialBody, OwnerName, OwnerQuery};
pub(crate) use events::{EventBody, EventsQuery};
pub(crate) use health::{Health, Readiness};
pub(crate) use keys::{KeyBody, KeyList, KeyMade, KeyView};
pub(crate) use oauth::{
    OauthCallbackQuery, OauthFinishBody, OauthFlow, OauthPollBody, OauthStartBody, OauthStarted, OauthUndecided,
};
pub(crate) use operator::{Hello, HelloQuery, ReloadedBody};
pub(crate) use plans::{PlanAnswer, PlanBody};
pub(crate) use problem::ProblemBody;
pub(crate) use publishers::{PublisherBody, PublisherItem, PublisherList};
pub(crate) use schedules::{ScheduleBody, ScheduleItem, ScheduleList, ScheduleQuery};
pub(crate) use skills::{AnalysisBody, InstallBody, SkillBody, SkillList};

/// The name of a value that serialises to a string, such as a kind or a status.
pub(crate) fn name_of(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}
