//! How many requests a user or an address may send. Counting is governor's (GCRA, lock-free per key); this module
//! adds what it leaves open: the memory that counting takes is bounded whatever the clients send.

use crate::GatewayError;
use governor::clock::{Clock, DefaultClock, Reference as _};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::config::RateLimits;
use crate::peer::site;
use sophon_types::{TenantId, UserId};

/// How many shared counters stand in for single ones while there are too many clients to count one by one.
const CROWD: u64 = 256;

/// Why a request was of nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It showed no key.
    NoKey,
    /// It showed something that is no key, or not one of this host.
    Guess,
}

/// Whose failures are counted, in words.
const GUESSES: &str = "without a valid key from this address";

/// The limits of a gateway.
#[derive(Debug)]
pub(crate) struct Limits<C: Clock = DefaultClock> {
    users: Counter<(TenantId, UserId), C>,
    tenants: Counter<TenantId, C>,
    addresses: Counter<IpAddr, C>,
    failures: Counter<IpAddr, C>,
    /// Addresses whose last guess was one too many: since when, and for how long.
    guessing: Mutex<HashMap<IpAddr, (C::Instant, Duration)>>,
}

impl Limits {
    /// Limits that go by the machine's monotonic clock.
    pub(crate) fn new(config: &RateLimits) -> Self {
        Self::with_clock(config, &DefaultClock::default())
    }
}

impl<C: Clock + Clone> Limits<C> {
    /// Limits that go by `clock`.
    pub(crate) fn with_clock(config: &RateLimits, clock: &C) -> Self {
        let most = config.max_tracked.get() as usize;
        let of_tenant = |of_user: NonZeroU32| of_user.saturating_mul(config.tenant_users);
        Self {
            users: Counter::new(config.user_per_minute, config.user_burst, most, clock),
            tenants: Counter::new(of_tenant(config.user_per_minute), of_tenant(config.user_burst), most, clock),
            addresses: Counter::new(config.address_per_minute, config.address_burst, most, clock),
            failures: Counter::new(config.failures_per_minute, config.failures_burst, most, clock),
            guessing: Mutex::new(HashMap::new()),
        }
    }

    /// Counts a request of an authenticated user.
    pub(crate) fn user(&self, tenant: &TenantId, user: &UserId) -> Result<(), GatewayError> {
        self.users.check((tenant.clone(), user.clone()), "of this user")
    }

    /// Counts it for the tenant of that user too.
    pub(crate) fn tenant(&self, tenant: &TenantId) -> Result<(), GatewayError> {
        self.tenants.check(tenant.clone(), "of this tenant")
    }

    /// Counts a request of nobody in particular.
    pub(crate) fn address(&self, address: Option<IpAddr>) -> Result<(), GatewayError> {
        address.map_or(Ok(()), |address| self.addresses.check(site(address), "from this address"))
    }

    /// Counts a failed authentication.
    pub(crate) fn failure(&self, address: Option<IpAddr>, failure: Failure) -> Result<(), GatewayError> {
        let Some(address) = address.map(site) else { return Ok(()) };
        let counted = self.failures.check(address, GUESSES);
        if let (Failure::Guess, Err(GatewayError::RateLimited { retry_after, .. })) = (failure, &counted) {
            self.remember_guessing(address, *retry_after);
        }
        counted
    }

    /// Whether the address has guessed so many keys that its next guess need not even be looked up.
    pub(crate) fn guessing(&self, address: Option<IpAddr>) -> Result<(), GatewayError> {
        let Some(address) = address.map(site) else { return Ok(()) };
        match self.guessing.lock().get(&address).and_then(|held| self.left(held)) {
            Some(retry_after) => Err(GatewayError::RateLimited { of: GUESSES, retry_after }),
            None => Ok(()),
        }
    }

