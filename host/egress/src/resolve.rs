//! Names to addresses: once a connection, bounded in time, every answer checked.
//!
//! Promise: what is dialled is an address out of the one answer that was checked. HTTPS and SVCB hints are not
//! asked for, and proxy variables are not read.

use async_trait::async_trait;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Finds the addresses of a name. Never called for a literal address.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// All addresses of `name` (ASCII, lower case, no trailing dot).
    ///
    /// # Errors
    /// What the resolver says.
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// Lookups that run at once; each holds one of the runtime's blocking threads until the system answers.
const LOOKUPS: usize = 32;

/// The operating system's resolver.
#[derive(Debug, Clone)]
pub struct SystemResolver {
    running: Arc<Semaphore>,
}

impl SystemResolver {
    /// A resolver with its own bound on lookups at once.
    #[must_use]
    pub fn new() -> Self {
        Self { running: Arc::new(Semaphore::new(LOOKUPS)) }
    }
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Resolve for SystemResolver {
    #[expect(clippy::disallowed_methods, reason = "the one place where names are resolved")]
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let permit = Arc::clone(&self.running).acquire_owned().await.map_err(io::Error::other)?;
        let name = name.to_owned();
        // A task of its own: where the caller gives up, the thread is still busy and the permit still taken.
        let lookup = tokio::spawn(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?.map(|address| address.ip()).collect();
            drop(permit);
            Ok(found)
        });
        lookup.await.map_err(io::Error::other)?
    }
}
