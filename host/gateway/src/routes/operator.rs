//! For the person at the machine: that they speak to the gateway of their home, and that it reads its configuration again.

use crate::auth::Caller;
use crate::extract::{Correlation, InQuery};
use crate::problem::Problem;
use crate::wire::{Hello, HelloQuery, ReloadedBody};
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

/// Reads the configuration again. It is the home's, so it is for whoever has the home.
pub(crate) async fn reload(
    State(gateway): State<Gateway>,
    caller: Caller,
    Correlation(correlation): Correlation,
) -> Result<axum::Json<ReloadedBody>, Problem> {
    if !caller.standing.is_operator() {
        return Err(GatewayError::ScopeRefused { what: "the whole home".into() }.into());
    }
    let done =
        super::detached(async move { Ok::<_, Problem>(gateway.reload(Some((&caller.principal, correlation))).await?) });
    let done = done.await?;
    Ok(axum::Json(ReloadedBody { applied: done.applied, needs_restart: done.needs_restart }))
}
