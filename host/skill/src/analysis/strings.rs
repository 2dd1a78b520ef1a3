//! What can be read in bytes: runs of printable characters, narrow or UTF-16, gathered into one text in one pass.
//!
//! Compilers put literals side by side without a separator, so a run says where something may stand, not where it
//! ends.

use super::facts::Carrier;
use std::borrow::Cow;

/// Characters of a run that is worth a look.
const MIN_RUN: usize = 6;
/// Code units of a UTF-16 run that is worth a look. Small numbers in tables look like short ones.
const MIN_WIDE: usize = 8;

/// Runs that are kept. A whole Python interpreter has a tenth of it.
const MAX_RUNS: usize = 1 << 20;

/// All runs of all carriers, one a line (a run may hold line ends of its own).
#[derive(Debug, Default)]
pub(super) struct Strings {
    pub(super) text: String,
    runs: Vec<Run>,
    /// Runs beyond the bound, which nothing looks at.
    pub(super) left_out: usize,
}

/// Where a run came from.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// Where it begins in the text.
    start: usize,
    carrier: usize,
    /// Where it begins in the carrier.
    at: usize,
    /// Bytes a character takes there.
    width: usize,
}

/// A place in a carrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) carrier: usize,
    /// Bytes from the carrier's beginning.
    pub(super) at: usize,
    /// 1, or 2 for UTF-16.
    pub(super) width: usize,
}

impl Strings {
    /// The readable runs of all carriers: under whatever name a section stands, anything may be in it.
    pub(super) fn of(carriers: &[Carrier<'_>]) -> Self {
        let mut strings = Self::default();
        for (index, carrier) in carriers.iter().enumerate() {
            strings.gather(index, carrier.data);
        }
        strings
    }

    fn gather(&mut self, carrier: usize, data: &[u8]) {
        let (mut start, mut wide) = (0, 0);
        for (at, byte) in data.iter().enumerate() {
            if PRINTABLE[usize::from(*byte)] {
                continue;
            }
            let length = at - start;
            if length >= MIN_RUN {
                self.push(carrier, start, 1, &data[start..at]);
            }
            if *byte == 0 && length == 1 {
                wide += 1;
            } else if wide > 0 {
                self.push_wide(carrier, data, start, wide);
                wide = 0;
            }
            start = at + 1;
        }
        if data.len() - start >= MIN_RUN {
            self.push(carrier, start, 1, &data[start..]);
        }
        self.push_wide(carrier, data, start, wide);
    }

    /// Takes the `units` pairs of a character and a zero that end at `end`.
    fn push_wide(&mut self, carrier: usize, data: &[u8], end: usize, units: usize) {
        if units >= MIN_WIDE {
            let start = end - 2 * units;
            let narrow: Vec<u8> = data[start..end].iter().copied().step_by(2).collect();
            self.push(carrier, start, 2, &narrow);
        }
    }

    fn push(&mut self, carrier: usize, at: usize, width: usize, run: &[u8]) {
        let Ok(run) = std::str::from_utf8(run) else { return };
        if self.runs.len() == MAX_RUNS {
            self.left_out += 1;
            return;
        }
        self.runs.push(Run { start: self.text.len(), carrier, at, width });
        self.text.push_str(run);
        self.text.push('\n');
    }

    /// Where the character at `offset` of the text came from.
    pub(super) fn origin(&self, offset: usize) -> Origin {
        let after = self.runs.partition_point(|run| run.start <= offset);
        match after.checked_sub(1).and_then(|index| self.runs.get(index)) {
            Some(run) => {
                let at = run.at + (offset - run.start) * run.width;
                Origin { carrier: run.carrier, at, width: run.width }
            }
            None => Origin { carrier: 0, at: 0, width: 1 },
        }
    }
}

/// Runs of at least so many letters of base64 or hexadecimal digits, and where they begin. Lines of one length, with a shorter
/// last one, are a run as well, as the usual tools break it; each of them that is long enough is one by itself too, for what
/// comes before it may be something else.
pub(super) fn long_tokens(text: &str, shortest: usize) -> Vec<(usize, Cow<'_, str>)> {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '-' | '_');
    let mut found: Vec<(usize, Cow<'_, str>)> = Vec::new();
    let mut lines = Lines::default();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let line = line.trim_end();
        let whole = line.len() >= SHORTEST_LINE && line.chars().all(is_letter);
        if !(whole && lines.take(line)) {
            found.extend(lines.end());
            if whole {
                lines = Lines { start, width: line.len(), joined: line.to_owned(), more: false, closed: false };
            }
        }
        let mut from = start;
        for token in line.split_inclusive(|c| !is_letter(c)) {
            let letters = token.trim_end_matches(|c| !is_letter(c));
            found.extend((letters.len() >= shortest).then_some((from, letters.into())));
            from += token.len();
        }
    }
    found.extend(lines.end());
    found.retain(|(_, token)| token.len() >= shortest);
    found
}

/// Lines of letters that belong together so far.
#[derive(Default)]
struct Lines {
    start: usize,
    width: usize,
    joined: String,
    /// Whether there is more than the first.
    more: bool,
    /// Whether a shorter one was the last.
    closed: bool,
}

impl Lines {
    /// Takes one more line, where it may be one of these.
    fn take(&mut self, line: &str) -> bool {
        let fits = !self.joined.is_empty() && !self.closed && line.len() <= self.width;
        if fits {
            self.joined.push_str(line);
            self.more = true;
            self.closed = line.len() < self.width;
        }
        fits
    }

