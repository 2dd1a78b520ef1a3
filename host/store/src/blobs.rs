//! Blobs, addressed by their content: a name is a digest, and what comes back has been checked against it.

use crate::{StoreError, private};
use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};
use sophon_types::Digest;
use std::path::Path;
use std::sync::Arc;

/// The folder of blobs.
#[derive(Debug, Clone)]
pub struct Blobs {
    objects: Arc<dyn ObjectStore>,
}

impl Blobs {
    pub(crate) async fn open(folder: &Path) -> Result<Self, StoreError> {
        private::folder(folder)?;
        // A file is written aside and renamed; with_fsync syncs the file and its folders before `put` returns.
        let objects = LocalFileSystem::new_with_prefix(folder).map_err(|error| classify(&error))?.with_fsync(true);
        Ok(Self { objects: Arc::new(objects) })
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

/// `sha256/ab/abcd…`: folders by the first two digits, so that none grows huge.
fn key(digest: &Digest) -> Key {
    let hex = digest.to_hex();
    Key::from_iter(["sha256", &hex[..2], &hex])
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
