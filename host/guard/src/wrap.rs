//! The boundary around external content.
//!
//! `<external_content id="NONCE" source="…">` text `</external_content id="NONCE">`: the nonce is 64 random bits, fresh for
//! each block and absent from what it encloses, so that no text can close its own block. A marker the text brings
//! along loses its `<`; everything visible stays.

use crate::annotate::annotate;
use crate::neutral::neutralise;
use crate::{Detector, Finding, FindingKind};
use sophon_types::{Entropy, is_invisible};
use std::borrow::Cow;
use std::collections::BTreeSet;
use unicode_normalization::UnicodeNormalization;

/// A wrapped text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrapped {
    /// The block: opening marker, text, closing marker.
    pub content: String,
    /// The block's nonce: 16 hexadecimal digits.
    pub nonce: String,
    /// What was noticed in the text and in its source (rules that begin with `source:`, and cover all of the source);
    /// offsets are into `content`.
    pub findings: Vec<Finding>,
}

/// Longest `source` that is shown, in characters.
const MAX_SOURCE: usize = 256;

/// Wraps `text`, which came from `source`, and searches it for everything that is built in. Neither is trusted.
#[must_use]
pub fn wrap(source: &str, text: &str, entropy: &dyn Entropy) -> Wrapped {
    Detector::default().wrap(source, text, entropy)
}

impl Detector {
    /// Wraps `text`, which came from `source`, and searches it as this detector is configured. Neither is trusted.
    #[must_use]
    pub fn wrap(&self, source: &str, text: &str, entropy: &dyn Entropy) -> Wrapped {
        wrap_cow(self, source, Cow::Borrowed(text), entropy)
    }
}

pub(crate) fn wrap_owned(detector: &Detector, source: &str, text: String, entropy: &dyn Entropy) -> Wrapped {
    wrap_cow(detector, source, Cow::Owned(text), entropy)
}

fn wrap_cow(detector: &Detector, source: &str, text: Cow<'_, str>, entropy: &dyn Entropy) -> Wrapped {
    let searches = detector.searches(source);
    let (source, said) = attribute(source);
    let (text, mut findings) = neutralise(&text);
    findings.extend(annotate(&text));
    if searches {
        findings.extend(detector.extra(&text));
    }
    let nonce = fresh_nonce(&source, &text, entropy);
    let mut content = String::with_capacity(text.len() + source.len() + 96);
    content.push_str("<external_content id=\"");
    content.push_str(&nonce);
    content.push_str("\" source=\"");
    let quoted = content.len();
    content.push_str(&source);
    let named =
        said.into_iter().map(|(kind, rule)| Finding::new(kind, format!("source:{rule}"), quoted, content.len()));
    let named: Vec<_> = named.collect();
    content.push_str("\">\n");
    let head = content.len();
    content.push_str(&text);
    content.push_str("\n</external_content id=\"");
    content.push_str(&nonce);
    content.push_str("\">");
    let speaks = |kind| matches!(kind, FindingKind::PromptInjection | FindingKind::RoleMarker);
    let all = named.into_iter().chain(findings.into_iter().map(|finding| finding.moved(head)));
    let told = all.filter(|finding| searches || !speaks(finding.kind));
    let findings = told.filter_map(|finding| detector.judged(finding)).collect();
    Wrapped { content, nonce, findings }
}

/// 16 hexadecimal digits that occur neither in `source` nor in `text`.
fn fresh_nonce(source: &str, text: &str, entropy: &dyn Entropy) -> String {
    let mut number = u64::from_be_bytes(entropy.bytes());
    loop {
        let nonce = format!("{number:016x}");
        if !text.contains(&nonce) && !source.contains(&nonce) {
            return nonce;
        }
        // One draw in 2^64 gets here; the sum makes the loop end even where a test's entropy repeats itself.
        number = number.wrapping_add(u64::from_be_bytes(entropy.bytes()) | 1);
    }
}

/// `source` as the value of an attribute, and what is to be said of it, each once. Compatibility forms are folded first,
/// so that no later folding can bring a quote or a bracket back; invisible and control characters are dropped; then it
/// is looked at as a model reads it, and escaped.
fn attribute(source: &str) -> (String, BTreeSet<(FindingKind, String)>) {
    let visible = source.chars().filter(|c| !is_invisible(*c)).nfkc();
    let visible = visible.take(MAX_SOURCE).filter(|c| !is_invisible(*c));
    let visible: String = visible.map(|c| if c.is_control() || c.is_whitespace() { ' ' } else { c }).collect();
    let said = annotate(&visible).into_iter().map(|finding| (finding.kind, finding.rule)).collect();
    let mut out = String::with_capacity(visible.len() + 16);
    for c in visible.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    (out, said)
}
