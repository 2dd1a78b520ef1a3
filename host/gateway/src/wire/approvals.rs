//! Questions to a person, sessions and standing yeses.

use crate::extract::WireBody;
use crate::untrusted;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use sophon_approval::{Change, FromConnection, Reason, Terms};
use sophon_executor::{ApprovalView, Standing};
use sophon_guard::Detector;
use sophon_store::SessionRow;
use sophon_types::Entropy;
use utoipa::ToSchema;

/// Which questions to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApprovalQuery {
    /// pending, approved, rejected, expired or cancelled.
    pub(crate) status: Option<String>,
    /// Asked before this moment (RFC 3339): `created_at` of the last one of the page before.
    pub(crate) before: Option<String>,
    /// At most so many; 100 where nothing is said, at most 500.
    pub(crate) limit: Option<u32>,
}

/// Questions, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ApprovalList {
    approvals: Vec<ApprovalBody>,
}

impl ApprovalList {
    pub(crate) fn of(views: Vec<ApprovalView>, detector: &Detector, entropy: &dyn Entropy) -> Self {
        Self { approvals: views.into_iter().map(|view| ApprovalBody::of(view, detector, entropy)).collect() }
    }
}

/// A question to a person, with everything that the answer is bound to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ApprovalBody {
    /// The question.
    approval_id: String,
    /// call, effect (a request of a running call) or plan.
    kind: String,
    /// pending, approved, rejected, expired or cancelled.
    status: String,
    /// The call, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    call_id: Option<String>,
    /// The plan, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    plan_id: Option<String>,
    /// Whose agent asks.
    user: String,
    /// The key that called.
    key_id: String,
    /// The agent's session.
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    /// The tool.
    tool: String,
    /// Its skill.
    skill: String,
    /// The skill's version.
    version: String,
    /// SHA-256 of the skill's package.
    skill_digest: String,
    /// The author's words, wrapped as text from outside.
    description: String,
    /// The effective risk.
    risk: String,
    /// Why it asks, the gravest reason first.
    reasons: Vec<ReasonBody>,
    /// Whether it destroys, pays or can take over; never allowed in advance.
    destructive: bool,
    /// What the tool declares to do to the world.
    effects: Vec<String>,
    /// Where it may go.
    hosts: Vec<String>,
    /// The exact arguments; once a person has edited them, those.
    #[schema(value_type = Object)]
    arguments: Value,
    /// The arguments as canonical text (RFC 8785): what runs, byte for byte.
    arguments_canonical: String,
    /// Arguments that are not given, and for which fields of a connection stand: `FIELD (SERVICE)`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    connection_defaults: Vec<String>,
    /// JSON Schema of the arguments, where they may be edited.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Value>,
    /// Whether the arguments may be edited.
    editable: bool,
    /// The request, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    effect: Option<EffectBody>,
    /// What differs from this user's last approved call of the tool; missing where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    changed_since_last_time: Option<Vec<ChangeBody>>,
    /// What a person has changed in the arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    edited: Vec<ChangeBody>,
    /// What the answer is bound to.
    fingerprint: String,
    /// Who has approved.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    approved_by: Vec<String>,
    /// Who decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_by: Option<String>,
    /// Whether a second person has to approve as well.
    second_person_needed: bool,
    /// When it was asked (RFC 3339).
    created_at: String,
    /// Until when it may be decided; once approved, until when it has to begin.
    expires_at: String,
    /// When it was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_at: Option<String>,
    /// When what was approved began.
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
}

/// A reason for a risk.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReasonBody {
    /// The risk that this reason alone gives.
    risk: String,
    /// In words.
    why: String,
}

impl From<&Reason> for ReasonBody {
    fn from(reason: &Reason) -> Self {
        Self { risk: reason.risk.to_string(), why: reason.why.clone() }
    }
}

