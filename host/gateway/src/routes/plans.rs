//! Plans: several calls at once.

use super::calls::{USUAL_WAIT, idempotency_key, seconds, session};
use crate::auth::Caller;
use crate::extract::{Correlation, InPath, InQuery, Json};
use crate::problem::Problem;
use crate::wire::{PlanAnswer, PlanBody, WaitQuery};
use crate::{Gateway, GatewayError};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode};
use sophon_executor::{OnFailure, PlanRequest, PlanStep, PlanView, Reference};
use sophon_types::{CanonicalJson, PlanId};
use std::time::Duration;

/// Takes a plan. It is the host's from here on.
pub(crate) async fn plan(
    State(gateway): State<Gateway>,
    caller: Caller,
    Correlation(correlation): Correlation,
    headers: HeaderMap,
    Json(body): Json<PlanBody>,
) -> Result<Response, Problem> {
    let Some(_place) = gateway.calls().take(&caller.principal, 1) else {
        return Err(GatewayError::Busy { what: "calls", setting: "max_concurrent_calls" }.into());
    };
    let on_failure = match body.on_failure.as_deref() {
        None | Some("stop") => OnFailure::Stop,
        Some("continue") => OnFailure::Continue,
        Some(other) => {
            let message = format!("on_failure: {other:?} is neither stop nor continue");
            return Err(GatewayError::BodyInvalid { message }.into());
        }
    };
    let mut steps = Vec::with_capacity(body.steps.len());
    for (n, step) in body.steps.into_iter().enumerate() {
        let references = step.references.into_iter();
        steps.push(PlanStep {
            name: step.name.unwrap_or_else(|| format!("step{}", n + 1)),
            tool: step.tool,
            arguments: CanonicalJson::parse(step.arguments.get().as_bytes())?,
            references: references.map(|one| Reference { at: one.at, step: one.step, path: one.path }).collect(),
        });
    }
    sophon_executor::check_plan(&steps)?;
    for step in &steps {
        // A name that is no tool of the caller's is refused below, and counted nowhere.
        if let Some(tool) = gateway.executor().offered(&caller.principal, &step.tool) {
            gateway.limits().tool(&caller.principal, &tool)?;
        }
    }
    let request = PlanRequest {
        steps,
        on_failure,
        session: body.session.as_deref().map(session).transpose()?,
        idempotency_key: idempotency_key(body.idempotency_key, &headers)?,
        wait: body.wait_seconds.map_or(USUAL_WAIT, seconds).min(gateway.config().longest_wait()),
        correlation,
        results: caller.results,
    };
    let executor = gateway.executor().clone();
    // Submitting is not cut short by a client that hangs up in the middle of it.
    let taken = super::detached(async move { Ok(executor.plan(&caller.principal, request).await?) }).await?;
    Ok(answer(taken))
}

/// Where a plan stands.
pub(crate) async fn status(
    State(gateway): State<Gateway>,
    caller: Caller,
    InPath(id): InPath<PlanId>,
    InQuery(query): InQuery<WaitQuery>,
) -> Result<Response, Problem> {
    let wait = query.wait.map_or(Duration::ZERO, seconds).min(gateway.config().longest_wait());
    let place = if wait.is_zero() { None } else { gateway.calls().take(&caller.principal, 1) };
    // Without a place to wait in, the answer is how the plan stands now.
    let wait = if place.is_some() { wait } else { Duration::ZERO };
    let view = gateway.executor().plan_status(&caller.principal, id, wait, caller.results).await?;
    Ok(answer(view))
}

fn answer(view: PlanView) -> Response {
    let status = if view.status.is_final() { StatusCode::OK } else { StatusCode::ACCEPTED };
    (status, axum::Json(PlanAnswer::from(view))).into_response()
}
