//! Trying a skill out: recorded cases in the locked-down sandbox.
//!
//! The skill needs no signature for this: a [`Rehearsal`] has no egress, no vault and no store, so there is nothing that
//! it could harm. It must pass the analysis all the same: what is tried is what would be installed. And it may be anybody's:
//! where it is compiled is said by the caller, who has a compiler of its own to start, or does not need one.

use crate::build::assemble;
use crate::cases::{self, Case, Script};
use crate::project::Draft;
use crate::sign::read_package;
use crate::{AuthorError, Subject, files};
use serde::Serialize;
use serde_json::{Value, json};
use sophon_guard::{KnownSecrets, RawOutput, sanitise};
use sophon_sandbox::{
    Access, Allowlist, Compilation, Connection, Denial, Exchange, HttpError, Limits, LogLevel, LogLine, PoolLimits,
    PreparedSkill, RecordedAnswer, RecordedRequest, RecordedResponse, Rehearsal, RehearsalReport, RunFailure,
    WasmRuntime,
};
use sophon_skill::{
    ArgumentCheck, HostGrant, MAX_COMPONENT, Manifest, Package, PackageError, Preset, Shown, Tool, TrustStore,
    Unsigned, VerifiedPackage, entry_line, pack, verify,
};
use sophon_types::{CanonicalJson, Entropy};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Which cases are played.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cases {
    /// A file, or a folder with `*.json`; the folder `tests` of the project (or beside the file) where nothing is given.
    pub path: Option<PathBuf>,
    /// Only cases whose name or tool contains this.
    pub only: Option<String>,
}

/// What became of one case.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CaseReport {
    /// The case: its file's name without the ending, and its number where the file holds several.
    pub name: String,
    /// The file.
    pub file: PathBuf,
    /// The tool, as the case names it.
    pub tool: String,
    /// Whether everything was as expected.
    pub outcome: CaseOutcome,
    /// What was not as expected, one sentence each, with a line `hint: …` where something would mend it. May repeat text
    /// of the skill.
    pub problems: Vec<String>,
    /// What was expected: `{"result": …}` or `{"error": …}`.
    pub expected: Value,
    /// What came: `{"result": …}` or `{"error": {"kind", "message"}}`; nothing where the skill was not run.
    pub actual: Option<Value>,
    /// Milliseconds of the run.
    pub milliseconds: u64,
    /// Units of fuel.
    pub fuel: u64,
    /// The most linear memory at one time, in bytes.
    pub memory: u64,
    /// What the skill logged: `level: line`. Untrusted text.
    pub logs: Vec<String>,
}

/// Whether a case came out as expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CaseOutcome {
    /// It did.
    Passed,
    /// It did not.
    Failed,
}

/// Plays the cases, one after another, each in a fresh instance. A project is built first.
///
/// Results are compared as JSON: the order of keys says nothing, numbers are compared by value. The component is compiled
/// as `compilation` says: in this process only what is the author's own.
///
/// # Errors
/// [`AuthorError`] where there is nothing to try out, or no cases. A case that fails is no error.
pub async fn rehearse(
    subject: &Subject,
    cases: &Cases,
    compilation: Compilation,
    entropy: &dyn Entropy,
) -> Result<Vec<CaseReport>, AuthorError> {
    let path = cases.path.clone().unwrap_or_else(|| default_path(subject));
    let mut played = cases::read(&path)?;
    if let Some(only) = &cases.only {
        played.retain(|case| case.name.contains(only.as_str()) || case.script.tool.contains(only.as_str()));
        if played.is_empty() {
            return Err(AuthorError::NoCases { path: path.join(format!("*{only}*")) });
        }
    }
    let owned = subject.clone();
    // cargo and the compiler take their time: not on a worker that serves others.
    let prepared = tokio::task::spawn_blocking(move || Stage::set(&owned, compilation)).await;
    let stage = prepared.map_err(|error| AuthorError::Host(error.to_string()))??;
    let mut reports = Vec::with_capacity(played.len());
    for case in played {
        reports.push(stage.play(case, entropy).await?);
    }
    Ok(reports)
}

fn default_path(subject: &Subject) -> PathBuf {
    match subject {
        Subject::Project(request) => request.dir.join("tests"),
        Subject::Package(path) | Subject::Component { component: path, .. } => path.with_file_name("tests"),
    }
}

/// The skill, ready to be played.
struct Stage {
    package: VerifiedPackage,
    runtime: WasmRuntime,
    prepared: PreparedSkill,
    /// By the tool's index in the manifest.
    checks: Vec<ArgumentCheck>,
}

