//! Characters that a reader does not see, or that change how the rest is seen.
//!
//! Names and descriptions reach both people and models; what the two see must be the same.

/// What kind of unseen character `c` is; nothing for one that may stand in a description.
///
/// Line feed, carriage return and tab pass, as do the joiners and the emoji variation selector that ordinary
/// Persian or emoji text needs.
pub(crate) const fn unseen(c: char) -> Option<&'static str> {
    match c {
        '\n' | '\r' | '\t' => None,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => Some("a control character"),
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            Some("a bidirectional control")
        }
        '\u{e0000}'..='\u{e007f}' => Some("a tag character"),
        '\u{e0100}'..='\u{e01ef}' => Some("a supplementary variation selector"),
        '\u{00ad}'
        | '\u{034f}'
        | '\u{115f}'
        | '\u{1160}'
        | '\u{17b4}'
        | '\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'
        | '\u{2060}'..='\u{2065}'
        | '\u{206a}'..='\u{206f}'
        | '\u{3164}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' => Some("an invisible character"),
        '\u{2028}' | '\u{2029}' => Some("a line separator"),
        '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}' => Some("a private-use character"),
        _ => None,
    }
}

/// The first unseen character of `text` and its kind, such as `U+202E, a bidirectional control`.
pub(crate) fn first_unseen(text: &str) -> Option<String> {
    text.chars().find_map(|c| unseen(c).map(|kind| format!("U+{:04X}, {kind}", u32::from(c))))
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
        for text in ["plain\ntext\twith tabs", "می‌خواهم", "👩‍💻 ❤️", "naïve — “quoted” 日本語"]
        {
            assert_eq!(first_unseen(text), None, "{text}");
        }
    }

    #[test]
    fn quoted_text_is_short_and_escaped() {
        assert_eq!(quote("a\u{1b}[2J"), "\"a\\u{1b}[2J\"");
        assert_eq!(quote(&"x".repeat(500)).chars().count(), 83);
    }
}
