//! What stands for a credential in the hands of a skill: text that is worth nothing outside the run it was made for.
//!
//! Egress keeps which placeholder stands for what, for as long as the run lasts, and swaps it on the way out. Nothing
//! of the credential is in it. How it looks and where else than in header fields that are made for credentials it may
//! stand is what the person who connected the service says: [`Placing`].

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sophon_skill::may_carry_credential;
use sophon_types::Entropy;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// What every placeholder begins with: letters, digits and `-` only, so that no encoding of a URL changes it.
pub const PLACEHOLDER_PREFIX: &str = "sophon-ph-";
/// Bytes of a placeholder: the prefix, and 160 random bits in hexadecimal.
pub const PLACEHOLDER_BYTES: usize = PLACEHOLDER_PREFIX.len() + 40;

pub(crate) fn mint(entropy: &dyn Entropy) -> String {
    format!("{PLACEHOLDER_PREFIX}{}", hex::encode(entropy.bytes::<20>()))
}

/// How the placeholder of a field looks, and where it may stand besides header fields that are made for credentials.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placing {
    /// What stands around it, where the skill's code branches on that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Shape>,
    /// Where it may stand besides header fields that are made for credentials, and HTTP Basic.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub positions: BTreeSet<Position>,
}

/// Most positions of a field.
pub(crate) const MAX_POSITIONS: usize = 16;
/// Characters around a placeholder.
const MAX_AROUND: usize = 32;
/// Characters of a name in a position.
const MAX_NAME: usize = 64;

/// Text around a placeholder, such as `{}:fx` or `xoxb-{}`: what stands for the braces is fresh each time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    before: String,
    after: String,
}

impl Shape {
    /// What stands before it.
    #[must_use]
    pub fn before(&self) -> &str {
        &self.before
    }

    /// What stands after it.
    #[must_use]
    pub fn after(&self) -> &str {
        &self.after
    }
}

/// A place in a request, besides header fields that are made for credentials.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Position {
    /// The value of the header field of that name, in lower case: `header:NAME`.
    Header(String),
    /// A segment of the URL's path: `path`.
    Path,
    /// The secret is the URL itself, and the placeholder one of the same host: `url`. The only place of its field.
    Url,
    /// The value of the parameter of that name in the URL's query: `query:NAME`.
    Query(String),
    /// The value of the field of that name in a form: `form:NAME`.
    Form(String),
    /// The value at that path of keys in a JSON body: `json:auth.password`.
    Json(String),
}

/// Text that is no shape or no position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlacingError {
    /// No shape.
    #[error(
        "{0:?} is not the shape of a placeholder: write {{}} once, and around it at most 32 of a-z, A-Z, 0-9, '.', ':', '_', '~' and '-'"
    )]
    Shape(String),
    /// No position.
    #[error("{0:?} is not a place in a request: write header:NAME, path, query:NAME, form:NAME, json:KEY.KEY or url")]
    Position(String),
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

impl FromStr for Shape {
    type Err = PlacingError;
    fn from_str(text: &str) -> Result<Self, PlacingError> {
        let wrong = || PlacingError::Shape(cut(text));
        let (before, after) = text.split_once("{}").ok_or_else(wrong)?;
        let plain = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b".:_~-".contains(&b));
        if before.len() + after.len() > MAX_AROUND || !plain(before) || !plain(after) {
            return Err(wrong());
        }
        Ok(Self { before: before.to_owned(), after: after.to_owned() })
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{{}}{}", self.before, self.after)
    }
}

impl Placing {
    /// Whether the field is a URL as a whole.
    #[must_use]
    pub fn is_url(&self) -> bool {
        self.positions.contains(&Position::Url)
    }
}

impl Position {
    /// The header field of that name; nothing where no credential may stand in it.
    #[must_use]
    pub fn header(name: &str) -> Option<Self> {
        may_carry_credential(name).then(|| Self::Header(name.to_ascii_lowercase()))
    }
}

impl FromStr for Position {
    type Err = PlacingError;
    fn from_str(text: &str) -> Result<Self, PlacingError> {
        let wrong = || PlacingError::Position(cut(text));
        let Some((kind, name)) = text.split_once(':') else {
            return match text {
                "path" => Ok(Self::Path),
                "url" => Ok(Self::Url),
                _ => Err(wrong()),
            };
        };
        let named = !name.is_empty() && name.len() <= MAX_NAME && !name.chars().any(char::is_control);
        if !named {
            return Err(wrong());
        }
        let name = name.to_owned();
        match kind {
            "header" => Self::header(&name).ok_or_else(wrong),
            "query" => Ok(Self::Query(name)),
            "form" => Ok(Self::Form(name)),
            "json" => Ok(Self::Json(name)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Path => f.write_str("path"),
            Self::Url => f.write_str("url"),
            Self::Query(name) => write!(f, "query:{name}"),
            Self::Form(name) => write!(f, "form:{name}"),
            Self::Json(name) => write!(f, "json:{name}"),
        }
    }
}

macro_rules! as_text {
    ($type:ty) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

as_text!(Shape);
as_text!(Position);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_has_its_length() {
        struct Sevens;
        impl Entropy for Sevens {
            fn fill(&self, bytes: &mut [u8]) {
                bytes.fill(7);
            }
        }
        assert_eq!(mint(&Sevens), format!("sophon-ph-{}", "07".repeat(20)));
        assert_eq!(mint(&Sevens).len(), PLACEHOLDER_BYTES);
        assert!(mint(&Sevens).bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
    }

    #[test]
    fn places_and_shapes_are_read_as_they_are_written() {
        for text in ["header:x-hook-secret", "path", "url", "query:api_key", "form:client_secret", "json:auth.password"]
        {
            assert_eq!(text.parse::<Position>().unwrap().to_string(), text);
        }
        assert_eq!("header:X-Hook".parse(), Ok(Position::Header("x-hook".into())));
        for text in ["", "body", "query:", "header:", "header:a b", "header:Slug", "path:x", "url:x", "json:a\nb"] {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
        for text in ["{}", "{}:fx", "xoxb-{}", "{}.x"] {
            assert_eq!(text.parse::<Shape>().unwrap().to_string(), text);
        }
        for text in ["", "x", "{}{}", "{} x", "{}/../", "{}%41", &format!("{{}}{}", "a".repeat(33))] {
            assert!(text.parse::<Shape>().is_err(), "{text}");
        }
    }
}