impl Stage {
    fn set(subject: &Subject, compilation: Compilation) -> Result<Self, AuthorError> {
        let package = match subject {
            Subject::Project(request) => assemble(request)?.package,
            Subject::Package(path) => read_package(path)?,
            Subject::Component { component, manifest } => package_of(component, manifest)?,
        };
        let package = verify(package, None, &TrustStore::default(), Unsigned::DangerouslyAllow)?;
        // One case at a time.
        let pool = PoolLimits { concurrent_calls: 1, ..PoolLimits::default() };
        let runtime = WasmRuntime::start_compiling(&pool, Limits::of(Preset::Minimal), compilation, None)?;
        let prepared = runtime.prepare(&package)?;
        let check = |tool: &Tool| {
            let built = ArgumentCheck::new(&tool.parameters);
            built.map_err(|cause| AuthorError::Schema { tool: tool.name.clone(), cause })
        };
        let checks = package.manifest().tools.iter().map(check).collect::<Result<_, _>>()?;
        Ok(Self { package, runtime, prepared, checks })
    }

    async fn play(&self, case: Case, entropy: &dyn Entropy) -> Result<CaseReport, AuthorError> {
        let Case { name, file, script } = case;
        let mut report = CaseReport {
            name,
            file,
            tool: script.tool.clone(),
            outcome: CaseOutcome::Failed,
            problems: Vec::new(),
            expected: expected(&script),
            actual: None,
            milliseconds: 0,
            fuel: 0,
            memory: 0,
            logs: Vec::new(),
        };
        let rehearsal = match self.rehearsal(&script) {
            Ok(rehearsal) => rehearsal,
            Err(problems) => return Ok(CaseReport { problems, ..report }),
        };
        let played = self.runtime.rehearse(&self.prepared, rehearsal).await?;
        let RehearsalReport { run, progress, mismatches, .. } = played;
        report.milliseconds = u64::try_from(run.usage.duration.as_millis()).unwrap_or(u64::MAX);
        report.fuel = run.usage.fuel;
        report.memory = run.usage.memory_peak as u64;
        report.logs = run.logs.iter().map(line).collect();
        if run.logs_dropped > 0 {
            report.logs.push(format!("({} lines more than are kept)", run.logs_dropped));
        }
        report.problems = mismatches;
        report.problems.extend(compare(&script, run.output, entropy, &mut report.actual));
        if let Some(wanted) = &script.progress {
            let came: Vec<_> = progress
                .into_iter()
                .map(|report| cases::Report { percent: report.percent, message: report.message })
                .collect();
            if came != *wanted {
                report.problems.push(format!("progress: expected {}, came {}", steps(wanted), steps(&came)));
            }
        }
        if report.problems.is_empty() {
            report.outcome = CaseOutcome::Passed;
        }
        Ok(report)
    }

    /// The call that the script describes, or everything that keeps it from being one.
    fn rehearsal(&self, script: &Script) -> Result<Rehearsal, Vec<String>> {
        let manifest = self.package.manifest();
        let found = manifest.tools.iter().zip(&self.checks);
        let mut named = found.filter(|(tool, _)| tool.local == script.tool || tool.name.as_str() == script.tool);
        let Some((tool, check)) = named.next() else {
            let known: Vec<_> = manifest.tools.iter().map(|tool| tool.local.as_str()).collect();
            return Err(vec![format!("there is no tool {:?}; the skill has {}", script.tool, known.join(", "))]);
        };
        let mut problems = Vec::new();
        // A place is a pointer into the arguments; the empty one is written out.
        let placed = |said: String| if said.starts_with('/') { format!("arguments{said}") } else { said };
        problems.extend(check.violations(&script.arguments, Shown::Values).into_iter().map(placed));
        let arguments = CanonicalJson::of(script.arguments.clone());
        let settings = settings(manifest, script, &mut problems);
        let connections = connections(manifest, script, &mut problems);
        let grants = grants(script, &mut problems);
        match arguments {
            Ok(arguments) if problems.is_empty() => Ok(Rehearsal {
                tool: tool.name.clone(),
                local: tool.local.clone(),
                arguments,
                settings,
                connections,
                credentials: manifest.credentials.clone(),
                allowlist: Allowlist::compile(manifest, Some(tool), &grants),
                state: script.state.iter().map(|(key, value)| (key.clone(), value.to_string().into_bytes())).collect(),
                exchanges: script.exchanges.iter().map(exchange).collect(),
            }),
            Ok(_) => Err(problems),
            Err(error) => {
                problems.push(format!("arguments: {error}"));
                Err(problems)
            }
        }
    }
}

