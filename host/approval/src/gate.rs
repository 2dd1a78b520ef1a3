//! The gate: what passes by itself, what waits for a person, and what never passes.

use crate::question::{Answer, Question};
use crate::{AssessedCall, CallRequest, Kind, Policy, Reason};
use parking_lot::RwLock;
use sophon_skill::{InstalledSkill, Tool};
use sophon_types::{ApprovalId, Fault, FaultKind, GrantId, Risk, Stage, Timestamp, ToolName, UserId};
use std::sync::Arc;

/// Lets calls pass up to a ceiling; above it only a person can. Cheap to clone; every clone follows the same policy.
#[derive(Debug, Clone, Default)]
pub struct Gate {
    policy: Arc<RwLock<Arc<Policy>>>,
}

/// In what a call is made, and what a person has allowed there.
#[derive(Debug, Clone, Copy, Default)]
pub struct Setting {
    /// The ceiling that a person has raised for the call's session.
    pub session: Option<Risk>,
    /// Whether the call is a step of a plan: then `medium` asks too.
    pub in_plan: bool,
}

impl Gate {
    /// A gate that follows this policy.
    #[must_use]
    pub fn new(policy: Arc<Policy>) -> Self {
        Self { policy: Arc::new(RwLock::new(policy)) }
    }

    /// The policy in force. Whoever judges one thing asks once.
    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.read())
    }

    /// From now on calls are assessed by this policy. What was assessed before is judged by its own, and what was asked about
    /// under another version is superseded.
    pub fn follow(&self, policy: Arc<Policy>) {
        *self.policy.write() = policy;
    }

    /// Passes the call, or gives it back with the reason why it does not pass by itself.
    ///
    /// # Errors
    /// [`Stopped::Ask`] where the risk is above the ceiling; [`Stopped::Denied`] where a rule forbids the call.
    pub fn pass(&self, call: AssessedCall, setting: Setting, now: Timestamp) -> Result<ApprovedCall, Stopped> {
        if let Some(why) = &call.deny {
            return Err(Stopped::Denied { tool: call.tool().name.clone(), why: why.clone() });
        }
        let base = Self::base(&call, now);
        let passes = Self::passes(base, setting);
        if call.risk() <= passes {
            return Ok(ApprovedCall::new(call, passes, ApprovedBy::Itself));
        }
        let raised = Self::raised(&call, setting);
        if raised.is_some_and(|raised| call.risk() <= raised) {
            return Ok(ApprovedCall::new(call, passes, ApprovedBy::Session));
        }
        Err(Stopped::Ask(Box::new(NeedsApproval { ceiling: raised.map_or(passes, |raised| raised.max(passes)), call })))
    }

    /// Whether [`Self::pass`] would pass the call.
    ///
    /// # Errors
    /// [`Stopped::Denied`] where a rule forbids the call.
    pub fn judge(&self, call: &AssessedCall, setting: Setting, now: Timestamp) -> Result<bool, Stopped> {
        if let Some(why) = &call.deny {
            return Err(Stopped::Denied { tool: call.tool().name.clone(), why: why.clone() });
        }
        let base = Self::base(call, now);
        Ok(call.risk() <= Self::passes(base, setting)
            || Self::raised(call, setting).is_some_and(|to| call.risk() <= to))
    }

    /// In a plan `medium` asks too.
    fn passes(base: Risk, setting: Setting) -> Risk {
        if setting.in_plan { base.min(Risk::Low) } else { base }
    }

    /// The operator's rules bind whoever raises a session's ceiling, and nothing destructive passes by it.
    fn raised(call: &AssessedCall, setting: Setting) -> Option<Risk> {
        setting.session.filter(|_| call.ceiling.is_none() && !call.is_destructive())
    }

    /// Passes a call that a person has approved, exactly as it was asked about.
    ///
    /// # Errors
    /// [`Stale`] where the call, its skill, the policy or the time is not what the answer is bound to.
    pub fn redeem(&self, call: AssessedCall, answer: &Answer, now: Timestamp) -> Result<ApprovedCall, Stale> {
        if let Some(why) = &call.deny {
            return Err(Stale::Denied(why.clone()));
        }
        if answer.question().policy() != call.policy().version() {
            return Err(Stale::Policy);
        }
        if answer.question().skill_digest() != call.skill.package().digest() {
            return Err(Stale::Skill);
        }
        if now >= answer.start_by() {
            return Err(Stale::Late);
        }
        if !answer.fits(&call) {
            return Err(Stale::Other);
        }
        let base = Self::base(&call, now);
        Ok(ApprovedCall::new(call, base, ApprovedBy::Person { approval: answer.id(), by: answer.by().to_vec() }))
    }

    /// Passes a step of a plan that a person has approved as a whole, where it is exactly that step.
    ///
    /// # Errors
    /// As [`Self::redeem`].
    pub fn redeem_step(
        &self,
        call: AssessedCall,
        step: usize,
        answer: &Answer,
        now: Timestamp,
    ) -> Result<ApprovedCall, Stale> {
        if let Some(why) = &call.deny {
            return Err(Stale::Denied(why.clone()));
        }
        if answer.question().policy() != call.policy().version() {
            return Err(Stale::Policy);
        }
        let Some(asked) = answer.question().steps().get(step) else { return Err(Stale::Other) };
        if asked.skill_digest != *call.skill.package().digest() {
            return Err(Stale::Skill);
        }
        let request = &call.request;
        let same = answer.question().kind() == Kind::Plan
            && asked.tool == call.tool().name
            && asked.arguments == request.arguments.digest()
            && asked.risk >= call.risk()
            && answer.question().is_of(&request.principal);
        if !same {
            return Err(Stale::Other);
        }
        let base = Self::base(&call, now).min(Risk::Low);
        Ok(ApprovedCall::new(call, base, ApprovedBy::Person { approval: answer.id(), by: answer.by().to_vec() }))
    }

    /// Passes a call that a standing yes of a person covers. [`crate::Desk::mint`] gives the evidence.
    #[must_use]
    pub(crate) fn pass_granted(&self, call: AssessedCall, grant: GrantId, now: Timestamp) -> ApprovedCall {
        let base = Self::base(&call, now);
        ApprovedCall::new(call, base, ApprovedBy::Grant(grant))
    }

    fn base(call: &AssessedCall, now: Timestamp) -> Risk {
        let ceiling = call.policy().ceiling(now);
        call.ceiling.map_or(ceiling, |lowered| lowered.min(ceiling))
    }
}

