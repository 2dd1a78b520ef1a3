//! Records as comma-separated values (RFC 4180), for a spreadsheet. What a spreadsheet would take for a formula begins with
//! an apostrophe. It proves nothing: that is what the JSON lines are for.

use crate::reader::{AuditReader, Entry, Query};
use crate::{AuditError, Order};
use serde_json::Value;

/// The columns: first where the record stands, then what it says.
const PLACE: [&str; 3] = ["position", "writer", "seq"];
const FIELDS: [&str; 16] = [
    "time",
    "tenant",
    "user",
    "key",
    "action",
    "outcome",
    "code",
    "skill",
    "tool",
    "risk",
    "call",
    "correlation",
    "duration_us",
    "params",
    "detail",
    "body",
];
/// Records that are read at once.
const PAGE: u32 = 1000;

/// An export under way: chunks of whole lines, read page by page.
#[derive(Debug)]
pub struct CsvExport {
    reader: AuditReader,
    query: Query,
    begun: bool,
    over: bool,
}

impl CsvExport {
    pub(crate) fn new(reader: AuditReader, query: Query) -> Self {
        Self { reader, query: Query { limit: Some(PAGE), order: Order::Oldest, ..query }, begun: false, over: false }
    }

    /// The next lines; `None` at the end.
    ///
    /// # Errors
    /// [`AuditError::Store`] where the store cannot be read.
    pub async fn next_chunk(&mut self) -> Result<Option<String>, AuditError> {
        let mut lines = String::new();
        if !std::mem::replace(&mut self.begun, true) {
            let names: Vec<&str> = PLACE.into_iter().chain(FIELDS).chain(["hash"]).collect();
            lines.push_str(&names.join(","));
            lines.push_str("\r\n");
        } else if self.over {
            return Ok(None);
        }
        let page = self.reader.query(&self.query).await?;
        page.entries.iter().for_each(|entry| line(&mut lines, entry));
        self.over = page.next.is_none();
        self.query.after = page.next;
        Ok(Some(lines))
    }
}

fn line(lines: &mut String, entry: &Entry) {
    cell(lines, &entry.position.to_string());
    for text in [entry.writer.as_str(), &entry.seq.to_string()] {
        lines.push(',');
        cell(lines, text);
    }
    for name in FIELDS {
        lines.push(',');
        let text = match (name, &entry.record) {
            ("body", Value::Null) => "dropped".to_owned(),
            ("body", _) => String::new(),
            (name, record) => match &record[name] {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            },
        };
        cell(lines, &text);
    }
    lines.push(',');
    cell(lines, &entry.hash.to_string());
    lines.push_str("\r\n");
}

fn cell(lines: &mut String, text: &str) {
    let safe = defused(text);
    if safe == text && !text.contains([',', ';', '"', '\t', '\r', '\n']) {
        return lines.push_str(text);
    }
    lines.push('"');
    lines.push_str(&safe.replace('"', "\"\""));
    lines.push('"');
}

/// The text with an apostrophe before whatever a spreadsheet could take for the beginning of a formula: at its own
/// beginning, and behind what is a separator elsewhere (semicolon, tab, end of line), where a spreadsheet that is set so
/// begins a new cell whatever the quotes say.
fn defused(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + 1);
    if text.starts_with(['\t', '\r', '\n']) {
        safe.push('\'');
    }
    let mut begins = true;
    for c in text.chars() {
        if begins && matches!(c, '=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠') {
            safe.push('\'');
        }
        safe.push(c);
        begins = matches!(c, ';' | '\t' | '\r' | '\n') || (begins && (c == '"' || c.is_whitespace()));
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_one_cell_and_no_formula() {
        for (text, written) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"x\"\n", "\"say \"\"x\"\"\n\""),
            ("=cmd|'/c calc'!A1", "\"'=cmd|'/c calc'!A1\""),
            ("@x", "\"'@x\""),
            ("\n=1+1", "\"'\n'=1+1\""),
            ("＝1+1", "\"'＝1+1\""),
            ("＠x", "\"'＠x\""),
            // Where the separator of lists is a semicolon or a tab, quotes in the middle of a line keep nothing together.
            ("a;=cmd|'/c calc'!A1", "\"a;'=cmd|'/c calc'!A1\""),
            ("a\t-1", "\"a\t'-1\""),
            ("a; \"+1", "\"a; \"\"'+1\""),
            ("a\r\n@x", "\"a\r\n'@x\""),
            ("a;b", "\"a;b\""),
            ("a-b=c@d", "a-b=c@d"),
        ] {
            let mut lines = String::new();
            cell(&mut lines, text);
            assert_eq!(lines, written);
        }
    }
}
