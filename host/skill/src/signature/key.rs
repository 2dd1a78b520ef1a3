//! Public keys and their fingerprints.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sophon_types::{Digest, Fault, FaultKind, Stage};
use std::fmt;
use std::str::FromStr;

/// An ed25519 public key, canonically encoded and of full order. Written `ed25519:` and base64.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// A key from its 32 bytes.
    ///
    /// # Errors
    /// [`KeyError`] where they are no point of the curve, not its canonical encoding, or a point of small order
    /// (for which anybody can make signatures).
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_not_a_point| KeyError)?;
        if key.is_weak() || key.to_edwards().compress().to_bytes() != *bytes {
            return Err(KeyError);
        }
        Ok(Self(key))
    }

    pub(super) const fn of(key: VerifyingKey) -> Self {
        Self(key)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The key's fingerprint.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(Digest::of(self.as_bytes()))
    }

    /// Checks a signature strictly (RFC 8032, without cofactor, no small-order points), so that every verifier
    /// comes to the same result.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        let signature = Signature::from_slice(signature).map_err(|_wrong_length| BadSignature)?;
        self.0.verify_strict(message, &signature).map_err(|_does_not_verify| BadSignature)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ed25519:{}", STANDARD.encode(self.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let encoded = text.trim().strip_prefix("ed25519:").ok_or(KeyError)?;
        let mut bytes = [0; 32];
        // The decoder demands canonical padding and zero trailing bits: one key has one text.
        match STANDARD.decode_slice(encoded, &mut bytes) {
            Ok(32) => Self::from_bytes(&bytes),
            _ => Err(KeyError),
        }
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// SHA-256 of a public key's 32 bytes, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(Digest);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_hex())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        format!("sha256:{text}").parse().map(Self).map_err(|_not_hex| KeyError)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Text or bytes that are no usable public key or fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a usable ed25519 public key (ed25519: and base64) or fingerprint (64 hexadecimal digits)")]
pub struct KeyError;

impl Fault for KeyError {
    fn stage(&self) -> Stage {
        Stage::Signature
    }
    fn kind(&self) -> FaultKind {
        FaultKind::Invalid
    }
    fn code(&self) -> &'static str {
        "invalid_public_key"
    }
    fn hint(&self) -> Option<String> {
        Some("ask the publisher for the line that begins with ed25519:".into())
    }
}

/// A signature that was not made over these bytes with this key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not match")]
pub struct BadSignature;
