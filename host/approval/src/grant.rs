//! A standing yes: which calls it covers.

use crate::policy::Glob;
use crate::{AssessedCall, DeskError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sophon_types::{CanonicalJson, Digest, Risk};
use std::time::Duration;

/// The longest that a standing yes lasts.
pub(crate) const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Members of a pattern.
const MOST: usize = 64;

/// The terms of a standing yes. Kept sealed by the vault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// Which arguments it covers: each member has to be equal to the call's, where it is a text with `*` to fit it. A
    /// member that the pattern does not name is not covered. Nothing: whatever arguments, within the session.
    pub arguments: Option<Map<String, Value>>,
    /// The highest risk that it covers.
    pub risk: Risk,
    /// The skill's package that it was given for.
    pub skill: Digest,
}

impl Terms {
    /// Checks a pattern.
    pub(crate) fn check(&self) -> Result<(), DeskError> {
        let Some(pattern) = &self.arguments else { return Ok(()) };
        let wrong = |message: String| DeskError::Bounds { place: "arguments", message };
        if pattern.len() > MOST {
            return Err(wrong(format!("a pattern has at most {MOST} members")));
        }
        for (name, value) in pattern {
            if let Value::String(text) = value
                && text.contains('*')
            {
                Glob::new(text).map_err(|error| wrong(format!("{name}: {error}")))?;
            }
        }
        CanonicalJson::of(Value::Object(pattern.clone())).map_err(|error| wrong(error.to_string()))?;
        Ok(())
    }

    /// Whether it covers this call.
    #[must_use]
    pub fn cover(&self, call: &AssessedCall) -> bool {
        !call.is_destructive()
            && call.risk() <= self.risk
            // The operator's rules bind whoever gives a standing yes.
            && call.ceiling.is_none_or(|ceiling| call.risk() <= ceiling)
            && *call.skill().package().digest() == self.skill
            && self.arguments.as_ref().is_none_or(|pattern| fits(pattern, call.request().arguments.value()))
    }
}

fn fits(pattern: &Map<String, Value>, arguments: &Value) -> bool {
    let Value::Object(arguments) = arguments else { return false };
    arguments.keys().all(|name| pattern.contains_key(name))
        && pattern.iter().all(|(name, wanted)| match (wanted, arguments.get(name)) {
            (Value::String(text), Some(Value::String(given))) if text.contains('*') => {
                Glob::new(text).is_ok_and(|glob| glob.fits(given))
            }
            // Canonical values: equal numbers are one number.
            (wanted, Some(given)) => wanted == given,
            (_, None) => false,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pattern_names_everything_that_it_covers() {
        let pattern = json!({"repo": "acme/*", "draft": true, "labels": ["bug"]});
        let pattern = pattern.as_object().unwrap();
        let covers = |arguments: Value| fits(pattern, &arguments);
        assert!(covers(json!({"repo": "acme/site", "draft": true, "labels": ["bug"]})));
        for other in [
            json!({"repo": "evil/site", "draft": true, "labels": ["bug"]}),
            json!({"repo": "acme/site", "draft": false, "labels": ["bug"]}),
            json!({"repo": "acme/site", "draft": true, "labels": ["bug", "p1"]}),
            json!({"repo": "acme/site", "draft": true}),
            json!({"repo": "acme/site", "draft": true, "labels": ["bug"], "force": true}),
            json!({"repo": ["acme/site"], "draft": true, "labels": ["bug"]}),
            json!([]),
        ] {
            assert!(!covers(other.clone()), "{other}");
        }
    }
}
