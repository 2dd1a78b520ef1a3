//! Several calls that are asked for at once: gated once, run one after the other.
//!
//! Promises: a plan in which any step is of risk `medium` or above waits for a person as a whole, and so does one that
//! lists more than the bulk threshold; each step runs with exactly the arguments that were shown. A step that refers to
//! an earlier result does so in places that it declares; with the result in place it is checked and assessed anew, and
//! from `medium` on a person is asked about it by itself.

mod shape;
#[cfg(test)]
mod tests;

pub use shape::{PlanStep, Reference, check_plan};

use crate::api::{ApprovalRef, CallStatus, CallView, Results};
use crate::{CallError, Executor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shape::Step;
use sophon_approval::{
    Answer, ApprovedBy, Asked, AssessedCall, DeskError, FromConnection, Policy, Question, Reason, Setting, Status,
    StepAsked, Told, Waiting, weight,
};
use sophon_audit::{Action, CallChange, Outcome, Record};
use sophon_store::{BegunPlan, PlanRow};
use sophon_types::{
    ApprovalId, CallId, CanonicalJson, CorrelationId, Digest, Fault as _, PlanId, Principal, Risk, Role, SessionId,
    Timestamp, ToolName,
};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;

/// Unfinished plans of one user.
const MOST_PLANS: u32 = 20;
/// What the vault seals for.
const PURPOSE: &str = "plan";

/// What becomes of a plan when a step fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// The steps after it do not run.
    #[default]
    Stop,
    /// The steps after it run, but for those that refer to it.
    Continue,
}

/// A plan as it comes from an edge.
#[derive(Debug, Clone)]
pub struct PlanRequest {
    /// The steps, in their order.
    pub steps: Vec<PlanStep>,
    /// What a failure means for the rest.
    pub on_failure: OnFailure,
    /// The agent's session.
    pub session: Option<SessionId>,
    /// The same key with the same steps is the same plan, for 24 hours.
    pub idempotency_key: Option<String>,
    /// How long to wait for the end.
    pub wait: Duration,
    /// What it belongs to.
    pub correlation: CorrelationId,
    /// What the caller may have.
    pub results: Results,
}

/// A step as its caller sees it.
#[derive(Debug, Clone)]
pub struct StepView {
    /// Its name.
    pub name: String,
    /// The tool.
    pub tool: ToolName,
    /// Its call; it is known before it runs.
    pub call_id: CallId,
    /// The call, once there is one.
    pub call: Option<CallView>,
}

/// A plan as its caller sees it.
#[derive(Debug, Clone)]
pub struct PlanView {
    /// The plan.
    pub plan_id: PlanId,
    /// Where it stands; `failed` where any step did.
    pub status: CallStatus,
    /// The question that it waits for.
    pub approval: Option<ApprovalRef>,
    /// The steps.
    pub steps: Vec<StepView>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// A plan at rest, sealed by the vault.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Plan {
    steps: Vec<Step>,
    on_failure: OnFailure,
    session: Option<SessionId>,
    role: Role,
}

/// A plan that goes on.
struct Going {
    id: PlanId,
    principal: Principal,
    correlation: CorrelationId,
    plan: Plan,
}

/// The plans that go on, and those who wait for their end.
#[derive(Default)]
pub(crate) struct Ends(parking_lot::Mutex<HashMap<PlanId, watch::Sender<Option<ApprovalRef>>>>);

/// A plan that is about to go on. Dropped before it does, it is known no more.
struct Known<'e> {
    plans: &'e Ends,
    id: Option<PlanId>,
}

impl Drop for Known<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.plans.0.lock().remove(&id);
        }
    }
}

impl Executor {
    /// Takes a plan, asks a person about it where that is needed, and runs it; waits for its end as long as the caller
    /// asks, unless a person has to decide.
    ///
    /// # Errors
    /// [`CallError`] where the plan was refused; nothing of it has run.
    pub async fn plan(&self, principal: &Principal, request: PlanRequest) -> Result<PlanView, CallError> {
        let (wait, results) = (request.wait, request.results);
        if self.0.draining.load(Ordering::SeqCst) {
            return Err(CallError::ShuttingDown);
        }
        // A task of its own: it goes on when whoever asked hangs up.
        let (executor, owner) = (self.clone(), principal.clone());
        let submitted = self.0.tasks.spawn(async move { executor.submit(&owner, request).await });
        let (id, asks) = submitted.await.map_err(|_panic| CallError::Lost)??;
        self.plan_status(principal, id, if asks { Duration::ZERO } else { wait }, results).await
    }

