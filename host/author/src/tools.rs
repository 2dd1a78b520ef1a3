//! One list of tools out of two: what the code says of itself, and what the author's manifest adds to it.
//!
//! The manifest adds what code cannot know (a tool's own `network` rules) or does not say (`editable`, `effects`). Where
//! both speak, they must agree: nobody should have to guess which of the two a reviewer has read.

use crate::AuthorError;
use crate::describe::Described;
use serde_json::{Map, Value};
use sophon_types::{SkillName, ToolName};
use std::collections::BTreeMap;

/// The tools of the package's manifest: in the code's order, with the manifest's additions.
pub(crate) fn merge(skill: &SkillName, manifest: &[Value], code: Vec<Described>) -> Result<Vec<Value>, AuthorError> {
    let mut additions: BTreeMap<String, (&str, &Map<String, Value>)> = BTreeMap::new();
    for entry in manifest.iter().filter_map(Value::as_object) {
        let name = name_of(entry);
        if additions.insert(full(skill, name), (name, entry)).is_some() {
            return Err(AuthorError::ToolTwice { skill: skill.clone(), tool: name.to_owned() });
        }
    }
    let known: Vec<String> = code.iter().map(|tool| name_of(tool).to_owned()).collect();
    let mut tools = Vec::with_capacity(code.len());
    for mut tool in code {
        if let Some((_, addition)) = additions.remove(&full(skill, name_of(&tool))) {
            add(skill, &mut tool, addition)?;
        }
        tools.push(Value::Object(tool));
    }
    match additions.into_values().next() {
        Some((name, _)) => Err(AuthorError::UnknownTool { skill: skill.clone(), tool: name.to_owned(), known }),
        None => Ok(tools),
    }
}

fn add(skill: &SkillName, tool: &mut Described, addition: &Map<String, Value>) -> Result<(), AuthorError> {
    for (key, wanted) in addition {
        // The full name and the short one are one name; the code is called with its own.
        if key == "name" {
            continue;
        }
        match tool.get(key) {
            Some(said) if !agree(key, said, wanted) => {
                return Err(AuthorError::Contradiction {
                    skill: skill.clone(),
                    tool: name_of(tool).to_owned(),
                    field: key.clone(),
                    manifest: shown(wanted),
                    code: shown(said),
                });
            }
            Some(_) => {}
            None => {
                tool.insert(key.clone(), wanted.clone());
            }
        }
    }
    Ok(())
}

fn agree(key: &str, said: &Value, wanted: &Value) -> bool {
    match (key, said, wanted) {
        // A set: the order says nothing.
        ("effects", Value::Array(said), Value::Array(wanted)) => {
            said.iter().all(|one| wanted.contains(one)) && wanted.iter().all(|one| said.contains(one))
        }
        _ => said == wanted,
    }
}

/// The content of the section `sophon:tools`: of each tool what does not depend on where it is installed.
pub(crate) fn section(tools: &[Value]) -> Vec<u8> {
    const KEYS: [&str; 6] = ["name", "description", "riskLevel", "parameters", "returns", "effects"];
    let entry = |tool: &Value| -> Value {
        let mut entry: Map<String, Value> =
            KEYS.iter().filter_map(|key| Some(((*key).to_owned(), tool.get(*key)?.clone()))).collect();
        entry.entry("parameters").or_insert_with(|| serde_json::json!({ "type": "object" }));
        entry.into()
    };
    Value::Array(tools.iter().map(entry).collect()).to_string().into_bytes()
}

fn name_of(tool: &Map<String, Value>) -> &str {
    tool.get("name").and_then(Value::as_str).unwrap_or_default()
}

/// The full name; a name that has none is compared as it is, and is refused by the manifest's reader later.
fn full(skill: &SkillName, name: &str) -> String {
    ToolName::qualify(skill, name).map_or_else(|_not_a_name| name.to_owned(), |full| full.to_string())
}

/// A value as it may stand in a message.
fn shown(value: &Value) -> String {
    const MOST: usize = 120;
    let text = value.to_string();
    if text.len() <= MOST { text } else { format!("{}…", &text[..text.floor_char_boundary(MOST)]) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use sophon_types::Fault;

    fn merged(manifest: Value, code: Value) -> Result<Value, AuthorError> {
        let skill = "weather".parse().unwrap();
        let code = crate::describe::parse(code.to_string().as_bytes()).unwrap();
        merge(&skill, manifest.as_array().unwrap(), code).map(Value::Array)
    }

    #[test]
    fn the_manifest_adds_and_never_contradicts() {
        let code = json!([{"name": "today", "description": "d", "riskLevel": "low", "parameters": {"type": "object"}}, {"name": "b"}]);
        assert_eq!(merged(json!([]), code.clone()).unwrap(), code);
        let with = merged(
            json!([{"name": "weather.today", "network": ["a.example"], "editable": true, "effects": ["email"], "riskLevel": "low"}]),
            code.clone(),
        );
        let with = with.unwrap();
        assert_eq!(with[0]["name"], "today");
        assert_eq!(
            (&with[0]["network"], &with[0]["editable"], &with[0]["effects"]),
            (&json!(["a.example"]), &json!(true), &json!(["email"]))
        );
        assert_eq!(with[1], json!({"name": "b"}));

        #[track_caller]
        fn check(manifest: Value, code: Value, want_code: &str, want: &str) {
            let error = merged(manifest, code).unwrap_err();
            assert_eq!(error.code(), want_code);
            assert!(error.to_string().contains(want), "{error}");
        }
        check(
            json!([{"name": "today", "riskLevel": "none"}]),
            code.clone(),
            "tool_contradiction",
            r#"tool "today": manifest.json says riskLevel is "none", the code says "low""#,
        );
        check(json!([{"name": "yesterday"}]), code.clone(), "unknown_tool_in_manifest", "yesterday");
        check(json!([{"name": "today"}, {"name": "weather.today"}]), code, "duplicate_tool_in_manifest", "twice");
        let effects = json!([{"name": "a", "effects": ["email", "delete"]}]);
        assert!(merged(json!([{"name": "a", "effects": ["delete", "email"]}]), effects.clone()).is_ok());
        check(json!([{"name": "a", "effects": []}]), effects, "tool_contradiction", "effects");
    }

    #[test]
    fn the_section_has_what_travels_with_the_code() {
        let tools = json!([{"name": "a", "description": "d", "riskLevel": "low", "network": [], "editable": true}]);
        let section: Value = serde_json::from_slice(&section(tools.as_array().unwrap())).unwrap();
        assert_eq!(
            section,
            json!([{"name": "a", "description": "d", "riskLevel": "low", "parameters": {"type": "object"}}])
        );
    }
}
