//! How many streams of events one user has open, so that nobody holds connections without end and for nothing.

use parking_lot::Mutex;
use sophon_types::{Principal, TenantId, UserId};
use std::collections::HashMap;
use std::sync::Arc;

/// Counts the open streams of each user. Holds an entry for a user only while one is open.
#[derive(Debug, Clone)]
pub(crate) struct Watchers {
    open: Arc<Mutex<HashMap<(TenantId, UserId), usize>>>,
    most: usize,
}

impl Watchers {
    /// At most `most` for one user.
    pub(crate) fn new(most: usize) -> Self {
        Self { open: Arc::default(), most }
    }

    /// A stream for this caller; none where the user has as many as one may.
    pub(crate) fn begin(&self, principal: &Principal) -> Option<Watching> {
        let who = (principal.tenant.clone(), principal.user.clone());
        let mut open = self.open.lock();
        let count = open.entry(who.clone()).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Watching { watchers: self.clone(), who })
    }
}

/// One open stream; no longer counted when this is dropped.
#[derive(Debug)]
pub(crate) struct Watching {
    watchers: Watchers,
    who: (TenantId, UserId),
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut open = self.watchers.open.lock();
        if let Some(count) = open.get_mut(&self.who) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sophon_types::{KeyId, Role};

    #[test]
    fn attack_44_a_user_has_its_share_of_streams_and_no_more() {
        let watchers = Watchers::new(2);
        let begin = |user: &str| {
            let (tenant, user) = ("acme".parse().unwrap(), user.parse().unwrap());
            watchers.begin(&Principal { tenant, user, key: KeyId::from_bytes([1; 16]), role: Role::Agent })
        };
        let (first, second) = (begin("ann"), begin("ann"));
        assert!(first.is_some() && second.is_some() && begin("ann").is_none());
        let other = begin("bob");
        assert!(other.is_some());
        drop(first);
        assert!(begin("ann").is_some());
        drop((second, other));
        assert!(watchers.open.lock().is_empty(), "nothing is kept of those that left");
    }
}
