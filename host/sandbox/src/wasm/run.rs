//! One call: a fresh store, all limits armed, one export called, the store thrown away.

use super::bindings::exports::sophon::skill::tools::{CallContext, ToolError};
use super::engine::EPOCH;
use super::host::{DeadlinePassed, Exceeded, Host};
use super::{PreparedSkill, WasmRuntime};
use crate::{Doors, Limits, LogLine, Progress, RunFailure, ToolErrorKind};
use serde::{Deserialize, Serialize};
use sophon_approval::ApprovedCall;
use sophon_audit::Receipt;
use sophon_egress::Deadline;
use sophon_guard::{RawOutput, Source};
use sophon_types::{Digest, SkillName};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmtime::{Store, Trap, UpdateDeadline};

/// What became of a run.
#[derive(Debug)]
pub struct RunReport {
    /// The output, not yet scanned and wrapped, or why there is none.
    pub output: Result<RawOutput, RunFailure>,
    /// What the run used.
    pub usage: Usage,
    /// What the skill logged, stdout and stderr included; untrusted text.
    pub logs: Vec<LogLine>,
    /// Lines that were over the bound.
    pub logs_dropped: u64,
    /// The last progress report.
    pub progress: Option<Progress>,
}

/// What a run leaves beside its result.
pub(crate) struct Rest {
    pub(crate) usage: Usage,
    pub(crate) logs: Vec<LogLine>,
    pub(crate) logs_dropped: u64,
    pub(crate) progress: Option<Progress>,
}

impl RunReport {
    /// Nothing ran.
    /// The report of a call that did not run.
    #[must_use]
    pub fn refused(failure: RunFailure) -> Self {
        let (usage, logs) = (Usage::default(), Vec::new());
        Self { output: Err(failure), usage, logs, logs_dropped: 0, progress: None }
    }
}

/// What a run used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Units of fuel.
    pub fuel: u64,
    /// The most linear memory at one time, in bytes.
    pub memory_peak: usize,
    /// Host calls.
    pub hostcalls: u64,
    /// From the start to the end of the run.
    pub duration: Duration,
}

/// What is called: the tool by the skill's own name for it, with JSON text.
pub(crate) struct Invocation<'a> {
    pub(crate) tool: &'a str,
    pub(crate) source: Source,
    pub(crate) arguments: &'a str,
    pub(crate) call_id: String,
    pub(crate) correlation_id: String,
    pub(crate) session: Option<String>,
    /// No later than this, whatever the limits say.
    pub(crate) deadline: Option<Arc<Deadline>>,
}

impl<'a> Invocation<'a> {
    /// What an approved call invokes, where `prepared` (a skill's name and its package's digest) is what it was approved
    /// for; in whatever tier it runs, a call of any other package is refused.
    pub(crate) fn of(
        call: &'a ApprovedCall,
        (name, prepared): (&SkillName, &Digest),
        deadline: Arc<Deadline>,
    ) -> Result<Self, RunFailure> {
        let approved = call.skill().package().digest();
        if approved != prepared {
            let cause = format!("the call is of the package {approved}, and {prepared} is prepared");
            tracing::error!(skill = %name, cause, "a call was refused");
            return Err(RunFailure::Host { cause });
        }
        let (tool, request) = (call.tool(), call.request());
        Ok(Self {
            tool: &tool.local,
            source: Source::tool(&tool.name),
            arguments: request.arguments.as_str(),
            call_id: request.call.to_string(),
            correlation_id: request.correlation.to_string(),
            session: request.session.as_ref().map(ToString::to_string),
            deadline: Some(deadline),
        })
    }
}

