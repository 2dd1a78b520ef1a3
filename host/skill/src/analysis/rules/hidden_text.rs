//! SA009: what the manifest shows to people and models holds no character that one of them does not see.

use super::{Context, Findings};
use crate::text::first_unseen;
use serde_json::Value;

pub(super) fn check(context: &Context<'_>, findings: &mut Findings) {
    walk(context.manifest.document().value(), &mut String::new(), findings);
}

/// Visits all keys and texts. The document's depth is bounded by the reader of canonical JSON.
fn walk(value: &Value, path: &mut String, findings: &mut Findings) {
    let length = path.len();
    match value {
        Value::String(text) => report(text, path, findings),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push_str(&format!("[{index}]"));
                walk(item, path, findings);
                path.truncate(length);
            }
        }
        Value::Object(fields) => {
            for (key, field) in fields {
                report(key, path, findings);
                if !path.is_empty() {
                    path.push('.');
                }
                // A key may be anything; what it is shown as may not.
                path.extend(key.chars().take(40).map(|c| if c.is_ascii_graphic() { c } else { '?' }));
                walk(field, path, findings);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

fn report(text: &str, path: &str, findings: &mut Findings) {
    if let Some(unseen) = first_unseen(text) {
        findings.error(
            &format!("manifest.json: {path}"),
            format!("the text holds {unseen}"),
            "remove the character; a reader and a model must see the same",
        );
    }
}
