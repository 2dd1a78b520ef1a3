//! Tokens in the answer to a login: the skill gets placeholders for them before it sees the answer.
//!
//! What is a token is told by the name of the field that holds it. Where a secret went into a form or a JSON body it was a
//! login, and its answer is read whole or not passed on; elsewhere the names of OAuth (RFC 6749, 5.1) count alone,
//! because ordinary answers have fields that are called `token` or `sid` too.
//!
//! Not seen: a token that is no text of its own in JSON or a form (a number, a text inside a text), or whose field is called
//! something else.

use super::json::{Place, Twice, read};
use super::request::{Body, form};
use super::{Handed, Redemption};
use aho_corasick::{AhoCorasick, MatchKind};
use sophon_guard::MIN_SECRET_BYTES;
use std::collections::{BTreeMap, BTreeSet};

/// A token in an answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    /// The name of its field.
    pub(crate) name: String,
    pub(crate) token: String,
}

/// Names of OAuth 2.0 and OpenID Connect, without case and separators.
const OAUTH: [&str; 3] = ["accesstoken", "refreshtoken", "idtoken"];

/// Names that services give to what a login returns, and what they end in: `client_token`, `ssoJwt`. A text without a name is
/// one as well.
const LOGIN_ENDS: [&str; 8] = ["token", "jwt", "ticket", "sessid", "sessionid", "apikey", "accesskey", "secret"];

/// More of them, which many other names end in.
const LOGIN: [&str; 5] = ["bearer", "session", "sessionkey", "authkey", "authorization"];

/// Names that end like one of a token, and say where a list goes on, or whose account it is.
const HARMLESS_ENDS: [&str; 12] = [
    "pagetoken",
    "nexttoken",
    "previoustoken",
    "continuationtoken",
    "paginationtoken",
    "cursortoken",
    "synctoken",
    "deltatoken",
    "skiptoken",
    "accountsid",
    "objectsid",
    "usersid",
];

/// Whether a field of that name holds what a login returns; `plain` is the name without case and separators.
fn is_of_login(name: &str, plain: &str) -> bool {
    let ends = |ends: &[&str]| ends.iter().any(|end| plain.ends_with(end));
    plain.is_empty() || LOGIN.contains(&plain) || (ends(&LOGIN_ENDS) || is_sid(name)) && !ends(&HARMLESS_ENDS)
}

/// Whether the last word of a name is `sid`: `connect.sid` and `loginSid`, and not `statusId`.
fn is_sid(name: &str) -> bool {
    let Some((before, end)) = name.len().checked_sub(3).and_then(|at| name.split_at_checked(at)) else { return false };
    let apart = before.chars().next_back().is_none_or(|last| !last.is_ascii_alphanumeric());
    end == "Sid" || apart && end.eq_ignore_ascii_case("sid")
}

/// Header fields of an answer to a user and password, or to a login, that hold a token.
const FIELDS: [&str; 7] = [
    "x-auth-token",
    "x-subject-token",
    "x-session-token",
    "x-access-token",
    "x-session-id",
    "x-api-key",
    "authorization",
];

/// An answer to a login that cannot be searched for tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// The tokens in an answer to a request that redeemed something. Those that stand for a placeholder already count too.
pub(crate) fn tokens(
    redemption: &Redemption,
    media_type: Option<&str>,
    headers: &[(&str, &[u8])],
    body: &[u8],
) -> Result<BTreeSet<Found>, Unreadable> {
    let login = redemption.is_login();
    let is_token = |name: &str| {
        let plain: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
        OAUTH.contains(&plain.as_str()) || login && is_of_login(name, &plain)
    };
    let mut found = BTreeSet::new();
    let mut take = |name: &str, token: &str| {
        // Of `Bearer abc` the scheme is no secret.
        let token = token.trim().rsplit(' ').next().unwrap_or_default();
        if token.len() >= MIN_SECRET_BYTES {
            found.insert(Found { name: name.to_owned(), token: token.to_owned() });
        }
    };
    match fields(media_type, body) {
        Some(fields) => {
            fields.iter().filter(|(name, _)| is_token(name)).for_each(|(name, value)| take(name, value));
        }
        // What is shorter than any secret holds none.
        None if login && body.trim_ascii().len() >= MIN_SECRET_BYTES => return Err(Unreadable),
        None => {}
    }
    if login || redemption.basic || redemption.url {
        for (name, value) in headers {
            if let (true, Ok(value)) = (FIELDS.contains(name), std::str::from_utf8(value)) {
                take(name, value);
            }
        }
    }
    Ok(found)
}

/// Every text in an answer that is JSON or a form, whatever it calls itself, with the name of the innermost field that
/// holds it; nothing where it is neither.
fn fields(media_type: Option<&str>, body: &[u8]) -> Option<Vec<(String, String)>> {
    let text = std::str::from_utf8(body).ok()?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim();
    let mut fields = Vec::new();
    let mut keep = |place: Place<'_>, text: &str| {
        if let Place::Value { name, .. } = place {
            fields.push((name.to_owned(), text.to_owned()));
        }
    };
    if text.starts_with(['{', '[', '"']) && read(text, Twice::Read, &mut keep).is_ok() {
        return Some(fields);
    }
    let is_form = media_type.and_then(Body::named) == Some(Body::Form);
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '<' | '>' | '"' | '{' | '}');
    (is_form && text.chars().all(plain)).then(|| form(text))
}

/// What stands for tokens of an answer, in every spelling that is swapped.
pub(crate) struct Swaps {
    /// The longest of those that begin at one place first: one token may be part of another.
    spellings: AhoCorasick,
    /// By spelling.
    placeholders: Vec<String>,
}

impl Handed {
    /// How the tokens in an answer become the placeholders that this run has for them, as they are and as JSON or a URL writes
    /// them.
    pub(crate) fn swaps(&self, redemption: &Redemption, found: &BTreeSet<Found>) -> Option<Swaps> {
        let mut spelled: BTreeMap<String, &str> = BTreeMap::new();
        for Found { token, .. } in found {
            let Some(placeholder) = self.token(&redemption.service, token.as_bytes()) else { continue };
            if let Ok(json) = serde_json::to_string(token) {
                let json = json[1..json.len() - 1].to_owned();
                spelled.insert(json.replace('/', "\\/"), placeholder);
                spelled.insert(json, placeholder);
            }
            let mut encoded = String::new();
            super::request::encode(token.as_bytes(), &mut encoded);
            spelled.insert(encoded, placeholder);
        }
        // What a token is goes before what another one is written as.
        for Found { token, .. } in found {
            if let Some(placeholder) = self.token(&redemption.service, token.as_bytes()) {
                spelled.insert(token.clone(), placeholder);
            }
        }
        let built = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(spelled.keys());
        let placeholders = spelled.into_values().map(str::to_owned).collect();
        built.ok().map(|spellings| Swaps { spellings, placeholders })
    }
}

impl Swaps {
    /// `bytes` with every token replaced, in one pass over them.
    pub(crate) fn apply(&self, bytes: &[u8]) -> Vec<u8> {
        self.spellings.replace_all_bytes(bytes, &self.placeholders)
    }
}
