//! How handlers read a request. Each rejection is a problem of this gateway, never a library's plain text.

use crate::auth::Caller;
use crate::problem::Problem;
use crate::shares::Share;
use crate::{Gateway, GatewayError};
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use sophon_types::CorrelationId;

/// The largest body that is parsed where it was read: it takes a fraction of a millisecond.
const PARSED_AT_ONCE: usize = 64 * 1024;

/// The most bytes of body that the route at hand takes; set by the table of routes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimit(pub(crate) usize);

/// What a parser may say of a body that it could not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quote {
    /// Its own words, which may repeat a part of the body.
    Freely,
    /// Only where; the body holds secrets.
    Never,
}

/// A type that a body can be read as.
pub(crate) trait WireBody: DeserializeOwned + Send + 'static {
    /// What may be said of a body that is not one.
    const QUOTE: Quote = Quote::Freely;
}

/// A JSON body.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<T: WireBody> FromRequest<Gateway> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, gateway: &Gateway) -> Result<Self, Problem> {
        Weighed::from_request(request, gateway).await.map(|Weighed { body, .. }| Self(body))
    }
}

/// A JSON body for a handler that keeps it for a while, with its share of the memory for bodies.
#[derive(Debug)]
pub(crate) struct Weighed<T> {
    /// The body.
    pub(crate) body: T,
    /// To be dropped when the body is; the operator's is not counted.
    pub(crate) memory: Option<Share>,
}

impl<T: WireBody> FromRequest<Gateway> for Weighed<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, gateway: &Gateway) -> Result<Self, Problem> {
        let declared = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = declared.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(GatewayError::MediaTypeRefused.into());
        }
        let caller = request.extensions().get::<Caller>().cloned();
        let caller = caller.ok_or_else(|| without_caller(request.uri().path()))?;
        let (bytes, memory) = read(request, &caller, gateway).await?;
        let large = bytes.len() > PARSED_AT_ONCE;
        let parse = move || serde_json::from_slice(&bytes).map(|body| Self { body, memory });
        let parsed = if large { gateway.work().run(&caller, parse).await? } else { parse() };
        Ok(parsed.map_err(|error| GatewayError::BodyInvalid { message: said(&error, T::QUOTE) })?)
    }
}

/// Reads a body of at most the route's size, from a client that keeps sending. The share of the memory for bodies is
/// held until what was read is made into something else.
async fn read(request: Request, by: &Caller, gateway: &Gateway) -> Result<(Bytes, Option<Share>), Problem> {
    let patience = gateway.config().stall();
    let busy = || GatewayError::Busy { what: "bytes", setting: "max_package_bytes" };
    // What tenants do never keeps the person at the machine from their own gateway.
    let mut held = match by.standing.is_operator() {
        true => None,
        false => Some(gateway.bodies().take(&by.principal, 0).ok_or_else(busy)?),
    };
    let limit = request.extensions().get::<BodyLimit>().map_or(0, |limit| limit.0);
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(GatewayError::BodyTooLarge { limit }.into());
    }
    let mut body = Limited::new(request.into_body(), limit);
    let mut bytes = BytesMut::new();
    loop {
        match tokio::time::timeout(patience, body.frame()).await {
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    if held.as_mut().is_some_and(|held| !held.grow(data.len())) {
                        return Err(busy().into());
                    }
                    bytes.extend_from_slice(&data);
                }
            }
            Ok(None) => return Ok((bytes.freeze(), held)),
            Ok(Some(Err(error))) if error.is::<LengthLimitError>() => {
                return Err(GatewayError::BodyTooLarge { limit }.into());
            }
            Ok(Some(Err(error))) => {
                return Err(GatewayError::BodyInvalid { message: format!("it ended early: {error}") }.into());
            }
            Err(_elapsed) => {
                let message = format!("nothing more of it came for {} seconds", patience.as_secs());
                return Err(GatewayError::BodyInvalid { message }.into());
            }
        }
    }
}

fn said(error: &serde_json::Error, quote: Quote) -> String {
    match quote {
        Quote::Freely => error.to_string(),
        Quote::Never if error.is_data() => {
            format!(
                "a field is missing, unknown or of the wrong type near line {} column {}",
                error.line(),
                error.column()
            )
        }
        Quote::Never => format!("not JSON at line {} column {}", error.line(), error.column()),
    }
}

/// The variable parts of the path.
#[derive(Debug)]
pub(crate) struct InPath<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Gateway> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Gateway) -> Result<Self, Problem> {
        match Path::<T>::from_request_parts(parts, gateway).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(rejection) => {
                Err(GatewayError::ParameterInvalid { place: "path", message: rejection.body_text() }.into())
            }
        }
    }
}

/// The query string.
#[derive(Debug)]
pub(crate) struct InQuery<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<Gateway> for InQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Gateway) -> Result<Self, Problem> {
        match Query::<T>::from_request_parts(parts, gateway).await {
            Ok(Query(value)) => Ok(Self(value)),
            Err(rejection) => {
                Err(GatewayError::ParameterInvalid { place: "query", message: rejection.body_text() }.into())
            }
        }
    }
}

/// The caller, where the table of routes asks for one.
impl FromRequestParts<Gateway> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _gateway: &Gateway) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| without_caller(parts.uri.path()).into())
    }
}

fn without_caller(path: &str) -> GatewayError {
    GatewayError::Broken { detail: format!("{path} has no caller in the table") }
}

/// What joins everything that this request causes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Correlation(pub(crate) CorrelationId);

impl FromRequestParts<Gateway> for Correlation {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Gateway) -> Result<Self, Problem> {
        let fresh = || Self(CorrelationId::mint(gateway.entropy()));
        Ok(parts.extensions.get::<Self>().copied().unwrap_or_else(fresh))
    }
}

/// A body that arrives line by line.
pub(crate) fn streamed(body: Body, media_type: &'static str) -> axum::response::Response {
    let mut response = axum::response::Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(media_type));
    response
}
