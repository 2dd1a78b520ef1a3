//! The person at the machine. Each run of the gateway leaves a fresh token in the home, readable by its owner only;
//! whoever can read that file could read the keys and the database just as well.

use crate::GatewayError;
use crate::key::{KeyText, KeyUse};
use serde::{Deserialize, Serialize};
use sophon_types::{Digest, Entropy, KeyId, Principal, Role};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

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

    pub(crate) fn key(&self) -> KeyId {
        self.key
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
    pub fn write(path: &Path, address: SocketAddr, token: &OperatorToken) -> Result<RunFileGuard, GatewayError> {
        let file = Self { address, token: token.expose().to_owned(), pid: std::process::id() };
        let failed = |source| GatewayError::RunFile { path: path.display().to_string(), source };
        let bytes = serde_json::to_vec(&file).map_err(|error| failed(error.into()))?;
        replace(path, &bytes, 0o600).map_err(failed)?;
        Ok(RunFileGuard { path: path.to_owned() })
    }
}

impl std::fmt::Debug for RunFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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

/// Writes `bytes` beside `path` and moves them there, so that a reader sees all of them or none.
fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)
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
        let token = OperatorToken::mint(&CountingEntropy::default());
        let guard = RunFile::write(&path, "127.0.0.1:4711".parse().unwrap(), &token).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let read = RunFile::read(&path).unwrap().unwrap();
        assert_eq!((read.address.port(), read.token.as_str()), (4711, token.expose()));
        assert!(!format!("{read:?} {token:?}").contains(token.expose()));
        drop(guard);
        assert!(RunFile::read(&path).unwrap().is_none());
    }
}
