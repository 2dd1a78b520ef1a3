//! Sealing one record: AES-256-GCM under a key made for it alone. Pure functions.

use crate::VaultError;
use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _, Nonce};
use hkdf::Hkdf;
use sha2::Sha256;
use sophon_types::Entropy;
use zeroize::Zeroizing;

/// Bytes of a key.
pub(crate) const KEY: usize = 32;
/// A key that is wiped when dropped.
pub(crate) type Key = Zeroizing<[u8; KEY]>;

const NONCE: usize = 12;
const SALT: usize = 32;
const TAG: usize = 16;
/// The first byte of a record. Another one will mean another construction.
const VERSION: u8 = 1;
const HEAD: usize = 1 + SALT + NONCE;

/// What a record is for and where it belongs: derives its key and is authenticated with it, so that it opens nowhere else.
pub(crate) struct Place(Vec<u8>);

impl Place {
    /// The place of `parts` within `purpose`. Each piece is preceded by its length, so that no two lists of pieces
    /// give the same place.
    pub(crate) fn new(purpose: &str, parts: &[&[u8]]) -> Self {
        let mut bytes = Vec::with_capacity(96);
        for part in [b"sophon vault 1".as_slice(), purpose.as_bytes()].iter().chain(parts) {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part);
        }
        Self(bytes)
    }
}

/// Seals `plaintext` for `place`: version, salt, nonce, ciphertext, tag.
pub(crate) fn seal(key: &Key, place: &Place, plaintext: &[u8], entropy: &dyn Entropy) -> Result<Vec<u8>, VaultError> {
    // Asked for once: the system's randomness costs a trip to it each time.
    let random: [u8; SALT + NONCE] = entropy.bytes();
    let (salt, nonce) = random.split_at(SALT);
    let mut fixed = [0; NONCE];
    fixed.copy_from_slice(nonce);
    let sealed = encrypt(&record_key(key, salt, place)?, fixed, &place.0, plaintext)?;
    let mut record = Vec::with_capacity(HEAD + sealed.len());
    record.push(VERSION);
    record.extend_from_slice(&random);
    record.extend_from_slice(&sealed);
    Ok(record)
}

/// Opens a record that was sealed for `place` with `key`; anything else is [`VaultError::Tampered`].
pub(crate) fn open(key: &Key, place: &Place, record: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    if record.len() < HEAD + TAG || record[0] != VERSION {
        return Err(VaultError::Tampered);
    }
    let (salt, rest) = record[1..].split_at(SALT);
    let (nonce, sealed) = rest.split_at(NONCE);
    decrypt(&record_key(key, salt, place)?, nonce, &place.0, sealed)
}

/// The key of one record.
fn record_key(key: &Key, salt: &[u8], place: &Place) -> Result<Key, VaultError> {
    let mut derived = Key::new([0; KEY]);
    Hkdf::<Sha256>::new(Some(salt), key.as_slice())
        .expand(&place.0, derived.as_mut_slice())
        .map_err(|_too_long| VaultError::Internal("HKDF output length"))?;
    Ok(derived)
}

/// AES-256-GCM, 96-bit nonce, 128-bit tag after the ciphertext.
fn encrypt(key: &Key, nonce: [u8; NONCE], aad: &[u8], msg: &[u8]) -> Result<Vec<u8>, VaultError> {
    Aes256Gcm::new((&**key).into())
        .encrypt(&Nonce::from(nonce), Payload { msg, aad })
        .map_err(|_too_long| VaultError::Internal("AES-GCM message length"))
}

