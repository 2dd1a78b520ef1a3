//! What an expression may hold of secrets: in its text, below its keys, or encoded as pairs.

use std::collections::BTreeSet;

/// Keys of one value that lead to secrets.
const MOST_ENTRIES: usize = 32;
/// Keys below one another.
const MOST_KEYS: usize = 16;
/// What stands among the keys for the items of a list.
pub(super) const ITEMS: &str = "[]";

/// What an expression may hold of secrets.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Value {
    /// The fields that its text holds.
    pub(super) secrets: BTreeSet<usize>,
    /// Those that its keys lead to.
    pub(super) entries: BTreeSet<Entry>,
    /// Those that stand in it as `name=value&…`.
    pub(super) encoded: BTreeSet<Entry>,
}

/// A secret below keys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) path: Vec<String>,
    pub(super) field: usize,
    pub(super) file: usize,
    pub(super) line: usize,
}

impl Value {
    pub(super) fn of(field: usize) -> Self {
        Self { secrets: BTreeSet::from([field]), ..Self::default() }
    }

    pub(super) fn add(&mut self, other: Self) -> bool {
        let before = (self.secrets.len(), self.entries.len(), self.encoded.len());
        self.secrets.extend(other.secrets);
        let room = |set: &BTreeSet<Entry>| MOST_ENTRIES.saturating_sub(set.len());
        let (entries, encoded) = (room(&self.entries), room(&self.encoded));
        self.entries.extend(other.entries.into_iter().take(entries));
        self.encoded.extend(other.encoded.into_iter().take(encoded));
        before != (self.secrets.len(), self.entries.len(), self.encoded.len())
    }

    /// What stands under a key.
    pub(super) fn under(&self, key: &str) -> Self {
        let mut value = Self::default();
        for entry in self.entries.iter().filter(|entry| entry.path.first().is_some_and(|first| first == key)) {
            match entry.path.get(1..) {
                Some(rest) if !rest.is_empty() => {
                    value.entries.insert(Entry { path: rest.to_vec(), ..entry.clone() });
                }
                _ => {
                    value.secrets.insert(entry.field);
                }
            }
        }
        value
    }

    /// The same, below a key.
    pub(super) fn below(self, key: &str, file: usize, line: usize) -> BTreeSet<Entry> {
        let own = self.secrets.into_iter().map(|field| Entry { path: vec![key.to_owned()], field, file, line });
        let deeper = self.entries.into_iter().filter(|entry| entry.path.len() < MOST_KEYS).map(|entry| {
            let path = std::iter::once(key.to_owned()).chain(entry.path).collect();
            Entry { path, ..entry }
        });
        own.chain(deeper).collect()
    }
}
