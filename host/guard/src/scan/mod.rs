//! Secrets that nobody told the host of, recognised by their form.
//!
//! One pass for all keywords (prefixes of token formats, names of services, words such as `password`) finds candidates; only there are the slower rules asked: a regular expression of the token's body
//! ([`tokens`]), or an assignment whose value looks random ([`assigned`]). Text without keywords costs a
//! few nanoseconds a byte and allocates nothing.
//!
//! The formats are those the services document; which services matter was learnt from gitleaks (MIT) and
//! detect-secrets (Apache-2.0), whose published examples are the corpus that measures these rules.

mod assigned;
mod jwt;
mod published;
mod randomness;
mod tokens;

use crate::finding::MAX_FINDINGS;
use crate::keywords::Stretch;
use crate::{Finding, FindingKind, annotate};
use std::sync::LazyLock;
use tokens::Token;

/// What a keyword leads to.
enum Rule {
    /// A token format: the keyword is its prefix.
    Token(Token),
    /// A service's name: a random-looking value assigned to it is probably its credential.
    Service,
    /// A word for secrets in general.
    Word(assigned::Word),
    /// A form that needs code.
    Form(tokens::Form),
}

/// The rules, and the keyword that leads to each.
struct Rules {
    keywords: Vec<&'static str>,
    rules: Vec<Rule>,
}

static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let (mut keywords, mut rules) = (Vec::new(), Vec::new());
    let mut add = |keyword, rule| {
        keywords.push(keyword);
        rules.push(rule);
    };
    for token in tokens::tokens() {
        add(token.prefix, Rule::Token(token));
    }
    for (keyword, form) in tokens::FORMS {
        add(keyword, Rule::Form(*form));
    }
    for name in assigned::SERVICES {
        add(name, Rule::Service);
    }
    for (keyword, word) in assigned::WORDS {
        add(keyword, Rule::Word(*word));
    }
    Rules { keywords, rules }
});

/// The keywords that a [`Search`] is to be told of.
pub(crate) fn keywords() -> &'static [&'static str] {
    &RULES.keywords
}

/// Possible secrets in `text`, in order, not overlapping, at most 64; offsets are into `text`, on the borders of its
/// characters.
#[must_use]
pub fn scan_secrets(text: &str) -> Vec<Finding> {
    scan_secrets_up_to(text, MAX_FINDINGS)
}

/// The same with another bound than 64: `most` at most.
#[must_use]
pub fn scan_secrets_up_to(text: &str, most: usize) -> Vec<Finding> {
    let mut search = Search { most, ..Search::new(text) };
    annotate::each_keyword(text, |stretch| search.stretch(&stretch));
    search.finish()
}

/// A search for secrets that is told of the keywords in a text, one stretch after the other.
pub(crate) struct Search<'a> {
    text: &'a str,
    rules: &'static [Rule],
    findings: Vec<Finding>,
    most: usize,
}

impl<'a> Search<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, rules: &RULES.rules, findings: Vec::new(), most: MAX_FINDINGS }
    }

    /// These keywords stand in the next stretch; those that are not of this search are passed over.
    pub(crate) fn stretch(&mut self, stretch: &Stretch<'_>) {
        for place in stretch.places.iter().filter(|place| place.index < self.rules.len()) {
            self.keyword(place.index, place.start, place.end);
        }
    }

    /// Keyword number `index` stands at `start..end`.
    fn keyword(&mut self, index: usize, start: usize, end: usize) {
        if self.findings.len() >= self.most {
            return;
        }
        // A long token may hold many keywords; what is found already is not looked into again.
        if self.findings.last().is_some_and(|last| start < last.end && last.start <= start) {
            return;
        }
        let Some((name, start, end)) = self.rules[index].check(self.text.as_bytes(), start, end) else { return };
        if self.findings.last().is_some_and(|last| start < last.end && last.start < end)
            || published::is_published(&self.text.as_bytes()[start..end])
        {
            return;
        }
        self.add(name, start, end);
    }

    /// The findings, together with those that no keyword announces.
    pub(crate) fn finish(mut self) -> Vec<Finding> {
        self.findings.sort_by_key(|finding| finding.start);
        let announced = self.findings.len();
        for (rule, start, end) in tokens::unannounced(self.text.as_bytes()) {
            if self.findings.len() >= self.most {
                break;
            }
            // Neither these nor those overlap among themselves, so one of each can stand in the way.
            let (known, added) = self.findings.split_at(announced);
            let next = known.get(known.partition_point(|found| found.end <= start));
            let mut beside = next.into_iter().chain(added.last());
            if !beside.any(|found| start < found.end && found.start < end) {
                self.add(rule, start, end);
            }
        }
        self.findings.sort_by_key(|finding| finding.start);
        self.findings
    }

    /// The rules look at bytes, and may stop in the middle of a character.
    fn add(&mut self, rule: &'static str, start: usize, end: usize) {
        let (start, end) = (self.text.floor_char_boundary(start), self.text.ceil_char_boundary(end));
        self.findings.push(Finding::new(FindingKind::PossibleSecret, rule, start, end));
    }
}

