//! Regular expressions of a manifest: each runs in linear time, and all of them together fit into one budget.
//!
//! Whoever checks arguments compiles every one of them and keeps them, so what counts is what they take then: 64 KiB of
//! `\p{L}{20}` are gigabytes.

use regex::RegexBuilder;
use std::cell::Cell;

/// Bytes of one regular expression of a schema as it is written.
pub(super) const MAX_PATTERN: usize = 512;
/// Bytes of a compiled one; it is charged the smallest of these that it fits into. The largest bounds what
/// `a{1000}{1000}` may grow to.
const SIZES: [usize; 4] = [16 << 10, 64 << 10, 256 << 10, 1 << 20];
/// Bytes of all compiled ones of a manifest.
const MAX_TOTAL: usize = 16 << 20;

/// What the regular expressions of one manifest have taken so far.
#[derive(Default)]
pub(super) struct Patterns(Cell<usize>);

/// Why a regular expression is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadPattern {
    /// It is none, needs backtracking, or grows too large.
    NotLinear,
    /// It is the one too many.
    TooManyTogether,
}

impl Patterns {
    /// Admits a regular expression whose text is bounded already.
    pub(super) fn admit(&self, pattern: &str) -> Result<(), BadPattern> {
        if self.0.get() >= MAX_TOTAL {
            return Err(BadPattern::TooManyTogether);
        }
        let fits = |size: &usize| RegexBuilder::new(pattern).size_limit(*size).build().is_ok();
        let size = SIZES.into_iter().find(fits).ok_or(BadPattern::NotLinear)?;
        self.0.set(self.0.get() + size);
        Ok(())
    }
}

impl BadPattern {
    /// What is wrong, of the pattern that `quoted` shows.
    pub(super) fn problem(self, quoted: &str) -> String {
        match self {
            Self::NotLinear => format!("{quoted} is not a regular expression that runs in linear time"),
            Self::TooManyTogether => "the manifest's regular expressions are too large together".into(),
        }
    }

    pub(super) const fn hint(self) -> &'static str {
        match self {
            Self::NotLinear => "write it without look-around, back references and huge repetitions",
            Self::TooManyTogether => {
                r"use fewer, with smaller repetitions, and [A-Za-z0-9] where \w and \p{L} are not needed"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_20_many_large_patterns_do_not_add_up() {
        let patterns = Patterns::default();
        let admitted = (0..1000).take_while(|n| patterns.admit(&format!(r"\p{{L}}{{{}}}", 20 + n % 3)).is_ok()).count();
        assert!((10..100).contains(&admitted), "{admitted}");
        assert_eq!(patterns.admit("a"), Err(BadPattern::TooManyTogether));
    }

    #[test]
    fn ordinary_patterns_pass_by_the_hundred() {
        let patterns = Patterns::default();
        for n in 0..900 {
            assert_eq!(patterns.admit(&format!("^[A-Za-z0-9_-]{{1,{}}}$", 1 + n % 64)), Ok(()), "{n}");
        }
        assert_eq!(patterns.admit("(?=x)y"), Err(BadPattern::NotLinear));
        assert_eq!(patterns.admit("(a{999}){999}"), Err(BadPattern::NotLinear));
    }
}