impl WasmRuntime {
    /// Runs an approved call whose intent is durable in the audit log (`intent` is the evidence). `prepared` must be
    /// made of the package that the call was approved for; a call of any other is refused.
    ///
    /// Dropping the future ends the run at once and throws the store away.
    pub async fn run(
        &self,
        prepared: &PreparedSkill,
        call: ApprovedCall,
        _intent: &Receipt,
        doors: Doors,
        deadline: Arc<Deadline>,
    ) -> RunReport {
        let invocation = match Invocation::of(&call, (&prepared.name, prepared.digest()), deadline) {
            Ok(invocation) => invocation,
            Err(refused) => return RunReport::refused(refused),
        };
        self.invoke(prepared, invocation, doors, prepared.limits.clone()).await
    }

    pub(crate) async fn invoke(
        &self,
        prepared: &PreparedSkill,
        invocation: Invocation<'_>,
        doors: Doors,
        limits: Limits,
    ) -> RunReport {
        let most = limits.clone();
        let (text, rest) = self.invoke_text(prepared, &invocation, doors, limits).await;
        let output = text.and_then(|json| output(&json, invocation.source, &most));
        let Rest { usage, logs, logs_dropped, progress } = rest;
        RunReport { output, usage, logs, logs_dropped, progress }
    }

    /// As [`WasmRuntime::invoke`], with the result as the component wrote it.
    pub(crate) async fn invoke_text(
        &self,
        prepared: &PreparedSkill,
        invocation: &Invocation<'_>,
        doors: Doors,
        limits: Limits,
    ) -> (Result<String, RunFailure>, Rest) {
        let started = Instant::now();
        let deadline = invocation.deadline.clone().unwrap_or_else(|| Deadline::at(started + limits.wall));
        deadline.no_later_than(started + limits.wall);
        let host = Host::new(doors, limits, Arc::clone(&deadline), self.workspaces.clone());
        let mut store = Store::new(&self.inner.ticking.engine, host);
        let called = match arm(&mut store) {
            // Fuel and epochs do not fire while the host works for the skill, so the whole call is under a timer too.
            Ok(()) => tokio::select! {
                biased;
                called = call(&mut store, prepared, invocation, &deadline) => Some(called),
                () = deadline.reached() => None,
            },
            Err(error) => Some(Err(error)),
        };
        let fuel_left = store.get_fuel().unwrap_or(0);
        let mut host = store.into_data();
        let usage = Usage {
            fuel: host.limits.fuel.saturating_sub(fuel_left),
            memory_peak: host.usage.memory_peak,
            hostcalls: host.usage.hostcalls,
            duration: started.elapsed(),
        };
        let output = match called {
            None => Err(RunFailure::DeadlineExceeded { wall: host.limits.wall }),
            Some(Err(error)) => Err(explain(&error, &host, prepared)),
            Some(Ok(Err(error))) => Err(tool_failure(error, &host.limits)),
            Some(Ok(Ok(json))) => Ok(json),
        };
        // Where the call is dropped instead, the folder goes in its own time.
        if let Some(workspace) = host.workspace.take() {
            workspace.remove().await;
        }
        let (logs, logs_dropped) = host.lines.take();
        (output, Rest { usage, logs, logs_dropped, progress: host.progress })
    }
}

/// Arms every limit of the store before any code of the skill runs.
pub(super) fn arm(store: &mut Store<Host>) -> wasmtime::Result<()> {
    let limits = &store.data().limits;
    let (fuel, hostcall_bytes, handles) = (limits.fuel, limits.hostcall_bytes, limits.handles);
    store.limiter(|host| host);
    store.set_fuel(fuel)?;
    store.set_hostcall_fuel(hostcall_bytes);
    store.set_max_component_handles(handles);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|context| {
        if context.data().deadline.passed() {
            return Err(DeadlinePassed.into());
        }
        context.data().overdrawn()?;
        // At every tick the worker may turn to other calls: a busy skill does not starve them.
        Ok(UpdateDeadline::Yield(1))
    });
    Ok(())
}

