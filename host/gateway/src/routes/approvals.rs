//! Questions to a person, sessions and standing yeses.

use super::detached;
use crate::auth::Caller;
use crate::extract::{InPath, InQuery, Json};
use crate::page::{self, MOST, PageQuery, USUAL};
use crate::problem::Problem;
use crate::wire::{
    ApprovalBody, ApprovalList, ApprovalQuery, ApproveBody, GrantBody, GrantItem, GrantList, RaiseBody, RejectBody,
    SessionBody, SessionList, SessionQuery,
};
use crate::{Gateway, GatewayError};
use axum::extract::State;
use http::StatusCode;
use sophon_approval::{Listing, Status};
use sophon_executor::{Approve, GrantRequest, Scope};
use sophon_store::Sessions;
use sophon_types::{ApprovalId, CanonicalJson, Digest, GrantId, Risk, SessionId, Timestamp};
use std::str::FromStr;
use std::time::Duration;

/// What the list can be narrowed by.
pub(crate) const QUERIES: &[(&str, &str)] = &[
    ("status", "pending, approved, rejected, expired or cancelled."),
    ("before", "Asked before this moment: created_at of the last one of the page before."),
    ("limit", "At most so many; 100, at most 500."),
];
/// Bytes of a reason.
const REASON: usize = 2000;

/// The questions that the caller may see.
pub(crate) async fn list(
    State(gateway): State<Gateway>,
    caller: Caller,
    InQuery(query): InQuery<ApprovalQuery>,
) -> Result<axum::Json<ApprovalList>, Problem> {
    let before = query.before.as_deref().map(Timestamp::parse).transpose();
    let listing = Listing {
        status: query.status.as_deref().map(|text| read::<Status>("status", text)).transpose()?,
        before: before.map_err(|message| GatewayError::ParameterInvalid { place: "before", message })?,
        limit: query.limit.unwrap_or(USUAL).clamp(1, MOST),
    };
    let views = gateway.executor().approvals(&caller.principal, listing).await?;
    Ok(axum::Json(ApprovalList::of(views, gateway.executor().detector(), gateway.entropy())))
}

/// A question.
pub(crate) async fn show(
    State(gateway): State<Gateway>,
    caller: Caller,
    InPath(id): InPath<ApprovalId>,
) -> Result<axum::Json<ApprovalBody>, Problem> {
    let view = gateway.executor().approval(&caller.principal, id).await?;
    Ok(axum::Json(ApprovalBody::of(view, gateway.executor().detector(), gateway.entropy())))
}

/// A person says yes.
pub(crate) async fn approve(
    State(gateway): State<Gateway>,
    caller: Caller,
    InPath(id): InPath<ApprovalId>,
    Json(body): Json<ApproveBody>,
) -> Result<axum::Json<ApprovalBody>, Problem> {
    let scope = match body.scope.as_deref() {
        None | Some("once") => Scope::Once,
        Some("session") => Scope::Session,
        Some(other) => return Err(wrong(&format!("scope: {other:?} is neither once nor session"))),
    };
    let arguments = body.arguments.map(|raw| CanonicalJson::parse(raw.get().as_bytes())).transpose()?;
    let fingerprint = body.fingerprint.as_deref().map(|text| read::<Digest>("fingerprint", text)).transpose()?;
    detached(async move {
        let yes = Approve { arguments, fingerprint, scope };
        let view = gateway.executor().approve(&caller.principal, id, yes).await?;
        Ok(axum::Json(ApprovalBody::of(view, gateway.executor().detector(), gateway.entropy())))
    })
    .await
}

/// A person says no.
pub(crate) async fn reject(
    State(gateway): State<Gateway>,
    caller: Caller,
    InPath(id): InPath<ApprovalId>,
    Json(body): Json<RejectBody>,
) -> Result<axum::Json<ApprovalBody>, Problem> {
    if body.reason.as_ref().is_some_and(|reason| reason.len() > REASON) {
        return Err(wrong(&format!("reason: longer than {REASON} bytes")));
    }
    detached(async move {
        let view = gateway.executor().reject(&caller.principal, id, body.reason).await?;
        Ok(axum::Json(ApprovalBody::of(view, gateway.executor().detector(), gateway.entropy())))
    })
    .await
}

