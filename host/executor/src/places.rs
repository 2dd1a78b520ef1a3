//! Places to run in, and the queue for them: both bounded, and both shared fairly.
//!
//! Promise: no user has every place, and no tenant has, however many users it is; a place that becomes free goes to
//! whoever waits and has the least, first of all tenants, then of that tenant's users. Who cannot wait is told so at
//! once, and nobody waits long: a queue that is longer than moments only makes everybody late.

use crate::{CallError, CallLimits};
use parking_lot::Mutex;
use sophon_sandbox::{all_but, tenant_share, user_share};
use sophon_types::{TenantId, UserId};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::oneshot;

/// The places of this host.
pub(crate) struct Places(Arc<Hall>);

struct Hall {
    limits: CallLimits,
    now: Mutex<Now>,
}

/// Who runs and who waits at this moment; nothing is kept of those who do neither.
#[derive(Default)]
struct Now {
    running: usize,
    waiting: usize,
    tenants: HashMap<TenantId, Party>,
    /// The number of the next that waits.
    next: u64,
}

/// A tenant's part of it.
#[derive(Default)]
struct Party {
    running: usize,
    waiting: usize,
    users: HashMap<UserId, Guest>,
}

/// A user's part of that.
#[derive(Default)]
struct Guest {
    running: usize,
    queue: VecDeque<Waiting>,
}

struct Waiting {
    number: u64,
    seat: oneshot::Sender<Place>,
}

/// A place; given back on drop, to whoever is next.
pub(crate) struct Place {
    hall: Arc<Hall>,
    who: Who,
}

type Who = (TenantId, UserId);

impl Places {
    pub(crate) fn new(limits: CallLimits) -> Self {
        Self(Arc::new(Hall { limits, now: Mutex::default() }))
    }

    /// Whether a call of this user would be refused now. Asked before a call costs anything; what it says may be
    /// otherwise a moment later.
    pub(crate) fn full_for(&self, tenant: &TenantId, user: &UserId) -> bool {
        let now = self.0.now.lock();
        !now.has_room(&self.0.limits, tenant, user) && !now.may_wait(&self.0.limits, tenant, user)
    }

    /// A place for a call of this user; waits a moment for one, in a queue of bounded length.
    pub(crate) async fn take(&self, tenant: &TenantId, user: &UserId) -> Result<Place, CallError> {
        let who = (tenant.clone(), user.clone());
        let (number, seat) = {
            let mut now = self.0.now.lock();
            // Whoever waits cannot have a place now, else they would have been given one: so nobody is passed over.
            if now.has_room(&self.0.limits, tenant, user) {
                now.seat(&who);
                drop(now);
                return Ok(Place { hall: Arc::clone(&self.0), who });
            }
            if !now.may_wait(&self.0.limits, tenant, user) {
                return Err(CallError::OverCapacity);
            }
            now.wait(&who)
        };
        let mut turn = Turn { hall: Arc::clone(&self.0), who, number, seat };
        match tokio::time::timeout(self.0.limits.patience, &mut turn.seat).await {
            Ok(Ok(place)) => Ok(place),
            // Offered in the same moment as the patience ended: it is taken all the same.
            Err(_elapsed) => turn.seat.try_recv().map_err(|_none| CallError::OverCapacity),
            Ok(Err(_gone)) => Err(CallError::OverCapacity),
        }
    }
}

/// One who waits. Dropped, it does so no longer.
struct Turn {
    hall: Arc<Hall>,
    who: Who,
    number: u64,
    seat: oneshot::Receiver<Place>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.hall.now.lock().leave_queue(&self.who, self.number);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.hall.now.lock().stand_up(&self.who);
        self.hall.seat_next();
    }
}

impl Hall {
    /// Gives what is free to those who wait.
    fn seat_next(self: &Arc<Self>) {
        loop {
            let mut now = self.now.lock();
            let Some((who, waiting)) = now.next(&self.limits) else { return };
            now.seat(&who);
            drop(now);
            // One who has gone meanwhile drops the place at once, which gives it to the next; not under the lock.
            drop(waiting.seat.send(Place { hall: Arc::clone(self), who }));
        }
    }
}

impl Now {
    fn has_room(&self, limits: &CallLimits, tenant: &TenantId, user: &UserId) -> bool {
        let (party, guest) = self.of(tenant, user);
        self.running < limits.concurrent
            && party.map_or(0, |party| party.running) < limits.running_per_tenant()
            && guest.map_or(0, |guest| guest.running) < limits.running_per_user()
    }

