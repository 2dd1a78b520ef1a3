//! Seeing through spellings: escapes are decoded, compatibility forms folded, invisible characters dropped.
//!
//! Used to look for something, never to change a text: each folded byte remembers which bytes it came from.

use sophon_types::is_invisible;
use unicode_normalization::UnicodeNormalization;

/// A text as it reads once one layer of escapes is undone.
pub(crate) struct Folded {
    /// The folded bytes.
    pub(crate) bytes: Vec<u8>,
    /// Where the two texts part, in order; between them both go on byte by byte.
    edits: Vec<Edit>,
}

/// Spellings in a row, each of which was undone alike: `count` times `from_len` bytes of the input, from `from` on,
/// became `to_len` folded bytes, from `to` on. Twelve bytes, because hostile text is made of nothing else.
struct Edit {
    from: u32,
    to: u32,
    count: u16,
    from_len: u8,
    to_len: u8,
}

impl Edit {
    fn ends(&self) -> (usize, usize) {
        let count = usize::from(self.count);
        (self.from as usize + count * usize::from(self.from_len), self.to as usize + count * usize::from(self.to_len))
    }

    /// Whether it could be made one longer by an edit of these lengths at these places.
    fn goes_on(&self, at: (usize, usize), lengths: (u8, u8)) -> bool {
        self.ends() == at && (self.from_len, self.to_len) == lengths && self.count < u16::MAX
    }
}

impl Folded {
    /// The input range that gave the folded range `start..end`.
    pub(crate) fn origin(&self, start: usize, end: usize) -> (usize, usize) {
        (self.locate(start).0, self.locate(end - 1).1)
    }

    /// The input range that gave one folded byte.
    fn locate(&self, at: usize) -> (usize, usize) {
        let before = self.edits.partition_point(|edit| edit.to as usize <= at);
        let Some(edit) = before.checked_sub(1).and_then(|index| self.edits.get(index)) else { return (at, at + 1) };
        let (from, to) = edit.ends();
        if at < to {
            let which = (at - edit.to as usize) / usize::from(edit.to_len);
            let start = edit.from as usize + which * usize::from(edit.from_len);
            return (start, start + usize::from(edit.from_len));
        }
        let place = from + (at - to);
        (place, place + 1)
    }

    /// `None` where there is no room for it.
    fn edit(&mut self, from: (usize, usize), text: &[u8], budget: &mut Budget) -> Option<()> {
        let to = self.bytes.len();
        self.bytes.extend_from_slice(text);
        let lengths = (u8::try_from(from.1).ok()?, u8::try_from(text.len()).ok()?);
        if let Some(last) = self.edits.last_mut().filter(|last| last.goes_on((from.0, to), lengths)) {
            last.count += 1;
            return Some(());
        }
        budget.0 = budget.0.checked_sub(1)?;
        let (from, to) = (u32::try_from(from.0).ok()?, u32::try_from(to).ok()?);
        self.edits.push(Edit { from, to, count: 1, from_len: lengths.0, to_len: lengths.1 });
        Some(())
    }
}

/// Most layers of escapes that are undone (`%2573` is two).
pub(crate) const MAX_LAYERS: usize = 3;

/// Most edits that are remembered for one text, all layers together: 24 MiB.
pub(crate) const MAX_EDITS: usize = 2 * 1024 * 1024;

/// How many edits may still be remembered.
pub(crate) struct Budget(usize);

impl Budget {
    pub(crate) const fn new() -> Self {
        Self(MAX_EDITS)
    }
}

/// There are more escapes, or they grow to more text, than may be looked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMuch;

/// `input` with one layer of percent, HTML, backslash and compatibility spelling undone; `None` where that changes
/// nothing, which is the usual case and allocates nothing.
pub(crate) fn fold(input: &[u8], budget: &mut Budget) -> Result<Option<Folded>, TooMuch> {
    // Some compatibility forms are ten times as long as their character.
    let most = 2 * input.len() + 1024;
    let mut folded: Option<Folded> = None;
    let (mut at, mut copied) = (0, 0);
    while let Some(next) = input[at..].iter().position(|b| matches!(b, b'%' | b'&' | b'\\' | 0x80..)) {
        at += next;
        let Some(Undone { len, text }) = undo(input, at) else {
            at += 1;
            continue;
        };
        let spelled = &input[at..at + len];
        if text.as_bytes() != spelled {
            let folded =
                folded.get_or_insert_with(|| Folded { bytes: Vec::with_capacity(input.len()), edits: Vec::new() });
            folded.bytes.extend_from_slice(&input[copied..at]);
            folded.edit((at, len), text.as_bytes(), budget).ok_or(TooMuch)?;
            if folded.bytes.len() > most {
                return Err(TooMuch);
            }
            copied = at + len;
        }
        at += len;
    }
    if let Some(folded) = &mut folded {
        folded.bytes.extend_from_slice(&input[copied..]);
    }
    Ok(folded)
}