    /// Where a plan of this caller stands, after waiting for its end up to `patience`.
    ///
    /// # Errors
    /// [`CallError::UnknownPlan`] where the caller has no such plan.
    pub async fn plan_status(
        &self,
        principal: &Principal,
        id: PlanId,
        patience: Duration,
        results: Results,
    ) -> Result<PlanView, CallError> {
        let found = || async { self.0.parts.store.plans().get(id).await };
        let mut row = found().await?.ok_or(CallError::UnknownPlan)?;
        let own = row.user == principal.user || principal.role == Role::Admin;
        if row.tenant != principal.tenant || !own {
            return Err(CallError::UnknownPlan);
        }
        let going = self.0.plans.0.lock().get(&id).map(watch::Sender::subscribe);
        let mut approval = None;
        if let Some(mut going) = going.filter(|_| row.finished_at.is_none()) {
            // The sender goes with the plan's end.
            let ended = tokio::time::timeout(patience, async { while going.changed().await.is_ok() {} }).await.is_ok();
            if ended {
                row = found().await?.ok_or(CallError::UnknownPlan)?;
            }
            approval = *going.borrow();
        }
        self.plan_view(row, approval, results).await
    }

    async fn plan_view(
        &self,
        row: PlanRow,
        approval: Option<ApprovalRef>,
        results: Results,
    ) -> Result<PlanView, CallError> {
        let plan = self.unseal_plan(&row)?;
        let mut steps = Vec::with_capacity(plan.steps.len());
        for step in plan.steps {
            let call = match self.0.parts.store.calls().get(step.call).await? {
                Some(call) => {
                    let view = self.look(call).await?;
                    Some(CallView { output: view.output.map(|output| output.for_caller(results)), ..view })
                }
                None => None,
            };
            steps.push(StepView { name: step.name, tool: step.tool, call_id: step.call, call });
        }
        let status = CallStatus::named(&row.status).unwrap_or(CallStatus::UnknownOutcome);
        let approval = approval.filter(|_| row.finished_at.is_none() && status == CallStatus::AwaitingApproval);
        Ok(PlanView {
            plan_id: row.id,
            status,
            approval,
            steps,
            created_at: row.created_at,
            finished_at: row.finished_at,
        })
    }

