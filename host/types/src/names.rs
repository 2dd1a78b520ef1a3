//! Validated names. A value of these types has passed its rule; nothing else checks it again.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A name that breaks its rule; says which.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {kind}: {rule}")]
pub struct NameError {
    text: String,
    kind: &'static str,
    rule: &'static str,
}

impl NameError {
    /// The rule in words, as a hint.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        self.rule
    }
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident: $kind:literal, $rule:literal, $valid:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                let valid: fn(&str) -> bool = $valid;
                if !valid(text) {
                    let shown = text.chars().take(80).collect();
                    return Err(NameError { text: shown, kind: $kind, rule: $rule });
                }
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

names! {
    /// A skill, such as `github-issues`.
    SkillName: "a skill name", "2 to 64 characters of a-z, 0-9 and -, beginning with a letter or digit", is_skill;
    /// A tool's full name, such as `github-issues.list_issues`; a manifest may choose another prefix than the
    /// skill's name only by being that prefix.
    ToolName: "a tool's full name", "the skill's name, a dot, and 1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-'", is_tool;
    /// A service that credentials belong to, such as `github`.
    ServiceName: "a service name", "1 to 64 characters of a-z, 0-9, '_', '.' and '-', beginning with a letter or digit", is_service;
    /// A tenant: the unit that shares skills, grants and an audit view.
    TenantId: "a tenant", "1 to 64 characters of A-Z, a-z, 0-9, '.', '_', '@' and '-', beginning with a letter or digit", is_account;
    /// A user within a tenant: the person behind an agent.
    UserId: "a user", "1 to 64 characters of A-Z, a-z, 0-9, '.', '_', '@' and '-', beginning with a letter or digit", is_account;
}

impl ToolName {
    /// The full name of a tool that the manifest of `skill` calls `tool`: `tool` itself where it begins with
    /// `<skill>.`, else `<skill>.<tool>`.
    ///
    /// # Errors
    /// [`NameError`] where the result is not a full name.
    pub fn qualify(skill: &SkillName, tool: &str) -> Result<Self, NameError> {
        let own = tool.strip_prefix(skill.as_str()).is_some_and(|rest| rest.starts_with('.'));
        if own { tool.parse() } else { format!("{skill}.{tool}").parse() }
    }

    /// The part before the first dot.
    #[must_use]
    pub fn skill(&self) -> &str {
        self.0.split_once('.').map_or(&self.0, |(skill, _)| skill)
    }
}

fn is_skill(text: &str) -> bool {
    (2..=64).contains(&text.len())
        && !text.starts_with('-')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_tool(text: &str) -> bool {
    text.split_once('.').is_some_and(|(skill, tool)| {
        is_skill(skill)
            && (1..=64).contains(&tool.len())
            && tool.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    })
}

fn is_service(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.as_bytes()[0].is_ascii_alphanumeric()
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'))
}

fn is_account(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.as_bytes()[0].is_ascii_alphanumeric()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: FromStr<Err = NameError>>(good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(text.parse::<T>().is_ok(), "{text:?} is refused");
        }
        for text in bad {
            assert!(text.parse::<T>().is_err(), "{text:?} is accepted");
        }
    }

    #[test]
    fn names_follow_their_rules() {
        let long = "a".repeat(65);
        check::<SkillName>(&["ab", "github-issues", "0x"], &["a", "-ab", "Ab", "a_b", "a.b", "", "аb", &long]);
        check::<ToolName>(&["ab.c", "github-issues.list_issues", "ab.c.d"], &["ab", "ab.", ".c", "ab.c d", "ab.ç"]);
        check::<ServiceName>(&["github", "a"], &["", "GitHub", ".a", &long]);
        check::<TenantId>(&["default", "Ann@example.org"], &["", "a b", "a/b", "../a"]);
    }

    #[test]
    fn a_tool_is_qualified_once() {
        let skill: SkillName = "web".parse().unwrap();
        assert_eq!(ToolName::qualify(&skill, "get").unwrap().as_str(), "web.get");
        assert_eq!(ToolName::qualify(&skill, "web.get").unwrap().as_str(), "web.get");
        assert_eq!(ToolName::qualify(&skill, "webget").unwrap().as_str(), "web.webget");
        assert_eq!(ToolName::qualify(&skill, "web.get").unwrap().skill(), "web");
        assert!(ToolName::qualify(&skill, "web.").is_err());
    }
}
