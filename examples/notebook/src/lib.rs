//! A notebook: every call runs in a fresh instance, so what lasts is in the host's `state`.
//!
//! Keys: `last` is the number given out last, `note/00000001` a note. A number is never given out twice, also when two
//! calls run at the same time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sophon_sdk::{OrFail, Result, ensure, log, progress, settings, state, tool};

sophon_sdk::skill!(add_note, list_notes, read_note, import_notes, clear);

/// How many notes there may be, unless the setting `max_notes` says otherwise.
const MAX_NOTES: usize = 1000;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
struct Note {
    number: u32,
    text: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
}

/// Adds a note and gives it a number.
#[tool(risk = "low", editable)]
fn add_note(
    /// The note.
    #[schemars(length(min = 1, max = 4000))]
    text: String,
    /// Words to find it by.
    #[serde(default)]
    #[schemars(length(max = 10))]
    tags: Vec<String>,
) -> Result<Note> {
    make_room(1)?;
    add(text, tags)
}

/// Lists notes, oldest first.
#[tool(risk = "none")]
fn list_notes(
    /// Only notes that contain this text, in any case.
    contains: Option<String>,
    /// Only notes with this tag.
    tag: Option<String>,
    /// How many at most.
    #[schemars(range(min = 1, max = 100))]
    #[arg(default = 50)]
    limit: usize,
) -> Result<Vec<Note>> {
    let contains = contains.map(|text| text.to_lowercase());
    let mut notes = Vec::new();
    for key in state::keys("note/")? {
        // A note that another call removes meanwhile is not an error.
        let Some(note) = state::read::<Note>(&key)? else { continue };
        let found = contains.as_ref().is_none_or(|text| note.text.to_lowercase().contains(text))
            && tag.as_ref().is_none_or(|tag| note.tags.contains(tag));
        if found {
            notes.push(note);
        }
        if notes.len() == limit {
            break;
        }
    }
    Ok(notes)
}

/// Reads one note.
#[tool(risk = "none")]
fn read_note(
    /// The note's number.
    number: u32,
) -> Result<Note> {
    state::read(&key(number))?.not_found(format_args!("there is no note {number}"))
}

#[derive(Serialize, JsonSchema)]
struct Imported {
    /// How many notes were added.
    added: usize,
    /// How many lines were left out because they are blank or too long.
    skipped: usize,
}

/// Adds one note for each line of a text, and reports its progress.
#[tool(risk = "low")]
fn import_notes(
    /// The text; blank lines are left out.
    #[schemars(length(max = 200_000))]
    text: String,
    /// Words to find all of them by.
    #[serde(default)]
    #[schemars(length(max = 10))]
    tags: Vec<String>,
) -> Result<Imported> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let good = |line: &&&str| !line.is_empty() && line.chars().count() <= 4000;
    let wanted = lines.iter().filter(good).count();
    make_room(wanted)?;
    let mut added = 0;
    for line in lines.iter().filter(good) {
        add((*line).to_owned(), tags.clone())?;
        added += 1;
        // Ten reports are enough for any length.
        if added % wanted.div_ceil(10) == 0 || added == wanted {
            progress::step(added, wanted, format_args!("{added} of {wanted} notes"));
        }
    }
    let skipped = lines.len() - added;
    if skipped > 0 {
        log::warn(format_args!("{skipped} of {} lines left out", lines.len()));
    }
    Ok(Imported { added, skipped })
}

#[derive(Serialize, JsonSchema)]
struct Cleared {
    /// How many notes were removed.
    removed: usize,
}

/// Removes every note for good.
#[tool(risk = "high", effects = ["delete"])]
fn clear() -> Result<Cleared> {
    let keys = state::keys("note/")?;
    for key in &keys {
        state::delete(key)?;
    }
    Ok(Cleared { removed: keys.len() })
}

fn make_room(wanted: usize) -> Result<()> {
    let limit = settings::parsed("max_notes")?.unwrap_or(MAX_NOTES);
    let present = state::keys("note/")?.len();
    ensure!(present + wanted <= limit, denied, "the notebook holds {limit} notes at most, and there are {present}");
    Ok(())
}

fn add(text: String, tags: Vec<String>) -> Result<Note> {
    // Atomic, so that no number is given out twice.
    let number = state::update("last", |last: Option<u32>| Ok(last.unwrap_or(0) + 1))?;
    let note = Note { number, text, tags };
    state::write(&key(number), &note)?;
    Ok(note)
}

/// Padded, so that byte order is the order of the numbers.
fn key(number: u32) -> String {
    format!("note/{number:08}")
}

#[cfg(test)]
mod tests {
    use sophon_sdk::testing::Host;

    use super::*;

    #[test]
    fn a_number_is_never_given_out_twice() {
        let host = Host::new();
        let numbers = host.run(|| -> Result<Vec<u32>> {
            let first = add_note("one".into(), Vec::new())?;
            clear()?;
            let second = add_note("two".into(), Vec::new())?;
            Ok(vec![first.number, second.number])
        });
        assert_eq!(numbers, Ok(vec![1, 2]));
    }

    #[test]
    fn an_import_that_does_not_fit_adds_nothing() {
        let host = Host::new().setting("max_notes", "2");
        assert!(host.run(|| import_notes("a\nb\nc".into(), Vec::new())).is_err());
        assert_eq!(host.run(|| state::keys("")), Ok(Vec::new()));
        assert!(host.progress().is_empty());
    }

    #[test]
    fn a_long_import_reports_ten_times_and_once_more() {
        let host = Host::new();
        let text = "line\n".repeat(101);
        assert!(host.run(|| import_notes(text, Vec::new())).is_ok());
        assert_eq!(host.progress().len(), 10);
        assert_eq!(host.progress().last(), Some(&(100, "101 of 101 notes".to_owned())));
    }
}
