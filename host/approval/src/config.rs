//! `[approval]` of the configuration, as an operator writes it.

use serde::{Deserialize, Serialize};
use sophon_types::Risk;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};

/// `[approval]`: what passes by itself, and how a person is asked about the rest.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApprovalConfig {
    /// The highest risk that passes by itself: none, low or medium. What is higher always asks.
    pub ceiling: Risk,
    /// An array in the arguments with more items than this makes the call a bulk operation, and so do more steps and items
    /// of a plan taken together.
    pub bulk_threshold: NonZeroUsize,
    /// Seconds that a person has to decide; then the answer is no. At most a day.
    pub timeout_seconds: NonZeroU64,
    /// Whether two different people have to approve what is critical.
    pub two_people_for_critical: bool,
    /// Questions that may wait at the same time, of one user; a tenant may have ten times as many.
    pub max_pending: NonZeroU32,
    /// Running calls that may wait for a person at the same time, in the whole host. Each of them keeps its place and its
    /// memory.
    pub max_parked: NonZeroU32,
    /// Questions that one running call may ask.
    pub max_asks_per_call: u32,
    /// Rules; whatever fits a call applies, and the strictest wins.
    pub rules: Vec<RuleConfig>,
    /// Hours in which less passes by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quiet_hours: Option<QuietHoursConfig>,
}

impl Default for ApprovalConfig {
    fn default() -> Self {
        let some = |n: u32| NonZeroU32::MIN.saturating_add(n - 1);
        Self {
            ceiling: Risk::Medium,
            bulk_threshold: NonZeroUsize::MIN.saturating_add(24),
            timeout_seconds: NonZeroU64::MIN.saturating_add(299),
            two_people_for_critical: false,
            max_pending: some(50),
            max_parked: some(16),
            max_asks_per_call: 8,
            rules: Vec::new(),
            quiet_hours: None,
        }
    }
}

/// `[[approval.rules]]`: which calls it is about, and what it makes of them. What is not named fits every call.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuleConfig {
    /// The caller's tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The caller's role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The skill; `*` stands for any text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skill: Option<String>,
    /// The tool's full name; `*` stands for any text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The highest risk of such a call that passes by itself; never more than `ceiling`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<Risk>,
    /// The risk that such a call has at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk: Option<Risk>,
    /// Such a call is never made, whoever approves.
    pub deny: bool,
    /// The reason, as the person who asks or decides reads it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// `[approval.quiet_hours]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuietHoursConfig {
    /// When they begin, such as `22:00`.
    pub from: String,
    /// When they end, such as `07:00`; earlier than `from` is the next day.
    pub to: String,
    /// The time zone, such as `Europe/Berlin`.
    #[serde(default = "utc")]
    pub time_zone: String,
    /// The highest risk that passes by itself in them: none, low or medium.
    #[serde(default = "low")]
    pub ceiling: Risk,
}

fn utc() -> String {
    "UTC".into()
}

fn low() -> Risk {
    Risk::Low
}
