//! Looking for secrets in what goes out and what comes back.
//!
//! Promise: a large body is read on a thread that may block, a few of them at once in the process and fewer of one tenant, so
//! that no async worker is held up by a skill's megabytes, and nobody by another tenant's.

use crate::admit::AllowedRequest;
use crate::error::{Denial, HttpError};
use crate::placeholder::{Handed, Swaps, disguise};
use crate::slots::Shares;
use bytes::Bytes;
use sophon_guard::{Hit, KnownSecrets};
use sophon_types::TenantId;
use std::borrow::Cow;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Bodies up to this many bytes are read where they are.
const INLINE: usize = 64 * 1024;
/// Large bodies that are read at once.
const AT_ONCE: usize = 2;
/// Of these, those of one tenant: whoever sends many waits behind their own.
const OF_A_TENANT: usize = 1;

/// Reads bodies; one of these in a process.
pub(crate) struct Scanner {
    slots: Arc<Semaphore>,
    tenants: Shares<TenantId>,
}

impl Scanner {
    pub(crate) fn new() -> Self {
        Self { slots: Arc::new(Semaphore::new(AT_ONCE)), tenants: Shares::new(OF_A_TENANT) }
    }

    /// Refuses a request that holds one of `secrets` in any spelling: only the host attaches secrets.
    pub(crate) async fn check(
        &self,
        tenant: &TenantId,
        secrets: &KnownSecrets,
        allowed: &AllowedRequest,
    ) -> Result<(), HttpError> {
        if secrets.is_empty() {
            return Ok(());
        }
        check_head(secrets, allowed)?;
        let known = secrets.clone();
        check_body(self.run(tenant, allowed.body(), move |body| known.find(body)).await?)
    }

    /// Refuses a large body that holds a placeholder in disguise; of small ones that was seen when they were admitted.
    pub(crate) async fn check_disguise(
        &self,
        tenant: &TenantId,
        handed: &Arc<Handed>,
        allowed: &AllowedRequest,
    ) -> Result<(), HttpError> {
        if handed.is_empty() || allowed.body().len() <= crate::placeholder::INLINE {
            return Ok(());
        }
        let known = Arc::clone(handed);
        let found =
            self.run(tenant, allowed.body(), move |body| known.alarm().find(&known.blanked(body)).is_some()).await?;
        if found { Err(disguise("the body")) } else { Ok(()) }
    }

    /// `body` without `secrets`.
    pub(crate) async fn redact(
        &self,
        tenant: &TenantId,
        secrets: &KnownSecrets,
        body: &Bytes,
    ) -> Result<Bytes, HttpError> {
        if secrets.is_empty() {
            return Ok(body.clone());
        }
        let known = secrets.clone();
        let changed = self.run(tenant, body, move |body| match known.redact(body).bytes {
            Cow::Borrowed(_) => None,
            Cow::Owned(bytes) => Some(bytes),
        });
        Ok(changed.await?.map_or_else(|| body.clone(), Bytes::from))
    }

    /// `body` with placeholders for the tokens in it.
    pub(crate) async fn swap(&self, tenant: &TenantId, swaps: &Arc<Swaps>, body: &Bytes) -> Result<Bytes, HttpError> {
        let swaps = Arc::clone(swaps);
        self.run(tenant, body, move |body| Bytes::from(swaps.apply(body))).await
    }

    async fn run<T: Send + 'static>(
        &self,
        tenant: &TenantId,
        body: &Bytes,
        work: impl FnOnce(&[u8]) -> T + Send + 'static,
    ) -> Result<T, HttpError> {
        if body.len() <= INLINE {
            return Ok(work(body));
        }
        let failed = || HttpError::HostUnavailable("a body could not be searched for secrets".into());
        // Held by the thread, not by whoever waits for it: a cancelled call does not make room before it is done. The tenant's
        // own first: who waits for that does not stand in others' way.
        let own = self.tenants.of(tenant.clone()).acquire_owned().await.map_err(|_closed| failed())?;
        let slot = Arc::clone(&self.slots).acquire_owned().await.map_err(|_closed| failed())?;
        let body = body.clone();
        let found = spawn_blocking(move || {
            let found = work(&body);
            drop((slot, own));
            found
        });
        found.await.map_err(|error| {
            tracing::error!(%error, "the search for secrets failed");
            failed()
        })
    }
}