/// A package around a bare component; it is never written.
fn package_of(component: &Path, manifest: &Path) -> Result<Package, AuthorError> {
    let finished = Draft::read(manifest)?.finish(&files::read(component, MAX_COMPONENT)?)?;
    let files = BTreeMap::from([
        ("manifest.json".to_owned(), finished.json),
        (finished.manifest.entrypoint.clone(), finished.component),
        ("README.md".to_owned(), Vec::new()),
        ("LICENSE".to_owned(), Vec::new()),
    ]);
    Ok(Package::read(pack(&files).map_err(PackageError::Archive)?)?)
}

/// The manifest's defaults under what the script sets.
fn settings(manifest: &Manifest, script: &Script, problems: &mut Vec<String>) -> BTreeMap<String, String> {
    for key in script.settings.keys() {
        if !manifest.settings.iter().any(|setting| setting.key == *key) {
            let entry = json!({ "key": key, "description": "What it is for." });
            let line = entry_line("settings", manifest.settings.len(), &entry);
            problems.push(format!("settings: the manifest does not declare {key:?}\nhint: {line}"));
        }
    }
    let defaults = manifest.settings.iter().filter_map(|s| s.default.clone().map(|value| (s.key.clone(), value)));
    defaults.chain(script.settings.clone()).collect()
}

fn connections(manifest: &Manifest, script: &Script, problems: &mut Vec<String>) -> Vec<Connection> {
    for service in &script.connected {
        if !manifest.credentials.iter().any(|used| used.service.as_str() == service) {
            let entry = json!({ "service": service, "scopes": [], "required": true, "access": "proxy" });
            let line = entry_line("credentials", manifest.credentials.len(), &entry);
            problems.push(format!("connected: the manifest's credentials do not have {service:?}\nhint: {line}"));
        }
    }
    let connection = |used: &sophon_skill::CredentialUse| Connection {
        service: used.service.to_string(),
        connected: script.connected.iter().any(|service| service == used.service.as_str()),
        access: match used.access {
            sophon_skill::Access::Proxy => Access::Proxy,
            sophon_skill::Access::ScopedToken => Access::ScopedToken,
        },
    };
    manifest.credentials.iter().map(connection).collect()
}

fn grants(script: &Script, problems: &mut Vec<String>) -> Vec<HostGrant> {
    let mut grants = Vec::new();
    for text in &script.granted {
        match text.parse() {
            Ok(grant) => grants.push(grant),
            Err(error) => problems.push(format!("granted: {error}")),
        }
    }
    grants
}

fn expected(script: &Script) -> Value {
    match (&script.expect.result, &script.expect.error) {
        (Some(result), _) => json!({ "result": result }),
        (None, Some(error)) => {
            let mut shown = json!({ "kind": error.kind.as_str() });
            if let Some(contains) = &error.contains {
                shown["contains"] = contains.as_str().into();
            }
            json!({ "error": shown })
        }
        (None, None) => Value::Null,
    }
}

/// Holds what came against what was expected; keeps what came in `actual`.
fn compare(
    script: &Script,
    output: Result<RawOutput, RunFailure>,
    entropy: &dyn Entropy,
    actual: &mut Option<Value>,
) -> Option<String> {
    match output {
        Ok(output) => {
            // There is no secret here to redact, so the value comes out as it went in.
            let clean = sanitise(output, &KnownSecrets::none(), entropy);
            let came = clean.result().cloned().unwrap_or_else(|| clean.content().into());
            let problem = match &script.expect.result {
                Some(wanted) => first_difference(wanted, &came, "result"),
                None => Some("an error was expected, a result came".to_owned()),
            };
            *actual = Some(json!({ "result": came }));
            problem
        }
        Err(RunFailure::Tool { kind, message }) => {
            *actual = Some(json!({ "error": { "kind": kind.as_str(), "message": message } }));
            let Some(wanted) = &script.expect.error else {
                return Some(format!("a result was expected, an error came: {}: {message}", kind.as_str()));
            };
            if wanted.kind.as_str() != kind.as_str() {
                return Some(format!("the error is {}, not {}: {message}", kind.as_str(), wanted.kind.as_str()));
            }
            let part = wanted.contains.as_deref().unwrap_or_default();
            (!message.contains(part)).then(|| format!("the error's text does not contain {part:?}: {message}"))
        }
        Err(failure) => {
            *actual = Some(json!({ "error": { "kind": "aborted", "message": failure.to_string() } }));
            Some(failure.to_string())
        }
    }
}

