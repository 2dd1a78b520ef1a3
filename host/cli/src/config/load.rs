//! Reading the configuration: the file first, then the variables, each checked on its own so that an error can name the
//! line or the variable that causes it.

use super::Config;
use crate::error::CliError;
use crate::system::Environment;
use serde::Deserialize as _;
use std::path::Path;
use toml::{Table, Value};

/// The prefix of variables that set a key.
const PREFIX: &str = "SOPHON__";

/// The configuration of `file` (all defaults where it does not exist) and of the environment.
pub(crate) fn load(file: &Path, environment: &Environment) -> Result<Config, CliError> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(CliError::file(file, error)),
    };
    // Read once for the errors, which have lines only here, and once more to lay the variables over it.
    toml::from_str::<Config>(&text).map_err(|error| in_file(file, &text, &error))?;
    let mut merged: Table = toml::from_str(&text).map_err(|error| in_file(file, &text, &error))?;
    for (name, value) in environment.with_prefix(PREFIX) {
        lay_over(&mut merged, name, value)?;
    }
    Config::deserialize(Value::Table(merged)).map_err(|error| CliError::Config {
        place: file.display().to_string(),
        message: error.message().to_owned(),
        hint: "sophon config show".into(),
    })
}

fn lay_over(merged: &mut Table, name: &str, text: &str) -> Result<(), CliError> {
    let keys: Vec<String> = name.split("__").map(str::to_lowercase).collect();
    let wrong = |message: String, hint: String| CliError::Config { place: format!("{PREFIX}{name}"), message, hint };
    let shape =
        || wrong("names no key".into(), format!("name a section and a key: {PREFIX}GATEWAY__MAX_CONNECTIONS=100"));
    let [section, key] = keys.as_slice() else { return Err(shape()) };
    if section.is_empty() || key.is_empty() {
        return Err(shape());
    }
    // The value as TOML where it is TOML and fits, else as a string.
    let as_text = Value::String(text.to_owned());
    let as_toml = toml::from_str::<Table>(&format!("v = {text}")).ok().and_then(|mut table| table.remove("v"));
    let mut failure = None;
    for value in as_toml.into_iter().chain([as_text]) {
        match alone(section, key, value.clone()) {
            Ok(()) => {
                let entry = merged.entry(section.clone()).or_insert_with(|| Value::Table(Table::new()));
                if let Value::Table(table) = entry {
                    table.insert(key.clone(), value);
                }
                return Ok(());
            }
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    let message = failure.map(|error| error.message().to_owned()).unwrap_or_default();
    Err(wrong(message, hint()))
}

/// Whether the configuration with only this key set is one; every key has a default, so only this key can be wrong.
fn alone(section: &str, key: &str, value: Value) -> Result<(), toml::de::Error> {
    let inner = Table::from_iter([(key.to_owned(), value)]);
    Config::deserialize(Value::Table(Table::from_iter([(section.to_owned(), Value::Table(inner))]))).map(drop)
}

fn in_file(file: &Path, text: &str, error: &toml::de::Error) -> CliError {
    let line = error.span().map(|span| {
        let before = text.get(..span.start).unwrap_or_default();
        before.bytes().filter(|b| *b == b'\n').count() + 1
    });
    let place = match line {
        Some(line) => format!("{}:{line}", file.display()),
        None => file.display().to_string(),
    };
    let at = line.and_then(|line| text.lines().nth(line - 1)).map(str::trim).filter(|line| !line.is_empty());
    let message = match at {
        Some(at) => format!("{} in `{}`", error.message(), at.chars().take(120).collect::<String>()),
        None => error.message().to_owned(),
    };
    CliError::Config { place, message, hint: hint() }
}

fn hint() -> String {
    "`sophon config show` prints every section and key with the value in use".into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::VaultKey;
    use sophon_types::Fault as _;

    fn check<const N: usize>(text: &str, variables: [(&str, &str); N]) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sophon.toml");
        std::fs::write(&file, text).unwrap();
        load(&file, &Environment::from(variables)).map_err(|error| {
            let shown = error.to_string().replace(&folder.path().display().to_string(), "HOME");
            assert!(error.hint().is_some(), "{shown}");
            shown
        })
    }

    #[test]
    fn nothing_is_a_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let config = load(&folder.path().join("sophon.toml"), &Environment::default()).unwrap();
        assert_eq!(config.gateway.listen.to_string(), "127.0.0.1:7411");
        let shown = toml::to_string(&config).unwrap();
        assert!(check(&shown, []).is_ok(), "what `config show` prints can be read again: {shown}");
    }

    #[test]
    fn variables_go_over_the_file() {
        let text = "[gateway]\nmax_connections = 5\ndrain_seconds = 3\n";
        let config = check(
            text,
            [
                ("SOPHON__GATEWAY__MAX_CONNECTIONS", "9"),
                ("SOPHON__GATEWAY__LISTEN", "127.0.0.1:0"),
                ("SOPHON__GATEWAY__ALLOWED_HOSTS", "[\"a.example\", \"b.example\"]"),
                ("SOPHON__GATEWAY__TRUSTED_PROXIES", "[\"10.0.0.0/8\"]"),
                ("SOPHON__VAULT__KEY", "env"),
                ("SOPHON__PROMPT_INJECTION__ENABLED", "false"),
                ("SOPHON__LOG__LEVEL", "debug"),
                ("SOPHON__RATE_LIMIT__USER_PER_MINUTE", "7"),
                ("SOPHON_HOME", "/elsewhere"),
            ],
        )
        .unwrap();
        assert_eq!(config.gateway.max_connections.get(), 9);
        assert_eq!(config.gateway.drain_seconds, 3);
        assert_eq!(config.gateway.listen.port(), 0);
        assert_eq!(config.gateway.allowed_hosts, ["a.example", "b.example"]);
        assert_eq!(config.vault.key, VaultKey::Env);
        assert_eq!(config.log.level, "debug");
        assert_eq!(config.rate_limit.user_per_minute.get(), 7);
    }

    #[test]
    fn errors_name_the_place_and_the_key() {
        let error = |text: &str| check(text, []).unwrap_err();
        let unknown = error("[gateway]\n\nlisten_on = \"127.0.0.1:1\"\n");
        assert!(unknown.starts_with("HOME/sophon.toml:3: unknown field `listen_on`"), "{unknown}");
        let section = error("[gatway]\n");
        assert!(section.starts_with("HOME/sophon.toml:1: unknown field `gatway`"), "{section}");
        let kind = error("[gateway]\nmax_connections = \"many\"\n");
        assert!(kind.starts_with("HOME/sophon.toml:2: ") && kind.contains("max_connections"), "{kind}");
        let zero = error("[rate_limit]\nuser_burst = 0\n");
        assert!(zero.starts_with("HOME/sophon.toml:2: ") && zero.contains("user_burst"), "{zero}");
        let often = error("[schedules]\nmax_per_user = 5\nmin_interval_seconds = 59\n");
        assert!(often.starts_with("HOME/sophon.toml:3: ") && often.contains("min_interval_seconds"), "{often}");
        assert!(often.contains("59 is not between 60 and 2678400"), "{often}");
        let more = error("\n[schedules]\nmax_per_user = 50\nmax_per_tenant = 49\n");
        assert!(more.starts_with("HOME/sophon.toml:2: ") && more.contains("max_per_user"), "{more}");
        let proxy = error("[gateway]\ntrusted_proxies = [\"10.0.0.0/99\"]\n");
        assert!(proxy.contains(":2: ") && proxy.contains("10.0.0.0/99"), "{proxy}");
        let slow = error(
            "[prompt_injection]\nenabled = true\n\n[[prompt_injection.extra_patterns]]\nname = \"wire\"\npattern = \"wire .*\"\n",
        );
        assert!(slow.starts_with("HOME/sophon.toml:6: ") && slow.contains("would be slow"), "{slow}");
        assert!(slow.contains("pattern = "), "{slow}");
        let rule = error("[prompt_injection.severities]\npersona = \"low\"\noverride = \"low\"\n");
        assert!(rule.starts_with("HOME/sophon.toml:3: ") && rule.contains("override-instructions"), "{rule}");
        let syntax = error("[gateway\n");
        assert!(syntax.starts_with("HOME/sophon.toml:1: "), "{syntax}");

        let hook = |more: &str| error(&format!("[[webhooks]]\nname = \"desk\"\nsecret_file = \"k\"\n{more}\n"));
        for (more, key) in [
            ("url = \"ftp://a.example\"", "url"),
            ("url = \"https://a.example\"\nlink = \"javascript:{approval_id}\"", "link"),
            ("url = \"https://a.example\"\nlink = \"https://a.example/\"", "link"),
            ("url = \"https://a.example\"\nevents = [\"call.finished\"]", "events"),
            ("url = \"https://a.example\"\ntenant = \"no tenant\"", "tenant"),
        ] {
            let told = hook(more);
            let line = 3 + more.lines().count();
            assert!(told.starts_with(&format!("HOME/sophon.toml:{line}: ")) && told.contains(key), "{told}");
        }
        assert!(hook("").contains("url"), "{}", hook(""));

        let variable = |name: &str, value: &str| check("", [(name, value)]).unwrap_err();
        let unknown = variable("SOPHON__GATEWAY__LISTEN_ON", "x");
        assert!(unknown.starts_with("SOPHON__GATEWAY__LISTEN_ON: unknown field `listen_on`"), "{unknown}");
        let kind = variable("SOPHON__GATEWAY__MAX_CONNECTIONS", "many");
        assert!(kind.starts_with("SOPHON__GATEWAY__MAX_CONNECTIONS: invalid"), "{kind}");
        assert!(variable("SOPHON__GATEWAY", "x").contains("names no key"));
    }
}
