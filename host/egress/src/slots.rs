//! How much of the network one may use at a time, so that nobody starves the others: connections for each skill and each
//! tenant, and look-ups of names for each tenant.

use crate::EgressLimits;
use crate::error::HttpError;
use crate::owner::{Owner, Party};
use parking_lot::Mutex;
use sophon_types::TenantId;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Weak};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// Bounds the connections in use: in all, for each tenant, and for each skill of a tenant.
pub(crate) struct Slots {
    all: Arc<Semaphore>,
    tenants: Shares<TenantId>,
    skills: Shares<(TenantId, Party)>,
}

/// The right to have one connection in use.
pub(crate) struct Slot {
    _skill: OwnedSemaphorePermit,
    _tenant: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Slots {
    pub(crate) fn new(limits: &EgressLimits) -> Self {
        Self {
            all: Arc::new(Semaphore::new(limits.connections)),
            tenants: Shares::new(limits.connections_per_tenant.min(most_of(limits.connections))),
            skills: Shares::new(limits.connections_per_skill),
        }
    }

    /// A slot, as soon as there is one. The narrow shares first: who waits for those does not stand in others' way.
    pub(crate) async fn acquire(&self, owner: &Owner, deadline: Instant) -> Result<Slot, HttpError> {
        let skill = self.skills.of((owner.tenant.clone(), owner.party.clone()));
        let tenant = self.tenants.of(owner.tenant.clone());
        let all = async {
            let skill = skill.acquire_owned().await.ok()?;
            let tenant = tenant.acquire_owned().await.ok()?;
            let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
            Some(Slot { _skill: skill, _tenant: tenant, _all: all })
        };
        // Nobody closes the semaphores; were it so, nothing should go out.
        timeout_at(deadline, all).await.ok().flatten().ok_or(HttpError::Timeout)
    }
}

/// Seven eighths of something, and no more than all but one where there are several.
fn most_of(all: usize) -> usize {
    if all < 2 { all } else { all - all.div_ceil(8) }
}

/// One semaphore for each of those that share; gone when nobody holds or awaits a permit of it.
pub(crate) struct Shares<K> {
    shares: Mutex<HashMap<K, Weak<Semaphore>>>,
    each: usize,
}

impl<K: Hash + Eq> Shares<K> {
    pub(crate) fn new(each: usize) -> Self {
        Self { shares: Mutex::new(HashMap::new()), each: each.min(Semaphore::MAX_PERMITS) }
    }

    pub(crate) fn of(&self, key: K) -> Arc<Semaphore> {
        let mut shares = self.shares.lock();
        if let Some(semaphore) = shares.get(&key).and_then(Weak::upgrade) {
            return semaphore;
        }
        shares.retain(|_, semaphore| semaphore.strong_count() > 0);
        let semaphore = Arc::new(Semaphore::new(self.each));
        shares.insert(key, Arc::downgrade(&semaphore));
        semaphore
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::owner::tests::owner;
    use std::time::Duration;

    async fn take(slots: &Slots, tenant: &str, skill: &str) -> Option<Slot> {
        slots.acquire(&owner(tenant, "ann", skill), Instant::now() + Duration::from_millis(20)).await.ok()
    }

    #[tokio::test]
    async fn a_tenant_with_many_skills_leaves_connections_to_others() {
        let mut limits = EgressLimits::default();
        (limits.connections, limits.connections_per_skill) = (8, 2);
        let slots = Slots::new(&limits);
        let mut held = Vec::new();
        for n in 0..8 {
            held.extend(take(&slots, "acme", &format!("skill-{n}")).await);
            held.extend(take(&slots, "acme", &format!("skill-{n}")).await);
        }
        assert_eq!(held.len(), 7, "the tenant has its share and no more");
        let other = take(&slots, "rival", "skill-0").await;
        assert!(other.is_some(), "another tenant has none left");
        drop((held, other));
        assert_eq!(slots.all.available_permits(), 8);
        assert!(take(&slots, "acme", "skill-0").await.is_some());
        assert!(slots.skills.shares.lock().len() <= 9, "what is kept of those who left is bounded");
    }
}
