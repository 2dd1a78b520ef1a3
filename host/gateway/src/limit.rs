//! How many requests a user or an address may send, and how often tools are called and hosts are spoken to. What is
//! configured can change while the gateway runs; a counter whose pace did not change goes on counting.

use crate::GatewayError;
use crate::budgets::Budgets;
use crate::config::RateLimits;
use crate::counter::{Counter, Pace};
use crate::peer::site;
use crate::reading::Reading;
use governor::clock::{Clock, DefaultClock, Reference as _};
use parking_lot::{Mutex, RwLock};
use sophon_executor::OfferedTool;
use sophon_types::{Principal, TenantId, ToolName, UserId};
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

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
pub struct Limits<C: Clock = DefaultClock> {
    set: RwLock<Arc<Set<C>>>,
    clock: C,
    /// Addresses whose last guess was one too many: since when, and for how long.
    guessing: Mutex<HashMap<IpAddr, (C::Instant, Duration)>>,
}

/// The counters of one configuration.
#[derive(Debug)]
struct Set<C: Clock> {
    config: RateLimits,
    users: Arc<Counter<(TenantId, UserId), C>>,
    tenants: Arc<Counter<TenantId, C>>,
    addresses: Arc<Counter<IpAddr, C>>,
    failures: Arc<Counter<IpAddr, C>>,
    tools: Budgets<C>,
    destinations: Budgets<C>,
}

impl<C: Clock + Clone> Set<C> {
    fn new(config: &RateLimits, clock: &C, before: Option<&Self>) -> Self {
        let most = config.max_tracked.get() as usize;
        let of_tenant = |of_user: NonZeroU32| of_user.saturating_mul(config.tenant_users);
        let user = Pace { per_minute: config.user_per_minute, burst: config.user_burst };
        let tenant = Pace { per_minute: of_tenant(user.per_minute), burst: of_tenant(user.burst) };
        let address = Pace { per_minute: config.address_per_minute, burst: config.address_burst };
        let failure = Pace { per_minute: config.failures_per_minute, burst: config.failures_burst };
        Self {
            users: going_on(user, most, clock, before.map(|before| &before.users)),
            tenants: going_on(tenant, most, clock, before.map(|before| &before.tenants)),
            addresses: going_on(address, most, clock, before.map(|before| &before.addresses)),
            failures: going_on(failure, most, clock, before.map(|before| &before.failures)),
            tools: Budgets::new("tool", &config.tools, most, clock, before.map(|before| &before.tools)),
            destinations: Budgets::new(
                "destination",
                &config.destinations,
                most,
                clock,
                before.map(|before| &before.destinations),
            ),
            config: config.clone(),
        }
    }
}

fn going_on<K: Clone + Hash + Eq, C: Clock + Clone>(
    pace: Pace,
    most: usize,
    clock: &C,
    before: Option<&Arc<Counter<K, C>>>,
) -> Arc<Counter<K, C>> {
    match before.filter(|before| before.is(pace, most)) {
        Some(before) => Arc::clone(before),
        None => Arc::new(Counter::new(pace, most, clock)),
    }
}

impl Limits {
    /// Limits that go by the machine's monotonic clock.
    #[must_use]
    pub fn new(config: &RateLimits) -> Self {
        Self::with_clock(config, &DefaultClock::default())
    }
}

impl<C: Clock + Clone> Limits<C> {
    /// Limits that go by `clock`.
    pub(crate) fn with_clock(config: &RateLimits, clock: &C) -> Self {
        let set = RwLock::new(Arc::new(Set::new(config, clock, None)));
        Self { set, clock: clock.clone(), guessing: Mutex::new(HashMap::new()) }
    }

    /// From now on these limits hold.
    pub(crate) fn reload(&self, config: &RateLimits) {
        let mut set = self.set.write();
        *set = Arc::new(Set::new(config, &self.clock, Some(&set)));
    }

    fn set(&self) -> Arc<Set<C>> {
        Arc::clone(&self.set.read())
    }

    /// Counts a request of an authenticated user.
    ///
    /// # Errors
    /// [`GatewayError::RateLimited`] where it is one too many.
    pub fn user(&self, tenant: &TenantId, user: &UserId) -> Result<Reading, GatewayError> {
        let counted = self.set().users.check((tenant.clone(), user.clone()), "user");
        counted.map_err(|limit| GatewayError::RateLimited { of: "of this user", limit })
    }

