//! Failed authentications in the audit log: the first of an address at once, what follows within a minute as one
//! record with a count. A client that guesses keys leaves a trace, but cannot fill the disk.

use crate::peer::site;
use parking_lot::Mutex;
use sophon_audit::{Action, AuditLog, Outcome, Record};
use sophon_types::CorrelationId;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// The least time between two records of one address.
const PAUSE: Duration = Duration::from_secs(60);
/// The most addresses that are told apart; the rest share a record.
const TOLD_APART: usize = 1024;

/// Collects failed authentications and records them.
#[derive(Debug)]
pub(crate) struct Refusals {
    audit: AuditLog,
    seen: Mutex<HashMap<Option<IpAddr>, Seen>>,
}

#[derive(Debug)]
struct Seen {
    recorded: Instant,
    since: u64,
}

impl Refusals {
    pub(crate) fn new(audit: AuditLog) -> Self {
        Self { audit, seen: Mutex::new(HashMap::new()) }
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

    /// Records what came in since the last record of each address, and forgets the quiet ones.
    pub(crate) fn flush(&self, at_the_end: AtTheEnd) {
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
