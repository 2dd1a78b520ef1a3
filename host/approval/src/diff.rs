//! What differs between two sets of arguments, place by place.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The most places that are listed; beyond it the rest counts as one change of the whole.
const MOST: usize = 200;

/// One place that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Where (RFC 6901).
    pub path: String,
    /// What stood there; nothing, where it is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What stands there now; nothing, where it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// Every place at which `after` differs from `before`, in the order of their paths.
#[must_use]
pub fn changes(before: &Value, after: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    compare("", Some(before), Some(after), &mut found);
    if found.len() > MOST {
        return vec![Change { path: String::new(), before: Some(before.clone()), after: Some(after.clone()) }];
    }
    found
}

fn compare(path: &str, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Change>) {
    match (before, after) {
        (Some(Value::Object(one)), Some(Value::Object(other))) => {
            let mut names: Vec<&String> =
                one.keys().chain(other.keys().filter(|name| !one.contains_key(*name))).collect();
            names.sort();
            for name in names {
                let below = format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
                compare(&below, one.get(name), other.get(name), found);
            }
        }
        (Some(Value::Array(one)), Some(Value::Array(other))) => {
            for n in 0..one.len().max(other.len()) {
                compare(&format!("{path}/{n}"), one.get(n), other.get(n), found);
            }
        }
        (one, other) if one == other => {}
        (one, other) => {
            found.push(Change { path: path.to_owned(), before: one.cloned(), after: other.cloned() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn places_are_named_by_pointer() {
        let before = json!({"to": ["ann", "bob"], "a/b": 1, "gone": true, "same": {"x": 1}});
        let after = json!({"to": ["ann", "eve", "joe"], "a/b": 2, "same": {"x": 1, "y": null}});
        let found: Vec<_> = changes(&before, &after).into_iter().map(|c| (c.path, c.before, c.after)).collect();
        assert_eq!(
            found,
            [
                ("/a~1b".into(), Some(json!(1)), Some(json!(2))),
                ("/gone".into(), Some(json!(true)), None),
                ("/same/y".into(), None, Some(json!(null))),
                ("/to/1".into(), Some(json!("bob")), Some(json!("eve"))),
                ("/to/2".into(), None, Some(json!("joe"))),
            ]
        );
        assert!(changes(&before, &before).is_empty());
    }

    #[test]
    fn very_different_arguments_are_one_change() {
        let many = |n: usize| json!((0..n).collect::<Vec<_>>());
        assert_eq!(changes(&many(0), &many(500)).len(), 1);
        assert_eq!(changes(&many(0), &many(100)).len(), 100);
    }
}
