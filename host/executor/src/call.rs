//! A call, stage by stage.

use crate::api::{CallRequest, CallStatus, CallView, ProgressView, Results, ToolView};
use crate::catalogue::{Catalogue, Ready};
use crate::effects::CallGate;
use crate::flight::{Flight, Flights};
use crate::outcome::{Ending, audit_outcome, refusal};
use crate::{CallError, recovery};
use sophon_approval::{ApprovedCall, Gate, Policy, assess};
use sophon_audit::{Action, AuditLog, Outcome, Receipt, Record};
use sophon_egress::{CallScope, Egress, EgressSession};
use sophon_guard::{RawOutput, Source, sanitise};
use sophon_sandbox::{Access, Connection, Doors, LogLevel, Progress, RunReport, StoredState, WasmRuntime};
use sophon_store::{Activation, Begun, CallRow, Store};
use sophon_types::{CallId, CanonicalJson, Clock, CorrelationId, Digest, Entropy, Principal, Risk, Role, ToolName};
use sophon_vault::Vault;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

/// How long results are kept for those that wait or repeat a call.
pub(crate) const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// What the executor is made of; every part is open already.
pub struct Parts {
    /// The store.
    pub store: Store,
    /// The audit log.
    pub audit: AuditLog,
    /// The vault.
    pub vault: Vault,
    /// The way out.
    pub egress: Egress,
    /// Where components run.
    pub runtime: WasmRuntime,
    /// How risk is assessed.
    pub policy: Policy,
    /// How much may happen at one time.
    pub limits: CallLimits,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

/// How many calls may run, and how many may wait for their turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallLimits {
    /// Calls that run at one time; no more than the sandbox's pool has room for.
    pub concurrent: usize,
    /// Calls that wait for one of these places; one more is refused.
    pub waiting: usize,
    /// How long a call waits for its place before it is refused.
    pub patience: Duration,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self { concurrent: 64, waiting: 256, patience: Duration::from_secs(5) }
    }
}

/// The executor. Cheap to clone; every clone is the same one.
#[derive(Clone)]
pub struct Executor(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) parts: Parts,
    pub(crate) catalogue: Catalogue,
    pub(crate) installing: tokio::sync::Mutex<()>,
    gate: Gate,
    flights: Flights,
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    tasks: TaskTracker,
    draining: AtomicBool,
}

impl Executor {
    /// Derives every installed skill again (verified, analysed, compiled) and records what was in flight when the host
    /// last stopped as of unknown outcome.
    ///
    /// # Errors
    /// [`CallError`] where the store or the audit log cannot be used. A skill that cannot be derived is listed as broken.
    pub async fn open(parts: Parts) -> Result<Self, CallError> {
        let limits = parts.limits;
        let executor = Self(Arc::new(Inner {
            catalogue: Catalogue::default(),
            installing: tokio::sync::Mutex::new(()),
            gate: Gate::default(),
            flights: Flights::default(),
            running: Arc::new(Semaphore::new(limits.concurrent)),
            waiting: Arc::new(Semaphore::new(limits.waiting)),
            tasks: TaskTracker::new(),
            draining: AtomicBool::new(false),
            parts,
        }));
        recovery::settle(&executor, recovery::Cause::Restart).await?;
        executor.load().await?;
        Ok(executor)
    }

    /// The tools that the caller may use.
    #[must_use]
    pub fn tools(&self, principal: &Principal) -> Vec<ToolView> {
        let mut views = Vec::new();
        for entry in self.0.catalogue.skills(&principal.tenant) {
            let (Some(ready), Activation::Enabled) = (entry.ready(), entry.row.activation) else { continue };
            let manifest = ready.skill.manifest();
            for (index, tool) in manifest.tools.iter().enumerate() {
                let Some(assessed) = self.at_least(principal, ready, index) else { continue };
                views.push(ToolView {
                    name: tool.name.clone(),
                    skill: manifest.name.clone(),
                    version: manifest.version.clone(),
                    description: tool.description.clone(),
                    risk: assessed,
                    parameters: tool.parameters.clone(),
                    returns: tool.returns.clone(),
                });
            }
        }
        views
    }

