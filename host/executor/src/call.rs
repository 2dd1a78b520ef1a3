//! The executor's face: what an edge asks for, and what it is told.

use crate::api::{CallRequest, CallStatus, CallView, Results, ToolView};
use crate::budget::{Budget, ToolBudget};
use crate::catalogue::{Catalogue, OfferedTool, Ready};
use crate::compiling::Compiling;
use crate::effects::Parking;
use crate::events::Events;
use crate::flight::{Flight, Flights};
use crate::install::Installing;
use crate::outcome::Ending;
use crate::places::Places;
use crate::plan::Ends;
use crate::requirements::Requirements;
use crate::results::KeptResults;
use crate::schedules::ScheduleLimits;
use crate::stages::Told;
use crate::steady::Steady;
use crate::{CallError, recovery};
use parking_lot::Mutex;
use sophon_approval::{AssessedCall, Desk, DeskParts, Gate, Policy, assess};
use sophon_audit::AuditLog;
use sophon_egress::{DestinationBudget, Egress};
use sophon_guard::Detector;
use sophon_sandbox::{ContainerRuntime, Tightening, WasmRuntime};
use sophon_store::{Activation, CallRow, Store};
use sophon_types::{CallId, CanonicalJson, Clock, CorrelationId, Entropy, Principal, Role, ToolName};
use sophon_vault::Vault;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

/// How long results are kept for those that wait or repeat a call.
pub(crate) const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// How often results that are older are removed, and rows without a call are settled.
const SWEEP: Duration = Duration::from_secs(60);
/// How long a shutdown waits for calls that it has ended.
const LAST_WAIT: Duration = Duration::from_secs(5);

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
    /// Where everything else runs, if it runs at all.
    pub containers: ContainerRuntime,
    /// Where what skills require comes from.
    pub requirements: Requirements,
    /// How text on its way to a model is searched.
    pub detector: Detector,
    /// Which components run in containers as well.
    pub tightening: Tightening,
    /// How risk is assessed, to begin with ([`Executor::follow_policy`]).
    pub policy: Policy,
    /// How much may happen at one time.
    pub limits: CallLimits,
    /// How many schedules there may be, and how often they fire.
    pub schedules: ScheduleLimits,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

/// How many calls may run, and how many may wait for their turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallLimits {
    /// Calls that run at one time; no more than the sandbox's pool has room for. One tenant has seven eighths of them
    /// at most, one user three quarters.
    pub concurrent: usize,
    /// Calls that wait for one of these places; one more is refused. One tenant has three quarters of them at most, one
    /// user half.
    pub waiting: usize,
    /// How long a call waits for its place before it is refused: long enough for calls that are over in milliseconds,
    /// short enough that a refusal is there at once.
    pub patience: Duration,
    /// Bytes that the large results of one tenant's calls may take in the store; beyond it the oldest are let go of before
    /// their 24 hours are over.
    pub results_bytes: u64,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self { concurrent: 64, waiting: 256, patience: Duration::from_millis(20), results_bytes: 512 << 20 }
    }
}

/// The executor. Cheap to clone; every clone is the same one.
#[derive(Clone)]
pub struct Executor(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) parts: Parts,
    pub(crate) catalogue: Catalogue,
    pub(crate) installing: Installing,
    pub(crate) compiling: Arc<Compiling>,
    /// Held while requirements are kept or removed.
    pub(crate) wheels: tokio::sync::Mutex<()>,
    pub(crate) gate: Gate,
    pub(crate) flights: Flights,
    pub(crate) events: Events,
    pub(crate) places: Places,
    pub(crate) results: KeptResults,
    /// Where questions wait for a person.
    pub(crate) desk: Desk,
    /// The calls that wait for a person before they run.
    pub(crate) waiting: Mutex<HashMap<CallId, Flight>>,
    /// The plans that go on.
    pub(crate) plans: Ends,
    /// Places for running calls that wait for a person.
    pub(crate) parked: Parking,
    /// How often tools are called by schedules.
    pub(crate) tool_budget: Budget,
    /// By which results expire.
    pub(crate) steady: Steady,
    pub(crate) tasks: TaskTracker,
    pub(crate) draining: AtomicBool,
}

