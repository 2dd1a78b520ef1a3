//! A path rule: exact, everything below a prefix, or all.
//!
//! A rule that names a path refuses a path that servers may read differently from what it shows (encoded slashes
//! and dots, back slashes, path parameters): what was checked must be what the server serves.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

const MAX_PATTERN: usize = 512;

/// Encodings of `/`, `\`, `.`, `;`, `%` and NUL: what lies behind them is seen by the server, not by the rule.
const AMBIGUOUS: [&str; 6] = ["%2f", "%5c", "%2e", "%3b", "%25", "%00"];

/// Which paths a rule means.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PathPattern {
    /// `*`: every path.
    All,
    /// `/user`: this path only.
    Exact(String),
    /// `/repos/*`, held as `/repos/`: every path that begins so, however deep.
    Below(String),
}

impl PathPattern {
    /// Whether `path` is meant: the path of a parsed URL, percent-encoded, without query and fragment.
    ///
    /// All but [`PathPattern::All`] refuse a path with dot segments, an encoded slash, back slash, dot, semicolon,
    /// percent sign or NUL, a back slash or a path parameter (`;`).
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::All => true,
            Self::Exact(exact) => path == exact && is_plain(path),
            Self::Below(prefix) => path.starts_with(prefix.as_str()) && is_plain(path),
        }
    }

    /// Whether every path that `other` means is meant by this pattern too.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Below(prefix), Self::Exact(path) | Self::Below(path)) => path.starts_with(prefix.as_str()),
            _ => self == other,
        }
    }
}

fn is_plain(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    !AMBIGUOUS.iter().any(|encoded| lower.contains(encoded))
        && !path.contains(['\\', ';'])
        && !path.contains(|c: char| c.is_control())
        && !path.split('/').any(|segment| matches!(segment, "." | ".."))
}

impl FromStr for PathPattern {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        if text == "*" {
            return Ok(Self::All);
        }
        if !text.starts_with('/') || text.len() > MAX_PATTERN {
            return Err(PathError::Start);
        }
        if text.contains(['?', '#']) {
            return Err(PathError::Query);
        }
        let (path, below) = text.strip_suffix("/*").map_or((text.to_owned(), false), |base| (format!("{base}/"), true));
        if path.contains('*') {
            return Err(PathError::Star);
        }
        if !path.bytes().all(|b| b.is_ascii_graphic()) || !is_plain(&path) {
            return Err(PathError::Ambiguous);
        }
        Ok(if below { Self::Below(path) } else { Self::Exact(path) })
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Exact(path) => f.write_str(path),
            Self::Below(prefix) => write!(f, "{prefix}*"),
        }
    }
}

impl Serialize for PathPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PathPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Why text is no path rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// It does not begin with `/`, or is longer than 512 bytes.
    #[error("a path begins with '/' and has at most 512 characters; '*' alone means every path")]
    Start,
    /// It holds a query or a fragment.
    #[error("a path rule has no query and no fragment")]
    Query,
    /// `*` anywhere but as the whole last segment.
    #[error("'*' may stand only as the whole last segment, as in /repos/*")]
    Star,
    /// Dot segments, encoded separators, back slashes, path parameters, or what is not printable ASCII.
    #[error("a path rule is plain ASCII without dot segments, ';', back slashes and encoded separators")]
    Ambiguous,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn attack_12_path_rules_survive_disguises() {
        let pattern: PathPattern = "/v1/*".parse().unwrap();
        let check = |path: &str, expected: bool| assert_eq!(pattern.matches(path), expected, "{path}");
        check("/v1/", true);
        check("/v1/items", true);
        check("/v1/items/7/parts", true);
        check("/v1/%E2%9C%93", true);
        check("/v1", false);
        check("/v10/items", false);
        check("/V1/items", false);
        check("/v1/../admin", false);
        check("/v1/%2e%2e/admin", false);
        check("/v1/%2E./admin", false);
        check("/v1/..%2fadmin", false);
        check("/v1/%252e%252e/admin", false);
        check("/v1\\..\\admin", false);
        check("/v1/a%5cb", false);
        check("/v1/;/admin", false);
        check("/v1/a%00", false);
    }

    #[test]
    fn rules_are_read_and_written() {
        for text in ["*", "/*", "/user", "/repos/*", "/a%20b/c"] {
            assert_eq!(text.parse::<PathPattern>().unwrap().to_string(), text);
        }
        let check = |text: &str, expected: PathError| assert_eq!(text.parse::<PathPattern>(), Err(expected), "{text}");
        check("", PathError::Start);
        check("repos/*", PathError::Start);
        check("/repos*", PathError::Star);
        check("/*/x", PathError::Star);
        check("/a?b", PathError::Query);
        check("/a/../b", PathError::Ambiguous);
        check("/a%2fb", PathError::Ambiguous);
        check("/ä", PathError::Ambiguous);
    }

    #[test]
    fn patterns_cover_what_they_mean() {
        let check = |wide: &str, narrow: &str, expected: bool| {
            let (wide, narrow): (PathPattern, PathPattern) = (wide.parse().unwrap(), narrow.parse().unwrap());
            assert_eq!(wide.covers(&narrow), expected, "{wide} {narrow}");
        };
        check("*", "/a/*", true);
        check("/a/*", "*", false);
        check("/a/*", "/a/b", true);
        check("/a/*", "/a/b/*", true);
        check("/a/*", "/a", false);
        check("/a", "/a", true);
    }

    proptest! {
        #[test]
        fn parsing_and_matching_never_panic(text in "\\PC{0,40}", path in "\\PC{0,40}") {
            if let Ok(pattern) = text.parse::<PathPattern>() {
                prop_assert_eq!(pattern.to_string().parse::<PathPattern>(), Ok(pattern.clone()));
                prop_assert!(!pattern.matches(&path) || pattern == PathPattern::All || path.starts_with('/'));
            }
        }
    }
}
