//! What a skill holds in place of a credential, for one run, and how it is redeemed.
//!
//! Promise: a placeholder that a skill was given is redeemed in the value of a header field (or of HTTP Basic,
//! after decoding), on the way to the hosts of that connection, while the run lasts, and nowhere else. A placeholder of another
//! run is refused, not passed on.

use crate::admit::HttpRequest;
use crate::credential::field;
use crate::dispatch::Attached;
use crate::error::{Denial, HttpError};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http::HeaderMap;
use sophon_guard::KnownSecrets;
use sophon_types::ServiceName;
use sophon_vault::{Lease, PLACEHOLDER_BYTES, PLACEHOLDER_PREFIX, may_carry_credential};
use std::borrow::Cow;

/// Everything that one run was given.
#[derive(Clone, Default)]
pub(crate) struct Handed {
    items: Vec<Item>,
}

#[derive(Clone)]
struct Item {
    text: String,
    service: ServiceName,
    /// The field that it stands for; without a name, the one that authorises.
    field: Option<String>,
}

/// A request that holds something of it: which connection's, and in which header fields (lower case).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Redemption {
    pub(crate) service: ServiceName,
    pub(crate) fields: Vec<String>,
}

/// The header fields as they leave, and the secrets that came into being with them.
pub(crate) struct Swapped {
    pub(crate) fields: Vec<Attached>,
    pub(crate) secrets: KnownSecrets,
}

impl Handed {
    /// The placeholder that stands for this field of this service, where there is one already.
    pub(crate) fn placeholder(&self, service: &ServiceName, field: Option<&str>) -> Option<&str> {
        let found = self.items.iter().find(|item| item.service == *service && item.field.as_deref() == field);
        found.map(|item| item.text.as_str())
    }

    pub(crate) fn add_placeholder(&mut self, text: &str, service: &ServiceName, field: Option<&str>) {
        let field = field.map(str::to_owned);
        self.items.push(Item { text: text.to_owned(), service: service.clone(), field });
    }

    /// What `request` redeems, if anything.
    pub(crate) fn redemption(&self, request: &HttpRequest) -> Result<Option<Redemption>, HttpError> {
        let mut found: Option<Redemption> = None;
        for (name, value) in &request.headers {
            for text in spellings(name, value) {
                let Some(item) = self.look(&text)? else { continue };
                if !may_carry_credential(name) {
                    let name: String = name.chars().take(60).collect();
                    return Err(misplaced(item, &format!("the header field {name}")));
                }
                let lower = name.to_ascii_lowercase();
                let redemption =
                    found.get_or_insert_with(|| Redemption { service: item.service.clone(), fields: Vec::new() });
                if redemption.service != item.service {
                    let both = format!("{} and {}", redemption.service, item.service);
                    return Err(Denial::new(
                        "placeholder_misplaced",
                        format_args!("one request may use one connection, this one holds placeholders of {both}"),
                    )
                    .hint("send one request for each service")
                    .into());
                }
                if !redemption.fields.contains(&lower) {
                    redemption.fields.push(lower);
                }
            }
        }
        if let Some(item) = self.look(request.url.as_bytes())? {
            return Err(misplaced(item, "the URL"));
        }
        let body = request.body.as_deref().unwrap_or_default();
        if let Some(item) = self.items.iter().find(|item| holds(body, &item.text)) {
            return Err(misplaced(item, "the body"));
        }
        if let (Some(found), Some(named)) = (&found, &request.credential)
            && found.service.as_str() != named
        {
            return Err(Denial::new(
                "placeholder_misplaced",
                format_args!("the request names a credential and holds a placeholder of {}", found.service),
            )
            .hint("either name the credential, or send its placeholder in a header field")
            .into());
        }
        Ok(found)
    }

    /// The first item in `text`. A placeholder that this run was not given is refused.
    fn look(&self, text: &[u8]) -> Result<Option<&Item>, HttpError> {
        let found = self.items.iter().find(|item| holds(text, &item.text));
        let stranger = pieces(text).any(|piece| match piece {
            Piece::Text(_) => false,
            Piece::Placeholder(text) => !self.items.iter().any(|item| item.text.as_bytes() == text),
        });
        if stranger {
            return Err(Denial::new("placeholder_unknown", "the request holds a placeholder of another run")
                .hint("ask for it again in this call: a placeholder is good for one run only")
                .into());
        }
        Ok(found)
    }