impl Executor {
    /// Derives every installed skill again (verified, analysed, compiled) and records what was in flight when the host
    /// last stopped as of unknown outcome.
    ///
    /// # Errors
    /// [`CallError`] where the store or the audit log cannot be used. A skill that cannot be derived is listed as broken.
    pub async fn open(parts: Parts) -> Result<Self, CallError> {
        let gate = Gate::new(Arc::new(parts.policy.clone()));
        let desk = Desk::open(DeskParts {
            store: parts.store.clone(),
            audit: parts.audit.clone(),
            vault: parts.vault.clone(),
            entropy: Arc::clone(&parts.entropy),
            gate: gate.clone(),
        });
        let executor = Self(Arc::new(Inner {
            catalogue: Catalogue::default(),
            installing: Installing::default(),
            compiling: Arc::default(),
            wheels: tokio::sync::Mutex::default(),
            desk: desk.await?,
            waiting: Mutex::default(),
            plans: Ends::default(),
            parked: Parking::default(),
            gate,
            flights: Flights::default(),
            events: Events::new(&*parts.entropy),
            places: Places::new(parts.limits),
            results: KeptResults::new(parts.limits.results_bytes),
            tool_budget: Budget::default(),
            steady: Steady::begin(&*parts.clock),
            tasks: TaskTracker::new(),
            draining: AtomicBool::new(false),
            parts,
        }));
        let approved = executor.take_up_questions().await?;
        recovery::settle(&executor, recovery::Cause::Restart).await?;
        executor.load().await?;
        for answer in approved {
            executor.resume(answer);
        }
        executor.count_results().await;
        executor.sweep();
        executor.expire();
        Ok(executor)
    }

