//! What a person decides, and what follows from it.

use crate::api::{ApprovalRef, CallStatus, CallView};
use crate::events::{self, Event, Owner, Subject};
use crate::flight::Flight;
use crate::outcome::Ending;
use crate::recovery::of_row;
use crate::{CallError, Executor};
use serde_json::Value;
use sophon_approval::{
    Answer, Card, Change, Covered, Decision, DeskError, Kind, Listing, Question, Stale, Status, Terms, Told, Untold,
    changes,
};
use sophon_audit::{Action, CallChange, Outcome};
use sophon_store::{CallRow, GrantRow, Part, SessionRow, Sessions};
use sophon_types::{
    ApprovalId, CallId, CanonicalJson, Digest, Fault, FaultKind, GrantId, PlanId, Principal, Risk, Role, SessionId,
    Stage, ToolName, UserId,
};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often it is looked for questions whose time is over.
const TICK: Duration = Duration::from_millis(250);

/// For how much a yes is good.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scope {
    /// For this once.
    #[default]
    Once,
    /// For calls of the same tool in the same session, too.
    Session,
}

/// A person's yes.
#[derive(Debug, Clone, Default)]
pub struct Approve {
    /// The arguments as the person has changed them.
    pub arguments: Option<CanonicalJson>,
    /// The fingerprint of the card that the person saw.
    pub fingerprint: Option<Digest>,
    /// For how much it is good.
    pub scope: Scope,
}

/// A question as a person sees it.
#[derive(Debug, Clone)]
pub struct ApprovalView {
    /// The question, and its answer where there is one.
    pub card: Card,
    /// What a person has changed in the arguments.
    pub edited: Vec<Change>,
    /// What differs from the last time that this user's call of the tool was approved; nothing, where it never was.
    pub since_last_time: Option<Vec<Change>>,
    /// Whether a second person has to approve as well.
    pub second_person_needed: bool,
}

impl Executor {
    /// The questions that this caller may see, the newest first.
    ///
    /// # Errors
    /// [`CallError`] where the store cannot be read.
    pub async fn approvals(&self, by: &Principal, listing: Listing) -> Result<Vec<ApprovalView>, CallError> {
        let cards = self.0.desk.list(by, listing).await?;
        Ok(cards.into_iter().map(|card| self.seen(card, None)).collect())
    }

    /// A question that this caller may see.
    ///
    /// # Errors
    /// [`CallError`] where there is none.
    pub async fn approval(&self, by: &Principal, id: ApprovalId) -> Result<ApprovalView, CallError> {
        let card = self.0.desk.card(by, id).await?;
        let since_last_time = self.0.desk.since_last_time(by, &card).await?;
        Ok(self.seen(card, since_last_time))
    }

    fn seen(&self, card: Card, since_last_time: Option<Vec<Change>>) -> ApprovalView {
        let edited = match &card.answer {
            Some(answer) if answer.is_edited() => {
                changes(&value(card.question.arguments()), &value(answer.arguments()))
            }
            _ => Vec::new(),
        };
        let second = card.status == Status::Pending && card.row.first_by.is_some();
        ApprovalView { second_person_needed: second, card, edited, since_last_time }
    }

    /// Takes a person's yes, and begins what was approved.
    ///
    /// # Errors
    /// [`CallError`]; nothing has begun then, and it is on record.
    pub async fn approve(&self, by: &Principal, id: ApprovalId, yes: Approve) -> Result<ApprovalView, CallError> {
        // Taken before the question: a drain either waits for what begins or is seen by it.
        let token = self.0.tasks.token();
        if self.0.draining.load(Ordering::SeqCst) {
            return Err(CallError::ShuttingDown);
        }
        let (desk, now) = (&self.0.desk, self.0.steady.now());
        let card =
            self.on_record(by, Action::ApprovalRefused, desk.card(by, id).await.map_err(CallError::from)).await?;
        let question = card.question.clone();
        if card.status == Status::Pending
            && now < question.expires_at()
            && let Err(error) = self.check_yes(&question, &yes).await
        {
            return Err(self.refuse_yes(by, &card, error).await);
        }
        let decision = Decision::Approve { edited: yes.arguments, seen: yes.fingerprint };
        let told = self.decided(id, desk.decide(by, id, decision, now).await).await?;
        if let Some(Told::Approved(answer)) = told {
            self.announce_decision(&question, id, Status::Approved, Some(&by.user));
            // Whatever becomes of the rest: the yes stands, so what it allows begins.
            self.resume(*answer);
            if yes.scope == Scope::Session {
                desk.grant_for_session(by, &question, now).await?;
            }
        }
        drop(token);
        self.approval(by, id).await
    }

