//! How often tools are called by what no edge has let in: a firing of a schedule has come through no gateway, and counts like a
//! call all the same. Who counts is plugged in.

use sophon_types::{Principal, ToolName};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Counts calls of a tool.
pub trait ToolBudget: Send + Sync {
    /// Counts one call on behalf of `principal`.
    ///
    /// # Errors
    /// How long until the next one is let in.
    fn take(&self, principal: &Principal, tool: &ToolName) -> Result<(), Duration>;
}

/// The place where a budget is plugged in; without one nothing is counted.
#[derive(Default)]
pub(crate) struct Budget(OnceLock<Arc<dyn ToolBudget>>);

impl Budget {
    pub(crate) fn plug(&self, budget: Arc<dyn ToolBudget>) {
        if self.0.set(budget).is_err() {
            tracing::warn!("tools are bounded already; the first budget stays");
        }
    }

    pub(crate) fn take(&self, principal: &Principal, tool: &ToolName) -> Result<(), Duration> {
        self.0.get().map_or(Ok(()), |budget| budget.take(principal, tool))
    }
}
