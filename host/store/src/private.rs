//! The store's files are for this user only. The database exists with its mode before the engine opens it; its
//! companions (`-wal`, `-shm`) are created by the engine with the database's mode.

use crate::StoreError;
use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// Reading and writing, for the owner.
#[cfg(unix)]
const FILE: u32 = 0o600;
/// And entering.
#[cfg(unix)]
const FOLDER: u32 = 0o700;

/// Creates the database's file where it is missing, and narrows it and its companions where they are not.
pub(crate) fn files(database: &Path) -> Result<(), StoreError> {
    let mut options = OpenOptions::new();
    // Opened for writing without truncation: an empty file is an empty database.
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, FILE);
    options.open(database).map_err(|error| unavailable(database, &error))?;
    narrow_file(database)?;
    for suffix in ["-wal", "-shm", "-journal"] {
        let mut name = database.as_os_str().to_owned();
        name.push(suffix);
        let companion = PathBuf::from(name);
        if companion.exists() {
            narrow_file(&companion)?;
        }
    }
    Ok(())
}

/// Creates the folder where it is missing, and narrows it where it is not.
pub(crate) fn folder(path: &Path) -> Result<(), StoreError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, FOLDER);
    builder.create(path).map_err(|error| unavailable(path, &error))?;
    #[cfg(unix)]
    narrow(path, FOLDER)?;
    Ok(())
}

fn narrow_file(path: &Path) -> Result<(), StoreError> {
    #[cfg(unix)]
    narrow(path, FILE)?;
    #[cfg(not(unix))]
    let _inherits_the_folders_rights = path;
    Ok(())
}

/// Sets the mode where it is wider. A file of somebody else's cannot be narrowed: that is an error, not a warning.
#[cfg(unix)]
fn narrow(path: &Path, mode: u32) -> Result<(), StoreError> {
    use std::os::unix::fs::PermissionsExt as _;
    let failed = |error| unavailable(path, &error);
    let now = std::fs::metadata(path).map_err(failed)?.permissions().mode();
    if now & 0o777 & !mode == 0 {
        return Ok(());
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(now & mode)).map_err(failed)
}

fn unavailable(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unavailable { detail: format!("{}: {error}", path.display()) }
}
