//! When a call has to be over. Time that a person takes to decide is not the call's.

use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Notify;

/// The end of one call, shared by all that has to keep it. It moves on by as long as it was paused, and never otherwise.
pub struct Deadline {
    now: Mutex<Now>,
    changed: Notify,
}

struct Now {
    at: Instant,
    /// How many requests of the call wait for a person.
    waiting: usize,
    /// Since when at least one does.
    since: Option<Instant>,
}

/// While it is there, the deadline does not come nearer.
pub struct Pause(Arc<Deadline>);

impl Deadline {
    /// A deadline at this moment.
    #[must_use]
    pub fn at(at: Instant) -> Arc<Self> {
        Arc::new(Self { now: Mutex::new(Now { at, waiting: 0, since: None }), changed: Notify::new() })
    }

    /// Moves the deadline forward to `latest` where it is later.
    pub fn no_later_than(&self, latest: Instant) {
        let mut now = self.now.lock();
        now.at = now.at.min(latest);
        drop(now);
        self.changed.notify_waiters();
    }

    /// The moment as it stands now; later, where it is paused.
    #[must_use]
    pub fn instant(&self) -> Instant {
        let now = self.now.lock();
        now.at + now.since.map(|since| since.elapsed()).unwrap_or_default()
    }

    /// Whether it has passed. A paused deadline has not.
    #[must_use]
    pub fn passed(&self) -> bool {
        let now = self.now.lock();
        now.waiting == 0 && Instant::now() >= now.at
    }

    /// Stops the time until what is returned is dropped.
    #[must_use]
    pub fn pause(self: &Arc<Self>) -> Pause {
        let mut now = self.now.lock();
        now.waiting += 1;
        if now.since.is_none() {
            now.since = Some(Instant::now());
        }
        drop(now);
        self.changed.notify_waiters();
        Pause(Arc::clone(self))
    }

    /// Returns when it has passed.
    pub async fn reached(&self) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Before the look at what may change, so that no change is missed.
            changed.as_mut().enable();
            let (at, paused) = {
                let now = self.now.lock();
                (now.at, now.waiting > 0)
            };
            if paused {
                changed.await;
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep_until(at.into()) => {
                    if self.passed() {
                        return;
                    }
                }
                () = changed => {}
            }
        }
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        let mut now = self.0.now.lock();
        now.waiting -= 1;
        if now.waiting == 0
            && let Some(since) = now.since.take()
        {
            now.at += since.elapsed();
        }
        drop(now);
        self.0.changed.notify_waiters();
    }
}

impl fmt::Debug for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Deadline({:?})", self.instant())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const TICK: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_pause_moves_the_end_by_as_long_as_it_lasts() {
        let begun = Instant::now();
        let deadline = Deadline::at(begun + TICK);
        let (one, two) = (deadline.pause(), deadline.pause());
        tokio::time::sleep(TICK * 3).await;
        assert!(!deadline.passed());
        drop(one);
        tokio::time::sleep(TICK).await;
        assert!(!deadline.passed(), "one still waits");
        drop(two);
        assert!(deadline.instant() >= begun + TICK * 5, "two that wait at one time stop it once");
        deadline.reached().await;
        assert!(begun.elapsed() >= TICK * 5 && deadline.passed());
    }

    #[tokio::test]
    async fn who_waits_for_the_end_learns_of_a_pause() {
        let deadline = Deadline::at(Instant::now() + TICK);
        let waiting = tokio::spawn({
            let deadline = Arc::clone(&deadline);
            async move { deadline.reached().await }
        });
        tokio::task::yield_now().await;
        let pause = deadline.pause();
        tokio::time::sleep(TICK * 4).await;
        assert!(!waiting.is_finished());
        drop(pause);
        waiting.await.unwrap();
        assert!(deadline.passed());
    }

    #[tokio::test]
    async fn it_can_only_be_moved_forward() {
        let now = Instant::now();
        let deadline = Deadline::at(now + TICK);
        deadline.no_later_than(now + TICK * 100);
        assert!(deadline.instant() <= now + TICK);
        deadline.no_later_than(now);
        assert!(deadline.passed());
        deadline.reached().await;
    }
}
