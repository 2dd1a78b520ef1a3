//! Events on the wire: the `data` of a server-sent event.

use serde::{Deserialize, Serialize};
use sophon_executor::{Event, Posted, Subject};
use utoipa::ToSchema;

/// From where on to watch.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventsQuery {
    /// Behind this event; as the header `Last-Event-ID`, which goes before it.
    pub(crate) after: Option<String>,
}

/// Something that happened. Fields that do not belong to the event are left out.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventBody {
    /// approval.pending, approval.decided or call.finished.
    event: &'static str,
    /// When (RFC 3339).
    at: String,
    /// The person behind the call.
    user: String,
    /// The call.
    #[serde(skip_serializing_if = "Option::is_none")]
    call_id: Option<String>,
    /// The plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    plan_id: Option<String>,
    /// The question to a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    approval_id: Option<String>,
    /// The tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    tool: Option<String>,
    /// The effective risk.
    #[serde(skip_serializing_if = "Option::is_none")]
    risk: Option<&'static str>,
    /// Until when it may be decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    /// approved, rejected, expired or cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<&'static str>,
    /// Who decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_by: Option<String>,
    /// How the call ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
}

impl EventBody {
    pub(crate) fn of(posted: &Posted) -> Option<Self> {
        let event = &posted.event;
        let mut body = Self {
            event: event.name(),
            at: posted.at.to_string(),
            user: event.owner().user.to_string(),
            call_id: None,
            plan_id: None,
            approval_id: None,
            tool: None,
            risk: None,
            expires_at: None,
            decision: None,
            decided_by: None,
            status: None,
        };
        match event {
            Event::ApprovalPending { approval_id, subject, tool, risk, expires_at, .. } => {
                body.about(*subject);
                body.approval_id = Some(approval_id.to_string());
                body.tool = Some(tool.to_string());
                body.risk = Some(risk.as_str());
                body.expires_at = Some(expires_at.to_string());
            }
            Event::ApprovalDecided { approval_id, subject, decision, by, .. } => {
                body.about(*subject);
                body.approval_id = Some(approval_id.to_string());
                body.decision = Some(decision.as_str());
                body.decided_by = by.as_ref().map(ToString::to_string);
            }
            Event::CallFinished { call_id, tool, status, .. } => {
                body.call_id = Some(call_id.to_string());
                body.tool = Some(tool.to_string());
                body.status = Some(status.as_str());
            }
            // An event that this edge does not know yet is not sent.
            _ => return None,
        }
        Some(body)
    }

    fn about(&mut self, subject: Subject) {
        match subject {
            Subject::Call(call) => self.call_id = Some(call.to_string()),
            Subject::Plan(plan) => self.plan_id = Some(plan.to_string()),
        }
    }
}
