//! Characters that a reader does not see, or that change how the rest is seen: one table for whoever looks for them.
//!
//! Promises: plain functions of one character, by Unicode 16. What to do about such a character is the caller's matter.

/// Whether `c` shows nothing of itself: Default_Ignorable_Code_Point (DerivedCoreProperties.txt), and the interlinear
/// annotation controls. The sets below are part of it, the joiners, selectors and marks that ordinary text needs too.
#[must_use]
pub const fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Whether `c` changes the direction of text: Bidi_Control (PropList.txt).
#[must_use]
pub const fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether `c` is a tag character, or one of the unassigned ones around them, which carry text that nobody sees.
#[must_use]
pub const fn is_tag(c: char) -> bool {
    matches!(c, '\u{e0000}'..='\u{e00ff}' | '\u{e01f0}'..='\u{e0fff}')
}

/// Whether `c` chooses between the looks of the character before it.
#[must_use]
pub const fn is_variation_selector(c: char) -> bool {
    matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

/// Whether `c` joins its neighbours or keeps them apart (ZWJ, ZWNJ): emoji and many scripts need it.
#[must_use]
pub const fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sets_are_parts_of_the_invisible() {
        let mut counts = [0_u32; 5];
        for c in '\0'..=char::MAX {
            let sets = [is_invisible(c), is_bidi_control(c), is_tag(c), is_variation_selector(c), is_joiner(c)];
            assert!(sets[0] || !sets.contains(&true), "U+{:04X}", u32::from(c));
            assert!(sets[1..].iter().filter(|is| **is).count() <= 1, "U+{:04X} is of two sets", u32::from(c));
            for (count, is) in counts.iter_mut().zip(sets) {
                *count += u32::from(is);
            }
        }
        // 4174 code points are default-ignorable in Unicode 16; the annotation controls are three more.
        assert_eq!(counts, [4174 + 3, 12, 4096 - 240, 16 + 240, 2]);
    }
}
