//! How much of what all share one tenant and one user may have: the one rule, for places to run in and for sandboxes.

/// The most of `all` that one tenant has, however many users it is: seven eighths; all where there are too few to keep any
/// back.
#[must_use]
pub fn tenant_share(all: usize) -> usize {
    all_but(all, 8)
}

/// The most of `all` that one user has: three quarters, and at least one.
#[must_use]
pub fn user_share(all: usize) -> usize {
    (all * 3 / 4).max(1)
}

/// All but one part in `parts`; all where there are too few to keep any back.
#[must_use]
pub fn all_but(all: usize, parts: usize) -> usize {
    if all < 3 { all } else { all - all.div_ceil(parts) }
}
