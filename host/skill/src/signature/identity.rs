//! The key that signs. Its text form is the only way out, and it is wiped after use.

use super::key::PublicKey;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signer as _, SigningKey};
use sophon_types::{Entropy, Fault, FaultKind, Stage};
use std::fmt;
use zeroize::Zeroizing;

const BEGIN: &str = "-----BEGIN SOPHON SIGNING KEY-----";
const END: &str = "-----END SOPHON SIGNING KEY-----";
const MAX_NAME: usize = 128;

/// A named ed25519 key pair. `Debug` shows the name and the public half.
#[derive(Clone)]
pub struct SigningIdentity {
    name: String,
    /// Wiped on drop.
    key: SigningKey,
}

impl SigningIdentity {
    /// A fresh identity.
    ///
    /// # Errors
    /// [`IdentityError`] where the name is not 1 to 128 printable characters.
    pub fn generate(name: &str, entropy: &dyn Entropy) -> Result<Self, IdentityError> {
        let mut seed = Zeroizing::new([0; 32]);
        entropy.fill(seed.as_mut());
        Self::from_seed(name, &seed)
    }

    /// The identity of a seed (RFC 8032's private key).
    ///
    /// # Errors
    /// As [`SigningIdentity::generate`].
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, IdentityError> {
        if !is_name(name) {
            return Err(IdentityError::Name);
        }
        Ok(Self { name: name.to_owned(), key: SigningKey::from_bytes(seed) })
    }

    /// Reads what [`SigningIdentity::to_text`] wrote.
    ///
    /// # Errors
    /// [`IdentityError`]; it does not repeat any of the text.
    pub fn from_text(text: &str) -> Result<Self, IdentityError> {
        let lines: Vec<_> = text.trim().lines().map(str::trim).collect();
        let [BEGIN, name, key, END] = lines.as_slice() else { return Err(IdentityError::Form) };
        let name = name.strip_prefix("name: ").ok_or(IdentityError::Form)?;
        let encoded = key.strip_prefix("ed25519: ").ok_or(IdentityError::Form)?;
        let mut seed = Zeroizing::new([0; 32]);
        match STANDARD.decode_slice(encoded, seed.as_mut()) {
            Ok(32) => Self::from_seed(name, &seed),
            _ => Err(IdentityError::Form),
        }
    }

    /// The identity as text, secret and all.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let encoded = Zeroizing::new(STANDARD.encode(self.key.as_bytes()));
        Zeroizing::new(format!("{BEGIN}\nname: {}\ned25519: {}\n{END}\n", self.name, *encoded))
    }

    /// Its name, as the owner chose it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey::of(self.key.verifying_key())
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

fn is_name(name: &str) -> bool {
    let length = name.chars().count();
    (1..=MAX_NAME).contains(&length) && name.trim() == name && !name.contains(char::is_control)
}

impl fmt::Debug for SigningIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningIdentity({:?}, {})", self.name, self.public_key())
    }
}

/// Why text is no signing identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The name is empty, longer than 128 characters, or not printable.
    #[error("an identity's name has 1 to 128 printable characters")]
    Name,
    /// The text does not have the four lines of a key file.
    #[error("this is not a Sophon signing key")]
    Form,
}

impl Fault for IdentityError {
    fn stage(&self) -> Stage {
        Stage::Signature
    }
    fn kind(&self) -> FaultKind {
        FaultKind::Invalid
    }
    fn code(&self) -> &'static str {
        "invalid_signing_identity"
    }
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Name => "choose a name such as \"Ann Example\"".into(),
            Self::Form => format!("point to the file that begins with {BEGIN}"),
        })
    }
}