/// The inverse of [`encrypt`]. Nonces of any other length than 96 bits are refused: nothing here writes them.
fn decrypt(key: &Key, nonce: &[u8], aad: &[u8], msg: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let nonce: [u8; NONCE] = nonce.try_into().map_err(|_other_length| VaultError::Tampered)?;
    Aes256Gcm::new((&**key).into())
        .decrypt(&Nonce::from(nonce), Payload { msg, aad })
        .map(Zeroizing::new)
        .map_err(|_forged| VaultError::Tampered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sophon_corpora::Figure;
    use std::collections::HashSet;
    use std::sync::Mutex;

    struct System;

    impl Entropy for System {
        fn fill(&self, bytes: &mut [u8]) {
            getrandom::fill(bytes).unwrap();
        }
    }

    fn key(byte: u8) -> Key {
        Key::new([byte; KEY])
    }

    #[derive(serde::Deserialize)]
    struct Vector {
        #[serde(default)]
        key: String,
        #[serde(default)]
        iv: String,
        #[serde(default)]
        aad: String,
        #[serde(default)]
        msg: String,
        #[serde(default)]
        ct: String,
        #[serde(default)]
        tag: String,
        expect: String,
        #[serde(default)]
        comment: String,
    }

    #[test]
    fn attack_38_agrees_with_every_published_vector() {
        let Some(rows) = sophon_corpora::rows::<serde_json::Value>("crypto_vectors") else { return };
        let mut figure = Figure::new("crypto_vectors", "verdict agrees");
        let (mut agreed, mut other_nonce) = (0, 0);
        for line in rows.into_iter().filter(|row| row["alg"] == "aes-256-gcm") {
            let vector: Vector = serde_json::from_value(line.clone()).unwrap();
            let bytes = |text: &str| hex::decode(text).unwrap();
            let key = Key::new(bytes(&vector.key).try_into().unwrap());
            let sealed = [bytes(&vector.ct), bytes(&vector.tag)].concat();
            let (nonce, aad, msg) = (bytes(&vector.iv), bytes(&vector.aad), bytes(&vector.msg));
            let opened = decrypt(&key, &nonce, &aad, &sealed).ok();
            let Ok(nonce) = <[u8; NONCE]>::try_from(nonce) else {
                // Lengths that the vault never writes are refused, whether or not the vector is valid.
                assert!(opened.is_none(), "{line}");
                figure.count("aes-256-gcm of another nonce length, refused", true);
                other_nonce += 1;
                continue;
            };
            let valid = vector.expect == "valid";
            assert_eq!(
                opened.as_ref().map(|m| m.as_slice()),
                valid.then_some(msg.as_slice()),
                "{}: {line}",
                vector.comment
            );
            if valid {
                assert_eq!(encrypt(&key, nonce, &aad, &msg).unwrap(), sealed, "{line}");
            }
            figure.count("aes-256-gcm", true);
            agreed += 1;
        }
        figure.publish();
        assert!(agreed >= 50 && other_nonce > 0, "{agreed} vectors with a 96-bit nonce, {other_nonce} with others");
    }

    #[test]
    fn attack_38_a_changed_record_is_refused() {
        let place = Place::new("test", &[b"tenant", b"field"]);
        let record = seal(&key(1), &place, b"the secret", &System).unwrap();
        assert_eq!(open(&key(1), &place, &record).unwrap().as_slice(), b"the secret");
        for bit in 0..record.len() * 8 {
            let mut changed = record.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(open(&key(1), &place, &changed), Err(VaultError::Tampered)), "bit {bit}");
        }
        for len in 0..record.len() {
            assert!(open(&key(1), &place, &record[..len]).is_err(), "cut to {len}");
        }
        assert!(open(&key(2), &place, &record).is_err(), "wrong key");
        for other in [
            Place::new("test", &[b"tenant", b"other"]),
            Place::new("test", &[b"tenantf", b"ield"]),
            Place::new("test", &[b"tenant", b"field", b""]),
            Place::new("other", &[b"tenant", b"field"]),
        ] {
            assert!(open(&key(1), &other, &record).is_err(), "another place");
        }
        // The body of one record under the head of another.
        let other = seal(&key(1), &place, b"the secret", &System).unwrap();
        let mixed = [&other[..HEAD], &record[HEAD..]].concat();
        assert!(open(&key(1), &place, &mixed).is_err(), "another record's ciphertext");
    }

    #[test]
    fn attack_39_no_nonce_or_salt_repeats() {
        let seen = Mutex::new((HashSet::new(), HashSet::new()));
        let place = Place::new("test", &[]);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let records: Vec<_> = (0..12_500).map(|_| seal(&key(3), &place, b"", &System).unwrap()).collect();
                    let mut seen = seen.lock().unwrap();
                    for record in records {
                        assert!(seen.0.insert(record[1..1 + SALT].to_vec()), "a salt came twice");
                        assert!(seen.1.insert(record[1 + SALT..HEAD].to_vec()), "a nonce came twice");
                    }
                });
            }
        });
        assert_eq!(seen.into_inner().unwrap().0.len(), 100_000);
    }
}
