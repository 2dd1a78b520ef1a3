//! Redaction of bytes that arrive in pieces.

use crate::known::{Hit, KnownSecrets, replace};
use zeroize::Zeroizing;

/// Redacts a stream. It holds back as many bytes as the longest secret may take in a reasonable spelling (sixteen for
/// each byte of it), so that a secret across pieces is found; a spelling that is padded beyond that is found only
/// where the whole text is looked at ([`KnownSecrets::redact`]).
#[derive(Debug)]
pub struct StreamRedactor {
    secrets: KnownSecrets,
    held: Held,
    hits: Vec<Hit>,
    window: usize,
}

/// Bytes not yet given out; they may hold a secret.
struct Held(Zeroizing<Vec<u8>>);

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// Bytes a stream looks at together, at least: looking again at what is held back for each small piece would cost the
/// product of the two.
const BATCH: usize = 4096;

impl StreamRedactor {
    pub(crate) fn new(secrets: KnownSecrets) -> Self {
        let window = secrets.window();
        Self { secrets, held: Held(Zeroizing::new(Vec::new())), hits: Vec::new(), window }
    }

    /// Takes the next piece, and returns what may be given out.
    #[must_use]
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        if self.secrets.is_empty() {
            return piece.to_vec();
        }
        self.held.0.extend_from_slice(piece);
        if self.held.0.len() < 2 * self.window + BATCH {
            return Vec::new();
        }
        let mut ranges = self.secrets.ranges(&self.held.0);
        let mut cut = self.held.0.len() - self.window;
        // A hit across the cut stays whole: held back, or given out where it is longer than the window.
        if let Some(across) = ranges.iter().find(|range| range.start < cut && cut < range.end) {
            cut = if across.start > 0 { across.start } else { across.end };
        }
        ranges.retain(|range| range.end <= cut);
        let (out, hits) = replace(&self.held.0[..cut], ranges);
        self.hits.extend(hits);
        self.held.0.drain(..cut);
        out
    }

    /// What was held back, and everything that was found in the whole stream.
    #[must_use]
    pub fn finish(mut self) -> (Vec<u8>, Vec<Hit>) {
        let redaction = self.secrets.redact(&self.held.0);
        let rest = redaction.bytes.into_owned();
        self.hits.extend(redaction.hits);
        (rest, self.hits)
    }
}