    /// Removes results that have expired, from now on until the executor is gone.
    fn sweep(&self) {
        let inner = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(SWEEP);
            let mut opened = true;
            loop {
                ticks.tick().await;
                let Some(inner) = inner.upgrade() else { return };
                let now = inner.steady.now();
                // The first tick comes at once, and what an earlier run has left is settled by then.
                if !std::mem::take(&mut opened) && !inner.draining.load(Ordering::SeqCst) {
                    let executor = Self(Arc::clone(&inner));
                    if let Err(error) = executor.end_lost_questions().await {
                        tracing::warn!(%error, "questions for which nobody waits could not be ended");
                    }
                    if let Err(error) = executor.end_lost_plans().await {
                        tracing::warn!(%error, "plans that nobody goes on with could not be ended");
                    }
                    if let Err(error) = recovery::settle(&executor, recovery::Cause::Lost).await {
                        tracing::warn!(%error, "calls without an end could not be settled");
                    }
                }
                if let Err(error) = inner.parts.store.calls().sweep_expired(now).await {
                    tracing::warn!(%error, "expired results could not be removed");
                }
                Self(Arc::clone(&inner)).count_results().await;
                if let Err(error) = inner.parts.store.plans().sweep(now).await {
                    tracing::warn!(%error, "expired plans could not be removed");
                }
                if let Err(error) = inner.desk.sweep(now).await {
                    tracing::warn!(%error, "what was decided long ago could not be removed");
                }
            }
        });
    }

    /// What happens to calls and approvals, for those who watch.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.0.events
    }

    /// From now on requests of skills are counted by their destination. Once.
    pub fn bound_destinations(&self, budget: Arc<dyn DestinationBudget>) {
        self.0.parts.egress.bound_destinations(budget);
    }

    /// From now on the calls of schedules are counted by their tool. Once. Whoever else calls has been counted at the door.
    pub fn bound_tools(&self, budget: Arc<dyn ToolBudget>) {
        self.0.tool_budget.plug(budget);
    }

    /// From now on calls are assessed by this policy. What waits for a person under another one is superseded, as it is by a
    /// start of the host with another one.
    pub fn follow_policy(&self, policy: Policy) {
        self.0.gate.follow(Arc::new(policy));
    }

    /// How text on its way to a model is searched.
    #[must_use]
    pub fn detector(&self) -> &Detector {
        &self.0.parts.detector
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
                let assessed = assessed.risk();
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

    /// The tool of this name, where the caller may use it.
    #[must_use]
    pub fn offered(&self, principal: &Principal, tool: &str) -> Option<OfferedTool> {
        let tool: ToolName = tool.parse().ok()?;
        self.resolve(principal, &tool).is_ok().then(|| OfferedTool::found(tool))
    }

    /// A call without arguments: no call of the tool has less risk.
    pub(crate) fn at_least(&self, principal: &Principal, ready: &Ready, tool: usize) -> Option<AssessedCall> {
        let request = sophon_approval::CallRequest {
            principal: principal.clone(),
            call: CallId::from_bytes([0; 16]),
            correlation: CorrelationId::from_bytes([0; 16]),
            session: None,
            arguments: CanonicalJson::of(serde_json::json!({})).ok()?,
        };
        assess(request, Arc::clone(&ready.skill), tool, &self.0.gate.policy())
    }

    /// Takes a call through every stage, and waits for its result as long as the caller asks. From its first durable
    /// trace on the call belongs to the host: it goes on when the returned future is dropped.
    ///
    /// # Errors
    /// [`CallError`] where the call was refused before anything ran. A call that ran and failed is a [`CallView`].
    pub async fn call(&self, principal: &Principal, request: CallRequest) -> Result<CallView, CallError> {
        let (results, patience) = (request.results, request.wait);
        // Taken before the question: a drain either waits for this call or is seen by it.
        let token = self.0.tasks.token();
        if self.0.draining.load(Ordering::SeqCst) {
            return Err(CallError::ShuttingDown);
        }
        let (tell, told) = oneshot::channel();
        let (executor, principal) = (self.clone(), principal.clone());
        // Boxed: a task is moved several times before it runs, and this one is some kilobytes large.
        self.0.tasks.spawn(Box::pin(async move { executor.through(principal, request, tell).await }));
        drop(token);
        let Told { view, watch } = told.await.unwrap_or(Err(CallError::Lost))?;
        // Nobody knows how long a person takes: the caller is told at once, and asks again.
        if view.status.is_final() || view.status == CallStatus::AwaitingApproval {
            return Ok(for_caller(view, results));
        }
        let last = match watch {
            Some(watch) => watch.wait(patience).await,
            None => None,
        };
        let view = match last {
            Some(view) => view,
            None => self.follow(view, patience).await?,
        };
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
        let expired = row.finished_at.is_some() && row.expires_at <= self.0.steady.now();
        if row.tenant != principal.tenant || !own || expired {
            return Err(CallError::UnknownCall);
        }
        let view = self.look(row).await?;
        let view = if view.status.is_final() { view } else { self.follow(view, patience).await? };
        Ok(for_caller(view, results))
    }

    /// Takes no more calls, waits for those that run, ends what is left after `grace` and records it as of unknown
    /// outcome.
    pub async fn drain(&self, grace: Duration) {
        self.0.draining.store(true, Ordering::SeqCst);
        self.0.tasks.close();
        // Nobody decides any more: what runs and waits for a person goes on without what it asked for.
        self.deny_effects("shutdown").await;
        if tokio::time::timeout(grace, self.0.tasks.wait()).await.is_ok() {
            return;
        }
        let ended = self.0.flights.abort();
        tracing::warn!(ended, "calls were still running when the grace period ended");
        // Whoever is told to end has ended before it is settled; and what it had submitted to the log is in it.
        if tokio::time::timeout(LAST_WAIT, self.0.tasks.wait()).await.is_err() {
            tracing::error!("calls did not end when they were told to");
        }
        if let Err(error) = self.0.parts.audit.checkpoint().await {
            tracing::error!(%error, "the audit log could not be flushed");
        }
        if let Err(error) = recovery::settle(self, recovery::Cause::Shutdown).await {
            // They are settled at the next start: their rows still say that they run.
            tracing::error!(%error, "calls in flight could not be recorded");
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

    /// A call as it stands now. A row that was read while the call ended is read again: it must not look lost.
    pub(crate) async fn look(&self, row: CallRow) -> Result<CallView, CallError> {
        let open = row.finished_at.is_none();
        let row = if open && !self.0.flights.has(row.id) {
            self.0.parts.store.calls().get(row.id).await?.ok_or(CallError::UnknownCall)?
        } else {
            row
        };
        self.view(&row)
    }

    /// A call as its row has it. A row that says that the call runs is believed only while it does.
    fn view(&self, row: &CallRow) -> Result<CallView, CallError> {
        let ending = match &row.sealed_result {
            Some(sealed) if sealed.is_empty() => Some(Ending::dropped()),
            Some(sealed) => Some(Ending::unseal(&self.0.parts.vault, row.id, sealed)?),
            None => None,
        };
        let stored = CallStatus::named(&row.status).unwrap_or(CallStatus::UnknownOutcome);
        let now = self.0.flights.view(row.id);
        let status = match (&now, stored.is_final()) {
            (_, true) => stored,
            (Some(now), false) => now.status,
            (None, false) => CallStatus::UnknownOutcome,
        };
        let ending = match ending {
            None if status == CallStatus::UnknownOutcome => Some(Ending::unknown()),
            ending => ending,
        };
        let (output, error) = ending.map_or((None, None), |ending| (ending.output, ending.error));
        Ok(CallView {
            call_id: row.id,
            status,
            tool: row.tool.clone(),
            risk: None,
            output,
            error,
            progress: None,
            approval: now.filter(|_| !status.is_final()).and_then(|now| now.approval),
            created_at: row.created_at,
            finished_at: row.finished_at,
        })
    }
}

fn for_caller(view: CallView, results: Results) -> CallView {
    CallView { output: view.output.map(|output| output.for_caller(results)), ..view }
}
