//! The trust store.

use super::detached;
use crate::auth::Caller;
use crate::extract::{InPath, Json};
use crate::problem::Problem;
use crate::wire::{PublisherBody, PublisherItem, PublisherList};
use crate::{Gateway, GatewayError};
use axum::extract::State;
use http::StatusCode;
use sophon_executor::PublisherView;

/// The longest name.
const LONGEST_NAME: usize = 100;

/// The publishers whose signatures count.
pub(crate) async fn list(State(gateway): State<Gateway>, caller: Caller) -> Result<axum::Json<PublisherList>, Problem> {
    let views = gateway.executor().publishers(&caller.principal).await?;
    let rows = gateway.store().publishers().list(&caller.principal.tenant).await?;
    let item = |view: PublisherView| {
        let row = rows.iter().find(|row| row.fingerprint == view.fingerprint);
        PublisherItem::of(view, row)
    };
    Ok(axum::Json(PublisherList { publishers: views.into_iter().map(item).collect() }))
}

/// Trusts a publisher's key.
pub(crate) async fn trust(
    State(gateway): State<Gateway>,
    caller: Caller,
    Json(body): Json<PublisherBody>,
) -> Result<(StatusCode, axum::Json<PublisherItem>), Problem> {
    let named = !body.name.is_empty() && body.name.len() <= LONGEST_NAME && !body.name.contains(char::is_control);
    if !named {
        let message = format!("name must have 1 to {LONGEST_NAME} bytes and no control characters");
        return Err(GatewayError::BodyInvalid { message }.into());
    }
    let item = detached(async move {
        let (role, principal) = (body.role.into(), &caller.principal);
        let view = gateway.executor().trust(principal, &body.public_key, &body.name, role).await?;
        let rows = gateway.store().publishers().list(&principal.tenant).await?;
        let row = rows.iter().find(|row| row.fingerprint == view.fingerprint);
        Ok(PublisherItem::of(view, row))
    })
    .await?;
    Ok((StatusCode::CREATED, axum::Json(item)))
}

/// Trusts a key no longer.
pub(crate) async fn revoke(
    State(gateway): State<Gateway>,
    caller: Caller,
    InPath(fingerprint): InPath<String>,
) -> Result<StatusCode, Problem> {
    detached(async move { Ok(gateway.executor().revoke_publisher(&caller.principal, &fingerprint).await?) }).await?;
    Ok(StatusCode::NO_CONTENT)
}
