//! What stands for a credential in the hands of a skill: text that is worth nothing outside the run it was made for.
//!
//! Egress keeps which placeholder stands for what, for as long as the run lasts, and swaps it on the way out. Nothing
//! of the credential is in it.

use sophon_types::Entropy;

/// What every placeholder begins with: letters, digits and `-` only, so that no encoding of a URL changes it.
pub const PLACEHOLDER_PREFIX: &str = "sophon-ph-";
/// Bytes of a placeholder: the prefix, and 160 random bits in hexadecimal.
pub const PLACEHOLDER_BYTES: usize = PLACEHOLDER_PREFIX.len() + 40;

pub(crate) fn mint(entropy: &dyn Entropy) -> String {
    format!("{PLACEHOLDER_PREFIX}{}", hex::encode(entropy.bytes::<20>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_has_its_length() {
        struct Sevens;
        impl Entropy for Sevens {
            fn fill(&self, bytes: &mut [u8]) {
                bytes.fill(7);
            }
        }
        assert_eq!(mint(&Sevens), format!("sophon-ph-{}", "07".repeat(20)));
        assert_eq!(mint(&Sevens).len(), PLACEHOLDER_BYTES);
    }
}