    /// Counts it for the tenant of that user too.
    pub(crate) fn tenant(&self, tenant: &TenantId) -> Result<Reading, GatewayError> {
        let counted = self.set().tenants.check(tenant.clone(), "tenant");
        counted.map_err(|limit| GatewayError::RateLimited { of: "of this tenant", limit })
    }

    /// Counts a call of a tool that this caller's tenant has: what is counted one by one is bounded by what is installed.
    pub(crate) fn tool(&self, principal: &Principal, tool: &OfferedTool) -> Result<Option<Reading>, GatewayError> {
        let counted = self.set().tools.take(principal, tool.name().as_str());
        counted.map_err(|limit| GatewayError::RateLimited { of: "for this tool", limit })
    }

    /// Counts a request of nobody in particular.
    pub(crate) fn address(&self, address: Option<IpAddr>) -> Result<Option<Reading>, GatewayError> {
        let Some(address) = address else { return Ok(None) };
        let set = self.set();
        if set.config.exempt_addresses.iter().any(|network| network.contains(address)) {
            return Ok(None);
        }
        let counted = set.addresses.check(site(address), "address");
        counted.map(Some).map_err(|limit| GatewayError::RateLimited { of: "from this address", limit })
    }

    /// Counts a failed authentication.
    pub(crate) fn failure(&self, address: Option<IpAddr>, failure: Failure) -> Result<(), GatewayError> {
        let Some(address) = address.map(site) else { return Ok(()) };
        match self.set().failures.check(address, "failures") {
            Ok(_reading) => Ok(()),
            Err(limit) => {
                if failure == Failure::Guess {
                    self.remember_guessing(address, limit.retry_after);
                }
                Err(GatewayError::RateLimited { of: GUESSES, limit })
            }
        }
    }

    /// Whether the address has guessed so many keys that its next guess need not even be looked up.
    pub(crate) fn guessing(&self, address: Option<IpAddr>) -> Result<(), GatewayError> {
        let Some(address) = address.map(site) else { return Ok(()) };
        let left = self.guessing.lock().get(&address).and_then(|held| self.left(held));
        let Some(retry_after) = left else { return Ok(()) };
        let config = &self.set().config;
        let pace = Pace { per_minute: config.failures_per_minute, burst: config.failures_burst };
        Err(GatewayError::RateLimited { of: GUESSES, limit: pace.refused("failures", retry_after) })
    }

    fn remember_guessing(&self, address: IpAddr, retry_after: Duration) {
        let most = self.set().config.max_tracked.get() as usize;
        let mut guessing = self.guessing.lock();
        if guessing.len() >= most {
            guessing.retain(|_address, held| self.left(held).is_some());
        }
        // Without room the next guess costs a look-up, as if nobody had counted.
        if guessing.len() < most {
            guessing.insert(address, (self.clock.now(), retry_after));
        }
    }

    /// What is left of the time that an address has to wait.
    fn left(&self, (since, span): &(C::Instant, Duration)) -> Option<Duration> {
        let gone: Duration = self.clock.now().duration_since(*since).into();
        span.checked_sub(gone).filter(|left| !left.is_zero())
    }

    /// How many users are counted.
    #[must_use]
    pub fn users_tracked(&self) -> usize {
        self.set().users.len()
    }

    /// Forgets clients that have been quiet long enough to be as good as new.
    pub(crate) fn sweep(&self) {
        let set = self.set();
        set.users.sweep();
        set.tenants.sweep();
        set.addresses.sweep();
        set.failures.sweep();
        set.tools.sweep();
        set.destinations.sweep();
        self.guessing.lock().retain(|_address, held| self.left(held).is_some());
    }
}

/// What egress asks before it sends a request of a skill.
impl<C> sophon_egress::DestinationBudget for Limits<C>
where
    C: Clock + Clone + Send + Sync,
    C::Instant: Send + Sync,
{
    fn take(&self, principal: &Principal, host: &str) -> Result<(), Duration> {
        self.set().destinations.take(principal, host).map(drop).map_err(|refused| refused.retry_after)
    }
}