/// A request of a running skill.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EffectBody {
    /// The method.
    method: String,
    /// The URL, of its query only the names.
    url: String,
    /// The service whose credential goes along.
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<String>,
    /// Bytes of the body.
    body_bytes: usize,
}

/// One place that differs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChangeBody {
    /// Where (RFC 6901).
    path: String,
    /// What stood there.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Value>,
    /// What stands there now.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Value>,
}

impl From<Change> for ChangeBody {
    fn from(change: Change) -> Self {
        Self { path: change.path, before: change.before, after: change.after }
    }
}

impl ApprovalBody {
    pub(crate) fn of(view: ApprovalView, detector: &Detector, entropy: &dyn Entropy) -> Self {
        let ApprovalView { card, edited, since_last_time, second_person_needed } = view;
        let (row, question) = (card.row.clone(), &card.question);
        let plan = question.call_id().is_none().then(|| question.subject().to_owned());
        let parameters = question.is_editable().then(|| untrusted::schema(question.schema().clone(), entropy));
        let arguments: Value = serde_json::from_str(card.arguments()).unwrap_or_default();
        let defaults = question.defaults().iter().filter(|default| default.is_taken(&arguments));
        let defaults = defaults.chain(question.steps().iter().flat_map(|step| &step.defaults));
        Self {
            connection_defaults: FromConnection::names(defaults),
            approval_id: row.id.to_string(),
            kind: question.kind().as_str().into(),
            status: card.status.as_str().into(),
            call_id: question.call_id().map(|call| call.to_string()),
            plan_id: plan,
            user: row.user.to_string(),
            key_id: row.key.to_string(),
            session: question.session().map(|session| session.to_string()),
            tool: question.tool().to_string(),
            skill: question.skill().0.to_string(),
            version: question.skill().1.to_string(),
            skill_digest: question.skill_digest().to_string(),
            description: untrusted::description(detector, question.tool(), question.description(), entropy).content,
            risk: question.risk().to_string(),
            reasons: question.reasons().iter().map(ReasonBody::from).collect(),
            destructive: question.is_destructive(),
            effects: question.effects().to_vec(),
            hosts: question.hosts().to_vec(),
            arguments,
            arguments_canonical: card.arguments().to_owned(),
            parameters,
            editable: question.is_editable(),
            effect: question.effect_asked().cloned().map(|effect| EffectBody {
                method: effect.method,
                url: effect.url,
                credential: effect.credential,
                body_bytes: effect.body_bytes,
            }),
            changed_since_last_time: since_last_time.map(|found| found.into_iter().map(ChangeBody::from).collect()),
            edited: edited.into_iter().map(ChangeBody::from).collect(),
            fingerprint: card.fingerprint().to_string(),
            approved_by: card.answer.iter().flat_map(|answer| answer.by()).map(ToString::to_string).collect(),
            decided_by: row.decided_by.map(|by| by.to_string()),
            second_person_needed,
            created_at: row.created_at.to_string(),
            expires_at: row.expires_at.to_string(),
            decided_at: row.decided_at.map(|at| at.to_string()),
            started_at: row.started_at.map(|at| at.to_string()),
        }
    }
}

/// A person's yes.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApproveBody {
    /// The arguments as the person has changed them, where the tool lets them; all of them.
    #[schema(value_type = Option<Object>)]
    pub(crate) arguments: Option<Box<RawValue>>,
    /// The fingerprint of the card that the person has seen; needed where another person has edited the arguments.
    pub(crate) fingerprint: Option<String>,
    /// once (default), or session: calls of the same tool in the same session pass as well.
    pub(crate) scope: Option<String>,
}

impl WireBody for ApproveBody {}

/// A person's no.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RejectBody {
    /// Why; the agent reads it.
    pub(crate) reason: Option<String>,
}

impl WireBody for RejectBody {}

