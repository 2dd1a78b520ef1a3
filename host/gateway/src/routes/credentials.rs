//! Credentials. Values go in, sealed by the vault at once, and never come out again.

use super::detached;
use crate::auth::Caller;
use crate::extract::{InPath, InQuery, Json};
use crate::problem::Problem;
use crate::wire::{ConnectionBody, ConnectionList, CredentialBody, OwnerName, OwnerQuery};
use crate::{Gateway, GatewayError};
use axum::extract::State;
use http::StatusCode;
use secrecy::SecretString;
use sophon_types::{Role, ServiceName};
use sophon_vault::{Binding, HostBinding, Owner, PlacingError};
use std::collections::BTreeMap;

/// The connected accounts: the caller's own and the tenant's.
pub(crate) async fn list(
    State(gateway): State<Gateway>,
    caller: Caller,
) -> Result<axum::Json<ConnectionList>, Problem> {
    let infos = gateway.vault().list(&caller.principal.tenant, &caller.principal.user).await?;
    Ok(axum::Json(ConnectionList { connections: infos.into_iter().map(ConnectionBody::from).collect() }))
}

/// A connected account.
pub(crate) async fn show(
    State(gateway): State<Gateway>,
    caller: Caller,
    InPath(service): InPath<ServiceName>,
    InQuery(query): InQuery<OwnerQuery>,
) -> Result<axum::Json<ConnectionBody>, Problem> {
    let infos = gateway.vault().list(&caller.principal.tenant, &caller.principal.user).await?;
    let wanted = Owner::from(query.owner);
    let found = infos.into_iter().find(|info| info.service == service && info.owner == wanted);
    let found = found.ok_or_else(|| GatewayError::NotFound { what: format!("connection to {service}") })?;
    Ok(axum::Json(found.into()))
}

/// Connects an account.
pub(crate) async fn put(
    State(gateway): State<Gateway>,
    caller: Caller,
    InPath(service): InPath<ServiceName>,
    Json(body): Json<CredentialBody>,
) -> Result<axum::Json<ConnectionBody>, Problem> {
    let owner = owner(&caller, body.owner)?;
    let hosts = body.hosts.map(|hosts| hosts.iter().map(|host| host.parse::<HostBinding>()).collect());
    let placeholders: Result<BTreeMap<_, _>, PlacingError> =
        body.placeholders.into_iter().map(|(field, placing)| Ok((field, placing.read()?))).collect();
    let binding = Binding {
        hosts: hosts.transpose()?,
        attach: body.attach.and_then(Option::from),
        placeholders: placeholders.map_err(|error| GatewayError::BodyInvalid { message: error.to_string() })?,
        plain: body.plain.into_iter().collect(),
    };
    let fields: BTreeMap<String, SecretString> =
        body.fields.into_iter().map(|(name, value)| (name, SecretString::from(value.0.as_str()))).collect();
    let info =
        detached(async move { Ok(gateway.vault().put(&caller.principal, owner, &service, fields, binding).await?) })
            .await?;
    Ok(axum::Json(info.into()))
}

/// Forgets an account.
pub(crate) async fn remove(
    State(gateway): State<Gateway>,
    caller: Caller,
    InPath(service): InPath<ServiceName>,
    InQuery(query): InQuery<OwnerQuery>,
) -> Result<StatusCode, Problem> {
    let owner = owner(&caller, query.owner)?;
    detached(async move { Ok(gateway.vault().delete(&caller.principal, owner, &service).await?) }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The tenant's credentials are an admin's to change.
pub(super) fn owner(caller: &Caller, named: OwnerName) -> Result<Owner, GatewayError> {
    if named == OwnerName::Tenant && caller.principal.role != Role::Admin {
        return Err(GatewayError::ScopeRefused { what: "the tenant's credentials".into() });
    }
    Ok(named.into())
}
