//! What a plan's steps may look like, and how a result gets into the arguments of a later one.

use crate::CallError;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sophon_types::{CallId, CanonicalJson, ToolName};
use std::collections::{HashMap, HashSet};

/// Steps of one plan.
const MOST_STEPS: usize = 50;
/// References of one step.
const MOST_REFERENCES: usize = 16;

/// A place in a step's arguments that is filled from an earlier step's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// Where in the arguments (RFC 6901).
    pub at: String,
    /// The earlier step's name.
    pub step: String,
    /// Where in its result (RFC 6901).
    pub path: String,
}

/// A step of a plan.
#[derive(Debug, Clone)]
pub struct PlanStep {
    /// Its name in this plan.
    pub name: String,
    /// The tool's full name, not yet checked.
    pub tool: String,
    /// The arguments; at places that refer to results, whatever stands there is replaced.
    pub arguments: CanonicalJson,
    /// The places that refer to results.
    pub references: Vec<Reference>,
}

/// A step at rest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Step {
    pub(super) name: String,
    pub(super) tool: ToolName,
    pub(super) call: CallId,
    /// Canonical text.
    pub(super) arguments: String,
    pub(super) references: Vec<Reference>,
}

impl Step {
    /// As a person sees it.
    pub(super) fn shown(&self) -> Value {
        let arguments: Value = serde_json::from_str(&self.arguments).unwrap_or_default();
        serde_json::json!({"name": self.name, "tool": self.tool, "arguments": arguments, "references": self.references})
    }

    /// The arguments, with what they refer to in place.
    pub(super) fn filled(&self, results: &HashMap<&str, Value>) -> Result<CanonicalJson, CallError> {
        let mut value = CanonicalJson::parse(self.arguments.as_bytes())?.into_value();
        for reference in &self.references {
            let wrong = |message: String| CallError::Reference { step: self.name.clone(), message };
            let result = results
                .get(reference.step.as_str())
                .ok_or_else(|| wrong(format!("{} has no result", reference.step)))?;
            let found = result
                .pointer(&reference.path)
                .ok_or_else(|| wrong(format!("the result of {} has nothing at {:?}", reference.step, reference.path)))?
                .clone();
            put(&mut value, &reference.at, found).map_err(wrong)?;
        }
        Ok(CanonicalJson::of(value)?)
    }
}

/// Puts `found` at a place whose parent is there.
fn put(value: &mut Value, at: &str, found: Value) -> Result<(), String> {
    let missing = || format!("the arguments have no place {at:?}");
    let (parent, last) = at.rsplit_once('/').ok_or_else(missing)?;
    let last = last.replace("~1", "/").replace("~0", "~");
    match value.pointer_mut(parent).ok_or_else(missing)? {
        Value::Object(members) => {
            members.insert(last, found);
            Ok(())
        }
        Value::Array(items) => {
            let item = last.parse::<usize>().ok().and_then(|n| items.get_mut(n)).ok_or_else(missing)?;
            *item = found;
            Ok(())
        }
        _ => Err(missing()),
    }
}

/// Whether steps make a plan: not too many, named once each, and referring backwards only. Looks nothing up, so that it can
/// come before whatever counts or costs.
///
/// # Errors
/// [`CallError::PlanShape`], with what is wrong.
pub fn check_plan(steps: &[PlanStep]) -> Result<(), CallError> {
    let wrong = |message: String| CallError::PlanShape { message };
    if steps.is_empty() || steps.len() > MOST_STEPS {
        return Err(wrong(format!("a plan has 1 to {MOST_STEPS} steps")));
    }
    let mut before = HashSet::new();
    for step in steps {
        let named = (1..=64).contains(&step.name.len())
            && step.name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
        if !named {
            return Err(wrong(format!("{:?}: a step's name is 1 to 64 letters, digits, _ and -", step.name)));
        }
        if step.references.len() > MOST_REFERENCES {
            return Err(wrong(format!("{}: at most {MOST_REFERENCES} references", step.name)));
        }
        for reference in &step.references {
            if !before.contains(reference.step.as_str()) {
                return Err(wrong(format!("{}: {:?} is no step before it", step.name, reference.step)));
            }
            if !reference.at.starts_with('/') || !(reference.path.is_empty() || reference.path.starts_with('/')) {
                return Err(wrong(format!("{}: places are JSON pointers, such as /items/0/id", step.name)));
            }
        }
        if !before.insert(step.name.as_str()) {
            return Err(wrong(format!("{}: two steps have this name", step.name)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn step(name: &str, references: &[(&str, &str, &str)]) -> PlanStep {
        let references = references.iter().map(|(at, step, path)| Reference {
            at: (*at).into(),
            step: (*step).into(),
            path: (*path).into(),
        });
        PlanStep {
            name: name.into(),
            tool: "ab.c".into(),
            arguments: CanonicalJson::of(json!({})).unwrap(),
            references: references.collect(),
        }
    }

    #[test]
    fn a_plan_refers_backwards_only_and_names_each_step_once() {
        assert!(check_plan(&[step("a", &[]), step("b", &[("/x", "a", "/0/id")])]).is_ok());
        for (steps, says) in [
            (vec![], "1 to 50"),
            (vec![step("a", &[]), step("a", &[])], "two steps"),
            (vec![step("a b", &[])], "name"),
            (vec![step("a", &[("/x", "a", "")])], "no step before"),
            (vec![step("a", &[("/x", "b", "")]), step("b", &[])], "no step before"),
            (vec![step("a", &[]), step("b", &[("x", "a", "")])], "JSON pointers"),
            (vec![step("a", &[]), step("b", &[("/x", "a", "id")])], "JSON pointers"),
        ] {
            let error = check_plan(&steps).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        assert!(check_plan(&vec![step("a", &[]); 51]).is_err());
    }

    #[test]
    fn a_result_goes_exactly_where_it_was_declared_to_go() {
        let step = |arguments: Value, at: &str, path: &str| Step {
            name: "b".into(),
            tool: "ab.c".parse().unwrap(),
            call: CallId::from_bytes([1; 16]),
            arguments: CanonicalJson::of(arguments).unwrap().as_str().to_owned(),
            references: vec![Reference { at: at.into(), step: "a".into(), path: path.into() }],
        };
        let results = HashMap::from([("a", json!({"items": [{"id": 7, "a/b": "x"}]}))]);
        let filled = |step: Step| step.filled(&results).map(|json| json.as_str().to_owned());
        assert_eq!(filled(step(json!({}), "/n", "/items/0/id")).unwrap(), r#"{"n":7}"#);
        assert_eq!(filled(step(json!({"l": [0, 1]}), "/l/1", "/items/0/a~1b")).unwrap(), r#"{"l":[0,"x"]}"#);
        assert_eq!(filled(step(json!({"o": {}}), "/o/a~1b", "/items/0/id")).unwrap(), r#"{"o":{"a/b":7}}"#);
        for (arguments, at, path) in [
            (json!({}), "/n", "/items/1/id"),
            (json!({}), "/o/n", "/items/0/id"),
            (json!({"l": []}), "/l/0", "/items/0/id"),
            (json!({"l": []}), "/l/-", "/items/0/id"),
        ] {
            assert!(matches!(filled(step(arguments, at, path)), Err(CallError::Reference { .. })), "{at} {path}");
        }
        // What stands in a result is data: it brings no references of its own.
        let hostile = HashMap::from([("a", json!({"items": [{"id": {"at": "/x", "step": "a", "path": ""}}]}))]);
        let filled = step(json!({}), "/n", "/items/0/id").filled(&hostile).unwrap();
        assert_eq!(filled.value()["n"]["step"], "a");
    }
}
