//! Why a schedule was not made.

use sophon_types::{Fault, FaultKind, Stage};

/// Why a schedule was not made or removed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// The pattern is malformed, or never fires.
    #[error("the cron pattern {message}")]
    Cron {
        /// What is wrong with it.
        message: String,
    },
    /// There is no such time zone.
    #[error("there is no time zone {zone:?}")]
    Zone {
        /// What was given.
        zone: String,
    },
    /// The jitter is too long.
    #[error("the jitter {message}")]
    Jitter {
        /// What it has to be.
        message: String,
    },
    /// It fires more often than the operator lets it.
    #[error("the cron pattern fires more often than every {least} seconds")]
    Interval {
        /// Seconds from one firing to the next.
        least: u32,
    },
    /// The policy for missed firings is none.
    #[error("missed: {given:?} is neither skip nor once")]
    Missed {
        /// What was given.
        given: String,
    },
    /// The arguments are too large to be kept.
    #[error("the arguments of a schedule have at most {most} bytes")]
    Arguments {
        /// The bound.
        most: u32,
    },
    /// There are as many schedules as there may be.
    #[error("{of} has {most} schedules, and may have no more")]
    TooMany {
        /// The user or the tenant.
        of: &'static str,
        /// The bound.
        most: u32,
    },
    /// There is no such schedule for this caller.
    #[error("there is no such schedule, or it is not yours")]
    Unknown,
}

impl Fault for ScheduleError {
    fn stage(&self) -> Stage {
        match self {
            Self::Unknown => Stage::Resolve,
            _ => Stage::Validate,
        }
    }

    fn kind(&self) -> FaultKind {
        match self {
            Self::Cron { .. }
            | Self::Zone { .. }
            | Self::Jitter { .. }
            | Self::Interval { .. }
            | Self::Missed { .. } => FaultKind::Unprocessable,
            Self::Arguments { .. } => FaultKind::TooLarge,
            Self::TooMany { .. } => FaultKind::Conflict,
            Self::Unknown => FaultKind::NotFound,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Cron { .. } => "invalid_cron",
            Self::Zone { .. } => "unknown_time_zone",
            Self::Jitter { .. } => "invalid_jitter",
            Self::Interval { .. } => "interval_too_short",
            Self::Missed { .. } => "invalid_missed_policy",
            Self::Arguments { .. } => "arguments_too_large",
            Self::TooMany { .. } => "too_many_schedules",
            Self::Unknown => "unknown_schedule",
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Cron { .. } => {
                "five fields, such as `0 9 * * MON-FRI`: minute, hour, day of month, month, day of week"
            }
            Self::Zone { .. } => "a name of the IANA database, such as Europe/Zurich or UTC",
            Self::Jitter { .. } => "leave jitter_seconds out to fire exactly on time",
            Self::Interval { .. } => "let it fire less often, such as `0 * * * *` for once an hour",
            Self::Missed { .. } => "skip leaves missed firings out; once makes up for all of them with one call",
            Self::Arguments { .. } => "let the tool fetch what is large",
            Self::TooMany { .. } => "GET /v1/schedules lists them; DELETE /v1/schedules/ID removes one",
            Self::Unknown => "GET /v1/schedules lists yours",
        };
        Some(hint.into())
    }
}
