//! The person at the machine. Each run of the gateway leaves a fresh token in the home, readable by its owner only;
//! whoever can read that file could read the keys and the database just as well.

use crate::GatewayError;
use crate::key::{KeyText, KeyUse};
use crate::whole_file::write_whole;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use sophon_types::{Digest, Entropy, KeyId, Principal, Role};
use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// What the proof of a token begins with, so that it is a proof of nothing else.
const HELLO: &str = "sophon operator hello 1\n";

/// The token of one run.
#[derive(Debug)]
pub struct OperatorToken {
    text: KeyText,
    key: KeyId,
}

impl OperatorToken {
    /// A fresh token.
    #[must_use]
    pub fn mint(entropy: &dyn Entropy) -> Self {
        Self { text: KeyText::mint(KeyUse::Operator, entropy), key: KeyId::mint(entropy) }
    }

    /// The token itself, for the `Authorization` header.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.text.expose()
    }

    pub(crate) fn digest(&self) -> Digest {
        self.text.digest()
    }

    pub(crate) fn prover(&self) -> Prover {
        Prover(mac(self.expose()))
    }

    pub(crate) fn key(&self) -> KeyId {
        self.key
    }

    /// Who acts with this token.
    #[must_use]
    pub fn operator(&self) -> Principal {
        Self::principal(self.key)
    }

    /// Who the operator is: an admin of the tenant `default`, called `operator`.
    pub(crate) fn principal(key: KeyId) -> Principal {
        Principal {
            tenant: "default".parse().expect("a valid tenant name"),
            user: "operator".parse().expect("a valid user name"),
            key,
            role: Role::Admin,
        }
    }
}

/// Answers challenges: shows that this gateway has the token, without showing the token.
pub(crate) struct Prover(Hmac<Sha256>);

impl Prover {
    /// HMAC-SHA256 of the nonce under the token, in hexadecimal.
    pub(crate) fn proof(&self, nonce: &str) -> String {
        hex::encode(said(self.0.clone(), nonce).finalize().into_bytes())
    }
}

impl fmt::Debug for Prover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prover(..)")
    }
}

/// A question that only the gateway of a run can answer. To be asked before anything else is sent: the address in a run
/// file may be anybody's after the gateway was killed.
#[derive(Debug)]
pub struct Challenge {
    nonce: String,
}

impl Challenge {
    /// A question that was never asked before.
    #[must_use]
    pub fn fresh(entropy: &dyn Entropy) -> Self {
        Self { nonce: hex::encode(entropy.bytes::<32>()) }
    }

    /// What to GET; the answer's `proof` is the proof.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/v1/operator/hello?nonce={}", self.nonce)
    }

    /// Whether this is the answer of whoever wrote the run file. Compared in constant time.
    #[must_use]
    pub fn is_answered(&self, run: &RunFile, proof: &str) -> bool {
        let expected = said(mac(&run.token), &self.nonce);
        hex::decode(proof).is_ok_and(|proof| expected.verify_slice(&proof).is_ok())
    }
}

fn mac(token: &str) -> Hmac<Sha256> {
    Hmac::new_from_slice(token.as_bytes()).expect("HMAC takes a key of any length")
}

fn said(mut mac: Hmac<Sha256>, nonce: &str) -> Hmac<Sha256> {
    mac.update(HELLO.as_bytes());
    mac.update(nonce.as_bytes());
    mac
}

/// Where the gateway of a home listens and how its operator speaks to it: `run/gateway.json`.
#[derive(Serialize, Deserialize)]
pub struct RunFile {
    /// The address that it listens on.
    pub address: SocketAddr,
    /// The operator's token.
    pub token: String,
    /// The process.
    pub pid: u32,
}

impl RunFile {
    /// Reads the file that a gateway left; none where there is none.
    ///
    /// # Errors
    /// [`GatewayError::RunFile`] where there is one that cannot be read.
    pub fn read(path: &Path) -> Result<Option<Self>, GatewayError> {
        let failed = |source| GatewayError::RunFile { path: path.display().to_string(), source };
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| failed(error.into()))
    }

    /// Writes the file, whole or not at all, for its owner only. It is gone when the guard is dropped.
    ///
    /// # Errors
    /// [`GatewayError::RunFile`] where it cannot be written.
    pub fn write(
        path: &Path,
        address: SocketAddr,
        token: &OperatorToken,
        entropy: &dyn Entropy,
    ) -> Result<RunFileGuard, GatewayError> {
        let file = Self { address, token: token.expose().to_owned(), pid: std::process::id() };
        let failed = |source| GatewayError::RunFile { path: path.display().to_string(), source };
        let bytes = serde_json::to_vec(&file).map_err(|error| failed(error.into()))?;
        write_whole(path, &bytes, 0o600, entropy).map_err(failed)?;
        Ok(RunFileGuard { path: path.to_owned() })
    }
}

impl fmt::Debug for RunFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunFile").field("address", &self.address).field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// Removes the file of a run that is over.
#[derive(Debug)]
pub struct RunFileGuard {
    path: PathBuf,
}

impl Drop for RunFileGuard {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the file of this run could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::CountingEntropy;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_file_of_a_run_is_private_and_goes_with_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.json");
        assert!(RunFile::read(&path).unwrap().is_none());
        let entropy = CountingEntropy::default();
        let token = OperatorToken::mint(&entropy);
        let guard = RunFile::write(&path, "127.0.0.1:4711".parse().unwrap(), &token, &entropy).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let read = RunFile::read(&path).unwrap().unwrap();
        assert_eq!((read.address.port(), read.token.as_str()), (4711, token.expose()));
        assert!(!format!("{read:?} {token:?}").contains(token.expose()));
        drop(guard);
        assert!(RunFile::read(&path).unwrap().is_none());
    }

    #[test]
    fn only_the_holder_of_the_token_answers_a_challenge() {
        let entropy = CountingEntropy::default();
        let (token, other) = (OperatorToken::mint(&entropy), OperatorToken::mint(&entropy));
        let run = RunFile {
            address: "127.0.0.1:4711".parse().unwrap(),
            token: token.expose().to_owned(),
            pid: std::process::id(),
        };
        let challenge = Challenge::fresh(&entropy);
        let proof = token.prover().proof(&challenge.nonce);
        assert!(challenge.is_answered(&run, &proof));
        assert!(!proof.contains(token.expose()) && !challenge.path().contains(token.expose()));
        for wrong in ["", "00", &proof[..62], &"0".repeat(64), &other.prover().proof(&challenge.nonce)] {
            assert!(!challenge.is_answered(&run, wrong), "{wrong}");
        }
        let again = Challenge::fresh(&entropy);
        assert_ne!(again.nonce, challenge.nonce);
        assert!(!again.is_answered(&run, &proof), "an answer is an answer to one question");
        assert_eq!(format!("{:?}", token.prover()), "Prover(..)");
    }
}
