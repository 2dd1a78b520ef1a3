//! A call, stage by stage, up to the moment when it runs.

use crate::api::{ApprovalRef, CallRequest, CallStatus, CallView};
use crate::call::KEPT;
use crate::catalogue::Ready;
use crate::events::Owner;
use crate::flight::{Flight, Watch};
use crate::outcome::{Ending, refusal, refused};
use crate::places::Place;
use crate::recovery::{Cause, settle_one};
use crate::run::Run;
use crate::tier::Prepared;
use crate::{CallError, Executor};
use sophon_approval::{
    Answer, ApprovedBy, ApprovedCall, Asked, AssessedCall, DeskError, FromConnection, Policy, Question, Setting, Stale,
    Status, Stopped, assess,
};
use sophon_audit::{Action, CallChange, CallState, Outcome, Receipt, Record, Resume};
use sophon_guard::{KnownSecrets, RawOutput, Source};
use sophon_sandbox::{Access, Connection};
use sophon_store::{Activation, Begun, CallRow};
use sophon_types::{
    CallId, CanonicalJson, CorrelationId, Digest, Fault as _, FaultKind, PlanId, Principal, Risk, SessionId, Timestamp,
    ToolName,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Arguments beyond this many bytes are checked on a thread of their own: no schema may keep an async worker busy.
const CHECKED_IN_PLACE: usize = 4 << 10;

/// How long a step of a plan may wait for a place.
const STEP_WAITS: Duration = Duration::from_secs(5 * 60);
/// Between two looks for a place, for a call that was approved.
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

/// Where a call stands once that is known, and, where it runs now, an eye on it: it may be over before anybody looks.
pub(crate) struct Told {
    pub(crate) view: CallView,
    pub(crate) watch: Option<Watch>,
}

/// Tells whoever waits.
type Tell = oneshot::Sender<Result<Told, CallError>>;

/// A call that may run, not yet durable.
struct Admitted {
    approved: ApprovedCall,
    ready: Arc<Ready>,
    index: usize,
    tool: ToolName,
    record: Record,
    /// Where somebody said yes to it: what they saw of its connections standing for arguments.
    shown: Option<Vec<FromConnection>>,
}

/// A call that is durable, with the evidence that lets it run.
struct ReadyToRun {
    run: Run,
    approved: ApprovedCall,
    intent: Receipt,
    place: Place,
}

/// A call that a person has to decide on, not yet durable.
struct ToAsk {
    assessed: AssessedCall,
    record: Record,
    /// The plan that it is a step of.
    plan: Option<PlanId>,
}

/// What a call uses of its connections; its intent says so.
struct Used {
    /// The names of the services that are connected.
    credentials: serde_json::Value,
    /// The fields that stand for arguments which the call does not give.
    defaults: Vec<FromConnection>,
}

impl Used {
    fn told(&self, record: Record) -> Record {
        let record = record.detail("credentials", self.credentials.clone());
        match self.defaults.is_empty() {
            true => record,
            false => record.detail("connection_defaults", FromConnection::names(&self.defaults)),
        }
    }
}

/// What the gate made of a call.
enum Admission {
    Run(Box<Admitted>),
    Ask(Box<ToAsk>),
}

/// How a call starts.
enum Start {
    /// It runs now.
    Now(Box<ReadyToRun>),
    /// It waits for a person.
    Waits(Box<CallView>),
    /// It has started before, under the same idempotency key.
    Before(Box<CallView>),
}

/// What became of making a call durable.
enum Committed {
    New(Receipt),
    /// A twin with the same idempotency key was faster.
    Before(Box<CallRow>),
}

impl Executor {
    /// The whole life of a call, in a task of its own.
    pub(crate) async fn through(self, principal: Principal, request: CallRequest, mut tell: Tell) {
        let start = match self.repeated(&principal, &request).await {
            Ok(Some(before)) => Ok(Start::Before(Box::new(before))),
            Ok(None) => self.begin(&principal, request, &mut tell).await,
            Err(error) => Err(error),
        };
        let (answer, ready) = match start {
            Ok(Start::Before(view) | Start::Waits(view)) => (Ok(Told { view: *view, watch: None }), None),
            Ok(Start::Now(ready)) => {
                (Ok(Told { view: ready.run.view.clone(), watch: ready.run.flight.watch() }), Some(ready))
            }
            Err(error) => (Err(error), None),
        };
        if tell.send(answer).is_err() {
            tracing::debug!("whoever called is gone");
        }
        if let Some(ready) = ready {
            let ReadyToRun { run, approved, intent, place } = *ready;
            run.see_through(approved, intent, place).await;
        }
    }

    /// The call that this caller gave the same idempotency key before, whatever has become of its tool since.
    async fn repeated(&self, principal: &Principal, request: &CallRequest) -> Result<Option<CallView>, CallError> {
        let Some(key) = &request.idempotency_key else { return Ok(None) };
        if !is_key(key) {
            return Err(CallError::IdempotencyKey);
        }
        let parts = &self.0.parts;
        let by_key = || async { parts.store.calls().by_idempotency_key(&principal.tenant, &principal.user, key).await };
        let found = match by_key().await? {
            // It is said to run, and does not. What became of it is settled now: where it never ran (its intent was refused,
            // and the row could not be taken back then), its key is free.
            Some(row) if row.finished_at.is_none() && !self.0.flights.has(row.id) => {
                settle_one(self, &row, Cause::Lost).await?;
                by_key().await?
            }
            found => found,
        };
        match found {
            Some(row) if row.finished_at.is_none() || row.expires_at > self.0.steady.now() => {
                let tool: ToolName = request.tool.parse()?;
                if row.request_digest != request_digest(&tool, request.arguments.digest()) {
                    return Err(CallError::IdempotencyMismatch);
                }
                Ok(Some(self.look(row).await?))
            }
            _ => Ok(None),
        }
    }

    async fn begin(&self, principal: &Principal, request: CallRequest, tell: &mut Tell) -> Result<Start, CallError> {
        let inner = &self.0;
        if inner.places.full_for(&principal.tenant, &principal.user) {
            // Before anything is looked up, checked or assessed: a refusal costs next to nothing.
            return Err(CallError::OverCapacity);
        }
        let key = request.idempotency_key.clone();
        let admitted = match self.admit(principal, request).await? {
            Admission::Run(admitted) => *admitted,
            Admission::Ask(to_ask) => return self.ask(*to_ask, key).await,
        };
        // Before it takes a place: a component that has to be compiled first waits for a compiler, and whoever can run does.
        let prepared = tokio::select! {
            biased;
            prepared = self.prepared(&admitted.ready) => prepared?,
            () = tell.closed() => return Err(CallError::Abandoned),
        };
        let place = inner.places.take(&principal.tenant, &principal.user).await?;
        if tell.is_closed() {
            // Nothing of the call has happened, and nobody waits for it.
            return Err(CallError::Abandoned);
        }
        self.commence(principal, admitted, prepared, key, place).await
    }

    /// Makes an admitted call that has its place durable.
    async fn commence(
        &self,
        principal: &Principal,
        admitted: Admitted,
        prepared: Prepared,
        key: Option<String>,
        place: Place,
    ) -> Result<Start, CallError> {
        let inner = &self.0;
        if inner.flights.ended() {
            return Err(CallError::ShuttingDown);
        }
        let (connections, used) = self.make_ready(principal, &admitted).await?;
        let (row, view) = self.announce(
            admitted.approved.request(),
            &admitted.tool,
            admitted.approved.risk(),
            CallStatus::Running,
            key,
        );
        // In the air before it is durable: a repeat that finds the row finds the flight as well.
        let flight = inner.flights.begin(view.clone());
        let intent = used.told(admitted.record.clone());
        let intent = match self.commit(row, intent).await? {
            Committed::New(receipt) => receipt,
            Committed::Before(twin) => return Ok(Start::Before(Box::new(self.look(*twin).await?))),
        };
        if inner.flights.ended() {
            // It has not run and never will; the shutdown settles its row.
            return Err(CallError::ShuttingDown);
        }
        let run = Run {
            executor: self.clone(),
            ready: admitted.ready,
            prepared,
            index: admitted.index,
            connections,
            defaults: used.defaults,
            record: admitted.record,
            owner: Owner::of(principal),
            view,
            flight: Arc::new(flight),
        };
        Ok(Start::Now(Box::new(ReadyToRun { run, approved: admitted.approved, intent, place })))
    }

    /// Looks the connections up; then what was true when the call was assessed must still be.
    async fn make_ready(
        &self,
        principal: &Principal,
        admitted: &Admitted,
    ) -> Result<(Arc<[Connection]>, Used), CallError> {
        let (connections, credentials) = self.connections(principal, &admitted.ready).await?;
        let manifest = admitted.ready.skill.manifest();
        let mut defaults = self.defaults(principal, manifest, &manifest.tools[admitted.index]).await?;
        defaults.retain(|default| default.is_taken(admitted.approved.request().arguments.value()));
        let (now_ready, _) = self.resolve(principal, &admitted.tool)?;
        if !Arc::ptr_eq(&now_ready, &admitted.ready) {
            return Err(CallError::SkillChanged { tool: admitted.tool.clone() });
        }
        // What is there now and was not seen, and what was seen and is not there any more.
        if admitted.shown.as_ref().is_some_and(|shown| !FromConnection::are_the_same(shown, &defaults)) {
            return Err(DeskError::Superseded(Stale::Connection).into());
        }
        Ok((connections, Used { credentials, defaults }))
    }

    /// The row and the view that a new call begins with.
    fn announce(
        &self,
        asked: &sophon_approval::CallRequest,
        tool: &ToolName,
        risk: Risk,
        status: CallStatus,
        idempotency_key: Option<String>,
    ) -> (CallRow, CallView) {
        let (inner, principal) = (&self.0, &asked.principal);
        let now = inner.parts.clock.now();
        let row = CallRow {
            id: asked.call,
            tenant: principal.tenant.clone(),
            user: principal.user.clone(),
            key: principal.key,
            tool: tool.clone(),
            correlation: asked.correlation,
            idempotency_key,
            request_digest: request_digest(tool, asked.arguments.digest()),
            status: status.as_str().to_owned(),
            sealed_result: None,
            created_at: now,
            finished_at: None,
            expires_at: inner.steady.now().plus(KEPT),
        };
        let view = beginning(asked, tool, risk, status, now);
        (row, view)
    }

    /// Runs a step of a plan to its end; how it ended. `shown` is what a person saw of connections standing for arguments,
    /// where one said yes to it.
    pub(crate) async fn run_step(
        &self,
        principal: &Principal,
        approved: ApprovedCall,
        (ready, index): (Arc<Ready>, usize),
        record: Record,
        shown: Option<Vec<FromConnection>>,
    ) -> Result<CallView, CallError> {
        let (call, tool) = (approved.request().call, approved.tool().name.clone());
        let record = noted(record, &approved);
        let prepared = self.prepared(&ready).await?;
        let place = self.place_until(principal, self.0.steady.now().plus(STEP_WAITS)).await?;
        let admitted = Admitted { approved, ready, index, tool, record, shown };
        if let Start::Now(ready) = self.commence(principal, admitted, prepared, None, place).await? {
            let ReadyToRun { run, approved, intent, place } = *ready;
            run.see_through(approved, intent, place).await;
        }
        self.ended(call).await
    }

    /// How a call ended.
    async fn ended(&self, call: CallId) -> Result<CallView, CallError> {
        let row = self.0.parts.store.calls().get(call).await?.ok_or(CallError::UnknownCall)?;
        self.look(row).await
    }

    /// Puts a step of a plan to a person by itself, and waits for its end.
    pub(crate) async fn ask_and_wait(
        &self,
        plan: PlanId,
        assessed: AssessedCall,
        record: Record,
    ) -> Result<CallView, CallError> {
        let call = assessed.request().call;
        self.ask(ToAsk { assessed, record, plan: Some(plan) }, None).await?;
        loop {
            match self.0.flights.wait(call, STEP_WAITS).await {
                Some(view) if !view.status.is_final() => {}
                _ended => return self.ended(call).await,
            }
        }
    }

    /// Gives a step that was refused before it ran a row with its end.
    pub(crate) async fn note_refused(
        &self,
        principal: &Principal,
        call: CallId,
        tool: &ToolName,
        correlation: CorrelationId,
        error: &CallError,
    ) -> Result<(), CallError> {
        let parts = &self.0.parts;
        if parts.store.calls().get(call).await?.is_some() {
            return Ok(());
        }
        let ending = Ending { output: None, error: Some(refused(error)) };
        let now = parts.clock.now();
        let status = if error.kind() == FaultKind::Denied { CallStatus::Denied } else { CallStatus::Failed };
        let row = CallRow {
            id: call,
            tenant: principal.tenant.clone(),
            user: principal.user.clone(),
            key: principal.key,
            tool: tool.clone(),
            correlation,
            idempotency_key: None,
            request_digest: Digest::of(b""),
            status: status.as_str().to_owned(),
            sealed_result: Some(ending.seal(&parts.vault, call)?),
            created_at: now,
            finished_at: Some(now),
            expires_at: self.0.steady.now().plus(KEPT),
        };
        parts.store.calls().begin(row, self.0.steady.now()).await?;
        Ok(())
    }

    /// What the gate, or a person in advance, makes of a call: it may run, or is given back to be asked about.
    pub(crate) async fn gated(
        &self,
        assessed: AssessedCall,
        setting: Setting,
        record: &Record,
    ) -> Result<Result<ApprovedCall, Box<AssessedCall>>, CallError> {
        let inner = &self.0;
        match inner.gate.pass(assessed, setting, inner.parts.clock.now()) {
            Ok(approved) => Ok(Ok(approved)),
            // A standing yes was given to arguments, and not to what a connection puts in the place of one.
            Err(Stopped::Ask(needs)) if !self.taken(&needs.call).await?.is_empty() => Ok(Err(Box::new(needs.call))),
            Err(Stopped::Ask(needs)) => {
                Ok(inner.desk.mint(&inner.gate, needs.call, record, inner.steady.now()).await?.map_err(Box::new))
            }
            Err(stopped @ Stopped::Denied { .. }) => {
                let error = CallError::PolicyDenied { message: stopped.to_string() };
                inner.parts.audit.append(record.clone().then(Action::CallRefused, refusal(&error))).await?;
                Err(error)
            }
        }
    }

    /// Puts a call to a person: it waits, durably, and so does the question.
    async fn ask(&self, to_ask: ToAsk, key: Option<String>) -> Result<Start, CallError> {
        let inner = &self.0;
        let ToAsk { assessed, record, plan } = to_ask;
        let (policy, now) = (Arc::clone(assessed.policy()), inner.steady.now());
        let question = Question::call(&assessed, policy.version(), now.plus(policy.timeout()), &*inner.parts.entropy);
        let (skill, asked) = (assessed.skill().manifest(), &assessed.request().principal);
        let defaults = self.defaults(asked, skill, assessed.tool()).await?;
        let question = question.of_step(plan).with_defaults(defaults);
        let tool = assessed.tool().name.clone();
        let waits = CallStatus::AwaitingApproval;
        let (row, view) = self.announce(assessed.request(), &tool, assessed.risk(), waits, key);
        // In the air before it is durable: a repeat that finds the row finds the flight as well.
        // And among those that wait: a person may be faster than this task.
        let call = view.call_id;
        inner.waiting.lock().insert(call, inner.flights.begin(view.clone()));
        let asked = inner.desk.ask(question.clone(), Some(row), record.clone(), now).await;
        let Ok(Asked::New(waiting)) = asked else {
            let flight = inner.waiting.lock().remove(&call);
            drop(flight);
            return self.not_asked(asked, request_digest(&tool, assessed.request().arguments.digest()), record).await;
        };
        let approval = ApprovalRef { id: waiting.id, expires_at: waiting.expires_at };
        inner.flights.stands(call, waits, Some(approval));
        self.announce_question(approval, &question);
        Ok(Start::Waits(Box::new(CallView { approval: Some(approval), ..view })))
    }

    /// What becomes of a call that could not be put to a person.
    async fn not_asked(
        &self,
        asked: Result<Asked, DeskError>,
        digest: Digest,
        record: Record,
    ) -> Result<Start, CallError> {
        match asked {
            Ok(Asked::Twin(twin)) if twin.request_digest == digest => {
                Ok(Start::Before(Box::new(self.look(*twin).await?)))
            }
            Ok(_other) => Err(CallError::IdempotencyMismatch),
            Err(error @ DeskError::Audit(_)) => Err(error.into()),
            Err(error) => {
                let error = CallError::from(error);
                self.0.parts.audit.append(record.then(Action::CallRefused, refusal(&error))).await?;
                Err(error)
            }
        }
    }

    /// Runs a call that a person has approved: everything is found, checked and assessed anew, and the approval is used up
    /// in the transaction that begins the call.
    pub(crate) async fn run_approved(&self, answer: &Answer, flight: Arc<Flight>) -> Result<(), CallError> {
        let inner = &self.0;
        let question = answer.question();
        let (principal, tool) = (question.principal(), question.tool().clone());
        let arguments = CanonicalJson::parse(answer.arguments().as_bytes())?;
        let (assessed, record, ready, index) = self.assess_again(question, arguments).await?;
        let approved = inner.gate.redeem(assessed, answer, inner.steady.now()).map_err(DeskError::Superseded)?;
        let value = approved.request().arguments.value();
        let shown = question.defaults().iter().filter(|default| default.is_taken(value)).cloned().collect();
        let admitted = Admitted { approved, ready, index, tool, record, shown: Some(shown) };
        let prepared = self.prepared(&admitted.ready).await?;
        let place = self.place_until(&principal, answer.start_by()).await?;
        let (connections, used) = self.make_ready(&principal, &admitted).await?;
        let asked = admitted.approved.request();
        let now = inner.parts.clock.now();
        let view = beginning(asked, &admitted.tool, admitted.approved.risk(), CallStatus::Running, now);
        let intent = used.told(noted(admitted.record.clone(), &admitted.approved));
        let begins = Resume {
            call: asked.call,
            approval: answer.id(),
            status: CallStatus::Running.as_str(),
            at: inner.steady.now(),
        };
        let intent = inner.parts.audit.append_with(intent, CallChange::Resume(begins)).await?;
        if intent.row() != CallState::Changed {
            return Err(DeskError::Decided(Status::Cancelled).into());
        }
        inner.desk.begun(answer.id());
        flight.stands(CallStatus::Running, None);
        let run = Run {
            executor: self.clone(),
            ready: admitted.ready,
            prepared,
            index: admitted.index,
            connections,
            defaults: used.defaults,
            record: admitted.record,
            owner: Owner::of(&principal),
            view,
            flight,
        };
        run.see_through(admitted.approved, intent, place).await;
        Ok(())
    }

    /// A place for a call that was approved; its approval says how long it may wait for one.
    async fn place_until(&self, principal: &Principal, start_by: Timestamp) -> Result<Place, CallError> {
        loop {
            match self.0.places.take(&principal.tenant, &principal.user).await {
                Err(CallError::OverCapacity) if self.0.steady.now() < start_by && !self.0.flights.ended() => {
                    tokio::time::sleep(BETWEEN_TRIES).await;
                }
                place => return place,
            }
        }
    }

    /// The call of a question, found, validated and assessed as if it were made now, with these arguments.
    pub(crate) async fn assess_again(
        &self,
        question: &Question,
        arguments: CanonicalJson,
    ) -> Result<(AssessedCall, Record, Arc<Ready>, usize), CallError> {
        let (principal, tool) = (question.principal(), question.tool());
        let call = question.call_id().ok_or(CallError::UnknownCall)?;
        let (ready, index) = self.resolve(&principal, tool)?;
        if ready.skill.package().digest() != question.skill_digest() {
            return Err(DeskError::Superseded(Stale::Skill).into());
        }
        self.validate(&principal, &ready, index, &arguments).await?;
        let asked = sophon_approval::CallRequest {
            principal: principal.clone(),
            call,
            correlation: question.correlation(),
            session: question.session(),
            arguments,
        };
        let record = self.record(&principal, &ready, index, &asked);
        let (assessed, record) = self.assessed(asked, (&ready, index), record, &self.0.gate.policy())?;
        Ok((assessed, record, ready, index))
    }

    /// Assesses a call by a policy, and says so in its record.
    pub(crate) fn assessed(
        &self,
        asked: sophon_approval::CallRequest,
        (ready, index): (&Ready, usize),
        record: Record,
        policy: &Arc<Policy>,
    ) -> Result<(AssessedCall, Record), CallError> {
        let unknown = CallError::UnknownTool { tool: ready.skill.manifest().tools[index].name.clone(), reason: None };
        let assessed = assess(asked, Arc::clone(&ready.skill), index, policy).ok_or(unknown)?;
        let reasons = serde_json::to_value(assessed.reasons()).unwrap_or_default();
        let record = record.risk(assessed.risk()).detail("reasons", reasons);
        Ok((assessed, record))
    }

    /// resolve → validate → assess → gate.
    async fn admit(&self, principal: &Principal, request: CallRequest) -> Result<Admission, CallError> {
        let inner = &self.0;
        let tool: ToolName = request.tool.parse()?;
        let (ready, index) = self.resolve(principal, &tool)?;
        self.check_tier(&ready).await?;
        let setting = self.setting(principal, request.session).await?;
        self.validate(principal, &ready, index, &request.arguments).await?;
        let asked = sophon_approval::CallRequest {
            principal: principal.clone(),
            call: CallId::mint_at(inner.parts.clock.now(), &*inner.parts.entropy),
            correlation: request.correlation,
            session: request.session,
            arguments: request.arguments,
        };
        let record = self.record(principal, &ready, index, &asked);
        let (assessed, record) = self.assessed(asked, (&ready, index), record, &self.0.gate.policy())?;
        Ok(match self.gated(assessed, setting, &record).await? {
            Ok(approved) => {
                let record = noted(record, &approved);
                // A standing yes was given to no connection's value.
                let shown = matches!(approved.by(), ApprovedBy::Grant(_)).then(Vec::new);
                Admission::Run(Box::new(Admitted { approved, ready, index, tool, record, shown }))
            }
            Err(assessed) => Admission::Ask(Box::new(ToAsk { assessed: *assessed, record, plan: None })),
        })
    }

    /// What a person has allowed where the call is made.
    pub(crate) async fn setting(
        &self,
        principal: &Principal,
        session: Option<SessionId>,
    ) -> Result<Setting, CallError> {
        let Some(id) = session else { return Ok(Setting::default()) };
        let now = self.0.steady.now();
        let session = self.0.desk.session(principal, id, now).await?.ok_or(CallError::UnknownSession)?;
        let raised = session.ceiling.filter(|raised| raised.until > now).map(|raised| raised.to);
        Ok(Setting { session: raised, in_plan: false })
    }

    pub(crate) fn resolve(&self, principal: &Principal, tool: &ToolName) -> Result<(Arc<Ready>, usize), CallError> {
        let unknown =
            |reason: Option<&str>| CallError::UnknownTool { tool: tool.clone(), reason: reason.map(str::to_owned) };
        let (entry, index) = self.0.catalogue.tool(&principal.tenant, tool).ok_or_else(|| unknown(None))?;
        if entry.row.activation == Activation::Disabled {
            return Err(unknown(Some("its skill is disabled")));
        }
        let ready = entry.ready().ok_or_else(|| unknown(Some("its skill cannot be run; see `sophon list`")))?;
        Ok((Arc::clone(ready), index.ok_or_else(|| unknown(None))?))
    }

    /// Whether the arguments fit the tool's schema, and none is what the tool gets from a connection.
    pub(crate) async fn validate(
        &self,
        principal: &Principal,
        ready: &Arc<Ready>,
        index: usize,
        arguments: &CanonicalJson,
    ) -> Result<(), CallError> {
        let violations = if arguments.as_str().len() <= CHECKED_IN_PLACE {
            ready.tools[index].violations(arguments.value())
        } else {
            let (ready, arguments) = (Arc::clone(ready), arguments.clone());
            let checked = tokio::task::spawn_blocking(move || ready.tools[index].violations(arguments.value())).await;
            checked.map_err(|_panic| CallError::Lost)?
        };
        if violations.is_empty() {
            return self.check_connected(principal, ready, index, arguments.value()).await;
        }
        let tool = &ready.skill.manifest().tools[index].name;
        // The skill's author wrote the schema: its words are wrapped like everything of a skill.
        let raw = RawOutput::new(Source::error(tool), violations.join("; "));
        let parts = &self.0.parts;
        let wrapped = parts.detector.sanitise(raw, &KnownSecrets::none(), &*parts.entropy).content().to_owned();
        Err(CallError::Arguments { tool: tool.clone(), violations: vec![wrapped] })
    }

    /// Makes the call and its intent durable; both before any code of the skill runs.
    async fn commit(&self, row: CallRow, intent: Record) -> Result<Committed, CallError> {
        let parts = &self.0.parts;
        if row.idempotency_key.is_none() {
            // Nothing can stand in the way of the row, so it travels with the record.
            return Ok(Committed::New(parts.audit.append_with(intent, CallChange::Begin(Box::new(row))).await?));
        }
        let (id, digest) = (row.id, row.request_digest);
        let calls = parts.store.calls();
        match calls.begin(row, self.0.steady.now()).await? {
            Begun::Inserted => {}
            // A twin came between the first look and here.
            Begun::Existing(twin) if twin.request_digest == digest => return Ok(Committed::Before(twin)),
            Begun::Existing(_other) => return Err(CallError::IdempotencyMismatch),
        }
        match parts.audit.append(intent).await {
            Ok(receipt) => Ok(Committed::New(receipt)),
            Err(refused) => {
                // It never ran. Where the row cannot be taken back it is settled at the next start.
                if let Err(error) = calls.withdraw(id).await {
                    tracing::error!(%error, call = %id, "the row of a refused call could not be removed");
                }
                Err(refused.into())
            }
        }
    }

    /// The declared services, and the names of those that this call may use.
    async fn connections(
        &self,
        principal: &Principal,
        ready: &Ready,
    ) -> Result<(Arc<[Connection]>, serde_json::Value), CallError> {
        let mut connections = Vec::new();
        for declared in ready.skill.manifest().services() {
            let connected = self.0.parts.vault.connected(&principal.tenant, &principal.user, &declared.service).await?;
            connections.push(Connection {
                service: declared.service.to_string(),
                connected,
                access: match declared.access {
                    sophon_skill::Access::Proxy => Access::Proxy,
                    sophon_skill::Access::ScopedToken => Access::ScopedToken,
                },
            });
        }
        let usable = connections.iter().filter(|connection| connection.connected).map(|c| c.service.clone()).collect();
        Ok((connections.into(), usable))
    }

    /// A record with the call's identity and its redacted parameters.
    pub(crate) fn record(
        &self,
        principal: &Principal,
        ready: &Ready,
        index: usize,
        request: &sophon_approval::CallRequest,
    ) -> Record {
        let manifest = ready.skill.manifest();
        let tool = &manifest.tools[index];
        let params = self.0.parts.audit.redactor().params(request.arguments.value(), Some(&tool.parameters));
        Record::new(Action::CallIntent, Outcome::Intent)
            .principal(principal)
            .skill(&manifest.name)
            .tool(&tool.name)
            .call(request.call)
            .correlation(request.correlation)
            .params(params)
            .detail("skill_digest", ready.skill.package().digest().to_string())
            .detail("arguments_digest", request.arguments.digest().to_string())
    }
}

/// Says in a call's record what let it pass, where that was not its risk.
fn noted(record: Record, approved: &ApprovedCall) -> Record {
    match approved.by() {
        ApprovedBy::Itself => record,
        ApprovedBy::Session => record.detail("approved_by", "session"),
        ApprovedBy::Grant(grant) => record.detail("approved_by", grant.to_string()),
        ApprovedBy::Person { approval, by } => {
            let by: Vec<String> = by.iter().map(ToString::to_string).collect();
            record.detail("approval", approval.to_string()).detail("approved_by", by)
        }
    }
}

/// A call as its caller sees it when it begins, or begins to wait.
fn beginning(
    asked: &sophon_approval::CallRequest,
    tool: &ToolName,
    risk: Risk,
    status: CallStatus,
    now: Timestamp,
) -> CallView {
    CallView {
        call_id: asked.call,
        status,
        tool: tool.clone(),
        risk: Some(risk),
        output: None,
        error: None,
        progress: None,
        approval: None,
        created_at: now,
        finished_at: None,
    }
}

/// Two requests are the same call when tool and canonical arguments are.
fn request_digest(tool: &ToolName, arguments: Digest) -> Digest {
    Digest::of_parts(&[tool.as_str().as_bytes(), arguments.as_bytes()])
}

fn is_key(key: &str) -> bool {
    (1..=255).contains(&key.chars().count()) && !key.chars().any(char::is_control)
}