    /// The risk of a call without arguments: no call of the tool has less.
    fn at_least(&self, principal: &Principal, ready: &Ready, tool: usize) -> Option<Risk> {
        let request = sophon_approval::CallRequest {
            principal: principal.clone(),
            call: CallId::from_bytes([0; 16]),
            correlation: CorrelationId::from_bytes([0; 16]),
            session: None,
            arguments: CanonicalJson::of(serde_json::json!({})).ok()?,
        };
        Some(assess(request, Arc::clone(&ready.skill), tool, &self.0.parts.policy)?.risk())
    }

    /// Takes a call through every stage, and waits for its result as long as the caller asks. The call goes on when the
    /// returned future is dropped.
    ///
    /// # Errors
    /// [`CallError`] where the call was refused before anything ran. A call that ran and failed is a [`CallView`].
    pub async fn call(&self, principal: &Principal, request: CallRequest) -> Result<CallView, CallError> {
        let results = request.results;
        let patience = request.wait;
        let view = match self.begin(principal, request).await? {
            Started::Here(view) | Started::Before(view) => view,
        };
        let call = view.call_id;
        let view = if view.status.is_final() { view } else { self.follow(view, patience).await? };
        debug_assert_eq!(view.call_id, call, "a caller gets its own call");
        Ok(for_caller(view, results))
    }

    /// Where a call of this caller stands, after waiting for its end up to `patience`.
    ///
    /// # Errors
    /// [`CallError::UnknownCall`] where the caller has no such call.
    pub async fn status(
        &self,
        principal: &Principal,
        call: CallId,
        patience: Duration,
        results: Results,
    ) -> Result<CallView, CallError> {
        let row = self.0.parts.store.calls().get(call).await?.ok_or(CallError::UnknownCall)?;
        let own = row.user == principal.user || principal.role == Role::Admin;
        // Another tenant's call does not exist for this caller: the answer must not tell.
        if row.tenant != principal.tenant || !own || row.expires_at <= self.0.parts.clock.now() {
            return Err(CallError::UnknownCall);
        }
        let view = self.view(&row)?;
        let view = if view.status.is_final() { view } else { self.follow(view, patience).await? };
        Ok(for_caller(view, results))
    }

    /// Takes no more calls, waits for those that run, and records what is left after `grace` as of unknown outcome.
    pub async fn drain(&self, grace: Duration) {
        self.0.draining.store(true, Ordering::SeqCst);
        self.0.tasks.close();
        if tokio::time::timeout(grace, self.0.tasks.wait()).await.is_err() {
            let left = self.0.flights.calls().len();
            tracing::warn!(left, "calls were still running when the grace period ended");
            if let Err(error) = recovery::settle(self, recovery::Cause::Shutdown).await {
                // They are settled at the next start: their rows still say that they run.
                tracing::error!(%error, "calls in flight could not be recorded");
            }
        }
    }

    async fn follow(&self, view: CallView, patience: Duration) -> Result<CallView, CallError> {
        match self.0.flights.wait(view.call_id, patience).await {
            Some(view) => Ok(view),
            None => {
                let row = self.0.parts.store.calls().get(view.call_id).await?.ok_or(CallError::UnknownCall)?;
                self.view(&row)
            }
        }
    }

    fn view(&self, row: &CallRow) -> Result<CallView, CallError> {
        let ending = match &row.sealed_result {
            Some(sealed) => Some(Ending::unseal(&self.0.parts.vault, row.id, sealed)?),
            None => None,
        };
        let (output, error) = ending.map_or((None, None), |ending| (ending.output, ending.error));
        Ok(CallView {
            call_id: row.id,
            status: CallStatus::named(&row.status).unwrap_or(CallStatus::UnknownOutcome),
            tool: row.tool.clone(),
            risk: None,
            output,
            error,
            progress: None,
            created_at: row.created_at,
            finished_at: row.finished_at,
        })
    }

