//! SA006: the tools that the code was built with (`sophon:tools`) are the tools that the manifest shows to people
//! and models.

use super::{Check, Context, Findings, Rule};
use crate::analysis::report::Severity;
use crate::manifest::{Manifest, Tool};
use crate::text::quote;
use serde_json::{Map, Value};
use sophon_types::CanonicalJson;

pub(super) const RULE: Rule = Rule {
    id: "SA006",
    title: "tools differ from the manifest",
    severity: Severity::Error,
    what: "The section sophon:tools, which lists the tools that the code was built with, differs from the tools of \
           the manifest, or holds anything besides. A warning where there is no such section.",
    why: "People and models act on what the manifest says of a tool. It has to be what the code was built to do.",
    advice: "run `sophon build`, which copies the tools out of the component into manifest.json",
    check: Check::Component(check),
};

const PLACE: &str = "section sophon:tools";

fn check(context: &Context<'_>, findings: &mut Findings) {
    let Some(section) = context.facts.tools_section else {
        findings.warning(PLACE, "the component does not say which tools it was built with".into(), RULE.advice);
        return;
    };
    let document = match CanonicalJson::parse(section) {
        Ok(document) => document,
        Err(error) => return findings.error(PLACE, error.to_string(), RULE.advice),
    };
    if context.manifest.document().value().get("tools") == Some(document.value()) {
        return;
    }
    if let Some(key) = unknown_key(document.value()) {
        let message = format!("a tool has {}, which no tool has", quote(key));
        findings.error(PLACE, message, RULE.advice);
    }
    let built = match read(&document, context.manifest) {
        Ok(tools) => tools,
        Err(problem) => return findings.error(PLACE, problem, RULE.advice),
    };
    for built in &built {
        let name = &built.name;
        let Some(declared) = context.manifest.tool(name) else {
            findings.error(PLACE, format!("{name} is not in the manifest"), RULE.advice);
            continue;
        };
        let differing = built.differing_parts(declared);
        if !differing.is_empty() {
            findings.error(PLACE, format!("{name} differs from the manifest in {}", differing.join(", ")), RULE.advice);
        }
    }
    for declared in &context.manifest.tools {
        if !built.iter().any(|tool| tool.name == declared.name) {
            findings.error(PLACE, format!("{} of the manifest is not in the component", declared.name), RULE.advice);
        }
    }
}

/// A key that says nothing of a tool: nobody compares it, so it could hold anything.
fn unknown_key(tools: &Value) -> Option<&str> {
    const KEYS: [&str; 8] =
        ["name", "description", "riskLevel", "parameters", "returns", "effects", "editable", "network"];
    let keys = tools.as_array()?.iter().filter_map(Value::as_object).flat_map(Map::keys);
    keys.map(String::as_str).find(|key| !KEYS.contains(key))
}

/// Reads the section by the rules of the manifest, so that what both leave out means the same.
fn read(document: &CanonicalJson, manifest: &Manifest) -> Result<Vec<Tool>, String> {
    Manifest::tools_of(document.value(), &manifest.name).map_err(|errors| {
        let first = errors.violations.first().map(ToString::to_string).unwrap_or_default();
        format!("it is not a list of tools: {first}")
    })
}
