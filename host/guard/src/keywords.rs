//! All places of many keywords in one pass.
//!
//! A hash of four bytes decides at each place whether a keyword may begin there. There is no chain from one byte to
//! the next, as in an automaton, so that the processor looks at several places at once.

/// A set of keywords, found whatever their case, also where they overlap.
pub(crate) struct Keywords {
    keywords: Vec<&'static str>,
    /// One bit for each hash of four bytes: a keyword begins so.
    may: Box<[u64; STARTS / 64]>,
    /// One bit for each hash of three bytes: a keyword is that.
    may_three: Box<[u64; (1 << SLOT_BITS) / 64]>,
    /// Those of three bytes.
    least: Group,
    /// Those of fewer than eight bytes, by the hash of four.
    short: Group,
    /// The others, by the hash of eight: many begin with a word that is in every sentence.
    long: Group,
}

/// Places that are looked at together.
const BLOCK: usize = 128;

/// Fewest bytes of a keyword.
const LEAST: usize = 3;
/// Fewest bytes of a long one.
const LONG: usize = 8;

/// The hashes of four bytes: few enough of them for the nearest cache, many enough to be sparse.
const START_BITS: u32 = 17;
const STARTS: usize = 1 << START_BITS;

/// The hash of four bytes, the same for both cases of a letter.
fn start(word: u32) -> usize {
    ((word | 0x2020_2020).wrapping_mul(0x85eb_ca6b) >> (32 - START_BITS)) as usize
}

/// The hash of three bytes (the lower ones of `word`), the same for both cases of a letter.
fn three_slot(word: u32) -> usize {
    (((word & 0x00ff_ffff) | 0x0020_2020).wrapping_mul(0x9e37_79b1) >> (32 - SLOT_BITS)) as usize
}

/// The hash of four bytes in a group.
fn short_slot(word: u32) -> usize {
    ((word | 0x2020_2020).wrapping_mul(0x9e37_79b1) >> (32 - SLOT_BITS)) as usize
}

/// The hash of eight bytes, the same for both cases of a letter.
fn long_slot(word: u64) -> usize {
    ((word | 0x2020_2020_2020_2020).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - SLOT_BITS)) as usize
}

