//! Counting requests by key. Counting is governor's (GCRA, lock-free per key); this module adds what it leaves open: the
//! memory that counting takes is bounded whatever the clients send.

use crate::reading::{Reading, Refused};
use governor::clock::Clock;
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How many shared counters stand in for single ones while there are too many clients to count one by one.
pub(crate) const CROWD: u64 = 256;

/// How fast, and how many at once after a quiet while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    pub(crate) per_minute: NonZeroU32,
    pub(crate) burst: NonZeroU32,
}

impl Pace {
    /// Seconds in which as many as the burst come back.
    pub(crate) fn window(self) -> u64 {
        self.seconds_for(self.burst.get())
    }

    /// What this pace says of a request that has to wait.
    pub(crate) fn refused(self, policy: &'static str, retry_after: Duration) -> Refused {
        Refused { retry_after, policy, quota: self.burst.get(), window: self.window() }
    }

    fn seconds_for(self, count: u32) -> u64 {
        (u64::from(count) * 60).div_ceil(self.per_minute.get().into()).max(1)
    }
}

/// A limiter by key, over a concurrent map.
type Keyed<K, C> = RateLimiter<K, DashMapStateStore<K>, C, StateInformationMiddleware>;

/// One set of counters of the same pace.
#[derive(Debug)]
pub(crate) struct Counter<K: Clone + Hash + Eq, C: Clock> {
    limiter: Keyed<Counted<K>, C>,
    clock: C,
    pace: Pace,
    most: usize,
    opened: Instant,
    /// Who shares a crowd is nothing that a client could work out.
    crowds: RandomState,
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
    pub(crate) fn new(pace: Pace, most: usize, clock: &C) -> Self {
        let quota = Quota::per_minute(pace.per_minute).allow_burst(pace.burst);
        let limiter = RateLimiter::dashmap_with_clock(quota, clock.clone());
        Self {
            limiter: limiter.with_middleware::<StateInformationMiddleware>(),
            clock: clock.clone(),
            pace,
            most,
            opened: Instant::now(),
            crowds: RandomState::new(),
            swept: AtomicU64::new(0),
        }
    }

    /// Whether it counts like this already, so that it can go on.
    pub(crate) fn is(&self, pace: Pace, most: usize) -> bool {
        self.pace == pace && self.most == most
    }

    /// Counts one; `policy` names the limit in headers.
    pub(crate) fn check(&self, key: K, policy: &'static str) -> Result<Reading, Refused> {
        let (quota, window) = (self.pace.burst.get(), self.pace.window());
        match self.limiter.check_key(&self.counted(key)) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                let reset = self.pace.seconds_for(quota.saturating_sub(remaining));
                Ok(Reading { policy, quota, window, remaining, reset })
            }
            Err(refused) => {
                let retry_after = refused.wait_time_from(self.clock.now());
                Err(self.pace.refused(policy, retry_after))
            }
        }
    }

    pub(crate) fn sweep(&self) {
        self.limiter.retain_recent();
    }

    /// How many are counted one by one or in crowds.
    pub(crate) fn len(&self) -> usize {
        self.limiter.len()
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
        Counted::Crowd(self.crowds.hash_one(key) % CROWD)
    }
}
