//! Arguments against a tool's schema, for whoever runs a tool and whoever tries it out: one draft and one engine, those
//! that the manifest's reader has checked the schema for, whatever the schema says of itself.

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;

/// The most violations that one answer lists.
const MAX_VIOLATIONS: usize = 20;

/// A tool's `parameters`, ready to check arguments against.
#[derive(Debug)]
pub struct ArgumentCheck(Validator);

/// Whether a violation repeats the value that it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// It does: for authors, who wrote the value themselves.
    Values,
    /// It does not: what a caller sent may be confidential.
    PlacesOnly,
}

impl ArgumentCheck {
    /// Prepares the `parameters` of a [`Tool`](crate::Tool).
    ///
    /// # Errors
    /// The schema's mistake in words, where a keyword holds what it cannot (`"minLength": "two"`).
    pub fn new(parameters: &Value) -> Result<Self, String> {
        jsonschema::options()
            .with_draft(Draft::Draft202012)
            .with_pattern_options(PatternOptions::regex())
            .build(parameters)
            .map(Self)
            .map_err(|error| error.to_string())
    }

    /// Every violation (at most 20) with its place.
    #[must_use]
    pub fn violations(&self, arguments: &Value, shown: Shown) -> Vec<String> {
        let found = self.0.iter_errors(arguments).take(MAX_VIOLATIONS);
        found
            .map(|error| {
                let place = error.instance_path().to_string();
                let place = if place.is_empty() { "the arguments".to_owned() } else { place };
                match shown {
                    Shown::Values => format!("{place}: {error}"),
                    Shown::PlacesOnly => format!("{place}: {}", error.masked()),
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn violations(schema: Value, arguments: Value) -> Vec<String> {
        ArgumentCheck::new(&schema).unwrap().violations(&arguments, Shown::PlacesOnly)
    }

    #[test]
    fn the_dialect_that_a_schema_names_changes_nothing() {
        // In draft 4 a maximum can be made exclusive by a boolean beside it; in 2020-12 that is a mistake.
        let old = json!({"$schema": "http://json-schema.org/draft-04/schema#", "properties": {"n": {"exclusiveMaximum": true}}});
        assert!(ArgumentCheck::new(&old).is_err());
        let listed = json!({"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"a": {"prefixItems": [{"type": "string"}]}}});
        assert_eq!(violations(listed, json!({"a": [1]})).len(), 1);
    }

    #[test]
    fn violations_are_bounded_and_keep_values_to_themselves() {
        let schema = json!({"properties": {"n": {"items": {"type": "string"}}, "s": {"pattern": "^a+$"}}});
        assert_eq!(violations(schema.clone(), json!({"n": vec![1; 100]})).len(), MAX_VIOLATIONS);
        let said = violations(schema.clone(), json!({"s": "confidential"}));
        assert!(said[0].starts_with("/s: ") && !said[0].contains("confidential"), "{said:?}");
        let said = ArgumentCheck::new(&schema).unwrap().violations(&json!({"s": "confidential"}), Shown::Values);
        assert!(said[0].contains("confidential"), "{said:?}");
    }
}
