//! Files of the author's machine: read, and written whole or not at all.

use crate::AuthorError;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// Reads a file; `None` where there is none.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, AuthorError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(AuthorError::Io { action: "cannot be read", path: path.to_owned(), source }),
    }
}

/// Reads a file that has to be there and has at most `most` bytes.
pub(crate) fn read(path: &Path, most: usize) -> Result<Vec<u8>, AuthorError> {
    let refused = |source| AuthorError::Io { action: "cannot be read", path: path.to_owned(), source };
    let file = File::open(path).map_err(refused)?;
    let mut bytes = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(refused)?;
    if bytes.len() > most {
        return Err(AuthorError::TooLarge { path: path.to_owned(), most });
    }
    Ok(bytes)
}

/// Whether something is at `dir` that a new project would mix with.
pub(crate) fn is_occupied(dir: &Path) -> Result<bool, AuthorError> {
    match fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) if error.kind() == ErrorKind::NotADirectory => Ok(true),
        Err(source) => Err(AuthorError::Io { action: "cannot be read", path: dir.to_owned(), source }),
    }
}

/// Writes a file that is not there yet, and the folders above it.
pub(crate) fn write_new(path: &Path, content: &[u8]) -> Result<(), AuthorError> {
    let refused = |source: std::io::Error| match source.kind() {
        ErrorKind::AlreadyExists => AuthorError::Occupied { path: path.to_owned() },
        _ => AuthorError::Io { action: "cannot be written", path: path.to_owned(), source },
    };
    if let Some(above) = path.parent() {
        fs::create_dir_all(above).map_err(refused)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(refused)?;
    file.write_all(content).map_err(refused)
}

/// Puts `content` at `dir/name`: whoever reads it sees the old file or the new one, never a part.
pub(crate) fn replace(dir: &Path, name: &str, content: &[u8]) -> Result<PathBuf, AuthorError> {
    let path = dir.join(name);
    let refused = |source| AuthorError::Io { action: "cannot be written", path: path.clone(), source };
    fs::create_dir_all(dir).map_err(refused)?;
    // The process id keeps two builds of one skill apart.
    let part = dir.join(format!(".{name}.{}.part", std::process::id()));
    let written = File::create(&part).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    match written.and_then(|()| fs::rename(&part, &path)) {
        Ok(()) => Ok(path),
        Err(error) => {
            // The first error is the one to tell; a leftover is hidden and is written over by the next try.
            drop(fs::remove_file(&part));
            Err(refused(error))
        }
    }
}
