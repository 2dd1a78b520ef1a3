//! Plans: several calls at once.

use super::CallAnswer;
use crate::extract::WireBody;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sophon_executor::{PlanView, StepView};
use utoipa::ToSchema;

/// Several calls, gated once, run one after the other.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlanBody {
    /// The steps, in their order; 1 to 50.
    pub(crate) steps: Vec<PlanStepBody>,
    /// stop (default): the steps after one that failed do not run; continue: they do, but for those that refer to it.
    pub(crate) on_failure: Option<String>,
    /// The agent's session.
    pub(crate) session: Option<String>,
    /// The same key with the same steps is the same plan, for 24 hours.
    pub(crate) idempotency_key: Option<String>,
    /// Seconds to wait for the end before the answer is 202; 30 where nothing is said.
    pub(crate) wait_seconds: Option<u32>,
}

impl WireBody for PlanBody {}

/// A step of a plan.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlanStepBody {
    /// Its name in this plan; `step1`, `step2`, … where nothing is said.
    pub(crate) name: Option<String>,
    /// The tool's full name.
    pub(crate) tool: String,
    /// The arguments.
    #[schema(value_type = Object)]
    pub(crate) arguments: Box<RawValue>,
    /// The places in the arguments that are filled from earlier results.
    #[serde(default)]
    pub(crate) references: Vec<ReferenceBody>,
}

/// A place in a step's arguments that is filled from an earlier step's result.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReferenceBody {
    /// Where in the arguments (RFC 6901).
    pub(crate) at: String,
    /// The earlier step's name.
    pub(crate) step: String,
    /// Where in its result (RFC 6901); the empty text is the whole.
    pub(crate) path: String,
}

/// Where a plan stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PlanAnswer {
    /// The plan.
    plan_id: String,
    /// awaiting_approval, running, succeeded, failed (a step has), rejected, expired, cancelled or unknown_outcome.
    status: String,
    /// The question that it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    approval_id: Option<String>,
    /// Until when that may be decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    /// The steps, in their order.
    steps: Vec<StepAnswer>,
    /// When it was asked for (RFC 3339).
    created_at: String,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<String>,
}

/// A step of a plan.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StepAnswer {
    /// Its name.
    name: String,
    /// The tool.
    tool: String,
    /// Its call; known before it runs.
    call_id: String,
    /// The call's status; `not_run` where there is no call.
    status: String,
    /// The call.
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<CallAnswer>,
}

impl From<StepView> for StepAnswer {
    fn from(step: StepView) -> Self {
        Self {
            name: step.name,
            tool: step.tool.to_string(),
            call_id: step.call_id.to_string(),
            status: step.call.as_ref().map_or("not_run", |call| call.status.as_str()).to_owned(),
            call: step.call.map(CallAnswer::from),
        }
    }
}

impl From<PlanView> for PlanAnswer {
    fn from(plan: PlanView) -> Self {
        Self {
            plan_id: plan.plan_id.to_string(),
            status: plan.status.as_str().to_owned(),
            approval_id: plan.approval.map(|approval| approval.id.to_string()),
            expires_at: plan.approval.map(|approval| approval.expires_at.to_string()),
            steps: plan.steps.into_iter().map(StepAnswer::from).collect(),
            created_at: plan.created_at.to_string(),
            finished_at: plan.finished_at.map(|at| at.to_string()),
        }
    }
}
