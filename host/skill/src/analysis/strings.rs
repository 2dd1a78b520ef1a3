//! What can be read in bytes: runs of printable characters, narrow or UTF-16, gathered into one text in one pass.
//!
//! Compilers put literals side by side without a separator, so a run says where something may stand, not where it
//! ends.

use super::facts::{Carrier, CarrierKind};

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
    /// The readable runs of data segments, files and those custom sections that no tool is known to write.
    pub(super) fn of(carriers: &[Carrier<'_>], is_known: impl Fn(&str) -> bool) -> Self {
        let mut strings = Self::default();
        for (index, carrier) in carriers.iter().enumerate() {
            let skipped = matches!(carrier.kind, CarrierKind::Section(name) if is_known(name));
            if !skipped {
                strings.gather(index, carrier.data);
            }
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

    fn strings(data: &[u8]) -> Strings {
        let segment = CarrierKind::Segment { module: 0, address: None };
        Strings::of(&[Carrier { kind: segment, data, offset: 0 }], |_| false)
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
