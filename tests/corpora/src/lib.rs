//! The test corpora that lie beside the checkout (`../shared/corpora`), and the figures that tests measure over them.
//!
//! Promises: a corpus that is not there is said out loud, past the test runner's capture, and a corpus that is there has
//! rows. A [`Figure`] is what one test counted; `scripts/eval-corpora` runs the tests and prints them, so that what is
//! published was measured by the code that the tests hold.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;

/// What every line that carries a figure begins with; `scripts/eval-corpora` looks for it.
pub const MARK: &str = "corpus-figure";

/// The rows of the corpus `name`; nothing where the corpora are not beside the checkout.
///
/// # Panics
/// Where the corpus cannot be read, has a row of another shape, or has none.
#[must_use]
pub fn rows<T: DeserializeOwned>(name: &str) -> Option<Vec<T>> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/corpora"));
    let Ok(file) = File::open(folder.join(format!("{name}.jsonl.gz"))) else {
        // Not by a macro: what those print is kept back by the runner of a test that passes.
        let line = format!("LEFT OUT: the corpus {name} is not here; put the shared corpora at {}\n", folder.display());
        std::io::stderr().write_all(line.as_bytes()).expect("standard error");
        return None;
    };
    let mut text = String::new();
    GzDecoder::new(file).read_to_string(&mut text).unwrap_or_else(|error| panic!("{name}: {error}"));
    let read = |(at, line)| serde_json::from_str(line).unwrap_or_else(|error| panic!("{name}, row {at}: {error}"));
    let rows: Vec<T> = text.lines().enumerate().map(read).collect();
    assert!(!rows.is_empty(), "{name} has no rows");
    Some(rows)
}

/// The bytes that a row holds in base64.
///
/// # Panics
/// Where it holds none.
#[must_use]
pub fn bytes(row: &Value) -> Vec<u8> {
    let text = row["b64"].as_str().unwrap_or_else(|| panic!("no bytes in {row}"));
    STANDARD.decode(text).unwrap_or_else(|error| panic!("{error} in {row}"))
}

/// What one test counts over a corpus, by kind of row: how many of how many.
#[derive(Debug)]
pub struct Figure {
    corpus: &'static str,
    what: &'static str,
    kinds: BTreeMap<String, (usize, usize)>,
}

impl Figure {
    /// Nothing counted yet; `what` says what a row that counts has done, such as `refused`.
    #[must_use]
    pub fn new(corpus: &'static str, what: &'static str) -> Self {
        Self { corpus, what, kinds: BTreeMap::new() }
    }

    /// Counts a row.
    pub fn count(&mut self, kind: &str, counts: bool) {
        let (found, all) = self.kinds.entry(kind.to_owned()).or_default();
        *found += usize::from(counts);
        *all += 1;
    }

    /// Rows that counted, and rows, in all.
    #[must_use]
    pub fn total(&self) -> (usize, usize) {
        self.kinds.values().fold((0, 0), |sum, kind| (sum.0 + kind.0, sum.1 + kind.1))
    }

    /// The rows of one kind.
    #[must_use]
    pub fn of(&self, kind: &str) -> (usize, usize) {
        self.kinds.get(kind).copied().unwrap_or_default()
    }

    /// Publishes what was counted: one line a kind, with tabs, on standard error.
    ///
    /// # Panics
    /// Where no row was counted at all: such a test says nothing.
    #[expect(clippy::print_stderr, reason = "shown by a test that fails, and by scripts/eval-corpora")]
    pub fn publish(&self) {
        assert!(!self.kinds.is_empty(), "{}: no row was {}", self.corpus, self.what);
        for (kind, (found, all)) in &self.kinds {
            let kind = kind.replace(char::is_control, " ");
            eprintln!("{MARK}\t{}\t{kind}\t{}\t{found}\t{all}", self.corpus, self.what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_counts_by_kind() {
        let mut figure = Figure::new("demo", "refused");
        for (kind, counts) in [("a", true), ("a", false), ("b", true)] {
            figure.count(kind, counts);
        }
        assert_eq!((figure.total(), figure.of("a"), figure.of("c")), ((2, 3), (1, 2), (0, 0)));
        figure.publish();
    }

    #[test]
    #[should_panic(expected = "no row was refused")]
    fn a_figure_over_nothing_is_none() {
        Figure::new("demo", "refused").publish();
    }

    #[test]
    fn a_corpus_that_is_not_there_is_left_out() {
        assert!(rows::<Value>("no-such-corpus").is_none());
        assert_eq!(bytes(&serde_json::json!({ "b64": "AGFzbQ==" })), b"\0asm");
    }
}
