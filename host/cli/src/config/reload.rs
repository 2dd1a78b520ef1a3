//! Reading the configuration again, and telling what of it holds at once.

use super::{Config, load};
use crate::error::CliError;
use crate::system::Environment;
use parking_lot::Mutex;
use sophon_approval::Policy;
use sophon_gateway::{Reload, Reloaded};
use sophon_types::FaultReport;
use std::path::PathBuf;
use toml::{Table, Value};

/// The sections that hold at once.
const AT_ONCE: [&str; 2] = ["rate_limit", "approval"];

/// The configuration in force, and where it stands.
#[derive(Debug)]
pub(crate) struct Reloader {
    file: PathBuf,
    environment: Environment,
    /// What holds, and what was read last.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    started_with: Config,
    applied: Config,
}

impl Reloader {
    pub(crate) fn new(file: PathBuf, environment: Environment, config: Config) -> Self {
        let state = Mutex::new(State { started_with: config.clone(), applied: config });
        Self { file, environment, state }
    }
}

impl Reload for Reloader {
    fn reload(&self) -> Result<Reloaded, FaultReport> {
        let read = load(&self.file, &self.environment).map_err(|error| error.report())?;
        let unreadable = |error: toml::ser::Error| CliError::Start { message: error.to_string() }.report();
        let mut state = self.state.lock();
        let table = |config: &Config| Table::try_from(config).map_err(unreadable);
        let now = table(&read)?;
        let applied = differences(&table(&state.applied)?, &now).into_iter().filter(|key| is_at_once(key)).collect();
        let waiting = differences(&table(&state.started_with)?, &now);
        let needs_restart = waiting.into_iter().filter(|key| !is_at_once(key)).collect();
        let rate_limits = read.rate_limit.clone();
        let policy = Policy::new(read.approval.clone()).map_err(|error| CliError::of(&error).report())?;
        state.applied = read;
        Ok(Reloaded { rate_limits, policy, applied, needs_restart })
    }
}

fn is_at_once(key: &str) -> bool {
    key.split('.').next().is_some_and(|section| AT_ONCE.contains(&section))
}

/// The keys, as `section.key`, that are not the same in both.
fn differences(before: &Table, now: &Table) -> Vec<String> {
    let mut found = Vec::new();
    let sections: std::collections::BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    for section in sections {
        match (before.get(section), now.get(section)) {
            (Some(Value::Table(old)), Some(Value::Table(new))) => {
                let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
                let differing = keys.into_iter().filter(|key| old.get(*key) != new.get(*key));
                found.extend(differing.map(|key| format!("{section}.{key}")));
            }
            (old, new) if old != new => found.push(section.clone()),
            _same => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold_at_once_and_everything_else_says_that_it_waits() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sophon.toml");
        let write = |text: &str| std::fs::write(&file, text).unwrap();
        write("");
        let config = load(&file, &Environment::default()).unwrap();
        let reloader = Reloader::new(file.clone(), Environment::default(), config);
        let nothing = reloader.reload().unwrap();
        assert!(nothing.applied.is_empty() && nothing.needs_restart.is_empty(), "{nothing:?}");

        write("[rate_limit]\nuser_burst = 7\n[gateway]\ndrain_seconds = 3\n");
        for applied in [vec!["rate_limit.user_burst"], vec![]] {
            let read = reloader.reload().unwrap();
            assert_eq!(read.applied, applied);
            assert_eq!(read.needs_restart, ["gateway.drain_seconds"], "until the next start, however often it is read");
            assert_eq!(read.rate_limits.user_burst.get(), 7);
        }
        write("[rate_limit]\nuser_burst = 0\n");
        let refused = reloader.reload().unwrap_err();
        assert!(refused.message.contains("sophon.toml:2") && refused.message.contains("user_burst"), "{refused:?}");
        write("[rate_limit]\nuser_burst = 4000000000\nuser_per_minute = 1\n");
        let absurd = reloader.reload().unwrap_err();
        assert!(absurd.message.contains("sophon.toml:1") && absurd.message.contains("user_burst"), "{absurd:?}");
        write("[approval]\nbulk_threshold = 3\n");
        let policy = reloader.reload().unwrap();
        assert_eq!(policy.applied, ["approval.bulk_threshold", "rate_limit.user_burst"]);
        assert_eq!(policy.policy.bulk_threshold(), 3);
        write("[approval]\nceiling = \"high\"\n");
        assert!(reloader.reload().unwrap_err().message.contains("ceiling"));
        write("");
        assert_eq!(reloader.reload().unwrap().applied, ["approval.bulk_threshold"]);
    }
}