    /// Whether what is approved can still be what was asked about.
    async fn check_yes(&self, question: &Question, yes: &Approve) -> Result<(), CallError> {
        if yes.scope == Scope::Session {
            self.0.desk.may_stand(question)?;
        }
        if yes.arguments.is_some() && !question.is_editable() {
            return Err(DeskError::NotEditable.into());
        }
        if question.policy() != self.0.gate.policy().version() {
            return Err(DeskError::Superseded(Stale::Policy).into());
        }
        if question.kind() != Kind::Call {
            return Ok(());
        }
        let arguments = match &yes.arguments {
            Some(edited) => edited.clone(),
            None => CanonicalJson::parse(question.arguments().as_bytes())?,
        };
        let assessed = match self.assess_again(question, arguments).await {
            // The skill is gone, or its tool is.
            Err(CallError::UnknownTool { .. }) => return Err(DeskError::Superseded(Stale::Skill).into()),
            assessed => assessed?.0,
        };
        if assessed.risk() > question.risk() || (assessed.is_destructive() && !question.is_destructive()) {
            return Err(CallError::Graver { now: assessed.risk(), asked: question.risk() });
        }
        Ok(())
    }

    /// Puts a yes that cannot be taken on record; a question about what is no more is taken back.
    async fn refuse_yes(&self, by: &Principal, card: &Card, error: CallError) -> CallError {
        let record = sophon_audit::Record::new(Action::ApprovalRefused, Outcome::denied(error.code()))
            .principal(by)
            .tool(card.question.tool())
            .correlation(card.question.correlation())
            .detail("approval", card.row.id.to_string());
        let record = match card.question.call_id() {
            Some(call) => record.call(call),
            None => record,
        };
        if let Err(unwritten) = self.0.parts.audit.append(record).await {
            return unwritten.into();
        }
        if matches!(error, CallError::Desk(DeskError::Superseded(_))) {
            self.end_question(card.row.id, Status::Cancelled, "superseded").await;
        }
        error
    }

    /// Takes a person's no.
    ///
    /// # Errors
    /// [`CallError`]; it is on record.
    pub async fn reject(
        &self,
        by: &Principal,
        id: ApprovalId,
        reason: Option<String>,
    ) -> Result<ApprovalView, CallError> {
        let inner = &self.0;
        let decision = Decision::Reject { reason: reason.clone() };
        self.decided(id, inner.desk.decide(by, id, decision, inner.steady.now()).await).await?;
        let view = self.approval(by, id).await?;
        self.over(&view.card.question, id, Status::Rejected, Some((&by.user, reason.as_deref()))).await;
        Ok(view)
    }

    /// Where a decision was refused, the question may be decided all the same: by somebody else, or durably before the refusal
    /// because only a required sink did not take its record. Whoever waits is told then.
    async fn decided(
        &self,
        id: ApprovalId,
        decided: Result<Option<Told>, DeskError>,
    ) -> Result<Option<Told>, DeskError> {
        match &decided {
            Err(DeskError::Decided(_) | DeskError::Expired) => self.tell_untold(id, Untold::Yes).await,
            // What was refused does not begin; a no ends what waits.
            Err(DeskError::Audit(_)) => self.tell_untold(id, Untold::Over).await,
            _ => {}
        }
        decided
    }

    /// Goes on with a question that was decided while nobody was told.
    async fn tell_untold(&self, id: ApprovalId, of: Untold) {
        match self.0.desk.untold(id, of).await {
            Ok(None) => {}
            Ok(Some((card, Told::Over(status)))) => self.over(&card.question, id, status, None).await,
            Ok(Some((card, Told::Approved(answer)))) => {
                self.announce_decision(&card.question, id, Status::Approved, None);
                self.resume(*answer);
            }
            Err(error) => tracing::error!(%error, approval = %id, "it could not be read what became of a question"),
        }
    }

