//! A bounded amount of something, shared by tenants and users: nobody has all of it, and who cannot have more is told at
//! once.

use parking_lot::Mutex;
use sophon_types::{Principal, TenantId, UserId};
use std::collections::HashMap;
use std::sync::Arc;

/// The whole. Cheap to clone; every clone is the same one.
#[derive(Debug, Clone)]
pub(crate) struct Shares(Arc<Whole>);

#[derive(Debug)]
struct Whole {
    all: usize,
    per_tenant: usize,
    per_user: usize,
    taken: Mutex<Taken>,
}

/// What is taken; nothing is kept of those who have nothing.
#[derive(Debug, Default)]
struct Taken {
    all: usize,
    tenants: HashMap<TenantId, usize>,
    users: HashMap<(TenantId, UserId), usize>,
}

impl Shares {
    /// `all` of something, of which one tenant can have seven eighths and one user three quarters.
    pub(crate) fn of(all: usize) -> Self {
        let per_tenant = if all < 3 { all } else { all - all.div_ceil(8) };
        let per_user = (all - all / 4).min(per_tenant);
        Self(Arc::new(Whole { all, per_tenant, per_user, taken: Mutex::default() }))
    }

    /// `amount` of it for the caller; none where the caller, or everybody together, would then have too much.
    pub(crate) fn take(&self, principal: &Principal, amount: usize) -> Option<Share> {
        let who = (principal.tenant.clone(), principal.user.clone());
        let mut share = Share { shares: self.clone(), who, amount: 0 };
        share.grow(amount).then_some(share)
    }
}

/// What one caller has of it; given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    shares: Shares,
    who: (TenantId, UserId),
    amount: usize,
}

impl Share {
    /// Takes `more` on top; whether that could be had.
    #[must_use]
    pub(crate) fn grow(&mut self, more: usize) -> bool {
        let whole = &self.shares.0;
        let mut taken = whole.taken.lock();
        let of_tenant = taken.tenants.get(&self.who.0).copied().unwrap_or(0);
        let of_user = taken.users.get(&self.who).copied().unwrap_or(0);
        let within = |has: usize, most: usize| has.checked_add(more).is_some_and(|then| then <= most);
        if !(within(taken.all, whole.all) && within(of_tenant, whole.per_tenant) && within(of_user, whole.per_user)) {
            return false;
        }
        taken.all += more;
        taken.tenants.insert(self.who.0.clone(), of_tenant + more);
        taken.users.insert(self.who.clone(), of_user + more);
        self.amount += more;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.shares.0.taken.lock();
        taken.all -= self.amount;
        give_back(&mut taken.tenants, &self.who.0, self.amount);
        give_back(&mut taken.users, &self.who, self.amount);
    }
}

fn give_back<K: std::hash::Hash + Eq>(taken: &mut HashMap<K, usize>, of: &K, amount: usize) {
    if let Some(has) = taken.get_mut(of) {
        *has -= amount;
        if *has == 0 {
            taken.remove(of);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sophon_types::{KeyId, Role};

    fn principal(tenant: &str, user: &str) -> Principal {
        let (tenant, user) = (tenant.parse().unwrap(), user.parse().unwrap());
        Principal { tenant, user, key: KeyId::from_bytes([1; 16]), role: Role::Agent }
    }

    #[test]
    fn attack_44_no_user_and_no_tenant_has_all_of_it() {
        let shares = Shares::of(16);
        let take = |tenant: &str, user: &str, amount| shares.take(&principal(tenant, user), amount);
        let ann = take("acme", "ann", 12).unwrap();
        assert!(take("acme", "ann", 1).is_none(), "a user");
        let mut bob = take("acme", "bob", 1).unwrap();
        assert!(bob.grow(1));
        assert!(!bob.grow(1), "a tenant");
        let other = take("rival", "ann", 2).unwrap();
        assert!(take("third", "ann", 1).is_none(), "all of it");
        drop(bob);
        assert!(take("third", "ann", usize::MAX).is_none());
        drop(take("third", "ann", 2).unwrap());
        drop((ann, other));
        let taken = shares.0.taken.lock();
        assert!(taken.all == 0 && taken.tenants.is_empty() && taken.users.is_empty());
    }

    #[test]
    fn a_little_of_something_can_be_had_whole() {
        for all in [1, 2] {
            let shares = Shares::of(all);
            assert!(shares.take(&principal("acme", "ann"), all).is_some(), "{all}");
        }
    }
}
