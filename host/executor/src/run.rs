//! A call from its start to its end: run, sanitise, record, tell.

use crate::api::{CallStatus, CallView, ProgressView};
use crate::catalogue::Ready;
use crate::effects::CallGate;
use crate::events::{Event, Owner};
use crate::flight::Flight;
use crate::outcome::{Came, Ending, audit_outcome};
use crate::places::Place;
use crate::tier::Prepared;
use crate::{CallError, Executor};
use futures::FutureExt as _;
use sophon_approval::{ApprovedCall, FromConnection};
use sophon_audit::{Action, CallChange, CallState, Outcome, Receipt, Record};
use sophon_egress::{CallScope, Deadline, EgressSession};
use sophon_guard::{Finding, KnownSecrets, RawOutput, Source};
use sophon_sandbox::{Connection, Doors, LogLevel, Progress, RunFailure, RunReport, StoredState};
use sophon_types::Timestamp;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinError;

/// Bytes of a result that are scanned where the call runs.
const INLINE: usize = 64 << 10;

/// A call that is under way.
pub(crate) struct Run {
    pub(crate) executor: Executor,
    pub(crate) ready: Arc<Ready>,
    pub(crate) prepared: Prepared,
    pub(crate) index: usize,
    pub(crate) connections: Arc<[Connection]>,
    /// The fields of connections that stand for arguments, as its intent has them.
    pub(crate) defaults: Vec<FromConnection>,
    pub(crate) record: Record,
    pub(crate) owner: Owner,
    pub(crate) view: CallView,
    pub(crate) flight: Arc<Flight>,
}

fn is_long(ending: &Ending) -> bool {
    ending.output.as_ref().is_some_and(|output| output.content.len() > INLINE)
}

/// What a thread came to. Where it panicked this task does, as if it had done the work itself.
fn joined<T>(done: Result<T, JoinError>) -> T {
    done.unwrap_or_else(|error| {
        std::panic::resume_unwind(error.try_into_panic().unwrap_or_else(|_ended| Box::new("the host stops")))
    })
}

