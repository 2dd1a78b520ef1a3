//! Lines for the operator's log. Bounded per call: what is over the bound is counted and dropped.
//!
//! ```no_run
//! use sophon_sdk::log;
//! log::info(format_args!("{} of {} pages", 2, 5));
//! ```

use std::fmt::Display;

use crate::host::log::{Level, write};

/// For the author, while looking for a mistake.
pub fn debug(message: impl Display) {
    write(Level::Debug, &message.to_string());
}

/// What went as it should.
pub fn info(message: impl Display) {
    write(Level::Info, &message.to_string());
}

/// What somebody should look at.
pub fn warn(message: impl Display) {
    write(Level::Warn, &message.to_string());
}

/// What went wrong.
pub fn error(message: impl Display) {
    write(Level::Error, &message.to_string());
}