/// Up to eight bytes, the first of them lowest; zeros where there are fewer.
fn word(bytes: &[u8]) -> u64 {
    bytes.iter().take(LONG).rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

const SLOT_BITS: u32 = 15;

/// Keywords by a hash of how they begin.
struct Group {
    /// One bit for each hash: there are some. Small enough for the nearest cache; the ranges are not.
    some: Box<[u64; (1 << SLOT_BITS) / 64]>,
    /// For each hash its keywords, as a range of `order`.
    ranges: Box<[(u16, u16)]>,
    order: Vec<u16>,
}

impl Group {
    fn new(mut order: Vec<u16>, slot_of: impl Fn(u16) -> usize) -> Self {
        order.sort_by_key(|index| slot_of(*index));
        let mut ranges = vec![(0, 0); 1 << SLOT_BITS].into_boxed_slice();
        let mut some = Box::new([0; (1 << SLOT_BITS) / 64]);
        for (place, index) in (0_u16..).zip(&order) {
            let slot = slot_of(*index);
            some[slot / 64] |= 1 << (slot % 64);
            let range: &mut (u16, u16) = &mut ranges[slot];
            *range = if range.0 == range.1 { (place, place + 1) } else { (range.0, place + 1) };
        }
        Self { some, ranges, order }
    }

    fn at(&self, slot: usize) -> &[u16] {
        if self.some[slot / 64] >> (slot % 64) & 1 == 0 {
            return &[];
        }
        let (from, to) = self.ranges[slot];
        &self.order[usize::from(from)..usize::from(to)]
    }
}

impl Keywords {
    /// `None` where a keyword is shorter than three bytes, or there are more than 65,535: no set of this crate is.
    pub(crate) fn new(keywords: Vec<&'static str>) -> Option<Self> {
        let count = u16::try_from(keywords.len()).ok()?;
        if keywords.iter().any(|keyword| keyword.len() < LEAST) {
            return None;
        }
        let mut may = Box::new([0_u64; STARTS / 64]);
        let mut may_three = Box::new([0_u64; (1 << SLOT_BITS) / 64]);
        for keyword in &keywords {
            let four = low(word(keyword.as_bytes()));
            if keyword.len() > LEAST {
                may[start(four) / 64] |= 1 << (start(four) % 64);
            } else {
                may_three[three_slot(four) / 64] |= 1 << (three_slot(four) % 64);
            }
        }
        let word_of = |index: u16| word(keywords[usize::from(index)].as_bytes());
        let of = |lengths: std::ops::Range<usize>| {
            (0..count).filter(|index| lengths.contains(&keywords[usize::from(*index)].len())).collect::<Vec<_>>()
        };
        let least = Group::new(of(LEAST..LEAST + 1), |index| three_slot(low(word_of(index))));
        let short = Group::new(of(LEAST + 1..LONG), |index| short_slot(low(word_of(index))));
        let long = Group::new(of(LONG..usize::MAX), |index| long_slot(word_of(index)));
        Some(Self { keywords, may, may_three, least, short, long })
    }

    /// Calls `found` with the index, start and end of every keyword in `text`, in order of their starts.
    pub(crate) fn each(&self, text: &[u8], mut found: impl FnMut(usize, usize, usize)) {
        // The places are gathered without a branch, a block at a time, and looked at afterwards: a branch that is taken
        // at one place in twenty is mispredicted there, and costs as much as these twenty.
        let mut places = [0_usize; BLOCK];
        let mut at = 0;
        while let Some(block) = text.get(at..text.len().min(at + BLOCK + 3))
            && block.len() > 3
        {
            let mut count = 0;
            for window in block.windows(4) {
                let mut four = [0; 4];
                four.copy_from_slice(window);
                places[count % BLOCK] = at;
                count += usize::from(self.may(u32::from_le_bytes(four)));
                at += 1;
            }
            for place in &places[..count] {
                self.look(text, *place, &mut found);
            }
        }
        if text.len() >= LEAST {
            self.look(text, text.len() - LEAST, &mut found);
        }
    }

    #[inline]
    fn may(&self, four: u32) -> bool {
        let (start, three) = (start(four), three_slot(four));
        (self.may[start / 64] >> (start % 64) | self.may_three[three / 64] >> (three % 64)) & 1 != 0
    }

    /// The keywords at one place.
    fn look(&self, text: &[u8], at: usize, found: &mut impl FnMut(usize, usize, usize)) {
        let mut compare = |group: &[u16]| {
            for index in group {
                let keyword = self.keywords[usize::from(*index)].as_bytes();
                let end = at + keyword.len();
                if text.get(at..end).is_some_and(|here| here.eq_ignore_ascii_case(keyword)) {
                    found(usize::from(*index), at, end);
                }
            }
        };
        let rest = &text[at..];
        let (four, eight) = match rest.first_chunk::<LONG>() {
            Some(eight) => {
                let eight = u64::from_le_bytes(*eight);
                (low(eight), Some(eight))
            }
            None => (low(word(rest)), None),
        };
        compare(self.least.at(three_slot(four)));
        compare(self.short.at(short_slot(four)));
        if let Some(eight) = eight {
            compare(self.long.at(long_slot(eight)));
        }
    }
}

/// The first four bytes of `word`.
fn low(word: u64) -> u32 {
    (word & 0xffff_ffff) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_there_whatever_its_case() {
        let keywords = Keywords::new(vec!["key", "keyword", "eyw", "WORD", "keyword search"]).unwrap();
        let check = |text: &str, expected: &[(usize, usize)]| {
            let mut found = Vec::new();
            keywords.each(text.as_bytes(), |index, start, _| found.push((index, start)));
            found.sort_unstable();
            assert_eq!(found, expected, "{text}");
        };
        check("a KeyWord.", &[(0, 2), (1, 2), (2, 3), (3, 5)]);
        check("key", &[(0, 0)]);
        check("xkey", &[(0, 1)]);
        check("kEyWord Search", &[(0, 0), (1, 0), (2, 1), (3, 3), (4, 0)]);
        check("keyword searcH", &[(0, 0), (1, 0), (2, 1), (3, 3), (4, 0)]);
        check("ke", &[]);
        check("", &[]);
        assert!(Keywords::new(vec!["no"]).is_none());
    }
}
