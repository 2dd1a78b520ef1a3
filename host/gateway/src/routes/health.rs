//! What supervises the gateway.

use crate::problem::Problem;
use crate::wire::{Health, Readiness};
use crate::{Gateway, GatewayError};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::HeaderValue;
use http::header::CONTENT_TYPE;

/// Whether the process answers at all; nothing is asked of anything behind it.
pub(crate) async fn healthz() -> Json<Health> {
    Json(Health { status: "ok", version: env!("CARGO_PKG_VERSION") })
}

/// Whether calls can be served, as far as the database says: it can be read and written. The audit log is not asked.
pub(crate) async fn readyz(State(gateway): State<Gateway>) -> Result<Json<Readiness>, Problem> {
    if gateway.is_stopping() {
        return Err(GatewayError::NotReady { what: "the gateway is stopping".into() }.into());
    }
    match gateway.readiness().await {
        Ok(()) => Ok(Json(Readiness { status: "ready" })),
        Err(what) => Err(GatewayError::NotReady { what }.into()),
    }
}

/// Counters, in the text format of Prometheus.
pub(crate) async fn metrics(State(gateway): State<Gateway>) -> Response {
    let mut response = gateway.metrics().render().into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    response
}

/// The description of all routes.
pub(crate) async fn openapi(State(gateway): State<Gateway>) -> Response {
    let mut response = gateway.openapi().into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