impl Rule {
    /// The secret that the keyword at `start..end` belongs to, if there is one: the rule's name, and where.
    fn check(&self, text: &[u8], start: usize, end: usize) -> Option<(&'static str, usize, usize)> {
        match self {
            Self::Token(token) => token.check(text, start).map(|(start, end)| (token.name, start, end)),
            Self::Form(form) => form.check(text, start, end),
            Self::Service => assigned::service(text, start, end).map(|(start, end)| ("service-credential", start, end)),
            Self::Word(word) => word.check(text, start, end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, &str)]) {
        let found = scan_secrets(text);
        let found: Vec<_> = found.iter().map(|f| (f.rule.as_str(), &text[f.start..f.end])).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn every_keyword_and_expression_compiles() {
        for rule in &RULES.rules {
            if let Rule::Token(token) = rule {
                assert!(token.compile().is_some(), "{}", token.name);
            }
        }
    }

    #[test]
    fn a_finding_that_is_cut_by_the_limit_ends_with_a_character() {
        for lead in 0..4 {
            let key = format!("-----BEGIN PRIVATE KEY-----{}{}", "x".repeat(lead), "\u{1f600}".repeat(5000));
            let found = scan_secrets(&key);
            assert_eq!(found[0].rule, "private-key");
            assert!(key.is_char_boundary(found[0].end) && found[0].end > 16 * 1024 - 4, "{found:?}");
        }
    }

    #[test]
    fn tokens_are_found_where_they_stand() {
        let token = "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";
        check(&format!("clone https://{token}@github.com/x"), &[("github-token", token)]);
        check(&format!("{{\"a\":\"{token}\",\"b\":\"{token}\"}}"), &[("github-token", token), ("github-token", token)]);
        check(&format!("x{token}"), &[]);
        check("key AKIA2E0A8F3B244C9986 here", &[]);
        check("key AKIAY3FDNTQPLK7ZRW2M here", &[("aws-access-key-id", "AKIAY3FDNTQPLK7ZRW2M")]);
    }

    #[test]
    fn assignments_are_found_by_their_value() {
        check(r#"{"api_key": "kP9sLq2VxT7mWz4R"}"#, &[("assigned-secret", "kP9sLq2VxT7mWz4R")]);
        check(r#"{\"api_key\": \"kP9sLq2VxT7mWz4R\"}"#, &[("assigned-secret", "kP9sLq2VxT7mWz4R")]);
        check(r#"api_key = "your-api-key-goes-here-1""#, &[]);
        check("The key to success is hard work, and the token of it is 1234567890123456.", &[]);
        check("password = os.environ['DB_PASSWORD']", &[]);
    }

    #[test]
    fn prose_and_code_stay_quiet() {
        for text in [
            "Sorting is a risk: ask the task force. Please see https://example.com/a/b?c=d#e for details.",
            "fn main() { let token = lexer.next_token(); assert_eq!(token, Token::Key); }",
            "commit 5e14193ab0c1d2e3f405162738495a6b7c8d9e0f by Ann <ann@example.org>",
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "call_0123456789abcdef0123456789abcdef succeeded",
            // A sample of a token's form, a digest with something attached, a signed score.
            r#""api_token": "abcd-4711-4711-4711-9f86d081884c7d659a2feaa0c55ad015""#,
            "stripe_token = 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08V2",
            "Authorization: Basic eyJhbGciOiJIUzI1NiJ9.eyJzY29yZSI6MC4yNSwic3BhbSI6dHJ1ZX0.yj5Yw0q3mS7dCk2",
        ] {
            check(text, &[]);
        }
    }
}
