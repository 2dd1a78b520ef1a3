//! Calls that come round.

use super::detached;
use crate::Gateway;
use crate::auth::Caller;
use crate::extract::{Correlation, InPath, Json};
use crate::problem::Problem;
use crate::wire::{ScheduleBody, ScheduleItem, ScheduleList};
use axum::extract::State;
use http::StatusCode;
use sophon_executor::ScheduleRequest;
use sophon_types::{CanonicalJson, ScheduleId};

/// The schedules that the caller may see.
pub(crate) async fn list(State(gateway): State<Gateway>, caller: Caller) -> Result<axum::Json<ScheduleList>, Problem> {
    let schedules = gateway.executor().schedules(&caller.principal).await?;
    Ok(axum::Json(ScheduleList { schedules: schedules.into_iter().map(ScheduleItem::from).collect() }))
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
