//! What the operator has decided about risk and approval, checked and ready to be asked.

use crate::config::{ApprovalConfig, QuietHoursConfig, RuleConfig};
use jiff::civil::Time;
use jiff::tz::TimeZone;
use sophon_types::{Digest, Fault, FaultKind, Principal, Risk, Role, Stage, Timestamp, ToolName};
use std::time::Duration;

/// The longest that a question may wait.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// The most rules: each is looked at for each call.
const MOST_RULES: usize = 256;

/// The operator's decisions about assessment and approval.
#[derive(Debug, Clone)]
pub struct Policy {
    config: ApprovalConfig,
    rules: Vec<Rule>,
    quiet: Option<QuietHours>,
    version: Digest,
}

#[derive(Debug, Clone)]
struct Rule {
    tenant: Option<String>,
    role: Option<Role>,
    skill: Option<Glob>,
    tool: Option<Glob>,
    ceiling: Option<Risk>,
    risk: Option<Risk>,
    deny: bool,
    why: String,
}

#[derive(Debug, Clone)]
struct QuietHours {
    from: Time,
    to: Time,
    zone: TimeZone,
    ceiling: Risk,
}

/// What the rules make of one call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ruling {
    /// The least risk, with the reason.
    pub(crate) risk: Option<(Risk, String)>,
    /// What passes by itself at most, where rules have lowered it.
    pub(crate) ceiling: Option<Risk>,
    /// Why it is never made.
    pub(crate) deny: Option<String>,
}

/// What is wrong with `[approval]`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("[approval] {key}: {message}")]
pub struct PolicyError {
    key: String,
    message: String,
}

impl PolicyError {
    fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into() }
    }

    /// The key that is wrong, below `approval`: `rules` with its number from 1, or a plain name.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl Fault for PolicyError {
    fn stage(&self) -> Stage {
        Stage::Config
    }
    fn kind(&self) -> FaultKind {
        FaultKind::Invalid
    }
    fn code(&self) -> &'static str {
        "config_invalid"
    }
    fn hint(&self) -> Option<String> {
        Some("docs/manual/configuration.md describes every key of [approval]".into())
    }
}

impl Default for Policy {
    fn default() -> Self {
        let config = ApprovalConfig::default();
        let version = version_of(&config);
        Self { config, rules: Vec::new(), quiet: None, version }
    }
}

impl Policy {
    /// Checks a configuration.
    ///
    /// # Errors
    /// [`PolicyError`] names the key.
    pub fn new(config: ApprovalConfig) -> Result<Self, PolicyError> {
        passable("ceiling", config.ceiling)?;
        if Duration::from_secs(config.timeout_seconds.get()) > LONGEST {
            return Err(PolicyError::new("timeout_seconds", "a question waits for a day at most (86400)"));
        }
        if config.rules.len() > MOST_RULES {
            return Err(PolicyError::new("rules", format!("{} rules, more than {MOST_RULES}", config.rules.len())));
        }
        let rules = config.rules.iter().enumerate();
        let rules = rules.map(|(n, rule)| Rule::new(n + 1, rule)).collect::<Result<_, _>>()?;
        let quiet = config.quiet_hours.as_ref().map(QuietHours::new).transpose()?;
        let version = version_of(&config);
        Ok(Self { config, rules, quiet, version })
    }

    /// The configuration that it was made of.
    #[must_use]
    pub fn config(&self) -> &ApprovalConfig {
        &self.config
    }

    /// The version that approvals are bound to: another policy, other approvals.
    #[must_use]
    pub fn version(&self) -> Digest {
        self.version
    }

    /// How long a person has to decide.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.config.timeout_seconds.get())
    }

    /// An array with more items than this makes a call a bulk operation.
    #[must_use]
    pub fn bulk_threshold(&self) -> usize {
        self.config.bulk_threshold.get()
    }

    /// What the rules make of a call of `tool` by `principal`.
    pub(crate) fn ruling(&self, principal: &Principal, tool: &ToolName) -> Ruling {
        let mut ruling = Ruling::default();
        for rule in self.rules.iter().filter(|rule| rule.fits(principal, tool)) {
            if rule.deny && ruling.deny.is_none() {
                ruling.deny = Some(rule.why.clone());
            }
            if let Some(risk) = rule.risk
                && ruling.risk.as_ref().is_none_or(|(so_far, _)| risk > *so_far)
            {
                ruling.risk = Some((risk, rule.why.clone()));
            }
            if let Some(ceiling) = rule.ceiling {
                ruling.ceiling = Some(ruling.ceiling.map_or(ceiling, |so_far| so_far.min(ceiling)));
            }
        }
        ruling
    }

    /// The highest risk that passes by itself now, before any rule.
    pub(crate) fn ceiling(&self, now: Timestamp) -> Risk {
        match &self.quiet {
            Some(quiet) if quiet.includes(now) => self.config.ceiling.min(quiet.ceiling),
            _ => self.config.ceiling,
        }
    }
}

