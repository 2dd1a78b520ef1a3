//! Randomness as a dependency.

/// A source of cryptographically secure random bytes.
///
/// An implementation never returns weak or partial output: where the operating system has no randomness to give,
/// it panics, and the process ends without having used a guessable key or nonce.
pub trait Entropy: Send + Sync {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

impl dyn Entropy + '_ {
    /// `N` random bytes.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }
}