/// The way out of one call. Dropped, however the run ends, nothing goes out any more, whoever still holds it.
struct Open(Arc<EgressSession>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Run {
    /// Runs the call in a task that a shutdown can end, and settles it, however the run ended.
    pub(crate) async fn see_through(self, approved: ApprovedCall, intent: Receipt, place: Place) {
        let run = Arc::new(self);
        let driven = Arc::clone(&run);
        // Boxed: a task is moved several times before it runs, and this one is some kilobytes large.
        let task = tokio::spawn(Box::pin(async move {
            let ended = AssertUnwindSafe(driven.drive(approved, intent, place)).catch_unwind().await;
            let (ending, record, place) = ended.unwrap_or_else(|_panic| driven.broken());
            driven.settle(ending, record).await;
            drop(place);
        }));
        run.flight.abortable(task.abort_handle());
        // Aborted: whoever did that settles the call. A panic while settling leaves the row to the next start.
        if let Err(error) = task.await {
            tracing::error!(call = %run.view.call_id, %error, "a call was not settled by its own task");
        }
    }

    async fn drive(&self, approved: ApprovedCall, intent: Receipt, place: Place) -> (Ending, Record, Option<Place>) {
        let deadline = Deadline::at(Instant::now() + self.prepared.limits().wall);
        let session = self.session(&approved, &intent, Arc::clone(&deadline));
        let open = Open(Arc::clone(&session));
        let report = self.in_tier(approved, &intent, &session, deadline).await;
        drop(open);
        let secrets = session.secrets();
        self.log(&report, &secrets);
        let record = self.outcome_record(&report);
        let output = Came { output: report.output, refused: session.last_refusal() };
        let (ending, findings, place) = self.clean(output, secrets, place).await;
        // What is long keeps its place until it rests on the disk, so that there are never more of those than places.
        let place = is_long(&ending).then_some(place);
        self.flag(&ending, &findings);
        let record = record.then(Action::CallOutcome, audit_outcome(&ending));
        (ending, record, place)
    }

    /// Scans and wraps what came. The call keeps its place meanwhile; what is long is read on a thread that may block, so that
    /// nobody else waits for it.
    async fn clean(&self, came: Came, secrets: KnownSecrets, place: Place) -> (Ending, Vec<Finding>, Place) {
        let (executor, tool) = (self.executor.clone(), self.view.tool.clone());
        let is_long = came.output.as_ref().is_ok_and(|output| output.is_longer_than(INLINE));
        let scan = move || {
            let parts = &executor.0.parts;
            let (ending, findings) = Ending::of(&tool, came, &secrets, &parts.detector, &*parts.entropy);
            (ending, findings, place)
        };
        if !is_long {
            return scan();
        }
        joined(tokio::task::spawn_blocking(scan).await)
    }

    /// Records what was noticed in the text that the call gives. It annotates: a log that does not take it at once is
    /// said out loud, and stops the call at its outcome, where it has to.
    fn flag(&self, ending: &Ending, findings: &[Finding]) {
        let parts = &self.executor.0.parts;
        let from = if ending.error.is_some() { "error" } else { "tool" };
        let Some(record) = self.record.clone().flagged(from, findings, &parts.detector) else { return };
        if let Err(error) = parts.audit.enqueue(record) {
            tracing::warn!(call = %self.view.call_id, %error, "findings in a result could not be recorded");
        }
    }

    fn outcome_record(&self, report: &RunReport) -> Record {
        self.record
            .clone()
            .duration(report.usage.duration)
            .detail("fuel", report.usage.fuel)
            .detail("memory_peak", report.usage.memory_peak)
            .detail("hostcalls", report.usage.hostcalls)
            .detail("progress", report.progress.as_ref().map(|progress| progress.percent))
    }

    /// The end of a call in which the host itself broke.
    fn broken(&self) -> (Ending, Record, Option<Place>) {
        let failure = RunFailure::Host { cause: "a panic in the host".into() };
        let parts = &self.executor.0.parts;
        let (ending, _) = Ending::of(
            &self.view.tool,
            Came::of(Err(failure)),
            &KnownSecrets::none(),
            &parts.detector,
            &*parts.entropy,
        );
        let record = self.record.clone().then(Action::CallOutcome, audit_outcome(&ending));
        (ending, record, None)
    }

    /// Makes the outcome durable, then tells those who wait. Where it cannot be made durable nobody is told a result.
    async fn settle(&self, ending: Ending, record: Record) {
        let parts = &self.executor.0.parts;
        let (call, finished) = (self.view.call_id, parts.clock.now());
        let (ending, sealed) = self.sealed(ending).await;
        let (ending, status, record, sealed) = match sealed {
            Ok(sealed) => {
                let status = ending.status();
                (ending, status, record, Some(sealed))
            }
            Err(error) => {
                tracing::error!(%error, %call, "a result could not be sealed");
                let record = record.then(Action::CallOutcome, Outcome::Unknown);
                (Ending::unknown(), CallStatus::UnknownOutcome, record, None)
            }
        };
        let bytes = sealed.as_ref().map_or(0, Vec::len);
        self.executor.make_room(&self.owner.tenant, bytes).await;
        let finished_so = self.finish(record, status, sealed, finished).await;
        if finished_so.is_err() {
            self.executor.give_room_back(&self.owner.tenant, bytes);
        }
        let last = match finished_so {
            Ok(()) => CallView { status, output: ending.output, error: ending.error, ..self.view.clone() },
            // The effect may have happened, the record of it has not: exactly what this status means.
            Err(()) => {
                CallView { status: CallStatus::UnknownOutcome, error: Ending::unknown().error, ..self.view.clone() }
            }
        };
        let status = last.status;
        self.flight.finish(CallView { progress: None, finished_at: Some(finished), ..last });
        let event =
            Event::CallFinished { owner: self.owner.clone(), call_id: call, tool: self.view.tool.clone(), status };
        self.executor.0.events.publish(finished, event);
    }

    /// An ending, and as it is kept; what is long is sealed on a thread that may block.
    async fn sealed(&self, ending: Ending) -> (Ending, Result<Vec<u8>, CallError>) {
        let (executor, call) = (self.executor.clone(), self.view.call_id);
        let is_long = is_long(&ending);
        let seal = move || {
            let sealed = ending.seal(&executor.0.parts.vault, call);
            (ending, sealed)
        };
        if !is_long {
            return seal();
        }
        joined(tokio::task::spawn_blocking(seal).await)
    }

    /// Writes the outcome's record and the row's last state, in one transaction: a row that says how the call ended is
    /// never without the record. Tries again where the store is in trouble for a moment.
    async fn finish(
        &self,
        record: Record,
        status: CallStatus,
        sealed_result: Option<Vec<u8>>,
        at: Timestamp,
    ) -> Result<(), ()> {
        let (parts, id) = (&self.executor.0.parts, self.view.call_id);
        let change = CallChange::Finish { id, status: status.as_str().to_owned(), sealed_result, at };
        let mut pauses = [50, 600].map(Duration::from_millis).into_iter();
        loop {
            match parts.audit.append_with(record.clone(), change.clone()).await {
                Ok(receipt) if receipt.row() == CallState::Changed => return Ok(()),
                // Only an earlier try of this very change, whose answer was lost, leaves the row as it should be.
                Ok(_not_open) => return self.is_finished_as(status).await,
                Err(error) => tracing::error!(%error, call = %id, "the outcome of a call could not be recorded"),
            }
            match pauses.next() {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(()),
            }
        }
    }

    async fn is_finished_as(&self, status: CallStatus) -> Result<(), ()> {
        let id = self.view.call_id;
        match self.executor.0.parts.store.calls().get(id).await {
            Ok(Some(row)) if row.finished_at.is_some() && row.status == status.as_str() => Ok(()),
            found => {
                tracing::error!(call = %id, ?found, "a call had its last state before it ended");
                Err(())
            }
        }
    }

    fn session(&self, approved: &ApprovedCall, intent: &Receipt, deadline: Arc<Deadline>) -> Arc<EgressSession> {
        let parts = &self.executor.0.parts;
        let manifest = self.ready.skill.manifest();
        let request = approved.request();
        let gate = CallGate::new(self, approved, Arc::clone(&deadline));
        Arc::new(parts.egress.session(CallScope {
            principal: request.principal.clone(),
            skill: manifest.name.clone(),
            tool: self.view.tool.clone(),
            call: request.call,
            correlation: request.correlation,
            allowlist: Arc::clone(&self.ready.tools[self.index].allowlist),
            streams: self.ready.skill.streams().into(),
            credentials: manifest.services().into(),
            approved: approved.risk(),
            intent: intent.clone(),
            gate: Arc::new(gate),
            deadline,
        }))
    }

    pub(crate) fn doors(&self, session: &Arc<EgressSession>) -> Doors {
        let parts = &self.executor.0.parts;
        let skill = &self.ready.skill;
        let (known, told) = (Arc::clone(session), Arc::clone(&self.flight));
        let (entropy, detector) = (Arc::clone(&parts.entropy), parts.detector.clone());
        let source = Source::tool(&self.view.tool);
        Doors {
            http: Some(Arc::clone(session) as Arc<_>),
            state: Arc::new(StoredState::new(
                parts.store.clone(),
                skill.tenant().clone(),
                skill.manifest().name.clone(),
            )),
            connections: Arc::clone(&self.connections),
            tokens: Some(Arc::clone(session) as Arc<_>),
            settings: Arc::clone(&self.ready.settings),
            progress: Some(Arc::new(move |progress: &Progress| {
                let raw = RawOutput::new(source.clone(), progress.message.clone());
                let message = detector.sanitise(raw, &known.secrets(), &*entropy).content().to_owned();
                told.progress(ProgressView { percent: progress.percent, message });
            })),
        }
    }

    /// What the skill logged, for the operator: without secrets, quoted, as one line each.
    fn log(&self, report: &RunReport, secrets: &KnownSecrets) {
        let (call, tool, tenant) = (self.view.call_id, &self.view.tool, self.ready.skill.tenant());
        for line in &report.logs {
            let text = secrets.redact_text(&line.message).text;
            match line.level {
                LogLevel::Debug => tracing::debug!(target: "skill", %tenant, %call, %tool, line = ?text),
                LogLevel::Info => tracing::info!(target: "skill", %tenant, %call, %tool, line = ?text),
                LogLevel::Warn => tracing::warn!(target: "skill", %tenant, %call, %tool, line = ?text),
                LogLevel::Error => tracing::error!(target: "skill", %tenant, %call, %tool, line = ?text),
            }
        }
        if report.logs_dropped > 0 {
            tracing::warn!(target: "skill", %tenant, %call, %tool, dropped = report.logs_dropped, "log lines over the bound");
        }
    }
}