/// Above `medium` a person is always asked, so no ceiling of the configuration is higher.
fn passable(key: &str, ceiling: Risk) -> Result<(), PolicyError> {
    if ceiling <= Risk::Medium {
        return Ok(());
    }
    Err(PolicyError::new(key, format!("{ceiling} never passes by itself; none, low or medium")))
}

fn version_of(config: &ApprovalConfig) -> Digest {
    // A structure of texts, numbers and lists: writing it into memory cannot fail.
    Digest::of(&serde_json::to_vec(config).unwrap_or_default())
}

impl Rule {
    fn new(number: usize, rule: &RuleConfig) -> Result<Self, PolicyError> {
        let key = |name: &str| format!("rules {number}: {name}");
        let role = match &rule.role {
            None => None,
            Some(text) => Some(text.parse::<Role>().map_err(|error| PolicyError::new(key("role"), error))?),
        };
        if let Some(ceiling) = rule.ceiling {
            passable(&key("ceiling"), ceiling)?;
        }
        if rule.ceiling.is_none() && rule.risk.is_none() && !rule.deny {
            return Err(PolicyError::new(key("deny"), "a rule sets a ceiling or a risk, or denies"));
        }
        let glob = |name: &str, text: &Option<String>| match text {
            None => Ok(None),
            Some(text) => Glob::new(text).map(Some).map_err(|message| PolicyError::new(key(name), message)),
        };
        let why = rule.why.clone().unwrap_or_else(|| format!("the operator's rule {number}"));
        if why.len() > 500 || why.chars().any(char::is_control) {
            return Err(PolicyError::new(key("why"), "one line of at most 500 bytes"));
        }
        Ok(Self {
            tenant: rule.tenant.clone(),
            role,
            skill: glob("skill", &rule.skill)?,
            tool: glob("tool", &rule.tool)?,
            ceiling: rule.ceiling,
            risk: rule.risk,
            deny: rule.deny,
            why,
        })
    }

    fn fits(&self, principal: &Principal, tool: &ToolName) -> bool {
        self.tenant.as_ref().is_none_or(|tenant| tenant == principal.tenant.as_str())
            && self.role.is_none_or(|role| role == principal.role)
            && self.skill.as_ref().is_none_or(|skill| skill.fits(tool.skill()))
            && self.tool.as_ref().is_none_or(|glob| glob.fits(tool.as_str()))
    }
}

impl QuietHours {
    fn new(config: &QuietHoursConfig) -> Result<Self, PolicyError> {
        let time = |key: &str, text: &str| {
            Time::strptime("%H:%M", text)
                .map_err(|_other| PolicyError::new(key, format!("{text:?} is not a time of day such as 22:00")))
        };
        let zone = TimeZone::get(&config.time_zone).map_err(|_unknown| {
            let message = format!("{:?} is not a time zone such as Europe/Berlin", config.time_zone);
            PolicyError::new("quiet_hours.time_zone", message)
        })?;
        passable("quiet_hours.ceiling", config.ceiling)?;
        let (from, to) = (time("quiet_hours.from", &config.from)?, time("quiet_hours.to", &config.to)?);
        if from == to {
            return Err(PolicyError::new("quiet_hours.to", "quiet hours end at another time than they begin"));
        }
        Ok(Self { from, to, zone, ceiling: config.ceiling })
    }

    fn includes(&self, now: Timestamp) -> bool {
        // A moment that no calendar has is quiet: then the least passes.
        let Ok(moment) = jiff::Timestamp::from_microsecond(now.as_micros()) else { return true };
        let time = moment.to_zoned(self.zone.clone()).time();
        if self.from < self.to { self.from <= time && time < self.to } else { self.from <= time || time < self.to }
    }
}

/// Text in which `*` stands for any text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Glob(String);

impl Glob {
    /// The most `*` of one pattern; more would only make it slow.
    const STARS: usize = 8;