/// A spelling of `len` bytes and what it stands for.
struct Undone {
    len: usize,
    text: Short,
}

/// A few bytes without an allocation; compatibility forms give at most 18 letters, of which three bytes each fit.
struct Short {
    bytes: [u8; 56],
    len: usize,
}

impl Short {
    fn new() -> Self {
        Self { bytes: [0; 56], len: 0 }
    }

    fn of(c: char) -> Self {
        let mut short = Self::new();
        short.push(c);
        short
    }

    fn push(&mut self, c: char) {
        if let Some(room) = self.bytes.get_mut(self.len..self.len + c.len_utf8()) {
            self.len += c.encode_utf8(room).len();
        }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

fn undo(input: &[u8], at: usize) -> Option<Undone> {
    match input[at] {
        b'%' => {
            let byte = u8::try_from(number(input.get(at + 1..at + 3)?, 16)?).ok()?;
            let mut text = Short::new();
            // One byte of what may be a longer character: the next layer sees it whole.
            text.bytes[0] = byte;
            text.len = 1;
            Some(Undone { len: 3, text })
        }
        b'&' => entity(input, at),
        b'\\' => backslash(input, at),
        _ => wide(input, at),
    }
}

fn entity(input: &[u8], at: usize) -> Option<Undone> {
    const NAMED: &[(&str, char)] = &[
        ("amp", '&'),
        ("lt", '<'),
        ("gt", '>'),
        ("quot", '"'),
        ("apos", '\''),
        ("lowbar", '_'),
        ("plus", '+'),
        ("equals", '='),
        ("sol", '/'),
        ("period", '.'),
        ("colon", ':'),
        ("dollar", '$'),
        ("percnt", '%'),
        ("num", '#'),
        ("excl", '!'),
        ("commat", '@'),
        ("ast", '*'),
    ];
    let rest = &input[at + 1..input.len().min(at + 16)];
    let (c, len) = if let Some(digits) = rest.strip_prefix(b"#x").or_else(|| rest.strip_prefix(b"#X")) {
        let len = digits.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        (char::from_u32(number(&digits[..len], 16)?)?, 3 + len)
    } else if let Some(digits) = rest.strip_prefix(b"#") {
        let len = digits.iter().take_while(|b| b.is_ascii_digit()).count();
        (char::from_u32(number(&digits[..len], 10)?)?, 2 + len)
    } else {
        let (name, c) = NAMED
            .iter()
            .find(|(name, _)| rest.strip_prefix(name.as_bytes()).is_some_and(|after| after.first() == Some(&b';')))?;
        (*c, 1 + name.len())
    };
    let len = len + usize::from(input.get(at + len) == Some(&b';'));
    Some(Undone { len, text: Short::of(c) })
}

fn backslash(input: &[u8], at: usize) -> Option<Undone> {
    let hex = |from: usize, count: usize| {
        let digits = input.get(at + from..at + from + count)?;
        Some((char::from_u32(number(digits, 16)?)?, from + count))
    };
    let (c, len) = match *input.get(at + 1)? {
        b'u' if input.get(at + 2) == Some(&b'{') => {
            let end = input[at + 3..].iter().take(7).position(|b| *b == b'}')?;
            let (c, len) = hex(3, end)?;
            (c, len + 1)
        }
        b'u' => hex(2, 4)?,
        b'U' => hex(2, 8)?,
        b'x' => hex(2, 2)?,
        b'0'..=b'3' => (char::from_u32(number(input.get(at + 1..at + 4)?, 8)?)?, 4),
        b'n' => ('\n', 2),
        b'r' => ('\r', 2),
        b't' => ('\t', 2),
        b'b' => ('\u{8}', 2),
        b'f' => ('\u{c}', 2),
        c @ (b'/' | b'\\' | b'"' | b'\'' | b'-' | b'_' | b'+' | b'=' | b'.') => (char::from(c), 2),
        _ => return None,
    };
    Some(Undone { len, text: Short::of(c) })
}

fn wide(input: &[u8], at: usize) -> Option<Undone> {
    let chunk = &input[at..input.len().min(at + 4)];
    let valid = match std::str::from_utf8(chunk) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&chunk[..error.valid_up_to()]).unwrap_or_default(),
    };
    let c = valid.chars().next()?;
    let mut text = Short::new();
    if !is_invisible(c) {
        std::iter::once(c).nfkc().for_each(|folded| text.push(folded));
    }
    Some(Undone { len: c.len_utf8(), text })
}

