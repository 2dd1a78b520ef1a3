//! Opening and closing, and the way to the typed handles.

use crate::audit::AuditLines;
use crate::engine::{self, Pool, classify};
use crate::writer::{Scope, Writer};
use crate::{
    Approvals, Blobs, Calls, Connections, Flows, Grants, Keys, Plans, Publishers, Schedules, Skills, State, StoreError,
    VaultMeta, WebhookMessages, private,
};
use std::path::PathBuf;
use std::sync::Arc;

/// Bytes that a readiness check writes: more than one page, so that a database without a free page refuses it.
const BALLAST: usize = 16 * 1024;

/// Where the state rests.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The database file; created where missing (its folder must exist).
    pub database: PathBuf,
    /// The folder of blobs; created where missing.
    pub blobs: PathBuf,
}

/// The open store. Cheap to clone; every clone is the same store.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    writer: Writer,
    readers: Pool,
    scanners: Pool,
    blobs: Blobs,
    wheels: Blobs,
}

impl Store {
    /// Opens the store and brings its tables up to date. Only this user may read its files, whatever the umask and
    /// whatever they were before. Must be called within a tokio runtime, which then runs
    /// the writer task.
    ///
    /// # Errors
    /// [`StoreError::Locked`], [`StoreError::Full`], [`StoreError::Newer`] or [`StoreError::Unavailable`], as the
    /// database or the blob folder have it.
    pub async fn open(config: StoreConfig) -> Result<Self, StoreError> {
        private::files(&config.database)?;
        let writer = Writer::open(engine::writing(&config.database)).await?;
        let readers = engine::readers(&config.database).await?;
        let scanners = engine::scanners(&config.database).await?;
        let blobs = Blobs::open(&config.blobs).await?;
        let wheels = Blobs::open(&config.blobs.join("wheels")).await?;
        Ok(Self { inner: Arc::new(Inner { writer, readers, scanners, blobs, wheels }) })
    }

    /// Waits for what is queued to be durable, then closes every connection. Later operations, of any clone, fail
    /// as [`StoreError::Unavailable`].
    pub async fn close(&self) {
        // The writer last: the last connection copies what is left of the write-ahead log.
        self.inner.readers.close().await;
        self.inner.scanners.close().await;
        self.inner.writer.close().await;
    }

    /// Caps the size of the database at about `bytes` from now on, for a disk that has to hold other things too.
    /// A write that would need more fails as [`StoreError::Full`]; a database that is larger already does not
    /// shrink, but no longer grows.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where the store is closed.
    pub async fn limit_size(&self, bytes: u64) -> Result<(), StoreError> {
        self.writer().limit(bytes).await
    }

    /// Proves that the store can be read and written, by doing both.
    ///
    /// # Errors
    /// What a read or a write would meet now.
    pub async fn ready(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT id FROM probe LIMIT 1")
            .fetch_optional(self.readers())
            .await
            .map_err(|error| classify(&error))?;
        self.writer()
            .run(Scope::Several, move |connection| {
                Box::pin(async move {
                    sqlx::query("INSERT INTO probe (id, ballast) VALUES (1, $1)")
                        .bind(vec![0_u8; BALLAST])
                        .execute(&mut *connection)
                        .await
                        .map_err(|error| classify(&error))?;
                    sqlx::query("DELETE FROM probe").execute(connection).await.map_err(|error| classify(&error))?;
                    Ok(())
                })
            })
            .await
    }

    /// API keys.
    #[must_use]
    pub fn keys(&self) -> Keys<'_> {
        Keys::new(self)
    }

    /// Installed skills.
    #[must_use]
    pub fn skills(&self) -> Skills<'_> {
        Skills::new(self)
    }

    /// Trusted publishers, and which of them a skill's name belongs to.
    #[must_use]
    pub fn publishers(&self) -> Publishers<'_> {
        Publishers::new(self)
    }

    /// Connected accounts with their sealed fields.
    #[must_use]
    pub fn connections(&self) -> Connections<'_> {
        Connections::new(self)
    }

    /// Authorisations under way.
    #[must_use]
    pub fn flows(&self) -> Flows<'_> {
        Flows::new(self)
    }

    /// What the vault keeps about itself.
    #[must_use]
    pub fn vault_meta(&self) -> VaultMeta<'_> {
        VaultMeta::new(self)
    }

    /// Calls in flight and their results.
    #[must_use]
    pub fn calls(&self) -> Calls<'_> {
        Calls::new(self)
    }

    /// Questions to a person.
    #[must_use]
    pub fn approvals(&self) -> Approvals<'_> {
        Approvals::new(self)
    }

    /// Several calls that were asked for at once.
    #[must_use]
    pub fn plans(&self) -> Plans<'_> {
        Plans::new(self)
    }

    /// Schedules.
    #[must_use]
    pub fn schedules(&self) -> Schedules<'_> {
        Schedules::new(self)
    }

    /// Sessions, and what a person has allowed in advance.
    #[must_use]
    pub fn grants(&self) -> Grants<'_> {
        Grants::new(self)
    }

    /// What skills remember between calls.
    #[must_use]
    pub fn state(&self) -> State<'_> {
        State::new(self)
    }

    /// Messages to the operator's webhooks.
    #[must_use]
    pub fn webhook_messages(&self) -> WebhookMessages<'_> {
        WebhookMessages::new(self)
    }

    /// Rows of the audit log.
    #[must_use]
    pub fn audit(&self) -> AuditLines<'_> {
        AuditLines::new(self, &self.inner.readers)
    }

    /// The same rows, read over connections of their own: for whatever may look at every row, so that it holds up nothing
    /// but its like.
    #[must_use]
    pub fn audit_scans(&self) -> AuditLines<'_> {
        AuditLines::new(self, &self.inner.scanners)
    }

    /// Blobs, addressed by their content.
    #[must_use]
    pub fn blobs(&self) -> &Blobs {
        &self.inner.blobs
    }

    /// Files that installed skills require. Apart from the packages: what a skill names as a requirement by its digest is never
    /// another tenant's package.
    #[must_use]
    pub fn wheels(&self) -> &Blobs {
        &self.inner.wheels
    }

    pub(crate) fn writer(&self) -> &Writer {
        &self.inner.writer
    }

    pub(crate) fn readers(&self) -> &Pool {
        &self.inner.readers
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}