    /// Begins an agent's session.
    ///
    /// # Errors
    /// [`CallError`] where the user has too many.
    pub async fn begin_session(&self, by: &Principal) -> Result<SessionRow, CallError> {
        Ok(self.0.desk.begin_session(by, self.0.steady.now()).await?)
    }

    /// Raises what passes by itself in a session, for a time.
    ///
    /// # Errors
    /// [`CallError`] where the caller has no such session, or asks for too long.
    pub async fn raise_session(
        &self,
        by: &Principal,
        session: SessionId,
        to: Risk,
        lasts: Duration,
    ) -> Result<SessionRow, CallError> {
        let raised = self.0.desk.raise(by, session, to, lasts, self.0.steady.now()).await;
        self.on_record(by, Action::SessionRaise, raised.map_err(CallError::from)).await
    }

    /// The sessions that have not ended and that this caller may see, the newest first.
    ///
    /// # Errors
    /// [`CallError`] where the store cannot be read.
    pub async fn sessions(
        &self,
        by: &Principal,
        which: Sessions,
        part: Part<SessionId>,
    ) -> Result<Vec<SessionRow>, CallError> {
        Ok(self.0.desk.sessions(by, which, part, self.0.steady.now()).await?)
    }

    /// Ends an agent's session at once, with what was allowed in it.
    ///
    /// # Errors
    /// [`CallError`] where the caller has no such session.
    pub async fn end_session(&self, by: &Principal, session: SessionId) -> Result<(), CallError> {
        let ended = self.0.desk.end_session(by, session, self.0.steady.now()).await;
        self.on_record(by, Action::SessionEnd, ended.map_err(CallError::from)).await
    }

    /// Puts on record what was refused to a person; what the desk began and could not do it has on record itself.
    async fn on_record<T>(&self, by: &Principal, action: Action, done: Result<T, CallError>) -> Result<T, CallError> {
        let begins = matches!(action, Action::SessionRaise | Action::GrantCreate);
        let by_the_desk =
            |error: &CallError| matches!(error, CallError::Desk(DeskError::TooMany(..) | DeskError::Store(_)));
        if let Err(error) = &done
            && !matches!(error, CallError::Audit(_) | CallError::Desk(DeskError::Audit(_)))
            && !(begins && by_the_desk(error))
        {
            let record = sophon_audit::Record::new(action, Outcome::denied(error.code())).principal(by);
            self.0.parts.audit.append(record).await?;
        }
        done
    }

    /// Begins what a person has approved, in a task of its own.
    pub(crate) fn resume(&self, answer: Answer) {
        // A request of a running call, or a plan: whoever asked waits for the answer itself.
        self.0.desk.tell_again(answer.clone());
        let Some(call) = answer.question().call_id().filter(|_| answer.question().kind() == Kind::Call) else { return };
        let Some(flight) = self.0.waiting.lock().remove(&call) else {
            tracing::error!(%call, "an approved call does not wait");
            return;
        };
        let executor = self.clone();
        self.0.tasks.spawn(async move {
            let flight = Arc::new(flight);
            if let Err(error) = executor.run_approved(&answer, Arc::clone(&flight)).await {
                executor.give_up(&answer, &flight, error).await;
            }
        });
    }

    /// An approved call that cannot run after all.
    async fn give_up(&self, answer: &Answer, flight: &Flight, error: CallError) {
        let Some(call) = answer.question().call_id() else { return };
        if matches!(error, CallError::ShuttingDown) || self.0.flights.ended() {
            // Its approval is durable and not used: the next start runs it, where that is still in time.
            return;
        }
        let (approval, call_status) = match &error {
            CallError::Desk(DeskError::Superseded(Stale::Denied(_))) => (Status::Cancelled, CallStatus::Denied),
            CallError::Desk(DeskError::Superseded(Stale::Late)) | CallError::OverCapacity => {
                (Status::Expired, CallStatus::Expired)
            }
            _ => (Status::Cancelled, CallStatus::Cancelled),
        };
        let now = self.0.steady.now();
        if let Err(error) = self.0.desk.end(answer.id(), approval, error.code(), now).await {
            tracing::error!(%error, approval = %answer.id(), "an approval that cannot be used could not be ended");
        }
        self.announce_decision(answer.question(), answer.id(), approval, None);
        let view = crate::outcome::refused(&error);
        self.finish_waiting(call, Some(flight), call_status, view).await;
    }

