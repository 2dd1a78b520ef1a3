//! Does a value look like it was drawn at random, or like something a person wrote?

/// Shannon entropy of the bytes of `value`, in bits a byte.
pub(super) fn entropy(value: &[u8]) -> f32 {
    let mut counts = [0_u32; 256];
    for byte in value {
        counts[usize::from(*byte)] += 1;
    }
    #[expect(clippy::cast_precision_loss, reason = "lengths of tokens are far below 2^24")]
    let total = value.len() as f32;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| {
            #[expect(clippy::cast_precision_loss, reason = "lengths of tokens are far below 2^24")]
            let share = *count as f32 / total;
            -share * share.log2()
        })
        .sum()
}

/// Whether `value` is filler: one character repeated, a counting or alphabetical row, the same group again and again, or
/// an admission in words.
pub(super) fn is_placeholder(value: &[u8]) -> bool {
    const ADMISSIONS: &[&[u8]] = &[
        b"example",
        b"your",
        b"changeme",
        b"change_me",
        b"placeholder",
        b"redacted",
        b"dummy",
        b"insert",
        b"replace",
        b"fake",
        b"secret_here",
        b"xxxxx",
        b"*****",
        b"<",
        b"${",
        b"{{",
        b"$(",
    ];
    let lower = value.to_ascii_lowercase();
    if ADMISSIONS.iter().any(|words| lower.windows(words.len()).any(|window| window == *words)) {
        return true;
    }
    if repeats_a_group(&lower) {
        return true;
    }
    // Steps of 0 or ±1 between neighbours: rare in a random value (one in twelve), the rule in a written row.
    let steps = lower.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) <= 1).count();
    lower.len() >= 8 && steps * 2 >= lower.len()
}

/// Whether one group between separators stands three times in a row: `1234-1234-1234`. Even three
/// groups of three digits are the same by chance only once in a million.
fn repeats_a_group(value: &[u8]) -> bool {
    let groups: Vec<&[u8]> = value.split(|byte| matches!(byte, b'-' | b'_' | b'.' | b':')).collect();
    groups.windows(3).any(|three| three[0].len() >= 3 && three[0] == three[1] && three[1] == three[2])
}

/// Whether `value` was crossed out, or is a stretch of DNA (whose letters look like base32).
pub(super) fn is_crossed_out(value: &[u8]) -> bool {
    value.windows(5).any(|w| w.eq_ignore_ascii_case(b"xxxxx") || w == b"*****")
        || value.iter().all(|b| matches!(b, b'A' | b'C' | b'G' | b'T'))
}

/// What the characters of a value are.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Makeup {
    pub(super) digits: usize,
    pub(super) lower: usize,
    pub(super) upper: usize,
    pub(super) other: usize,
    hex: usize,
    /// Neighbours of different kinds: many in a random value, few in words joined together.
    turns: usize,
    /// The longest stretch of letters and digits.
    pub(super) stretch: usize,
}

impl Makeup {
    pub(super) fn of(value: &[u8]) -> Self {
        let mut makeup = Self::default();
        let mut last = 0;
        let mut stretch = 0;
        for (at, byte) in value.iter().enumerate() {
            let kind = match byte {
                b'0'..=b'9' => {
                    makeup.digits += 1;
                    1
                }
                b'a'..=b'z' => {
                    makeup.lower += 1;
                    2
                }
                b'A'..=b'Z' => {
                    makeup.upper += 1;
                    3
                }
                _ => {
                    makeup.other += 1;
                    4
                }
            };
            makeup.hex += usize::from(byte.is_ascii_hexdigit());
            // A capital before a small letter is how words are written, also when they are joined.
            let word = kind == 2 && last == 3
                || kind == 3 && last == 2 && value.get(at + 1).is_some_and(u8::is_ascii_lowercase);
            makeup.turns += usize::from(last != 0 && last != kind && !word && last != 4 && kind != 4);
            stretch = if kind == 4 { 0 } else { stretch + 1 };
            makeup.stretch = makeup.stretch.max(stretch);
            last = kind;
        }
        makeup
    }

    /// Hexadecimal digits of one case (no encoder mixes them), beside separators.
    pub(super) fn is_hex(self) -> bool {
        self.hex == self.digits + self.lower + self.upper && (self.lower == 0 || self.upper == 0)
    }

    fn is_mixed_case_hex(self) -> bool {
        self.hex == self.digits + self.lower + self.upper && self.lower > 0 && self.upper > 0
    }

    /// All but a few characters of a long value are hexadecimal digits: a digest with something attached to it. What is
    /// drawn from all letters and digits has one hexadecimal digit in three characters.
    fn is_almost_hex(self) -> bool {
        let all = self.digits + self.lower + self.upper;
        self.other == 0 && all >= 32 && self.hex < all && self.hex * 10 >= all * 9
    }

    fn letters(self) -> usize {
        self.lower + self.upper
    }
}

/// `8-4-4-4-12` hexadecimal digits.
pub(super) fn is_uuid(value: &[u8]) -> bool {
    value.len() == 36
        && value.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Whether `value` looks drawn at random, given that it stands where a credential of a service would stand.
pub(super) fn looks_random(value: &[u8]) -> bool {
    if value.len() < 14 || is_placeholder(value) {
        return false;
    }
    if is_uuid(value) {
        return entropy(value) >= 2.5;
    }
    let makeup = Makeup::of(value);
    if makeup.other == 0 && makeup.letters() == 0 {
        return value.len() >= 15 && entropy(value) >= 2.2;
    }
    if makeup.digits == 0 || makeup.is_mixed_case_hex() || makeup.is_almost_hex() {
        return false;
    }
    if makeup.is_hex() {
        return value.len() >= 16 && makeup.stretch >= 8 && entropy(value) >= 2.6;
    }
    // A random value turns from letters to digits and back every few characters.
    makeup.stretch >= 10 && makeup.turns * 8 >= value.len() && entropy(value) >= floor(value.len())
}

/// Like [`looks_random`], for values that a mere word such as `token` announces: more must speak for it.
pub(super) fn looks_secret(value: &[u8]) -> bool {
    let makeup = Makeup::of(value);
    value.len() >= 16 && looks_random(value) && makeup.letters() > 0 && (makeup.is_hex() || entropy(value) >= 3.3)
}

/// Whether `value` could be a password that a generator made: letters and digits, or cases, in turn.
pub(super) fn looks_generated(value: &[u8]) -> bool {
    let makeup = Makeup::of(value);
    (8..=64).contains(&value.len())
        && !is_placeholder(value)
        && makeup.letters() > 0
        && entropy(value) >= 2.5
        && (makeup.turns >= 3 || makeup.digits > 0 && makeup.turns >= 2 && makeup.other > 0)
}

/// Least entropy that a random value of `len` letters and digits has, but for one in a hundred.
fn floor(len: usize) -> f32 {
    match len {
        0..16 => 2.8,
        16..24 => 3.0,
        24..40 => 3.4,
        _ => 3.7,
    }
}
