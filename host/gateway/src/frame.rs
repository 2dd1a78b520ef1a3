//! What surrounds every request: its correlation id, the check of its names, its time, and the form of every error.

use crate::extract::Correlation;
use crate::peer::Peer;
use crate::problem::Problem;
use crate::{Gateway, GatewayError, correlation, peer};
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures::FutureExt as _;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use std::any::Any;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tracing::Instrument as _;

/// The outermost layer of the router.
pub(crate) async fn frame(State(gateway): State<Gateway>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let correlation = correlation::of(request.headers(), gateway.entropy());
    request.extensions_mut().insert(Correlation(correlation));
    let method = request.method().clone();
    let route =
        request.extensions().get::<MatchedPath>().map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let span = tracing::info_span!("request", %correlation, %method, route);

    let served = serve(&gateway, request, next).instrument(span.clone()).await;
    let mut response = complete(served, correlation);
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&correlation.to_string()) {
        headers.insert(correlation::HEADER, value);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));

    let took = began.elapsed();
    gateway.metrics().answered(&route, &method, response.status(), took);
    span.in_scope(|| tracing::debug!(status = response.status().as_u16(), ms = took.as_millis(), "answered"));
    response
}

/// The end of a request's time, which the layer of its route may lift.
#[derive(Debug, Clone, Default)]
pub(crate) struct Deadline(Arc<AtomicBool>);

impl Deadline {
    /// The request takes as long as it takes.
    pub(crate) fn lift(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_lifted(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

async fn serve(gateway: &Gateway, mut request: Request, next: Next) -> Response {
    if let Err(refused) = gateway.origins().check(request.uri(), request.headers()) {
        return Problem::from(refused).into_response();
    }
    let within = gateway.config().request_timeout();
    let deadline = Deadline::default();
    request.extensions_mut().insert(deadline.clone());
    let mut handled = pin!(AssertUnwindSafe(next.run(request)).catch_unwind());
    let handled = match tokio::time::timeout(within, handled.as_mut()).await {
        Err(_elapsed) if deadline.is_lifted() => Ok(handled.await),
        in_time => in_time,
    };
    match handled {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => {
            Problem::from(GatewayError::Broken { detail: format!("a handler panicked: {}", said(&*panic)) })
                .into_response()
        }
        Err(_elapsed) => Problem::from(GatewayError::TimedOut { seconds: within.as_secs() }).into_response(),
    }
}

/// Writes the problem that a response carries; a bare error of a library becomes a problem too.
fn complete(response: Response, correlation: sophon_types::CorrelationId) -> Response {
    let (mut parts, body) = response.into_parts();
    let problem = match parts.extensions.remove::<Problem>() {
        Some(problem) => problem,
        None if is_bare_error(parts.status, &parts.headers) => Problem::of_status(parts.status),
        None => return Response::from_parts(parts, body),
    };
    let mut response = problem.render(correlation);
    // Such as Allow of a 405, which only the router knows.
    for (name, value) in &parts.headers {
        if !response.headers().contains_key(name) && name != http::header::CONTENT_LENGTH {
            response.headers_mut().append(name, value.clone());
        }
    }
    if response.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"sophon\""));
    }
    response
}

fn is_bare_error(status: StatusCode, headers: &HeaderMap) -> bool {
    let problem = headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "application/problem+json");
    (status.is_client_error() || status.is_server_error()) && !problem
}

/// Answers what no route takes.
pub(crate) async fn no_route(State(gateway): State<Gateway>, request: Request) -> Problem {
    match gateway.limits().address(address(&gateway, &request)) {
        Ok(_reading) => GatewayError::NoRoute { path: shown(request.uri().path()) }.into(),
        Err(limited) => limited.into(),
    }
}

/// Answers a method that the route does not take.
pub(crate) async fn no_method(State(gateway): State<Gateway>, method: Method, request: Request) -> Problem {
    match gateway.limits().address(address(&gateway, &request)) {
        Ok(_reading) => {
            GatewayError::MethodRefused { method: shown(method.as_str()), path: shown(request.uri().path()) }.into()
        }
        Err(limited) => limited.into(),
    }
}

/// The address that a request is counted under.
pub(crate) fn address(gateway: &Gateway, request: &Request) -> Option<IpAddr> {
    // Without a peer the request did not come through a listener.
    let peer = request.extensions().get::<Peer>().copied().unwrap_or(Peer::InProcess);
    let config = gateway.config();
    peer::client(peer, request.headers(), &config.trusted_proxies, config.forwarded_header)
}

fn said(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a word")
}

fn shown(text: &str) -> String {
    text.chars().take(200).collect()
}
