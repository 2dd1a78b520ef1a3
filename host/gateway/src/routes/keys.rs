//! API keys. A key's intent is recorded before it exists, and its end before it is refused.

use super::detached;
use crate::auth::Caller;
use crate::extract::{Correlation, InPath, Json};
use crate::key::{KeyText, KeyUse, word_of};
use crate::problem::Problem;
use crate::wire::{KeyBody, KeyList, KeyMade, KeyView};
use crate::{Gateway, GatewayError};
use axum::extract::State;
use http::StatusCode;
use sophon_audit::{Action, Outcome, Record};
use sophon_executor::Results;
use sophon_store::KeyRow;
use sophon_types::{Fault as _, KeyId};

/// The longest label.
const LONGEST_LABEL: usize = 200;

/// The API keys of the tenant.
pub(crate) async fn list(State(gateway): State<Gateway>, caller: Caller) -> Result<axum::Json<KeyList>, Problem> {
    let rows = gateway.store().keys().list(&caller.principal.tenant).await?;
    Ok(axum::Json(KeyList { keys: rows.into_iter().map(KeyView::from).collect() }))
}

/// Makes an API key.
pub(crate) async fn create(
    State(gateway): State<Gateway>,
    caller: Caller,
    Correlation(correlation): Correlation,
    Json(body): Json<KeyBody>,
) -> Result<(StatusCode, axum::Json<KeyMade>), Problem> {
    let tenant = body.tenant.unwrap_or_else(|| caller.principal.tenant.clone());
    if tenant != caller.principal.tenant && !caller.standing.is_operator() {
        return Err(GatewayError::ScopeRefused { what: format!("the tenant {tenant}") }.into());
    }
    if body.label.len() > LONGEST_LABEL || body.label.contains(char::is_control) {
        let message = format!("label must have at most {LONGEST_LABEL} bytes and no control characters");
        return Err(GatewayError::BodyInvalid { message }.into());
    }
    let text = KeyText::mint(KeyUse::Api, gateway.entropy());
    let results = if body.structured_results { Results::Structured } else { Results::Text };
    let row = KeyRow {
        id: KeyId::mint(gateway.entropy()),
        results: word_of(results).to_owned(),
        tenant,
        user: body.user,
        role: body.role,
        label: body.label,
        secret_digest: text.digest(),
        created_at: gateway.clock().now(),
        revoked_at: None,
    };
    let view = detached(async move {
        let record = |outcome| {
            Record::new(Action::KeyCreate, outcome)
                .principal(&caller.principal)
                .correlation(correlation)
                .detail("key_id", row.id.to_string())
                .detail("key_tenant", row.tenant.as_str())
                .detail("key_user", row.user.as_str())
                .detail("key_role", row.role.as_str())
        };
        gateway.audit().append(record(Outcome::Intent)).await?;
        let generation = gateway.authenticator().generation();
        if let Err(error) = gateway.store().keys().insert(row.clone()).await {
            gateway.audit().append(record(Outcome::failed(error.code()))).await?;
            return Err(error.into());
        }
        gateway.authenticator().made(generation, &row);
        gateway.audit().append(record(Outcome::Ok)).await?;
        Ok(KeyView::from(row))
    })
    .await?;
    Ok((StatusCode::CREATED, axum::Json(KeyMade { key: text.expose().to_owned(), view })))
}

/// Refuses an API key from now on.
pub(crate) async fn revoke(
    State(gateway): State<Gateway>,
    caller: Caller,
    Correlation(correlation): Correlation,
    InPath(id): InPath<KeyId>,
) -> Result<StatusCode, Problem> {
    detached(async move {
        let record = |outcome| {
            Record::new(Action::KeyRevoke, outcome)
                .principal(&caller.principal)
                .correlation(correlation)
                .detail("key_id", id.to_string())
        };
        gateway.audit().append(record(Outcome::Intent)).await?;
        let now = gateway.clock().now();
        let revoked = gateway.store().keys().revoke(&caller.principal.tenant, id, now).await;
        // Whatever is said of it: the change may have been made.
        gateway.authenticator().forget(id);
        let revoked = match revoked {
            Ok(revoked) => revoked,
            Err(error) => {
                gateway.audit().append(record(Outcome::failed(error.code()))).await?;
                return Err(error.into());
            }
        };
        if revoked.is_none() {
            gateway.audit().append(record(Outcome::Failed { code: "not_found".into() })).await?;
            return Err(GatewayError::NotFound { what: format!("key {id}") }.into());
        }
        gateway.audit().append(record(Outcome::Ok)).await?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
