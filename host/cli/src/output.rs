//! Where words go: data to standard output, everything else to standard error.

use crate::error::CliError;
use serde_json::{Value, json};
use std::io::{self, IsTerminal as _, Write as _};

/// How to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs: one JSON value, errors too.
    Json,
}

/// Writes what commands have to say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    format: Format,
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        Self { format }
    }

    pub(crate) fn format(self) -> Format {
        self.format
    }

    /// Writes a value: as JSON, or as `text` makes it for people.
    pub(crate) fn data(self, value: &Value, text: impl FnOnce(&Value) -> String) -> Result<(), CliError> {
        let mut words = match self.format {
            Format::Json => value.to_string(),
            Format::Text => text(value),
        };
        if !words.is_empty() && !words.ends_with('\n') {
            words.push('\n');
        }
        self.bytes(words.as_bytes())
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Result<(), CliError> {
        let mut out = io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(CliError::Output)
    }

    /// Tells people something that is not data.
    pub(crate) fn note(self, words: &str) {
        if self.format == Format::Text {
            to_stderr(&format!("{words}\n"));
        }
    }

    /// Tells what went wrong.
    pub(crate) fn error(self, error: &CliError) {
        let report = error.report();
        let correlation = match error {
            CliError::Refused { correlation, .. } => correlation.as_deref(),
            _ => None,
        };
        match self.format {
            Format::Text => {
                let id = correlation.map(|id| format!("\ncorrelation: {id}")).unwrap_or_default();
                to_stderr(&format!("{report}{id}\n"));
            }
            Format::Json => {
                let mut value = json!(report);
                if let Some(id) = correlation {
                    value["correlation_id"] = id.into();
                }
                to_stderr(&format!("{value}\n"));
            }
        }
    }
}

/// Whether a person can be asked.
pub(crate) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

fn to_stderr(words: &str) {
    // Nobody is left to tell when standard error is gone.
    if let Err(_closed) = io::stderr().lock().write_all(words.as_bytes()) {}
}

/// Lines of columns as wide as their widest cell, for people.
pub(crate) fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(width.saturating_sub(cell.chars().count()) + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The text of a field, or nothing; control characters are left out, so that no text from outside moves the cursor.
pub(crate) fn field(value: &Value, name: &str) -> String {
    match &value[name] {
        Value::Null => String::new(),
        Value::String(text) => plain(text),
        Value::Array(items) => {
            let texts: Vec<_> =
                items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), plain)).collect();
            texts.join(", ")
        }
        other => plain(&other.to_string()),
    }
}

/// A text without control characters.
pub(crate) fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

/// Rows of the items of a list, under their headings.
pub(crate) fn table(items: &Value, fields: &[&str]) -> String {
    let Some(items) = items.as_array().filter(|items| !items.is_empty()) else { return String::new() };
    let heading = fields.iter().map(|name| name.to_uppercase().replace('_', " ")).collect();
    let rows = items.iter().map(|item| fields.iter().map(|name| field(item, name).replace('\n', " ")).collect());
    columns(&std::iter::once(heading).chain(rows).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned_and_cannot_move_the_cursor() {
        let items = json!([{"name": "a\u{1b}[2J", "tags": ["x", "y"]}, {"name": "longer", "tags": []}]);
        assert_eq!(table(&items, &["name", "tags"]), "NAME    TAGS\na[2J    x, y\nlonger\n");
        assert_eq!(table(&json!([]), &["name"]), "");
    }
}
