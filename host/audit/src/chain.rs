//! The chain's arithmetic: the hash of a row and the signature of a checkpoint.

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sophon_store::{AuditHead, Checkpoint};
use sophon_types::{Digest, Timestamp};

/// What a row's hash begins with, so that it is a hash of nothing else.
const ROW: &[u8] = b"sophon-audit-row-v1";
/// What a checkpoint's signed bytes begin with.
const CHECKPOINT: &[u8] = b"sophon-audit-checkpoint-v1";
/// What the signed bytes of an export's end begin with.
const EXPORT: &[u8] = b"sophon-audit-export-v1";

/// The end of a chain without rows.
pub(crate) const GENESIS: AuditHead = AuditHead { seq: 0, hash: Digest::from_bytes([0; 32]) };

/// The hash of the row `seq` of `writer`: SHA-256 over each part with its length before it.
pub(crate) fn link(writer: &str, seq: u64, prev: &Digest, body: &Digest) -> Digest {
    Digest::of_parts(&[ROW, writer.as_bytes(), &seq.to_be_bytes(), prev.as_bytes(), body.as_bytes()])
}

/// Signs the end of a chain.
pub(crate) fn sign(key: &SigningKey, writer: &str, number: u64, head: &AuditHead, time: Timestamp) -> Checkpoint {
    let mut checkpoint =
        Checkpoint { writer: writer.to_owned(), number, seq: head.seq, hash: head.hash, time, signature: [0; 64] };
    checkpoint.signature = key.sign(&signed_bytes(&checkpoint)).to_bytes();
    checkpoint
}

/// Whether the key that belongs to `key` signed this checkpoint. Strict: no signature of small order, no second
/// encoding of one.
pub(crate) fn is_signed(key: &VerifyingKey, checkpoint: &Checkpoint) -> bool {
    let signature = Signature::from_bytes(&checkpoint.signature);
    key.verify_strict(&signed_bytes(checkpoint), &signature).is_ok()
}

/// What an export's last line says of the lines before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seal {
    /// SHA-256 of every line before, line feeds included: the scope, every row and every body.
    pub(crate) digest: Digest,
    /// How many rows they are.
    pub(crate) rows: u64,
    /// Of how many of them the body is withheld.
    pub(crate) withheld: u64,
}

impl Seal {
    pub(crate) fn sign(&self, key: &SigningKey) -> [u8; 64] {
        key.sign(&self.signed_bytes()).to_bytes()
    }

    pub(crate) fn is_signed(&self, key: &VerifyingKey, signature: &[u8; 64]) -> bool {
        key.verify_strict(&self.signed_bytes(), &Signature::from_bytes(signature)).is_ok()
    }

    fn signed_bytes(&self) -> Vec<u8> {
        framed(&[EXPORT, self.digest.as_bytes(), &self.rows.to_be_bytes(), &self.withheld.to_be_bytes()])
    }
}

fn signed_bytes(checkpoint: &Checkpoint) -> Vec<u8> {
    let (number, seq) = (checkpoint.number.to_be_bytes(), checkpoint.seq.to_be_bytes());
    let time = checkpoint.time.as_micros().to_be_bytes();
    framed(&[CHECKPOINT, checkpoint.writer.as_bytes(), &number, &seq, checkpoint.hash.as_bytes(), &time])
}

/// Each part with its length before it, so that no two lists of parts are the same bytes.
fn framed(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(160);
    for part in parts {
        bytes.extend((part.len() as u64).to_be_bytes());
        bytes.extend(*part);
    }
    bytes
}
