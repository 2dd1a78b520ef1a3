//! The text of an API key, `sk_` and 43 characters, and of the operator's token of one run, `op_` and the same.
//!
//! Only the SHA-256 of a key is ever stored or compared. Its 256 random bits need no salt, and a comparison of
//! digests tells nobody anything about the key, however long it takes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sophon_executor::Results;
use sophon_types::{Digest, Entropy};
use std::fmt;
use zeroize::{Zeroize, Zeroizing};

/// Characters of 32 bytes in base64url without padding.
const CODED: usize = 43;

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyUse {
    /// Kept by a client until it is revoked.
    Api,
    /// Kept in the home by one run of the gateway.
    Operator,
}

impl KeyUse {
    fn prefix(self) -> &'static str {
        match self {
            Self::Api => "sk_",
            Self::Operator => "op_",
        }
    }
}

/// The word that a key's row has for what its owner may have.
pub(crate) const fn word_of(results: Results) -> &'static str {
    match results {
        Results::Text => "text",
        Results::Structured => "structured",
    }
}

/// What the owner of a key may have; wrapped text only where the row's word is not known.
pub(crate) fn results_named(word: &str) -> Results {
    if word == word_of(Results::Structured) { Results::Structured } else { Results::Text }
}

/// A key in clear; shown to its owner once.
pub struct KeyText(Zeroizing<String>);

impl KeyText {
    /// A fresh key.
    pub(crate) fn mint(purpose: KeyUse, entropy: &dyn Entropy) -> Self {
        let mut bytes: [u8; 32] = entropy.bytes();
        let mut text = Zeroizing::new(String::with_capacity(CODED + 3));
        text.push_str(purpose.prefix());
        URL_SAFE_NO_PAD.encode_string(bytes, &mut text);
        bytes.zeroize();
        Self(text)
    }

    /// A key that a client sent; none where it does not even look like one.
    pub(crate) fn read(text: &str) -> Option<(KeyUse, Self)> {
        let purpose = [KeyUse::Api, KeyUse::Operator].into_iter().find(|kind| text.starts_with(kind.prefix()))?;
        let coded = &text[purpose.prefix().len()..];
        let mut bytes = URL_SAFE_NO_PAD.decode(coded).ok()?;
        let fits = coded.len() == CODED && bytes.len() == 32;
        bytes.zeroize();
        fits.then(|| (purpose, Self(Zeroizing::new(text.to_owned()))))
    }

    /// The key's SHA-256.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }

    /// The key itself, for the one answer or file that has to hold it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyText(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::CountingEntropy;

    #[test]
    fn an_unknown_word_opens_nothing() {
        for results in [Results::Text, Results::Structured] {
            assert_eq!(results_named(word_of(results)), results);
        }
        assert_eq!(results_named("everything"), Results::Text);
    }

    #[test]
    fn keys_have_one_form() {
        let key = KeyText::mint(KeyUse::Api, &CountingEntropy::default());
        assert!(key.expose().starts_with("sk_") && key.expose().len() == 46, "{}", key.expose());
        let (purpose, read) = KeyText::read(key.expose()).unwrap();
        assert_eq!((purpose, read.digest()), (KeyUse::Api, key.digest()));
        assert_eq!(format!("{key:?}"), "KeyText(..)");
        let operator = KeyText::mint(KeyUse::Operator, &CountingEntropy::default());
        assert_eq!(KeyText::read(operator.expose()).unwrap().0, KeyUse::Operator);
        assert_ne!(operator.digest(), key.digest());
        for wrong in ["", "sk_", "sk-abc", &key.expose()[..45], &format!("{}A", key.expose()), &"é".repeat(23)] {
            assert!(KeyText::read(wrong).is_none(), "{wrong}");
        }
    }
}