    /// Everything up to the start of the run.
    async fn begin(&self, principal: &Principal, request: CallRequest) -> Result<Started, CallError> {
        let inner = &self.0;
        if inner.draining.load(Ordering::SeqCst) {
            return Err(CallError::ShuttingDown);
        }
        // resolve
        let tool: ToolName = request.tool.parse()?;
        let (ready, index) = self.resolve(principal, &tool)?;
        // validate
        let violations = ready.tools[index].violations(request.arguments.value());
        if !violations.is_empty() {
            let violations = vec![self.wrapped(&tool, &violations.join("; "))];
            return Err(CallError::Arguments { tool, violations });
        }
        if request.idempotency_key.as_ref().is_some_and(|key| !is_key(key)) {
            return Err(CallError::IdempotencyKey);
        }
        // assess
        let call = CallId::mint(&*inner.parts.entropy);
        let arguments = request.arguments;
        let asked = sophon_approval::CallRequest {
            principal: principal.clone(),
            call,
            correlation: request.correlation,
            session: request.session,
            arguments,
        };
        let record = self.record(principal, &ready, index, &asked);
        let assessed = assess(asked, Arc::clone(&ready.skill), index, &inner.parts.policy)
            .ok_or_else(|| CallError::UnknownTool { tool: tool.clone(), reason: None })?;
        let (risk, reasons) = (assessed.risk(), serde_json::to_value(assessed.reasons()).unwrap_or_default());
        let record = record.risk(risk).detail("reasons", reasons);
        // gate
        let approved = match inner.gate.pass(assessed) {
            Ok(approved) => approved,
            Err(needs) => {
                let error = CallError::NeedsApproval(Box::new(needs));
                inner.parts.audit.append(record.then(Action::CallRefused, refusal(&error))).await?;
                return Err(error);
            }
        };
        // intent
        let permit = self.place().await?;
        let now = inner.parts.clock.now();
        let row = CallRow {
            id: call,
            tenant: principal.tenant.clone(),
            user: principal.user.clone(),
            key: principal.key,
            tool: tool.clone(),
            correlation: approved.request().correlation,
            idempotency_key: request.idempotency_key,
            request_digest: request_digest(&tool, approved.request().arguments.digest()),
            status: CallStatus::Running.as_str().to_owned(),
            sealed_result: None,
            created_at: now,
            finished_at: None,
            expires_at: now.plus(KEPT),
        };
        let (connections, usable) = self.connections(principal, &ready).await?;
        let intent = record.clone().detail("credentials", usable);
        let receipt = match self.commit(row, intent).await? {
            Committed::New(receipt) => receipt,
            Committed::Before(existing) => return Ok(Started::Before(self.view(&existing)?)),
        };
        // run, in a task of its own: the call belongs to the host from here on
        let view = CallView {
            call_id: call,
            status: CallStatus::Running,
            tool,
            risk: Some(risk),
            output: None,
            error: None,
            progress: None,
            created_at: now,
            finished_at: None,
        };
        let flight = inner.flights.begin(view.clone());
        let run = Run { executor: self.clone(), ready, index, connections, record, view: view.clone() };
        inner.tasks.spawn(run.drive(approved, receipt, Arc::new(flight), permit));
        Ok(Started::Here(view))
    }

    fn resolve(&self, principal: &Principal, tool: &ToolName) -> Result<(Arc<Ready>, usize), CallError> {
        let unknown =
            |reason: Option<&str>| CallError::UnknownTool { tool: tool.clone(), reason: reason.map(str::to_owned) };
        let (entry, index) = self.0.catalogue.tool(&principal.tenant, tool).ok_or_else(|| unknown(None))?;
        if entry.row.activation == Activation::Disabled {
            return Err(unknown(Some("its skill is disabled")));
        }
        let ready = entry.ready().ok_or_else(|| unknown(Some("its skill cannot be run; see `sophon list`")))?;
        Ok((Arc::clone(ready), index.ok_or_else(|| unknown(None))?))
    }

