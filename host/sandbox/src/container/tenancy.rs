//! Whose sandboxes run, so that nobody has them all.
//!
//! Promise: of places and of memory no tenant has more than [`tenant_share`], no user more than [`user_share`], for as long
//! as its sandboxes are there: a call that waits for a person in the middle has its own all the while.

use crate::shares::{tenant_share, user_share};
use parking_lot::Mutex;
use sophon_approval::ApprovedCall;
use sophon_types::{TenantId, UserId};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use tokio::sync::Notify;

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Who {
    pub(super) tenant: TenantId,
    pub(super) user: UserId,
}

impl Who {
    pub(super) fn calls(call: &ApprovedCall) -> Self {
        let principal = &call.request().principal;
        Self { tenant: principal.tenant.clone(), user: principal.user.clone() }
    }
}

/// The shares of all. Cheap to clone.
#[derive(Clone)]
pub(super) struct Shares(Arc<Inner>);

struct Inner {
    places: usize,
    /// In MiB.
    memory: usize,
    taken: Mutex<Taken>,
    given_back: Notify,
}

/// Nothing is kept of those who have none.
#[derive(Default)]
struct Taken {
    tenants: HashMap<TenantId, Part>,
    users: HashMap<(TenantId, UserId), Part>,
}

#[derive(Default, Clone, Copy)]
struct Part {
    places: usize,
    memory: usize,
}

/// One sandbox of somebody's; given back on drop.
pub(super) struct Share {
    of: Shares,
    who: Who,
    memory: usize,
}

impl Part {
    /// Whether one more fits. The first one always does: how large it may be is said elsewhere.
    fn takes(self, memory: usize, places: usize, most: usize) -> bool {
        self.places == 0 || self.places < places && self.memory + memory <= most
    }
}

impl Shares {
    pub(super) fn new(places: usize, memory: usize) -> Self {
        Self(Arc::new(Inner { places, memory, taken: Mutex::default(), given_back: Notify::new() }))
    }

    /// Waits until they may have one more.
    pub(super) async fn take(&self, who: &Who, memory: usize) -> Share {
        loop {
            // Before the look, so that what is given back in between is not missed.
            let mut given_back = std::pin::pin!(self.0.given_back.notified());
            given_back.as_mut().enable();
            if let Some(share) = self.try_take(who, memory) {
                return share;
            }
            given_back.await;
        }
    }

    /// One more now, if they may have it.
    pub(super) fn try_take(&self, who: &Who, memory: usize) -> Option<Share> {
        let Inner { places, memory: all, taken, .. } = &*self.0;
        let mut taken = taken.lock();
        let user = (who.tenant.clone(), who.user.clone());
        let part = |part: Option<&Part>| part.copied().unwrap_or_default();
        let fits = part(taken.tenants.get(&who.tenant)).takes(memory, tenant_share(*places), tenant_share(*all))
            && part(taken.users.get(&user)).takes(memory, user_share(*places), user_share(*all));
        if !fits {
            return None;
        }
        let Taken { tenants, users } = &mut *taken;
        for part in [tenants.entry(who.tenant.clone()).or_default(), users.entry(user).or_default()] {
            (part.places, part.memory) = (part.places + 1, part.memory + memory);
        }
        Some(Share { of: self.clone(), who: who.clone(), memory })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.of.0.taken.lock();
        give_back(&mut taken.tenants, &self.who.tenant, self.memory);
        give_back(&mut taken.users, &(self.who.tenant.clone(), self.who.user.clone()), self.memory);
        drop(taken);
        self.of.0.given_back.notify_waiters();
    }
}

fn give_back<K: Hash + Eq>(parts: &mut HashMap<K, Part>, who: &K, memory: usize) {
    let Some(part) = parts.get_mut(who) else { return };
    (part.places, part.memory) = (part.places - 1, part.memory - memory);
    if part.places == 0 {
        parts.remove(who);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(tenant: &str, user: &str) -> Who {
        Who { tenant: tenant.parse().unwrap(), user: user.parse().unwrap() }
    }

    #[test]
    fn attack_44_no_tenant_and_no_user_has_every_sandbox() {
        let shares = Shares::new(8, 8_000);
        let take = |tenant: &str, user: &str| shares.try_take(&who(tenant, user), 100);
        let mut held: Vec<Share> = (0..6).map(|_| take("acme", "ann").unwrap()).collect();
        assert!(take("acme", "ann").is_none());
        held.push(take("acme", "bob").unwrap());
        assert!(take("acme", "bob").is_none() && take("acme", "cid").is_none());
        held.push(take("rival", "ann").unwrap());
        held.remove(0);
        assert!(take("acme", "ann").is_some());
        drop(held);
        let taken = shares.0.taken.lock();
        assert!(taken.tenants.is_empty() && taken.users.is_empty());
    }

    #[test]
    fn attack_44_nor_all_the_memory() {
        let shares = Shares::new(100, 4_096);
        let take = |tenant: &str, user: &str, memory| shares.try_take(&who(tenant, user), memory);
        let held: Vec<Share> = (0..5).map(|_| take("acme", "ann", 576).unwrap()).collect();
        assert!(take("acme", "ann", 576).is_none() && take("acme", "ann", 192).is_some());
        let large = take("acme", "bob", 576).unwrap();
        assert!(take("acme", "cid", 576).is_none(), "of the tenant's seven eighths");
        assert!(take("rival", "zoe", 576).is_some());
        drop((held, large));
        // One that is larger than a share is the only one.
        let whole = take("acme", "ann", 4_096).unwrap();
        assert!(take("acme", "ann", 1).is_none());
        drop(whole);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_gets_what_is_given_back() {
        let shares = Shares::new(1, 1_000);
        let ann = who("acme", "ann");
        let first = shares.take(&ann, 1).await;
        let later = async {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            drop(first);
        };
        let (_second, ()) = tokio::join!(shares.take(&ann, 1), later);
    }
}
