//! What a person is asked, what the answer is bound to, and the answer.

use crate::gate::{Subject, list};
use crate::{AssessedCall, CallRequest, Reason};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sophon_skill::{InstalledSkill, NetworkRule, Tool};
use sophon_types::{
    ApprovalId, CallId, CanonicalJson, CorrelationId, Digest, Entropy, KeyId, PlanId, Principal, Risk, Role,
    ServiceName, SessionId, SkillName, TenantId, Timestamp, ToolName, UserId, Version,
};
use std::str::FromStr;
use std::time::Duration;

/// What is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A call, before it runs.
    Call,
    /// A request of a call that runs.
    Effect,
    /// Several calls at once.
    Plan,
}

impl Kind {
    /// The word as it is stored and sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Effect => "effect",
            Self::Plan => "plan",
        }
    }
}

/// Where a question stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Nobody has decided.
    Pending,
    /// A person said yes.
    Approved,
    /// A person said no.
    Rejected,
    /// Nobody answered in time, or what was approved did not begin in time.
    Expired,
    /// What was asked about is no more what it was, or nobody waits for it.
    Cancelled,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Approved, Self::Rejected, Self::Expired, Self::Cancelled];

    /// The word as it is stored and sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }
}

impl FromStr for Status {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| format!("{text:?} is not pending, approved, rejected, expired or cancelled"))
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Caller {
    tenant: TenantId,
    user: UserId,
    key: KeyId,
    role: Role,
}

/// A request of a running skill, as a person sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectAsked {
    /// The method.
    pub method: String,
    /// The URL, of its query only the names.
    pub url: String,
    /// The service whose credential goes along.
    pub credential: Option<String>,
    /// Bytes of the body.
    pub body_bytes: usize,
}

/// A field of a connection that stands for an argument which a call does not give.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FromConnection {
    /// The field, and the argument.
    pub field: String,
    /// The service.
    pub service: ServiceName,
    /// Whose connection it is: the user's or the tenant's.
    pub owner: String,
    /// The connection's version: another one may hold another value.
    pub version: u64,
}

impl FromConnection {
    /// Whether a call with these arguments takes it.
    #[must_use]
    pub fn is_taken(&self, arguments: &serde_json::Value) -> bool {
        arguments.get(&self.field).is_none_or(serde_json::Value::is_null)
    }

    /// Whether two calls take the same, in whatever order.
    #[must_use]
    pub fn are_the_same(these: &[Self], those: &[Self]) -> bool {
        these.len() == those.len() && these.iter().all(|one| those.contains(one))
    }

    /// What to show: each field with its service.
    #[must_use]
    pub fn names<'d>(of: impl IntoIterator<Item = &'d Self>) -> Vec<String> {
        of.into_iter().map(|default| format!("{} ({})", default.field, default.service)).collect()
    }
}

/// A step of a plan, as it was asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepAsked {
    /// The tool.
    pub tool: ToolName,
    /// The digest of its skill's package.
    pub skill_digest: Digest,
    /// The digest of its arguments; of one that refers to results, of its draft.
    pub arguments: Digest,
    /// Its risk.
    pub risk: Risk,
    /// What stands for arguments that it does not give.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub defaults: Vec<FromConnection>,
}

/// A question: everything that a person sees and that an answer is bound to. Kept sealed by the vault while it waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Question {
    kind: Kind,
    caller: Caller,
    subject: String,
    call: Option<CallId>,
    /// The plan that the call is a step of.
    plan: Option<PlanId>,
    correlation: CorrelationId,
    session: Option<SessionId>,
    skill: SkillName,
    version: Version,
    skill_digest: Digest,
    tool: ToolName,
    description: String,
    effects: Vec<String>,
    hosts: Vec<String>,
    /// Canonical text.
    arguments: String,
    schema: serde_json::Value,
    editable: bool,
    risk: Risk,
    reasons: Vec<Reason>,
    destructive: bool,
    effect: Option<EffectAsked>,
    steps: Vec<StepAsked>,
    /// What stands for arguments that are not given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    defaults: Vec<FromConnection>,
    policy: Digest,
    expires_at: Timestamp,
    nonce: String,
}

impl Question {
    /// Whether `call` may run.
    #[must_use]
    pub fn call(call: &AssessedCall, policy: Digest, expires_at: Timestamp, entropy: &dyn Entropy) -> Self {
        let risk = (call.risk(), call.reasons().to_vec(), call.is_destructive());
        Self::about(call.request(), call.skill(), call.tool(), risk, (policy, expires_at), entropy)
    }

