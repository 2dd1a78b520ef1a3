//! Log lines to standard error. An event is one line, whatever its text holds: nobody whose words are logged can begin a
//! line of their own, or speak to the terminal that shows it.

use crate::config::{LogFormat, LogSection};
use crate::error::CliError;
use std::io::{self, Write};
use tracing_subscriber::EnvFilter;

/// Sends log lines to standard error from now on. A process does so once; again changes nothing.
pub(crate) fn start(section: &LogSection) -> Result<(), CliError> {
    let filter = EnvFilter::builder().parse(&section.level).map_err(|error| CliError::Config {
        place: "[log] level".into(),
        message: error.to_string(),
        hint: "use error, warn, info, debug, trace, or directives such as info,sophon_egress=debug".into(),
    })?;
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| OneLine(io::stderr())).with_ansi(false);
    let started = match section.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    if let Err(_already) = started {}
    Ok(())
}

/// Sends only warnings there, for commands that are over in a moment.
pub(crate) fn quiet(section: &LogSection) -> Result<(), CliError> {
    let level = if section.level == LogSection::default().level { "warn".to_owned() } else { section.level.clone() };
    start(&LogSection { level, format: section.format })
}

/// Writes each event, which comes in one piece, as one line of plain text.
struct OneLine<W>(W);

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let (text, end) = match event.split_last() {
            Some((b'\n', text)) => (text, "\n"),
            _ => (event, ""),
        };
        let text = String::from_utf8_lossy(text);
        if text.chars().any(is_active) {
            let plain: String = text.chars().map(|c| if is_active(c) { escaped(c) } else { c.into() }).collect();
            self.0.write_all((plain + end).as_bytes())?;
        } else {
            self.0.write_all(event)?;
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn escaped(c: char) -> String {
    c.escape_unicode().to_string()
}

/// What ends a line, moves a cursor, or turns the order of what follows round: control characters (the C1 ones too, which
/// some terminals obey), Unicode's line ends, and its marks of direction.
fn is_active(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(event: &str) -> String {
        let mut out = Vec::new();
        OneLine(&mut out).write_all(event.as_bytes()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_event_is_one_line_whatever_its_text_holds() {
        assert_eq!(written("plain text, größer\n"), "plain text, größer\n");
        assert_eq!(written("a\nINFO forged\r\n"), "a\\u{a}INFO forged\\u{d}\n");
        assert_eq!(written("\u{1b}[2K\u{9b}1A\n"), "\\u{1b}[2K\\u{9b}1A\n");
        assert_eq!(written("a\u{2028}b\u{202e}c\u{2066}\n"), "a\\u{2028}b\\u{202e}c\\u{2066}\n");
        assert_eq!(written("no end"), "no end");
    }

    #[test]
    fn what_the_subscriber_writes_is_one_line_an_event() {
        let lines = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let sink = std::sync::Arc::clone(&lines);
        struct Sink(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);
        impl Write for Sink {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || OneLine(Sink(std::sync::Arc::clone(&sink))))
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let text = "x\n2026-01-01T00:00:00Z  INFO skill: tenant=other\u{1b}[1A";
            tracing::warn!(error = %text, "said\nso: {text}");
        });
        let written = String::from_utf8(lines.lock().unwrap().clone()).unwrap();
        assert_eq!(written.lines().count(), 1, "{written}");
        assert!(!written.contains('\u{1b}'), "{written:?}");
    }
}
