//! Tokens in the answer to a login: the skill gets placeholders for them before it sees the answer.
//!
//! What is a token is told by the name of the field that holds it. Where secrets went into a form, a JSON body, the URL or
//! HTTP Basic, it was a login or a client-credentials request; where only a header field held one, the names of OAuth
//! (RFC 6749, 5.1) count alone, because ordinary answers have fields that are called `token` too.

use super::request::{Body, form};
use super::{Handed, Redemption};
use serde_json::Value;
use sophon_guard::MIN_SECRET_BYTES;
use std::collections::BTreeSet;

/// A token in an answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    /// The name of its field.
    pub(crate) name: String,
    pub(crate) token: String,
}

/// Names of OAuth 2.0 and OpenID Connect, without case and separators.
const OAUTH: [&str; 3] = ["accesstoken", "refreshtoken", "idtoken"];

/// Names that services give to what a login returns.
const LOGIN: [&str; 22] = [
    "token",
    "authtoken",
    "authenticationtoken",
    "bearertoken",
    "bearer",
    "sessiontoken",
    "sessionid",
    "session",
    "sessionkey",
    "sid",
    "jwt",
    "jwttoken",
    "apitoken",
    "apikey",
    "securitytoken",
    "ticket",
    "accesskey",
    "authkey",
    "secret",
    "authorization",
    "synotoken",
    "csrftoken",
];

/// Header fields of an answer that hold a token.
const FIELDS: [&str; 7] = [
    "x-auth-token",
    "x-subject-token",
    "x-session-token",
    "x-access-token",
    "x-session-id",
    "x-api-key",
    "authorization",
];

/// Whether what was redeemed makes the request a login.
fn is_login(redemption: &Redemption) -> bool {
    redemption.basic || redemption.url || redemption.body.is_some()
}

/// The tokens in an answer to a request that redeemed something. Those that stand for a placeholder already count too.
pub(crate) fn tokens(
    redemption: &Redemption,
    media_type: Option<&str>,
    headers: &[(&str, &[u8])],
    body: &[u8],
) -> BTreeSet<Found> {
    let login = is_login(redemption);
    let is_token = |name: &str| {
        let name: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
        OAUTH.contains(&name.as_str()) || login && LOGIN.contains(&name.as_str())
    };
    let mut found = BTreeSet::new();
    let mut take = |name: &str, token: &str| {
        // Of `Bearer abc` the scheme is no secret.
        let token = token.trim().rsplit(' ').next().unwrap_or_default();
        if token.len() >= MIN_SECRET_BYTES {
            found.insert(Found { name: name.to_owned(), token: token.to_owned() });
        }
    };
    let text = std::str::from_utf8(body).unwrap_or_default();
    // Some services answer JSON and call it text.
    let kind = media_type.and_then(Body::named).or_else(|| text.trim_start().starts_with('{').then_some(Body::Json));
    match kind {
        Some(Body::Json) => {
            if let Ok(value) = serde_json::from_str::<Value>(text) {
                walk(&value, "", &mut |name, value| {
                    if is_token(name) {
                        take(name, value);
                    }
                });
            }
        }
        Some(Body::Form) => {
            form(text).iter().filter(|(name, _)| is_token(name)).for_each(|(name, value)| take(name, value))
        }
        None => {}
    }
    if login {
        for (name, value) in headers {
            if let (true, Ok(value)) = (FIELDS.contains(name), std::str::from_utf8(value)) {
                take(name, value);
            }
        }
    }
    found
}

/// Every string with the name of the innermost field that holds it. A whole answer that is one string has no name.
fn walk(value: &Value, name: &str, visit: &mut dyn FnMut(&str, &str)) {
    match value {
        Value::String(text) => visit(name, text),
        Value::Array(items) => items.iter().for_each(|item| walk(item, name, visit)),
        Value::Object(fields) => fields.iter().for_each(|(name, field)| walk(field, name, visit)),
        _ => {}
    }
}

impl Handed {
    /// `bytes` with every token that this run has a placeholder for replaced by it, as it is and as JSON or a URL writes it.
    pub(crate) fn hide_tokens(&self, redemption: &Redemption, found: &BTreeSet<Found>, bytes: &[u8]) -> Vec<u8> {
        // The longest first: one token may be part of another.
        let mut tokens: Vec<&Found> = found.iter().collect();
        tokens.sort_by_key(|found| std::cmp::Reverse(found.token.len()));
        let mut hidden = bytes.to_vec();
        for Found { token, .. } in tokens {
            let Some(placeholder) = self.token(&redemption.service, token.as_bytes()) else { continue };
            let mut spellings = vec![token.clone()];
            if let Ok(json) = serde_json::to_string(token) {
                let json = json[1..json.len() - 1].to_owned();
                spellings.push(json.replace('/', "\\/"));
                spellings.push(json);
            }
            let mut encoded = String::new();
            super::request::encode(token.as_bytes(), &mut encoded);
            spellings.push(encoded);
            for spelling in spellings {
                hidden = replaced(&hidden, spelling.as_bytes(), placeholder.as_bytes());
            }
        }
        hidden
    }
}

fn replaced(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    out.extend_from_slice(rest);
    out
}
