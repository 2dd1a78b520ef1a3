//! Text from outside, wrapped for a model.

use crate::auth::Caller;
use crate::extract::{Correlation, Weighed};
use crate::problem::Problem;
use crate::wire::{ContentBody, WrappedContent};
use crate::{Gateway, GatewayError};
use axum::extract::State;
use sophon_audit::{Action, Outcome, Record};
use sophon_guard::Source;

/// The longest source.
const LONGEST_SOURCE: usize = 512;

/// Wraps a text, and records what was noticed in it.
pub(crate) async fn wrap(
    State(gateway): State<Gateway>,
    caller: Caller,
    Correlation(correlation): Correlation,
    Weighed { body, memory }: Weighed<ContentBody>,
) -> Result<axum::Json<WrappedContent>, Problem> {
    if body.source.is_empty() || body.source.len() > LONGEST_SOURCE {
        let message = format!("source must have 1 to {LONGEST_SOURCE} bytes");
        return Err(GatewayError::BodyInvalid { message }.into());
    }
    let here = gateway.clone();
    // Whoever sends it says where it comes from, and cannot say that it comes from a tool.
    let source = Source::external(&body.source).to_string();
    let wrap = move || {
        let wrapped = here.executor().detector().wrap(&source, &body.text, here.entropy());
        drop((body, memory));
        wrapped
    };
    let wrapped = gateway.work().run(&caller, wrap).await?;
    let about = Record::new(Action::ContentFlagged, Outcome::Ok);
    let about = about.principal(&caller.principal).correlation(correlation);
    if let Some(record) = about.flagged("external", &wrapped.findings, gateway.executor().detector())
        && let Err(error) = gateway.audit().enqueue(record)
    {
        tracing::warn!(%error, "findings in a text from outside could not be recorded");
    }
    Ok(axum::Json(wrapped.into()))
}
