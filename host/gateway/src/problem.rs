//! Every error leaves as an RFC 9457 problem. The one place that turns a kind of failure into an HTTP status.
//!
//! A handler's error rides in the response's extensions; the outermost layer writes it, because it alone knows the
//! correlation id. The text of an internal error goes to the log and never to the caller.

use crate::GatewayError;
use crate::error::{SCOPE_REFUSED, whole_seconds};
use crate::reading::Reading;
use crate::wire::ProblemBody;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use sophon_types::{CorrelationId, Fault, FaultKind, FaultReport, Stage};
use std::time::Duration;

/// When to come back where nothing better is known.
const COME_BACK: Duration = Duration::from_secs(2);

/// An error on its way out.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    report: FaultReport,
    status: StatusCode,
    retry_after: Option<Duration>,
    /// What the limit says that refused it.
    limit: Option<Reading>,
}

impl Problem {
    /// What a problem is declared as.
    pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

    /// Writes the problem as the answer to the request that `correlation` names.
    pub(crate) fn render(self, correlation: CorrelationId) -> Response {
        if self.is_internal() {
            tracing::error!(
                correlation = %correlation, stage = %self.report.stage, code = %self.report.code,
                "{}", self.report.message
            );
        }
        let (status, retry_after) = (self.status, self.retry_after);
        let mut response = (status, axum::Json(self.body(correlation))).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(Self::MEDIA_TYPE));
        if let Some(span) = retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(whole_seconds(span)));
        }
        response
    }

    /// What the caller gets to read.
    pub(crate) fn body(self, correlation: CorrelationId) -> ProblemBody {
        let detail = if self.is_internal() {
            "the host failed to serve the request; its log has the details under the correlation id".to_owned()
        } else {
            self.report.message
        };
        ProblemBody {
            r#type: format!("urn:sophon:problem:{}", self.report.code),
            title: title(self.report.kind).to_owned(),
            status: self.status.as_u16(),
            detail,
            code: self.report.code,
            hint: self.report.hint,
            stage: self.report.stage.to_string(),
            kind: kind_name(self.report.kind),
            correlation_id: correlation.to_string(),
        }
    }

    fn is_internal(&self) -> bool {
        self.report.kind == FaultKind::Internal
    }

    /// Whether it is for want of a valid key.
    pub(crate) fn is_unauthenticated(&self) -> bool {
        self.report.kind == FaultKind::Unauthenticated
    }

    /// Whether a known caller named what its key does not reach.
    pub(crate) fn is_out_of_scope(&self) -> bool {
        self.report.code == SCOPE_REFUSED
    }

    /// Whether it came too often.
    pub(crate) fn is_rate_limited(&self) -> bool {
        self.report.kind == FaultKind::RateLimited
    }

    /// The stable code, for a record.
    pub(crate) fn code(&self) -> &str {
        &self.report.code
    }

    /// A problem for an answer that a library made and that says no more than its status.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        let kind = match status.as_u16() {
            404 => FaultKind::NotFound,
            413 => FaultKind::TooLarge,
            408 | 504 => FaultKind::Timeout,
            429 => FaultKind::RateLimited,
            503 => FaultKind::Unavailable,
            400..=499 => FaultKind::Invalid,
            _ => FaultKind::Internal,
        };
        let report = FaultReport {
            stage: Stage::Client,
            kind,
            code: if kind == FaultKind::Internal { "internal" } else { "invalid_request" }.to_owned(),
            message: status.canonical_reason().unwrap_or("the request was refused").to_owned(),
            hint: None,
        };
        Self { retry_after: retry_after(kind), report, status, limit: None }
    }
}

