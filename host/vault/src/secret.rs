//! A secret in memory: masked, wiped when dropped, opened by one method that a lint guards.

use crate::VaultError;
use secrecy::SecretString;
use std::fmt;
use zeroize::Zeroizing;

/// Bytes of a secret. `Debug` shows nothing of them, not even their number.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    pub(crate) fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// The same as text, still masked and wiped.
    pub(crate) fn text(self) -> Result<SecretString, VaultError> {
        let text = std::str::from_utf8(&self.0).map_err(|_not_text| VaultError::Tampered)?;
        Ok(SecretString::from(text))
    }

    /// Opens the secret. Only this crate and egress may: elsewhere the lint `clippy::disallowed_methods` refuses it
    /// (clippy.toml).
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