    /// Ends a question without a person, and what waits for it.
    pub(crate) async fn end_question(&self, id: ApprovalId, status: Status, why: &str) {
        match self.0.desk.end(id, status, why, self.0.steady.now()).await {
            Ok(card) => self.over(&card.question, id, status, None).await,
            Err(DeskError::Decided(_)) => self.tell_untold(id, Untold::Over).await,
            Err(error) => tracing::error!(%error, approval = %id, "a question could not be ended"),
        }
    }

    /// Ends questions for which nobody waits, and what they were about: their asking was cut short.
    pub(crate) async fn end_lost_questions(&self) -> Result<(), CallError> {
        for id in self.0.desk.lost().await? {
            match self.0.desk.end(id, Status::Cancelled, "lost", self.0.steady.now()).await {
                Ok(card) => {
                    self.over(&card.question, id, Status::Cancelled, None).await;
                    if card.question.kind() == Kind::Plan {
                        self.end_lost_plan(card.question.subject()).await?;
                    }
                }
                Err(DeskError::Decided(_)) => {}
                Err(error) => tracing::error!(%error, approval = %id, "a question could not be ended"),
            }
        }
        Ok(())
    }

    /// What follows from a no, whoever said it.
    async fn over(&self, question: &Question, id: ApprovalId, status: Status, by: Option<(&UserId, Option<&str>)>) {
        self.announce_decision(question, id, status, by.map(|(by, _)| by));
        let Some(call) = question.call_id().filter(|_| question.kind() == Kind::Call) else { return };
        let flight = self.0.waiting.lock().remove(&call);
        let (status, view) = verdict(status, by.and_then(|(_, reason)| reason));
        self.finish_waiting(call, flight.as_ref(), status, view).await;
    }

    /// Gives a call that has not run its last state, durably, and tells those who wait.
    async fn finish_waiting(&self, call: CallId, flight: Option<&Flight>, status: CallStatus, error: crate::ErrorView) {
        let parts = &self.0.parts;
        let finished = async {
            let row = parts.store.calls().get(call).await?.ok_or(CallError::UnknownCall)?;
            if row.finished_at.is_some() {
                return self.look(row).await;
            }
            let code = error.code.clone();
            let ending = Ending { output: None, error: Some(error) };
            let sealed = ending.seal(&parts.vault, call)?;
            let at = parts.clock.now();
            let record = of_row(&row, Action::CallRefused, Outcome::denied(code));
            let change =
                CallChange::Finish { id: call, status: status.as_str().to_owned(), sealed_result: Some(sealed), at };
            parts.audit.append_with(record, change).await?;
            let owner = Owner { tenant: row.tenant, user: row.user, key: row.key };
            let event = Event::CallFinished { owner, call_id: call, tool: row.tool.clone(), status };
            self.0.events.publish(at, event);
            Ok::<_, CallError>(CallView {
                call_id: call,
                status,
                tool: row.tool,
                risk: None,
                output: None,
                error: ending.error,
                progress: None,
                approval: None,
                created_at: row.created_at,
                finished_at: Some(at),
            })
        };
        match finished.await {
            Ok(view) => {
                if let Some(flight) = flight {
                    flight.finish(view);
                }
            }
            // The row still says that it waits, and its approval that it is over: it is settled later.
            Err(error) => tracing::error!(%error, %call, "the end of a call that waited could not be recorded"),
        }
    }

    /// Settles the row of a call whose question is over, and which was not told.
    pub(crate) async fn settle_undecided(&self, row: &CallRow) -> Result<(), CallError> {
        let subject = row.id.to_string();
        let approval = self.0.parts.store.approvals().of((&row.tenant, &row.user), &subject).await?;
        let (status, open) = match approval {
            None => {
                // It was never asked about: nothing of it is on record.
                return Ok(self.0.parts.store.calls().withdraw(row.id).await?);
            }
            Some(approval) => {
                let status = approval.status.parse::<Status>().unwrap_or(Status::Cancelled);
                let unused = status == Status::Approved && approval.started_at.is_none();
                (status, status == Status::Pending || unused)
            }
        };
        if open {
            // It waits on: the next start takes it up, and runs it where a person has said yes.
            return Ok(());
        }
        let status = if matches!(status, Status::Pending | Status::Approved) { Status::Cancelled } else { status };
        let (status, view) = verdict(status, None);
        self.finish_waiting(row.id, None, status, view).await;
        Ok(())
    }