/// The first place where the two differ as JSON, in words.
fn first_difference(wanted: &Value, came: &Value, place: &str) -> Option<String> {
    match (wanted, came) {
        (Value::Number(wanted), Value::Number(came)) if wanted == came || wanted.as_f64() == came.as_f64() => None,
        (Value::Array(wanted), Value::Array(came)) if wanted.len() == came.len() => wanted
            .iter()
            .zip(came)
            .enumerate()
            .find_map(|(index, (wanted, came))| first_difference(wanted, came, &format!("{place}[{index}]"))),
        (Value::Array(wanted), Value::Array(came)) => {
            Some(format!("{place}: expected {} items, came {}", wanted.len(), came.len()))
        }
        (Value::Object(wanted), Value::Object(came)) => {
            let missing = wanted.keys().find(|key| !came.contains_key(*key));
            let extra = came.keys().find(|key| !wanted.contains_key(*key));
            match (missing, extra) {
                (Some(key), _) => Some(format!("{place}: there is no {key:?}")),
                (None, Some(key)) => Some(format!("{place}: {key:?} was not expected")),
                (None, None) => wanted
                    .iter()
                    .find_map(|(key, value)| first_difference(value, came.get(key)?, &format!("{place}.{key}"))),
            }
        }
        _ if wanted == came => None,
        _ => Some(format!("{place}: expected {wanted}, came {came}")),
    }
}

fn exchange(recorded: &cases::Recorded) -> Exchange {
    let request = &recorded.request;
    Exchange {
        request: RecordedRequest {
            method: request.method.clone(),
            // As a URL is written once it was parsed: `https://a` and `https://a/` are one.
            url: url::Url::parse(&request.url).map_or_else(|_not_a_url| request.url.clone(), Into::into),
            headers: request.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect(),
            body: request.body.clone(),
            credential: request.credential.clone(),
        },
        answer: match &recorded.error {
            Some(failure) => RecordedAnswer::Failure(failed(failure)),
            None => RecordedAnswer::Response(answered(recorded.response.as_ref())),
        },
    }
}

fn answered(response: Option<&cases::Response>) -> RecordedResponse {
    RecordedResponse {
        status: response.map_or(200, |response| response.status),
        headers: response.map(|response| response.headers.clone()).unwrap_or_default(),
        body: response.and_then(|response| response.body.as_ref()).map(text).unwrap_or_default().into(),
    }
}

fn failed(failure: &cases::Failure) -> HttpError {
    let why = || "as recorded".to_owned();
    match failure {
        cases::Failure::Timeout => HttpError::Timeout,
        cases::Failure::Dns => HttpError::Dns(why()),
        cases::Failure::Connection => HttpError::Connection(why()),
        cases::Failure::Tls => HttpError::Tls(why()),
        cases::Failure::UnknownOutcome => HttpError::UnknownOutcome(why()),
        cases::Failure::Denied(cases::Denied { denied }) => HttpError::Denied(Denial {
            code: denied.code.clone().into(),
            message: denied.message.clone(),
            hint: denied.hint.clone(),
        }),
    }
}

/// A text as it is, anything else as compact JSON.
fn text(body: &Value) -> String {
    match body {
        Value::String(text) => text.clone(),
        json => json.to_string(),
    }
}

fn line(line: &LogLine) -> String {
    let level = match line.level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    };
    format!("{level}: {}", line.message)
}

fn steps(reports: &[cases::Report]) -> String {
    let steps: Vec<_> = reports.iter().map(|report| format!("{} % {:?}", report.percent, report.message)).collect();
    format!("[{}]", steps.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_compared_as_json() {
        #[track_caller]
        fn check(wanted: Value, came: Value, want: Option<&str>) {
            assert_eq!(first_difference(&wanted, &came, "result").as_deref(), want);
        }
        check(json!({"a": 1, "b": [1.0, "x"]}), json!({"b": [1, "x"], "a": 1.0}), None);
        check(json!({"a": 1}), json!({"a": 2}), Some("result.a: expected 1, came 2"));
        check(json!({"a": 1}), json!({}), Some("result: there is no \"a\""));
        check(json!({}), json!({"a": null}), Some("result: \"a\" was not expected"));
        check(json!([1, [2]]), json!([1, [3]]), Some("result[1][0]: expected 2, came 3"));
        check(json!([1]), json!([1, 2]), Some("result: expected 1 items, came 2"));
        check(json!("1"), json!(1), Some("result: expected \"1\", came 1"));
        check(json!(null), json!(false), Some("result: expected null, came false"));
        check(json!(9007199254740993_u64), json!(9007199254740992_u64), None);
    }
}