async fn call(
    store: &mut Store<Host>,
    prepared: &PreparedSkill,
    invocation: &Invocation<'_>,
    deadline: &Deadline,
) -> wasmtime::Result<Result<String, ToolError>> {
    // Instantiation runs the start functions: they stand under the same limits.
    let skill = prepared.pre.instantiate_async(&mut *store).await?;
    let left = deadline.instant().saturating_duration_since(Instant::now()).max(EPOCH);
    let context = CallContext {
        call_id: invocation.call_id.clone(),
        correlation_id: invocation.correlation_id.clone(),
        session: invocation.session.clone(),
        deadline_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
    };
    let tools = skill.sophon_skill_tools();
    let result = tools.call_call_tool(&mut *store, invocation.tool, invocation.arguments, &context).await?;
    store.data().overdrawn()?;
    Ok(result)
}

pub(crate) fn output(json: &str, source: Source, limits: &Limits) -> Result<RawOutput, RunFailure> {
    if json.len() > limits.result_bytes {
        let what = format!("{} bytes, more than the {} it may have", json.len(), limits.result_bytes);
        return Err(RunFailure::BadResult { what });
    }
    match serde_json::from_str(json) {
        Ok(value) => Ok(RawOutput::structured(source, value)),
        Err(error) => Err(RunFailure::BadResult { what: format!("not JSON: {error}") }),
    }
}

/// Bytes of a tool's own error message that are kept.
const MESSAGE: usize = 16 << 10;

fn tool_failure(error: ToolError, limits: &Limits) -> RunFailure {
    let (kind, message) = match error {
        ToolError::UnknownTool(message) => (ToolErrorKind::UnknownTool, message),
        ToolError::InvalidArguments(message) => (ToolErrorKind::InvalidArguments, message),
        ToolError::NotFound(message) => (ToolErrorKind::NotFound, message),
        ToolError::Denied(message) => (ToolErrorKind::Denied, message),
        ToolError::Unavailable(message) => (ToolErrorKind::Unavailable, message),
        ToolError::Failed(message) => (ToolErrorKind::Failed, message),
    };
    let most = MESSAGE.min(limits.result_bytes);
    RunFailure::Tool { kind, message: message[..message.floor_char_boundary(most)].to_owned() }
}

/// Tells the ways a run can end badly apart.
fn explain(error: &wasmtime::Error, host: &Host, prepared: &PreparedSkill) -> RunFailure {
    if error.is::<DeadlinePassed>() {
        return RunFailure::DeadlineExceeded { wall: host.limits.wall };
    }
    if let Some(exceeded) = error.downcast_ref::<Exceeded>() {
        return RunFailure::LimitExceeded { what: exceeded.to_string() };
    }
    if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        return RunFailure::NoCapacity;
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => RunFailure::OutOfFuel { fuel: host.limits.fuel },
        Some(Trap::Interrupt) => RunFailure::DeadlineExceeded { wall: host.limits.wall },
        // A guest that is refused memory aborts; what it does then (mostly `unreachable`) is only the symptom.
        _ if host.usage.memory_refused => RunFailure::OutOfMemory { memory: host.limits.memory },
        _ if host.usage.table_refused => {
            RunFailure::LimitExceeded { what: format!("{} table elements", host.limits.table_elements) }
        }
        Some(trap) => RunFailure::Trap { trap: trap.to_string().trim_start_matches("wasm trap: ").to_owned() },
        None if error.is::<wasmtime_wasi::I32Exit>() => RunFailure::Trap { trap: "the skill called exit".into() },
        // wasmtime keeps the type of this error to itself, so its text is all there is to know it by.
        None if error.root_cause().to_string().contains("fuel allocated for hostcalls") => {
            RunFailure::LimitExceeded { what: format!("{} bytes in one host call", host.limits.hostcall_bytes) }
        }
        None => {
            tracing::warn!(skill = %prepared.name, error = format!("{error:#}"), "a run ended without a trap");
            RunFailure::Trap { trap: format!("{}", error.root_cause()) }
        }
    }
}