/// An agent's session.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionBody {
    /// The session; bound to the key that began it.
    session_id: String,
    /// The person behind the agent.
    user: String,
    /// The key that began it.
    key_id: String,
    /// The highest risk that passes by itself in it, where a person has raised it.
    #[serde(skip_serializing_if = "Option::is_none")]
    auto_approve_ceiling: Option<String>,
    /// Until when that holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    ceiling_until: Option<String>,
    /// Who raised it.
    #[serde(skip_serializing_if = "Option::is_none")]
    raised_by: Option<String>,
    /// When it began.
    created_at: String,
    /// When it ends.
    expires_at: String,
}

impl From<SessionRow> for SessionBody {
    fn from(row: SessionRow) -> Self {
        Self {
            session_id: row.id.to_string(),
            user: row.user.to_string(),
            key_id: row.key.to_string(),
            raised_by: row.ceiling.as_ref().map(|raised| raised.by.to_string()),
            auto_approve_ceiling: row.ceiling.as_ref().map(|raised| raised.to.to_string()),
            ceiling_until: row.ceiling.as_ref().map(|raised| raised.until.to_string()),
            created_at: row.created_at.to_string(),
            expires_at: row.expires_at.to_string(),
        }
    }
}

/// Which sessions to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionQuery {
    /// Those only whose ceiling is raised.
    pub(crate) raised: Option<bool>,
    /// `next` of the page before.
    pub(crate) after: Option<String>,
    /// At most so many; 100 where nothing is said, at most 500.
    pub(crate) limit: Option<u32>,
}

/// Sessions that have not ended, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionList {
    pub(crate) sessions: Vec<SessionBody>,
    /// Ask for the next page with `after` set to this; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

/// What may pass by itself in a session from now on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RaiseBody {
    /// none, low, medium, high or critical. What destroys asks all the same.
    pub(crate) auto_approve_ceiling: String,
    /// For how many seconds; at most a day.
    pub(crate) expires_in: u64,
}

impl WireBody for RaiseBody {}

/// A standing yes to give.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrantBody {
    /// The tool's full name.
    pub(crate) tool: String,
    /// Which arguments it covers: each member equal to the call's, or a text with `*` that fits it. A member that is not
    /// named here is not covered.
    #[schema(value_type = Object)]
    pub(crate) arguments: Box<RawValue>,
    /// The highest risk that it covers: low, medium or high.
    pub(crate) risk: String,
    /// For how many seconds; at most 30 days.
    pub(crate) expires_in: u64,
    /// For whose calls; the caller's own where nobody is named. Another's: admins only.
    pub(crate) user: Option<String>,
}

impl WireBody for GrantBody {}

/// A standing yes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GrantItem {
    /// The grant.
    grant_id: String,
    /// For whose calls.
    user: String,
    /// The tool.
    tool: String,
    /// The session that it is bound to.
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    /// Which arguments it covers; missing: whatever arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    arguments: Option<Value>,
    /// The highest risk that it covers.
    risk: String,
    /// Who gave it.
    created_by: String,
    /// When it was given.
    created_at: String,
    /// When it ends.
    expires_at: String,
    /// When it was taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<String>,
    /// How many calls it has let pass.
    uses: u64,
}

impl From<Standing> for GrantItem {
    fn from((row, terms): Standing) -> Self {
        let Terms { arguments, risk, .. } = terms;
        Self {
            grant_id: row.id.to_string(),
            user: row.user.to_string(),
            tool: row.tool.to_string(),
            session: row.session.map(|session| session.to_string()),
            arguments: arguments.map(Value::Object),
            risk: risk.to_string(),
            created_by: row.created_by.to_string(),
            created_at: row.created_at.to_string(),
            expires_at: row.expires_at.to_string(),
            revoked_at: row.revoked_at.map(|at| at.to_string()),
            uses: row.uses,
        }
    }
}

/// Standing yeses, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GrantList {
    pub(crate) grants: Vec<GrantItem>,
    /// Ask for the next page with `after` set to this; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}
