//! The places of a request besides its header fields: the URL's path and query, forms and JSON.
//!
//! Each is decoded once, looked at, and written anew with its own encoding where something was swapped; what holds no
//! placeholder stays byte for byte as the skill wrote it.

use super::json::{Place, Twice, read};
use super::text::{Piece, holds, pieces};
use crate::error::HttpError;
use sophon_vault::{PLACEHOLDER_PREFIX, Position};
use std::ops::Range;
use zeroize::Zeroizing;

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// `application/x-www-form-urlencoded`.
    Form,
    /// JSON.
    Json,
}

impl Body {
    /// What the one `Content-Type` among `headers` says.
    pub(crate) fn of(headers: &[(String, Vec<u8>)]) -> Option<Self> {
        let mut types = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        let (_, value) = types.next()?;
        if types.next().is_some() {
            return None;
        }
        Self::named(std::str::from_utf8(value).ok()?)
    }

    /// What a media type says (RFC 9110, 8.3).
    pub(crate) fn named(media_type: &str) -> Option<Self> {
        let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/x-www-form-urlencoded" => Some(Self::Form),
            "application/json" => Some(Self::Json),
            other if other.starts_with("application/") && other.ends_with("+json") => Some(Self::Json),
            _ => None,
        }
    }
}

/// Swaps what placeholders stand for into a text; nothing where that cannot be.
pub(super) trait Fill: Fn(&[u8]) -> Option<Zeroizing<Vec<u8>>> {}
impl<F: Fn(&[u8]) -> Option<Zeroizing<Vec<u8>>>> Fill for F {}

/// Looks at a decoded text, the position that it is, and how a message names it.
type Look<'a> = &'a mut dyn FnMut(&[u8], Option<&Position>, &str) -> Result<(), HttpError>;

/// A URL in its parts, as they are written.
struct Parts<'u> {
    /// Scheme and authority.
    origin: &'u str,
    path: &'u str,
    query: Option<&'u str>,
    fragment: &'u str,
}

impl<'u> Parts<'u> {
    fn of(url: &'u str) -> Self {
        let (rest, fragment) = url.find('#').map_or((url, ""), |at| url.split_at(at));
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
        let authority = rest.find("://").map_or(0, |at| at + 3);
        let path = rest[authority..].find('/').map_or(rest.len(), |at| authority + at);
        let (origin, path) = rest.split_at(path);
        Self { origin, path, query, fragment }
    }
}

/// Looks at every part of a URL.
pub(super) fn url_places(
    url: &str,
    mut look: impl FnMut(&[u8], Option<&Position>, &str) -> Result<(), HttpError>,
) -> Result<(), HttpError> {
    let parts = Parts::of(url);
    look(&decoded(parts.origin, Plus::IsPlus), None, "the host of the URL")?;
    look(parts.fragment.as_bytes(), None, "the fragment of the URL")?;
    for segment in parts.path.split('/') {
        look(&decoded(segment, Plus::IsPlus), Some(&Position::Path), "the path of the URL")?;
    }
    match parts.query {
        Some(query) => pairs(query, "the query of the URL", &Position::Query, &mut look),
        None => Ok(()),
    }
}

fn pairs(text: &str, place: &str, position: &dyn Fn(String) -> Position, look: Look<'_>) -> Result<(), HttpError> {
    for pair in text.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decoded(name, Plus::IsBlank);
        look(&name, None, place)?;
        let named = String::from_utf8(name).ok().map(position);
        look(&decoded(value, Plus::IsBlank), named.as_ref(), place)?;
    }
    Ok(())
}

/// Looks at every part of a body; false where it is none that has places, or where a part cannot be seen.
pub(super) fn body_places(
    kind: Option<Body>,
    body: &[u8],
    mut look: impl FnMut(&[u8], Option<&Position>, &str) -> Result<(), HttpError>,
) -> Result<bool, HttpError> {
    let Ok(text) = std::str::from_utf8(body) else { return Ok(false) };
    match kind {
        None => Ok(false),
        Some(Body::Form) => {
            pairs(text, "the form in the body", &Position::Form, &mut look)?;
            Ok(true)
        }
        Some(Body::Json) => json_places(text, &mut look),
    }
}

