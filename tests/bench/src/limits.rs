//! A million users who each send a request: what counting them costs, and what memory it takes.
#![expect(clippy::print_stdout, reason = "a bench prints what it found")]

use sophon_gateway::{Limits, RateLimits};
use sophon_types::{TenantId, UserId};
use std::time::Instant;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Counts `keys` users once each, with the limits as they are by default, and prints what that took.
///
/// # Errors
/// Where a name is none.
pub fn run(keys: u32) -> Result<(), Failed> {
    let tenant: TenantId = "bench".parse()?;
    let users: Vec<UserId> = (0..keys).map(|n| format!("user-{n}").parse()).collect::<Result<_, _>>()?;
    let limits = Limits::new(&RateLimits::default());
    let before = resident_kib();
    let began = Instant::now();
    let let_in = users.iter().filter(|user| limits.user(&tenant, user).is_ok()).count();
    let took = began.elapsed();
    let grown = resident_kib().saturating_sub(before);
    println!(
        "{keys} keys: {:.0} ns a request, {let_in} let in, {} tracked, {} MiB",
        took.as_nanos() as f64 / f64::from(keys.max(1)),
        limits.users_tracked(),
        grown >> 10
    );
    Ok(())
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}
