//! What keeps a processor busy for a while: reading a large body, scanning text from outside. It runs on threads of its
//! own, so that whoever serves others is not held up, and there is little of it at one time, waiting or under way: the
//! queue of those threads has no end.

use crate::GatewayError;
use crate::auth::Caller;
use crate::shares::{Share, Shares};
use crate::turns::Turns;
use tracing::Span;

/// Pieces of work at one time.
const AT_ONCE: usize = 4;
/// Of these, those of one tenant.
const OF_TENANT: usize = 2;
/// Pieces of work that wait or are under way: a tenant has seven eighths of it, a user three quarters.
const IN_LINE: usize = 64;

/// Runs such work in turn.
#[derive(Debug)]
pub(crate) struct Work {
    line: Shares,
    turns: Turns,
}

impl Work {
    pub(crate) fn new() -> Self {
        Self { line: Shares::of(IN_LINE), turns: Turns::new(AT_ONCE, OF_TENANT) }
    }

    /// Does a piece of work of this caller when its turn comes. The thread keeps the turn, and what the work holds, until
    /// the work is done, even where nobody waits for it any more.
    ///
    /// # Errors
    /// [`GatewayError::Crowded`] where the caller, or everybody together, has too much in line;
    /// [`GatewayError::Broken`] where the work panics.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        of: &Caller,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, GatewayError> {
        let place = self.place(of)?;
        let tenant = (!of.standing.is_operator()).then(|| of.principal.tenant.clone());
        let turn = self.turns.begin(tenant).await?;
        let span = Span::current();
        let working = tokio::task::spawn_blocking(move || {
            let done = span.in_scope(work);
            drop((turn, place));
            done
        });
        working.await.map_err(|ended| GatewayError::Broken { detail: format!("work did not end: {ended}") })
    }

    /// What tenants do never keeps the person at the machine from their own gateway.
    fn place(&self, of: &Caller) -> Result<Option<Share>, GatewayError> {
        if of.standing.is_operator() {
            return Ok(None);
        }
        self.line.take(&of.principal, 1).map(Some).ok_or(GatewayError::Crowded { what: "requests like this" })
    }
}

#[cfg(test)]
impl Work {
    /// The whole line, as far as this caller can have it.
    pub(crate) fn fill(&self, of: &sophon_types::Principal) -> Vec<Share> {
        std::iter::from_fn(|| self.line.take(of, 1)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test]
    async fn attack_44_a_flood_of_one_tenant_has_few_threads_and_a_line_that_ends() {
        let work = Work::new();
        let (over, wait) = mpsc::channel::<()>();
        let wait = std::sync::Arc::new(parking_lot::Mutex::new(wait));
        let (began, begun) = mpsc::channel();
        let one = |of: &Caller| {
            let (wait, began, name) = (wait.clone(), began.clone(), of.principal.tenant.to_string());
            let piece = move || {
                began.send(name).unwrap();
                wait.lock().recv().unwrap_err();
            };
            let (work, of) = (&work, of.clone());
            Box::pin(async move { work.run(&of, piece).await })
        };
        let acme = Caller::stranger("acme", "ann");
        let mut flood: Vec<_> = (0..IN_LINE).map(|_| one(&acme)).collect();
        let mut refused = 0;
        for piece in &mut flood {
            if let std::task::Poll::Ready(done) = futures::poll!(piece) {
                assert!(matches!(done, Err(GatewayError::Crowded { .. })), "{done:?}");
                refused += 1;
            }
        }
        assert_eq!(refused, IN_LINE / 4, "a user has three quarters of the line");
        let mut other = one(&Caller::stranger("rival", "zoe"));
        assert!(futures::poll!(&mut other).is_pending());
        let mut under_way: Vec<String> = (0..3).map(|_| begun.recv().unwrap()).collect();
        under_way.sort();
        assert_eq!(under_way, ["acme", "acme", "rival"]);
        assert!(begun.try_recv().is_err(), "the others wait for their turn, and for no thread");

        // Whoever hangs up frees nothing while the thread goes on.
        drop(flood);
        let mut again = one(&acme);
        assert!(futures::poll!(&mut again).is_pending());
        tokio::task::yield_now().await;
        assert!(futures::poll!(&mut again).is_pending() && begun.try_recv().is_err());
        drop(over);
        again.await.unwrap();
        other.await.unwrap();
    }
}
