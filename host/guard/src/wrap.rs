//! The boundary around external content.
//!
//! `<external_content id="NONCE" source="…">` text `</external_content id="NONCE">`: the nonce is 64 random bits, fresh for
//! each block and absent from what it encloses, so that no text can close its own block. A marker the text brings
//! along loses its `<`; everything visible stays.

use crate::neutral::neutralise;
use crate::{Finding, scan_secrets};
use sophon_types::{Entropy, is_invisible};
use std::borrow::Cow;
use unicode_normalization::UnicodeNormalization;

/// A wrapped text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrapped {
    /// The block: opening marker, text, closing marker.
    pub content: String,
    /// The block's nonce: 16 hexadecimal digits.
    pub nonce: String,
    /// What was noticed in the text; offsets are into `content`.
    pub findings: Vec<Finding>,
}

/// Longest `source` that is shown, in characters.
const MAX_SOURCE: usize = 256;

/// Wraps `text`, which came from `source`. Neither is trusted.
#[must_use]
pub fn wrap(source: &str, text: &str, entropy: &dyn Entropy) -> Wrapped {
    wrap_cow(source, Cow::Borrowed(text), entropy)
}

pub(crate) fn wrap_owned(source: &str, text: String, entropy: &dyn Entropy) -> Wrapped {
    wrap_cow(source, Cow::Owned(text), entropy)
}

fn wrap_cow(source: &str, text: Cow<'_, str>, entropy: &dyn Entropy) -> Wrapped {
    let source = attribute(source);
    let (text, mut findings) = neutralise(&text);
    findings.extend(scan_secrets(&text));
    findings.extend(crate::injection::scan(&text));
    let nonce = fresh_nonce(&source, &text, entropy);
    let mut content = String::with_capacity(text.len() + source.len() + 96);
    content.push_str("<external_content id=\"");
    content.push_str(&nonce);
    content.push_str("\" source=\"");
    content.push_str(&source);
    content.push_str("\">\n");
    let head = content.len();
    content.push_str(&text);
    content.push_str("\n</external_content id=\"");
    content.push_str(&nonce);
    content.push_str("\">");
    Wrapped { content, nonce, findings: findings.into_iter().map(|finding| finding.moved(head)).collect() }
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

/// `source` as the value of an attribute: compatibility forms folded first, so that no later folding can bring a quote
/// or a bracket back; then escaped; invisible and control characters dropped.
fn attribute(source: &str) -> String {
    let mut out = String::with_capacity(source.len() + 16);
    let visible = source.chars().filter(|c| !is_invisible(*c)).nfkc();
    for c in visible.take(MAX_SOURCE) {
        match c {
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c if c.is_control() || c.is_whitespace() => out.push(' '),
            c if is_invisible(c) => {}
            c => out.push(c),
        }
    }
    out
}
