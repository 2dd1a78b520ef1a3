//! The texts that a package shows to people and models: every key and string of the manifest, and the README.

use crate::manifest::Manifest;
use serde_json::Value;
use sophon_guard::{Finding, FindingKind, wrap};
use sophon_types::Entropy;

/// Calls `visit` with the path and the text of every key and string of the manifest. A key stands under the path of
/// its object.
pub(super) fn each_text(manifest: &Manifest, mut visit: impl FnMut(&str, &str)) {
    walk(manifest.document().value(), &mut String::new(), &mut visit);
}

/// The document's depth is bounded by the reader of canonical JSON.
fn walk(value: &Value, path: &mut String, visit: &mut impl FnMut(&str, &str)) {
    let length = path.len();
    match value {
        Value::String(text) => visit(path, text),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push_str(&format!("[{index}]"));
                walk(item, path, visit);
                path.truncate(length);
            }
        }
        Value::Object(fields) => {
            for (key, field) in fields {
                visit(path, key);
                if !path.is_empty() {
                    path.push('.');
                }
                // A key may be anything; what it is shown as may not.
                path.extend(key.chars().take(40).map(|c| if c.is_ascii_graphic() { c } else { '?' }));
                walk(field, path, visit);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

/// Something that the guard noticed in a text.
#[derive(Debug)]
pub(super) struct Noticed {
    /// Where, such as `manifest.json: tools[0].description` or `README.md, line 3`.
    pub(super) place: String,
    pub(super) kind: FindingKind,
    /// The guard's rule, such as `override-instructions`.
    pub(super) rule: String,
}

/// What the guard notices in the manifest and in the README.
pub(super) fn noticed(manifest: &Manifest, readme: Option<&str>) -> Vec<Noticed> {
    let mut list = Vec::new();
    // One look at all texts together settles it where there is nothing, which is nearly always.
    let mut joined = String::new();
    each_text(manifest, |_, text| {
        joined.push_str(text);
        joined.push_str("\n\n");
    });
    if !look(&joined).is_empty() {
        each_text(manifest, |path, text| {
            for Finding { kind, rule, .. } in look(text) {
                list.push(Noticed { place: format!("manifest.json: {path}"), kind, rule });
            }
        });
    }
    for Finding { kind, rule, start, .. } in readme.map(look).unwrap_or_default() {
        let line = 1 + readme.unwrap_or_default().bytes().take(start).filter(|byte| *byte == b'\n').count();
        list.push(Noticed { place: format!("README.md, line {line}"), kind, rule });
    }
    list
}

/// What the guard notices in a text. Offsets are into the text; where something hidden stands before, they are a
/// little off.
fn look(text: &str) -> Vec<Finding> {
    /// The block around the text is thrown away, so its nonce may be anything.
    struct Nothing;
    impl Entropy for Nothing {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(0);
        }
    }
    let wrapped = wrap("package", text, &Nothing);
    let head = wrapped.content.find('\n').map_or(0, |end| end + 1);
    let back = |finding: Finding| Finding { start: finding.start.saturating_sub(head), ..finding };
    wrapped.findings.into_iter().map(back).collect()
}
