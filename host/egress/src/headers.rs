//! Which header fields a skill may set, and what it gets to see.
//!
//! Promise: a skill cannot frame a message, name another host, pose as a proxy, change the method or path behind
//! the allowlist's back, or collide with a credential. The header map is built anew, never passed on as it came.

use crate::EgressLimits;
use crate::error::{Denial, HttpError};
use crate::placeholder::Redemption;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use sophon_skill::is_reserved_header;

/// Fields that a request with a credential may not set: they authorise beside it, or ask for a part of the answer, in
/// which half a secret is not recognised.
const NOT_BESIDE: [&str; 5] = ["authorization", "cookie", "cookie2", "range", "if-range"];

/// Fields of an answer to a credential that authorise by themselves: a session that the service opened for it, or a
/// proof of it.
const SESSIONS: [HeaderName; 3] =
    [header::SET_COOKIE, HeaderName::from_static("set-cookie2"), HeaderName::from_static("authentication-info")];

/// Fields of an answer that say where to go on: of a login's, with what it returned.
const WAYS: [HeaderName; 4] = [header::LOCATION, header::CONTENT_LOCATION, header::REFRESH, header::LINK];

/// Fields that go along when a redirect leaves the origin; all others may hold what was meant for the first one.
const TRAVEL: [HeaderName; 5] =
    [header::ACCEPT, header::ACCEPT_LANGUAGE, header::CONTENT_LANGUAGE, header::CONTENT_TYPE, header::USER_AGENT];

/// Builds the fields of a request out of what the skill asked for.
pub(crate) fn filter(fields: &[(String, Vec<u8>)], limits: &EgressLimits) -> Result<HeaderMap, HttpError> {
    if fields.len() > limits.request_fields {
        return Err(HttpError::InvalidRequest(format!("more than {} header fields", limits.request_fields)));
    }
    let bytes: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > limits.request_header_bytes {
        return Err(HttpError::InvalidRequest(format!("more than {} bytes of header", limits.request_header_bytes)));
    }
    let mut map = HeaderMap::with_capacity(fields.len() + 4);
    for (name, value) in fields {
        let shown = || name.chars().take(60).collect::<String>();
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_invalid| HttpError::InvalidRequest(format!("{:?} is not a header name", shown())))?;
        if is_reserved_header(name.as_str()) {
            return Err(Denial::new("header_not_allowed", format_args!("a skill may not set the header field {name}"))
                .hint(format!("leave {name} out; the host sets what the request needs"))
                .into());
        }
        let value = HeaderValue::from_bytes(value)
            .map_err(|_invalid| HttpError::InvalidRequest(format!("the value of {name} holds a control character")))?;
        // A coded answer could carry an echoed secret past the redactor: `identity` is what the host asks for.
        if *plain(&name) != header::ACCEPT_ENCODING {
            map.append(name, value);
        }
    }
    Ok(map)
}

/// The first field that may not stand beside a credential, nor beside the field `attached` that holds it. Fields in
/// which the skill redeems a placeholder are the credential.
pub(crate) fn beside_credential<'a>(
    fields: &'a HeaderMap,
    attached: Option<&HeaderName>,
    redeems: Option<&Redemption>,
) -> Option<&'a HeaderName> {
    let attached = attached.map(plain);
    fields.keys().find(|name| {
        let redeemed = redeems.is_some_and(|redeems| redeems.fields.iter().any(|field| field == name.as_str()));
        let name = plain(name);
        !redeemed && (NOT_BESIDE.contains(&name.as_str()) || Some(name) == attached)
    })
}

/// The name as those servers have it that read `_` as `-`.
fn plain(name: &HeaderName) -> String {
    name.as_str().replace('_', "-")
}

/// Whether a field of an answer to a credential is kept from the skill, which could use it without the credential.
pub(crate) fn opens_session(name: &HeaderName) -> bool {
    SESSIONS.contains(name)
}

/// Whether a field of an answer to a login is kept from the skill: its value is an address that may hold a ticket.
pub(crate) fn leads_on(name: &HeaderName) -> bool {
    WAYS.contains(name)
}

