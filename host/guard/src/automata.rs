//! One automaton for all spellings of all secrets of a set, so that many secrets cost no more to look for than one.

use crate::known::Encoding;
use crate::spellings::{KEPT, Secret, Spelling, squeeze};
use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use std::sync::Arc;

/// A stretch of bytes that secrets cover.
pub(crate) struct Covered {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// The secret that begins first (the longest of these), by its place in the set.
    pub(crate) secret: usize,
    /// How that one is spelled.
    pub(crate) encoding: Encoding,
}

/// The automata of one set.
pub(crate) struct Automata {
    direct: Option<Patterns>,
    compact: Option<Patterns>,
}

impl Automata {
    /// `None` where the library cannot hold so many.
    pub(crate) fn new(secrets: &[Arc<Secret>]) -> Option<Self> {
        Some(Self {
            direct: Patterns::new(secrets, |secret| &secret.direct)?,
            compact: Patterns::new(secrets, |secret| &secret.compact)?,
        })
    }

    /// Where `secrets`, of which these are the automata, stand in `bytes`. `compact` is room to work in.
    pub(crate) fn find(&self, secrets: &[Arc<Secret>], bytes: &[u8], compact: &mut Vec<u8>) -> Vec<Covered> {
        let mut found: Vec<Covered> = Vec::new();
        if let Some(direct) = &self.direct {
            found.extend(direct.runs(bytes).into_iter().map(|run| direct.covered(run.start, run.end, &run)));
        }
        if let Some(patterns) = &self.compact {
            squeeze(bytes, compact);
            let mut kept = bytes.iter().enumerate().filter(|(_, b)| KEPT[usize::from(**b)] != 0).map(|(at, _)| at);
            let mut next = 0;
            found.extend(patterns.runs(compact).into_iter().filter_map(|run| {
                let first = kept.nth(run.start - next)?;
                // A compact spelling has more than one byte, so its last comes after its first.
                let last = kept.nth(run.end - run.start - 2)?;
                next = run.end;
                let wide = run.secrets.iter().map(|index| secrets[*index].with_edges(bytes, (first, last + 1)));
                let (start, end) = wide.fold((first, last + 1), |all, one| (all.0.min(one.0), all.1.max(one.1)));
                Some(patterns.covered(start, end, &run))
            }));
        }
        found
    }
}

/// Matches that overlap, taken together.
struct Run {
    start: usize,
    end: usize,
    /// The match that begins first, the longest of these: its start, end and pattern.
    best: (usize, usize, usize),
    /// All secrets that have a part in it.
    secrets: Vec<usize>,
}

/// An automaton and what each of its patterns is.
struct Patterns {
    automaton: AhoCorasick,
    /// For each pattern its secret and encoding.
    owners: Vec<(usize, Encoding)>,
}

impl Patterns {
    /// `Some(None)` where there is nothing to look for.
    fn new(secrets: &[Arc<Secret>], of: impl Fn(&Secret) -> &[Spelling]) -> Option<Option<Self>> {
        let spellings =
            || secrets.iter().enumerate().flat_map(|(index, secret)| of(secret).iter().map(move |s| (index, s)));
        let owners: Vec<_> = spellings().map(|(index, (encoding, _))| (index, *encoding)).collect();
        if owners.is_empty() {
            return Some(None);
        }
        let automaton = AhoCorasick::builder()
            // All matches, also those that overlap: a secret must not hide behind the beginning of another.
            .match_kind(MatchKind::Standard)
            // Built for one call: the contiguous NFA is built in a tenth of a DFA's time.
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(spellings().map(|(_, (_, bytes))| bytes.as_slice()))
            .ok()?;
        Some(Some(Self { automaton, owners }))
    }

    /// What is covered, in order and apart from each other: as many as there are secrets in `bytes`, not matches.
    fn runs(&self, bytes: &[u8]) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for found in self.automaton.find_overlapping_iter(bytes) {
            let (start, end, pattern) = (found.start(), found.end(), found.pattern().as_usize());
            let secret = self.owners[pattern].0;
            let mut run = match runs.pop_if(|last| start < last.end) {
                Some(run) => run,
                None => Run { start, end, best: (start, end, pattern), secrets: Vec::new() },
            };
            run.take(start, end, (start, end, pattern), secret);
            // Matches come in the order of their ends: a long one may reach back over several runs.
            while let Some(before) = runs.pop_if(|before| run.start < before.end) {
                for secret in before.secrets {
                    run.take(before.start, before.end, before.best, secret);
                }
            }
            runs.push(run);
        }
        runs
    }

    fn covered(&self, start: usize, end: usize, run: &Run) -> Covered {
        let (secret, encoding) = self.owners[run.best.2];
        Covered { start, end, secret, encoding }
    }
}

impl Run {
    fn take(&mut self, start: usize, end: usize, best: (usize, usize, usize), secret: usize) {
        (self.start, self.end) = (self.start.min(start), self.end.max(end));
        let rank = |(start, end, pattern): (usize, usize, usize)| (start, std::cmp::Reverse(end), pattern);
        if rank(best) < rank(self.best) {
            self.best = best;
        }
        if !self.secrets.contains(&secret) {
            self.secrets.push(secret);
        }
    }
}