    fn remember_guessing(&self, address: IpAddr, retry_after: Duration) {
        let mut guessing = self.guessing.lock();
        if guessing.len() >= self.failures.most {
            guessing.retain(|_address, held| self.left(held).is_some());
        }
        // Without room the next guess costs a look-up, as if nobody had counted.
        if guessing.len() < self.failures.most {
            guessing.insert(address, (self.failures.clock.now(), retry_after));
        }
    }

    /// What is left of the time that an address has to wait.
    fn left(&self, (since, span): &(C::Instant, Duration)) -> Option<Duration> {
        let gone: Duration = self.failures.clock.now().duration_since(*since).into();
        span.checked_sub(gone).filter(|left| !left.is_zero())
    }

    /// Forgets clients that have been quiet long enough to be as good as new.
    pub(crate) fn sweep(&self) {
        self.users.limiter.retain_recent();
        self.tenants.limiter.retain_recent();
        self.addresses.limiter.retain_recent();
        self.failures.limiter.retain_recent();
        self.guessing.lock().retain(|_address, held| self.left(held).is_some());
    }
}

/// A limiter by key, over a concurrent map.
type Keyed<K, C> = RateLimiter<K, DashMapStateStore<K>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// One set of counters of the same pace.
#[derive(Debug)]
struct Counter<K: Clone + Hash + Eq, C: Clock> {
    limiter: Keyed<Counted<K>, C>,
    clock: C,
    most: usize,
    opened: Instant,
    /// The second (since `opened`) of the last sweep that a full table made necessary.
    swept: AtomicU64,
}

/// Who is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Counted<K> {
    One(K),
    Crowd(u64),
}

impl<K: Clone + Hash + Eq, C: Clock + Clone> Counter<K, C> {
    fn new(per_minute: NonZeroU32, burst: NonZeroU32, most: usize, clock: &C) -> Self {
        Self {
            limiter: RateLimiter::dashmap_with_clock(Quota::per_minute(per_minute).allow_burst(burst), clock.clone()),
            clock: clock.clone(),
            most,
            opened: Instant::now(),
            swept: AtomicU64::new(0),
        }
    }

    fn check(&self, key: K, of: &'static str) -> Result<(), GatewayError> {
        let refused = match self.limiter.check_key(&self.counted(key)) {
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        };
        Err(GatewayError::RateLimited { of, retry_after: refused.wait_time_from(self.clock.now()) })
    }

