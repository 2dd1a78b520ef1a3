//! Tools and calls.

use crate::auth::Caller;
use crate::extract::{Correlation, InPath, InQuery, Json};
use crate::problem::Problem;
use crate::wire::{CallAnswer, CallBody, ToolList, WaitQuery};
use crate::{Gateway, GatewayError};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode};
use sophon_executor::{CallRequest, CallView};
use sophon_types::{CallId, CanonicalJson, SessionId};
use std::sync::Arc;
use std::time::Duration;

/// How long a call is waited for where the client says nothing.
const USUAL_WAIT: Duration = Duration::from_secs(30);
/// The longest idempotency key.
const LONGEST_KEY: usize = 255;

/// The tools that the caller may use.
pub(crate) async fn tools(State(gateway): State<Gateway>, caller: Caller) -> Result<axum::Json<ToolList>, Problem> {
    Ok(axum::Json(gateway.executor().tools(&caller.principal).into()))
}

/// Calls a tool. The call is the host's from here on: it goes on when the client hangs up.
pub(crate) async fn call(
    State(gateway): State<Gateway>,
    caller: Caller,
    Correlation(correlation): Correlation,
    InPath(tool): InPath<String>,
    headers: HeaderMap,
    Json(body): Json<CallBody>,
) -> Result<Response, Problem> {
    let Ok(_place) = Arc::clone(gateway.calls()).try_acquire_owned() else {
        return Err(GatewayError::Busy { limit: gateway.config().max_concurrent_calls.get() }.into());
    };
    let request = CallRequest {
        tool,
        arguments: CanonicalJson::parse(body.arguments.get().as_bytes())?,
        session: body.session.as_deref().map(session).transpose()?,
        idempotency_key: idempotency_key(body.idempotency_key, &headers)?,
        wait: body.wait_seconds.map_or(USUAL_WAIT, seconds).min(gateway.config().longest_wait()),
        correlation,
        results: caller.results,
    };
    let view = gateway.executor().call(&caller.principal, request).await?;
    gateway.metrics().called(view.status.as_str().to_owned());
    Ok(answer(view))
}

/// Where a call stands.
pub(crate) async fn status(
    State(gateway): State<Gateway>,
    caller: Caller,
    InPath(id): InPath<CallId>,
    InQuery(query): InQuery<WaitQuery>,
) -> Result<Response, Problem> {
    let wait = query.wait.map_or(Duration::ZERO, seconds).min(gateway.config().longest_wait());
    let view = gateway.executor().status(&caller.principal, id, wait, caller.results).await?;
    Ok(answer(view))
}

fn answer(view: CallView) -> Response {
    let status = if view.status.is_final() { StatusCode::OK } else { StatusCode::ACCEPTED };
    (status, axum::Json(CallAnswer::from(view))).into_response()
}

fn session(text: &str) -> Result<SessionId, GatewayError> {
    text.parse().map_err(|error| GatewayError::BodyInvalid { message: format!("session: {error}") })
}

/// The key of the body or of the header; both only where they are the same.
fn idempotency_key(in_body: Option<String>, headers: &HeaderMap) -> Result<Option<String>, GatewayError> {
    const PLACE: &str = "idempotency-key";
    let wrong = |message: &str| GatewayError::ParameterInvalid { place: PLACE, message: message.into() };
    let mut sent = headers.get_all(PLACE).iter();
    let in_header = match (sent.next(), sent.next()) {
        (None, _) => None,
        (Some(value), None) => Some(value.to_str().map_err(|_not_ascii| wrong("is not plain ASCII"))?.to_owned()),
        (Some(_), Some(_)) => return Err(wrong("stands more than once")),
    };
    let key = match (in_body, in_header) {
        (Some(body), Some(header)) if body != header => return Err(wrong("differs from the body's idempotency_key")),
        (body, header) => body.or(header),
    };
    match key {
        Some(key) if key.is_empty() || key.len() > LONGEST_KEY || !key.bytes().all(|b| (b' '..=b'~').contains(&b)) => {
            Err(wrong("must be 1 to 255 printable ASCII characters"))
        }
        key => Ok(key),
    }
}

fn seconds(count: u32) -> Duration {
    Duration::from_secs(count.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(in_body: Option<&str>, in_headers: &[&str]) -> Result<Option<String>, ()> {
        let mut headers = HeaderMap::new();
        for value in in_headers {
            headers.append("idempotency-key", value.parse().unwrap());
        }
        idempotency_key(in_body.map(str::to_owned), &headers).map_err(drop)
    }

    #[test]
    fn an_idempotency_key_is_one_key() {
        assert_eq!(check(None, &[]), Ok(None));
        assert_eq!(check(Some("a"), &[]), Ok(Some("a".into())));
        assert_eq!(check(None, &["a"]), Ok(Some("a".into())));
        assert_eq!(check(Some("a"), &["a"]), Ok(Some("a".into())));
        assert_eq!(check(Some("a"), &["b"]), Err(()));
        assert_eq!(check(None, &["a", "a"]), Err(()));
        assert_eq!(check(Some(""), &[]), Err(()));
        assert_eq!(check(Some("a\n"), &[]), Err(()));
        assert_eq!(check(Some(&"a".repeat(256)), &[]), Err(()));
    }
}
