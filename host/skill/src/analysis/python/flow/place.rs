//! Places in requests, as they are named when an account is connected, and what looks like one.

use super::value::ITEMS;
use crate::network::{is_made_for_credentials, may_carry_credential};

/// Characters of a name in a position.
const LONGEST_NAME: usize = 64;

/// What of a request a dictionary becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Headers,
    Query,
    Form,
    Json,
}

/// The position of what leaves under these keys; nothing where it needs none, or can have none.
pub(super) fn position(part: Part, path: &[String]) -> Option<String> {
    match (part, path) {
        (Part::Json, path) => json(path).map(|path| format!("json:{path}")),
        (Part::Headers, [name]) => (may_carry_credential(name) && !is_made_for_credentials(name))
            .then(|| format!("header:{}", name.to_ascii_lowercase())),
        (Part::Query, [name]) if is_plain(name) => Some(format!("query:{name}")),
        (Part::Form, [name]) if is_plain(name) => Some(format!("form:{name}")),
        _ => None,
    }
}

pub(super) fn is_headers(path: &str) -> bool {
    let last = path.rsplit('.').next().unwrap_or(path).to_ascii_lowercase();
    last.contains("header") || last == "hdrs"
}

/// A module whose functions are called like those of many skills.
pub(super) fn is_library(holder: &str) -> bool {
    let first = holder.split('.').next().unwrap_or(holder);
    matches!(first, "requests" | "httpx" | "urllib" | "aiohttp") || holder.to_ascii_lowercase().contains("session")
}

fn is_plain(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// Keys as a position names them; nothing where one of them is written like two.
fn json(path: &[String]) -> Option<String> {
    let mut text = String::new();
    for key in path {
        if key != ITEMS {
            if key.is_empty() || key.contains(['.', '[', ']']) {
                return None;
            }
            if !text.is_empty() {
                text.push('.');
            }
        }
        text.push_str(key);
    }
    is_plain(&text).then_some(text)
}

/// The place in a URL that comes behind this text: the value of a parameter, or a segment of the path.
pub(super) fn url_position(before: &str) -> Option<String> {
    if before.contains(char::is_whitespace) {
        return None;
    }
    if let Some(at) = before.rfind(['?', '&']) {
        let (name, _) = before[at + 1..].split_once('=')?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.-[]".contains(c);
        // What begins like this is a body (RFC 6749), not a URL.
        let kind = if before.starts_with("grant_type=") { "form" } else { "query" };
        return (is_plain(name) && name.chars().all(plain)).then(|| format!("{kind}:{name}"));
    }
    let path = match before.split_once("://") {
        Some((scheme, rest)) => Some(rest).filter(|_| matches!(scheme, "http" | "https")),
        None => before.strip_prefix("{}").or(Some(before).filter(|text| text.starts_with('/'))),
    };
    path.filter(|path| path.contains('/')).map(|_| "path".to_owned())
}
