//! The gate: what passes by itself, and what waits for a person.

use crate::{AssessedCall, CallRequest, Reason};
use sophon_skill::{InstalledSkill, Tool};
use sophon_types::{Fault, FaultKind, Risk, Stage, ToolName};
use std::sync::Arc;

/// Lets calls pass up to a ceiling; above it only a person can.
#[derive(Debug, Clone, Copy)]
pub struct Gate {
    ceiling: Risk,
}

impl Default for Gate {
    /// `none`, `low` and a single `medium` call pass; `high` and above always ask (DESIGN: risk and approval).
    fn default() -> Self {
        Self { ceiling: Risk::Medium }
    }
}

impl Gate {
    /// Passes the call, or says that a person has to approve it.
    ///
    /// # Errors
    /// [`NeedsApproval`] where the risk is above the ceiling.
    pub fn pass(&self, call: AssessedCall) -> Result<ApprovedCall, NeedsApproval> {
        if call.risk() > self.ceiling {
            return Err(NeedsApproval {
                tool: call.tool().name.clone(),
                risk: call.risk(),
                ceiling: self.ceiling,
                reasons: call.reasons().to_vec(),
            });
        }
        Ok(ApprovedCall { risk: call.risk(), request: call.request, skill: call.skill, tool: call.tool })
    }

    /// Whether a request of a running skill may go out: it is no riskier than what was approved for the call, or
    /// would pass by itself as a call of its own.
    #[must_use]
    pub fn admits_effect(&self, approved: Risk, effect: Risk) -> bool {
        effect <= approved.max(self.ceiling)
    }
}

/// Evidence that a call may run, with exactly these arguments. Made by the gate only, used up by running it.
#[derive(Debug)]
pub struct ApprovedCall {
    request: CallRequest,
    skill: Arc<InstalledSkill>,
    tool: usize,
    risk: Risk,
}

impl ApprovedCall {
    /// The call, with the exact arguments that were approved.
    #[must_use]
    pub fn request(&self) -> &CallRequest {
        &self.request
    }

    /// The skill that runs.
    #[must_use]
    pub fn skill(&self) -> &Arc<InstalledSkill> {
        &self.skill
    }

    /// The tool that runs.
    #[must_use]
    pub fn tool(&self) -> &Tool {
        &self.skill.manifest().tools[self.tool]
    }

    /// The risk that was approved. Requests of the running skill are measured against it ([`Gate::admits_effect`]).
    #[must_use]
    pub fn risk(&self) -> Risk {
        self.risk
    }
}

/// The call is above what passes by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{tool}: the call is of risk {risk}, and above {ceiling} a person has to approve it ({})", list(.reasons))]
pub struct NeedsApproval {
    /// The tool.
    pub tool: ToolName,
    /// The effective risk.
    pub risk: Risk,
    /// The highest risk that passes by itself.
    pub ceiling: Risk,
    /// Why the risk is what it is.
    pub reasons: Vec<Reason>,
}

fn list(reasons: &[Reason]) -> String {
    reasons.iter().map(|reason| reason.why.as_str()).collect::<Vec<_>>().join("; ")
}

impl Fault for NeedsApproval {
    fn stage(&self) -> Stage {
        Stage::Gate
    }
    fn kind(&self) -> FaultKind {
        FaultKind::NeedsApproval
    }
    fn code(&self) -> &'static str {
        "approval_required"
    }
    fn hint(&self) -> Option<String> {
        Some(format!(
            "call a tool of risk {} or lower, or narrow what this tool may do in the skill's manifest",
            self.ceiling
        ))
    }
}
