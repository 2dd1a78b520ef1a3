//! How the person at the machine finds out that they speak to the gateway of their home.

use crate::extract::InQuery;
use crate::problem::Problem;
use crate::wire::{Hello, HelloQuery};
use crate::{Gateway, GatewayError};
use axum::extract::State;

/// Bytes that a nonce has: enough that none comes twice.
const NONCE: std::ops::RangeInclusive<usize> = 32..=128;

/// What a hello may name.
pub(crate) const QUERIES: &[(&str, &str)] = &[("nonce", "32 to 128 letters and digits that were never sent before.")];

/// Proves that this gateway knows the token of its run. The client has shown nothing by then.
pub(crate) async fn hello(
    State(gateway): State<Gateway>,
    InQuery(asked): InQuery<HelloQuery>,
) -> Result<axum::Json<Hello>, Problem> {
    let nonce = asked.nonce;
    if !NONCE.contains(&nonce.len()) || !nonce.bytes().all(|b| b.is_ascii_alphanumeric()) {
        let message = "nonce: must be 32 to 128 letters and digits".to_owned();
        return Err(GatewayError::ParameterInvalid { place: "query", message }.into());
    }
    Ok(axum::Json(Hello { proof: gateway.prover().proof(&nonce) }))
}
