//! All places of many keywords in one pass.
//!
//! An Aho-Corasick automaton finds how the keywords begin; what follows is compared only there. One step of the automaton
//! waits for the one before it, so that a text is cut into lanes and the automaton walks along several of them at once:
//! the processor has something to do while it waits.

use aho_corasick::automaton::{Automaton as _, StateID};
use aho_corasick::dfa::DFA;
use aho_corasick::{Anchored, MatchKind};
use std::collections::BTreeMap;

/// What the automaton is told of a byte: letters without their case, digits as one, of all others four bits. What is
/// compared afterwards is the text itself; the fewer bytes differ, the smaller are the automaton's tables, and they lie
/// in the nearest cache.
static SEEN: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let one = byte as u8;
        table[byte] = match one {
            b'a'..=b'z' | b' ' => one,
            b'A'..=b'Z' => one.to_ascii_lowercase(),
            b'0'..=b'9' => b'0',
            0x80.. => 0x80 | one & 0x0f,
            // Marks stand for one another where they differ in their upper bits only.
            _ => one & 0x0f,
        };
        byte += 1;
    }
    table
};

fn seen(byte: u8) -> u8 {
    SEEN[usize::from(byte)]
}

/// A set of keywords, found whatever their case in ASCII, also where they overlap.
pub(crate) struct Keywords {
    keywords: Vec<&'static str>,
    /// Finds the beginnings of keywords.
    automaton: DFA,
    start: StateID,
    /// For each beginning the keywords that begin so.
    owners: Vec<Vec<u16>>,
}

/// A keyword in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Which one.
    pub(crate) index: usize,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// The keywords of a stretch of text: all those that begin in it.
pub(crate) struct Stretch<'a> {
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// In order of their starts; of those that start together short ones first.
    pub(crate) places: &'a [Place],
}

/// Bytes that are looked at together.
const STRETCH: usize = 32 << 10;
/// Lanes of a stretch.
const LANES: usize = 4;
/// Fewest bytes of a lane.
const LANE: usize = 64;
/// Most bytes of a keyword that are in the automaton: more of them make it larger, and hardly ever decide.
const HEAD: usize = 8;
/// Fewest bytes of a keyword.
const LEAST: usize = 3;

impl Keywords {
    /// `None` where a keyword is shorter than three bytes, or there are more than 65,535: no set of this crate is.
    pub(crate) fn new(keywords: Vec<&'static str>) -> Option<Self> {
        let count = u16::try_from(keywords.len()).ok()?;
        if keywords.iter().any(|keyword| keyword.len() < LEAST) {
            return None;
        }
        let mut heads: BTreeMap<Vec<u8>, Vec<u16>> = BTreeMap::new();
        for (index, keyword) in (0..count).zip(&keywords) {
            let head = keyword.bytes().take(HEAD).map(seen).collect();
            heads.entry(head).or_default().push(index);
        }
        let (heads, owners): (Vec<_>, Vec<_>) = heads.into_iter().unzip();
        let automaton = DFA::builder()
            .match_kind(MatchKind::Standard)
            // Prefilters look for the next byte that a keyword may begin with: with so many every letter is one.
            .prefilter(false)
            .build(heads)
            .ok()?;
        let start = automaton.start_state(Anchored::No).ok()?;
        Some(Self { keywords, automaton, start, owners })
    }

