//! Connections as they were read last, sealed as they rest: a skill that sends many requests costs one look-up.
//!
//! Never: an opened secret. Every entry stands under tenant, user and service, so nobody finds another's.

use crate::found::Found;
use parking_lot::Mutex;
use sophon_types::{ServiceName, TenantId, UserId};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a row is believed. What this vault changes is forgotten at once; this bounds what was changed behind its back.
const BELIEVED: Duration = Duration::from_secs(2);
/// The most rows that are remembered, absent ones included.
const REMEMBERED: usize = 4096;

/// Whose connection, and which; no user: the tenant's own.
type Place = (TenantId, Option<UserId>, ServiceName);

#[derive(Default)]
pub(crate) struct Recent(Mutex<Rows>);

#[derive(Default)]
struct Rows {
    rows: HashMap<Place, (Option<Arc<Found>>, Instant)>,
    /// Rises with every change: what was read before is not remembered after it.
    generation: u64,
}

/// What a look-up found before the store was asked.
pub(crate) enum Look {
    /// What the store said a moment ago.
    Known(Option<Arc<Found>>),
    /// Nothing; to be handed back with what the store says.
    Unknown(u64),
}

impl Recent {
    pub(crate) fn look(&self, place: &Place) -> Look {
        let rows = self.0.lock();
        match rows.rows.get(place) {
            Some((row, since)) if since.elapsed() < BELIEVED => Look::Known(row.clone()),
            _ => Look::Unknown(rows.generation),
        }
    }

    pub(crate) fn remember(&self, generation: u64, place: Place, row: Option<Arc<Found>>, since: Instant) {
        let mut rows = self.0.lock();
        if rows.generation != generation {
            return;
        }
        if rows.rows.len() >= REMEMBERED {
            rows.rows.retain(|_place, (_row, since)| since.elapsed() < BELIEVED);
        }
        if rows.rows.len() < REMEMBERED {
            rows.rows.insert(place, (row, since));
        }
    }

    /// Forgets everything: something was changed.
    pub(crate) fn forget(&self) {
        let mut rows = self.0.lock();
        rows.generation += 1;
        rows.rows.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(user: Option<&str>) -> Place {
        ("acme".parse().unwrap(), user.map(|user| user.parse().unwrap()), "github".parse().unwrap())
    }

    fn unknown(recent: &Recent, place: &Place) -> u64 {
        match recent.look(place) {
            Look::Unknown(generation) => generation,
            Look::Known(row) => panic!("{row:?} is known"),
        }
    }

    #[test]
    fn what_was_read_before_a_change_is_not_remembered_after_it() {
        let recent = Recent::default();
        let (own, tenants) = (place(Some("ann")), place(None));
        let before = unknown(&recent, &own);
        recent.forget();
        recent.remember(before, own.clone(), None, Instant::now());
        let generation = unknown(&recent, &own);
        recent.remember(generation, own.clone(), None, Instant::now());
        assert!(matches!(recent.look(&own), Look::Known(None)));
        unknown(&recent, &tenants);
        unknown(&recent, &place(Some("bob")));
        recent.forget();
        unknown(&recent, &own);
    }

    #[test]
    fn a_row_is_believed_for_a_while_and_their_number_is_bounded() {
        let recent = Recent::default();
        let long_ago = Instant::now().checked_sub(BELIEVED).unwrap();
        for n in 0..=REMEMBERED {
            recent.remember(0, place(Some(&format!("user-{n}"))), None, long_ago);
        }
        unknown(&recent, &place(Some("user-0")));
        assert!(recent.0.lock().rows.len() <= REMEMBERED);
    }
}
