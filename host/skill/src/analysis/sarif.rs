//! The report as SARIF 2.1.0, which code hosts and editors show beside the code.

use super::report::{Report, RuleFinding, Severity};
use super::rules::RULES;
use serde_json::{Value, json};

impl Report {
    /// The report as one SARIF 2.1.0 log with one run. `component` is the URI of the entrypoint relative to the root
    /// of the package, such as `skill.wasm`; places in other files are relative to the same root.
    #[must_use]
    pub fn to_sarif(&self, component: &str) -> Value {
        let rules: Vec<_> = RULES
            .iter()
            .map(|rule| {
                json!({
                    "id": rule.id,
                    "name": camel_case(rule.title),
                    "shortDescription": {"text": rule.title},
                    "fullDescription": {"text": rule.what},
                    "help": {"text": format!("{} Advice: {}.", rule.why, rule.advice)},
                    "defaultConfiguration": {"level": level(rule.severity)},
                })
            })
            .collect();
        let results: Vec<_> = self.findings.iter().map(|finding| result(finding, component)).collect();
        json!({
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": [{
                "tool": {"driver": {"name": "sophon", "semanticVersion": env!("CARGO_PKG_VERSION"), "rules": rules}},
                "results": results,
                "columnKind": "utf16CodeUnits",
                "properties": {"verdict": self.verdict, "imports": self.imports},
            }],
        })
    }
}

fn result(finding: &RuleFinding, component: &str) -> Value {
    let RuleFinding { rule, severity, place, message, advice } = finding;
    let (uri, region) = position(place, component);
    let mut physical = json!({"artifactLocation": {"uri": uri}});
    if let Some(region) = region {
        physical["region"] = region;
    }
    let mut result = json!({
        "ruleId": rule,
        "level": level(*severity),
        "message": {"text": format!("{place}: {message}\nhint: {advice}")},
        "locations": [{"physicalLocation": physical, "logicalLocations": [{"fullyQualifiedName": place}]}],
    });
    if let Some(index) = RULES.iter().position(|known| known.id == *rule) {
        result["ruleIndex"] = json!(index);
    }
    result
}

/// The three severities are SARIF's own levels.
fn level(severity: Severity) -> String {
    severity.to_string()
}

/// The file of a place, and where in it: a line of the README, or a byte of a binary.
fn position(place: &str, component: &str) -> (String, Option<Value>) {
    if let Some((file, line)) = place.rsplit_once(", line ")
        && let Ok(line) = line.parse::<u64>()
    {
        return (uri(file), Some(json!({"startLine": line})));
    }
    if place.starts_with("manifest.json") {
        return ("manifest.json".to_owned(), None);
    }
    let (subject, byte) = place.rsplit_once(", byte 0x").unwrap_or((place, ""));
    let region = u64::from_str_radix(byte, 16).ok().map(|byte| json!({"byteOffset": byte}));
    let file = subject.strip_prefix("file ").and_then(|quoted| quoted.strip_prefix('"')?.strip_suffix('"'));
    (uri(file.unwrap_or(component)), region)
}

/// A path as a URI reference (RFC 3986, section 3.3).
fn uri(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    path.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// `not a component` as `NotAComponent`, as the specification wants names to be.
fn camel_case(title: &str) -> String {
    let words = title.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| word[..1].to_ascii_uppercase() + &word[1..]).collect()
}
