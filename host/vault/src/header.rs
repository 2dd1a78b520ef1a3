//! Header fields that neither a skill nor a credential may set: the one list, which egress uses too.

/// Set by the host alone: framing, connection, host (RFC 9110, 7.6.1; RFC 9112, 6).
const HOST_SET: [&str; 13] = [
    "host",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "connection",
    "keep-alive",
    "http2-settings",
    "expect",
    "alt-used",
    "via",
    "max-forwards",
];

/// Fields by which frameworks let a client change method, path, host or origin address after the fact.
const OVERRIDES: [&str; 12] = [
    "forwarded",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-original-host",
    "x-original-method",
    "x-rewrite-url",
    "x-host",
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
];

const OVERRIDE_PREFIXES: [&str; 2] = ["proxy-", "x-forwarded-"];

/// Fields that a skill may set and that say how the message is read: no place for a secret.
const CONTENT: [&str; 5] = ["content-type", "content-encoding", "accept-encoding", "range", "if-range"];

/// Whether the header field `name`, in any case, is the host's alone. Some servers read `_` as `-` (CGI variables
/// cannot tell them apart), so it does not get past the list.
#[must_use]
pub fn is_reserved_header(name: &str) -> bool {
    let name = plain(name);
    HOST_SET.contains(&name.as_str())
        || OVERRIDES.contains(&name.as_str())
        || OVERRIDE_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether a credential may be attached in the header field `name`.
#[must_use]
pub fn may_carry_credential(name: &str) -> bool {
    // A field name of RFC 9110, section 5.1.
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
        && !is_reserved_header(name)
        && !CONTENT.contains(&plain(name).as_str())
}

fn plain(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}
