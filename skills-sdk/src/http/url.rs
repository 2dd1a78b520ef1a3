//! Percent-encoding, as much of it as building a URL takes.

/// Percent-encodes everything but the unreserved characters of RFC 3986 (letters, digits, `-`, `.`, `_`, `~`), so that
/// the text is one path segment or one query value whatever it holds.
pub fn encode(text: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len());
    for &byte in text.as_bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    out
}

pub(super) fn push_pair(query: &mut String, name: &str, value: &str) {
    if !query.is_empty() {
        query.push('&');
    }
    query.push_str(&encode(name));
    query.push('=');
    query.push_str(&encode(value));
}

/// The URL with the query added to what it has, before a fragment.
pub(super) fn with_query(mut url: String, query: &str) -> String {
    if query.is_empty() {
        return url;
    }
    let fragment = url.find('#').map(|at| url.split_off(at)).unwrap_or_default();
    match url.find('?') {
        None => url.push('?'),
        Some(at) if at + 1 < url.len() && !url.ends_with('&') => url.push('&'),
        Some(_) => {}
    }
    url.push_str(query);
    url.push_str(&fragment);
    url
}

#[cfg(test)]
mod tests {
    use super::super::{Error, get};
    use super::*;

    #[test]
    fn queries() {
        #[track_caller]
        fn check(url: &str, pairs: &[(&str, &str)], want: &str) {
            let mut query = String::new();
            for (name, value) in pairs {
                push_pair(&mut query, name, value);
            }
            assert_eq!(with_query(url.into(), &query), want);
        }
        check("https://a/b", &[], "https://a/b");
        check("https://a/b", &[("q", "x y&z=ä/1")], "https://a/b?q=x%20y%26z%3D%C3%A4%2F1");
        check("https://a/b?c=1", &[("d", "2"), ("e", "3")], "https://a/b?c=1&d=2&e=3");
        check("https://a/b?", &[("d", "2")], "https://a/b?d=2");
        check("https://a/b#f", &[("d", "2")], "https://a/b?d=2#f");
    }

    #[test]
    fn a_segment_cannot_leave_its_place() {
        let request = get("https://a/").path(["repos", "x/../..", "é"]);
        assert_eq!(request.url, "https://a/repos/x%2F..%2F../%C3%A9");
        for segment in ["", ".", ".."] {
            assert!(matches!(get("https://a").path([segment]).send(), Err(Error::InvalidRequest(_))), "{segment:?}");
        }
        assert!(matches!(get("https://a?b").path(["c"]).send(), Err(Error::InvalidRequest(_))));
    }
}