/// As [`Scanner::check`], on the spot.
pub(crate) fn check_here(secrets: &KnownSecrets, allowed: &AllowedRequest) -> Result<(), HttpError> {
    if secrets.is_empty() {
        return Ok(());
    }
    check_head(secrets, allowed)?;
    check_body(secrets.find(allowed.body()))
}

fn check_head(secrets: &KnownSecrets, allowed: &AllowedRequest) -> Result<(), HttpError> {
    if let Some(hit) = secrets.find(allowed.url().as_bytes()) {
        return Err(found("the URL", &hit));
    }
    let fields = allowed.headers().iter();
    match fields.flat_map(|(name, value)| [name.as_str().as_bytes(), value.as_bytes()]).find_map(|at| secrets.find(at))
    {
        Some(hit) => Err(found("a header field", &hit)),
        None => Ok(()),
    }
}

fn check_body(hit: Option<Hit>) -> Result<(), HttpError> {
    hit.map_or(Ok(()), |hit| Err(found("the body", &hit)))
}

fn found(place: &str, hit: &Hit) -> HttpError {
    Denial::new("secret_in_request", format_args!("{place} of the request holds the secret {}", hit.label))
        .hint(
            "name the credential in the request; the host attaches it where the manifest says. A password that is an ordinary \
             word meets this too, wherever the word stands: connect one that is not",
        )
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_large_body_is_read_on_a_thread_of_its_own_and_only_so_many_at_once() {
        let scanner = Scanner::new();
        let own = std::thread::current().id();
        let reader = |bytes: usize| {
            let body = Bytes::from(vec![0; bytes]);
            let scanner = &scanner;
            async move { scanner.run(&"acme".parse().unwrap(), &body, |_| std::thread::current().id()).await.unwrap() }
        };
        assert_eq!(reader(INLINE).await, own);
        assert_ne!(reader(INLINE + 1).await, own);
        // With every place taken, a large body waits and a small one does not.
        let taken = scanner.slots.acquire_many(AT_ONCE.try_into().unwrap()).await.unwrap();
        tokio::select! {
            biased;
            _ = reader(INLINE + 1) => panic!("more are read at once than there are places"),
            id = reader(INLINE) => assert_eq!(id, own),
        }
        drop(taken);
        assert_ne!(reader(INLINE + 1).await, own);
    }

    #[tokio::test]
    async fn a_tenant_that_sends_much_leaves_room_to_others() {
        let scanner = Arc::new(Scanner::new());
        let body = Bytes::from(vec![0; INLINE + 1]);
        let (go, held) = std::sync::mpsc::channel::<()>();
        let first = tokio::spawn({
            let (scanner, body) = (Arc::clone(&scanner), body.clone());
            async move { scanner.run(&"acme".parse().unwrap(), &body, move |_| held.recv().is_err()).await.map(drop) }
        });
        while scanner.slots.available_permits() == AT_ONCE {
            tokio::task::yield_now().await;
        }
        // More of the same tenant wait behind it, and not before others.
        let more: Vec<_> = (0..8)
            .map(|_| {
                let (scanner, body) = (Arc::clone(&scanner), body.clone());
                tokio::spawn(async move { scanner.run(&"acme".parse().unwrap(), &body, |_| ()).await })
            })
            .collect();
        tokio::task::yield_now().await;
        scanner.run(&"rival".parse().unwrap(), &body, |_| ()).await.unwrap();
        assert!(more.iter().all(|waiting| !waiting.is_finished()));
        drop(go);
        first.await.unwrap().unwrap();
        for waiting in more {
            waiting.await.unwrap().unwrap();
        }
    }
}
