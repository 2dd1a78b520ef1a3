//! Text from outside, wrapped for a model.

use crate::extract::Json;
use crate::problem::Problem;
use crate::wire::{ContentBody, WrappedContent};
use crate::{Gateway, GatewayError};
use axum::extract::State;

/// The longest source.
const LONGEST_SOURCE: usize = 512;

/// Wraps a text.
pub(crate) async fn wrap(
    State(gateway): State<Gateway>,
    Json(body): Json<ContentBody>,
) -> Result<axum::Json<WrappedContent>, Problem> {
    if body.source.is_empty() || body.source.len() > LONGEST_SOURCE {
        let message = format!("source must have 1 to {LONGEST_SOURCE} bytes");
        return Err(GatewayError::BodyInvalid { message }.into());
    }
    let entropy = gateway.clone();
    let wrapped = tokio::task::spawn_blocking(move || sophon_guard::wrap(&body.source, &body.text, entropy.entropy()));
    match wrapped.await {
        Ok(wrapped) => Ok(axum::Json(wrapped.into())),
        Err(ended) => Err(GatewayError::Broken { detail: format!("wrapping did not end: {ended}") }.into()),
    }
}