/// An agent begins a session.
pub(crate) async fn begin_session(
    State(gateway): State<Gateway>,
    caller: Caller,
) -> Result<(StatusCode, axum::Json<SessionBody>), Problem> {
    detached(async move {
        let session = gateway.executor().begin_session(&caller.principal).await?;
        Ok((StatusCode::CREATED, axum::Json(session.into())))
    })
    .await
}

/// A person raises what passes by itself in a session.
pub(crate) async fn raise_session(
    State(gateway): State<Gateway>,
    caller: Caller,
    InPath(id): InPath<SessionId>,
    Json(body): Json<RaiseBody>,
) -> Result<axum::Json<SessionBody>, Problem> {
    let to = read::<Risk>("auto_approve_ceiling", &body.auto_approve_ceiling)?;
    let lasts = Duration::from_secs(body.expires_in);
    detached(async move {
        let session = gateway.executor().raise_session(&caller.principal, id, to, lasts).await?;
        Ok(axum::Json(session.into()))
    })
    .await
}

/// What the list of sessions can be narrowed by.
pub(crate) const SESSION_QUERIES: &[(&str, &str)] =
    &[("raised", "true: those only whose ceiling a person has raised, while that holds."), page::AFTER, page::LIMIT];

/// The sessions that have not ended.
pub(crate) async fn sessions(
    State(gateway): State<Gateway>,
    caller: Caller,
    InQuery(query): InQuery<SessionQuery>,
) -> Result<axum::Json<SessionList>, Problem> {
    let which = if query.raised.unwrap_or(false) { Sessions::Raised } else { Sessions::All };
    let page = PageQuery { after: query.after, limit: query.limit };
    let sessions = gateway.executor().sessions(&caller.principal, which, page.part()?).await?;
    let (sessions, next) = page.cut(sessions, |row| (row.created_at, row.id));
    Ok(axum::Json(SessionList { sessions: sessions.into_iter().map(SessionBody::from).collect(), next }))
}

/// A person ends a session.
pub(crate) async fn end_session(
    State(gateway): State<Gateway>,
    caller: Caller,
    InPath(id): InPath<SessionId>,
) -> Result<StatusCode, Problem> {
    detached(async move {
        gateway.executor().end_session(&caller.principal, id).await?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// The standing yeses.
pub(crate) async fn grants(
    State(gateway): State<Gateway>,
    caller: Caller,
    InQuery(query): InQuery<PageQuery>,
) -> Result<axum::Json<GrantList>, Problem> {
    let grants = gateway.executor().grants(&caller.principal, query.part()?).await?;
    let (grants, next) = query.cut(grants, |(row, _)| (row.created_at, row.id));
    Ok(axum::Json(GrantList { grants: grants.into_iter().map(GrantItem::from).collect(), next }))
}

/// A person gives a standing yes.
pub(crate) async fn grant(
    State(gateway): State<Gateway>,
    caller: Caller,
    Json(body): Json<GrantBody>,
) -> Result<(StatusCode, axum::Json<GrantItem>), Problem> {
    let user = body.user.map(|user| user.parse()).transpose();
    let request = GrantRequest {
        user: user.map_err(|error| wrong(&format!("user: {error}")))?,
        tool: body.tool,
        arguments: CanonicalJson::parse(body.arguments.get().as_bytes())?,
        risk: read::<Risk>("risk", &body.risk)?,
        lasts: Duration::from_secs(body.expires_in),
    };
    detached(async move {
        let granted = gateway.executor().grant(&caller.principal, request).await?;
        Ok((StatusCode::CREATED, axum::Json(granted.into())))
    })
    .await
}

/// A person takes a standing yes back.
pub(crate) async fn revoke_grant(
    State(gateway): State<Gateway>,
    caller: Caller,
    InPath(id): InPath<GrantId>,
) -> Result<StatusCode, Problem> {
    detached(async move {
        gateway.executor().revoke_grant(&caller.principal, id).await?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

fn read<T: FromStr<Err: std::fmt::Display>>(place: &'static str, text: &str) -> Result<T, GatewayError> {
    text.parse().map_err(|error: T::Err| GatewayError::ParameterInvalid { place, message: error.to_string() })
}

fn wrong(message: &str) -> Problem {
    GatewayError::BodyInvalid { message: message.to_owned() }.into()
}
