//! `RawOutput` → `SanitizedOutput`: the one door through which text of skills, errors and pages reaches a model.
//!
//! Promises: the private constructor of [`SanitizedOutput`] is called here only, after redaction and wrapping.

use crate::wrap::wrap_owned;
use crate::{Detector, Finding, FindingKind, Hit, KnownSecrets};
use serde_json::{Map, Value};
use sophon_types::{Entropy, ToolName};
use std::fmt;

/// Where a text comes from. Shown to the model as the `source` attribute; itself untrusted, escaped on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source(Origin, String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Tool,
    Error,
    External,
}

impl Source {
    /// What a tool returned.
    #[must_use]
    pub fn tool(name: &ToolName) -> Self {
        Self(Origin::Tool, name.as_str().to_owned())
    }

    /// What a tool, or the host on its behalf, said when it failed.
    #[must_use]
    pub fn error(name: &ToolName) -> Self {
        Self(Origin::Error, name.as_str().to_owned())
    }

    /// Anything else: a page, a file name, a message.
    #[must_use]
    pub fn external(name: &str) -> Self {
        Self(Origin::External, name.to_owned())
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.0 {
            Origin::Tool => "tool",
            Origin::Error => "error",
            Origin::External => "external",
        };
        write!(f, "{kind}:{}", self.1)
    }
}

/// Output as a skill gave it. It can be looked at only by [`sanitise`].
pub struct RawOutput {
    source: Source,
    body: Body,
}

enum Body {
    Text(String),
    Structured(Value),
}

impl RawOutput {
    /// Plain text.
    #[must_use]
    pub fn new(source: Source, text: String) -> Self {
        Self { source, body: Body::Text(text) }
    }

    /// A JSON value. Its text for the model is its JSON, or the string itself where it is one;
    /// [`SanitizedOutput::result`] has the value as well.
    #[must_use]
    pub fn structured(source: Source, value: Value) -> Self {
        Self { source, body: Body::Structured(value) }
    }

    /// Whether there is more of it than about so many bytes: whoever has little time leaves it to somebody who has.
    #[must_use]
    pub fn is_longer_than(&self, bytes: usize) -> bool {
        match &self.body {
            Body::Text(text) => text.len() > bytes,
            Body::Structured(value) => take(value, &mut Some(bytes)).is_none(),
        }
    }
}

/// Takes about what `value` has as text off `left`, and nothing more once that is all gone.
fn take(value: &Value, left: &mut Option<usize>) -> Option<()> {
    let own = match value {
        Value::String(text) => text.len(),
        _ => 8,
    };
    *left = left.and_then(|left| left.checked_sub(own));
    (*left)?;
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| take(item, left)),
        Value::Object(fields) => fields.iter().try_for_each(|(key, field)| {
            *left = left.and_then(|left| left.checked_sub(key.len()));
            take(field, left)
        }),
        _ => Some(()),
    }
}

impl fmt::Debug for RawOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawOutput").field("source", &self.source).finish_non_exhaustive()
    }
}

/// Output that has been redacted, scanned and wrapped.
#[derive(Debug, Clone, PartialEq)]
pub struct SanitizedOutput {
    content: String,
    nonce: String,
    result: Option<Value>,
    findings: Vec<Finding>,
}

impl SanitizedOutput {
    /// The wrapped text, for a model.
    #[must_use]
    pub fn content(&self) -> &str {
        &self.content
    }

    /// The redacted value, for a program, where the output was structured.
    #[must_use]
    pub fn result(&self) -> Option<&Value> {
        self.result.as_ref()
    }

    /// What was noticed; offsets are into [`Self::content`].
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The block's nonce: 16 hexadecimal digits.
    #[must_use]
    pub fn nonce(&self) -> &str {
        &self.nonce
    }
}

/// Redacts `secrets`, notices what is to be noticed, and wraps.
///
/// Secrets shorter than [`crate::MIN_SECRET_BYTES`] are not in a [`KnownSecrets`]: they cannot be told from ordinary text.
#[must_use]
pub fn sanitise(output: RawOutput, secrets: &KnownSecrets, entropy: &dyn Entropy) -> SanitizedOutput {
    Detector::default().sanitise(output, secrets, entropy)
}

