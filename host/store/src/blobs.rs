//! Blobs, addressed by their content: a name is a digest, and what comes back has been checked against it.

use crate::{StoreError, private};
use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};
use sophon_types::Digest;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

/// The folder of blobs.
#[derive(Debug, Clone)]
pub struct Blobs {
    objects: Arc<dyn ObjectStore>,
    folder: PathBuf,
}

impl Blobs {
    pub(crate) async fn open(folder: &Path) -> Result<Self, StoreError> {
        private::folder(folder)?;
        // A file is written aside and renamed; with_fsync syncs the file and its folders before `put` returns.
        let objects = LocalFileSystem::new_with_prefix(folder).map_err(|error| classify(&error))?.with_fsync(true);
        Ok(Self { objects: Arc::new(objects), folder: folder.to_owned() })
    }

    /// Keeps `bytes`, durably, and returns their name. Putting the same bytes again replaces the file, which mends
    /// one that was damaged.
    ///
    /// # Errors
    /// [`StoreError::Full`] or [`StoreError::Unavailable`] where the file cannot be written.
    pub async fn put(&self, bytes: Bytes) -> Result<Digest, StoreError> {
        let digest = Digest::of(&bytes);
        self.objects.put(&key(&digest), PutPayload::from_bytes(bytes)).await.map_err(|error| classify(&error))?;
        Ok(digest)
    }

    /// The bytes of this name, or `None` where there are none.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where the file's content is no longer what was put.
    pub async fn get(&self, digest: &Digest) -> Result<Option<Bytes>, StoreError> {
        let found = match self.objects.get(&key(digest)).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(classify(&error)),
        };
        let bytes = found.bytes().await.map_err(|error| classify(&error))?;
        if Digest::of(&bytes) != *digest {
            return Err(StoreError::Corrupt { what: format!("the blob {digest} has other content") });
        }
        Ok(Some(bytes))
    }

    /// Deletes a blob. Nothing happens where there is none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where the file cannot be deleted.
    pub async fn delete(&self, digest: &Digest) -> Result<(), StoreError> {
        match self.objects.delete(&key(digest)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(classify(&error)),
        }
    }
}

impl Blobs {
    /// Removes what nobody needs, and says how many files that were: blobs that are not in `keep`, and what a process
    /// that was killed had begun to write. Files with other names than this store gives are left alone.
    ///
    /// To be called while nothing is being put.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where a file cannot be deleted or a folder not be read.
    pub async fn sweep(&self, keep: HashSet<Digest>) -> Result<usize, StoreError> {
        let folder = self.folder.join(ALGORITHM);
        let keep: HashSet<String> = keep.iter().map(Digest::to_hex).collect();
        let swept = tokio::task::spawn_blocking(move || sweep(&folder, &keep)).await;
        let swept = swept.map_err(|panic| StoreError::Internal { detail: panic.to_string() })?;
        swept.map_err(|error| StoreError::Unavailable { detail: format!("{}: {error}", self.folder.display()) })
    }
}

fn sweep(folder: &Path, keep: &HashSet<String>) -> io::Result<usize> {
    let folders = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        folders => folders?,
    };
    let mut swept = 0;
    for below in folders {
        let below = below?;
        // The type of the entry itself: a link to a folder elsewhere is no folder.
        if !below.file_type()?.is_dir() {
            continue;
        }
        for file in fs::read_dir(below.path())? {
            let file = file?;
            let name = file.file_name();
            if file.file_type()?.is_file() && name.to_str().is_some_and(|name| is_ours(name) && !keep.contains(name)) {
                fs::remove_file(file.path())?;
                swept += 1;
            }
        }
    }
    Ok(swept)
}

/// Whether this store makes files of that name: a digest, and beside it what is written before it is renamed, which
/// `object_store` names with `#` and a number behind.
fn is_ours(name: &str) -> bool {
    let (digest, number) = name.split_once('#').map_or((name, None), |(digest, number)| (digest, Some(number)));
    let hex = digest.len() == 64 && digest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    hex && number.is_none_or(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// The folder that names how blobs are addressed.
const ALGORITHM: &str = "sha256";

/// `sha256/ab/abcd…`: folders by the first two digits, so that none grows huge.
fn key(digest: &Digest) -> Key {
    let hex = digest.to_hex();
    Key::from_iter([ALGORITHM, &hex[..2], &hex])
}

fn classify(error: &object_store::Error) -> StoreError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>()
            && matches!(io.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
        {
            return StoreError::Full { detail: io.to_string() };
        }
        cause = error.source();
    }
    StoreError::Unavailable { detail: error.to_string() }
}
