//! The components that are mapped at present.
//!
//! Each mapped component holds memory and some of the 65,530 regions that a process may map, and most skills are not called
//! most of the time. So those that were called last stay mapped, and the others are mapped again, out of the cache of
//! compiled code, when they are called.

use super::PreparedSkill;
use parking_lot::Mutex;
use sophon_types::{Digest, TenantId};
use std::collections::HashMap;
use std::sync::Arc;

/// Components that stay mapped.
const KEPT: usize = 256;

/// Whose component, and the digest of its package: what one tenant called costs no other less.
pub(super) type Place = (TenantId, Digest);

/// The mapped components.
pub(super) struct Warm {
    most: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    skills: HashMap<Place, Entry>,
    /// Counts uses; the least recently used has the smallest number.
    uses: u64,
}

struct Entry {
    skill: Arc<PreparedSkill>,
    used: u64,
}

impl Default for Warm {
    fn default() -> Self {
        Self { most: KEPT, kept: Mutex::default() }
    }
}

impl Kept {
    fn oldest_of_the_largest(&self) -> Option<Place> {
        let mut shares: HashMap<&TenantId, usize> = HashMap::new();
        for (tenant, _) in self.skills.keys() {
            *shares.entry(tenant).or_default() += 1;
        }
        let largest = shares.values().copied().max()?;
        // Of several that have as many, the one with the oldest.
        let of_those = self.skills.iter().filter(|((tenant, _), _)| shares.get(tenant) == Some(&largest));
        of_those.min_by_key(|(_, entry)| entry.used).map(|(place, _)| place.clone())
    }
}

impl Warm {
    /// The component of a package, where it is mapped.
    pub(super) fn get(&self, place: &Place) -> Option<Arc<PreparedSkill>> {
        let mut kept = self.kept.lock();
        kept.uses += 1;
        let now = kept.uses;
        let entry = kept.skills.get_mut(place)?;
        entry.used = now;
        Some(Arc::clone(&entry.skill))
    }

    /// Keeps a component, in place of the one that was not used for the longest of the tenant that has the most: nobody takes
    /// another's place, and none learns from what it costs how many others have. Calls that run in that one keep it until
    /// they end. Where two callers prepared the same, the first is kept.
    pub(super) fn keep(&self, place: Place, skill: PreparedSkill) -> Arc<PreparedSkill> {
        let mut kept = self.kept.lock();
        kept.uses += 1;
        let used = kept.uses;
        let entry = kept.skills.entry(place).or_insert_with(|| Entry { skill: Arc::new(skill), used });
        entry.used = used;
        let skill = Arc::clone(&entry.skill);
        let mut dropped = None;
        if kept.skills.len() > self.most {
            dropped = kept.oldest_of_the_largest().and_then(|place| kept.skills.remove(&place));
        }
        drop(kept);
        // Unmapped without the lock.
        drop(dropped);
        skill
    }

    #[cfg(test)]
    pub(super) fn of(most: usize) -> Self {
        Self { most, kept: Mutex::default() }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.kept.lock().skills.len()
    }
}
