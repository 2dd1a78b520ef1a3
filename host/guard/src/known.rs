//! Secrets that the host knows, found in whatever spelling they come back in.
//!
//! An encoding with 16 or more letters and digits is looked for in a *compact* view of the text: letters and digits
//! only, in lower case. One automaton over the compact forms then sees through case, line wraps, separators (hex dumps,
//! spaced letters) and base64 variants at once. Shorter ones are looked for byte for byte. Both are repeated on the
//! text with up to three layers of escapes undone ([`fold`]).
//!
//! What is not found: compressed or encrypted copies, and parts shorter than half. A text that cannot be looked
//! through within bounds is withheld as a whole. Copies of a secret are wiped when dropped, except those inside the
//! automata, which their library gives no way to wipe.
//!
//! There is no redaction in pieces: a secret that is cut by the border of two chunks is whole again in the body, so
//! bodies are collected whole (within the limits of whoever reads them) and redacted whole.

use crate::automata::Automata;
use crate::fold::{self, Budget, Folded, TooMuch, fold};
use crate::spellings::{MIN_SECRET_BYTES, Secret};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, OnceLock};
use zeroize::Zeroizing;

/// The label of a text that was withheld.
const WITHHELD: &str = "unreadable-escapes";

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
    /// Not known: the text has so many escapes that it was withheld as a whole instead of looked through.
    Withheld,
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

/// A set of secrets, ready to be looked for. Cheap to clone and to merge; what it costs to look for them does not
/// depend on how many they are.
#[derive(Clone, Default)]
pub struct KnownSecrets {
    secrets: Arc<[Arc<Secret>]>,
    /// Built when the set is first used; `None` inside where it could not be built.
    automata: Arc<OnceLock<Option<Automata>>>,
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

    /// Adds `secret` as [`Self::add`] does, except that neither half of it is looked for alone: of a text whose beginning is
    /// no secret by itself.
    #[must_use]
    pub fn add_undivided(mut self, label: &str, secret: &[u8]) -> Self {
        if secret.len() >= MIN_SECRET_BYTES {
            self.secrets.push(Arc::new(Secret::new(label, secret).undivided()));
        }
        self
    }

    /// The set; a secret that was added twice under one label is in it once.
    #[must_use]
    pub fn build(self) -> KnownSecrets {
        KnownSecrets { secrets: distinct(self.secrets.iter()).into(), automata: Arc::default() }
    }
}

/// `secrets` without those that have both the label and the bytes of one before them.
fn distinct<'a>(secrets: impl Iterator<Item = &'a Arc<Secret>>) -> Vec<Arc<Secret>> {
    let mut seen = HashSet::new();
    secrets.filter(|secret| seen.insert((&*secret.label, secret.bytes.as_slice()))).cloned().collect()
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

    /// All secrets of `sets`, each once.
    #[must_use]
    pub fn merge(sets: &[&Self]) -> Self {
        let secrets = distinct(sets.iter().flat_map(|set| set.secrets.iter()));
        // A set that has them all has their automata too.
        match sets.iter().find(|set| set.secrets.len() == secrets.len()) {
            Some(set) => (*set).clone(),
            None => Self { secrets: secrets.into(), automata: Arc::default() },
        }
    }

    /// Whether this is the very set that `other` was cloned from, or the other way round. Two that were made apart are not,
    /// whatever they hold.
    #[must_use]
    pub fn is_clone_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.secrets, &other.secrets)
    }

    /// Whether there is nothing to look for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }

    /// The first secret in `bytes`, if there is one; also where there may be one that cannot be made out
    /// ([`Encoding::Withheld`]).
    #[must_use]
    pub fn find(&self, bytes: &[u8]) -> Option<Hit> {
        match self.ranges(bytes) {
            Ok(ranges) => ranges.into_iter().next().map(|range| range.hit),
            Err(TooMuch) => Some(withheld()),
        }
    }

    /// `bytes` without secrets. Bytes with so many escapes that they cannot be looked through are withheld as a whole.
    #[must_use]
    pub fn redact<'a>(&self, bytes: &'a [u8]) -> Redaction<'a> {
        let (out, hits) = match self.ranges(bytes) {
            Ok(ranges) if ranges.is_empty() => return Redaction { bytes: Cow::Borrowed(bytes), hits: Vec::new() },
            Ok(ranges) => replace(bytes, ranges),
            Err(TooMuch) => (mark(WITHHELD).into_bytes(), vec![withheld()]),
        };
        Redaction { bytes: Cow::Owned(out), hits }
    }

    /// `text` without secrets. Text with so many escapes that it cannot be looked through is withheld as a whole.
    #[must_use]
    pub fn redact_text<'a>(&self, text: &'a str) -> TextRedaction<'a> {
        let mut ranges = match self.ranges(text.as_bytes()) {
            Ok(ranges) if ranges.is_empty() => return TextRedaction { text: Cow::Borrowed(text), hits: Vec::new() },
            Ok(ranges) => ranges,
            Err(TooMuch) => return TextRedaction { text: Cow::Owned(mark(WITHHELD)), hits: vec![withheld()] },
        };
        for range in &mut ranges {
            range.start = text.floor_char_boundary(range.start);
            range.end = text.ceil_char_boundary(range.end);
        }
        let (out, hits) = replace(text.as_bytes(), merged(ranges));
        TextRedaction { text: Cow::Owned(String::from_utf8_lossy(&out).into_owned()), hits }
    }

    /// Where secrets are in `bytes`: in order, not overlapping. An error where that cannot be said.
    fn ranges(&self, bytes: &[u8]) -> Result<Vec<Range>, TooMuch> {
        if self.is_empty() || bytes.len() < MIN_SECRET_BYTES {
            return Ok(Vec::new());
        }
        let automata = self.automata.get_or_init(|| Automata::new(&self.secrets)).as_ref().ok_or(TooMuch)?;
        let mut ranges = Vec::new();
        let mut compact = Zeroizing::new(Vec::new());
        let mut view = |bytes: &[u8], layers: &[Folded]| {
            for found in automata.find(&self.secrets, bytes, &mut compact) {
                let (start, end) =
                    layers.iter().rev().fold((found.start, found.end), |(start, end), layer| layer.origin(start, end));
                let hit = Hit { label: self.secrets[found.secret].label.clone(), encoding: found.encoding };
                ranges.push(Range { start, end, hit });
            }
        };
        view(bytes, &[]);
        // Each layer maps to the one before it.
        let mut layers: Vec<Folded> = Vec::new();
        let mut budget = Budget::new();
        while layers.len() < fold::MAX_LAYERS {
            let Some(folded) = fold(layers.last().map_or(bytes, |layer| &layer.bytes), &mut budget)? else { break };
            layers.push(folded);
            if let Some(top) = layers.last() {
                view(&top.bytes, &layers);
            }
        }
        Ok(merged(ranges))
    }
}