    /// Makes a plan durable and begins it; says whether a person has to decide first.
    async fn submit(&self, principal: &Principal, request: PlanRequest) -> Result<(PlanId, bool), CallError> {
        let inner = &self.0;
        check_plan(&request.steps)?;
        let setting = Setting { in_plan: true, ..self.setting(principal, request.session).await? };
        let id = PlanId::mint(&*inner.parts.entropy);
        let mut steps = Vec::with_capacity(request.steps.len());
        for step in &request.steps {
            steps.push(Step {
                name: step.name.clone(),
                tool: step.tool.parse()?,
                call: CallId::mint_at(inner.parts.clock.now(), &*inner.parts.entropy),
                arguments: step.arguments.as_str().to_owned(),
                references: step.references.clone(),
            });
        }
        let plan = Plan { steps, on_failure: request.on_failure, session: request.session, role: principal.role };
        let going = Going { id, principal: principal.clone(), correlation: request.correlation, plan };
        // One for all steps, and for the question.
        let policy = inner.gate.policy();
        let mut assessed = Vec::with_capacity(going.plan.steps.len());
        for (step, asked) in going.plan.steps.iter().zip(&request.steps) {
            let checked = step.references.is_empty();
            let call = self.step_assessed(&going, step, (asked.arguments.clone(), checked), &policy).await;
            assessed.push(call.map_err(|error| CallError::Step { name: step.name.clone(), cause: Box::new(error) })?.0);
        }
        let mut defaults = Vec::with_capacity(assessed.len());
        for call in &assessed {
            defaults.push(self.taken(call).await?);
        }
        let (asks, body, question) = self.weigh(&going, (assessed, defaults), setting, &policy)?;
        let now = inner.steady.now();
        let sealed = serde_json::to_vec(&going.plan).unwrap_or_default();
        let row = PlanRow {
            id,
            tenant: principal.tenant.clone(),
            user: principal.user.clone(),
            key: principal.key,
            correlation: request.correlation,
            idempotency_key: request.idempotency_key,
            request_digest: body.digest(),
            status: if asks { CallStatus::AwaitingApproval } else { CallStatus::Running }.as_str().to_owned(),
            body: inner.parts.vault.seal(PURPOSE, id.as_bytes(), &sealed)?,
            created_at: now,
            finished_at: None,
            expires_at: now.plus(crate::call::KEPT),
        };
        let digest = row.request_digest;
        // Known before it is durable: a row that nobody knows is one that nobody goes on with.
        let mut known = Known { plans: &inner.plans, id: Some(id) };
        inner.plans.0.lock().insert(id, watch::Sender::new(None));
        match inner.parts.store.plans().begin(row, MOST_PLANS, now).await? {
            BegunPlan::Inserted => {}
            BegunPlan::Existing(twin) if twin.request_digest == digest => return Ok((twin.id, asks)),
            BegunPlan::Existing(_other) => return Err(CallError::IdempotencyMismatch),
            BegunPlan::TooMany => return Err(DeskError::TooMany(MOST_PLANS as usize, "user (plans)").into()),
        }
        let intent = going.record(Action::PlanIntent, Outcome::Intent);
        if !asks {
            // Before anybody is told that it runs: what cannot be recorded is refused like a single call.
            if let Err(refused) = inner.parts.audit.append(intent).await {
                self.withdraw_plan(id).await;
                return Err(refused.into());
            }
            known.id = None;
            self.carry_out(going, None);
            return Ok((id, false));
        }
        match inner.desk.ask(question.clone(), None, intent, now).await {
            Ok(Asked::New(waiting)) => {
                known.id = None;
                self.await_answer(going, waiting, Some(&question));
                Ok((id, true))
            }
            Ok(Asked::Twin(_)) => Err(CallError::Lost),
            Err(error @ DeskError::Audit(_)) => {
                self.withdraw_plan(id).await;
                Err(error.into())
            }
            Err(error) => {
                self.end_plan(&going, CallStatus::Failed, Some(error.code())).await;
                Err(error.into())
            }
        }
    }

    /// Takes back a plan of which nothing has run, and that is refused.
    async fn withdraw_plan(&self, id: PlanId) {
        if let Err(error) = self.0.parts.store.plans().withdraw(id).await {
            // Nobody goes on with it: it is ended with the next sweep.
            tracing::error!(%error, plan = %id, "the row of a refused plan could not be removed");
        }
    }

    /// A step's call, found and assessed; validated where its arguments are complete.
    async fn step_assessed(
        &self,
        going: &Going,
        step: &Step,
        (arguments, complete): (CanonicalJson, bool),
        policy: &Arc<Policy>,
    ) -> Result<(AssessedCall, Record, Arc<crate::catalogue::Ready>, usize), CallError> {
        let (ready, index) = self.resolve(&going.principal, &step.tool)?;
        if complete {
            self.validate(&going.principal, &ready, index, &arguments).await?;
        }
        let asked = sophon_approval::CallRequest {
            principal: going.principal.clone(),
            call: step.call,
            correlation: going.correlation,
            session: going.plan.session,
            arguments,
        };
        let record = self.record(&going.principal, &ready, index, &asked).detail("plan", going.id.to_string());
        let (assessed, record) = self.assessed(asked, (&ready, index), record, policy)?;
        Ok((assessed, record, ready, index))
    }