/// The calls of schedules come through no route.
impl<C> sophon_executor::ToolBudget for Limits<C>
where
    C: Clock + Clone + Send + Sync,
    C::Instant: Send + Sync,
{
    fn take(&self, principal: &Principal, tool: &ToolName) -> Result<(), Duration> {
        self.set().tools.take(principal, tool.as_str()).map(drop).map_err(|refused| refused.retry_after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counter::CROWD;
    use governor::clock::FakeRelativeClock;
    use std::sync::atomic::Ordering;

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
            ..RateLimits::default()
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
        let Err(GatewayError::RateLimited { limit, .. }) = limits.address(address("203.0.113.5")) else {
            panic!("the fourth request is let in");
        };
        let retry_after = limit.retry_after;
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
        assert_eq!(limits.set().tenants.len(), 0);
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
        let tracked = limits.set().addresses.len();
        assert!(tracked <= 500 + CROWD as usize, "{tracked} clients are tracked");
        assert!(let_in <= 500 + 5 * CROWD as usize, "{let_in} requests were let in");
        clock.advance(Duration::from_secs(120));
        limits.sweep();
        assert_eq!(limits.set().addresses.len(), 0);
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
        let Err(GatewayError::RateLimited { limit, .. }) = limits.guessing(address("203.0.113.5")) else {
            panic!("the next guess is looked up");
        };
        assert!(limits.guessing(address("203.0.113.6")).is_ok(), "another address is not held");
        assert!(limits.guessing(None).is_ok(), "the command line in this process is not held");
        clock.advance(limit.retry_after);
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

    #[test]
    fn attack_44_a_million_keys_take_no_more_memory_than_those_that_are_tracked() {
        let limits = Limits::with_clock(&config(60, 5, 20_000), &FakeRelativeClock::default());
        let tenant: TenantId = "acme".parse().unwrap();
        for n in 0..1_000_000_u32 {
            drop(limits.user(&tenant, &format!("user-{n}").parse().unwrap()));
            if n % 100_000 == 0 {
                limits.sweep();
            }
        }
        let tracked = limits.users_tracked();
        assert!(tracked <= 20_000 + CROWD as usize, "{tracked} users are tracked");
    }

    #[test]
    fn a_reload_changes_what_changed_and_nothing_else() {
        let clock = FakeRelativeClock::default();
        let mut settings = config(6, 3, 1000);
        let limits = Limits::with_clock(&settings, &clock);
        let (tenant, ann) = ("acme".parse().unwrap(), "ann".parse().unwrap());
        let passed = || (0..100).take_while(|_| limits.user(&tenant, &ann).is_ok()).count();
        assert_eq!(passed(), 3);
        settings.address_burst = NonZeroU32::new(9).unwrap();
        limits.reload(&settings);
        assert_eq!(passed(), 0, "a reload is no new allowance");
        settings.user_burst = NonZeroU32::new(7).unwrap();
        limits.reload(&settings);
        assert_eq!(passed(), 7);
        assert_eq!((0..100).take_while(|_| limits.address(address("203.0.113.5")).is_ok()).count(), 9);
    }

    #[test]
    fn a_reading_says_what_is_left_and_when_it_is_back() {
        let clock = FakeRelativeClock::default();
        let limits = Limits::with_clock(&config(6, 3, 1000), &clock);
        let (tenant, ann) = ("acme".parse().unwrap(), "ann".parse().unwrap());
        let reading = limits.user(&tenant, &ann).unwrap();
        assert_eq!((reading.quota, reading.window, reading.remaining, reading.reset), (3, 30, 2, 10));
        let reading = limits.user(&tenant, &ann).unwrap();
        assert_eq!((reading.remaining, reading.reset), (1, 20));
        clock.advance(Duration::from_secs(20));
        assert_eq!(limits.user(&tenant, &ann).unwrap().remaining, 2, "it is back when it was said to be");
    }

    #[test]
    fn exempt_addresses_are_not_counted_but_their_failures_are() {
        let mut settings = config(6, 3, 1000);
        settings.exempt_addresses = vec!["203.0.113.0/24".parse().unwrap()];
        let limits = Limits::with_clock(&settings, &FakeRelativeClock::default());
        assert!((0..50).all(|_| limits.address(address("203.0.113.5")).is_ok()));
        let failures = (0..50).filter(|_| limits.failure(address("203.0.113.5"), Failure::Guess).is_ok()).count();
        assert_eq!(failures, 3);
    }
}