/// Keeps what may go to another origin.
pub(crate) fn keep_for_other_origin(fields: &mut Vec<(String, Vec<u8>)>) {
    fields.retain(|(name, _)| TRAVEL.iter().any(|kept| kept.as_str().eq_ignore_ascii_case(name)));
}

/// Drops what describes a body that is no longer sent.
pub(crate) fn drop_body_fields(fields: &mut Vec<(String, Vec<u8>)>) {
    fields.retain(|(name, _)| !name.to_ascii_lowercase().starts_with("content-"));
}

/// Whether a field of a response is of the connection, not of the answer.
pub(crate) fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection" | "keep-alive" | "proxy-connection" | "te" | "trailer" | "transfer-encoding" | "upgrade"
    ) || name.as_str().starts_with("proxy-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(name: &str, value: &[u8]) -> Option<&'static str> {
        use sophon_types::Fault;
        filter(&[(name.to_owned(), value.to_vec())], &EgressLimits::default()).err().map(|error| error.code())
    }

    #[test]
    fn attack_14_no_smuggling_through_header_fields() {
        let denied = Some("header_not_allowed");
        let invalid = Some("invalid_request");
        for (name, value, expected) in [
            ("Accept", &b"*/*"[..], None),
            ("X-Api-Version", b"2", None),
            ("Authorization", b"Bearer own", None),
            ("Host", b"evil.example", denied),
            ("content-length", b"5", denied),
            ("Content_Length", b"5", denied),
            ("Transfer-Encoding", b"chunked", denied),
            ("transfer_encoding", b"chunked", denied),
            ("TE", b"trailers", denied),
            ("Trailer", b"x", denied),
            ("Upgrade", b"h2c", denied),
            ("HTTP2-Settings", b"AAMAAABk", denied),
            ("Connection", b"close", denied),
            ("Keep-Alive", b"timeout=5", denied),
            ("Proxy-Authorization", b"Basic x", denied),
            ("Proxy-Connection", b"close", denied),
            ("Expect", b"100-continue", denied),
            ("Forwarded", b"for=127.0.0.1", denied),
            ("X-Forwarded-For", b"127.0.0.1", denied),
            ("X-HTTP-Method-Override", b"DELETE", denied),
            ("X_Method_Override", b"DELETE", denied),
            ("X-Original-URL", b"/admin", denied),
            ("X", b"a\r\nHost: evil", invalid),
            ("X", b"a\n b", invalid),
            ("X", b"a\0", invalid),
            ("X\r\nHost", b"a", invalid),
            ("X Y", b"a", invalid),
            ("X:", b"a", invalid),
            (":authority", b"evil", invalid),
            ("", b"a", invalid),
        ] {
            assert_eq!(code(name, value), expected, "{name:?} {value:?}");
        }
    }

    #[test]
    fn attack_20_header_fields_are_bounded() {
        let many: Vec<_> = (0..40_000).map(|n| (format!("x-{n}"), Vec::new())).collect();
        assert!(filter(&many, &EgressLimits::default()).is_err());
        assert_eq!(code("x", &vec![b'a'; 40_000]), Some("invalid_request"));
    }

    #[test]
    fn attack_14_nothing_stands_beside_a_credential() {
        let check = |name: &str, attached: Option<&str>, refused: bool| {
            let fields = filter(&[(name.to_owned(), b"x".to_vec())], &EgressLimits::default()).unwrap();
            let attached = attached.map(|name| name.parse::<HeaderName>().unwrap());
            assert_eq!(beside_credential(&fields, attached.as_ref(), None).is_some(), refused, "{name} {attached:?}");
        };
        check("Authorization", None, true);
        check("Cookie", None, true);
        check("Range", None, true);
        check("If-Range", None, true);
        check("if_range", None, true);
        check("Accept", None, false);
        check("X-Api-Key", None, false);
        check("X_Api_Key", Some("x-api-key"), true);
    }

    #[test]
    fn the_host_asks_for_plain_answers() {
        for name in ["Accept-Encoding", "accept_encoding"] {
            assert!(filter(&[(name.into(), b"gzip".to_vec())], &EgressLimits::default()).unwrap().is_empty(), "{name}");
        }
    }
}
