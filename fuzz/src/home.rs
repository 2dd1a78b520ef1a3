//! A home: store, audit log, clock and entropy. Its files are in memory where the system has a place for that.

use sophon_audit::{AuditConfig, AuditKeys, AuditLog};
use sophon_store::{Store, StoreConfig};
use sophon_types::{Clock, Entropy, KeyId, Principal, Role, Timestamp};
use std::fmt::Debug;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// A name that is one.
#[must_use]
pub fn name<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

/// The same moment always.
#[derive(Debug)]
pub struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_780_000_000_000_000)
    }
}

/// Different every time; nothing here needs to be unguessable.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Entropy for Counter {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let mixed = self.0.fetch_add(1, Ordering::Relaxed).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            chunk.copy_from_slice(&mixed.to_le_bytes()[..chunk.len()]);
        }
    }
}

/// A home that is thrown away in the end.
pub struct Home {
    pub runtime: Runtime,
    pub store: Store,
    pub audit: AuditLog,
    pub keys: AuditKeys,
    _folder: TempDir,
}

impl Home {
    /// A new one.
    #[must_use]
    pub fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        let config = StoreConfig { database: folder.path().join("sophon.db"), blobs: folder.path().join("blobs") };
        let keys = AuditKeys::new([7; 32], [8; 32]);
        let (store, audit) = runtime.block_on(async {
            let store = Store::open(config).await.unwrap();
            let config = AuditConfig { writer: "fuzz".into(), keys: keys.clone(), checkpoint_every: 1000 };
            let audit = AuditLog::open(config, store.clone(), Arc::new(Fixed)).await.unwrap();
            (store, audit)
        });
        Self { runtime, store, audit, keys, _folder: folder }
    }

    /// Who acts in it.
    #[must_use]
    pub fn principal(role: Role) -> Principal {
        Principal { tenant: name("acme"), user: name("ann"), key: KeyId::from_bytes([1; 16]), role }
    }
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}
