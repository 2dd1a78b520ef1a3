//! Who made a package: ed25519 keys, and DSSE envelopes over a whole archive.
//!
//! The algorithm is fixed, the key is chosen by whoever verifies, and the envelope's own claims (key id, payload
//! type) select nothing.

mod envelope;
mod identity;
mod key;
#[cfg(test)]
mod tests;

pub use envelope::{Envelope, EnvelopeError, Statement};
pub use identity::{IdentityError, SigningIdentity};
pub use key::{BadSignature, Fingerprint, KeyError, PublicKey};
