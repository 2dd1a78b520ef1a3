//! Connections as they were read last, sealed as they rest: a skill that sends many requests costs one look-up.
//!
//! Promise: what one tenant does shows to no other in how long a look-up takes. A change makes nothing but its own tenant's
//! rows forgotten, and where there is no room, the tenant with the most rows makes it.
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
/// The most rows that are remembered, absent ones included; a tenant counts as one besides its rows.
const REMEMBERED: usize = 4096;

/// Which connection of a tenant; no user: the tenant's own.
pub(crate) type Place = (Option<UserId>, ServiceName);

#[derive(Default)]
pub(crate) struct Recent(Mutex<Tenants>);

#[derive(Default)]
struct Tenants {
    rows: HashMap<TenantId, Rows>,
    /// How often a tenant's rows were begun. Never the same twice, whatever was forgotten meanwhile.
    begun: u64,
}

/// The rows of one tenant since its last change: each change begins them anew.
struct Rows {
    /// What was read before a change is not remembered after it: by this it is known.
    generation: u64,
    rows: HashMap<Place, (Option<Arc<Found>>, Instant)>,
    /// When the newest of them was read.
    newest: Instant,
}

/// What a look-up found before the store was asked.
pub(crate) enum Look {
    /// What the store said a moment ago.
    Known(Option<Arc<Found>>),
    /// Nothing; to be handed back with what the store says.
    Unknown(u64),
}

impl Recent {
    pub(crate) fn look(&self, tenant: &TenantId, place: &Place) -> Look {
        let mut tenants = self.0.lock();
        let Some(of_tenant) = tenants.rows.get(tenant) else { return Look::Unknown(tenants.begin(tenant)) };
        match of_tenant.rows.get(place) {
            Some((row, since)) if since.elapsed() < BELIEVED => Look::Known(row.clone()),
            _ => Look::Unknown(of_tenant.generation),
        }
    }

    pub(crate) fn remember(
        &self,
        generation: u64,
        tenant: &TenantId,
        place: Place,
        row: Option<Arc<Found>>,
        since: Instant,
    ) {
        let mut tenants = self.0.lock();
        tenants.make_room();
        // Gone, where something was changed meanwhile or this tenant had to make the room; then it may have begun anew.
        let of_tenant = tenants.rows.get_mut(tenant).filter(|of_tenant| of_tenant.generation == generation);
        if let Some(of_tenant) = of_tenant {
            of_tenant.newest = of_tenant.newest.max(since);
            of_tenant.rows.insert(place, (row, since));
        }
    }

    /// Forgets what is known of a tenant: something of it was changed.
    pub(crate) fn forget(&self, tenant: &TenantId) {
        self.0.lock().rows.remove(tenant);
    }

    /// Forgets everything: something was changed in all of it.
    pub(crate) fn forget_all(&self) {
        self.0.lock().rows.clear();
    }
}

impl Tenants {
    /// Begins a tenant's rows; returns their generation.
    fn begin(&mut self, tenant: &TenantId) -> u64 {
        self.make_room();
        self.begun += 1;
        let rows = Rows { generation: self.begun, rows: HashMap::new(), newest: Instant::now() };
        self.rows.insert(tenant.clone(), rows);
        self.begun
    }

    /// Sees that there is room for one more. What nobody believes any more goes first, and then the tenant with the most
    /// rows: one that asks for many costs itself the time, and no other.
    fn make_room(&mut self) {
        if self.size() < REMEMBERED {
            return;
        }
        self.rows.retain(|_tenant, of_tenant| of_tenant.newest.elapsed() < BELIEVED);
        if self.size() < REMEMBERED {
            return;
        }
        let largest = self.rows.iter().max_by_key(|(_tenant, of_tenant)| of_tenant.rows.len());
        if let Some(largest) = largest.map(|(tenant, _rows)| tenant.clone()) {
            self.rows.remove(&largest);
        }
    }

    fn size(&self) -> usize {
        self.rows.values().map(|of_tenant| 1 + of_tenant.rows.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Forget = fn(&Recent);

    fn tenant(name: &str) -> TenantId {
        name.parse().unwrap()
    }

    fn place(user: Option<&str>) -> Place {
        (user.map(|user| user.parse().unwrap()), "github".parse().unwrap())
    }

    fn unknown(recent: &Recent, of: &str, place: &Place) -> u64 {
        match recent.look(&tenant(of), place) {
            Look::Unknown(generation) => generation,
            Look::Known(row) => panic!("{row:?} is known"),
        }
    }

    fn is_known(recent: &Recent, of: &str, place: &Place) -> bool {
        matches!(recent.look(&tenant(of), place), Look::Known(None))
    }

    /// Looks, finds nothing, and remembers what was read then.
    fn read(recent: &Recent, of: &str, place: &Place, since: Instant) {
        let generation = unknown(recent, of, place);
        recent.remember(generation, &tenant(of), place.clone(), None, since);
    }

    #[test]
    fn what_was_read_before_a_change_is_not_remembered_after_it() {
        let recent = Recent::default();
        let own = place(Some("ann"));
        let both: [Forget; 2] = [|recent| recent.forget(&tenant("acme")), Recent::forget_all];
        for forget in both {
            let before = unknown(&recent, "acme", &own);
            forget(&recent);
            recent.remember(before, &tenant("acme"), own.clone(), None, Instant::now());
            // Nor where somebody has looked since.
            unknown(&recent, "acme", &own);
            recent.remember(before, &tenant("acme"), own.clone(), None, Instant::now());
            read(&recent, "acme", &own, Instant::now());
            assert!(is_known(&recent, "acme", &own));
            unknown(&recent, "acme", &place(None));
            unknown(&recent, "acme", &place(Some("bob")));
            unknown(&recent, "rival", &own);
            forget(&recent);
            unknown(&recent, "acme", &own);
        }
    }

    #[test]
    fn a_change_of_one_tenant_leaves_the_others_rows() {
        let recent = Recent::default();
        let own = place(Some("ann"));
        let reads = unknown(&recent, "acme", &own);
        recent.forget(&tenant("rival"));
        recent.remember(reads, &tenant("acme"), own.clone(), None, Instant::now());
        recent.forget(&tenant("rival"));
        assert!(is_known(&recent, "acme", &own));
    }

    #[test]
    fn a_tenant_with_many_rows_pushes_out_its_own_alone() {
        let recent = Recent::default();
        let own = place(Some("ann"));
        // However long the rest of this takes.
        read(&recent, "acme", &own, Instant::now() + Duration::from_secs(3600));
        let first = unknown(&recent, "rival", &own);
        for n in 0..2 * REMEMBERED {
            read(&recent, "rival", &place(Some(&format!("user-{n}"))), Instant::now());
            assert!(recent.0.lock().size() <= REMEMBERED);
        }
        assert!(is_known(&recent, "acme", &own));
        // What was read before the tenant made room comes too late, like before a change.
        recent.remember(first, &tenant("rival"), own.clone(), None, Instant::now());
        unknown(&recent, "rival", &own);
    }

    #[test]
    fn a_row_is_believed_for_a_while_and_the_number_of_tenants_is_bounded() {
        let recent = Recent::default();
        let long_ago = Instant::now().checked_sub(BELIEVED).unwrap();
        read(&recent, "acme", &place(None), long_ago);
        unknown(&recent, "acme", &place(None));
        for n in 0..REMEMBERED + 50 {
            unknown(&recent, &format!("tenant-{n}"), &place(None));
            assert!(recent.0.lock().size() <= REMEMBERED);
        }
    }
}
