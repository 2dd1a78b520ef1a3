//! Seeing through spellings: escapes are decoded, compatibility forms folded, invisible characters dropped.
//!
//! Used to look for something, never to change a text: each folded byte remembers which bytes it came from.

use unicode_normalization::UnicodeNormalization;

/// A text as it reads once one layer of escapes is undone.
pub(crate) struct Folded {
    /// The folded bytes.
    pub(crate) bytes: Vec<u8>,
    /// Where the two texts part, in order; between them both go on byte by byte.
    edits: Vec<Edit>,
}

/// A spelling that was undone: `from` (in the input) became `to` (in the folded bytes).
struct Edit {
    from: (usize, usize),
    to: (usize, usize),
}

impl Folded {
    /// The input range that gave the folded range `start..end`.
    pub(crate) fn origin(&self, start: usize, end: usize) -> (usize, usize) {
        (self.locate(start).0, self.locate(end - 1).1)
    }

    /// The input range that gave one folded byte.
    fn locate(&self, at: usize) -> (usize, usize) {
        let before = self.edits.partition_point(|edit| edit.to.0 <= at);
        let Some(edit) = before.checked_sub(1).and_then(|index| self.edits.get(index)) else { return (at, at + 1) };
        if at < edit.to.1 {
            return edit.from;
        }
        let place = edit.from.1 + (at - edit.to.1);
        (place, place + 1)
    }
}

/// Most layers of escapes that are undone (`%2573` is two).
pub(crate) const MAX_LAYERS: usize = 3;

/// `input` with one layer of percent, HTML, backslash and compatibility spelling undone; `None` where that changes
/// nothing, which is the usual case and allocates nothing.
pub(crate) fn fold(input: &[u8]) -> Option<Folded> {
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
            let start = folded.bytes.len();
            folded.bytes.extend_from_slice(text.as_bytes());
            folded.edits.push(Edit { from: (at, at + len), to: (start, folded.bytes.len()) });
            copied = at + len;
        }
        at += len;
    }
    if let Some(folded) = &mut folded {
        folded.bytes.extend_from_slice(&input[copied..]);
    }
    folded
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
    if !is_ignorable(c) {
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

/// Default_Ignorable_Code_Point of Unicode 16 (DerivedCoreProperties.txt).
pub(crate) fn is_ignorable(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_layer_of_every_spelling_is_undone() {
        let check = |input: &str, expected: Option<&str>| {
            let folded = fold(input.as_bytes()).map(|folded| String::from_utf8_lossy(&folded.bytes).into_owned());
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
        let folded = fold(b"ab%63%64ef").unwrap();
        assert_eq!(folded.bytes, b"abcdef");
        assert_eq!(folded.origin(2, 4), (2, 8));
        assert_eq!(folded.origin(1, 5), (1, 9));
    }
}
