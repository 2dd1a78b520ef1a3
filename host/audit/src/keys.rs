//! The two keys of the log: one signs checkpoints, one makes hashes of sensitive values that nobody without it
//! can guess values against.

use ed25519_dalek::SigningKey;
use std::fmt;
use zeroize::Zeroizing;

/// The log's keys. Overwritten in memory when dropped; no output shows them.
#[derive(Clone)]
pub struct AuditKeys {
    signing: Zeroizing<[u8; 32]>,
    hashing: Zeroizing<[u8; 32]>,
}

impl AuditKeys {
    /// From the seed of an ed25519 signing key (RFC 8032) and 32 random bytes for keyed hashes.
    #[must_use]
    pub fn new(signing: [u8; 32], hashing: [u8; 32]) -> Self {
        Self { signing: Zeroizing::new(signing), hashing: Zeroizing::new(hashing) }
    }

    /// The ed25519 public key that checkpoints are verified with.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.signing_key().verifying_key().to_bytes()
    }

    pub(crate) fn signing_key(&self) -> SigningKey {
        SigningKey::from_bytes(&self.signing)
    }

    pub(crate) fn hashing(&self) -> &Zeroizing<[u8; 32]> {
        &self.hashing
    }
}

impl fmt::Debug for AuditKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuditKeys(public {})", hex::encode(self.public_key()))
    }
}
