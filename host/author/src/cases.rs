//! Test cases as authors write them: `tests/*.json`, one call each.
//!
//! A case that is misspelt would test nothing and pass, so unknown keys are errors at every level.

use crate::{AuthorError, files};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Bytes of one file of cases.
const FILE: usize = 16 << 20;

/// A case and where it stands.
#[derive(Debug)]
pub(crate) struct Case {
    /// The file's name without its ending; with `#2` behind it where the file holds several.
    pub(crate) name: String,
    pub(crate) file: PathBuf,
    pub(crate) script: Script,
}

/// One call in a world that is written down.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Script {
    /// The tool, by the manifest's name or the full one.
    pub(crate) tool: String,
    #[serde(default = "no_arguments")]
    pub(crate) arguments: Value,
    #[serde(default)]
    pub(crate) settings: BTreeMap<String, String>,
    /// The services that the user has connected.
    #[serde(default)]
    pub(crate) connected: Vec<String>,
    /// The hosts that the person who installs has granted, as `sophon install --allow-host` takes them.
    #[serde(default)]
    pub(crate) granted: Vec<String>,
    /// What the state holds at first: each value as its compact JSON text.
    #[serde(default)]
    pub(crate) state: BTreeMap<String, Value>,
    #[serde(default)]
    pub(crate) exchanges: Vec<Recorded>,
    pub(crate) expect: Expectation,
    /// All reports of progress, where they are looked at.
    pub(crate) progress: Option<Vec<Report>>,
}

fn no_arguments() -> Value {
    Value::Object(serde_json::Map::new())
}

/// A request that the skill is to send, and what it gets.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recorded {
    pub(crate) request: Request,
    pub(crate) response: Option<Response>,
    pub(crate) error: Option<Failure>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) url: String,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    /// Present even where it is `null`.
    #[serde(default, deserialize_with = "present")]
    pub(crate) body: Option<Value>,
    pub(crate) credential: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Response {
    pub(crate) status: u16,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) body: Option<Value>,
}

/// How an exchange fails.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Failure {
    Timeout,
    Dns,
    Connection,
    Tls,
    UnknownOutcome,
    #[serde(untagged)]
    Denied(Denied),
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Denied {
    pub(crate) denied: Denial,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Denial {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

/// What should come of the call: one of the two.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expectation {
    #[serde(default, deserialize_with = "present")]
    pub(crate) result: Option<Value>,
    pub(crate) error: Option<ExpectedError>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectedError {
    pub(crate) kind: Kind,
    pub(crate) contains: Option<String>,
}

/// The cases of `tool-error` in the WIT contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    UnknownTool,
    InvalidArguments,
    NotFound,
    Denied,
    Unavailable,
    Failed,
}

impl Kind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownTool => "unknown-tool",
            Self::InvalidArguments => "invalid-arguments",
            Self::NotFound => "not-found",
            Self::Denied => "denied",
            Self::Unavailable => "unavailable",
            Self::Failed => "failed",
        }
    }
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Report {
    pub(crate) percent: u8,
    pub(crate) message: String,
}

/// A value that is there, `null` included.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Reads a file of cases, or every `*.json` of a folder in the order of their names.
pub(crate) fn read(path: &Path) -> Result<Vec<Case>, AuthorError> {
    let none = || AuthorError::NoCases { path: path.to_owned() };
    let mut cases = Vec::new();
    for file in listed(path)?.ok_or_else(none)? {
        let scripts =
            parse(&files::read(&file, FILE)?).map_err(|cause| AuthorError::BadCase { path: file.clone(), cause })?;
        let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let several = scripts.len() > 1;
        cases.extend(scripts.into_iter().enumerate().map(|(index, script)| Case {
            name: if several { format!("{stem}#{}", index + 1) } else { stem.clone() },
            file: file.clone(),
            script,
        }));
    }
    if cases.is_empty() { Err(none()) } else { Ok(cases) }
}