/// Looks at every string of a JSON text, keys included. False also where two readers may see two texts: with a key that
/// stands twice, or a placeholder that is not written as it is.
fn json_places(text: &str, look: Look<'_>) -> Result<bool, HttpError> {
    let (mut strings, mut count) = (Vec::new(), 0);
    let whole = read(text, Twice::Refused, &mut |place, string| {
        if string.contains(PLACEHOLDER_PREFIX) {
            let position = match place {
                Place::Value { path: Some(path), .. } => Some(Position::Json(path.to_owned())),
                Place::Value { path: None, .. } | Place::Key => None,
            };
            strings.push((count, position, string.to_owned()));
        }
        count += 1;
    });
    let literals: Vec<Range<usize>> = literals(text.as_bytes()).collect();
    // The strings are the literals, one by one: so what is looked at here is what is swapped there.
    let mut same = whole.is_ok() && literals.len() == count;
    for (number, position, string) in strings {
        look(string.as_bytes(), position.as_ref(), "the JSON in the body")?;
        let written = literals.get(number).map(|literal| &text[literal.clone()]);
        same &= written.is_some_and(|written| placeholders(written.as_bytes()).eq(placeholders(string.as_bytes())));
    }
    Ok(same)
}

fn placeholders(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    pieces(text).filter_map(|piece| match piece {
        Piece::Placeholder(core) => Some(core),
        Piece::Text(_) => None,
    })
}

/// The URL with what placeholders in its path and query stand for, each encoded for its place.
pub(super) fn swap_url(url: &str, fill: impl Fill) -> Option<Zeroizing<String>> {
    let parts = Parts::of(url);
    let mut swapped = Zeroizing::new(String::with_capacity(url.len() + 64));
    swapped.push_str(parts.origin);
    for (index, segment) in parts.path.split('/').enumerate() {
        if index > 0 {
            swapped.push('/');
        }
        if segment.contains(PLACEHOLDER_PREFIX) {
            encode_segment(&fill(&decoded(segment, Plus::IsPlus))?, &mut swapped)?;
        } else {
            swapped.push_str(segment);
        }
    }
    if let Some(query) = parts.query {
        swapped.push('?');
        swap_pairs(query, &fill, &mut swapped)?;
    }
    Some(swapped)
}

/// The path of a URL, as it is written.
pub(super) fn path(url: &str) -> &str {
    Parts::of(url).path
}

/// `secret`, which is a URL, in place of the one that stands for it: of that only the query stays, behind the secret's own.
pub(super) fn swap_hook(secret: &str, url: &str, fill: impl Fill) -> Option<Zeroizing<String>> {
    let (secret, asked) = (Parts::of(secret), Parts::of(url));
    let mut swapped = Zeroizing::new(String::with_capacity(secret.origin.len() + secret.path.len() + url.len() + 64));
    swapped.push_str(secret.origin);
    swapped.push_str(if secret.path.is_empty() { "/" } else { secret.path });
    let mut between = '?';
    if let Some(query) = secret.query {
        swapped.push(between);
        swapped.push_str(query);
        between = '&';
    }
    if let Some(query) = asked.query.filter(|query| !query.is_empty()) {
        swapped.push(between);
        swap_pairs(query, &fill, &mut swapped)?;
    }
    Some(swapped)
}

fn swap_pairs(text: &str, fill: &impl Fill, swapped: &mut String) -> Option<()> {
    for (index, pair) in text.split('&').enumerate() {
        if index > 0 {
            swapped.push('&');
        }
        match pair.split_once('=') {
            Some((name, value)) if value.contains(PLACEHOLDER_PREFIX) => {
                swapped.push_str(name);
                swapped.push('=');
                encode(&fill(&decoded(value, Plus::IsBlank))?, swapped);
            }
            _ => swapped.push_str(pair),
        }
    }
    Some(())
}

/// The body with what placeholders in it stand for.
pub(super) fn swap_body(kind: Body, body: &[u8], fill: impl Fill) -> Option<Zeroizing<Vec<u8>>> {
    match kind {
        Body::Form => {
            let mut swapped = Zeroizing::new(String::with_capacity(body.len() + 64));
            swap_pairs(std::str::from_utf8(body).ok()?, &fill, &mut swapped)?;
            Some(Zeroizing::new(swapped.as_bytes().to_vec()))
        }
        // Placeholders and their shapes hold nothing that JSON escapes, so they stand in its text as they are; what
        // comes in their place is escaped, and the rest stays as it was written.
        Body::Json => {
            let escaped = |bytes: &[u8]| {
                let text = Zeroizing::new(serde_json::to_string(std::str::from_utf8(bytes).ok()?).ok()?);
                let inner = text.get(1..text.len() - 1)?;
                Some(Zeroizing::new(inner.as_bytes().to_vec()))
            };
            // Literal by literal, so that a secret is escaped once and what stands around it not at all.
            let mut swapped = Zeroizing::new(Vec::with_capacity(body.len() + 64));
            let mut from = 0;
            for literal in literals(body).filter(|literal| holds(&body[literal.clone()], PLACEHOLDER_PREFIX)) {
                swapped.extend_from_slice(&body[from..literal.start]);
                from = literal.end;
                let read: String = serde_json::from_slice(&body[literal]).ok()?;
                swapped.push(b'"');
                swapped.extend_from_slice(&escaped(&fill(read.as_bytes())?)?);
                swapped.push(b'"');
            }
            swapped.extend_from_slice(&body[from..]);
            Some(swapped)
        }
    }
}