/// `digits` in base `radix`; `None` where there is none, or one is no digit, or they are too many.
fn number(digits: &[u8], radix: u32) -> Option<u32> {
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    digits.iter().try_fold(0_u32, |sum, b| sum.checked_mul(radix)?.checked_add(char::from(*b).to_digit(radix)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(input: &[u8]) -> Option<Folded> {
        fold(input, &mut Budget::new()).unwrap()
    }

    #[test]
    fn one_layer_of_every_spelling_is_undone() {
        let check = |input: &str, expected: Option<&str>| {
            let folded = folded(input.as_bytes()).map(|folded| String::from_utf8_lossy(&folded.bytes).into_owned());
            assert_eq!(folded.as_deref(), expected, "{input}");
        };
        check("plain text, nothing to undo", None);
        check("100% sure & \\ more é", None);
        check("%73%6B", Some("sk"));
        check("%2573", Some("%73"));
        check("&#115;&#x6b;&#107 &amp;", Some("skk &"));
        check(r"\u0073\x6b\u{6b}\163\n", Some("skks\n"));
        check("s\u{200b}k", Some("sk"));
        check("ｓｋ＿", Some("sk_"));
        check("%zz &unknown; \\q é \\u12", None);
    }

    #[test]
    fn folded_bytes_know_their_origin() {
        let folded = folded(b"ab%63%64ef").unwrap();
        assert_eq!(folded.bytes, b"abcdef");
        assert_eq!(folded.origin(2, 4), (2, 8));
        assert_eq!(folded.origin(1, 5), (1, 9));
    }

    #[test]
    fn every_folded_byte_knows_its_origin_however_long_the_run() {
        // What is undone here is never longer than what it came from, so that the origin can be counted by hand.
        let check = |unit: &str, times: usize, edits: usize| {
            let input = format!("ab{}c%64", unit.repeat(times));
            let folded = folded(input.as_bytes()).unwrap();
            assert_eq!(folded.edits.len(), edits, "{unit}");
            let alone = super::fold(unit.as_bytes(), &mut Budget::new()).unwrap().unwrap();
            let each = alone.bytes.len();
            for k in [0, 1, 2, times / 2, times - 1] {
                for byte in 0..each {
                    let at = 2 + k * each + byte;
                    let (start, end) = alone.origin(byte, byte + 1);
                    assert_eq!(folded.origin(at, at + 1), (2 + k * unit.len() + start, 2 + k * unit.len() + end));
                }
            }
            let c = folded.bytes.len() - 2;
            assert_eq!(folded.origin(c, c + 2), (input.len() - 4, input.len()), "{unit}");
        };
        check("%41", 1000, 2);
        check(r"\\", 70_000, 3);
        check("%41x", 100, 101);
        check("\u{ff01}", 100, 2);
        check("x\u{200b}", 100, 101);
        check("\u{2026}", 100, 2);
    }

    #[test]
    fn folding_stays_within_its_bounds() {
        assert_eq!(size_of::<Edit>(), 12);
        let check = |input: &str, budget: usize, within: bool| {
            assert_eq!(fold(input.as_bytes(), &mut Budget(budget)).is_ok(), within, "{input:.20}");
        };
        check(&"%41".repeat(100), 1, true);
        check(&r"\n%41".repeat(5), 9, false);
        check(&r"\n%41".repeat(5), 10, true);
        // One character that folds to eighteen.
        check(&"\u{fdfa}".repeat(20), 1, true);
        check(&"\u{fdfa}".repeat(5000), 1, false);
    }
}
