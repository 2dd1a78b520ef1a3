//! One record, and the text it becomes.

use crate::log::Subject;
use crate::{Action, Outcome, Redacted};
use serde::Serialize;
use serde_json::{Map, Value};
use sophon_store::AuditRow;
use sophon_types::{
    CallId, CorrelationId, Digest, KeyId, Principal, Risk, SkillName, TenantId, Timestamp, ToolName, UserId,
};
use std::sync::Arc;
use std::time::Duration;

/// What happened. Time, sequence and hashes are the log's.
#[derive(Debug, Clone)]
pub struct Record {
    action: Action,
    outcome: Outcome,
    tenant: Option<TenantId>,
    user: Option<UserId>,
    key: Option<KeyId>,
    skill: Option<SkillName>,
    tool: Option<ToolName>,
    call: Option<CallId>,
    risk: Option<Risk>,
    /// Shared by all records of a call, like `detail`.
    params: Option<Arc<Redacted>>,
    duration: Option<Duration>,
    correlation: Option<CorrelationId>,
    detail: Arc<Map<String, Value>>,
}

impl Record {
    /// A record of this action with this outcome.
    #[must_use]
    pub fn new(action: Action, outcome: Outcome) -> Self {
        Self {
            action,
            outcome,
            tenant: None,
            user: None,
            key: None,
            skill: None,
            tool: None,
            call: None,
            risk: None,
            params: None,
            duration: None,
            correlation: None,
            detail: Arc::default(),
        }
    }

    /// The same subject with another action and outcome: what a call does later.
    #[must_use]
    pub fn then(self, action: Action, outcome: Outcome) -> Self {
        Self { action, outcome, ..self }
    }

    /// Who did it: tenant, user and key.
    #[must_use]
    pub fn principal(self, principal: &Principal) -> Self {
        Self { key: Some(principal.key), ..self.tenant(&principal.tenant).user(&principal.user) }
    }

    /// In which tenant.
    #[must_use]
    pub fn tenant(self, tenant: &TenantId) -> Self {
        Self { tenant: Some(tenant.clone()), ..self }
    }

    /// For which person.
    #[must_use]
    pub fn user(self, user: &UserId) -> Self {
        Self { user: Some(user.clone()), ..self }
    }

    /// Which key was shown.
    #[must_use]
    pub fn key(self, key: KeyId) -> Self {
        Self { key: Some(key), ..self }
    }

    /// Which skill.
    #[must_use]
    pub fn skill(self, skill: &SkillName) -> Self {
        Self { skill: Some(skill.clone()), ..self }
    }

    /// Which tool.
    #[must_use]
    pub fn tool(self, tool: &ToolName) -> Self {
        Self { tool: Some(tool.clone()), ..self }
    }

    /// Which call.
    #[must_use]
    pub fn call(self, call: CallId) -> Self {
        Self { call: Some(call), ..self }
    }

    /// At which risk.
    #[must_use]
    pub fn risk(self, risk: Risk) -> Self {
        Self { risk: Some(risk), ..self }
    }

    /// With which parameters.
    #[must_use]
    pub fn params(self, params: Redacted) -> Self {
        Self { params: Some(Arc::new(params)), ..self }
    }

    /// How long it took.
    #[must_use]
    pub fn duration(self, duration: Duration) -> Self {
        Self { duration: Some(duration), ..self }
    }

    /// What it belongs to.
    #[must_use]
    pub fn correlation(self, correlation: CorrelationId) -> Self {
        Self { correlation: Some(correlation), ..self }
    }

    /// Something else worth knowing. Text that the host did not write itself goes through
    /// [`crate::Redactor::text`] first.
    #[must_use]
    pub fn detail(mut self, name: &str, value: impl Into<Value>) -> Self {
        Arc::make_mut(&mut self.detail).insert(name.to_owned(), value.into());
        self
    }

    /// What the record's receipt says about it.
    pub(crate) fn subject(&self) -> Subject {
        Subject { action: self.action, call: self.call }
    }

    /// The row, still without its place in the chain.
    pub(crate) fn into_row(self, time: Timestamp) -> AuditRow {
        let tenant = self.tenant.as_ref().map(ToString::to_string);
        let user = self.user.as_ref().map(ToString::to_string);
        let tool = self.tool.as_ref().map(ToString::to_string);
        let correlation = self.correlation.map(|id| id.to_string());
        let call = self.call.map(|id| id.to_string());
        let body = Body {
            action: self.action.as_str(),
            call: call.as_deref(),
            code: self.outcome.code(),
            correlation: correlation.as_deref(),
            detail: &self.detail,
            duration_us: self.duration.map(|span| u64::try_from(span.as_micros()).unwrap_or(u64::MAX)),
            key: self.key,
            outcome: self.outcome.kind().as_str(),
            params: self.params.as_deref().map(Redacted::value),
            risk: self.risk,
            skill: self.skill.as_ref(),
            tenant: tenant.as_deref(),
            time,
            tool: tool.as_deref(),
            user: user.as_deref(),
        };
        // Writing maps with text keys into memory cannot fail.
        let body = serde_json::to_string(&body).unwrap_or_default();
        AuditRow {
            seq: 0,
            time,
            tenant,
            user,
            action: self.action.as_str().to_owned(),
            tool,
            outcome: self.outcome.kind().as_str().to_owned(),
            correlation,
            call,
            body_digest: Digest::of(body.as_bytes()),
            body: Some(body),
            prev: crate::chain::GENESIS.hash,
            hash: crate::chain::GENESIS.hash,
        }
    }
}

/// The text of a record: fields in order of their names and nothing optional, so that a record has one text only.
/// The text itself is what is hashed; it is never written again from its parts.
#[derive(Serialize)]
struct Body<'r> {
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation: Option<&'r str>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    detail: &'r Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<KeyId>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<&'r Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    risk: Option<Risk>,
    #[serde(skip_serializing_if = "Option::is_none")]
    skill: Option<&'r SkillName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'r str>,
    time: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'r str>,
}