/// What is said of a text that was withheld.
fn withheld() -> Hit {
    Hit { label: WITHHELD.into(), encoding: Encoding::Withheld }
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
struct Range {
    start: usize,
    end: usize,
    hit: Hit,
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
fn replace(bytes: &[u8], ranges: Vec<Range>) -> (Vec<u8>, Vec<Hit>) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_in_a_set_once_and_its_automata_are_kept() {
        let one = |label: &str| KnownSecrets::builder().add(label, b"skh_live_5bNLqtirsqPaayJs").build();
        let twice = KnownSecrets::builder().add("a", b"kP9s+q2V/T7m").add("a", b"kP9s+q2V/T7m").build();
        assert_eq!(twice.secrets.len(), 1);
        // A session that leases the same secret again and again.
        let mut session = KnownSecrets::merge(&[&twice, &one("b")]);
        assert!(session.find(b"skh_live_5bNLqtirsqPaayJs").is_some());
        let automata = session.automata.clone();
        assert!(automata.get().is_some());
        for _ in 0..1000 {
            session = KnownSecrets::merge(&[&session, &one("b")]);
        }
        assert_eq!(session.secrets.len(), 2);
        assert!(Arc::ptr_eq(&automata, &session.automata), "the automata were built again");
        // Other labels and other secrets are other entries, and none is lost.
        let more = KnownSecrets::merge(&[&session, &one("c"), &KnownSecrets::none()]);
        assert_eq!(more.secrets.len(), 3);
        assert_eq!(more.find(b"x kP9s+q2V/T7m y").map(|hit| hit.label.to_string()).as_deref(), Some("a"));
    }

    #[test]
    fn secrets_that_overlap_are_covered_together() {
        let check = |text: &str, expected: &str| {
            let known = KnownSecrets::builder()
                .add("a", b"skh_live_5bNLqtirsqPaayJs")
                .add("b", b"PaayJsCffVcHZxUpNxOX6Y!!")
                .add("c", b"-q2VT7mW-")
                .build();
            assert_eq!(known.redact_text(text).text, expected);
        };
        check("x skh_live_5bNLqtirsqPaayJsCffVcHZxUpNxOX6Y!! y", "x [redacted:a] y");
        check("x skh_live_5bNLqtirsqPaayJs y", "x [redacted:a] y");
        check("x PaayJsCffVcHZxUpNxOX6Y!!-q2VT7mW- y", "x [redacted:b][redacted:c] y");
        check("skh_live_5bNLqtirsqPaayJsskh_live_5bNLqtirsqPaayJs", "[redacted:a][redacted:a]");
    }

    #[test]
    fn many_secrets_are_all_found() {
        let secret = |n: u64| format!("tok{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let known = (0..200).fold(KnownSecrets::builder(), |set, n| set.add(&format!("s{n}"), secret(n).as_bytes()));
        let known = known.build();
        for n in [0, 1, 99, 199] {
            let redacted = known.redact_text(&format!("a {} b", secret(n))).text.into_owned();
            assert_eq!(redacted, format!("a [redacted:s{n}] b"));
        }
    }

    #[test]
    fn attack_15_text_that_cannot_be_looked_through_is_withheld() {
        let known = KnownSecrets::builder().add("a", b"skh_live_5bNLqtirsqPaayJs").build();
        // Escapes of changing length, so that no two of them share an entry.
        let flood = r"\n%41".repeat(fold::MAX_EDITS / 2 + 1);
        for text in [flood.clone(), format!("{flood}skh_live_5bNLqtirsqPaayJs")] {
            let redacted = known.redact_text(&text);
            assert_eq!(redacted.text, "[redacted:unreadable-escapes]");
            assert_eq!(redacted.hits[0].encoding, Encoding::Withheld);
            assert_eq!(known.redact(text.as_bytes()).bytes.as_ref(), b"[redacted:unreadable-escapes]");
        }
        assert_eq!(known.find(flood.as_bytes()).map(|hit| hit.encoding), Some(Encoding::Withheld));
        assert!(KnownSecrets::none().redact_text(&flood).hits.is_empty());
        // Monotonous escapes are many, and cheap.
        let slashes = format!("{}%73kh_live_5bNLqtirsqPaayJs", r"\".repeat(4 * 1024 * 1024));
        let redacted = known.redact_text(&slashes).text.into_owned();
        let tail = &redacted[redacted.len().saturating_sub(40)..];
        assert!(redacted.len() > slashes.len() / 2 && tail.ends_with(r"\[redacted:a]"), "{tail}");
    }
}