    /// After a start: calls that wait go on waiting, those that were approved are given back to be run, and questions of
    /// calls that ran are answered with no.
    pub(crate) async fn take_up_questions(&self) -> Result<Vec<Answer>, CallError> {
        let inner = &self.0;
        let (mut approved, mut plans) = (Vec::new(), HashMap::new());
        for row in inner.desk.unsettled().await? {
            if row.kind == Kind::Plan.as_str()
                && let Ok(plan) = row.subject.parse::<PlanId>()
            {
                plans.insert(plan, row.id);
                if row.status == Status::Approved.as_str() {
                    match inner.desk.answer(row) {
                        Ok(answer) => approved.push(answer),
                        Err(error) => tracing::error!(%error, %plan, "an approval cannot be believed"),
                    }
                }
                continue;
            }
            if row.kind != Kind::Call.as_str() {
                self.cancel_question(row.id, "restart").await;
                continue;
            }
            // A step's question does not outlive its plan, which ends as of unknown outcome.
            if inner.desk.question(row.clone()).is_ok_and(|question| question.plan_of_step().is_some()) {
                self.end_question(row.id, Status::Cancelled, "restart").await;
                continue;
            }
            let call = row.subject.parse::<CallId>().ok();
            let found = match call {
                Some(call) => inner.parts.store.calls().get(call).await?,
                None => None,
            };
            let waits = CallStatus::AwaitingApproval;
            let Some(found) = found.filter(|found| found.status == waits.as_str() && found.finished_at.is_none())
            else {
                self.cancel_question(row.id, "nothing waits for it").await;
                continue;
            };
            let approval = ApprovalRef { id: row.id, expires_at: row.expires_at };
            let flight = inner.flights.begin(CallView {
                call_id: found.id,
                status: waits,
                tool: found.tool,
                risk: Some(row.risk),
                output: None,
                error: None,
                progress: None,
                approval: Some(approval),
                created_at: found.created_at,
                finished_at: None,
            });
            inner.waiting.lock().insert(found.id, flight);
            if row.status == Status::Approved.as_str() {
                match inner.desk.answer(row) {
                    Ok(answer) => approved.push(answer),
                    Err(error) => tracing::error!(%error, approval = %approval.id, "an approval cannot be believed"),
                }
            }
        }
        self.take_up_plans(&plans).await?;
        Ok(approved)
    }

    /// Ends questions whose time is over, from now on until the executor is gone.
    pub(crate) fn expire(&self) {
        let inner = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(TICK);
            loop {
                ticks.tick().await;
                let Some(inner) = inner.upgrade() else { return };
                let executor = Self(inner);
                for id in executor.0.desk.overdue(executor.0.steady.now()) {
                    executor.end_question(id, Status::Expired, "timeout").await;
                }
            }
        });
    }

    /// Tells those who listen that a person is asked.
    pub(crate) fn announce_question(&self, approval: ApprovalRef, question: &Question) {
        let (owner, subject) = about(question);
        let (tool, risk) = (question.tool().clone(), question.risk());
        let Some(subject) = subject else { return };
        let event = Event::ApprovalPending {
            owner,
            approval_id: approval.id,
            subject,
            tool,
            risk,
            expires_at: approval.expires_at,
        };
        self.0.events.publish(self.0.parts.clock.now(), event);
    }

    /// Tells those who listen what became of a question.
    pub(crate) fn announce_decision(&self, question: &Question, id: ApprovalId, status: Status, by: Option<&UserId>) {
        let decision = match status {
            Status::Pending => return,
            Status::Approved => events::Decision::Approved,
            Status::Rejected => events::Decision::Rejected,
            Status::Expired => events::Decision::Expired,
            Status::Cancelled => events::Decision::Cancelled,
        };
        let (owner, subject) = about(question);
        let Some(subject) = subject else { return };
        let event = Event::ApprovalDecided { owner, approval_id: id, subject, decision, by: by.cloned() };
        self.0.events.publish(self.0.parts.clock.now(), event);
    }
}

