//! Who reads the audit log. A pass over all of it reads and hashes every row, and a query may look at every row: there are
//! few of both at a time, fewer than the store has readers, and one tenant's hold up nobody of another.

use parking_lot::Mutex;
use sophon_types::TenantId;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// Passes of tenants at one time; the operator's is one more.
const AT_ONCE: usize = 4;
/// Queries at one time. The store has four readers.
const QUERIES: usize = 2;

/// The passes under way: one of each tenant, and one of the operator, who is of none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Passes(Arc<Mutex<HashSet<Option<TenantId>>>>);

/// The right to a pass; given back on drop.
#[derive(Debug)]
pub(crate) struct Pass {
    passes: Passes,
    of: Option<TenantId>,
}

impl Passes {
    /// A pass of this tenant, or of the operator; none where one is under way, or too many are.
    pub(crate) fn begin(&self, of: Option<TenantId>) -> Option<Pass> {
        let mut under_way = self.0.lock();
        let tenants = under_way.iter().filter(|of| of.is_some()).count();
        if (of.is_some() && tenants >= AT_ONCE) || !under_way.insert(of.clone()) {
            return None;
        }
        drop(under_way);
        Some(Pass { passes: self.clone(), of })
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.passes.0.lock().remove(&self.of);
    }
}

/// Queries at one time, of which a tenant has one; further ones wait.
#[derive(Debug)]
pub(crate) struct Queries {
    all: Arc<Semaphore>,
    own: Mutex<HashMap<Option<TenantId>, Weak<Semaphore>>>,
}

/// The right to a query; given back on drop.
#[derive(Debug)]
pub(crate) struct Query {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Queries {
    pub(crate) fn new() -> Self {
        Self { all: Arc::new(Semaphore::new(QUERIES)), own: Mutex::default() }
    }

    /// The next query of this tenant, or of the operator. Its own turn first: a tenant has one in the line of all.
    pub(crate) async fn begin(&self, of: Option<TenantId>) -> Result<Query, AcquireError> {
        let own = self.own(of).acquire_owned().await?;
        let all = Arc::clone(&self.all).acquire_owned().await?;
        Ok(Query { _own: own, _all: all })
    }

    fn own(&self, of: Option<TenantId>) -> Arc<Semaphore> {
        let mut known = self.own.lock();
        if let Some(own) = known.get(&of).and_then(Weak::upgrade) {
            return own;
        }
        known.retain(|_of, own| own.strong_count() > 0);
        let own = Arc::new(Semaphore::new(1));
        known.insert(of, Arc::downgrade(&own));
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[tokio::test]
    async fn a_tenants_queries_wait_for_each_other_and_nobody_elses() {
        let queries = Queries::new();
        let tenant = |name: &str| Some(name.parse::<TenantId>().unwrap());
        let first = queries.begin(tenant("acme")).await.unwrap();
        let mut flood: Vec<_> = (0..10).map(|_| Box::pin(queries.begin(tenant("acme")))).collect();
        assert!(flood.iter_mut().all(|one| one.now_or_never().is_none()));
        let other = queries.begin(tenant("rival")).await.unwrap();
        let mut third = Box::pin(queries.begin(tenant("third")));
        assert!(futures::poll!(&mut third).is_pending(), "there are two at a time");
        drop(first);
        drop(third.await.unwrap());
        drop((flood, other));
        drop(queries.begin(None).await.unwrap());
        assert_eq!(queries.own.lock().len(), 1, "nothing is kept of those that are done");
    }

    #[test]
    fn a_tenant_has_one_pass_and_holds_up_nobody_else() {
        let passes = Passes::default();
        let begin = |tenant: &str| passes.begin(Some(tenant.parse().unwrap()));
        let mut held: Vec<_> = ["a1", "a2", "a3", "a4"].map(|tenant| begin(tenant).unwrap()).into();
        assert!(begin("a1").is_none() && begin("a5").is_none());
        let own = passes.begin(None).unwrap();
        assert!(passes.begin(None).is_none());
        held.pop();
        assert!(begin("a5").is_some());
        drop((held, own));
        assert!(passes.0.lock().is_empty());
    }
}