    /// Whether a plan has to be put to a person, its canonical text, and the question.
    fn weigh(
        &self,
        going: &Going,
        (assessed, defaults): (Vec<AssessedCall>, Vec<Vec<FromConnection>>),
        setting: Setting,
        policy: &Policy,
    ) -> Result<(bool, CanonicalJson, Question), CallError> {
        let (gate, now) = (&self.0.gate, self.0.parts.clock.now());
        let items: usize = assessed.iter().map(|call| weight(call.request().arguments.value())).sum();
        let bulk = items > policy.bulk_threshold();
        let mut asks = bulk && setting.session.is_none_or(|raised| raised < Risk::High);
        let mut reasons = Vec::new();
        if bulk {
            let why = format!("bulk: {items} steps and items, more than {}", policy.bulk_threshold());
            reasons.push(Reason { risk: Risk::High, why });
        }
        let mut steps = Vec::with_capacity(assessed.len());
        let mut gravest: Option<&AssessedCall> = None;
        for ((call, step), defaults) in assessed.iter().zip(&going.plan.steps).zip(defaults) {
            match gate.judge(call, setting, now) {
                Ok(passes) => asks |= !passes,
                Err(stopped) => return Err(CallError::PolicyDenied { message: stopped.to_string() }),
            }
            reasons.extend(
                call.reasons()
                    .iter()
                    .map(|reason| Reason { risk: reason.risk, why: format!("{}: {}", step.name, reason.why) }),
            );
            if gravest.is_none_or(|so_far| call.risk() > so_far.risk()) {
                gravest = Some(call);
            }
            steps.push(StepAsked {
                tool: step.tool.clone(),
                skill_digest: *call.skill().package().digest(),
                arguments: call.request().arguments.digest(),
                risk: call.risk(),
                defaults,
            });
        }
        reasons.sort_by_key(|reason| std::cmp::Reverse(reason.risk));
        let risk = reasons.iter().map(|reason| reason.risk).max().unwrap_or(Risk::Critical);
        let shown: Vec<Value> = going.plan.steps.iter().map(Step::shown).collect();
        let body = CanonicalJson::of(serde_json::json!({"steps": shown, "on_failure": going.plan.on_failure}))?;
        let gravest = gravest.ok_or(CallError::PlanShape { message: "a plan has at least one step".into() })?;
        let expires = self.0.steady.now().plus(policy.timeout());
        let question = Question::call(gravest, policy.version(), expires, &*self.0.parts.entropy);
        Ok((asks, body.clone(), Question::plan(going.id, question, &body, steps, (risk, reasons))))
    }

    /// Goes on with a plan when a person has decided, in a task that a shutdown does not wait for.
    fn await_answer(&self, going: Going, mut waiting: Waiting, question: Option<&Question>) {
        let approval = ApprovalRef { id: waiting.id, expires_at: waiting.expires_at };
        self.0.plans.0.lock().entry(going.id).or_insert_with(|| watch::Sender::new(None)).send_replace(Some(approval));
        if let Some(question) = question {
            self.announce_question(approval, question);
        }
        let executor = self.clone();
        tokio::spawn(async move {
            match waiting.answer().await {
                Some(Told::Approved(answer)) => executor.carry_out(going, Some(*answer)),
                Some(Told::Over(status)) => {
                    let status = match status {
                        Status::Rejected => CallStatus::Rejected,
                        Status::Expired => CallStatus::Expired,
                        _ => CallStatus::Cancelled,
                    };
                    executor.end_plan(&going, status, Some(status.as_str())).await;
                }
                // The host stops: the plan waits on, in the store.
                None => {}
            }
        });
    }

    /// Runs a plan's steps, in a task of its own that a shutdown waits for.
    fn carry_out(&self, going: Going, answer: Option<Answer>) {
        if self.0.draining.load(Ordering::SeqCst) {
            // Its approval is durable and not used: the next start runs it, where that is still in time.
            return;
        }
        let executor = self.clone();
        self.0.tasks.spawn(async move {
            let (status, code) = match executor.steps(&going, answer.as_ref()).await {
                Ok(status) => (status, None),
                Err(error) => {
                    tracing::warn!(%error, plan = %going.id, "a plan could not go on");
                    (CallStatus::Failed, Some(error.code()))
                }
            };
            executor.end_plan(&going, status, code).await;
        });
    }

    async fn steps(&self, going: &Going, answer: Option<&Answer>) -> Result<CallStatus, CallError> {
        let inner = &self.0;
        if let Some(answer) = answer {
            inner.desk.start(answer, inner.steady.now()).await?;
            inner.parts.store.plans().change(going.id, CallStatus::Running.as_str()).await?;
            let by: Vec<String> = answer.by().iter().map(ToString::to_string).collect();
            let record = going.record(Action::PlanIntent, Outcome::Intent);
            let record = record.detail("approval", answer.id().to_string()).detail("approved_by", by);
            inner.parts.audit.append(record).await?;
        }
        let mut results: HashMap<&str, Value> = HashMap::new();
        let (mut failed, mut items) = (false, 0);
        for (n, step) in going.plan.steps.iter().enumerate() {
            if inner.draining.load(Ordering::SeqCst) {
                return Ok(CallStatus::Cancelled);
            }
            match self.step(going, n, step, answer, &results, &mut items).await {
                // What has let go of its result has none that the next step could go on with.
                Ok(view) if view.status == CallStatus::Succeeded && view.error.is_none() => {
                    let result = view.output.and_then(|output| output.result().cloned());
                    results.insert(&step.name, result.unwrap_or_default());
                }
                Ok(_ended) => failed = true,
                Err(error) => {
                    failed = true;
                    self.refuse_step(going, step, &error).await?;
                }
            }
            if failed && going.plan.on_failure == OnFailure::Stop {
                break;
            }
        }
        Ok(if failed { CallStatus::Failed } else { CallStatus::Succeeded })
    }

