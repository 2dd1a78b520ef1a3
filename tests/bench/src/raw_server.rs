//! What somebody writes by hand in an afternoon: axum and wasmtime, a pooled fresh instance a request, and no control at
//! all. The gateway is measured beside it.

use crate::raw::Raw;
use axum::extract::{Path, State};
use axum::routing::post;
use axum::{Json, Router};
use http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;

/// Its routes; `POST /v1/tools/{tool}/call` as the gateway has it.
pub fn router(raw: Raw) -> Router {
    Router::new().route("/v1/tools/{tool}/call", post(call)).with_state(Arc::new(raw))
}

async fn call(
    State(raw): State<Arc<Raw>>,
    Path(tool): Path<String>,
    Json(body): Json<Value>,
) -> Result<Json<Value>, (StatusCode, String)> {
    let local = tool.split_once('.').map_or(tool.as_str(), |(_skill, local)| local);
    let failed = |error: String| (StatusCode::INTERNAL_SERVER_ERROR, error);
    let called = raw.call(local, &body["arguments"].to_string()).await.map_err(|error| failed(error.to_string()))?;
    let result = called.map_err(failed)?;
    let content: Value = serde_json::from_str(&result).map_err(|error| failed(error.to_string()))?;
    Ok(Json(json!({ "status": "succeeded", "content": content })))
}
