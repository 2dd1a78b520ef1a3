//! Places to run in, and the queue for them: bounded, and no user can have them all.

use crate::{CallError, CallLimits};
use parking_lot::Mutex;
use sophon_types::{TenantId, UserId};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

type Who = (TenantId, UserId);

/// The places of this host.
pub(crate) struct Places {
    limits: CallLimits,
    running: Arc<Semaphore>,
    waiting: Semaphore,
    shares: Arc<Mutex<HashMap<Who, Share>>>,
}

/// What one user has of them; forgotten when it has none.
struct Share {
    running: Arc<Semaphore>,
    calls: usize,
}

/// A place; given back on drop.
pub(crate) struct Place {
    _running: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
    _counted: Counted,
}

/// Keeps a user's share known while a call of theirs runs or waits.
struct Counted {
    shares: Arc<Mutex<HashMap<Who, Share>>>,
    who: Who,
}

impl Places {
    pub(crate) fn new(limits: CallLimits) -> Self {
        Self {
            limits,
            running: Arc::new(Semaphore::new(limits.concurrent)),
            waiting: Semaphore::new(limits.waiting),
            shares: Arc::default(),
        }
    }

    /// A place for a call of this user; waits for one for a short time, in a queue of bounded length.
    pub(crate) async fn take(&self, tenant: &TenantId, user: &UserId) -> Result<Place, CallError> {
        let (counted, own) = self.count((tenant.clone(), user.clone()))?;
        if let Ok(own) = Arc::clone(&own).try_acquire_owned()
            && let Ok(running) = Arc::clone(&self.running).try_acquire_owned()
        {
            return Ok(Place { _running: running, _own: own, _counted: counted });
        }
        let _turn = self.waiting.try_acquire().map_err(|_full| CallError::OverCapacity)?;
        let both = async {
            // The own share first: who waits for that does not stand in the others' way.
            let own = own.acquire_owned().await?;
            let running = Arc::clone(&self.running).acquire_owned().await?;
            Ok::<_, tokio::sync::AcquireError>((own, running))
        };
        match tokio::time::timeout(self.limits.patience, both).await {
            Ok(Ok((own, running))) => Ok(Place { _running: running, _own: own, _counted: counted }),
            Ok(Err(_closed)) => Err(CallError::ShuttingDown),
            Err(_elapsed) => Err(CallError::OverCapacity),
        }
    }

    fn count(&self, who: Who) -> Result<(Counted, Arc<Semaphore>), CallError> {
        let (running, waiting) = (share(self.limits.concurrent, 3, 4), share(self.limits.waiting, 1, 2));
        let mut shares = self.shares.lock();
        let share =
            shares.entry(who.clone()).or_insert_with(|| Share { running: Arc::new(Semaphore::new(running)), calls: 0 });
        if share.calls >= running + waiting {
            return Err(CallError::OverCapacity);
        }
        share.calls += 1;
        let own = Arc::clone(&share.running);
        drop(shares);
        Ok((Counted { shares: Arc::clone(&self.shares), who }, own))
    }
}

fn share(of: usize, part: usize, parts: usize) -> usize {
    (of * part / parts).max(1)
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut shares = self.shares.lock();
        if let Some(share) = shares.get_mut(&self.who) {
            share.calls -= 1;
            if share.calls == 0 {
                shares.remove(&self.who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn places() -> Places {
        Places::new(CallLimits { concurrent: 4, waiting: 4, patience: Duration::from_millis(20) })
    }

    fn who(user: &str) -> Who {
        ("default".parse().unwrap(), user.parse().unwrap())
    }

    async fn take(places: &Places, user: &str) -> Result<Place, CallError> {
        let (tenant, user) = who(user);
        places.take(&tenant, &user).await
    }

    #[tokio::test]
    async fn one_user_cannot_have_every_place() {
        let places = places();
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(take(&places, "ann").await.unwrap());
        }
        assert!(matches!(take(&places, "ann").await, Err(CallError::OverCapacity)));
        held.push(take(&places, "bob").await.unwrap());
        assert!(matches!(take(&places, "cid").await, Err(CallError::OverCapacity)));
        held.pop();
        take(&places, "cid").await.unwrap();
    }

    #[tokio::test]
    async fn shares_are_forgotten_when_nothing_runs() {
        let places = places();
        drop(take(&places, "ann").await.unwrap());
        let abandoned = tokio::time::timeout(Duration::ZERO, take(&places, "bob")).await;
        drop(abandoned);
        assert!(places.shares.lock().is_empty());
        assert_eq!(places.running.available_permits(), 4);
    }
}