    /// One step, from its arguments to its end.
    async fn step(
        &self,
        going: &Going,
        n: usize,
        step: &Step,
        answer: Option<&Answer>,
        results: &HashMap<&str, Value>,
        items: &mut usize,
    ) -> Result<CallView, CallError> {
        let inner = &self.0;
        let arguments = step.filled(results)?;
        *items += weight(arguments.value());
        let policy = inner.gate.policy();
        let (assessed, record, ready, index) = self.step_assessed(going, step, (arguments, true), &policy).await?;
        let mut shown = None;
        let approved = match answer.filter(|_| step.references.is_empty()) {
            Some(answer) => {
                shown = answer.question().steps().get(n).map(|asked| asked.defaults.clone());
                let approved = inner.gate.redeem_step(assessed, n, answer, inner.steady.now());
                approved.map_err(DeskError::Superseded)?
            }
            // What a result has put into it is not covered by anything that was allowed in advance.
            None if !step.references.is_empty() => {
                let setting = Setting { in_plan: true, ..Setting::default() };
                let more = *items > policy.bulk_threshold();
                match inner.gate.judge(&assessed, setting, inner.parts.clock.now()) {
                    Ok(passes) if passes && !more => {}
                    Ok(_asks) => return self.ask_and_wait(going.id, assessed, record).await,
                    Err(stopped) => return Err(CallError::PolicyDenied { message: stopped.to_string() }),
                }
                let passed = inner.gate.pass(assessed, setting, inner.parts.clock.now());
                passed.map_err(|stopped| CallError::PolicyDenied { message: stopped.to_string() })?
            }
            None => {
                let setting = Setting { in_plan: true, ..self.setting(&going.principal, going.plan.session).await? };
                match self.gated(assessed, setting, &record).await? {
                    Ok(approved) => {
                        // A standing yes was given to no connection's value.
                        shown = matches!(approved.by(), ApprovedBy::Grant(_)).then(Vec::new);
                        approved
                    }
                    // A person decides about this step by itself.
                    Err(assessed) => return self.ask_and_wait(going.id, *assessed, record).await,
                }
            }
        };
        self.run_step(&going.principal, approved, (ready, index), record, shown).await
    }

    /// Puts a step that could not be run on record, so that its call has an end.
    async fn refuse_step(&self, going: &Going, step: &Step, error: &CallError) -> Result<(), CallError> {
        let record = Record::new(Action::CallRefused, crate::outcome::refusal(error))
            .principal(&going.principal)
            .tool(&step.tool)
            .call(step.call)
            .correlation(going.correlation)
            .detail("plan", going.id.to_string())
            .detail("step", step.name.as_str());
        self.0.parts.audit.append(record).await?;
        self.note_refused(&going.principal, step.call, &step.tool, going.correlation, error).await
    }

    /// Gives a plan its last state, durably, and tells those who wait.
    async fn end_plan(&self, going: &Going, status: CallStatus, code: Option<&str>) {
        let outcome = match (status, code) {
            (CallStatus::Succeeded, _) => Outcome::Ok,
            (CallStatus::Rejected | CallStatus::Expired | CallStatus::Cancelled, _) => Outcome::denied(status.as_str()),
            (_, code) => Outcome::failed(code.unwrap_or("step_failed").to_owned()),
        };
        let (record, at) = (going.record(Action::PlanOutcome, outcome), self.0.parts.clock.now());
        let change = CallChange::EndPlan { id: going.id, status: status.as_str().to_owned(), at };
        let mut pauses = [50, 600].map(Duration::from_millis).into_iter();
        // Where it had ended before, it was an earlier try whose answer was lost.
        while let Err(error) = self.0.parts.audit.append_with(record.clone(), change.clone()).await {
            tracing::error!(%error, plan = %going.id, "the end of a plan could not be recorded");
            if self.has_ended(going.id).await {
                // A sink that is required did not take the record; it and the plan's end are in the database.
                break;
            }
            // Where it cannot be, a later sweep, or the next start, finds it unfinished, and says that it was cut short.
            let Some(pause) = pauses.next() else { break };
            tokio::time::sleep(pause).await;
        }
        self.0.plans.0.lock().remove(&going.id);
    }

