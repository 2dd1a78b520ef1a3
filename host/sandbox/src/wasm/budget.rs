//! What one call may send, carry and hold, counted once for both ways to HTTP and for every other host call.
//!
//! Bytes are held in the name of the call for exactly as long as a body, or any slice of it, lives: a guest that keeps a
//! slice of an answer keeps the whole answer on its account.

use super::host::Exceeded;
use crate::Limits;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use tokio::sync::{Semaphore, SemaphorePermit};

/// The account of one call.
#[derive(Debug)]
pub(super) struct Budget {
    requests_left: AtomicU32,
    carried: AtomicU64,
    most_carried: u64,
    held: AtomicUsize,
    most_held: usize,
    /// Egress holds an answer before its size is known here, so only so many are awaited at one time.
    lines: Semaphore,
}

impl Budget {
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            requests_left: AtomicU32::new(limits.http_requests),
            carried: AtomicU64::new(0),
            most_carried: limits.hostcall_total_bytes,
            held: AtomicUsize::new(0),
            most_held: limits.http_bytes,
            lines: Semaphore::new(limits.http_in_flight.max(1) as usize),
        })
    }

    /// Counts a request; nothing where the call has sent all that it may.
    pub(super) fn request(&self) -> Option<()> {
        self.requests_left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).ok().map(|_before| ())
    }

    /// Waits until one more request may be on its way.
    pub(super) async fn line(&self) -> Option<SemaphorePermit<'_>> {
        self.lines.acquire().await.ok()
    }

    /// Counts bytes that went from the guest to the host or back.
    pub(super) fn carry(&self, bytes: usize) -> Result<(), Exceeded> {
        self.carried.fetch_add(bytes as u64, Relaxed);
        self.overdrawn()
    }

    /// Whether more bytes were carried than may be.
    pub(super) fn overdrawn(&self) -> Result<(), Exceeded> {
        if self.carried.load(Relaxed) > self.most_carried {
            return Err(Exceeded::new(format!("more than {} bytes through host calls", self.most_carried)));
        }
        Ok(())
    }

    /// Holds `bytes`, where there is room for them.
    pub(super) fn hold(self: &Arc<Self>, bytes: usize) -> Option<Hold> {
        let mut hold = Hold { budget: Arc::clone(self), bytes: 0 };
        hold.grow(bytes).map(|()| hold)
    }

    /// The most bytes that may be held at one time.
    pub(super) fn most_held(&self) -> u64 {
        self.most_held as u64
    }
}

/// Bytes on a call's account, taken off it on drop.
#[derive(Debug)]
pub(super) struct Hold {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Hold {
    /// Holds `more` on top; nothing changes where there is no room for them.
    pub(super) fn grow(&mut self, more: usize) -> Option<()> {
        let within = |held: usize| held.checked_add(more).filter(|total| *total <= self.budget.most_held);
        self.budget.held.fetch_update(Relaxed, Relaxed, within).ok()?;
        self.bytes += more;
        Some(())
    }

    /// Ties this to `bytes`: it ends with the last slice of them.
    pub(super) fn over(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Held { bytes, _hold: self })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Relaxed);
    }
}

struct Held {
    bytes: Bytes,
    _hold: Hold,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget() -> Arc<Budget> {
        let standard = Limits::of(sophon_skill::Preset::Standard);
        Budget::new(&Limits { http_requests: 2, http_bytes: 100, hostcall_total_bytes: 1_000, ..standard })
    }

    #[test]
    fn attack_26_held_bytes_are_summed_and_given_back_with_the_last_slice() {
        let budget = budget();
        let mut first = budget.hold(60).unwrap();
        assert!(budget.hold(41).is_none() && first.grow(41).is_none());
        let second = budget.hold(40).unwrap();
        drop(second);
        first.grow(40).unwrap();
        let body = first.over(Bytes::from(vec![0; 100]));
        let slice = body.slice(5..6);
        drop(body);
        assert!(budget.hold(1).is_none(), "a slice keeps the whole body, and nobody pays for it");
        drop(slice);
        assert!(budget.hold(100).is_some());
    }

    #[test]
    fn requests_and_carried_bytes_only_run_out() {
        let budget = budget();
        assert!([budget.request(), budget.request()].iter().all(Option::is_some));
        assert!(budget.request().is_none() && budget.request().is_none());
        budget.carry(1_000).unwrap();
        assert!(budget.carry(1).is_err() && budget.overdrawn().is_err());
    }
}