    /// A place to run in; waits for one for a short time, in a queue of bounded length.
    async fn place(&self) -> Result<OwnedSemaphorePermit, CallError> {
        let inner = &self.0;
        if let Ok(permit) = Arc::clone(&inner.running).try_acquire_owned() {
            return Ok(permit);
        }
        let _turn = inner.waiting.try_acquire().map_err(|_full| CallError::OverCapacity)?;
        let place = tokio::time::timeout(inner.parts.limits.patience, Arc::clone(&inner.running).acquire_owned()).await;
        match place {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_closed)) => Err(CallError::ShuttingDown),
            Err(_elapsed) => Err(CallError::OverCapacity),
        }
    }

    /// Makes the call and its intent durable; both before any code of the skill runs.
    async fn commit(&self, row: CallRow, intent: Record) -> Result<Committed, CallError> {
        let parts = &self.0.parts;
        let digest = row.request_digest;
        if row.idempotency_key.is_none() {
            // Nothing can stand in the way of the row, so both travel in the same group commit.
            let id = row.id;
            let calls = parts.store.calls();
            let (begun, receipt) = tokio::join!(calls.begin(row), parts.audit.append(intent));
            return match (begun, receipt) {
                (Ok(_inserted), Ok(receipt)) => Ok(Committed::New(receipt)),
                (Ok(_inserted), Err(refused)) => {
                    self.withdraw(id).await;
                    Err(refused.into())
                }
                (Err(error), _) => Err(error.into()),
            };
        }
        let id = row.id;
        match parts.store.calls().begin(row).await? {
            Begun::Inserted => match parts.audit.append(intent).await {
                Ok(receipt) => Ok(Committed::New(receipt)),
                Err(refused) => {
                    self.withdraw(id).await;
                    Err(refused.into())
                }
            },
            Begun::Existing(existing) if existing.request_digest == digest => Ok(Committed::Before(existing)),
            Begun::Existing(_other) => Err(CallError::IdempotencyMismatch),
        }
    }

    /// Takes back the row of a call whose intent could not be recorded: it never ran.
    async fn withdraw(&self, call: CallId) {
        if let Err(error) = self.0.parts.store.calls().withdraw(call).await {
            // The row stays and is settled at the next start; the call is refused either way.
            tracing::error!(%error, %call, "the row of a refused call could not be removed");
        }
    }

    /// The declared services, and the names of those that this call may use.
    async fn connections(
        &self,
        principal: &Principal,
        ready: &Ready,
    ) -> Result<(Arc<[Connection]>, serde_json::Value), CallError> {
        let mut connections = Vec::new();
        for declared in &ready.skill.manifest().credentials {
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
    fn record(
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

    fn wrapped(&self, tool: &ToolName, text: &str) -> String {
        let raw = RawOutput::new(Source::error(tool), text.to_owned());
        sanitise(raw, &sophon_guard::KnownSecrets::default(), &*self.0.parts.entropy).content().to_owned()
    }
}

enum Started {
    Here(CallView),
    Before(CallView),
}

enum Committed {
    New(Receipt),
    Before(Box<CallRow>),
}

/// A call that is under way.
struct Run {
    executor: Executor,
    ready: Arc<Ready>,
    index: usize,
    connections: Arc<[Connection]>,
    record: Record,
    view: CallView,
}

impl Run {
    async fn drive(self, approved: ApprovedCall, intent: Receipt, flight: Arc<Flight>, permit: OwnedSemaphorePermit) {
        let parts = &self.executor.0.parts;
        let limits = self.ready.prepared.limits();
        let deadline = Instant::now() + limits.wall;
        let session = self.session(&approved, &intent, deadline);
        let doors = self.doors(&session, &flight);
        let tool = self.view.tool.clone();
        let report = parts.runtime.run(&self.ready.prepared, approved, &intent, doors, deadline).await;
        drop(permit);
        let secrets = session.secrets();
        self.log(&report, &session);
        let (usage, progress) = (report.usage, report.progress.as_ref().map(|progress| progress.percent));
        let ending = Ending::of(&tool, report.output, &secrets, &*parts.entropy);
        let record = self
            .record
            .clone()
            .then(Action::CallOutcome, audit_outcome(&ending))
            .duration(usage.duration)
            .detail("fuel", usage.fuel)
            .detail("memory_peak", usage.memory_peak)
            .detail("hostcalls", usage.hostcalls)
            .detail("progress", progress);
        self.settle(ending, record, &flight).await;
    }

    /// Makes the outcome durable, then tells those who wait. Where it cannot be made durable nobody is told a result.
    async fn settle(self, ending: Ending, record: Record, flight: &Flight) {
        let parts = &self.executor.0.parts;
        let (call, finished) = (self.view.call_id, parts.clock.now());
        let status = ending.status();
        let sealed = match ending.seal(&parts.vault, call) {
            Ok(sealed) => sealed,
            Err(error) => {
                tracing::error!(%error, %call, "a result could not be sealed");
                return;
            }
        };
        let calls = parts.store.calls();
        let finish = calls.finish(call, status.as_str(), Some(sealed), finished);
        let (stored, recorded) = tokio::join!(finish, parts.audit.append(record));
        let durable = stored.is_ok() && recorded.is_ok();
        if let Err(error) = stored {
            tracing::error!(%error, %call, "the outcome of a call could not be stored");
        }
        if let Err(error) = recorded {
            tracing::error!(%error, %call, "the outcome of a call could not be recorded");
        }
        let last = if durable {
            CallView { status, output: ending.output, error: ending.error, ..self.view }
        } else {
            // The effect may have happened, the record of it has not: exactly what this status means.
            CallView { status: CallStatus::UnknownOutcome, error: Ending::unknown().error, ..self.view }
        };
        flight.finish(CallView { progress: None, finished_at: Some(finished), ..last });
    }

    fn session(&self, approved: &ApprovedCall, intent: &Receipt, deadline: Instant) -> Arc<EgressSession> {
        let parts = &self.executor.0.parts;
        let manifest = self.ready.skill.manifest();
        let request = approved.request();
        let gate = CallGate {
            audit: parts.audit.clone(),
            record: self.record.clone(),
            gate: self.executor.0.gate,
            approved: approved.risk(),
        };
        Arc::new(parts.egress.session(CallScope {
            principal: request.principal.clone(),
            skill: manifest.name.clone(),
            tool: self.view.tool.clone(),
            call: request.call,
            correlation: request.correlation,
            allowlist: Arc::clone(&self.ready.tools[self.index].allowlist),
            credentials: manifest.credentials.clone().into(),
            approved: approved.risk(),
            intent: intent.clone(),
            gate: Arc::new(gate),
            deadline: deadline.into(),
        }))
    }

    fn doors(&self, session: &Arc<EgressSession>, flight: &Arc<Flight>) -> Doors {
        let parts = &self.executor.0.parts;
        let skill = &self.ready.skill;
        let (known, told) = (Arc::clone(session), Arc::clone(flight));
        let (entropy, source) = (Arc::clone(&parts.entropy), Source::tool(&self.view.tool));
        Doors {
            http: Some(Arc::clone(session) as Arc<_>),
            state: Arc::new(StoredState::new(
                parts.store.clone(),
                skill.tenant().clone(),
                skill.manifest().name.clone(),
            )),
            connections: Arc::clone(&self.connections),
            settings: Arc::clone(&self.ready.settings),
            progress: Some(Arc::new(move |progress: &Progress| {
                let raw = RawOutput::new(source.clone(), progress.message.clone());
                let message = sanitise(raw, &known.secrets(), &*entropy).content().to_owned();
                told.progress(ProgressView { percent: progress.percent, message });
            })),
        }
    }

    /// What the skill logged, for the operator: without secrets, as one line each.
    fn log(&self, report: &RunReport, session: &EgressSession) {
        if report.logs.is_empty() && report.logs_dropped == 0 {
            return;
        }
        let secrets = session.secrets();
        let (call, tool) = (self.view.call_id, &self.view.tool);
        for line in &report.logs {
            let text = secrets.redact_text(&line.message);
            match line.level {
                LogLevel::Debug => tracing::debug!(target: "skill", %call, %tool, line = ?text),
                LogLevel::Info => tracing::info!(target: "skill", %call, %tool, line = ?text),
                LogLevel::Warn => tracing::warn!(target: "skill", %call, %tool, line = ?text),
                LogLevel::Error => tracing::error!(target: "skill", %call, %tool, line = ?text),
            }
        }
        if report.logs_dropped > 0 {
            tracing::warn!(target: "skill", %call, %tool, dropped = report.logs_dropped, "log lines over the bound");
        }
    }
}

fn for_caller(view: CallView, results: Results) -> CallView {
    CallView { output: view.output.map(|output| output.for_caller(results)), ..view }
}

/// Two requests are the same call when tool and canonical arguments are.
fn request_digest(tool: &ToolName, arguments: Digest) -> Digest {
    Digest::of_parts(&[tool.as_str().as_bytes(), arguments.as_bytes()])
}

fn is_key(key: &str) -> bool {
    (1..=255).contains(&key.chars().count()) && !key.chars().any(char::is_control)
}
