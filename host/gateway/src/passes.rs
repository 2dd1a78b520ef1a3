//! Who reads the audit log. A pass over all of it reads and hashes every row, and a query may look at every row: there are
//! few of both at a time, over connections of their own, and one tenant's hold up nobody of another. Whoever hangs up keeps
//! its turn until the statement that it began is over: the database goes on with it.

use crate::GatewayError;
use parking_lot::Mutex;
use sophon_types::TenantId;
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::{Arc, Weak};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tracing::Instrument as _;

/// Passes of tenants at one time; the operator's is one more.
const AT_ONCE: usize = 4;
/// Queries at one time. The store has two connections for them.
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

    /// Runs a scan in its turn, in a task that keeps the turn to its end even where nobody waits for it any more.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        of: Option<TenantId>,
        scan: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, GatewayError> {
        let turn = self.begin(of).await.map_err(|closed| GatewayError::Broken { detail: closed.to_string() })?;
        to_its_end(turn, scan).await
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

/// Runs a scan in a task of its own, which keeps what gives the right to it.
pub(crate) async fn to_its_end<T: Send + 'static>(
    right: impl Send + 'static,
    scan: impl Future<Output = T> + Send + 'static,
) -> Result<T, GatewayError> {
    let scanning = async move {
        let found = scan.await;
        drop(right);
        found
    };
    let ended = tokio::spawn(scanning.in_current_span()).await;
    ended.map_err(|ended| GatewayError::Broken { detail: format!("a scan of the audit log did not end: {ended}") })
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

    #[tokio::test]
    async fn attack_44_hanging_up_frees_no_turn_while_the_scan_goes_on() {
        let queries = Queries::new();
        let acme = || Some("acme".parse::<TenantId>().unwrap());
        let (over, scan) = tokio::sync::oneshot::channel::<()>();
        let mut asked = Box::pin(queries.run(acme(), scan));
        assert!(futures::poll!(&mut asked).is_pending());
        drop(asked);
        let mut next = Box::pin(queries.begin(acme()));
        tokio::task::yield_now().await;
        assert!(futures::poll!(&mut next).is_pending(), "the first one's statement still runs");
        over.send(()).unwrap();
        drop(next.await.unwrap());
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
