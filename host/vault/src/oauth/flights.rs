//! One renewal at a time for each connection: the others wait for it and take what it brought. And one question at a time about
//! each authorisation on another device.

use parking_lot::Mutex;
use sophon_types::{Digest, ServiceName, TenantId, UserId};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::OwnedMutexGuard;

/// How long a failed renewal is not tried again: those who waited for it share its failure.
const REST: Duration = Duration::from_secs(2);
/// Failures that are remembered.
const REMEMBERED: usize = 1024;

/// Whose connection, and which; no user: the tenant's own.
pub(crate) type Place = (TenantId, Option<UserId>, ServiceName);

#[derive(Default)]
pub(crate) struct Flights {
    changes: Turns<Place>,
    questions: Turns<Digest>,
    failures: Mutex<HashMap<Place, (u64, Instant)>>,
}

/// The right to change a connection's tokens, or to ask about an authorisation. Changes by a person take it as well.
pub(crate) type Turn = OwnedMutexGuard<()>;

impl Flights {
    pub(crate) async fn turn(&self, place: &Place) -> Turn {
        self.changes.lock_of(place).lock_owned().await
    }

    /// The right to ask about the authorisation of that state; nothing while somebody else does.
    pub(crate) fn question(&self, state: Digest) -> Option<Turn> {
        self.questions.lock_of(&state).try_lock_owned().ok()
    }

    pub(crate) fn failed(&self, place: &Place, version: u64) {
        let mut failures = self.failures.lock();
        failures.retain(|_, (_, at)| at.elapsed() < REST);
        if failures.len() < REMEMBERED {
            failures.insert(place.clone(), (version, Instant::now()));
        }
    }

    /// Whether renewing this version has just failed.
    pub(crate) fn has_just_failed(&self, place: &Place, version: u64) -> bool {
        let failures = self.failures.lock();
        failures.get(place).is_some_and(|(failed, at)| *failed == version && at.elapsed() < REST)
    }
}

/// A lock for each of what there is a turn of, as long as somebody has it or waits for it.
struct Turns<K>(Mutex<HashMap<K, Weak<Lock>>>);

type Lock = tokio::sync::Mutex<()>;

impl<K: Clone + Eq + Hash> Turns<K> {
    fn lock_of(&self, key: &K) -> Arc<Lock> {
        let mut locks = self.0.lock();
        if let Some(lock) = locks.get(key).and_then(Weak::upgrade) {
            return lock;
        }
        locks.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::default();
        locks.insert(key.clone(), Arc::downgrade(&lock));
        lock
    }
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}
