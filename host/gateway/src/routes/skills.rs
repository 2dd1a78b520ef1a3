//! Installed skills.

use super::detached;
use crate::auth::Caller;
use crate::extract::{InPath, Weighed};
use crate::problem::Problem;
use crate::wire::{AnalysisBody, InstallBody, SkillBody, SkillList};
use crate::{Gateway, GatewayError};
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::StatusCode;
use sophon_executor::{Consent, HostChoice, InstallRequest};
use sophon_skill::Unsigned;
use sophon_types::SkillName;

/// The installed skills.
pub(crate) async fn list(State(gateway): State<Gateway>, caller: Caller) -> Result<axum::Json<SkillList>, Problem> {
    Ok(axum::Json(gateway.executor().skills(&caller.principal).into()))
}

/// Installs a package, or updates to it.
pub(crate) async fn install(
    State(gateway): State<Gateway>,
    caller: Caller,
    Weighed { body, memory }: Weighed<InstallBody>,
) -> Result<(StatusCode, axum::Json<SkillBody>), Problem> {
    let not_base64 = |error| GatewayError::BodyInvalid { message: format!("package is not base64: {error}") };
    let coded = body.package;
    let (decoded, memory) = gateway.work().run(&caller, move || (STANDARD.decode(coded), memory)).await?;
    let package = Bytes::from(decoded.map_err(not_base64)?);
    let most = gateway.config().max_package_bytes.get();
    if package.len() > most {
        return Err(GatewayError::BodyTooLarge { limit: most }.into());
    }
    // It may wait for its turn for minutes, and is no body of a request any more: those are many, and small.
    let waits = match caller.standing.is_operator() {
        true => None,
        false => {
            let busy = || GatewayError::Busy { what: "packages", setting: "max_package_bytes" };
            Some(gateway.packages().take(&caller.principal, package.len()).ok_or_else(busy)?)
        }
    };
    drop(memory);
    let request = InstallRequest {
        package,
        envelope: body.signature.map(|envelope| Bytes::from(envelope.get().to_owned())),
        unsigned: if body.dangerously_allow_unsigned { Unsigned::DangerouslyAllow } else { Unsigned::Refuse },
        consent: if body.accept_changes { Consent::ToChanges } else { Consent::AsBefore },
        grants: body.allow_hosts,
        streams: body.dangerously_allow_streams,
        hosts: if body.hosts_chosen { HostChoice::Made } else { HostChoice::Open },
        settings: body.settings,
    };
    let view = detached(async move {
        let installed = gateway.executor().install(&caller.principal, request).await;
        drop(waits);
        Ok(installed?)
    })
    .await?;
    Ok((StatusCode::CREATED, axum::Json(view.into())))
}

/// An installed skill.
pub(crate) async fn show(
    State(gateway): State<Gateway>,
    caller: Caller,
    InPath(name): InPath<SkillName>,
) -> Result<axum::Json<SkillBody>, Problem> {
    Ok(axum::Json(gateway.executor().skill(&caller.principal, &name)?.into()))
}

/// Removes a skill.
pub(crate) async fn remove(
    State(gateway): State<Gateway>,
    caller: Caller,
    InPath(name): InPath<SkillName>,
) -> Result<StatusCode, Problem> {
    detached(async move { Ok(gateway.executor().remove(&caller.principal, &name).await?) }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lets a skill's tools be called.
pub(crate) async fn enable(
    State(gateway): State<Gateway>,
    caller: Caller,
    InPath(name): InPath<SkillName>,
) -> Result<axum::Json<SkillBody>, Problem> {
    detached(async move { Ok(axum::Json(gateway.executor().enable(&caller.principal, &name).await?.into())) }).await
}

/// Stops a skill's tools from being called.
pub(crate) async fn disable(
    State(gateway): State<Gateway>,
    caller: Caller,
    InPath(name): InPath<SkillName>,
) -> Result<axum::Json<SkillBody>, Problem> {
    detached(async move { Ok(axum::Json(gateway.executor().disable(&caller.principal, &name).await?.into())) }).await
}

/// What the static analysis found.
pub(crate) async fn analysis(
    State(gateway): State<Gateway>,
    caller: Caller,
    InPath(name): InPath<SkillName>,
) -> Result<axum::Json<AnalysisBody>, Problem> {
    Ok(axum::Json(gateway.executor().analysis(&caller.principal, &name).await?.into()))
}