    /// While the table is full, everybody is counted in one of a fixed number of crowds: stricter than alone, but
    /// whoever floods the table with addresses gains nothing by it.
    fn counted(&self, key: K) -> Counted<K> {
        if self.limiter.len() < self.most {
            return Counted::One(key);
        }
        let second = self.opened.elapsed().as_secs() + 1;
        if self.swept.swap(second, Ordering::Relaxed) != second {
            self.limiter.retain_recent();
            if self.limiter.len() < self.most {
                return Counted::One(key);
            }
        }
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        Counted::Crowd(hasher.finish() % CROWD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;

    fn config(per_minute: u32, burst: u32, max_tracked: u32) -> RateLimits {
        let number = |n| NonZeroU32::new(n).unwrap();
        RateLimits {
            user_per_minute: number(per_minute),
            user_burst: number(burst),
            tenant_users: number(2),
            address_per_minute: number(per_minute),
            address_burst: number(burst),
            failures_per_minute: number(per_minute),
            failures_burst: number(burst),
            max_tracked: number(max_tracked),
        }
    }

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn attack_44_retry_after_is_right() {
        let clock = FakeRelativeClock::default();
        let limits = Limits::with_clock(&config(6, 3, 1000), &clock);
        for _ in 0..3 {
            assert!(limits.address(address("203.0.113.5")).is_ok());
        }
        let Err(GatewayError::RateLimited { retry_after, .. }) = limits.address(address("203.0.113.5")) else {
            panic!("the fourth request is let in");
        };
        assert!(retry_after <= Duration::from_secs(10), "{retry_after:?}");
        clock.advance(retry_after - Duration::from_millis(1));
        assert!(limits.address(address("203.0.113.5")).is_err(), "let in too early");
        clock.advance(Duration::from_millis(1));
        assert!(limits.address(address("203.0.113.5")).is_ok(), "refused although the wait is over");
        assert!(limits.address(address("203.0.113.6")).is_ok(), "another address is counted apart");
    }

    #[test]
    fn attack_44_a_tenant_is_limited_however_many_users_it_is() {
        let clock = FakeRelativeClock::default();
        let limits = Limits::with_clock(&config(60, 5, 1000), &clock);
        let mut let_in = 0;
        for _ in 0..50 {
            let_in += usize::from(limits.tenant(&"acme".parse().unwrap()).is_ok());
        }
        assert_eq!(let_in, 10, "as many as two users may send at once");
        assert!(limits.tenant(&"rival".parse().unwrap()).is_ok(), "another tenant");
        clock.advance(Duration::from_secs(60));
        limits.sweep();
        assert_eq!(limits.tenants.limiter.len(), 0);
    }

    #[test]
    fn attack_44_limits_hold_under_concurrency() {
        let limits = Limits::with_clock(&config(60, 50, 1000), &FakeRelativeClock::default());
        let let_in = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        if limits.user(&"t".parse().unwrap(), &"ann".parse().unwrap()).is_ok() {
                            let_in.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(let_in.into_inner(), 50);
        assert!(limits.user(&"u".parse().unwrap(), &"ann".parse().unwrap()).is_ok(), "another tenant's ann");
    }

    #[test]
    fn attack_44_the_state_is_bounded() {
        let clock = FakeRelativeClock::default();
        let limits = Limits::with_clock(&config(60, 5, 500), &clock);
        let mut let_in = 0;
        for n in 0..20_000_u32 {
            let_in += usize::from(limits.address(Some(IpAddr::from(n.to_be_bytes()))).is_ok());
        }
        let tracked = limits.addresses.limiter.len();
        assert!(tracked <= 500 + CROWD as usize, "{tracked} clients are tracked");
        assert!(let_in <= 500 + 5 * CROWD as usize, "{let_in} requests were let in");
        clock.advance(Duration::from_secs(120));
        limits.sweep();
        assert_eq!(limits.addresses.limiter.len(), 0);
    }

    #[test]
    fn attack_44_who_guesses_too_often_is_held_until_the_time_is_over() {
        let clock = FakeRelativeClock::default();
        let mut settings = config(60, 5, 2);
        (settings.failures_per_minute, settings.failures_burst) =
            (NonZeroU32::new(60).unwrap(), NonZeroU32::new(2).unwrap());
        let limits = Limits::with_clock(&settings, &clock);
        let guess = |text: &str| limits.failure(address(text), Failure::Guess);
        assert!(guess("203.0.113.5").is_ok() && guess("203.0.113.5").is_ok());
        assert!(limits.guessing(address("203.0.113.5")).is_ok(), "the limit is not passed yet");
        assert!(guess("203.0.113.5").is_err());
        let Err(GatewayError::RateLimited { retry_after, .. }) = limits.guessing(address("203.0.113.5")) else {
            panic!("the next guess is looked up");
        };
        assert!(limits.guessing(address("203.0.113.6")).is_ok(), "another address is not held");
        assert!(limits.guessing(None).is_ok(), "the command line in this process is not held");
        clock.advance(retry_after);
        assert!(limits.guessing(address("203.0.113.5")).is_ok(), "the time is over");

        // Requests without a key cost no look-up, so they hold up nobody's.
        for _ in 0..5 {
            drop(limits.failure(address("203.0.113.9"), Failure::NoKey));
        }
        assert!(limits.guessing(address("203.0.113.9")).is_ok());
        for n in 0..100_u32 {
            (0..3).for_each(|_| drop(limits.failure(Some(IpAddr::from(n.to_be_bytes())), Failure::Guess)));
        }
        assert!(limits.guessing.lock().len() <= 2, "what is remembered is bounded");
        clock.advance(Duration::from_secs(60));
        limits.sweep();
        assert!(limits.guessing.lock().is_empty());
    }
}
