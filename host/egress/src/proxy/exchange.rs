//! One request of a program, as egress takes it, and its answer, as the program takes it.

use super::Outgoing;
use super::room::{Held, NoBody, Pieces};
use crate::admit::{HttpRequest, Redirects};
use crate::error::HttpError;
use crate::headers::is_hop_by_hop;
use crate::session::HttpResponse;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::json;
use sophon_types::Fault as _;
use url::Host;

/// Where the requests inside one CONNECT go, whatever they say.
pub(super) struct Inside {
    /// `https://host` or `https://host:port`.
    origin: String,
    /// `host` or `host:port`.
    authority: String,
}

impl Inside {
    pub(super) fn new(host: &Host<String>, port: u16) -> Self {
        let authority = if port == 443 { host.to_string() } else { format!("{host}:{port}") };
        Self { origin: format!("https://{authority}"), authority }
    }

    pub(super) async fn answer(&self, request: Request<Incoming>, outgoing: &dyn Outgoing) -> Response<Pieces> {
        let path = match request.uri().path_and_query() {
            Some(path) if path.as_str().starts_with('/') && request.uri().authority().is_none() => path.as_str(),
            _ => {
                let what = "behind CONNECT a request names a path";
                return refusal(StatusCode::BAD_REQUEST, "not_a_path", what, None);
            }
        };
        let url = format!("{}{path}", self.origin);
        answer(request, url, &self.authority, outgoing).await
    }
}

/// Sends what a program asks for, and says what came of it. `named` is the host that the URL has.
pub(super) async fn answer(
    request: Request<Incoming>,
    url: String,
    named: &str,
    outgoing: &dyn Outgoing,
) -> Response<Pieces> {
    let (parts, body) = request.into_parts();
    // Two names for one request are how a request gets past a rule that looks at the other one.
    let hosts: Vec<&HeaderValue> = parts.headers.get_all(header::HOST).iter().collect();
    if hosts.len() > 1 || hosts.first().is_some_and(|host| !same_host(host.as_bytes(), named)) {
        let what = format!("the Host field names another host than {named}");
        return refusal(StatusCode::MISDIRECTED_REQUEST, "host_mismatch", &what, None);
    }
    if parts.headers.contains_key(header::UPGRADE) {
        let what = "no other protocol can be switched to";
        return refusal(StatusCode::NOT_IMPLEMENTED, "no_upgrade", what, None);
    }
    let room = outgoing.room();
    let Some(_line) = room.line().await else {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "no_room", "the call is over", None);
    };
    let (body, held) = match room.read(body).await {
        Ok(read) => read,
        Err(NoBody::TooLarge(most)) => {
            let what = format!("the request's body is larger than {most} bytes");
            return refusal(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", &what, None);
        }
        Err(NoBody::Late) => {
            let what =
                "the request's body did not come in time, or there was no room for it beside the call's other requests";
            return refusal(
                StatusCode::REQUEST_TIMEOUT,
                "request_late",
                what,
                Some("send one request after the other"),
            );
        }
        Err(NoBody::Broken(error)) => {
            let what = format!("the request's body cannot be read: {error}");
            return refusal(StatusCode::BAD_REQUEST, "request_broken", &what, None);
        }
    };
    let head = parts.method == http::Method::HEAD;
    let request = HttpRequest {
        method: parts.method.to_string(),
        url,
        headers: fields(&parts.headers),
        body: Some(body).filter(|body| !body.is_empty()),
        credential: None,
        // The program follows: it sees each hop, and each comes by here.
        redirects: Redirects::Manual,
        timeout: None,
    };
    let sent = outgoing.send(request).await;
    // Given back before more is asked for, so that no two wait for each other.
    drop(held);
    match sent {
        Ok(answer) => match room.hold(answer.body.len()).await {
            Some(held) => respond(answer, held, head),
            None => {
                let what = "there was no room for the answer beside the call's other ones";
                let hint = "read each answer to its end before asking for more";
                refusal(StatusCode::BAD_GATEWAY, "answer_too_large", what, Some(hint))
            }
        },
        Err(error) => explain(&error),
    }
}

/// Whether a Host field means the host that the URL names; the port may be left out where it is the scheme's own.
fn same_host(field: &[u8], named: &str) -> bool {
    let Ok(field) = std::str::from_utf8(field) else { return false };
    let plain = |host: &str| {
        let host = host.trim().to_ascii_lowercase();
        let without = host.strip_suffix(":443").or_else(|| host.strip_suffix(":80"));
        without.map(str::to_owned).unwrap_or(host)
    };
    plain(field) == plain(named)
}

/// The fields that are the request's own; those of the connection between the program and this proxy are not.
fn fields(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let of_connection = |name: &HeaderName| {
        is_hop_by_hop(name) || [header::HOST, header::CONTENT_LENGTH, header::EXPECT].contains(name)
    };
    let kept = headers.iter().filter(|(name, _)| !of_connection(name));
    kept.map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
}

fn respond(answer: HttpResponse, held: Held, head: bool) -> Response<Pieces> {
    let mut response = Response::new(Pieces::new(answer.body, held));
    let Ok(status) = StatusCode::from_u16(answer.status) else {
        return refusal(StatusCode::BAD_GATEWAY, "upstream_protocol", "the answer has no status", None);
    };
    *response.status_mut() = status;
    for (name, value) in answer.headers {
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(&value)) else {
            continue;
        };
        // Redaction may have changed the length; of a HEAD's answer it is all there is.
        if !is_hop_by_hop(&name) && (head || name != header::CONTENT_LENGTH) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

pub(super) fn explain(error: &HttpError) -> Response<Pieces> {
    let status = match error {
        HttpError::Denied(_) => StatusCode::FORBIDDEN,
        HttpError::InvalidRequest(_) => StatusCode::BAD_REQUEST,
        HttpError::Timeout => StatusCode::GATEWAY_TIMEOUT,
        HttpError::HostUnavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_GATEWAY,
    };
    let code = error.denial().map_or_else(|| error.code().to_owned(), |denial| denial.code.into_owned());
    refusal(status, &code, &error.to_string(), error.hint().as_deref())
}

/// An answer of the proxy's own. Never mistaken for the other side's: it says who it is from.
pub(super) fn refusal(status: StatusCode, code: &str, what: &str, hint: Option<&str>) -> Response<Pieces> {
    let body = json!({"error": what, "code": code, "hint": hint, "from": "sophon"}).to_string();
    let mut response = Response::new(Pieces::from(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(code) = HeaderValue::from_str(code) {
        headers.insert(HeaderName::from_static("x-sophon-refused"), code);
    }
    response
}
