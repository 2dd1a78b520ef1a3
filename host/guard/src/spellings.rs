//! One secret in every spelling that is looked for.

use crate::fold::{Budget, fold};
use crate::known::Encoding;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Secrets shorter than this are not looked for: replacing them would destroy ordinary text. The vault refuses to keep one.
pub const MIN_SECRET_BYTES: usize = 8;

/// Shortest compact form that is looked for; below it, the compact view would join words of prose into a match.
const MIN_COMPACT: usize = 16;

/// A spelling and which encoding it is.
pub(crate) type Spelling = (Encoding, Zeroizing<Vec<u8>>);

/// One secret with its spellings; the automata are the set's.
pub(crate) struct Secret {
    pub(crate) label: Arc<str>,
    pub(crate) bytes: Zeroizing<Vec<u8>>,
    /// Punctuation before the first and after the last letter or digit, which the compact view does not see.
    edges: (Zeroizing<Vec<u8>>, Zeroizing<Vec<u8>>),
    /// Spellings that are looked for byte for byte.
    pub(crate) direct: Vec<Spelling>,
    /// Spellings that are looked for in the compact view.
    pub(crate) compact: Vec<Spelling>,
}

impl Secret {
    pub(crate) fn new(label: &str, secret: &[u8]) -> Self {
        let kept = |b: &u8| KEPT[usize::from(*b)] != 0;
        let head = secret.iter().position(kept).unwrap_or(secret.len());
        let tail = secret.iter().rposition(kept).map_or(secret.len(), |at| at + 1);
        let (mut direct, mut compact): (Vec<Spelling>, Vec<Spelling>) = (Vec::new(), Vec::new());
        for (encoding, bytes) in spellings(secret) {
            let mut squeezed = Zeroizing::new(Vec::new());
            squeeze(&bytes, &mut squeezed);
            let (spellings, bytes) = if squeezed.len() >= MIN_COMPACT {
                (&mut compact, squeezed)
            } else if bytes.len() >= MIN_SECRET_BYTES {
                (&mut direct, bytes)
            } else {
                continue;
            };
            // Many encodings differ in case or punctuation only.
            if !spellings.iter().any(|(_, known)| *known == bytes) {
                spellings.push((encoding, bytes));
            }
        }
        // The label is shown to models: it must not be able to say more than a name.
        let label: String = label.chars().map(|c| if c.is_ascii_graphic() && c != ']' { c } else { '_' }).collect();
        Self {
            label: label.into(),
            bytes: Zeroizing::new(secret.to_vec()),
            edges: (Zeroizing::new(secret[..head].to_vec()), Zeroizing::new(secret[tail..].to_vec())),
            direct,
            compact,
        }
    }

    /// The same without its halves.
    pub(crate) fn undivided(mut self) -> Self {
        for spellings in [&mut self.direct, &mut self.compact] {
            spellings.retain(|(encoding, _)| *encoding != Encoding::Half);
        }
        self
    }

    /// A hit of the compact view, widened by the secret's own punctuation where that is there too.
    pub(crate) fn with_edges(&self, bytes: &[u8], (mut start, mut end): (usize, usize)) -> (usize, usize) {
        if bytes[..start].ends_with(&self.edges.0) {
            start -= self.edges.0.len();
        }
        if bytes[end..].starts_with(&self.edges.1) {
            end += self.edges.1.len();
        }
        (start, end)
    }
}

/// What the compact view keeps of each byte: letters in lower case, digits, and bytes beyond ASCII; 0 is dropped.
pub(crate) static KEPT: [u8; 256] = {
    let mut table = [0_u8; 256];
    let mut byte = 0_u8;
    loop {
        if byte.is_ascii_alphanumeric() || byte >= 0x80 {
            table[byte as usize] = byte.to_ascii_lowercase();
        }
        if byte == 255 {
            break table;
        }
        byte += 1;
    }
};

/// The compact view of `bytes`, into `out`.
pub(crate) fn squeeze(bytes: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.resize(bytes.len(), 0);
    let mut len = 0;
    // No branch in the loop: text is half separators, and a mispredicted branch costs more than a store.
    for byte in bytes {
        let kept = KEPT[usize::from(*byte)];
        out[len] = kept;
        len += usize::from(kept != 0);
    }
    out.truncate(len);
}

/// The secret in every encoding that one layer of undoing escapes does not already show.
fn spellings(secret: &[u8]) -> Vec<Spelling> {
    let mut out: Vec<Spelling> = Vec::with_capacity(32);
    let mut add = |encoding, bytes: Vec<u8>| out.push((encoding, Zeroizing::new(bytes)));
    add(Encoding::Plain, secret.to_vec());
    // A text may be stored in another normal form than the secret.
    if let Ok(Some(folded)) = fold(secret, &mut Budget::new()) {
        add(Encoding::Plain, folded.bytes);
    }
    add(Encoding::Reversed, secret.iter().rev().copied().collect());
    add(Encoding::Hex, hex::encode(secret).into_bytes());
    add(Encoding::Hex, hex::encode_upper(secret).into_bytes());
    for lead in 0..3 {
        add(Encoding::Base64, core(secret, lead, 6, |bytes| STANDARD_NO_PAD.encode(bytes)));
        add(Encoding::Base64, core(secret, lead, 6, |bytes| URL_SAFE_NO_PAD.encode(bytes)));
    }
    let once = Zeroizing::new(STANDARD.encode(secret));
    for lead in 0..3 {
        add(Encoding::Base64Twice, core(once.as_bytes(), lead, 6, |bytes| STANDARD_NO_PAD.encode(bytes)));
    }
    for lead in 0..5 {
        let core = core(secret, lead, 5, base32);
        add(Encoding::Base32, core.to_ascii_lowercase());
        add(Encoding::Base32, core);
    }
    add(Encoding::Decimal, secret.iter().map(u8::to_string).collect::<Vec<_>>().join(",").into_bytes());
    add(Encoding::Rot13, secret.iter().map(|b| rot13(*b)).collect());
    if secret.len() >= 2 * MIN_COMPACT {
        let (first, second) = secret.split_at(secret.len() / 2);
        add(Encoding::Half, first.to_vec());
        add(Encoding::Half, second.to_vec());
    }
    out
}

/// The digits of `encode` that depend on `secret` alone when `lead` bytes stand before it and any number after.
fn core(secret: &[u8], lead: usize, bits: usize, encode: impl Fn(&[u8]) -> String) -> Vec<u8> {
    let mut padded = Zeroizing::new(vec![0; lead]);
    padded.extend_from_slice(secret);
    let digits = Zeroizing::new(encode(&padded).into_bytes());
    digits[(lead * 8).div_ceil(bits)..padded.len() * 8 / bits].to_vec()
}

/// RFC 4648 base32 without padding.
fn base32(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut out = String::with_capacity(bytes.len().div_ceil(5) * 8);
    let (mut buffer, mut have) = (0_u32, 0);
    for byte in bytes {
        buffer = (buffer << 8 | u32::from(*byte)) & 0xffff;
        have += 8;
        while have >= 5 {
            have -= 5;
            out.push(char::from(DIGITS[(buffer >> have & 31) as usize]));
        }
    }
    if have > 0 {
        out.push(char::from(DIGITS[(buffer << (5 - have) & 31) as usize]));
    }
    out
}

fn rot13(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' => (byte - b'a' + 13) % 26 + b'a',
        b'A'..=b'Z' => (byte - b'A' + 13) % 26 + b'A',
        _ => byte,
    }
}
