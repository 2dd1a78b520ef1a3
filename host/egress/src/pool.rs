//! Connections that wait to be used again.
//!
//! Promise: a connection is used again only for the same user and skill of the same tenant, with the same credential,
//! for the same origin, after its address was checked again.

use crate::EgressLimits;
use crate::connection::Connection;
use crate::owner::Bearer;
use crate::url::CheckedUrl;
use parking_lot::Mutex;
use sophon_skill::Scheme;
use sophon_types::TenantId;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::Instant;
use url::Host;

/// Who may use a connection, and where it leads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    bearer: Bearer,
    scheme: Scheme,
    host: Host<String>,
    port: u16,
}

impl Key {
    pub(crate) fn of(bearer: Bearer, url: &CheckedUrl) -> Self {
        Self { bearer, scheme: url.scheme(), host: url.host().clone(), port: url.port() }
    }
}

struct Idle {
    connection: Connection,
    since: Instant,
}

#[derive(Default)]
struct Kept {
    idle: HashMap<Key, Vec<Idle>>,
    sweeping: bool,
}

impl Kept {
    fn len(&self) -> usize {
        self.idle.values().map(Vec::len).sum()
    }

    fn sweep(&mut self, limits: &EgressLimits) {
        self.retain(|idle| idle.since.elapsed() < limits.idle && idle.connection.age() < limits.pin);
    }

    fn retain(&mut self, mut kept: impl FnMut(&mut Idle) -> bool) {
        self.idle.retain(|_, waiting| {
            waiting.retain_mut(&mut kept);
            !waiting.is_empty()
        });
    }

    /// Makes room for one more, at the cost of the tenant that has the most: nobody closes another's connections.
    fn drop_oldest(&mut self) {
        let mut shares: HashMap<&TenantId, usize> = HashMap::new();
        for (key, waiting) in &self.idle {
            *shares.entry(key.bearer.tenant()).or_default() += waiting.len();
        }
        let Some(largest) = shares.into_iter().max_by_key(|&(_, count)| count).map(|(tenant, _)| tenant.clone()) else {
            return;
        };
        let oldest = self
            .idle
            .iter()
            .filter(|(key, _)| *key.bearer.tenant() == largest)
            .filter_map(|(key, waiting)| Some((waiting.first()?.since, key.clone())))
            .min_by_key(|(since, _)| *since);
        if let Some((_, key)) = oldest
            && let Some(waiting) = self.idle.get_mut(&key)
        {
            waiting.remove(0);
        }
    }
}

/// The idle connections of the process.
pub(crate) struct Pool {
    kept: Mutex<Kept>,
    limits: EgressLimits,
}

impl Pool {
    pub(crate) fn new(limits: EgressLimits) -> Arc<Self> {
        Arc::new(Self { kept: Mutex::new(Kept::default()), limits })
    }

    /// A connection to use again. `admits` decides on its address as if it were dialled now.
    pub(crate) async fn take(&self, key: &Key, admits: impl Fn(SocketAddr) -> bool) -> Option<Connection> {
        loop {
            let mut connection = {
                let mut kept = self.kept.lock();
                kept.sweep(&self.limits);
                kept.idle.get_mut(key)?.pop()?.connection
            };
            if admits(connection.peer()) && connection.is_ready().await {
                return Some(connection);
            }
        }
    }

    pub(crate) fn put(self: &Arc<Self>, key: Key, mut connection: Connection) {
        let none_kept = self.limits.idle_per_origin == 0 || self.limits.idle_connections == 0;
        if none_kept || connection.is_closed() || connection.age() >= self.limits.pin {
            return;
        }
        let mut kept = self.kept.lock();
        kept.sweep(&self.limits);
        if kept.len() >= self.limits.idle_connections {
            kept.drop_oldest();
        }
        let waiting = kept.idle.entry(key).or_default();
        if waiting.len() >= self.limits.idle_per_origin {
            waiting.remove(0);
        }
        waiting.push(Idle { connection, since: Instant::now() });
        if !kept.sweeping {
            kept.sweeping = true;
            tokio::spawn(Self::sweep_until_empty(Arc::downgrade(self), self.limits.idle));
        }
    }

    /// Closes what has waited too long, also when nobody asks for connections any more.
    async fn sweep_until_empty(pool: Weak<Self>, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            let Some(pool) = pool.upgrade() else { return };
            let mut kept = pool.kept.lock();
            kept.sweep(&pool.limits);
            // Those that were closed at the other end meanwhile: whoever takes one sees it too, but may never come.
            kept.retain(|idle| !idle.connection.is_closed());
            if kept.idle.is_empty() {
                kept.sweeping = false;
                return;
            }
        }
    }
}
