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
            Format::Json => escaped(&value.to_string()),
            Format::Text => plain(&text(value)),
        };
        if !words.is_empty() && !words.ends_with('\n') {
            words.push('\n');
        }
        self.bytes(words.as_bytes())
    }

    /// Writes a value that is JSON for whoever reads it.
    pub(crate) fn json(self, value: &Value) -> Result<(), CliError> {
        self.bytes(format!("{}\n", escaped(&value.to_string())).as_bytes())
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Result<(), CliError> {
        let mut out = io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(CliError::Output)
    }

    /// Tells people something that is not data.
    pub(crate) fn note(self, words: &str) {
        if self.format == Format::Text {
            to_stderr(&format!("{}\n", plain(words)));
        }
    }

    /// Tells something that has to be known before there is data: a line of JSON for a program.
    pub(crate) fn tell(self, value: &Value, words: &str) {
        match self.format {
            Format::Text => self.note(words),
            Format::Json => to_stderr(&format!("{}\n", escaped(&value.to_string()))),
        }
    }

    /// Tells what went wrong.
    pub(crate) fn error(self, error: &CliError) {
        to_stderr(&self.told(error));
    }

    /// What is wrong may be said in the words of a file, a skill or another host: nothing of it moves the cursor.
    fn told(self, error: &CliError) -> String {
        let report = error.report();
        let correlation = match error {
            CliError::Refused { correlation, .. } => correlation.as_deref(),
            _ => None,
        };
        match self.format {
            Format::Text => {
                let id = correlation.map(|id| format!("\ncorrelation: {id}")).unwrap_or_default();
                plain(&format!("{report}{id}\n"))
            }
            Format::Json => {
                let mut value = json!(report);
                if let Some(id) = correlation {
                    value["correlation_id"] = id.into();
                }
                format!("{}\n", escaped(&value.to_string()))
            }
        }
    }
}

/// Whether a person can be asked.
pub(crate) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// A person's answer to a question, of one line.
pub(crate) fn asked(question: &str) -> Result<String, CliError> {
    to_stderr(&format!("{} ", plain(question)));
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(|error| CliError::Input { message: error.to_string() })?;
    Ok(answer.trim().to_owned())
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

/// The text of a field, or nothing, as [`plain`] leaves it.
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

/// A text without what a terminal obeys and nobody sees.
pub(crate) fn plain(text: &str) -> String {
    text.chars().filter(|c| !is_unseen(*c) || matches!(c, '\n' | '\t')).collect()
}

/// JSON text with unseen characters escaped: the same value, and nothing for a terminal to obey. Outside of strings JSON
/// has none of them but the spaces between its signs.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if is_unseen(c) && !c.is_ascii_whitespace() {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    out
}

/// Controls, bidi controls, tags, line separators of Unicode, and characters without width (Default_Ignorable_Code_Point).
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
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

    /// Terminal control, C1 control, bidi override, tag, zero width, byte order mark.
    const UNSEEN: [char; 6] = ['\u{1b}', '\u{9b}', '\u{202e}', '\u{e0041}', '\u{200b}', '\u{feff}'];

    #[test]
    fn attack_05_nothing_unseen_reaches_the_terminal() {
        for c in UNSEEN {
            let hostile = format!("a{c}b");
            assert_eq!(plain(&hostile), "ab", "{c:?}");
            let error = CliError::usage(hostile.clone(), hostile.clone());
            let text = Output::new(Format::Text).told(&error);
            assert_eq!(text, "client: ab\nhint: ab\n", "{c:?}");
            let json = Output::new(Format::Json).told(&error);
            assert!(!json.contains(c), "{c:?} in {json}");
            let read: Value = serde_json::from_str(&json).unwrap();
            assert_eq!(read["message"], hostile, "a program reads what was said");
        }
        for seen in ["plain\n\ttext", "größe", "日本語", "a → b"] {
            assert_eq!(plain(seen), seen);
            assert_eq!(escaped(&json!(seen).to_string()), json!(seen).to_string());
        }
    }
}
