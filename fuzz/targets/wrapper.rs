//! The external-content wrapper: one genuine pair of markers, whatever the text says; what is visible stays, and a
//! known secret does not.
//!
//! The input is a source, a line feed, and text. The text's first byte says how the secret is put into it.
#![no_main]
#![expect(clippy::unwrap_used, reason = "what is not as promised has to end the run")]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use libfuzzer_sys::fuzz_target;
use sophon_fuzz::{Counter, Input};
use sophon_guard::{Finding, KnownSecrets, RawOutput, Source, sanitise, wrap};
use sophon_types::is_invisible;
use std::sync::LazyLock;
use unicode_normalization::UnicodeNormalization as _;

const SECRET: &str = "skh_live_5bNLqtirsqPaayJs";
static SECRETS: LazyLock<KnownSecrets> =
    LazyLock::new(|| KnownSecrets::builder().add("fuzz.token", SECRET.as_bytes()).build());

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let source = String::from_utf8_lossy(input.line()).into_owned();
    let how = input.byte();
    let text = String::from_utf8_lossy(input.rest()).into_owned();
    let entropy = Counter::default();

    let wrapped = wrap(&source, &text, &entropy);
    let inner = pair(&wrapped.content, &wrapped.nonce);
    assert_eq!(seen(inner), seen(&shown(&text)), "visible text changed");
    findings(&wrapped.content, &wrapped.findings);
    assert!(!text.contains(&wrapped.nonce) && !source.contains(&wrapped.nonce));
    // Wrapped again, with other randomness: the inner pair is text like any other.
    let again = wrap(&source, &wrapped.content, &entropy);
    assert_ne!(again.nonce, wrapped.nonce);
    pair(&again.content, &again.nonce);

    let spelled = match how % 4 {
        0 => SECRET.to_owned(),
        1 => hex::encode(SECRET),
        2 => STANDARD.encode(SECRET),
        _ => SECRET.bytes().map(|b| format!("%{b:02x}")).collect(),
    };
    let at = (0..=text.len().min(usize::from(how))).rev().find(|at| text.is_char_boundary(*at)).unwrap();
    // Beside a letter or digit the spelling would be another one.
    let leaky = format!("{} {spelled} {}", &text[..at], &text[at..]);
    let clean = sanitise(RawOutput::new(Source::external(&source), leaky), &SECRETS, &entropy);
    pair(clean.content(), clean.nonce());
    findings(clean.content(), clean.findings());
    assert!(!clean.content().contains(&spelled), "the secret is still there");
    assert!(!clean.content().contains(SECRET));
});

/// The text between the markers, after a look at the whole as a lenient reader has it.
fn pair<'a>(content: &'a str, nonce: &str) -> &'a str {
    assert!(nonce.len() == 16 && nonce.bytes().all(|b| b.is_ascii_hexdigit()));
    let closer = format!("\n</external_content id=\"{nonce}\">");
    let (opener, rest) = content.split_once(">\n").unwrap();
    assert!(opener.starts_with(&format!("<external_content id=\"{nonce}\" source=\"")) && opener.ends_with('"'));
    assert_eq!(opener.matches('"').count(), 4);
    let inner = rest.strip_suffix(&closer).unwrap();
    assert!(!inner.contains(nonce), "the nonce is in the text");

    let plain = |text: &str| -> String {
        let visible: String = text.chars().filter(|c| !is_invisible(*c)).collect();
        let folded: String = visible.nfkc().filter(|c| !is_invisible(*c)).collect();
        folded.to_lowercase().split_whitespace().collect()
    };
    let lenient = plain(content);
    assert_eq!(lenient.matches("<external_content").count(), 1, "{lenient}");
    assert_eq!(lenient.matches("</external_content").count(), 1, "{lenient}");
    inner
}

/// Control characters as the wrapper shows them.
fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' if chars.peek() == Some(&'\n') => out.push(c),
            '\n' | '\t' => out.push(c),
            '\0'..='\u{1f}' => out.extend(char::from_u32(0x2400 + u32::from(c))),
            '\u{7f}' => out.push('\u{2421}'),
            '\u{85}' => out.push('\n'),
            '\u{80}'..='\u{9f}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// What a person sees of a text: every bracket that could open a marker is one.
fn seen(text: &str) -> String {
    let visible = text.chars().filter(|c| !is_invisible(*c));
    visible.map(|c| if matches!(c, '<' | '\u{ff1c}' | '\u{fe64}') { '\u{2039}' } else { c }).collect()
}

fn findings(content: &str, findings: &[Finding]) {
    for finding in findings {
        assert!(content.get(finding.start..finding.end).is_some(), "{finding:?}");
        assert!(!finding.rule.is_empty());
    }
}
