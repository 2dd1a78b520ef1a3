//! What the host keeps for one running call, and its bounds. Thrown away with the store.

use super::budget::Budget;
use super::wasi::Wasi;
use super::workspace::Workspace;
use crate::lines::Lines;
use crate::{Doors, Limits, LogLevel, Progress};
use sophon_egress::Deadline;
use std::path::Path;
use std::sync::Arc;
use wasmtime::{Error, ResourceLimiter};

/// The store's data: one a call.
pub(super) struct Host {
    pub(super) limits: Limits,
    pub(super) deadline: Arc<Deadline>,
    pub(super) doors: Doors,
    pub(super) usage: Meter,
    pub(super) budget: Arc<Budget>,
    pub(super) lines: Lines,
    pub(super) progress: Option<Progress>,
    pub(super) wasi: Option<Box<Wasi>>,
    /// Made at first use, and lent to a thread that may block for as long as that works in it.
    pub(super) workspace: Option<Workspace>,
    /// Where workspaces are made; nothing: in the system's folder for temporary files.
    pub(super) workspaces: Option<Arc<Path>>,
}

impl Host {
    pub(super) fn new(doors: Doors, limits: Limits, deadline: Arc<Deadline>, workspaces: Option<Arc<Path>>) -> Self {
        Self {
            deadline,
            doors,
            usage: Meter::default(),
            budget: Budget::new(&limits),
            lines: Lines::bounded(limits.log_bytes),
            progress: None,
            wasi: None,
            workspace: None,
            workspaces,
            limits,
        }
    }

    /// Counts one host call that carried `bytes` from the guest.
    pub(super) fn enter(&mut self, bytes: usize) -> Result<(), Error> {
        self.usage.hostcalls += 1;
        self.budget.carry(bytes)?;
        self.overdrawn()?;
        // Neither fuel nor epochs move while the host works, so a flood of cheap calls would outlive the deadline.
        if self.deadline.passed() {
            return Err(DeadlinePassed.into());
        }
        Ok(())
    }

    /// Counts `bytes` that a host call carries back to the guest.
    pub(super) fn give(&self, bytes: usize) -> Result<(), Error> {
        Ok(self.budget.carry(bytes)?)
    }

    /// Whether the call has gone over a bound that could not end it on the spot: WASI's functions are wasmtime's, so
    /// what they use up is looked at whenever the epoch moves, and once more at the end.
    pub(super) fn overdrawn(&self) -> Result<(), Exceeded> {
        if self.usage.hostcalls > self.limits.hostcalls {
            return Err(Exceeded::new(format!("more than {} host calls", self.limits.hostcalls)));
        }
        self.budget.overdrawn()
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
        self.limits.tables
    }

    fn memories(&self) -> usize {
        self.limits.memories
    }
}
