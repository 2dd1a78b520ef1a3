//! When a schedule fires: a cron pattern in a time zone, and for each firing a jitter that is always the same.
//!
//! Croner finds the times, also across changes of the clocks: what would fall into the hour that is left out fires once
//! after it, and what comes twice fires once.

use super::error::ScheduleError;
use super::limits::ScheduleLimits;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Zoned;
use jiff::tz::TimeZone;
use sophon_types::{Digest, ScheduleId, Timestamp};
use std::time::Duration;

/// Longest pattern, in bytes.
const LONGEST_PATTERN: usize = 128;
/// Firings that are looked at for two that are too close to each other. Whatever is beyond them is bounded when it fires.
const LOOKED_AT: usize = 200;
/// A pattern that does not fire within this time is a mistake (29 February comes every eight years at the longest).
const FURTHEST: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// A pattern, a time zone and a jitter.
#[derive(Debug)]
pub(crate) struct Timetable {
    cron: Cron,
    zone: TimeZone,
    jitter: Duration,
}

impl Timetable {
    /// Reads what a person or an agent wrote.
    pub(crate) fn new(cron: &str, zone: &str, jitter_seconds: u64) -> Result<Self, ScheduleError> {
        let pattern = |message: String| ScheduleError::Cron { message };
        if cron.len() > LONGEST_PATTERN || !cron.bytes().all(|b| (b' '..=b'~').contains(&b)) {
            return Err(pattern(format!("has 1 to {LONGEST_PATTERN} printable characters")));
        }
        let parser =
            CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).dom_and_dow(false).build();
        let cron = parser.parse(cron).map_err(|error| pattern(error.to_string()))?;
        let zone =
            TimeZone::get(zone).map_err(|_unknown| ScheduleError::Zone { zone: zone.chars().take(64).collect() })?;
        Ok(Self { cron, zone, jitter: Duration::from_secs(jitter_seconds) })
    }

    /// As [`Self::new`] for a schedule that is made at `now`: it has to fire, within what the operator allows, and no jitter
    /// may reach the firing after.
    pub(crate) fn checked(self, now: Timestamp, limits: &ScheduleLimits) -> Result<(Self, Timestamp), ScheduleError> {
        let longest = limits.max_jitter_seconds;
        if self.jitter > Duration::from_secs(longest.into()) {
            return Err(ScheduleError::Jitter { message: format!("is at most {longest} seconds") });
        }
        let never = || ScheduleError::Cron { message: "never fires".into() };
        let first = self.after(now).filter(|first| first.since(now) <= FURTHEST).ok_or_else(never)?;
        if let Some(second) = self.after(first)
            && self.jitter >= second.since(first)
        {
            return Err(ScheduleError::Jitter { message: "is shorter than the time between two firings".into() });
        }
        // No pattern fires more often than the least that can be configured.
        if limits.min_interval() > ScheduleLimits::default().min_interval() {
            let mut before = first;
            for _ in 0..LOOKED_AT {
                let Some(next) = self.after(before) else { break };
                if next.since(before) < limits.min_interval() {
                    return Err(ScheduleError::Interval { least: limits.min_interval_seconds });
                }
                before = next;
            }
        }
        Ok((self, first))
    }

    /// The firing after the one of `fired` that is due after `moment`; not before what the operator allows, also where the
    /// schedule was made when that was less.
    pub(crate) fn next(&self, fired: Timestamp, moment: Timestamp, limits: &ScheduleLimits) -> Option<Timestamp> {
        let just_before = Timestamp::from_micros(fired.plus(limits.min_interval()).as_micros() - 1);
        self.after(moment.max(just_before))
    }

    /// The first firing after `moment`, as the pattern says.
    pub(crate) fn after(&self, moment: Timestamp) -> Option<Timestamp> {
        let at = self.zoned(moment)?;
        let next = self.cron.find_next_occurrence(&at, false).ok()?;
        Some(Timestamp::from_micros(next.timestamp().as_microsecond()))
    }

    /// The last firing until `moment`, as the pattern says.
    pub(crate) fn latest(&self, moment: Timestamp) -> Option<Timestamp> {
        let at = self.zoned(moment)?;
        let last = self.cron.find_previous_occurrence(&at, true).ok()?;
        Some(Timestamp::from_micros(last.timestamp().as_microsecond()))
    }

    /// When a firing is due: its jitter depends on the schedule and the firing alone, so that a restart changes nothing.
    pub(crate) fn due(&self, id: ScheduleId, fire_at: Timestamp) -> Timestamp {
        let digest = Digest::of_parts(&[b"schedule-jitter", id.as_bytes(), &fire_at.as_micros().to_be_bytes()]);
        let mut number = [0; 8];
        number.copy_from_slice(&digest.as_bytes()[..8]);
        let within = u64::try_from(self.jitter.as_micros()).unwrap_or(u64::MAX).saturating_add(1);
        fire_at.plus(Duration::from_micros(u64::from_be_bytes(number) % within))
    }

    fn zoned(&self, moment: Timestamp) -> Option<Zoned> {
        let moment = jiff::Timestamp::from_microsecond(moment.as_micros()).ok()?;
        Some(moment.to_zoned(self.zone.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn firings_follow_the_pattern_and_the_clocks_of_the_zone() {
        let check = |cron: &str, zone: &str, from: &str, expected: &[&str]| {
            let table = Timetable::new(cron, zone, 0).unwrap();
            let mut moment = at(from);
            for expected in expected {
                moment = table.after(moment).unwrap();
                assert_eq!(moment, at(expected), "{cron} {zone}");
                assert_eq!(table.latest(moment), Some(moment));
            }
        };
        check("0 9 * * MON-FRI", "UTC", "2026-11-27T09:00:00Z", &["2026-11-30T09:00:00Z", "2026-12-01T09:00:00Z"]);
        check("*/30 * * * *", "UTC", "2026-01-01T00:10:00Z", &["2026-01-01T00:30:00Z", "2026-01-01T01:00:00Z"]);
        // Nine in Zurich is an hour earlier in UTC in summer.
        check("0 9 * * *", "Europe/Zurich", "2026-03-28T00:00:00Z", &["2026-03-28T08:00:00Z", "2026-03-29T07:00:00Z"]);
        // Half past two is left out on the last Sunday of March, and comes twice on the last one of October.
        check("30 2 * * *", "Europe/Zurich", "2026-03-28T12:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
        check("30 2 * * *", "Europe/Zurich", "2026-10-24T12:00:00Z", &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    }

    #[test]
    fn what_is_malformed_or_absurd_is_refused_with_words() {
        let check = |cron: &str, zone: &str, jitter: u64, words: &str| {
            let limits = ScheduleLimits::default();
            let made = Timetable::new(cron, zone, jitter).and_then(|table| table.checked(at("2026-01-01"), &limits));
            let error = made.map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(words), "{cron} {zone} {jitter}: {error}");
        };
        for cron in
            ["", "* * * *", "61 * * * *", "* * * * * *", "every day", "*/0 * * * *", "0 9 * * \u{661}", "@minutely"]
        {
            check(cron, "UTC", 0, "cron");
        }
        check(&"1,".repeat(100), "UTC", 0, "printable");
        check("0 0 31 2 *", "UTC", 0, "never fires");
        check("0 9 * * *", "Mars/Olympus", 0, "Mars/Olympus");
        check("0 9 * * *", "UTC", 3601, "at most 3600");
        check("0 9 * * *", "UTC", u64::MAX, "at most 3600");
        check("*/5 * * * *", "UTC", 300, "between two firings");
    }

    #[test]
    fn a_schedule_fires_as_often_as_the_operator_lets_it() {
        let limits = ScheduleLimits { min_interval_seconds: 900, max_jitter_seconds: 10, ..ScheduleLimits::default() };
        let check = |cron: &str, jitter: u64| {
            Timetable::new(cron, "UTC", jitter).unwrap().checked(at("2026-01-01"), &limits).map(|(_, first)| first)
        };
        let short = ScheduleError::Interval { least: 900 };
        // Two firings that are close stand anywhere among those that are not.
        for cron in ["* * * * *", "*/10 * * * *", "0,1 * * * *", "0,59 0,23 * * *", "50 23,0 * * MON", "0,5 12 1 * *"] {
            let expected = if cron.starts_with("50") { Ok(()) } else { Err(short.clone()) };
            assert_eq!(check(cron, 0).map(drop), expected, "{cron}");
        }
        for cron in ["*/15 * * * *", "0 * * * *", "0 9 * * *", "0 0 29 2 *"] {
            assert!(check(cron, 10).is_ok(), "{cron}");
        }
        assert!(matches!(check("0 9 * * *", 11), Err(ScheduleError::Jitter { .. })));
        // One that was made before fires less often from then on.
        let table = Timetable::new("*/5 * * * *", "UTC", 0).unwrap();
        let fired = at("2026-01-01T00:05:00Z");
        assert_eq!(table.next(fired, fired, &limits), Some(at("2026-01-01T00:20:00Z")));
        assert_eq!(table.next(fired, fired, &ScheduleLimits::default()), Some(at("2026-01-01T00:10:00Z")));
        // What was missed meanwhile is not waited for again.
        let late = at("2026-01-01T03:03:30Z");
        assert_eq!(table.next(fired, late, &ScheduleLimits::default()), Some(at("2026-01-01T03:05:00Z")));
    }

    #[test]
    fn a_jitter_is_the_same_each_time_within_its_bound_and_spread() {
        let table = Timetable::new("0 9 * * *", "UTC", 600).unwrap();
        let fire = at("2026-01-05T09:00:00Z");
        let due: Vec<_> = (0..=255).map(|n| table.due(ScheduleId::from_bytes([n; 16]), fire)).collect();
        assert!(due.iter().all(|due| *due >= fire && due.since(fire) <= Duration::from_secs(600)));
        assert_eq!(due[7], table.due(ScheduleId::from_bytes([7; 16]), fire));
        // A thousand jobs at nine do not fire together: each minute has some of them.
        let minutes: std::collections::BTreeSet<_> = due.iter().map(|due| due.since(fire).as_secs() / 60).collect();
        assert_eq!(minutes.len(), 10);
        let next = table.due(ScheduleId::from_bytes([7; 16]), at("2026-01-06T09:00:00Z"));
        assert_ne!(next.since(at("2026-01-06T09:00:00Z")), due[7].since(fire));
        let exact = Timetable::new("0 9 * * *", "UTC", 0).unwrap();
        assert_eq!(exact.due(ScheduleId::from_bytes([7; 16]), fire), fire);
    }
}
