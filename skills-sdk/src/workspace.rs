//! An empty folder for one call, gone when the call ends, with a quota on bytes and files. Only where the manifest says
//! `"permissions": {"filesystem": "workspace"}`. Paths are relative, with `/`, and cannot leave the folder.

use std::fmt;

use crate::error::{ErrorKind, Result};
use crate::host::workspace as host;

/// A file or a folder in the workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Its name, without the folder.
    pub name: String,
    /// Which of the two.
    pub kind: EntryKind,
    /// In bytes; 0 for a folder.
    pub size: u64,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A file.
    File,
    /// A folder.
    Folder,
}

/// The content of a file.
pub fn read(path: &str) -> Result<Vec<u8>, Error> {
    host::read(path).map_err(Error::from_wit)
}

/// The content of a file as text; bytes that are not UTF-8 become U+FFFD.
pub fn read_text(path: &str) -> Result<String, Error> {
    Ok(String::from_utf8_lossy(&read(path)?).into_owned())
}

/// Replaces the file; makes the folders above it.
pub fn write(path: &str, content: impl AsRef<[u8]>) -> Result<(), Error> {
    host::write(path, content.as_ref()).map_err(Error::from_wit)
}

/// Adds to the end of the file; makes it where there is none.
pub fn append(path: &str, content: impl AsRef<[u8]>) -> Result<(), Error> {
    host::append(path, content.as_ref()).map_err(Error::from_wit)
}

/// What a folder holds; `""` is the workspace itself.
pub fn list(path: &str) -> Result<Vec<Entry>, Error> {
    let entry = |e: host::Entry| Entry {
        name: e.name,
        kind: if e.directory { EntryKind::Folder } else { EntryKind::File },
        size: e.size,
    };
    Ok(host::list(path).map_err(Error::from_wit)?.into_iter().map(entry).collect())
}

/// Removes a file, or a folder with all it holds.
pub fn remove(path: &str) -> Result<(), Error> {
    host::remove(path).map_err(Error::from_wit)
}

/// Why the workspace did not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The path is absolute, leaves the folder or is not valid.
    InvalidPath(String),
    /// There is no such file or folder.
    NotFound(String),
    /// A folder where a file is needed, or the other way round.
    WrongKind(String),
    /// Over the quota; the limit that was hit (bytes or files).
    QuotaExceeded(u64),
    /// Anything else.
    Failed(String),
}

impl Error {
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_) => ErrorKind::NotFound,
            _ => ErrorKind::Failed,
        }
    }

    fn from_wit(error: host::WorkspaceError) -> Self {
        match error {
            host::WorkspaceError::InvalidPath(path) => Self::InvalidPath(path),
            host::WorkspaceError::NotFound(path) => Self::NotFound(path),
            host::WorkspaceError::WrongKind(path) => Self::WrongKind(path),
            host::WorkspaceError::QuotaExceeded(limit) => Self::QuotaExceeded(limit),
            host::WorkspaceError::Failed(why) => Self::Failed(why),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidPath(path) => write!(f, "not a path in the workspace: {path}"),
            Self::NotFound(path) => write!(f, "the workspace has no {path}"),
            Self::WrongKind(path) => write!(f, "not that kind of file: {path}"),
            Self::QuotaExceeded(limit) => write!(f, "the workspace is full (limit {limit})"),
            Self::Failed(why) => write!(f, "workspace: {why}"),
        }
    }
}

impl std::error::Error for Error {}
