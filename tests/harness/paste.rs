//! An author who does what a hint says: pastes its line where it says.

use serde_json::Value;
use std::path::Path;

/// What stands behind `hint: ` in a text, each once, as the host wrote it.
pub(crate) fn hints(text: &str) -> Vec<String> {
    let mut hints: Vec<String> = Vec::new();
    for (_, hint) in text.lines().filter_map(|line| line.split_once("hint: ")) {
        if !hints.iter().any(|known| known == hint) {
            hints.push(hint.to_owned());
        }
    }
    hints
}

/// Pastes the line of a hint into a document: `put "KEY": VALUE into FILE`, `put … into MEMBER in FILE`, or
/// `add VALUE to LIST in FILE`. What stands before or after the line is a person's to read.
#[track_caller]
pub(crate) fn paste(document: &mut Value, hint: &str) {
    if let Some((_, line)) = hint.split_once("put ") {
        let (line, place) = line.split_once(" into ").unwrap_or_else(|| panic!("no place: {hint}"));
        let members: Value =
            serde_json::from_str(&format!("{{{line}}}")).unwrap_or_else(|error| panic!("{error}: {hint}"));
        let into = match place.split_once(" in ") {
            Some((member, _)) if !member.contains(' ') => &mut document[member],
            _ => document,
        };
        for (key, value) in members.as_object().into_iter().flatten() {
            into[key] = value.clone();
        }
        return;
    }
    let line = hint.split_once("add ").unwrap_or_else(|| panic!("no line to paste: {hint}")).1;
    let (line, place) = line.split_once(" to ").unwrap_or_else(|| panic!("no place: {hint}"));
    let entries: Vec<Value> =
        serde_json::from_str(&format!("[{line}]")).unwrap_or_else(|error| panic!("{error}: {hint}"));
    let list = place.split_once(" in ").unwrap_or_else(|| panic!("no file: {hint}")).0;
    let list = document.pointer_mut(&format!("/{}", list.replace('.', "/")));
    list.and_then(Value::as_array_mut).unwrap_or_else(|| panic!("no such list: {hint}")).extend(entries);
}

/// Reads a JSON file, changes it and writes it back.
#[track_caller]
pub(crate) fn edit(file: &Path, change: impl FnOnce(&mut Value)) {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut document = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    change(&mut document);
    std::fs::write(file, format!("{document:#}\n")).expect("the file");
}
