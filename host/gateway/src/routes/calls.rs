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
use std::time::Duration;

/// How long a call is waited for where the client says nothing.
pub(crate) const USUAL_WAIT: Duration = Duration::from_secs(30);

/// The tools that the caller may use.
pub(crate) async fn tools(State(gateway): State<Gateway>, caller: Caller) -> Result<axum::Json<ToolList>, Problem> {
    // Scanning what authors wrote takes a moment where there is much of it.
    let (here, by) = (gateway.clone(), caller.principal.clone());
    let list = move || ToolList::of(here.executor().tools(&by), here.executor().detector(), here.entropy());
    Ok(axum::Json(gateway.work().run(&caller, list).await?))
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
    let Some(_place) = gateway.calls().take(&caller.principal, 1) else {
        return Err(GatewayError::Busy { what: "calls", setting: "max_concurrent_calls" }.into());
    };
    // A name that is no tool of the caller's is refused below, and counted nowhere.
    let offered = gateway.executor().offered(&caller.principal, &tool);
    let budget = offered.map(|tool| gateway.limits().tool(&caller.principal, &tool)).transpose()?.flatten();
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
    let mut response = answer(view);
    if let Some(budget) = budget {
        budget.write(response.headers_mut());
    }
    Ok(response)
}

/// Where a call stands.
pub(crate) async fn status(
    State(gateway): State<Gateway>,
    caller: Caller,
    InPath(id): InPath<CallId>,
    InQuery(query): InQuery<WaitQuery>,
) -> Result<Response, Problem> {
    let wait = query.wait.map_or(Duration::ZERO, seconds).min(gateway.config().longest_wait());
    let place = if wait.is_zero() { None } else { gateway.calls().take(&caller.principal, 1) };
    // Without a place to wait in, the answer is how the call stands now.
    let wait = if place.is_some() { wait } else { Duration::ZERO };
    let view = gateway.executor().status(&caller.principal, id, wait, caller.results).await?;
    Ok(answer(view))
}

fn answer(view: CallView) -> Response {
    let status = if view.status.is_final() { StatusCode::OK } else { StatusCode::ACCEPTED };
    (status, axum::Json(CallAnswer::from(view))).into_response()
}

pub(crate) fn session(text: &str) -> Result<SessionId, GatewayError> {
    text.parse().map_err(|error| GatewayError::BodyInvalid { message: format!("session: {error}") })
}

/// The key of the body or of the header; both only where they are the same. What a key may be, the executor says.
pub(crate) fn idempotency_key(in_body: Option<String>, headers: &HeaderMap) -> Result<Option<String>, GatewayError> {
    const PLACE: &str = "idempotency-key";
    let wrong = |message: &str| GatewayError::ParameterInvalid { place: PLACE, message: message.into() };
    let mut sent = headers.get_all(PLACE).iter();
    let in_header = match (sent.next(), sent.next()) {
        (None, _) => None,
        (Some(value), None) => {
            let text = std::str::from_utf8(value.as_bytes()).map_err(|_not_text| wrong("is not UTF-8"))?;
            Some(text.to_owned())
        }
        (Some(_), Some(_)) => return Err(wrong("stands more than once")),
    };
    match (in_body, in_header) {
        (Some(body), Some(header)) if body != header => Err(wrong("differs from the body's idempotency_key")),
        (body, header) => Ok(body.or(header)),
    }
}

pub(crate) fn seconds(count: u32) -> Duration {
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
        // Which keys are good ones is one rule, the executor's; here both ways in carry the same.
        for key in ["", "schlüssel", &"a".repeat(256)] {
            assert_eq!(check(Some(key), &[]), Ok(Some(key.into())), "{key}");
            assert_eq!(check(None, &[key]), Ok(Some(key.into())), "{key}");
        }
    }
}
