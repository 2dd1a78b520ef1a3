//! Calls that come round.

use super::detached;
use crate::auth::Caller;
use crate::extract::{Correlation, InPath, InQuery, Json};
use crate::problem::Problem;
use crate::wire::{ScheduleBody, ScheduleItem, ScheduleList, ScheduleQuery};
use crate::{Gateway, GatewayError};
use axum::extract::State;
use http::StatusCode;
use sophon_executor::ScheduleRequest;
use sophon_types::{CanonicalJson, ScheduleId};

/// What the list can be narrowed by.
pub(crate) const QUERIES: &[(&str, &str)] =
    &[("after", "Continue behind this: `next` of the page before."), ("limit", "At most so many; 100, at most 500.")];
/// Schedules of one answer.
const USUAL: u32 = 100;
const MOST: u32 = 500;

/// The schedules that the caller may see.
pub(crate) async fn list(
    State(gateway): State<Gateway>,
    caller: Caller,
    InQuery(query): InQuery<ScheduleQuery>,
) -> Result<axum::Json<ScheduleList>, Problem> {
    let after = query.after.as_deref().map(str::parse).transpose();
    let after = after.map_err(|message| GatewayError::ParameterInvalid { place: "after", message })?;
    let limit = query.limit.unwrap_or(USUAL).clamp(1, MOST);
    Ok(axum::Json(gateway.executor().schedules(&caller.principal, after, limit).await?.into()))
}

/// A schedule with its arguments.
pub(crate) async fn show(
    State(gateway): State<Gateway>,
    caller: Caller,
    InPath(id): InPath<ScheduleId>,
) -> Result<axum::Json<ScheduleItem>, Problem> {
    Ok(axum::Json(gateway.executor().schedule_of(&caller.principal, id).await?.into()))
}

/// Makes a schedule.
pub(crate) async fn create(
    State(gateway): State<Gateway>,
    caller: Caller,
    Correlation(correlation): Correlation,
    Json(body): Json<ScheduleBody>,
) -> Result<(StatusCode, axum::Json<ScheduleItem>), Problem> {
    let request = ScheduleRequest {
        tool: body.tool,
        arguments: CanonicalJson::parse(body.arguments.get().as_bytes())?,
        cron: body.cron,
        zone: body.time_zone.unwrap_or_else(|| "UTC".into()),
        jitter_seconds: body.jitter_seconds.unwrap_or(0),
        missed: body.missed.unwrap_or_else(|| "skip".into()),
        correlation,
    };
    detached(async move {
        let made = gateway.executor().schedule(&caller.principal, request).await?;
        Ok((StatusCode::CREATED, axum::Json(made.into())))
    })
    .await
}

/// Removes a schedule.
pub(crate) async fn remove(
    State(gateway): State<Gateway>,
    caller: Caller,
    Correlation(correlation): Correlation,
    InPath(id): InPath<ScheduleId>,
) -> Result<StatusCode, Problem> {
    detached(async move {
        gateway.executor().unschedule(&caller.principal, id, correlation).await?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
