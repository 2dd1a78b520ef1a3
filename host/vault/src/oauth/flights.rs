//! One renewal at a time for each connection: the others wait for it and take what it brought.

use parking_lot::Mutex;
use sophon_types::{ServiceName, TenantId, UserId};
use std::collections::HashMap;
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
    locks: Mutex<HashMap<Place, Weak<tokio::sync::Mutex<()>>>>,
    failures: Mutex<HashMap<Place, (u64, Instant)>>,
}

/// The right to change a connection's tokens. Changes by a person take it as well.
pub(crate) type Turn = OwnedMutexGuard<()>;

impl Flights {
    pub(crate) async fn turn(&self, place: &Place) -> Turn {
        let lock = {
            let mut locks = self.locks.lock();
            match locks.get(place).and_then(Weak::upgrade) {
                Some(lock) => lock,
                None => {
                    locks.retain(|_, lock| lock.strong_count() > 0);
                    let lock = Arc::default();
                    locks.insert(place.clone(), Arc::downgrade(&lock));
                    lock
                }
            }
        };
        lock.lock_owned().await
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