    /// Calls `found` with the keywords of one stretch of `text` after the other.
    pub(crate) fn each(&self, text: &[u8], mut found: impl FnMut(Stretch<'_>)) {
        let mut lanes = [const { Vec::new() }; LANES];
        for from in (0..text.len()).step_by(STRETCH) {
            let to = text.len().min(from + STRETCH);
            lanes.iter_mut().for_each(Vec::clear);
            self.gather(text, from, to, &mut lanes);
            let [places, others @ ..] = &mut lanes;
            others.iter_mut().for_each(|other| places.append(other));
            self.sort(places);
            found(Stretch { from, to, places });
        }
    }

    /// By their starts, then by length. They were found in the order of where their beginnings end: nothing is far from
    /// where it belongs.
    fn sort(&self, places: &mut [Place]) {
        let key = |place: &Place| (place.start, self.length(place.index), place.index);
        for next in 1..places.len() {
            let mut at = next;
            while at > 0 && places[at].start <= places[at - 1].start && key(&places[at]) < key(&places[at - 1]) {
                places.swap(at, at - 1);
                at -= 1;
            }
        }
    }

    /// Very short, short or long: of several keywords at one place the shorter ones come first.
    fn length(&self, index: usize) -> u8 {
        match self.keywords[index].len() {
            ..4 => 0,
            4..8 => 1,
            _ => 2,
        }
    }

    /// The keywords that begin in `from..to`.
    fn gather(&self, text: &[u8], from: usize, to: usize, lanes: &mut [Vec<Place>; LANES]) {
        let lane = (to - from).div_ceil(LANES);
        if lane < LANE {
            self.walk(self.start, text, from, to, &mut lanes[0]);
            return;
        }
        // All lanes but the last are of one length, and that one is hardly shorter.
        let common = to - from - (LANES - 1) * lane;
        let starts = [from, from + lane, from + 2 * lane, from + 3 * lane];
        let [a, b, c, d] = starts.map(|start| &text[start..start + common]);
        let mut states = [self.start; LANES];
        for (at, (((a, b), c), d)) in a.iter().zip(b).zip(c).zip(d).enumerate() {
            let mut special = false;
            for (state, byte) in states.iter_mut().zip([*a, *b, *c, *d]) {
                *state = self.automaton.next_state(Anchored::No, *state, seen(byte));
                special |= self.automaton.is_special(*state);
            }
            if special {
                for ((state, start), places) in states.iter().zip(starts).zip(&mut *lanes) {
                    if self.automaton.is_match(*state) {
                        self.matched(*state, text, start + at + 1, to.min(start + lane), places);
                    }
                }
            }
        }
        for ((state, start), places) in states.into_iter().zip(starts).zip(lanes) {
            self.walk(state, text, start + common, to.min(start + lane), places);
        }
    }

    /// Goes on in `state` from `at`, for keywords that begin before `to`.
    fn walk(&self, mut state: StateID, text: &[u8], at: usize, to: usize, places: &mut Vec<Place>) {
        let until = text.len().min(to + HEAD - 1);
        for (at, byte) in (at..until).zip(&text[at..until]) {
            state = self.automaton.next_state(Anchored::No, state, seen(*byte));
            if self.automaton.is_match(state) {
                self.matched(state, text, at + 1, to, places);
            }
        }
    }

    /// The keywords whose beginnings end at `end`, as `state` says, where they begin before `to`.
    fn matched(&self, state: StateID, text: &[u8], end: usize, to: usize, places: &mut Vec<Place>) {
        for nth in 0..self.automaton.match_len(state) {
            let head = self.automaton.match_pattern(state, nth);
            let start = end - self.automaton.pattern_len(head);
            if start >= to {
                continue;
            }
            for index in &self.owners[head.as_usize()] {
                let index = usize::from(*index);
                let keyword = self.keywords[index].as_bytes();
                let whole = start + keyword.len();
                if text.get(start..whole).is_some_and(|here| here.eq_ignore_ascii_case(keyword)) {
                    places.push(Place { index, start, end: whole });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(keywords: &Keywords, text: &str) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        keywords.each(text.as_bytes(), |stretch| {
            assert!(stretch.places.iter().all(|place| (stretch.from..stretch.to).contains(&place.start)));
            found.extend(stretch.places.iter().map(|place| (place.index, place.start)));
        });
        found
    }

    #[test]
    fn finds_what_is_there_whatever_its_case() {
        let keywords = Keywords::new(vec!["key", "keyword", "eyw", "WORD", "keyword search"]).unwrap();
        let check = |text: &str, expected: &[(usize, usize)]| assert_eq!(found(&keywords, text), expected, "{text}");
        check("a KeyWord.", &[(0, 2), (1, 2), (2, 3), (3, 5)]);
        check("key", &[(0, 0)]);
        check("xkey", &[(0, 1)]);
        check("kEyWord Search", &[(0, 0), (1, 0), (4, 0), (2, 1), (3, 3)]);
        check("keyword searcH", &[(0, 0), (1, 0), (4, 0), (2, 1), (3, 3)]);
        check("ke", &[]);
        check("", &[]);
        assert!(Keywords::new(vec!["no"]).is_none());
    }

    #[test]
    fn lanes_and_stretches_hide_nothing() {
        let keywords = Keywords::new(vec!["key", "a keyword that is long", "aaaa"]).unwrap();
        for len in [0, 3, 200, 255, 256, 257, 1000, STRETCH - 1, STRETCH, STRETCH + 3, 2 * STRETCH + 17] {
            let lane = len.div_ceil(LANES);
            for border in [0, lane, 2 * lane, 3 * lane, STRETCH, STRETCH + lane, len] {
                for at in border.saturating_sub(30)..(border + 5).min(len) {
                    let mut text = vec![b'.'; len];
                    let word = &b"a keyword that is long"[..22.min(len - at)];
                    text[at..at + word.len()].copy_from_slice(word);
                    let text = String::from_utf8(text).unwrap();
                    let mut expected: Vec<_> = text.match_indices("key").map(|(at, _)| (0, at)).collect();
                    expected.extend(text.match_indices("a keyword that is long").map(|(at, _)| (1, at)));
                    expected.sort_unstable_by_key(|(index, at)| (*at, *index));
                    assert_eq!(found(&keywords, &text), expected, "{len} {at}");
                }
            }
        }
        // As many as there are places, at every border.
        let many = "a".repeat(STRETCH * 2 + 9);
        assert_eq!(found(&keywords, &many).len(), many.len() - 3);
    }

    proptest! {
        #[test]
        fn finds_what_a_plain_search_finds(text in "[abAB]{0,600}") {
            let words = vec!["aba", "abab", "bbbb", "aaabbbaaa", "ababababab", "BAB"];
            let keywords = Keywords::new(words.clone()).unwrap();
            let lower = text.to_ascii_lowercase();
            let mut expected: Vec<_> = (0..text.len())
                .flat_map(|at| words.iter().enumerate().map(move |(index, word)| (index, at, word.to_ascii_lowercase())))
                .filter(|(_, at, word)| lower[*at..].starts_with(word))
                .map(|(index, at, _)| (index, at))
                .collect();
            expected.sort_unstable_by_key(|(index, at)| (*at, keywords.length(*index), *index));
            prop_assert_eq!(found(&keywords, &text), expected);
        }
    }
}