impl<F: Fault> From<F> for Problem {
    fn from(fault: F) -> Self {
        let kind = fault.kind();
        let mut problem =
            Self { report: FaultReport::of(&fault), status: status(kind), retry_after: retry_after(kind), limit: None };
        // HTTP tells a few of the gateway's own refusals further apart than kinds do.
        match (&fault as &dyn std::any::Any).downcast_ref::<GatewayError>() {
            Some(GatewayError::MethodRefused { .. }) => problem.status = StatusCode::METHOD_NOT_ALLOWED,
            Some(GatewayError::MediaTypeRefused) => problem.status = StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Some(GatewayError::RateLimited { limit, .. }) => {
                problem.retry_after = Some(limit.retry_after);
                problem.limit = Some(limit.reading());
            }
            _ => {}
        }
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if let Some(limit) = self.limit {
            limit.write(response.headers_mut());
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// The one table from kinds of failure to HTTP.
fn status(kind: FaultKind) -> StatusCode {
    match kind {
        FaultKind::Invalid => StatusCode::BAD_REQUEST,
        FaultKind::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
        FaultKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        FaultKind::Denied | FaultKind::NeedsApproval | FaultKind::Untrusted => StatusCode::FORBIDDEN,
        FaultKind::NotFound => StatusCode::NOT_FOUND,
        FaultKind::Conflict => StatusCode::CONFLICT,
        FaultKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        FaultKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        FaultKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        FaultKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        FaultKind::Upstream => StatusCode::BAD_GATEWAY,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn title(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Invalid => "The request is not valid",
        FaultKind::Unprocessable => "The content breaks a rule",
        FaultKind::Unauthenticated => "Who calls is not known",
        FaultKind::Denied => "A policy forbids it",
        FaultKind::NeedsApproval => "A person has to approve it",
        FaultKind::Untrusted => "The signature is not trusted",
        FaultKind::NotFound => "There is no such thing",
        FaultKind::Conflict => "It contradicts what is there",
        FaultKind::TooLarge => "It is too large",
        FaultKind::RateLimited => "Too many requests",
        FaultKind::Unavailable => "Not possible at present",
        FaultKind::Timeout => "It took too long",
        FaultKind::Upstream => "The other side failed",
        _ => "The host failed",
    }
}

fn retry_after(kind: FaultKind) -> Option<Duration> {
    matches!(kind, FaultKind::RateLimited | FaultKind::Unavailable).then_some(COME_BACK)
}

fn kind_name(kind: FaultKind) -> String {
    match serde_json::to_value(kind) {
        Ok(serde_json::Value::String(name)) => name,
        _ => "internal".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::Refused;

    #[test]
    fn each_kind_has_its_status() {
        for (kind, code) in [
            (FaultKind::Invalid, 400),
            (FaultKind::Unprocessable, 422),
            (FaultKind::Unauthenticated, 401),
            (FaultKind::Denied, 403),
            (FaultKind::NeedsApproval, 403),
            (FaultKind::Untrusted, 403),
            (FaultKind::NotFound, 404),
            (FaultKind::Conflict, 409),
            (FaultKind::TooLarge, 413),
            (FaultKind::RateLimited, 429),
            (FaultKind::Unavailable, 503),
            (FaultKind::Timeout, 504),
            (FaultKind::Upstream, 502),
            (FaultKind::Internal, 500),
        ] {
            assert_eq!(status(kind).as_u16(), code, "{kind:?}");
        }
    }

    #[tokio::test]
    async fn an_internal_error_keeps_its_text_to_itself() {
        let problem = Problem::from(GatewayError::Broken { detail: "SELECT sealed FROM credentials".into() });
        let correlation = CorrelationId::from_bytes([7; 16]);
        let response = problem.render(correlation);
        assert_eq!(response.status(), 500);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(!body.contains("SELECT"), "{body}");
        assert!(body.contains(&correlation.to_string()), "{body}");
    }

    #[test]
    fn attack_44_unavailable_and_limited_say_when_to_come_back() {
        let limited = GatewayError::RateLimited {
            of: "of this user",
            limit: Refused { retry_after: Duration::from_millis(3_200), policy: "user", quota: 5, window: 50 },
        };
        let response = Problem::from(limited).render(CorrelationId::from_bytes([7; 16]));
        assert_eq!((response.status().as_u16(), &response.headers()[RETRY_AFTER]), (429, &HeaderValue::from(4)));
        let response = Problem::from(GatewayError::Busy { what: "calls", setting: "max_concurrent_calls" })
            .render(CorrelationId::from_bytes([7; 16]));
        assert_eq!(response.status(), 503);
        assert!(response.headers().contains_key(RETRY_AFTER));
    }
}
