//! Time that only ever goes on: how old results are does not depend on who sets the wall clock.

use sophon_types::{Clock, Timestamp};
use std::time::Instant;

/// The wall clock as it was when this was made, and the time that has passed since.
///
/// An idempotency key must not become free because the clock was set forward, or back while the call ran: the same key
/// would then have its effect twice. A new process begins with the wall clock again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Steady {
    wall: Timestamp,
    since: Instant,
}

impl Steady {
    pub(crate) fn begin(clock: &dyn Clock) -> Self {
        Self { wall: clock.now(), since: Instant::now() }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.wall.plus(self.since.elapsed())
    }
}