/// The files at `path`; nothing where there is nothing.
fn listed(path: &Path) -> Result<Option<Vec<PathBuf>>, AuthorError> {
    if path.is_file() {
        return Ok(Some(vec![path.to_owned()]));
    }
    if !path.is_dir() {
        return Ok(None);
    }
    let refused = |source| AuthorError::Io { action: "cannot be read", path: path.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(refused)? {
        let file = entry.map_err(refused)?.path();
        if file.extension().is_some_and(|extension| extension == "json") && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(Some(files))
}

fn parse(bytes: &[u8]) -> Result<Vec<Script>, String> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let (items, several) = match value {
        Value::Array(items) => (items, true),
        one => (vec![one], false),
    };
    let script = |(index, item): (usize, Value)| {
        let place = if several { format!("case {}: ", index + 1) } else { String::new() };
        let script: Script = serde_json::from_value(item).map_err(|error| format!("{place}{error}"))?;
        check(&script).map_err(|problem| format!("{place}{problem}"))?;
        Ok(script)
    };
    items.into_iter().enumerate().map(script).collect()
}

/// What the types cannot say.
fn check(script: &Script) -> Result<(), String> {
    if !script.arguments.is_object() {
        return Err("\"arguments\" is not an object".into());
    }
    if script.expect.result.is_some() == script.expect.error.is_some() {
        return Err("\"expect\" has either \"result\" or \"error\"".into());
    }
    for (index, recorded) in script.exchanges.iter().enumerate() {
        if recorded.response.is_some() == recorded.error.is_some() {
            return Err(format!("exchange {}: it has either \"response\" or \"error\"", index + 1));
        }
        if recorded.response.as_ref().is_some_and(|response| !(100..=599).contains(&response.status)) {
            return Err(format!("exchange {}: the status is not one of 100 to 599", index + 1));
        }
        url::Url::parse(&recorded.request.url)
            .map_err(|error| format!("exchange {}: {:?} is not a URL: {error}", index + 1, recorded.request.url))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_cases_and_refuses_what_would_test_nothing() {
        let one = r#"{"tool":"a","expect":{"result":null}}"#;
        let scripts = parse(one.as_bytes()).unwrap();
        assert_eq!(scripts[0].expect.result, Some(Value::Null));
        assert_eq!(scripts[0].arguments, serde_json::json!({}));
        assert_eq!(parse(format!("[{one},{one}]").as_bytes()).unwrap().len(), 2);

        let exchange = |tail: &str| {
            format!(
                r#"{{"tool":"a","expect":{{"result":1}},"exchanges":[{{"request":{{"method":"GET","url":"https://a.example"}},{tail}}}]}}"#
            )
        };
        let failures = parse(exchange(r#""error":"unknown-outcome""#).as_bytes()).unwrap();
        assert_eq!(failures[0].exchanges[0].error, Some(Failure::UnknownOutcome));
        let denied = parse(exchange(r#""error":{"denied":{"code":"c","message":"m"}}"#).as_bytes()).unwrap();
        assert!(matches!(denied[0].exchanges[0].error, Some(Failure::Denied(_))));

        #[track_caller]
        fn check(text: &str, want: &str) {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(want), "{error}");
        }
        check(r#"{"tool":"a","expects":{"result":1}}"#, "expects");
        check(r#"{"tool":"a","expect":{"result":1,"note":2}}"#, "note");
        check(r#"{"tool":"a","expect":{}}"#, "either");
        check(r#"{"tool":"a","expect":{"result":1,"error":{"kind":"failed"}}}"#, "either");
        check(r#"{"tool":"a","expect":{"error":{"kind":"trap"}}}"#, "trap");
        check(r#"{"tool":"a","arguments":[],"expect":{"result":1}}"#, "arguments");
        check(&format!(r#"[{one},{{"tool":"a"}}]"#), "case 2");
        check(&exchange(r#""response":{"status":200},"error":"timeout""#), "either");
        check(&exchange(r#""response":{"status":99}"#), "status");
        check(&exchange(r#""error":"late""#), "match");
        check(&exchange(r#""response":{"status":200}"#).replace("https://a.example", "a.example"), "URL");
    }
}
