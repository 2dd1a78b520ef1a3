//! Where placeholders begin and end in a text.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sophon_vault::{PLACEHOLDER_BYTES, PLACEHOLDER_PREFIX};

pub(super) enum Piece<'t> {
    Text(&'t [u8]),
    Placeholder(&'t [u8]),
}

/// `text` cut where placeholders, of whichever run, begin and end.
pub(super) fn pieces(text: &[u8]) -> impl Iterator<Item = Piece<'_>> {
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

/// The pair of user and password that `Authorization: Basic` holds (RFC 7617).
pub(super) fn basic(name: &str, value: &[u8]) -> Option<Vec<u8>> {
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

pub(super) fn holds(text: &[u8], sought: &str) -> bool {
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
