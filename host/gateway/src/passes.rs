//! Who reads the audit log. A pass over all of it reads and hashes every row, and a query may look at every row: there are
//! few of both at a time, over connections of their own, and one tenant's hold up nobody of another. Whoever hangs up keeps
//! its turn until the statement that it began is over: the database goes on with it.

use crate::GatewayError;
use crate::turns::{Turn, Turns};
use parking_lot::Mutex;
use sophon_types::TenantId;
use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
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
pub(crate) struct Queries(Turns);

impl Queries {
    pub(crate) fn new() -> Self {
        Self(Turns::new(QUERIES, 1))
    }

    /// The next query of this tenant, or of the operator.
    pub(crate) async fn begin(&self, of: Option<TenantId>) -> Result<Turn, GatewayError> {
        self.0.begin(of).await
    }

    /// Runs a scan in its turn, in a task that keeps the turn to its end even where nobody waits for it any more.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        of: Option<TenantId>,
        scan: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, GatewayError> {
        to_its_end(self.begin(of).await?, scan).await
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
