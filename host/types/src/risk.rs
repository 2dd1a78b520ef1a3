//! Risk, from none to critical.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How much harm a call can do; ordered, so that `max` gives the effective risk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Risk {
    /// Pure computation.
    None,
    /// Reads.
    Low,
    /// Writes that can be undone.
    Medium,
    /// Effects that are hard to undo: payment, e-mail, publishing, deletion.
    High,
    /// Can take over or destroy.
    Critical,
}

impl Risk {
    /// All levels, lowest first.
    pub const ALL: [Self; 5] = [Self::None, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The level's name as manifests write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// The risk of one HTTP request by its method alone: safe methods (RFC 9110, section 9.2.1) are low, writes
    /// medium, deletion and what is not known high.
    #[must_use]
    pub fn of_http_method(method: &str) -> Self {
        match method {
            "GET" | "HEAD" | "OPTIONS" => Self::Low,
            "POST" | "PUT" | "PATCH" => Self::Medium,
            _ => Self::High,
        }
    }
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Text that names no level of risk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a risk level: none, low, medium, high or critical")]
pub struct UnknownRisk(String);

impl FromStr for Risk {
    type Err = UnknownRisk;
    fn from_str(text: &str) -> Result<Self, UnknownRisk> {
        Self::ALL.into_iter().find(|risk| risk.as_str() == text).ok_or_else(|| UnknownRisk(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_ordered_and_named() {
        assert!(Risk::ALL.is_sorted());
        for risk in Risk::ALL {
            assert_eq!(risk.as_str().parse(), Ok(risk));
            assert_eq!(serde_json::to_value(risk).unwrap(), risk.as_str());
        }
        assert!("severe".parse::<Risk>().is_err());
    }

    #[test]
    fn unknown_methods_are_not_harmless() {
        assert_eq!(Risk::of_http_method("GET"), Risk::Low);
        assert_eq!(Risk::of_http_method("POST"), Risk::Medium);
        for method in ["DELETE", "get", "PURGE", ""] {
            assert_eq!(Risk::of_http_method(method), Risk::High, "{method}");
        }
    }
}