/// What let a call pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApprovedBy {
    /// Its risk is not above the ceiling.
    Itself,
    /// A person raised the ceiling of its session.
    Session,
    /// A person's standing yes.
    Grant(GrantId),
    /// A person, this once.
    Person {
        /// The answer.
        approval: ApprovalId,
        /// Who; two, where two have to.
        by: Vec<UserId>,
    },
}

/// Evidence that a call may run, with exactly these arguments. Made by the gate only, used up by running it.
#[derive(Debug)]
pub struct ApprovedCall {
    request: Arc<CallRequest>,
    skill: Arc<InstalledSkill>,
    tool: usize,
    risk: Risk,
    effects: Risk,
    by: ApprovedBy,
}

impl ApprovedCall {
    fn new(call: AssessedCall, base: Risk, by: ApprovedBy) -> Self {
        let risk = call.risk();
        let effects = match by {
            // The person saw the risk, and said yes to it.
            ApprovedBy::Person { .. } => base.max(risk),
            // What was allowed in advance never covers destruction, whatever the tool declares.
            ApprovedBy::Itself | ApprovedBy::Session | ApprovedBy::Grant(_) => base.max(risk.min(Risk::Medium)),
        };
        Self { request: Arc::new(call.request), skill: call.skill, tool: call.tool, risk, effects, by }
    }

    /// The call, with the exact arguments that were approved.
    #[must_use]
    pub fn request(&self) -> &CallRequest {
        &self.request
    }

    /// The skill that runs.
    #[must_use]
    pub fn skill(&self) -> &Arc<InstalledSkill> {
        &self.skill
    }

    /// The tool that runs.
    #[must_use]
    pub fn tool(&self) -> &Tool {
        &self.skill.manifest().tools[self.tool]
    }

    /// The risk that was approved.
    #[must_use]
    pub fn risk(&self) -> Risk {
        self.risk
    }

    /// The highest risk of a request of the running skill that needs no further question.
    #[must_use]
    pub fn effects(&self) -> Risk {
        self.effects
    }

    /// What a question about one of its requests is made of.
    #[must_use]
    pub fn subject(&self) -> Subject {
        Subject { request: Arc::clone(&self.request), skill: Arc::clone(&self.skill), tool: self.tool, risk: self.risk }
    }

    /// What let it pass.
    #[must_use]
    pub fn by(&self) -> &ApprovedBy {
        &self.by
    }
}

/// A call that runs, as far as questions about its requests need it. Not evidence: it lets nothing run.
#[derive(Debug, Clone)]
pub struct Subject {
    pub(crate) request: Arc<CallRequest>,
    pub(crate) skill: Arc<InstalledSkill>,
    pub(crate) tool: usize,
    pub(crate) risk: Risk,
}

/// Why a call does not pass by itself.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// A person has to decide.
    #[error(transparent)]
    Ask(Box<NeedsApproval>),
    /// A rule of the operator forbids it.
    #[error("{tool}: the operator does not allow this call: {why}")]
    Denied {
        /// The tool.
        tool: ToolName,
        /// The rule's reason.
        why: String,
    },
}

/// The call is above what passes by itself.
#[derive(Debug, thiserror::Error)]
#[error("{}: the call is of risk {}, and above {ceiling} a person has to approve it ({})",
    .call.tool().name, .call.risk(), list(.call.reasons()))]
pub struct NeedsApproval {
    /// The highest risk that would have passed.
    pub ceiling: Risk,
    /// The call.
    pub call: AssessedCall,
}

pub(crate) fn list(reasons: &[Reason]) -> String {
    reasons.iter().map(|reason| reason.why.as_str()).collect::<Vec<_>>().join("; ")
}

/// An answer that is not good for a call any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stale {
    /// The skill was updated or installed anew.
    #[error("the skill has changed since the question was asked")]
    Skill,
    /// A connection whose fields stand for arguments was changed.
    #[error("the connection that the call takes values from has changed since the question was asked")]
    Connection,
    /// The operator's policy has changed.
    #[error("the operator's policy has changed since the question was asked")]
    Policy,
    /// A rule of the operator forbids the call now.
    #[error("the operator does not allow this call: {0}")]
    Denied(String),
    /// It was approved, and did not begin in time.
    #[error("the call was approved, but could not begin in time")]
    Late,
    /// It is not the call that was asked about.
    #[error("the answer is to another question")]
    Other,
}

impl Fault for NeedsApproval {
    fn stage(&self) -> Stage {
        Stage::Gate
    }
    fn kind(&self) -> FaultKind {
        FaultKind::NeedsApproval
    }
    fn code(&self) -> &'static str {
        "approval_required"
    }
    fn hint(&self) -> Option<String> {
        Some(format!(
            "call a tool of risk {} or lower, or narrow what this tool may do in the skill's manifest",
            self.ceiling
        ))
    }
}

/// Whether a question has to be put to two people.
pub(crate) fn needs_two(question: &Question, policy: &Policy) -> bool {
    policy.config().two_people_for_critical && question.risk() == Risk::Critical
}
