//! Refused requests in the audit log: failed authentications by address, and what a key tried that its role or tenant does
//! not reach by key. The first one at once, what follows within a minute as one record with a count. A client that guesses
//! keys or probes for privileges leaves a trace, but cannot fill the disk.

use crate::peer::site;
use parking_lot::Mutex;
use sophon_audit::{Action, AuditLog, Outcome, Record};
use sophon_types::{CorrelationId, KeyId, Principal};
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// The least time between two records of one address, or of one key.
const PAUSE: Duration = Duration::from_secs(60);
/// The most addresses, and keys, that are told apart; the rest share a record.
const TOLD_APART: usize = 1024;

/// Collects refusals and records them.
#[derive(Debug)]
pub(crate) struct Refusals {
    audit: AuditLog,
    seen: Mutex<HashMap<Option<IpAddr>, Seen>>,
    overreach: Mutex<HashMap<Option<KeyId>, Overreach>>,
}

/// What a key tried that it does not reach.
#[derive(Debug)]
struct Overreach {
    recorded: Instant,
    /// Who; nobody in particular where there are too many keys to tell apart.
    principal: Option<Principal>,
    code: String,
    since: u64,
    /// As many as there are routes, at the most.
    routes: BTreeSet<Tried>,
}

/// A route, as the table has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tried {
    pub(crate) method: &'static str,
    pub(crate) route: &'static str,
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.route)
    }
}

#[derive(Debug)]
struct Seen {
    recorded: Instant,
    since: u64,
}

impl Refusals {
    pub(crate) fn new(audit: AuditLog) -> Self {
        Self { audit, seen: Mutex::default(), overreach: Mutex::default() }
    }

    /// Takes note of a request that was refused with `code`.
    pub(crate) fn note(&self, address: Option<IpAddr>, code: &str, correlation: CorrelationId) {
        let due = {
            let mut seen = self.seen.lock();
            let key = address.map(site);
            let key = if seen.len() < TOLD_APART || seen.contains_key(&key) { key } else { None };
            match seen.get_mut(&key) {
                Some(entry) => {
                    entry.since += 1;
                    None
                }
                None => {
                    seen.insert(key, Seen { recorded: Instant::now(), since: 0 });
                    Some(key)
                }
            }
        };
        if let Some(key) = due {
            self.record(key, code, 1, Some(correlation));
        }
    }

    /// Takes note of what this caller tried and was refused with `code`.
    pub(crate) fn overreach(&self, by: &Principal, tried: Tried, code: &str, correlation: Option<CorrelationId>) {
        let first = {
            let mut seen = self.overreach.lock();
            let key = Some(by.key);
            let key = if seen.len() < TOLD_APART || seen.contains_key(&key) { key } else { None };
            let principal = key.map(|_| by.clone());
            if let Some(entry) = seen.get_mut(&key) {
                entry.since += 1;
                entry.routes.insert(tried);
                code.clone_into(&mut entry.code);
                None
            } else {
                let (recorded, code) = (Instant::now(), code.to_owned());
                let entry =
                    Overreach { recorded, principal: principal.clone(), code, since: 0, routes: BTreeSet::new() };
                seen.insert(key, entry);
                Some(principal)
            }
        };
        if let Some(principal) = first {
            self.record_overreach(principal.as_ref(), code, &BTreeSet::from([tried]), 1, correlation);
        }
    }

    fn flush_overreach(&self, at_the_end: AtTheEnd) {
        let mut due = Vec::new();
        self.overreach.lock().retain(|_key, seen| {
            if at_the_end == AtTheEnd::No && seen.recorded.elapsed() < PAUSE {
                return true;
            }
            if seen.since == 0 {
                return false;
            }
            let (count, routes) = (std::mem::take(&mut seen.since), std::mem::take(&mut seen.routes));
            due.push((seen.principal.clone(), seen.code.clone(), routes, count));
            seen.recorded = Instant::now();
            true
        });
        for (principal, code, routes, count) in due {
            self.record_overreach(principal.as_ref(), &code, &routes, count, None);
        }
    }

    fn record_overreach(
        &self,
        by: Option<&Principal>,
        code: &str,
        routes: &BTreeSet<Tried>,
        count: u64,
        correlation: Option<CorrelationId>,
    ) {
        let routes: Vec<String> = routes.iter().map(ToString::to_string).collect();
        let mut record = Record::new(Action::AuthzRefused, Outcome::denied(code.to_owned()))
            .detail("routes", routes)
            .detail("count", count);
        if let Some(by) = by {
            record = record.principal(by).detail("role", by.role.as_str());
        }
        if let Some(correlation) = correlation {
            record = record.correlation(correlation);
        }
        if let Err(error) = self.audit.enqueue(record) {
            tracing::warn!(%error, "a refusal could not be recorded");
        }
    }

    /// Records what came in since the last record of each address and key, and forgets the quiet ones.
    pub(crate) fn flush(&self, at_the_end: AtTheEnd) {
        self.flush_overreach(at_the_end);
        let mut due = Vec::new();
        self.seen.lock().retain(|address, seen| {
            if at_the_end == AtTheEnd::No && seen.recorded.elapsed() < PAUSE {
                return true;
            }
            if seen.since == 0 {
                return false;
            }
            due.push((*address, seen.since));
            *seen = Seen { recorded: Instant::now(), since: 0 };
            true
        });
        for (address, count) in due {
            self.record(address, "key_invalid", count, None);
        }
    }

    fn record(&self, address: Option<IpAddr>, code: &str, count: u64, correlation: Option<CorrelationId>) {
        let from = address.map_or_else(|| "elsewhere".to_owned(), |address| address.to_string());
        let mut record = Record::new(Action::AuthnRefused, Outcome::Denied { code: code.to_owned().into() })
            .detail("from", from)
            .detail("count", count);
        if let Some(correlation) = correlation {
            record = record.correlation(correlation);
        }
        if let Err(error) = self.audit.enqueue(record) {
            tracing::warn!(%error, "a failed authentication could not be recorded");
        }
    }
}

/// Whether the gateway is stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtTheEnd {
    Yes,
    No,
}
