//! Characters that a reader does not see, or that change how the rest is seen.
//!
//! Names and descriptions reach both people and models; what the two see must be the same.

use sophon_types::{is_bidi_control, is_invisible, is_joiner, is_tag, is_variation_selector};
use unicode_normalization::char::is_combining_mark;

/// What kind of unseen character `c` is after `before` and before `after`; nothing for one that may stand there.
///
/// Line feed, carriage return and tab pass. So do the joiners and the variation selectors that ordinary Persian or
/// emoji text needs, in the places where such text has them: in a row, or between Latin letters, they carry a message.
fn unseen(before: &Context, c: char, after: Option<char>) -> Option<&'static str> {
    match c {
        '\n' | '\r' | '\t' => None,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => Some("a control character"),
        '\u{2028}' | '\u{2029}' => Some("a line separator"),
        '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}' => Some("a private-use character"),
        c if is_bidi_control(c) => Some("a bidirectional control"),
        c if is_tag(c) => Some("a tag character"),
        '\u{fe00}'..='\u{fe0f}' if before.last.is_some_and(takes_selector) => None,
        '\u{fe00}'..='\u{fe0f}' => Some("a variation selector where none belongs"),
        c if is_variation_selector(c) => Some("a supplementary variation selector"),
        c if is_joiner(c) && before.base.is_some_and(takes_joiner) && after.is_some_and(takes_joiner) => None,
        c if is_joiner(c) => Some("a joiner where none belongs"),
        c if is_invisible(c) => Some("an invisible character"),
        _ => None,
    }
}

/// What stands before a character.
#[derive(Default)]
struct Context {
    /// The character before.
    last: Option<char>,
    /// The same, a variation selector overlooked.
    base: Option<char>,
}

impl Context {
    fn then(&mut self, c: char) {
        self.last = Some(c);
        if !is_variation_selector(c) {
            self.base = Some(c);
        }
    }
}

/// Whether `c` has looks to choose from: symbols, ideographs, and the digits of keycaps; no Latin letter, no other
/// selector.
fn takes_selector(c: char) -> bool {
    let keycap = c.is_ascii_digit() || matches!(c, '#' | '*');
    keycap || !(c.is_ascii() || c.is_whitespace() || is_invisible(c))
}

/// Whether a joiner may touch `c`: letters and marks of the scripts that join, and emoji.
fn takes_joiner(c: char) -> bool {
    let emoji = matches!(c, '\u{2190}'..='\u{2bff}' | '\u{1f000}'..='\u{1faff}');
    emoji || !c.is_ascii() && (c.is_alphabetic() || is_combining_mark(c)) && !is_invisible(c)
}

/// The first unseen character of `text` and its kind, such as `U+202E, a bidirectional control`.
pub(crate) fn first_unseen(text: &str) -> Option<String> {
    let mut before = Context::default();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if let Some(kind) = unseen(&before, c, rest.clone().next()) {
            return Some(format!("U+{:04X}, {kind}", u32::from(c)));
        }
        before.then(c);
    }
    None
}

/// `text` as it may stand in a message: escaped, quoted, cut to 80 characters.
pub(crate) fn quote(text: &str) -> String {
    let mut shown: String = text.chars().take(80).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_05_unseen_characters_are_found() {
        for c in ['\u{202e}', '\u{e0041}', '\u{1b}', '\u{200b}', '\u{feff}', '\u{e0100}', '\u{2066}'] {
            assert!(first_unseen(&format!("ab{c}c")).is_some(), "{c:?}");
        }
        // Text in characters that nobody sees, each kind that carries it, and characters alone.
        for text in [
            "see \u{e0080}this",
            "see \u{e01f0}\u{e0fff}this",
            "a\u{fe00}",
            "\u{fe0f}a",
            " \u{fe0f}",
            "❤\u{fe0f}\u{fe0e}",
            "日\u{fe00}\u{fe01}\u{fe02}",
            "👩\u{200d}\u{200d}💻",
            "می\u{200c}\u{200d}\u{200c}خواهم",
            "ig\u{200c}nore",
            "a \u{200d}b",
            "می\u{200c}",
            "\u{200d}👩",
            "x\u{fff9}y",
        ] {
            assert!(first_unseen(text).is_some(), "{text:?}");
        }
        for text in [
            "plain\ntext\twith tabs",
            "می‌خواهم",
            "👩‍💻 ❤️",
            "naïve — “quoted” 日本語",
            "1\u{fe0f}\u{20e3} ❤\u{fe0f}\u{200d}🔥 👩🏽\u{200d}💻",
            "ශ\u{dca}\u{200d}රී",
        ] {
            assert_eq!(first_unseen(text), None, "{text}");
        }
    }

    #[test]
    fn quoted_text_is_short_and_escaped() {
        assert_eq!(quote("a\u{1b}[2J"), "\"a\\u{1b}[2J\"");
        assert_eq!(quote(&"x".repeat(500)).chars().count(), 83);
    }

    #[test]
    fn attack_05_nothing_invisible_stands_alone() {
        for c in ('\0'..=char::MAX).filter(|c| is_invisible(*c)) {
            assert!(first_unseen(&format!("ab{c}c")).is_some(), "U+{:04X}", u32::from(c));
        }
    }
}