    /// What they come to, where they are several; not where they are digests, one a line.
    fn end<'t>(&mut self) -> Option<(usize, Cow<'t, str>)> {
        let Self { start, width, joined, more, .. } = std::mem::take(self);
        let digests = matches!(width, 32 | 40 | 56 | 64 | 96 | 128) && joined.bytes().all(|b| b.is_ascii_hexdigit());
        (more && !digests).then_some((start, joined.into()))
    }
}

/// Letters of a line that may be one of several which belong together.
const SHORTEST_LINE: usize = 32;

/// ASCII that shows, and the white space of text files.
static PRINTABLE: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0x20;
    while byte < 0x7f {
        table[byte] = true;
        byte += 1;
    }
    table[b'\t' as usize] = true;
    table[b'\n' as usize] = true;
    table[b'\r' as usize] = true;
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::facts::CarrierKind;

    fn strings(data: &[u8]) -> Strings {
        let segment = CarrierKind::Segment { module: 0, address: None };
        Strings::of(&[Carrier { kind: segment, data, offset: 0 }])
    }

    #[test]
    fn long_tokens_are_found_across_the_lines_they_were_broken_into() {
        let check = |text: &str, expected: &[(usize, usize)]| {
            let found: Vec<_> = long_tokens(text, 100).iter().map(|(start, token)| (*start, token.len())).collect();
            assert_eq!(found, expected, "{text}");
        };
        let (line, digest) = ("x".repeat(64), "a".repeat(64));
        check(&format!("words {} words", "a".repeat(150)), &[(6, 150)]);
        check(&"a".repeat(150), &[(0, 150)]);
        check(&format!("{0}\n{0}\n", "x".repeat(150)), &[(0, 150), (151, 150), (0, 300)]);
        check(&format!("{digest}\n{digest}\n{digest}\n"), &[]);
        check(&format!("head\n{line}\n{line}\n{}\nend\n", "b".repeat(40)), &[(5, 168)]);
        check(&format!("{line}\r\n{line}\r\n"), &[(0, 128)]);
        check(&format!("{line}\n{}\n{line}\n", "b".repeat(70)), &[(65, 134)]);
        check(&format!("{line} {line}\n{line}\n"), &[]);
        check("", &[]);
    }

    #[test]
    fn runs_are_found_narrow_and_wide() {
        let check = |data: &[u8], expected: &str| assert_eq!(strings(data).text, expected, "{data:?}");
        check(b"", "");
        check(b"short\0", "");
        check(b"\x01longer\0and another", "longer\nand another\n");
        check(b"a line\nand one\xff", "a line\nand one\n");
        check(b"h\0t\0t\0p\0s\0:\0/\0/\0", "https://\n");
        check(b"\x01\x02h\0t\0t\0p\0s\0:\0/\0/\0\0\0narrow", "https://\nnarrow\n");
        check(b"1\0\0\x002\0\0\x003\0\0\0", "");
    }

    #[test]
    fn what_was_found_knows_its_origin() {
        let found = strings(b"\x01longer\0h\0t\0t\0p\0s\0:\0/\0/\0");
        let at = |part: &str| found.origin(found.text.find(part).unwrap());
        assert_eq!(at("nger"), Origin { carrier: 0, at: 3, width: 1 });
        assert_eq!(at("://"), Origin { carrier: 0, at: 18, width: 2 });
    }
}
