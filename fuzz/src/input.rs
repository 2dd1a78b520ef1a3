//! An input, taken apart from the front. Texts are separated by line feeds, so that a seed can be read and written.

/// What is left of an input.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// All of it.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether nothing is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte; 0 at the end.
    pub fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    /// The next two bytes as a number below `bound`; 0 where `bound` is.
    pub fn below(&mut self, bound: usize) -> usize {
        let number = usize::from(self.byte()) << 8 | usize::from(self.byte());
        number.checked_rem(bound).unwrap_or_default()
    }

    /// At most `most` bytes.
    pub fn take(&mut self, most: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Up to the next line feed, which is dropped.
    pub fn line(&mut self) -> &'a [u8] {
        self.until(b"\n")
    }

    /// The next line where it is UTF-8, else nothing of it.
    pub fn text_line(&mut self) -> &'a str {
        std::str::from_utf8(self.line()).unwrap_or_default()
    }

    /// Up to `mark`, which is dropped.
    pub fn until(&mut self, mark: &[u8]) -> &'a [u8] {
        match self.0.windows(mark.len()).position(|window| window == mark) {
            Some(at) => {
                let taken = &self.0[..at];
                self.0 = &self.0[at + mark.len()..];
                taken
            }
            None => self.rest(),
        }
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// Changes `bytes` as the input says: sets, removes, inserts, repeats and moves, at most 16 times.
    pub fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..16 {
            if self.is_empty() || bytes.is_empty() {
                return;
            }
            let (kind, at) = (self.byte(), self.below(bytes.len()));
            match kind % 6 {
                0 => bytes[at] = self.byte(),
                1 => bytes[at] ^= 1 << (self.byte() % 8),
                2 => {
                    let to = bytes.len().min(at + 1 + usize::from(self.byte()));
                    bytes.drain(at..to);
                }
                3 => {
                    let most = usize::from(self.byte() % 16);
                    let inserted = self.take(most).to_vec();
                    bytes.splice(at..at, inserted);
                }
                4 => {
                    let to = bytes.len().min(at + 1 + usize::from(self.byte()));
                    let copy = bytes[at..to].to_vec();
                    let into = self.below(bytes.len());
                    bytes.splice(into..into, copy);
                }
                _ => bytes.truncate(at),
            }
        }
    }
}
