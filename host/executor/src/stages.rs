//! A call, stage by stage, up to the moment when it runs.

use crate::api::{CallRequest, CallStatus, CallView};
use crate::call::KEPT;
use crate::catalogue::Ready;
use crate::events::Owner;
use crate::outcome::refusal;
use crate::places::Place;
use crate::recovery::{Cause, settle_one};
use crate::run::Run;
use crate::{CallError, Executor};
use sophon_approval::{ApprovedCall, assess};
use sophon_audit::{Action, CallChange, Outcome, Receipt, Record};
use sophon_guard::{KnownSecrets, RawOutput, Source, sanitise};
use sophon_sandbox::{Access, Connection};
use sophon_skill::Runtime;
use sophon_store::{Activation, Begun, CallRow};
use sophon_types::{CallId, Digest, Principal, ToolName};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Arguments beyond this many bytes are checked on a thread of their own: no schema may keep an async worker busy.
const CHECKED_IN_PLACE: usize = 4 << 10;

/// Tells whoever waits where the call stands once that is known.
type Tell = oneshot::Sender<Result<CallView, CallError>>;

/// A call that may run, not yet durable.
struct Admitted {
    approved: ApprovedCall,
    ready: Arc<Ready>,
    index: usize,
    tool: ToolName,
    record: Record,
}

/// A call that is durable, with the evidence that lets it run.
struct ReadyToRun {
    run: Run,
    approved: ApprovedCall,
    intent: Receipt,
    place: Place,
}

/// How a call starts.
enum Start {
    /// It runs now.
    Now(Box<ReadyToRun>),
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
    pub(crate) async fn through(self, principal: Principal, request: CallRequest, tell: Tell) {
        let start = match self.repeated(&principal, &request).await {
            Ok(Some(before)) => Ok(Start::Before(Box::new(before))),
            Ok(None) => self.begin(&principal, request, &tell).await,
            Err(error) => Err(error),
        };
        let (answer, ready) = match start {
            Ok(Start::Before(view)) => (Ok(*view), None),
            Ok(Start::Now(ready)) => (Ok(ready.run.view.clone()), Some(ready)),
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

    async fn begin(&self, principal: &Principal, request: CallRequest, tell: &Tell) -> Result<Start, CallError> {
        let inner = &self.0;
        if inner.places.full_for(&principal.tenant, &principal.user) {
            // Before anything is looked up, checked or assessed: a refusal costs next to nothing.
            return Err(CallError::OverCapacity);
        }
        let key = request.idempotency_key.clone();
        let admitted = self.admit(principal, request).await?;
        let place = inner.places.take(&principal.tenant, &principal.user).await?;
        if tell.is_closed() {
            // Nothing of the call has happened, and nobody waits for it.
            return Err(CallError::Abandoned);
        }
        if inner.flights.ended() {
            return Err(CallError::ShuttingDown);
        }
        let prepared = self.prepared(&admitted.ready).await?;
        let (connections, usable) = self.connections(principal, &admitted.ready).await?;
        // What was true when the call was assessed must be true when it runs.
        let (now_ready, _) = self.resolve(principal, &admitted.tool)?;
        if !Arc::ptr_eq(&now_ready, &admitted.ready) {
            return Err(CallError::SkillChanged { tool: admitted.tool });
        }
        let now = inner.parts.clock.now();
        let asked = admitted.approved.request();
        let row = CallRow {
            id: asked.call,
            tenant: principal.tenant.clone(),
            user: principal.user.clone(),
            key: principal.key,
            tool: admitted.tool.clone(),
            correlation: asked.correlation,
            idempotency_key: key,
            request_digest: request_digest(&admitted.tool, asked.arguments.digest()),
            status: CallStatus::Running.as_str().to_owned(),
            sealed_result: None,
            created_at: now,
            finished_at: None,
            expires_at: inner.steady.now().plus(KEPT),
        };
        let view = CallView {
            call_id: asked.call,
            status: CallStatus::Running,
            tool: admitted.tool,
            risk: Some(admitted.approved.risk()),
            output: None,
            error: None,
            progress: None,
            created_at: now,
            finished_at: None,
        };
        // In the air before it is durable: a repeat that finds the row finds the flight as well.
        let flight = inner.flights.begin(view.clone());
        let intent = admitted.record.clone().detail("credentials", usable);
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
            record: admitted.record,
            owner: Owner::of(principal),
            view,
            flight: Arc::new(flight),
        };
        Ok(Start::Now(Box::new(ReadyToRun { run, approved: admitted.approved, intent, place })))
    }

    /// resolve → validate → assess → gate.
    async fn admit(&self, principal: &Principal, request: CallRequest) -> Result<Admitted, CallError> {
        let inner = &self.0;
        let tool: ToolName = request.tool.parse()?;
        let (ready, index) = self.resolve(principal, &tool)?;
        let runtime = &ready.skill.manifest().runtime;
        if *runtime != Runtime::Wasm {
            let reason = "this host has no such tier".to_owned();
            return Err(CallError::NoTier { tool, runtime: runtime.to_string(), reason });
        }
        self.validate(&ready, index, &tool, &request).await?;
        let asked = sophon_approval::CallRequest {
            principal: principal.clone(),
            call: CallId::mint_at(inner.parts.clock.now(), &*inner.parts.entropy),
            correlation: request.correlation,
            session: request.session,
            arguments: request.arguments,
        };
        let record = self.record(principal, &ready, index, &asked);
        let assessed = assess(asked, Arc::clone(&ready.skill), index, &inner.parts.policy)
            .ok_or_else(|| CallError::UnknownTool { tool: tool.clone(), reason: None })?;
        let reasons = serde_json::to_value(assessed.reasons()).unwrap_or_default();
        let record = record.risk(assessed.risk()).detail("reasons", reasons);
        match inner.gate.pass(assessed) {
            Ok(approved) => Ok(Admitted { approved, ready, index, tool, record }),
            Err(needs) => {
                let error = CallError::NeedsApproval(Box::new(needs));
                inner.parts.audit.append(record.then(Action::CallRefused, refusal(&error))).await?;
                Err(error)
            }
        }
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

    async fn validate(
        &self,
        ready: &Arc<Ready>,
        index: usize,
        tool: &ToolName,
        request: &CallRequest,
    ) -> Result<(), CallError> {
        let violations = if request.arguments.as_str().len() <= CHECKED_IN_PLACE {
            ready.tools[index].violations(request.arguments.value())
        } else {
            let (ready, arguments) = (Arc::clone(ready), request.arguments.clone());
            let checked = tokio::task::spawn_blocking(move || ready.tools[index].violations(arguments.value())).await;
            checked.map_err(|_panic| CallError::Lost)?
        };
        if violations.is_empty() {
            return Ok(());
        }
        // The skill's author wrote the schema: its words are wrapped like everything of a skill.
        let raw = RawOutput::new(Source::error(tool), violations.join("; "));
        let wrapped = sanitise(raw, &KnownSecrets::none(), &*self.0.parts.entropy).content().to_owned();
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
}

/// Two requests are the same call when tool and canonical arguments are.
fn request_digest(tool: &ToolName, arguments: Digest) -> Digest {
    Digest::of_parts(&[tool.as_str().as_bytes(), arguments.as_bytes()])
}

fn is_key(key: &str) -> bool {
    (1..=255).contains(&key.chars().count()) && !key.chars().any(char::is_control)
}
