//! Secrets that the host knows, found in whatever spelling they come back in.
//!
//! An encoding with 16 or more letters and digits is looked for in a *compact* view of the text: letters and digits
//! only, in lower case. One automaton over the compact forms then sees through case, line wraps, separators (hex dumps,
//! spaced letters) and base64 variants at once. Shorter ones are looked for byte for byte. Both are repeated on the
//! text with up to three layers of escapes undone ([`fold`]).
//!
//! What is not found: compressed or encrypted copies, and parts shorter than half. Copies of a secret are wiped when
//! dropped, except those inside the automata, which their library gives no way to wipe.

use crate::fold::{self, Folded, fold};
use crate::stream::StreamRedactor;
use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Secrets shorter than this are not looked for: replacing them would destroy ordinary text. The vault refuses to keep one.
pub const MIN_SECRET_BYTES: usize = 8;

/// Shortest compact form that is looked for; below it, the compact view would join words of prose into a match.
const MIN_COMPACT: usize = 16;

/// How a secret was spelled where it was found. Escapes (percent, HTML, `\u`) are undone first and not told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Encoding {
    /// As it is, or with other case or separators.
    Plain,
    /// Back to front.
    Reversed,
    /// Hexadecimal.
    Hex,
    /// Base64, standard or URL-safe, at any alignment.
    Base64,
    /// Base64 of base64.
    Base64Twice,
    /// Base32, at any alignment.
    Base32,
    /// Decimal byte values.
    Decimal,
    /// Letters rotated by 13.
    Rot13,
    /// The first or second half alone.
    Half,
}

/// A secret that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// The secret's label.
    pub label: Arc<str>,
    /// How it was spelled.
    pub encoding: Encoding,
}

/// Bytes in which every known secret is replaced by `[redacted:LABEL]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redaction<'a> {
    /// The bytes; borrowed where nothing was found.
    pub bytes: Cow<'a, [u8]>,
    /// What was found, in order.
    pub hits: Vec<Hit>,
}

/// Text in which every known secret is replaced by `[redacted:LABEL]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextRedaction<'a> {
    /// The text; borrowed where nothing was found.
    pub text: Cow<'a, str>,
    /// What was found, in order.
    pub hits: Vec<Hit>,
}

/// A set of secrets, ready to be looked for. Cheap to clone and to merge.
#[derive(Clone, Default)]
pub struct KnownSecrets {
    secrets: Arc<[Arc<Secret>]>,
}

/// Collects secrets for [`KnownSecrets`].
#[derive(Default)]
pub struct KnownSecretsBuilder {
    secrets: Vec<Arc<Secret>>,
}

impl KnownSecretsBuilder {
    /// Adds `secret`, to be shown as `label` (such as `github.token`; never the secret). Secrets shorter than
    /// [`MIN_SECRET_BYTES`] are left out.
    #[must_use]
    pub fn add(mut self, label: &str, secret: &[u8]) -> Self {
        if secret.len() >= MIN_SECRET_BYTES {
            self.secrets.push(Arc::new(Secret::new(label, secret)));
        }
        self
    }

    /// The set.
    #[must_use]
    pub fn build(self) -> KnownSecrets {
        KnownSecrets { secrets: self.secrets.into() }
    }
}

impl KnownSecrets {
    /// The empty set: finds nothing, costs nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// A set to be filled.
    #[must_use]
    pub fn builder() -> KnownSecretsBuilder {
        KnownSecretsBuilder::default()
    }

    /// All secrets of `sets`.
    #[must_use]
    pub fn merge(sets: &[&Self]) -> Self {
        Self { secrets: sets.iter().flat_map(|set| set.secrets.iter().cloned()).collect() }
    }

    /// Whether there is nothing to look for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }

    /// The first secret in `bytes`, if there is one.
    #[must_use]
    pub fn find(&self, bytes: &[u8]) -> Option<Hit> {
        self.ranges(bytes).into_iter().next().map(|range| range.hit)
    }