    async fn has_ended(&self, id: PlanId) -> bool {
        let found = self.0.parts.store.plans().get(id).await;
        matches!(found, Ok(Some(row)) if row.finished_at.is_some())
    }

    /// Ends plans that nobody goes on with: their end could not be written when it came.
    pub(crate) async fn end_lost_plans(&self) -> Result<(), CallError> {
        for row in self.0.parts.store.plans().unfinished().await? {
            // It is known until its end is durable; what ended since the list was made is not lost.
            if self.0.plans.0.lock().contains_key(&row.id) || self.has_ended(row.id).await {
                continue;
            }
            let Ok(going) = self.going(&row) else { continue };
            if row.status == CallStatus::AwaitingApproval.as_str() {
                self.end_plan(&going, CallStatus::Cancelled, None).await;
            } else {
                self.end_plan(&going, CallStatus::UnknownOutcome, Some("unknown_outcome")).await;
            }
        }
        Ok(())
    }

    /// After a start: plans that wait go on waiting, approved ones are given back to be run, and those that were in the
    /// middle are over.
    pub(crate) async fn take_up_plans(&self, open: &HashMap<PlanId, ApprovalId>) -> Result<(), CallError> {
        for row in self.0.parts.store.plans().unfinished().await? {
            // One that cannot be read, which is logged, does not keep the host from starting.
            let Ok(going) = self.going(&row) else { continue };
            let waits = row.status == CallStatus::AwaitingApproval.as_str();
            let waiting = open.get(&row.id).filter(|_| waits).and_then(|id| self.0.desk.wait_for(*id));
            match waiting {
                Some(waiting) => {
                    self.0.plans.0.lock().insert(row.id, watch::Sender::new(None));
                    self.await_answer(going, waiting, None);
                }
                None if waits => self.end_plan(&going, CallStatus::Cancelled, None).await,
                None => self.end_plan(&going, CallStatus::UnknownOutcome, Some("unknown_outcome")).await,
            }
        }
        Ok(())
    }

    /// Ends a plan that waits for an answer which nobody will bring it.
    pub(crate) async fn end_lost_plan(&self, id: &str) -> Result<(), CallError> {
        let rows = self.0.parts.store.plans().unfinished().await?;
        if let Some(row) = rows.iter().find(|row| row.id.to_string() == id) {
            self.end_plan(&self.going(row)?, CallStatus::Cancelled, None).await;
        }
        Ok(())
    }

    /// A plan as its row has it.
    fn going(&self, row: &PlanRow) -> Result<Going, CallError> {
        let plan = self.unseal_plan(row)?;
        let principal = Principal { tenant: row.tenant.clone(), user: row.user.clone(), key: row.key, role: plan.role };
        Ok(Going { id: row.id, principal, correlation: row.correlation, plan })
    }

    fn unseal_plan(&self, row: &PlanRow) -> Result<Plan, CallError> {
        let plain = self.0.parts.vault.unseal(PURPOSE, row.id.as_bytes(), &row.body)?;
        serde_json::from_slice(&plain).map_err(|error| {
            tracing::error!(%error, plan = %row.id, "a plan cannot be read");
            CallError::Vault(sophon_vault::VaultError::Incomplete("a plan"))
        })
    }
}

impl Going {
    fn record(&self, action: Action, outcome: Outcome) -> Record {
        let steps: Vec<Value> = self
            .plan
            .steps
            .iter()
            .map(|step| {
                let digest = Digest::of(step.arguments.as_bytes()).to_string();
                serde_json::json!({"call": step.call, "tool": step.tool, "arguments_digest": digest})
            })
            .collect();
        Record::new(action, outcome)
            .principal(&self.principal)
            .correlation(self.correlation)
            .detail("plan", self.id.to_string())
            .detail("steps", steps)
    }
}
