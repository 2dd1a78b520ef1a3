//! All places of many keywords in one pass.
//!
//! A hash of three bytes decides at each place whether a keyword may begin there. There is no chain from one byte to
//! the next, as in an automaton, so that the processor looks at several places at once.

/// A set of keywords, found whatever their case, also where they overlap.
pub(crate) struct Keywords {
    keywords: Vec<&'static str>,
    /// One bit for each hash: a keyword begins so.
    may: Box<[u64; SLOTS / 64]>,
    /// For each hash its keywords, as a range of `order`.
    ranges: Box<[(u16, u16)]>,
    order: Vec<u16>,
}

const BITS: u32 = 15;
const SLOTS: usize = 1 << BITS;

/// Fewest bytes of a keyword.
const LEAST: usize = 3;

/// The hash of three bytes (the lower ones of `word`), the same for both cases of a letter.
fn slot(word: u32) -> usize {
    (((word & 0x00ff_ffff) | 0x0020_2020).wrapping_mul(0x9e37_79b1) >> (32 - BITS)) as usize
}

fn word(bytes: &[u8]) -> u32 {
    bytes.iter().take(LEAST).rev().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

impl Keywords {
    /// `None` where a keyword is shorter than three bytes, or there are more than 65,535: no set of this crate is.
    pub(crate) fn new(keywords: Vec<&'static str>) -> Option<Self> {
        let mut order = (0..u16::try_from(keywords.len()).ok()?).collect::<Vec<_>>();
        if keywords.iter().any(|keyword| keyword.len() < LEAST) {
            return None;
        }
        let slot_of = |index: &u16| slot(word(keywords[usize::from(*index)].as_bytes()));
        order.sort_by_key(slot_of);
        let mut may = Box::new([0_u64; SLOTS / 64]);
        let mut ranges = vec![(0, 0); SLOTS].into_boxed_slice();
        for (place, index) in (0_u16..).zip(&order) {
            let slot = slot_of(index);
            may[slot / 64] |= 1 << (slot % 64);
            let range: &mut (u16, u16) = &mut ranges[slot];
            *range = if range.0 == range.1 { (place, place + 1) } else { (range.0, place + 1) };
        }
        Some(Self { keywords, may, ranges, order })
    }

    /// Calls `found` with the index, start and end of every keyword in `text`, in order of their starts.
    pub(crate) fn each(&self, text: &[u8], mut found: impl FnMut(usize, usize, usize)) {
        let mut look = |at: usize, word: u32| {
            let slot = slot(word);
            if self.may[slot / 64] >> (slot % 64) & 1 == 0 {
                return;
            }
            let (from, to) = self.ranges[slot];
            for index in &self.order[usize::from(from)..usize::from(to)] {
                let keyword = self.keywords[usize::from(*index)].as_bytes();
                let end = at + keyword.len();
                if text.get(at..end).is_some_and(|here| here.eq_ignore_ascii_case(keyword)) {
                    found(usize::from(*index), at, end);
                }
            }
        };
        let mut at = 0;
        for window in text.windows(4) {
            let mut four = [0; 4];
            four.copy_from_slice(window);
            look(at, u32::from_le_bytes(four));
            at += 1;
        }
        if let Some(last) = text.get(at..at + LEAST) {
            look(at, word(last));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_there_whatever_its_case() {
        let keywords = Keywords::new(vec!["key", "keyword", "eyw", "WORD"]).unwrap();
        let check = |text: &str, expected: &[(usize, usize)]| {
            let mut found = Vec::new();
            keywords.each(text.as_bytes(), |index, start, _| found.push((index, start)));
            found.sort_unstable();
            assert_eq!(found, expected, "{text}");
        };
        check("a KeyWord.", &[(0, 2), (1, 2), (2, 3), (3, 5)]);
        check("key", &[(0, 0)]);
        check("xkey", &[(0, 1)]);
        check("ke", &[]);
        check("", &[]);
        assert!(Keywords::new(vec!["no"]).is_none());
    }
}
