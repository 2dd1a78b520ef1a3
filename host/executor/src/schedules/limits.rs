//! How many schedules there may be, and how often they may fire.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use std::time::Duration;

/// `[schedules]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleLimits {
    /// Schedules that one user may have.
    #[serde(deserialize_with = "within::<_, 0, 100_000>")]
    pub max_per_user: u32,
    /// Schedules that one tenant may have, however many users it is.
    #[serde(deserialize_with = "within::<_, 0, 1_000_000>")]
    pub max_per_tenant: u32,
    /// Seconds from one firing of a schedule to its next, at the least. A pattern of five fields fires once a minute at most.
    #[serde(deserialize_with = "within::<_, 60, 2_678_400>")]
    pub min_interval_seconds: u32,
    /// The longest jitter, in seconds.
    #[serde(deserialize_with = "within::<_, 0, 86_400>")]
    pub max_jitter_seconds: u32,
    /// Bytes of one schedule's arguments.
    #[serde(deserialize_with = "within::<_, 2, 1_048_576>")]
    pub max_argument_bytes: u32,
}

impl Default for ScheduleLimits {
    fn default() -> Self {
        Self {
            max_per_user: 50,
            max_per_tenant: 1000,
            min_interval_seconds: 60,
            max_jitter_seconds: 3600,
            max_argument_bytes: 64 << 10,
        }
    }
}

impl ScheduleLimits {
    /// Whether the numbers go together.
    ///
    /// # Errors
    /// What does not, and its key.
    pub fn check(&self) -> Result<(), String> {
        if self.max_per_user > self.max_per_tenant {
            return Err(format!(
                "max_per_user: {} of one user are more than max_per_tenant, {}, lets all users of a tenant have",
                self.max_per_user, self.max_per_tenant
            ));
        }
        Ok(())
    }

    pub(super) fn min_interval(&self) -> Duration {
        Duration::from_secs(self.min_interval_seconds.into())
    }
}

/// A number within bounds, refused where it stands.
fn within<'de, D, const LEAST: u32, const MOST: u32>(deserializer: D) -> Result<u32, D::Error>
where
    D: Deserializer<'de>,
{
    let number = u32::deserialize(deserializer)?;
    if (LEAST..=MOST).contains(&number) {
        return Ok(number);
    }
    Err(D::Error::custom(format_args!("{number} is not between {LEAST} and {MOST}")))
}
