//! The key-encryption key, and how a passphrase becomes one.

use crate::VaultError;
use crate::aead::{KEY, Key};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sophon_types::Entropy;
use std::fmt;
use zeroize::Zeroizing;

/// The key that every record of the vault depends on. Wiped when dropped.
pub struct Kek {
    pub(crate) key: Key,
    /// How it was made from a passphrase; `None`: it is a key as such.
    pub(crate) params: Option<KdfParams>,
}

impl Kek {
    /// A key of 32 random bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; KEY]) -> Self {
        Self { key: Zeroizing::new(bytes), params: None }
    }

    /// The text of a key file: 64 hexadecimal digits, or base64 of 32 bytes; blank space around it is ignored.
    ///
    /// # Errors
    /// [`VaultError::InvalidKey`] where it is neither.
    pub fn from_key_text(text: &str) -> Result<Self, VaultError> {
        let text = text.trim();
        let bytes = Zeroizing::new(
            hex::decode(text)
                .ok()
                .filter(|bytes| bytes.len() == KEY)
                .or_else(|| STANDARD.decode(text).ok())
                .or_else(|| STANDARD_NO_PAD.decode(text).ok())
                .unwrap_or_default(),
        );
        let key = <[u8; KEY]>::try_from(bytes.as_slice()).map_err(|_length| VaultError::InvalidKey)?;
        Ok(Self::from_bytes(key))
    }

    /// The key that `passphrase` gives with `params` (Argon2id, RFC 9106). Takes about a tenth of a second and
    /// `params.memory_kib` of memory, deliberately; call it where blocking is allowed.
    ///
    /// # Errors
    /// [`VaultError::InvalidKdf`] where the parameters are out of bounds; [`VaultError::InvalidKey`] for a passphrase of
    /// fewer than 12 bytes.
    pub fn from_passphrase(passphrase: &SecretString, params: &KdfParams) -> Result<Self, VaultError> {
        let passphrase = passphrase.expose_secret();
        if passphrase.len() < 12 {
            return Err(VaultError::InvalidKey);
        }
        params.check()?;
        let out_of_bounds = |_bounds| VaultError::InvalidKdf;
        let cost = Params::new(params.memory_kib, params.passes, params.lanes, Some(KEY)).map_err(out_of_bounds)?;
        let mut key = Key::new([0; KEY]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, cost)
            .hash_password_into(passphrase.as_bytes(), &params.salt, key.as_mut_slice())
            .map_err(out_of_bounds)?;
        Ok(Self { key, params: Some(params.clone()) })
    }
}

impl fmt::Debug for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kek").field("params", &self.params).finish_non_exhaustive()
    }
}

/// Cost and salt of Argon2id. Not secret; stored beside the vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KdfParams {
    #[serde(with = "hex::serde")]
    salt: [u8; 16],
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl KdfParams {
    /// A fresh salt and the default cost: 64 MiB, three passes, one lane (the second choice of RFC 9106, section 4, but for
    /// its four lanes: one thread does the work).
    #[must_use]
    pub fn fresh(entropy: &dyn Entropy) -> Self {
        Self { salt: entropy.bytes(), memory_kib: 64 * 1024, passes: 3, lanes: 1 }
    }

    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, VaultError> {
        serde_json::to_vec(self).map_err(|_never| VaultError::Internal("KDF parameters as JSON"))
    }

    /// Stored parameters; whoever can write the database must not be able to make the host allocate without bound,
    /// nor to make it accept a cost that is no cost.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, VaultError> {
        let params: Self = serde_json::from_slice(bytes).map_err(|_malformed| VaultError::InvalidKdf)?;
        params.check()?;
        Ok(params)
    }

    /// 19 MiB (OWASP's least) to 1 GiB, up to 16 passes and lanes.
    fn check(&self) -> Result<(), VaultError> {
        let bounded = (19 * 1024..=1024 * 1024).contains(&self.memory_kib)
            && (1..=16).contains(&self.passes)
            && (1..=16).contains(&self.lanes);
        bounded.then_some(()).ok_or(VaultError::InvalidKdf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_hex_or_base64() {
        let check = |text: &str, good: bool| assert_eq!(Kek::from_key_text(text).is_ok(), good, "{text:?}");
        check(&"0f".repeat(32), true);
        check(&format!(" {}\n", "AB".repeat(32)), true);
        check(&STANDARD.encode([7; 32]), true);
        check(STANDARD.encode([7; 32]).trim_end_matches('='), true);
        check(&"0f".repeat(31), false);
        check(&STANDARD.encode([7; 33]), false);
        check("", false);
    }

    #[test]
    fn a_passphrase_gives_the_same_key_with_the_same_parameters_only() {
        let params = KdfParams { salt: [1; 16], memory_kib: 19 * 1024, passes: 1, lanes: 1 };
        let other = KdfParams { salt: [2; 16], ..params.clone() };
        let derive = |text: &str, params: &KdfParams| *Kek::from_passphrase(&text.into(), params).unwrap().key;
        assert_eq!(derive("correct horse", &params), derive("correct horse", &params));
        assert_ne!(derive("correct horse", &params), derive("correct horsf", &params));
        assert_ne!(derive("correct horse", &params), derive("correct horse", &other));
        assert!(matches!(Kek::from_passphrase(&"short".into(), &params), Err(VaultError::InvalidKey)));
    }

    #[test]
    fn stored_parameters_are_bounded() {
        let params = KdfParams { salt: [1; 16], memory_kib: 64 * 1024, passes: 3, lanes: 1 };
        let read = |params: &KdfParams| KdfParams::from_bytes(&params.to_bytes().unwrap());
        assert_eq!(read(&params).unwrap(), params);
        for bad in [
            KdfParams { memory_kib: 8, ..params.clone() },
            KdfParams { memory_kib: u32::MAX, ..params.clone() },
            KdfParams { passes: 0, ..params.clone() },
            KdfParams { passes: 1_000_000, ..params.clone() },
            KdfParams { lanes: 255, ..params.clone() },
        ] {
            assert!(matches!(read(&bad), Err(VaultError::InvalidKdf)), "{bad:?}");
        }
        assert!(KdfParams::from_bytes(b"{}").is_err());
    }
}
