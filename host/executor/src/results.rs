//! How much of the store the results of one tenant's calls may take.
//!
//! Promise: whoever calls much and is answered at length loses the oldest of their own results, and takes nobody's room. That
//! a call was made, how it ended and its idempotency key are kept as long as ever.

use crate::Executor;
use parking_lot::Mutex;
use sophon_store::LARGE_RESULT;
use sophon_types::TenantId;
use std::collections::HashMap;
use std::sync::Arc;

/// What more than is needed is let go of at a time, as a part of what one tenant may have: a little seldom rather than less
/// each time.
const PART: u64 = 8;

/// What the large results of each tenant take, in bytes. About: a sweep counts anew.
pub(crate) struct KeptResults {
    most: u64,
    tenants: Mutex<HashMap<TenantId, Account>>,
}

/// One tenant's.
#[derive(Default)]
struct Account {
    kept: u64,
    /// Held while some are let go of: who comes second finds the room that the first has made.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl KeptResults {
    /// With `most` bytes for each tenant.
    pub(crate) fn new(most: u64) -> Self {
        Self { most, tenants: Mutex::default() }
    }

    fn count(&self, kept: Vec<(TenantId, u64)>) {
        let mut tenants = self.tenants.lock();
        tenants.values_mut().for_each(|account| account.kept = 0);
        for (tenant, bytes) in kept {
            tenants.entry(tenant).or_default().kept = bytes;
        }
    }

    /// How much too much it is with `more`.
    fn over(&self, tenant: &TenantId, more: u64) -> u64 {
        let kept = self.tenants.lock().get(tenant).map_or(0, |account| account.kept);
        kept.saturating_add(more).saturating_sub(self.most)
    }

    fn turn(&self, tenant: &TenantId) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(&self.tenants.lock().entry(tenant.clone()).or_default().turn)
    }

    fn change(&self, tenant: &TenantId, change: impl FnOnce(u64) -> u64) {
        let mut tenants = self.tenants.lock();
        let account = tenants.entry(tenant.clone()).or_default();
        account.kept = change(account.kept);
    }
}

/// What counts of so many bytes.
fn counted(bytes: usize) -> u64 {
    u64::try_from(bytes).ok().filter(|bytes| *bytes > LARGE_RESULT).unwrap_or_default()
}

impl Executor {
    /// Counts what is kept at present. Where that cannot be read, what was counted before goes on.
    pub(crate) async fn count_results(&self) {
        match self.0.parts.store.calls().kept_results().await {
            Ok(kept) => self.0.results.count(kept),
            Err(error) => tracing::warn!(%error, "what results take could not be counted"),
        }
    }

    /// Makes room for a result of so many bytes, at the cost of this tenant's oldest. Where none can be made the result is kept
    /// all the same: how full the disk is decides then.
    pub(crate) async fn make_room(&self, tenant: &TenantId, bytes: usize) {
        let (results, bytes) = (&self.0.results, counted(bytes));
        if bytes == 0 {
            return;
        }
        if results.over(tenant, bytes) > 0 {
            let turn = results.turn(tenant);
            let _turn = turn.lock().await;
            let over = results.over(tenant, bytes);
            if over > 0 {
                self.let_go(tenant, over.saturating_add(results.most / PART)).await;
            }
        }
        results.change(tenant, |kept| kept.saturating_add(bytes));
    }

    /// A result for which there was room is not kept after all.
    pub(crate) fn give_room_back(&self, tenant: &TenantId, bytes: usize) {
        self.0.results.change(tenant, |kept| kept.saturating_sub(counted(bytes)));
    }

    async fn let_go(&self, tenant: &TenantId, enough: u64) {
        let freed = self.0.parts.store.calls().drop_results(tenant, enough).await;
        match freed {
            Ok(freed) if freed >= enough => {
                self.0.results.change(tenant, |kept| kept.saturating_sub(freed));
                tracing::info!(%tenant, freed, "the oldest results of a tenant are let go of");
            }
            // There is less than was counted, or it is not known how much went.
            Ok(_less) => self.count_results().await,
            Err(error) => {
                tracing::warn!(%error, %tenant, "no room could be made for a result");
                self.count_results().await;
            }
        }
    }
}
