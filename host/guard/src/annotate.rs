//! What is to be said of a text: possible secrets and text that speaks to the model, in one pass for the keywords of both.

use crate::keywords::{Keywords, Stretch};
use crate::{Finding, injection, scan};
use std::sync::LazyLock;

/// The keywords of [`scan`], and behind them those of [`injection`]: one table, for whoever looks for some of them.
static KEYWORDS: LazyLock<Option<Keywords>> =
    LazyLock::new(|| Keywords::new([scan::keywords(), injection::keywords()].concat()));

/// The index of the first keyword of [`injection`].
pub(crate) fn injections() -> usize {
    scan::keywords().len()
}

/// Calls `found` with the keywords of one stretch of `text` after the other.
pub(crate) fn each_keyword(text: &str, found: impl FnMut(Stretch<'_>)) {
    if let Some(keywords) = KEYWORDS.as_ref() {
        keywords.each(text.as_bytes(), found);
    }
}

/// Possible secrets, then injections, each in order; offsets are into `text`, on the borders of its characters.
pub(crate) fn annotate(text: &str) -> Vec<Finding> {
    let (mut secrets, mut injections) = (scan::Search::new(text), injection::Search::new(text));
    each_keyword(text, |stretch| {
        secrets.stretch(&stretch);
        injections.stretch(&stretch);
    });
    let mut findings = secrets.finish();
    findings.extend(injections.finish());
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn all_keywords_fit_into_one_table() {
        assert!(KEYWORDS.is_some());
    }

    /// Keywords, what may follow them, and characters of every length.
    fn piece() -> impl Strategy<Value = String> {
        let keywords = [scan::keywords(), injection::keywords()].concat();
        prop_oneof![
            3 => proptest::sample::select(keywords).prop_map(str::to_owned),
            1 => Just("-----BEGIN RSA PRIVATE KEY-----".to_owned()),
            1 => Just("Aä€\u{1f600}".repeat(400)),
            2 => "[ =:\"'./@a-zA-Z0-9]{0,40}",
            2 => "\\PC{0,60}",
            1 => any::<String>(),
        ]
    }

    proptest! {
        #[test]
        fn findings_lie_on_the_borders_of_characters(pieces in proptest::collection::vec(piece(), 0..24)) {
            let text = pieces.concat();
            for finding in annotate(&text) {
                prop_assert!(text.get(finding.start..finding.end).is_some(), "{finding:?}");
            }
            let (secrets, all) = (scan::scan_secrets(&text), annotate(&text));
            prop_assert_eq!(&secrets[..], &all[..secrets.len()], "one pass says what two say");
        }
    }
}
