//! Calls that come round.

use crate::extract::WireBody;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use sophon_executor::{ScheduleListing, ScheduleView};
use utoipa::ToSchema;

/// A schedule to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScheduleBody {
    /// The tool's full name.
    pub(crate) tool: String,
    /// The arguments of every call. Each key once.
    #[schema(value_type = Object)]
    pub(crate) arguments: Box<RawValue>,
    /// A cron pattern of five fields: minute, hour, day of month, month, day of week.
    pub(crate) cron: String,
    /// A time zone of the IANA database; UTC where it is left out.
    pub(crate) time_zone: Option<String>,
    /// Up to so many seconds later than the pattern says, always as much for the same firing; at most 3600.
    pub(crate) jitter_seconds: Option<u64>,
    /// What becomes of firings while the host did not run: skip (default) or once, one call for all of them.
    pub(crate) missed: Option<String>,
}

impl WireBody for ScheduleBody {}

/// Which schedules to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScheduleQuery {
    /// Behind this: `next` of the page before.
    pub(crate) after: Option<String>,
    /// At most so many; 100 where nothing is said, at most 500.
    pub(crate) limit: Option<u32>,
}

/// The schedules.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScheduleList {
    /// The oldest first, without their arguments.
    schedules: Vec<ScheduleItem>,
    /// How many of this page cannot be read; they do not fire.
    unreadable: u64,
    /// Ask for the next page with `after` set to this; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl From<ScheduleListing> for ScheduleList {
    fn from(listing: ScheduleListing) -> Self {
        let ScheduleListing { schedules, unreadable, next } = listing;
        Self { schedules: schedules.into_iter().map(ScheduleItem::from).collect(), unreadable, next }
    }
}

/// A schedule.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScheduleItem {
    schedule_id: String,
    /// For whom it calls.
    user: String,
    tool: String,
    /// The arguments of every call; left out in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<Value>,
    cron: String,
    time_zone: String,
    jitter_seconds: u64,
    /// skip or once.
    missed: String,
    created_at: String,
    /// When it fires next, with its jitter; null where it has stopped.
    next_at: Option<String>,
    /// The last firing, as the pattern says.
    last_fire_at: Option<String>,
    /// The call that it became.
    last_call_id: Option<String>,
    /// The call's status when it was made, or the code of what stood in its way.
    last_outcome: Option<String>,
}

impl From<ScheduleView> for ScheduleItem {
    fn from(view: ScheduleView) -> Self {
        Self {
            schedule_id: view.schedule_id.to_string(),
            user: view.user.to_string(),
            tool: view.tool.to_string(),
            arguments: view.arguments,
            cron: view.cron,
            time_zone: view.time_zone,
            jitter_seconds: view.jitter_seconds,
            missed: view.missed,
            created_at: view.created_at.to_string(),
            next_at: view.next_at.map(|at| at.to_string()),
            last_fire_at: view.last_fire_at.map(|at| at.to_string()),
            last_call_id: view.last_call_id.map(|call| call.to_string()),
            last_outcome: view.last_outcome,
        }
    }
}