/// Where the string literals of a JSON text are, their quotes included.
fn literals(body: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + body.get(at..)?.iter().position(|byte| *byte == b'"')?;
        at = start + 1;
        while at < body.len() && body[at] != b'"' {
            at += 1 + usize::from(body[at] == b'\\');
        }
        at = (at + 1).min(body.len());
        Some(start..at)
    })
}

/// What `+` means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plus {
    IsPlus,
    IsBlank,
}

fn decoded(text: &str, plus: Plus) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
                continue;
            }
            (b'+', ..) if plus == Plus::IsBlank => out.push(b' '),
            (byte, ..) => out.push(byte),
        }
        at += 1;
    }
    out
}

/// Percent-encoding that every part of a URL and every form reads the same (RFC 3986, 2.3).
pub(super) fn encode(bytes: &[u8], out: &mut String) {
    encode_but(b"", bytes, out);
}

/// One segment of a path: what may stand in one stays as it is (`pchar`, RFC 3986, 3.3), because not every service reads
/// `%3A` as a colon there. Whatever ends a segment, a path or a query is encoded, so that it stays this one segment; nothing
/// where it would lead to another one.
fn encode_segment(bytes: &[u8], out: &mut String) -> Option<()> {
    let hollow = |part: &[u8]| part.iter().all(|byte| matches!(byte, b'.' | b' '));
    if hollow(bytes) {
        return None;
    }
    // Some servers take `..;x` for `..`.
    let name = bytes.split(|byte| *byte == b';').next().unwrap_or_default();
    encode_but(if hollow(name) { b"" } else { b"!$&'()*+,;=:@" }, bytes, out);
    Some(())
}

/// Percent-encodes everything but letters, digits, `-._~` and what is in `kept`.
fn encode_but(kept: &[u8], bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) || kept.contains(byte) {
            out.push(char::from(*byte));
        } else {
            out.push('%');
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
}

/// The pairs of a form, decoded; for answers that come as one.
pub(super) fn form(text: &str) -> Vec<(String, String)> {
    let read = |part: &str| String::from_utf8_lossy(&decoded(part, Plus::IsBlank)).into_owned();
    text.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, value)| (read(name), read(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_17_what_is_swapped_into_a_path_stays_one_segment() {
        let core = format!("{PLACEHOLDER_PREFIX}{}", "a".repeat(40));
        let url = format!("https://api.example.com/bot{core}/send?x=1");
        let alone = format!("https://api.example.com/{core}/send");
        let swap = |url: &str, secret: &str| {
            let filled = |text: &[u8]| {
                let text = String::from_utf8(text.to_vec()).unwrap().replace(&core, secret);
                Some(Zeroizing::new(text.into_bytes()))
            };
            swap_url(url, filled).map(|url| url.trim_start_matches("https://api.example.com").to_owned())
        };
        let check = |secret: &str, expected: &str| {
            assert_eq!(swap(&url, secret), Some(format!("/bot{expected}/send?x=1")), "{secret}");
        };
        check("123456:ABC-def_9~", "123456:ABC-def_9~");
        check("a!$&'()*+,;=:@b", "a!$&'()*+,;=:@b");
        check("a/b?c#d%2fe\\f", "a%2Fb%3Fc%23d%252fe%5Cf");
        check("../../x y\"<>^`{|}", "..%2F..%2Fx%20y%22%3C%3E%5E%60%7B%7C%7D");
        check("\r\n\u{fc}", "%0D%0A%C3%BC");
        // What some reader takes for another place.
        assert_eq!(swap(&alone, ".."), None);
        assert_eq!(swap(&alone, ". ."), None);
        assert_eq!(swap(&alone, "..;abcdef"), Some("/..%3Babcdef/send".into()));
        assert_eq!(swap(&alone, ";a=b"), Some("/%3Ba%3Db/send".into()));
        assert_eq!(swap(&alone, "a;b"), Some("/a;b/send".into()));
    }
}