    fn about(
        request: &CallRequest,
        skill: &InstalledSkill,
        tool: &Tool,
        (risk, reasons, destructive): (Risk, Vec<Reason>, bool),
        (policy, expires_at): (Digest, Timestamp),
        entropy: &dyn Entropy,
    ) -> Self {
        let manifest = skill.manifest();
        let rules = tool.network.as_ref().or(manifest.permissions.network.as_ref());
        Self {
            kind: Kind::Call,
            caller: Caller::of(&request.principal),
            subject: request.call.to_string(),
            call: Some(request.call),
            plan: None,
            correlation: request.correlation,
            session: request.session,
            skill: manifest.name.clone(),
            version: manifest.version.clone(),
            skill_digest: *skill.package().digest(),
            tool: tool.name.clone(),
            description: tool.description.clone(),
            effects: tool.effects.iter().map(|effect| effect.as_str().to_owned()).collect(),
            hosts: rules.into_iter().flatten().map(destination).collect(),
            arguments: request.arguments.as_str().to_owned(),
            schema: tool.parameters.clone(),
            editable: tool.editable,
            risk,
            reasons,
            destructive,
            effect: None,
            steps: Vec::new(),
            defaults: Vec::new(),
            policy,
            expires_at,
            nonce: nonce(entropy),
        }
    }

    /// Whether a request of a running call may leave.
    #[must_use]
    pub fn effect(
        call: &Subject,
        effect: EffectAsked,
        risk: Risk,
        bound: (Digest, Timestamp),
        entropy: &dyn Entropy,
    ) -> Self {
        let why = format!(
            "the running call, which was approved for {}, wants to send {} to {}",
            call.risk, effect.method, effect.url
        );
        let tool = &call.skill.manifest().tools[call.tool];
        // One request, which the person sees: never allowed in advance.
        let risk = (risk, vec![Reason { risk, why }], true);
        let call = Self::about(&call.request, &call.skill, tool, risk, bound, entropy);
        Self { kind: Kind::Effect, editable: false, effect: Some(effect), ..call }
    }

    /// Whether the steps of a plan may run. `gravest` is the question about its gravest step.
    #[must_use]
    pub fn plan(
        plan: PlanId,
        gravest: Self,
        body: &CanonicalJson,
        steps: Vec<StepAsked>,
        (risk, reasons): (Risk, Vec<Reason>),
    ) -> Self {
        Self {
            kind: Kind::Plan,
            subject: plan.to_string(),
            call: None,
            arguments: body.as_str().to_owned(),
            schema: serde_json::Value::Null,
            editable: false,
            risk,
            reasons,
            steps,
            ..gravest
        }
    }

    /// The same question, about a step of a plan: it does not outlive the plan.
    #[must_use]
    pub fn of_step(self, plan: Option<PlanId>) -> Self {
        Self { plan, ..self }
    }

    /// The same question, about a tool that takes these fields of connections where a call gives no such argument.
    #[must_use]
    pub fn with_defaults(self, defaults: Vec<FromConnection>) -> Self {
        Self { defaults, ..self }
    }

    /// The fields of connections that the tool takes where a call gives no such argument.
    #[must_use]
    pub fn defaults(&self) -> &[FromConnection] {
        &self.defaults
    }

    /// The plan that the call is a step of.
    #[must_use]
    pub fn plan_of_step(&self) -> Option<PlanId> {
        self.plan
    }

    /// What is asked about.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Who called.
    #[must_use]
    pub fn principal(&self) -> Principal {
        let Caller { tenant, user, key, role } = self.caller.clone();
        Principal { tenant, user, key, role }
    }

    /// Whether this is who called.
    #[must_use]
    pub fn is_of(&self, principal: &Principal) -> bool {
        self.caller == Caller::of(principal)
    }

    /// The id of the call or plan.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The call, where it is about one.
    #[must_use]
    pub fn call_id(&self) -> Option<CallId> {
        self.call
    }

    /// What it belongs to.
    #[must_use]
    pub fn correlation(&self) -> CorrelationId {
        self.correlation
    }