    fn may_wait(&self, limits: &CallLimits, tenant: &TenantId, user: &UserId) -> bool {
        let (party, guest) = self.of(tenant, user);
        self.waiting < limits.waiting
            && party.map_or(0, |party| party.waiting) < limits.waiting_per_tenant()
            && guest.map_or(0, |guest| guest.queue.len()) < limits.waiting_per_user()
    }

    fn of(&self, tenant: &TenantId, user: &UserId) -> (Option<&Party>, Option<&Guest>) {
        let party = self.tenants.get(tenant);
        (party, party.and_then(|party| party.users.get(user)))
    }

    fn seat(&mut self, (tenant, user): &Who) {
        self.running += 1;
        let party = self.tenants.entry(tenant.clone()).or_default();
        party.running += 1;
        party.users.entry(user.clone()).or_default().running += 1;
    }

    fn stand_up(&mut self, who: &Who) {
        let Some(party) = self.tenants.get_mut(&who.0) else { return };
        let Some(guest) = party.users.get_mut(&who.1) else { return };
        self.running -= 1;
        party.running -= 1;
        guest.running -= 1;
        self.forget(who);
    }

    fn wait(&mut self, (tenant, user): &Who) -> (u64, oneshot::Receiver<Place>) {
        let (seat, offered) = oneshot::channel();
        let number = self.next;
        self.next += 1;
        self.waiting += 1;
        let party = self.tenants.entry(tenant.clone()).or_default();
        party.waiting += 1;
        party.users.entry(user.clone()).or_default().queue.push_back(Waiting { number, seat });
        (number, offered)
    }

    /// Takes the one with this number out of the queue, where it is still there.
    fn leave_queue(&mut self, who: &Who, number: u64) {
        let Some(party) = self.tenants.get_mut(&who.0) else { return };
        let Some(guest) = party.users.get_mut(&who.1) else { return };
        let Some(at) = guest.queue.iter().position(|waiting| waiting.number == number) else { return };
        guest.queue.remove(at);
        party.waiting -= 1;
        self.waiting -= 1;
        self.forget(who);
    }

    /// Takes the next one out of the queue, where there is a place for them: of those who may have one more, of the
    /// tenant that has the fewest the user who has the fewest, and of equals whoever came first.
    fn next(&mut self, limits: &CallLimits) -> Option<(Who, Waiting)> {
        if self.waiting == 0 || self.running >= limits.concurrent {
            return None;
        }
        let tenants = self.tenants.iter().filter(|(_, party)| party.running < limits.running_per_tenant());
        let turns = tenants.flat_map(|(tenant, party)| {
            let users = party.users.iter().filter(|(_, guest)| guest.running < limits.running_per_user());
            users.filter_map(move |(user, guest)| {
                let first = guest.queue.front()?;
                Some(((party.running, guest.running, first.number), tenant, user))
            })
        });
        let (_, tenant, user) = turns.min_by_key(|&(rank, ..)| rank)?;
        let who = (tenant.clone(), user.clone());
        let party = self.tenants.get_mut(&who.0)?;
        let waiting = party.users.get_mut(&who.1)?.queue.pop_front()?;
        party.waiting -= 1;
        self.waiting -= 1;
        Some((who, waiting))
    }

    fn forget(&mut self, (tenant, user): &Who) {
        let Some(party) = self.tenants.get_mut(tenant) else { return };
        if party.users.get(user).is_some_and(|guest| guest.running == 0 && guest.queue.is_empty()) {
            party.users.remove(user);
        }
        if party.users.is_empty() {
            self.tenants.remove(tenant);
        }
    }
}

impl CallLimits {
    fn running_per_tenant(&self) -> usize {
        tenant_share(self.concurrent)
    }

    fn running_per_user(&self) -> usize {
        user_share(self.concurrent)
    }

    fn waiting_per_tenant(&self) -> usize {
        all_but(self.waiting, 4)
    }