impl Detector {
    /// As [`sanitise`], with the search as this detector is configured.
    #[must_use]
    pub fn sanitise(&self, output: RawOutput, secrets: &KnownSecrets, entropy: &dyn Entropy) -> SanitizedOutput {
        sanitise_with(self, output, secrets, entropy)
    }
}

fn sanitise_with(
    detector: &Detector,
    output: RawOutput,
    secrets: &KnownSecrets,
    entropy: &dyn Entropy,
) -> SanitizedOutput {
    let mut hits = Vec::new();
    let (text, result) = match output.body {
        Body::Text(text) => (redact_text(text, secrets, &mut hits), None),
        // A string is read as it is: JSON's quotes and escapes would only be in a model's way.
        Body::Structured(Value::String(text)) => {
            let text = redact_text(text, secrets, &mut hits);
            (text.clone(), Some(Value::String(text)))
        }
        Body::Structured(value) => {
            let value = if secrets.is_empty() { value } else { redact_value(value, secrets, &mut hits) };
            let json = value.to_string();
            let before = hits.len();
            let text = redact_text(json, secrets, &mut hits);
            // A secret that shows only once the strings are joined (an array of characters, say) is not in any one
            // string; the value as a whole then becomes the redacted text.
            let value = if hits.len() > before { Value::String(text.clone()) } else { value };
            (text, Some(value))
        }
    };
    let source = output.source.to_string();
    let source = if secrets.is_empty() { source } else { redact_text(source, secrets, &mut hits) };
    let wrapped = wrap_owned(detector, &source, text, entropy);
    let mut findings = redactions(&wrapped.content, &hits);
    findings.extend(wrapped.findings);
    SanitizedOutput { content: wrapped.content, nonce: wrapped.nonce, result, findings }
}

fn redact_text(text: String, secrets: &KnownSecrets, hits: &mut Vec<Hit>) -> String {
    if secrets.is_empty() {
        return text;
    }
    let redaction = secrets.redact_text(&text);
    if redaction.hits.is_empty() {
        return text;
    }
    hits.extend(redaction.hits);
    redaction.text.into_owned()
}

fn redact_value(value: Value, secrets: &KnownSecrets, hits: &mut Vec<Hit>) -> Value {
    match value {
        Value::String(text) => Value::String(redact_text(text, secrets, hits)),
        Value::Array(items) => items.into_iter().map(|item| redact_value(item, secrets, hits)).collect(),
        Value::Object(fields) => {
            let mut kept = Map::with_capacity(fields.len());
            for (key, item) in fields {
                let item = redact_value(item, secrets, hits);
                let mut key = redact_text(key, secrets, hits);
                // Two keys that were secrets must not become one.
                while kept.contains_key(&key) {
                    key.push('\'');
                }
                kept.insert(key, item);
            }
            Value::Object(kept)
        }
        Value::Number(number) => {
            let digits = number.to_string();
            let redacted = redact_text(digits.clone(), secrets, hits);
            if redacted == digits { Value::Number(number) } else { Value::String(redacted) }
        }
        Value::Null | Value::Bool(_) => value,
    }
}

/// Findings for the redaction marks in `content`, label by label in the order they stand there.
fn redactions(content: &str, hits: &[Hit]) -> Vec<Finding> {
    let mut labels: Vec<&str> = hits.iter().map(|hit| hit.label.as_ref()).collect();
    labels.sort_unstable();
    labels.dedup();
    let mut findings = Vec::new();
    for label in labels {
        let mark = crate::known::mark(label);
        findings.extend(
            content
                .match_indices(&mark)
                .take(crate::finding::MAX_FINDINGS)
                .map(|(at, mark)| Finding::new(FindingKind::SecretRedacted, label, at, at + mark.len())),
        );
    }
    findings.sort_by_key(|finding| finding.start);
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_length_is_told_without_reading_all_of_it() {
        let tool: ToolName = "demo.get".parse().unwrap();
        let text = |length: usize| RawOutput::new(Source::tool(&tool), "x".repeat(length));
        assert!(text(101).is_longer_than(100) && !text(100).is_longer_than(100));
        let value = |value: Value| RawOutput::structured(Source::tool(&tool), value);
        assert!(!value(json!({"a": [1, 2, "three"]})).is_longer_than(100));
        for long in
            [json!("x".repeat(101)), json!(vec![0; 50]), json!({"x".repeat(101): null}), json!([[["x".repeat(101)]]])]
        {
            assert!(value(long).is_longer_than(100));
        }
    }
}
