//! The places of a request besides its header fields: the URL's path and query, forms and JSON.
//!
//! Each is decoded once, looked at, and written anew with its own encoding where something was swapped; what holds no
//! placeholder stays byte for byte as the skill wrote it.

use crate::error::HttpError;
use serde_json::Value;
use sophon_vault::{PLACEHOLDER_PREFIX, Position};
use std::collections::BTreeMap;
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
        Some(Body::Json) => {
            let Ok(value) = serde_json::from_str::<Value>(text) else { return Ok(false) };
            let mut seen = 0;
            walk(&value, &mut String::new(), &mut seen, &mut look)?;
            // A key that stands twice, or an escape, would hide one from the walk or from the swap.
            Ok(seen == text.matches(PLACEHOLDER_PREFIX).count())
        }
    }
}

fn walk(value: &Value, path: &mut String, seen: &mut usize, look: Look<'_>) -> Result<(), HttpError> {
    match value {
        Value::String(text) => {
            *seen += text.matches(PLACEHOLDER_PREFIX).count();
            look(text.as_bytes(), Some(&Position::Json(path.clone())), "the JSON in the body")
        }
        Value::Array(items) => items.iter().try_for_each(|item| {
            let length = path.len();
            path.push_str("[]");
            let walked = walk(item, path, seen, look);
            path.truncate(length);
            walked
        }),
        Value::Object(fields) => fields.iter().try_for_each(|(key, field)| {
            look(key.as_bytes(), None, "a key of the JSON in the body")?;
            let length = path.len();
            if length > 0 {
                path.push('.');
            }
            path.push_str(key);
            let walked = walk(field, path, seen, look);
            path.truncate(length);
            walked
        }),
        _ => Ok(()),
    }
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
            encode(&fill(&decoded(segment, Plus::IsPlus))?, &mut swapped);
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
            for literal in literals(body) {
                match literal {
                    Literal::Other(text) => swapped.extend_from_slice(text),
                    Literal::String(text) => {
                        let read: String = serde_json::from_slice(text).ok()?;
                        swapped.push(b'"');
                        swapped.extend_from_slice(&escaped(&fill(read.as_bytes())?)?);
                        swapped.push(b'"');
                    }
                }
            }
            Some(swapped)
        }
    }
}

enum Literal<'b> {
    /// A string literal that holds a placeholder, its quotes included.
    String(&'b [u8]),
    Other(&'b [u8]),
}

/// A JSON text cut where string literals with placeholders begin and end.
fn literals(body: &[u8]) -> Vec<Literal<'_>> {
    let mut cut = Vec::new();
    let (mut from, mut at) = (0, 0);
    while at < body.len() {
        if body[at] != b'"' {
            at += 1;
            continue;
        }
        let start = at;
        at += 1;
        while at < body.len() && body[at] != b'"' {
            at += 1 + usize::from(body[at] == b'\\');
        }
        at = (at + 1).min(body.len());
        if super::text::holds(&body[start..at], PLACEHOLDER_PREFIX) {
            cut.push(Literal::Other(&body[from..start]));
            cut.push(Literal::String(&body[start..at]));
            from = at;
        }
    }
    cut.push(Literal::Other(&body[from..]));
    cut
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
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            out.push(char::from(*byte));
        } else {
            out.push('%');
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
}

/// The pairs of a form, decoded; for answers that come as one.
pub(super) fn form(text: &str) -> BTreeMap<String, String> {
    let read = |part: &str| String::from_utf8_lossy(&decoded(part, Plus::IsBlank)).into_owned();
    text.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, value)| (read(name), read(value))).collect()
}
