//! How far a long call has come, shown to whoever waits for it. Bounded per call.

use std::fmt::Display;

use crate::host::progress as host;

/// Reports that the call is `percent` done (100 at most), and what it does now.
pub fn report(percent: u8, message: impl Display) {
    host::report(percent.min(100), &message.to_string());
}

/// Reports step `done` of `total`.
pub fn step(done: usize, total: usize, message: impl Display) {
    let percent = (done.min(total) as u64 * 100).checked_div(total as u64).unwrap_or(100);
    // At most 100 by the line above.
    report(percent as u8, message);
}