/// Whose question it is, and what it is about.
fn about(question: &Question) -> (Owner, Option<Subject>) {
    let plan = || question.subject().parse::<PlanId>().ok().map(Subject::Plan);
    (Owner::of(&question.principal()), question.call_id().map(Subject::Call).or_else(plan))
}

/// A standing yes that a person wants to give.
#[derive(Debug, Clone)]
pub struct GrantRequest {
    /// For whose calls; the person's own, where nobody is named.
    pub user: Option<UserId>,
    /// Of which tool.
    pub tool: String,
    /// Which arguments it covers ([`Terms::arguments`]).
    pub arguments: CanonicalJson,
    /// The highest risk that it covers.
    pub risk: Risk,
    /// How long it lasts.
    pub lasts: Duration,
}

/// A standing yes, with its terms.
pub type Standing = (GrantRow, Terms);

impl Executor {
    /// The standing yeses that this caller may see, the newest first.
    ///
    /// # Errors
    /// [`CallError`] where the store cannot be read.
    pub async fn grants(&self, by: &Principal, part: Part<GrantId>) -> Result<Vec<Standing>, CallError> {
        Ok(self.0.desk.grants(by, part).await?)
    }

    /// Gives a standing yes: calls of one tool whose arguments fit a pattern, for a time.
    ///
    /// # Errors
    /// [`CallError`] where there is no such tool, or where it destroys.
    pub async fn grant(&self, by: &Principal, request: GrantRequest) -> Result<Standing, CallError> {
        let granted = self.granted(by, request).await;
        self.on_record(by, Action::GrantCreate, granted).await
    }

    async fn granted(&self, by: &Principal, request: GrantRequest) -> Result<Standing, CallError> {
        let tool: ToolName = request.tool.parse()?;
        let (ready, index) = self.resolve(by, &tool)?;
        let user = request.user.unwrap_or_else(|| by.user.clone());
        if user != by.user && by.role != Role::Admin {
            let message = "only an admin decides for another user".into();
            return Err(DeskError::Bounds { place: "user", message }.into());
        }
        let Value::Object(pattern) = request.arguments.into_value() else {
            return Err(DeskError::Bounds { place: "arguments", message: "an object".into() }.into());
        };
        if self.at_least(by, &ready, index).is_none_or(|call| call.is_destructive()) {
            return Err(DeskError::OnceOnly("what destroys, pays or takes over is decided each time").into());
        }
        let skill = *ready.skill.package().digest();
        let terms = Terms { arguments: Some(pattern), risk: request.risk, skill };
        let now = self.0.steady.now();
        let calls = Covered { user, tool, session: None };
        let row = self.0.desk.grant(by, &calls, &terms, request.lasts, now).await?;
        Ok((row, terms))
    }

    /// Takes a standing yes back, at once.
    ///
    /// # Errors
    /// [`CallError`] where the caller has none with this id.
    pub async fn revoke_grant(&self, by: &Principal, id: GrantId) -> Result<(), CallError> {
        let revoked = self.0.desk.revoke_grant(by, id, self.0.steady.now()).await;
        self.on_record(by, Action::GrantRevoke, revoked.map_err(CallError::from)).await
    }
}

/// How a call ends that waited for an answer other than yes.
fn verdict(status: Status, reason: Option<&str>) -> (CallStatus, crate::ErrorView) {
    let (status, code, message) = match status {
        Status::Rejected => (CallStatus::Rejected, "approval_rejected", "a person rejected the call; it has not run"),
        Status::Expired => (CallStatus::Expired, "approval_expired", "nobody decided in time; the call has not run"),
        Status::Pending | Status::Approved | Status::Cancelled => {
            (CallStatus::Cancelled, "approval_cancelled", "what was asked about has changed; the call has not run")
        }
    };
    let message = match reason {
        // A person of the same user or tenant wrote it; a line, without what is not meant to be seen.
        Some(reason) => format!("{message}: {}", plain(reason)),
        None => message.to_owned(),
    };
    let kind = FaultKind::Denied;
    let hint = Some("call the tool again only where something has changed: it asks a person again".to_owned());
    (status, crate::ErrorView { stage: Stage::Gate, kind, code: code.to_owned(), message, hint })
}

fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect()
}

fn value(canonical: &str) -> Value {
    serde_json::from_str(canonical).unwrap_or_default()
}
