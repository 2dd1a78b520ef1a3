//! Connecting accounts by OAuth: a person begins it, a browser or the command line brings the provider's answer back.

use super::detached;
use crate::auth::Caller;
use crate::extract::{Correlation, InPath, InQuery, Json};
use crate::problem::Problem;
use crate::routes::credentials::owner;
use crate::wire::{
    ConnectionBody, OauthCallbackQuery, OauthFinishBody, OauthFlow, OauthPollBody, OauthStartBody, OauthStarted,
    OauthUndecided,
};
use crate::{Gateway, GatewayError};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use http::{HeaderValue, StatusCode};
use secrecy::SecretString;
use sophon_types::ServiceName;
use sophon_vault::{Asked, Callback, Waiting, Way};

/// What the browser's way back may carry, for the document.
pub(crate) const QUERIES: &[(&str, &str)] = &[
    ("state", "Names the authorisation."),
    ("code", "What the provider gave."),
    ("iss", "Who answers (RFC 9207)."),
    ("error", "Why there is no code."),
];

/// Begins to connect an account.
pub(crate) async fn start(
    State(gateway): State<Gateway>,
    caller: Caller,
    Correlation(correlation): Correlation,
    InPath(service): InPath<ServiceName>,
    Json(body): Json<OauthStartBody>,
) -> Result<axum::Json<OauthStarted>, Problem> {
    let owner = owner(&caller, body.owner)?;
    let way = match (body.flow, body.redirect) {
        (OauthFlow::Browser, None) => Way::Gateway,
        (OauthFlow::Browser, Some(redirect)) => Way::Loopback(redirect),
        (OauthFlow::Device, None) => Way::Device,
        (OauthFlow::Device, Some(_)) => {
            let message = "a device has no redirect".to_owned();
            return Err(GatewayError::BodyInvalid { message }.into());
        }
    };
    let asked = Asked { service, owner, way, scopes: body.scopes, correlation };
    let started = detached(async move { Ok(gateway.vault().authorise(&caller.principal, asked).await?) }).await?;
    Ok(axum::Json(started.into()))
}

/// Finishes an authorisation whose answer came to a program of the caller's.
pub(crate) async fn finish(
    State(gateway): State<Gateway>,
    caller: Caller,
    Correlation(correlation): Correlation,
    InPath(service): InPath<ServiceName>,
    Json(body): Json<OauthFinishBody>,
) -> Result<axum::Json<ConnectionBody>, Problem> {
    let callback = Callback {
        service: Some(service),
        state: SecretString::from(body.state.0.as_str()),
        code: body.code.map(|code| SecretString::from(code.0.as_str())),
        iss: body.iss,
        error: body.error,
        correlation,
    };
    let info = detached(async move { Ok(gateway.vault().finish(Some(&caller.principal), callback).await?) }).await?;
    Ok(axum::Json(info.into()))
}

/// Asks whether a person has decided on their other device.
pub(crate) async fn poll(
    State(gateway): State<Gateway>,
    caller: Caller,
    Correlation(correlation): Correlation,
    InPath(service): InPath<ServiceName>,
    Json(body): Json<OauthPollBody>,
) -> Result<Response, Problem> {
    let waiting =
        detached(
            async move { Ok(gateway.vault().poll(&caller.principal, &service, &body.device.0, correlation).await?) },
        );
    Ok(match waiting.await? {
        Waiting::Connected(info) => axum::Json(ConnectionBody::from(*info)).into_response(),
        Waiting::Undecided(interval) => {
            (StatusCode::ACCEPTED, axum::Json(OauthUndecided { interval_seconds: interval })).into_response()
        }
    })
}

/// Where a browser comes back to. Whoever has it shows no key: the state, which is good once, is what counts.
pub(crate) async fn callback(
    State(gateway): State<Gateway>,
    Correlation(correlation): Correlation,
    InQuery(query): InQuery<OauthCallbackQuery>,
) -> Result<Response, Problem> {
    let callback = Callback {
        service: None,
        state: SecretString::from(query.state.0.as_str()),
        code: query.code.map(|code| SecretString::from(code.0.as_str())),
        iss: query.iss,
        error: query.error,
        correlation,
    };
    let info = detached(async move { Ok(gateway.vault().finish(None, callback).await?) }).await?;
    let mut page = format!("{} is connected. You can close this page.\n", info.service).into_response();
    // The address holds the code, which is used up; it is nobody's business all the same.
    page.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    page.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    Ok(page)
}
