//! Secrets that nobody told the host of, recognised by their form.
//!
//! One pass for all keywords (prefixes of token formats, names of services, words such as `password`) finds candidates; only there are the slower rules asked: a regular expression of the token's body
//! ([`tokens`]), or an assignment whose value looks random ([`assigned`]). Text without keywords costs a
//! few nanoseconds a byte and allocates nothing.
//!
//! The formats are those the services document; which services matter was learnt from gitleaks (MIT) and
//! detect-secrets (Apache-2.0), whose published examples are the corpus that measures these rules.

mod assigned;
mod randomness;
mod tokens;

use crate::finding::MAX_FINDINGS;
use crate::keywords::Keywords;
use crate::{Finding, FindingKind};
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

struct Scanner {
    keywords: Keywords,
    rules: Vec<Rule>,
}

static SCANNER: LazyLock<Option<Scanner>> = LazyLock::new(|| {
    let mut keywords: Vec<&'static str> = Vec::new();
    let mut rules = Vec::new();
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
    Some(Scanner { keywords: Keywords::new(keywords)?, rules })
});

/// Possible secrets in `text`, in order, not overlapping, at most 64; offsets are into `text`.
#[must_use]
pub fn scan_secrets(text: &str) -> Vec<Finding> {
    let Some(scanner) = SCANNER.as_ref() else { return Vec::new() };
    let mut findings: Vec<Finding> = Vec::new();
    scanner.keywords.each(text.as_bytes(), |index, start, end| {
        let rule = &scanner.rules[index];
        if findings.len() >= MAX_FINDINGS {
            return;
        }
        // A long token may hold many keywords; what is found already is not looked into again.
        if findings.last().is_some_and(|last| start < last.end && last.start <= start) {
            return;
        }
        let Some((name, start, end)) = rule.check(text.as_bytes(), start, end) else { return };
        if findings.last().is_some_and(|last| start < last.end && last.start < end) {
            return;
        }
        findings.push(Finding::new(FindingKind::PossibleSecret, name, start, end));
    });
    for (rule, start, end) in tokens::unannounced(text.as_bytes()) {
        if findings.len() < MAX_FINDINGS && !findings.iter().any(|f| start < f.end && f.start < end) {
            findings.push(Finding::new(FindingKind::PossibleSecret, rule, start, end));
        }
    }
    findings.sort_by_key(|finding| finding.start);
    findings
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
        let scanner = SCANNER.as_ref().unwrap();
        for rule in &scanner.rules {
            if let Rule::Token(token) = rule {
                assert!(token.compile().is_some(), "{}", token.name);
            }
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
        ] {
            check(text, &[]);
        }
    }
}
