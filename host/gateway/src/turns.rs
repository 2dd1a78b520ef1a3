//! Turns at something of which little runs at one time. A tenant's turns wait for each other, and hold up nobody of another.

use crate::GatewayError;
use parking_lot::Mutex;
use sophon_types::TenantId;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// So many turns at one time, and fewer of each tenant; further ones wait.
#[derive(Debug)]
pub(crate) struct Turns {
    all: Arc<Semaphore>,
    of_each: usize,
    own: Mutex<HashMap<Option<TenantId>, Weak<Semaphore>>>,
}

/// One turn; given back on drop.
#[derive(Debug)]
pub(crate) struct Turn {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Turns {
    /// `all` of them, `of_each` of one tenant.
    pub(crate) fn new(all: usize, of_each: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), of_each, own: Mutex::default() }
    }

    /// The next turn of this tenant, or of the operator. Its own line first: in the line of all, a tenant has no more than
    /// it can have turns.
    pub(crate) async fn begin(&self, of: Option<TenantId>) -> Result<Turn, GatewayError> {
        let broken = |closed: AcquireError| GatewayError::Broken { detail: closed.to_string() };
        let own = self.own(of).acquire_owned().await.map_err(broken)?;
        let all = Arc::clone(&self.all).acquire_owned().await.map_err(broken)?;
        Ok(Turn { _own: own, _all: all })
    }

    fn own(&self, of: Option<TenantId>) -> Arc<Semaphore> {
        let mut known = self.own.lock();
        if let Some(own) = known.get(&of).and_then(Weak::upgrade) {
            return own;
        }
        known.retain(|_of, own| own.strong_count() > 0);
        let own = Arc::new(Semaphore::new(self.of_each));
        known.insert(of, Arc::downgrade(&own));
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[tokio::test]
    async fn a_tenants_turns_wait_for_each_other_and_nobody_elses() {
        let turns = Turns::new(2, 1);
        let tenant = |name: &str| Some(name.parse::<TenantId>().unwrap());
        let first = turns.begin(tenant("acme")).await.unwrap();
        let mut flood: Vec<_> = (0..10).map(|_| Box::pin(turns.begin(tenant("acme")))).collect();
        assert!(flood.iter_mut().all(|one| one.now_or_never().is_none()));
        let other = turns.begin(tenant("rival")).await.unwrap();
        let mut third = Box::pin(turns.begin(tenant("third")));
        assert!(futures::poll!(&mut third).is_pending(), "there are two at a time");
        drop(first);
        drop(third.await.unwrap());
        drop((flood, other));
        drop(turns.begin(None).await.unwrap());
        assert_eq!(turns.own.lock().len(), 1, "nothing is kept of those that are done");
    }
}