    /// `bytes` without secrets.
    #[must_use]
    pub fn redact<'a>(&self, bytes: &'a [u8]) -> Redaction<'a> {
        let ranges = self.ranges(bytes);
        if ranges.is_empty() {
            return Redaction { bytes: Cow::Borrowed(bytes), hits: Vec::new() };
        }
        let (out, hits) = replace(bytes, ranges);
        Redaction { bytes: Cow::Owned(out), hits }
    }

    /// `text` without secrets.
    #[must_use]
    pub fn redact_text<'a>(&self, text: &'a str) -> TextRedaction<'a> {
        let mut ranges = self.ranges(text.as_bytes());
        if ranges.is_empty() {
            return TextRedaction { text: Cow::Borrowed(text), hits: Vec::new() };
        }
        for range in &mut ranges {
            range.start = text.floor_char_boundary(range.start);
            range.end = text.ceil_char_boundary(range.end);
        }
        let (out, hits) = replace(text.as_bytes(), merged(ranges));
        TextRedaction { text: Cow::Owned(String::from_utf8_lossy(&out).into_owned()), hits }
    }

    /// Redacts bytes that arrive in pieces; a secret across pieces is found all the same.
    #[must_use]
    pub fn stream(&self) -> StreamRedactor {
        StreamRedactor::new(self.clone())
    }

    /// Bytes that the longest secret may take in a reasonable spelling: sixteen for each byte of it.
    pub(crate) fn window(&self) -> usize {
        16 * self.secrets.iter().map(|secret| secret.len).max().unwrap_or(0) + 64
    }

    /// Where secrets are in `bytes`: in order, not overlapping.
    pub(crate) fn ranges(&self, bytes: &[u8]) -> Vec<Range> {
        if self.is_empty() || bytes.len() < MIN_SECRET_BYTES {
            return Vec::new();
        }
        let mut ranges = Vec::new();
        let mut compact = Zeroizing::new(Vec::new());
        self.view(bytes, &mut compact, &mut ranges, |start, end| (start, end));
        // Each layer maps to the one before it.
        let mut layers: Vec<Folded> = Vec::new();
        while layers.len() < fold::MAX_LAYERS {
            let Some(folded) = fold(layers.last().map_or(bytes, |layer| &layer.bytes)) else { break };
            layers.push(folded);
            let Some(top) = layers.last() else { break };
            self.view(&top.bytes, &mut compact, &mut ranges, |start, end| {
                layers.iter().rev().fold((start, end), |(start, end), layer| layer.origin(start, end))
            });
        }
        merged(ranges)
    }

    fn view(
        &self,
        bytes: &[u8],
        compact: &mut Vec<u8>,
        ranges: &mut Vec<Range>,
        origin: impl Fn(usize, usize) -> (usize, usize),
    ) {
        squeeze(bytes, compact);
        for secret in self.secrets.iter() {
            let mut found: Vec<(usize, usize, Encoding)> = Vec::new();
            if let Some(direct) = &secret.direct {
                found.extend(direct.find(bytes));
            }
            if let Some(patterns) = &secret.compact {
                let squeezed: Vec<_> = patterns.find(compact).collect();
                found.extend(unsqueeze(bytes, squeezed).map(|hit| secret.with_edges(bytes, hit)));
            }
            ranges.extend(found.into_iter().map(|(start, end, encoding)| {
                let (start, end) = origin(start, end);
                Range { start, end, hit: Hit { label: secret.label.clone(), encoding } }
            }));
        }
    }
}

impl fmt::Debug for KnownSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.secrets.iter().map(|secret| &secret.label)).finish()
    }
}

impl fmt::Debug for KnownSecretsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.secrets.iter().map(|secret| &secret.label)).finish()
    }
}

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) hit: Hit,
}

/// In order, and joined where they overlap.
fn merged(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.sort_by_key(|range| (range.start, std::cmp::Reverse(range.end)));
    let mut out: Vec<Range> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match out.last_mut() {
            Some(last) if range.start < last.end => last.end = last.end.max(range.end),
            _ => out.push(range),
        }
    }
    out
}

/// `bytes` with each range replaced by its mark.
pub(crate) fn replace(bytes: &[u8], ranges: Vec<Range>) -> (Vec<u8>, Vec<Hit>) {
    let mut out = Vec::with_capacity(bytes.len());
    let mut hits = Vec::with_capacity(ranges.len());
    let mut at = 0;
    for range in ranges {
        out.extend_from_slice(&bytes[at..range.start]);
        out.extend_from_slice(mark(&range.hit.label).as_bytes());
        at = range.end;
        hits.push(range.hit);
    }
    out.extend_from_slice(&bytes[at..]);
    (out, hits)
}

/// What stands where a secret was.
pub(crate) fn mark(label: &str) -> String {
    format!("[redacted:{label}]")
}