    /// The fields of `redemption` with what their placeholders stand for.
    pub(crate) fn swap(&self, redemption: &Redemption, headers: &HeaderMap, lease: &Lease) -> Option<Swapped> {
        let mut fields = Vec::new();
        let mut secrets = KnownSecrets::builder();
        for name in &redemption.fields {
            for value in headers.get_all(name.as_str()) {
                let value = match basic(name, value.as_bytes()) {
                    None => self.filled(value.as_bytes(), &redemption.service, lease)?,
                    Some(pair) => {
                        let pair = STANDARD.encode(self.filled(&pair, &redemption.service, lease)?);
                        secrets = secrets.add(&format!("{}.basic", redemption.service), pair.as_bytes());
                        format!("Basic {pair}").into_bytes()
                    }
                };
                fields.push(field(name, &value)?);
            }
        }
        Some(Swapped { fields, secrets: secrets.build() })
    }

    /// `text` with every placeholder swapped; read once, so that a secret that looks like one stays what it is.
    fn filled(&self, text: &[u8], service: &ServiceName, lease: &Lease) -> Option<Vec<u8>> {
        let mut filled = Vec::with_capacity(text.len() + 64);
        for piece in pieces(text) {
            match piece {
                Piece::Text(text) => filled.extend_from_slice(text),
                Piece::Placeholder(text) => {
                    let item =
                        self.items.iter().find(|item| item.text.as_bytes() == text && item.service == *service)?;
                    let secret = lease.stands_for(item.field.as_deref())?;
                    #[expect(clippy::disallowed_methods, reason = "egress is where a secret is attached to a request")]
                    filled.extend_from_slice(secret.expose());
                }
            }
        }
        Some(filled)
    }
}

enum Piece<'t> {
    Text(&'t [u8]),
    Placeholder(&'t [u8]),
}

/// `text` cut where placeholders, of whichever run, begin and end.
fn pieces(text: &[u8]) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let at = position(rest, PLACEHOLDER_PREFIX.as_bytes()).filter(|at| rest.len() - at >= PLACEHOLDER_BYTES);
        let (piece, end) = match at {
            None => (Piece::Text(rest), rest.len()),
            Some(0) => (Piece::Placeholder(&rest[..PLACEHOLDER_BYTES]), PLACEHOLDER_BYTES),
            Some(at) => (Piece::Text(&rest[..at]), at),
        };
        rest = &rest[end..];
        Some(piece)
    })
}

/// The ways to read a header field's value: as it is, and what HTTP Basic says when decoded.
fn spellings<'v>(name: &str, value: &'v [u8]) -> impl Iterator<Item = Cow<'v, [u8]>> {
    std::iter::once(Cow::Borrowed(value)).chain(basic(name, value).map(Cow::Owned))
}

/// The pair of user and password that `Authorization: Basic` holds (RFC 7617).
fn basic(name: &str, value: &[u8]) -> Option<Vec<u8>> {
    if !name.eq_ignore_ascii_case("authorization") {
        return None;
    }
    let (scheme, rest) = value.trim_ascii().split_at_checked(5)?;
    if !scheme.eq_ignore_ascii_case(b"basic") || !rest.first()?.is_ascii_whitespace() {
        return None;
    }
    let rest = rest.trim_ascii();
    STANDARD.decode(rest).or_else(|_padding| STANDARD_NO_PAD.decode(rest)).ok()
}

fn holds(text: &[u8], sought: &str) -> bool {
    position(text, sought.as_bytes()).is_some()
}

fn position(text: &[u8], sought: &[u8]) -> Option<usize> {
    let first = *sought.first()?;
    let last = text.len().checked_sub(sought.len())?;
    let mut from = 0;
    while let Some(at) = text[from..=last].iter().position(|byte| *byte == first) {
        let at = from + at;
        if text[at..].starts_with(sought) {
            return Some(at);
        }
        from = at + 1;
        if from > last {
            break;
        }
    }
    None
}

fn misplaced(item: &Item, place: &str) -> HttpError {
    Denial::new("placeholder_misplaced", format_args!("{place} holds the placeholder of {}", item.service))
        .hint("send it in the value of a header field, such as Authorization")
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_where_placeholders_are() {
        let one = format!("{PLACEHOLDER_PREFIX}{}", "a".repeat(40));
        let check = |text: &str, expected: &[&str]| {
            let cut: Vec<String> = pieces(text.as_bytes())
                .map(|piece| match piece {
                    Piece::Text(text) => format!("t:{}", String::from_utf8_lossy(text)),
                    Piece::Placeholder(text) => format!("p:{}", String::from_utf8_lossy(text)),
                })
                .collect();
            assert_eq!(cut, expected);
        };
        check("", &[]);
        check("plain", &["t:plain"]);
        check(&one, &[&format!("p:{one}")]);
        check(&format!("Bearer {one}{one}!"), &["t:Bearer ", &format!("p:{one}"), &format!("p:{one}"), "t:!"]);
        check("sophon-ph-short", &["t:sophon-ph-short"]);
        assert_eq!(position(b"aab", b"ab"), Some(1));
        assert_eq!(position(b"ab", b"abc"), None);
    }
}