    fn waiting_per_user(&self) -> usize {
        (self.waiting / 2).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::Pin;
    use std::time::Duration;

    const LONG: Duration = Duration::from_secs(600);

    fn places(concurrent: usize, waiting: usize, patience: Duration) -> Places {
        Places::new(CallLimits { concurrent, waiting, patience, ..CallLimits::default() })
    }

    async fn take(places: &Places, tenant: &str, user: &str) -> Result<Place, CallError> {
        places.take(&tenant.parse().unwrap(), &user.parse().unwrap()).await
    }

    /// Polls once; whether it waits.
    fn waits<F: Future>(future: &mut Pin<Box<F>>) -> bool {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        future.as_mut().poll(&mut context).is_pending()
    }

    /// Puts one into the queue.
    fn queued<'p>(
        places: &'p Places,
        tenant: &'static str,
        user: &'static str,
    ) -> Pin<Box<impl Future<Output = Result<Place, CallError>> + 'p>> {
        let mut future = Box::pin(take(places, tenant, user));
        assert!(waits(&mut future), "{tenant} {user} does not wait");
        future
    }

    #[tokio::test]
    async fn one_user_cannot_have_every_place() {
        let places = places(4, 4, Duration::ZERO);
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(take(&places, "acme", "ann").await.unwrap());
        }
        assert!(matches!(take(&places, "acme", "ann").await, Err(CallError::OverCapacity)));
        held.push(take(&places, "rival", "ann").await.unwrap());
    }

    #[tokio::test]
    async fn a_tenant_of_many_users_cannot_have_every_place() {
        let places = places(8, 4, Duration::ZERO);
        let mut held = Vec::new();
        for _ in 0..6 {
            held.push(take(&places, "acme", "ann").await.unwrap());
        }
        assert!(matches!(take(&places, "acme", "ann").await, Err(CallError::OverCapacity)));
        held.push(take(&places, "acme", "bob").await.unwrap());
        for user in ["bob", "cid", "dan"] {
            assert!(matches!(take(&places, "acme", user).await, Err(CallError::OverCapacity)), "{user}");
        }
        held.push(take(&places, "rival", "ann").await.unwrap());
        assert!(matches!(take(&places, "third", "ann").await, Err(CallError::OverCapacity)));
        held.pop();
        take(&places, "third", "ann").await.unwrap();
    }

    #[tokio::test]
    async fn a_free_place_goes_to_the_tenant_that_has_the_least() {
        let places = places(4, 16, LONG);
        let mut held = Vec::new();
        for (tenant, user) in [("acme", "ann"), ("acme", "bob"), ("acme", "cid"), ("third", "eve")] {
            held.push(take(&places, tenant, user).await.unwrap());
        }
        let mut flood: Vec<_> = ["ann", "ann", "bob", "dan"].map(|user| queued(&places, "acme", user)).into();
        let late = queued(&places, "rival", "zoe");
        held.remove(0);
        assert!(flood.iter_mut().all(waits), "the flood came first, but has more already");
        let zoe = late.await.unwrap();
        held.remove(0);
        let first = flood.remove(0).await.unwrap();
        assert_eq!(first.who.1.as_str(), "ann", "of those who have none, the first that came");
        drop(zoe);
        let second = flood.remove(1).await.unwrap();
        assert_eq!(second.who.1.as_str(), "bob", "who has none comes before who has one");
    }

    #[tokio::test]
    async fn who_cannot_wait_is_refused_at_once_and_no_tenant_has_the_whole_queue() {
        let places = places(4, 8, LONG);
        let mut held = Vec::new();
        for (tenant, user) in [("acme", "ann"), ("acme", "bob"), ("acme", "cid"), ("rival", "zoe")] {
            held.push(take(&places, tenant, user).await.unwrap());
        }
        let flood = ["ann", "ann", "ann", "ann", "bob", "cid"].map(|user| queued(&places, "acme", user));
        for user in ["ann", "dan"] {
            assert!(places.full_for(&"acme".parse().unwrap(), &user.parse().unwrap()), "{user}");
            assert!(matches!(take(&places, "acme", user).await, Err(CallError::OverCapacity)), "{user}");
        }
        assert!(!places.full_for(&"rival".parse().unwrap(), &"zoe".parse().unwrap()));
        let zoe = queued(&places, "rival", "zoe");
        held.pop();
        zoe.await.unwrap();
        drop(flood);
    }

    #[tokio::test]
    async fn nothing_is_kept_of_those_who_have_gone() {
        let impatient = places(1, 1, Duration::ZERO);
        let only = take(&impatient, "acme", "ann").await.unwrap();
        assert!(matches!(take(&impatient, "rival", "zoe").await, Err(CallError::OverCapacity)), "patience ends");
        assert_eq!(impatient.0.now.lock().waiting, 0);
        drop(only);

        let places = places(2, 4, LONG);
        let mut held = vec![take(&places, "acme", "ann").await.unwrap(), take(&places, "rival", "zoe").await.unwrap()];
        drop(queued(&places, "acme", "cid"));
        assert_eq!(places.0.now.lock().waiting, 0);
        // A place that was offered to one who goes before taking it is the next one's.
        let gone = queued(&places, "acme", "cid");
        let mut next = queued(&places, "acme", "dan");
        held.pop();
        assert!(waits(&mut next), "the first one was offered it");
        drop(gone);
        drop(next.await.unwrap());
        drop(held);
        let now = places.0.now.lock();
        assert!(now.tenants.is_empty() && now.running == 0 && now.waiting == 0);
    }
}
