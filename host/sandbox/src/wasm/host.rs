//! What the host keeps for one running call, and its bounds. Thrown away with the store.

use super::output::Lines;
use super::wasi::Wasi;
use super::workspace::Workspace;
use crate::{Doors, Limits, LogLevel, Progress};
use std::time::Instant;
use wasmtime::{Error, ResourceLimiter};

/// The store's data: one a call.
pub(super) struct Host {
    pub(super) limits: Limits,
    pub(super) deadline: Instant,
    pub(super) doors: Doors,
    pub(super) usage: Meter,
    pub(super) lines: Lines,
    pub(super) progress: Option<Progress>,
    pub(super) wasi: Option<Box<Wasi>>,
    pub(super) workspace: Option<Workspace>,
}

impl Host {
    pub(super) fn new(doors: Doors, limits: Limits, deadline: Instant) -> Self {
        let lines = Lines::bounded(limits.log_bytes);
        let usage = Meter::default();
        Self { limits, deadline, doors, usage, lines, progress: None, wasi: None, workspace: None }
    }

    /// Counts one host call that carried `bytes` from the guest.
    pub(super) fn enter(&mut self, bytes: usize) -> Result<(), Error> {
        self.usage.hostcalls += 1;
        self.usage.hostcall_bytes = self.usage.hostcall_bytes.saturating_add(bytes as u64);
        if self.usage.hostcalls > self.limits.hostcalls {
            return Err(Exceeded::new(format!("more than {} host calls", self.limits.hostcalls)).into());
        }
        if self.usage.hostcall_bytes > self.limits.hostcall_total_bytes {
            let most = self.limits.hostcall_total_bytes;
            return Err(Exceeded::new(format!("more than {most} bytes through host calls")).into());
        }
        // Neither fuel nor epochs move while the host works, so a flood of cheap calls would outlive the deadline.
        if Instant::now() >= self.deadline {
            return Err(DeadlinePassed.into());
        }
        Ok(())
    }

    pub(super) fn log(&mut self, level: LogLevel, message: &str) {
        self.lines.push(level, message);
    }
}

/// What the call has used so far.
#[derive(Debug, Default)]
pub(super) struct Meter {
    pub(super) memory: usize,
    pub(super) memory_peak: usize,
    pub(super) memory_refused: bool,
    pub(super) table_elements: usize,
    pub(super) table_refused: bool,
    pub(super) hostcalls: u64,
    pub(super) hostcall_bytes: u64,
    pub(super) http_requests: u32,
    pub(super) progress_reports: u32,
}

/// A bound of the host was hit inside a host call; ends the run.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Exceeded(String);

impl Exceeded {
    pub(super) fn new(what: String) -> Self {
        Self(what)
    }
}

/// The deadline was found to have passed while the skill was running or entering the host.
#[derive(Debug, thiserror::Error)]
#[error("the deadline has passed")]
pub(super) struct DeadlinePassed;

/// Memory and tables are summed over the store: wasmtime's own `StoreLimits` bounds each memory by itself.
impl ResourceLimiter for Host {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool, Error> {
        let total = self.usage.memory.saturating_add(desired.saturating_sub(current));
        if total > self.limits.memory {
            self.usage.memory_refused = true;
            return Ok(false);
        }
        if maximum.is_some_and(|most| desired > most) {
            return Ok(false);
        }
        self.usage.memory = total;
        self.usage.memory_peak = self.usage.memory_peak.max(total);
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool, Error> {
        let total = self.usage.table_elements.saturating_add(desired.saturating_sub(current));
        if total > self.limits.table_elements {
            self.usage.table_refused = true;
            return Ok(false);
        }
        if maximum.is_some_and(|most| desired > most) {
            return Ok(false);
        }
        self.usage.table_elements = total;
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.limits.instances
    }

    fn tables(&self) -> usize {
        self.limits.instances
    }

    fn memories(&self) -> usize {
        self.limits.instances
    }
}