    pub(crate) fn new(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > 512 {
            return Err("a pattern is 1 to 512 bytes long".into());
        }
        if text.bytes().filter(|byte| *byte == b'*').count() > Self::STARS {
            return Err(format!("a pattern has at most {} `*`", Self::STARS));
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether it fits the whole of `text`. Each part is looked for once, from the left: no pattern is slow.
    pub(crate) fn fits(&self, text: &str) -> bool {
        let Some((head, rest)) = self.0.split_once('*') else { return self.0 == text };
        let Some(mut left) = text.strip_prefix(head) else { return false };
        let mut parts: Vec<&str> = rest.split('*').collect();
        let tail = parts.pop().unwrap_or_default();
        for part in parts {
            match left.find(part) {
                Some(at) => left = &left[at + part.len()..],
                None => return false,
            }
        }
        left.len() >= tail.len() && left.ends_with(tail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sophon_types::KeyId;

    fn principal(role: Role) -> Principal {
        let (tenant, user) = ("default".parse().unwrap(), "ann".parse().unwrap());
        Principal { tenant, user, key: KeyId::from_bytes([1; 16]), role }
    }

    fn policy(text: &str) -> Result<Policy, String> {
        let config = serde_json::from_str(text).unwrap();
        Policy::new(config).map_err(|error| error.to_string())
    }

    #[test]
    fn the_strictest_rule_wins() {
        let policy = policy(
            r#"{"rules": [
                {"skill": "git*", "ceiling": "low", "risk": "low"},
                {"tool": "github.delete_*", "ceiling": "none", "risk": "critical", "why": "gone is gone"},
                {"tool": "github.delete_all", "deny": true, "why": "never"},
                {"role": "admin", "ceiling": "none"},
                {"tenant": "elsewhere", "deny": true}
            ]}"#,
        )
        .unwrap();
        let ruling = |role, tool: &str| policy.ruling(&principal(role), &tool.parse().unwrap());
        assert_eq!(ruling(Role::Agent, "gitlab.list").ceiling, Some(Risk::Low));
        let delete = ruling(Role::Agent, "github.delete_issue");
        assert_eq!((delete.ceiling, delete.risk), (Some(Risk::None), Some((Risk::Critical, "gone is gone".into()))));
        assert_eq!(ruling(Role::Agent, "github.delete_all").deny.as_deref(), Some("never"));
        assert_eq!(ruling(Role::Agent, "weather.today"), Ruling::default());
        assert_eq!(ruling(Role::Admin, "weather.today").ceiling, Some(Risk::None));
    }

    #[test]
    fn quiet_hours_go_over_midnight_and_follow_the_zone() {
        let quiet =
            r#"{"quiet_hours": {"from": "22:00", "to": "07:00", "time_zone": "Europe/Berlin", "ceiling": "none"}}"#;
        let policy = policy(quiet).unwrap();
        let at = |text: &str| policy.ceiling(Timestamp::parse(text).unwrap());
        // Berlin is an hour ahead of UTC in winter, two in summer.
        assert_eq!(at("2026-01-10T20:59:59Z"), Risk::Medium);
        assert_eq!(at("2026-01-10T21:00:00Z"), Risk::None);
        assert_eq!(at("2026-01-11T05:59:59Z"), Risk::None);
        assert_eq!(at("2026-01-11T06:00:00Z"), Risk::Medium);
        assert_eq!(at("2026-07-10T20:00:00Z"), Risk::None);
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_key() {
        for (text, key) in [
            (r#"{"ceiling": "high"}"#, "ceiling"),
            (r#"{"timeout_seconds": 86401}"#, "timeout_seconds"),
            (r#"{"rules": [{"tool": "a.b"}]}"#, "rules 1: deny"),
            (r#"{"rules": [{"deny": true}, {"role": "boss", "deny": true}]}"#, "rules 2: role"),
            (r#"{"rules": [{"ceiling": "critical"}]}"#, "rules 1: ceiling"),
            (r#"{"rules": [{"tool": "", "deny": true}]}"#, "rules 1: tool"),
            (r#"{"rules": [{"tool": "*********", "deny": true}]}"#, "rules 1: tool"),
            (r#"{"quiet_hours": {"from": "25:00", "to": "07:00"}}"#, "quiet_hours.from"),
            (r#"{"quiet_hours": {"from": "22:00", "to": "22:00"}}"#, "quiet_hours.to"),
            (
                r#"{"quiet_hours": {"from": "22:00", "to": "07:00", "time_zone": "Mars/Olympus"}}"#,
                "quiet_hours.time_zone",
            ),
            (r#"{"quiet_hours": {"from": "22:00", "to": "07:00", "ceiling": "high"}}"#, "quiet_hours.ceiling"),
        ] {
            let error = policy(text).unwrap_err();
            assert!(error.starts_with(&format!("[approval] {key}: ")), "{text}: {error}");
        }
    }

    #[test]
    fn another_policy_is_another_version() {
        let (default, other) = (Policy::default(), policy(r#"{"bulk_threshold": 3}"#).unwrap());
        assert_ne!(default.version(), other.version());
        assert_eq!(default.version(), policy("{}").unwrap().version());
    }

    #[test]
    fn patterns_fit_the_whole_text() {
        for (pattern, text, fits) in [
            ("a.b", "a.b", true),
            ("a.b", "a.bc", false),
            ("a.*", "a.", true),
            ("*", "", true),
            ("*b", "ab", true),
            ("*b", "ba", false),
            ("a*b*c", "axbxc", true),
            ("a*b*c", "axcxb", false),
            ("ab*ba", "aba", false),
            ("*aa*aa*", "aaa", false),
        ] {
            assert_eq!(Glob::new(pattern).unwrap().fits(text), fits, "{pattern} {text}");
        }
    }
}