    /// The agent's session.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        self.session
    }

    /// The skill and its version.
    #[must_use]
    pub fn skill(&self) -> (&SkillName, &Version) {
        (&self.skill, &self.version)
    }

    /// The digest of the skill's package.
    #[must_use]
    pub fn skill_digest(&self) -> &Digest {
        &self.skill_digest
    }

    /// The tool; of a plan that of its gravest step.
    #[must_use]
    pub fn tool(&self) -> &ToolName {
        &self.tool
    }

    /// The tool's description: untrusted text.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// What the tool declares to do to the world.
    #[must_use]
    pub fn effects(&self) -> &[String] {
        &self.effects
    }

    /// Where the tool may go: untrusted text.
    #[must_use]
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// The exact arguments, as canonical JSON text (RFC 8785); of a plan its steps.
    #[must_use]
    pub fn arguments(&self) -> &str {
        &self.arguments
    }

    /// The JSON Schema of the arguments.
    #[must_use]
    pub fn schema(&self) -> &serde_json::Value {
        &self.schema
    }

    /// Whether a person may change the arguments.
    #[must_use]
    pub fn is_editable(&self) -> bool {
        self.editable
    }

    /// The effective risk.
    #[must_use]
    pub fn risk(&self) -> Risk {
        self.risk
    }

    /// Why the risk is what it is, the gravest reason first.
    #[must_use]
    pub fn reasons(&self) -> &[Reason] {
        &self.reasons
    }

    /// The reasons as one line.
    #[must_use]
    pub fn why(&self) -> String {
        list(&self.reasons)
    }

    /// Whether it destroys, pays or can take over.
    #[must_use]
    pub fn is_destructive(&self) -> bool {
        self.destructive
    }

    /// The request, where it is about one.
    #[must_use]
    pub fn effect_asked(&self) -> Option<&EffectAsked> {
        self.effect.as_ref()
    }

    /// The steps, where it is about a plan.
    #[must_use]
    pub fn steps(&self) -> &[StepAsked] {
        &self.steps
    }

    /// The version of the policy that it was asked under.
    #[must_use]
    pub fn policy(&self) -> Digest {
        self.policy
    }

    /// Until when it may be decided.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// What an answer about these arguments is bound to: caller, skill, tool, arguments, what is asked, policy, expiry,
    /// nonce (DESIGN: risk and approval), over canonical JSON (RFC 8785).
    #[must_use]
    pub fn fingerprint(&self, arguments: Digest) -> Digest {
        let mut bound = json!({
            "arguments": arguments,
            "caller": {"tenant": self.caller.tenant, "user": self.caller.user, "key": self.caller.key},
            "effect": self.effect,
            "expires_at": self.expires_at,
            "kind": self.kind,
            "nonce": self.nonce,
            "policy": self.policy,
            "skill": self.skill_digest,
            "steps": self.steps,
            "subject": self.subject,
            "tool": self.tool,
        });
        if !self.defaults.is_empty() {
            bound["defaults"] = json!(self.defaults);
        }
        // Texts and lists only: there is a canonical form. Were there none, no answer would ever fit.
        let text = CanonicalJson::of(bound).map(|json| json.as_str().to_owned()).unwrap_or_default();
        Digest::of_parts(&[b"sophon approval", text.as_bytes()])
    }

    /// The digest of the arguments as they were asked about.
    #[must_use]
    pub fn arguments_digest(&self) -> Digest {
        Digest::of(self.arguments.as_bytes())
    }
}

impl Caller {
    fn of(principal: &Principal) -> Self {
        let Principal { tenant, user, key, role } = principal.clone();
        Self { tenant, user, key, role }
    }
}

fn nonce(entropy: &dyn Entropy) -> String {
    let bytes = entropy.bytes::<32>();
    Digest::from_bytes(bytes).to_hex()
}

fn destination(rule: &NetworkRule) -> String {
    let methods = if rule.methods.is_empty() { "any method".to_owned() } else { rule.methods.join(", ") };
    format!("{} ({methods})", rule.host)
}

/// A person's yes, as it rests: sealed under the id of its question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sealed {
    pub(crate) fingerprint: Digest,
    pub(crate) by: Vec<UserId>,
    pub(crate) at: Timestamp,
    pub(crate) start_by: Timestamp,
    /// The edited arguments, as canonical text.
    pub(crate) arguments: Option<String>,
}

/// Evidence that a person said yes. Made by the desk only, from a row that the vault has sealed.
#[derive(Debug, Clone)]
pub struct Answer {
    pub(crate) id: ApprovalId,
    pub(crate) question: Question,
    pub(crate) sealed: Sealed,
}

impl Answer {
    /// The question's id.
    #[must_use]
    pub fn id(&self) -> ApprovalId {
        self.id
    }

    /// What was asked.
    #[must_use]
    pub fn question(&self) -> &Question {
        &self.question
    }

    /// Who said yes.
    #[must_use]
    pub fn by(&self) -> &[UserId] {
        &self.sealed.by
    }

    /// When.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.sealed.at
    }

    /// What was approved has to begin before this.
    #[must_use]
    pub fn start_by(&self) -> Timestamp {
        self.sealed.start_by
    }

    /// The arguments that were approved, as canonical text: the edited ones, where a person has edited them.
    #[must_use]
    pub fn arguments(&self) -> &str {
        self.sealed.arguments.as_deref().unwrap_or(&self.question.arguments)
    }

    /// Whether a person has changed the arguments.
    #[must_use]
    pub fn is_edited(&self) -> bool {
        self.sealed.arguments.is_some()
    }

    /// Whether it is the answer about this very call.
    pub(crate) fn fits(&self, call: &AssessedCall) -> bool {
        let (question, request) = (&self.question, call.request());
        question.kind == Kind::Call
            && question.is_of(&request.principal)
            && question.call == Some(request.call)
            && question.tool == call.tool().name
            && Digest::of(self.arguments().as_bytes()) == request.arguments.digest()
            && question.fingerprint(request.arguments.digest()) == self.sealed.fingerprint
    }
}

/// How long what was approved may take to begin.
pub(crate) const START_WITHIN: Duration = Duration::from_secs(5 * 60);