/// One secret with its automata.
struct Secret {
    label: Arc<str>,
    len: usize,
    /// Punctuation before the first and after the last letter or digit, which the compact view does not see.
    edges: (Zeroizing<Vec<u8>>, Zeroizing<Vec<u8>>),
    direct: Option<Patterns>,
    compact: Option<Patterns>,
}

impl Secret {
    fn new(label: &str, secret: &[u8]) -> Self {
        let spellings = spellings(secret);
        let kept = |b: &u8| KEPT[usize::from(*b)] != 0;
        let head = secret.iter().position(kept).unwrap_or(secret.len());
        let tail = secret.iter().rposition(kept).map_or(secret.len(), |at| at + 1);
        let (mut direct, mut compact) = (Vec::new(), Vec::new());
        for (encoding, bytes) in spellings {
            let mut squeezed = Zeroizing::new(Vec::new());
            squeeze(&bytes, &mut squeezed);
            if squeezed.len() >= MIN_COMPACT {
                compact.push((encoding, squeezed));
            } else if bytes.len() >= MIN_SECRET_BYTES {
                direct.push((encoding, bytes));
            }
        }
        // The label is shown to models: it must not be able to say more than a name.
        let label: String = label.chars().map(|c| if c.is_ascii_graphic() && c != ']' { c } else { '_' }).collect();
        Self {
            label: label.into(),
            len: secret.len(),
            edges: (Zeroizing::new(secret[..head].to_vec()), Zeroizing::new(secret[tail..].to_vec())),
            direct: (!direct.is_empty()).then(|| Patterns::new(&direct)),
            compact: (!compact.is_empty()).then(|| Patterns::new(&compact)),
        }
    }

    /// A hit of the compact view, widened by the secret's own punctuation where that is there too.
    fn with_edges(
        &self,
        bytes: &[u8],
        (mut start, mut end, encoding): (usize, usize, Encoding),
    ) -> (usize, usize, Encoding) {
        if bytes[..start].ends_with(&self.edges.0) {
            start -= self.edges.0.len();
        }
        if bytes[end..].starts_with(&self.edges.1) {
            end += self.edges.1.len();
        }
        (start, end, encoding)
    }
}

/// An automaton and what each of its patterns is.
struct Patterns {
    automaton: Option<AhoCorasick>,
    encodings: Vec<Encoding>,
}

impl Patterns {
    fn new(patterns: &[(Encoding, Zeroizing<Vec<u8>>)]) -> Self {
        let encodings = patterns.iter().map(|(encoding, _)| *encoding).collect();
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            // A few hundred states, built for one call: the contiguous NFA is built in a tenth of a DFA's time.
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(patterns.iter().map(|(_, bytes)| bytes.as_slice()))
            .ok();
        Self { automaton, encodings }
    }

    fn find<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = (usize, usize, Encoding)> + 'a {
        self.automaton
            .iter()
            .flat_map(move |automaton| automaton.find_iter(bytes))
            .map(|found| (found.start(), found.end(), self.encodings[found.pattern().as_usize()]))
    }
}

/// What the compact view keeps of each byte: letters in lower case, digits, and bytes beyond ASCII; 0 is dropped.
static KEPT: [u8; 256] = {
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
fn squeeze(bytes: &[u8], out: &mut Vec<u8>) {
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

/// Hits in the compact view of `bytes`, in order, as hits in `bytes`.
fn unsqueeze(bytes: &[u8], hits: Vec<(usize, usize, Encoding)>) -> impl Iterator<Item = (usize, usize, Encoding)> + '_ {
    let mut kept = bytes.iter().enumerate().filter(|(_, b)| KEPT[usize::from(**b)] != 0).map(|(at, _)| at);
    let mut next = 0;
    hits.into_iter().filter_map(move |(start, end, encoding)| {
        let first = kept.nth(start - next)?;
        // A pattern has at least MIN_COMPACT bytes, so its last byte comes after its first.
        let last = kept.nth(end - start - 2)?;
        next = end;
        Some((first, last + 1, encoding))
    })
}

/// The secret in every encoding that one layer of undoing escapes does not already show.
fn spellings(secret: &[u8]) -> Vec<(Encoding, Zeroizing<Vec<u8>>)> {
    let mut out: Vec<(Encoding, Zeroizing<Vec<u8>>)> = Vec::with_capacity(32);
    let mut add = |encoding, bytes: Vec<u8>| out.push((encoding, Zeroizing::new(bytes)));
    add(Encoding::Plain, secret.to_vec());
    // A text may be stored in another normal form than the secret.
    if let Some(folded) = fold(secret) {
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
