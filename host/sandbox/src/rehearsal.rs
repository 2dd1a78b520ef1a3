//! Trying a skill out: recorded exchanges in place of egress, memory in place of the store, no vault.
//!
//! A rehearsal is not a call: nothing it does is an effect, so it needs no approval and no audit record, and there is
//! no way from here to a socket or a secret. What the manifest does not allow is refused here all the same, in the words
//! of egress: better in the author's hands than in a user's.

use crate::limits::Limits;
use crate::wasm::{Invocation, PreparedSkill, RunReport, WasmRuntime};
use crate::{Connection, Doors, HttpDoor, MemoryState, Progress, SandboxError, TokenDoor};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};
use sophon_egress::{Allowlist, Denial, HttpError, HttpRequest, HttpResponse, TokenRefused};
use sophon_guard::Source;
use sophon_skill::{CredentialUse, Preset};
use sophon_types::{CanonicalJson, Fault as _, ToolName};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// What is tried: one tool with one set of arguments, in a world that is written down.
#[derive(Debug)]
pub struct Rehearsal {
    /// The tool's full name.
    pub tool: ToolName,
    /// The tool's name as the skill knows it.
    pub local: String,
    /// The arguments.
    pub arguments: CanonicalJson,
    /// Non-secret configuration.
    pub settings: BTreeMap<String, String>,
    /// The declared services and which of them count as connected.
    pub connections: Vec<Connection>,
    /// The credentials that the manifest declares.
    pub credentials: Vec<CredentialUse>,
    /// Where the tool may send requests.
    pub allowlist: Allowlist,
    /// What `state` holds at first.
    pub state: BTreeMap<String, Vec<u8>>,
    /// The requests that the skill is expected to send, in order, and the answers it gets.
    pub exchanges: Vec<Exchange>,
}

/// A recorded request and its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    /// What the skill must send.
    pub request: RecordedRequest,
    /// What it gets.
    pub answer: RecordedAnswer,
}

/// How an exchange ends.
#[derive(Debug, Clone, PartialEq)]
pub enum RecordedAnswer {
    /// With an answer.
    Response(RecordedResponse),
    /// Without one.
    Failure(HttpError),
}

/// What a request must look like. Headers not named here may be anything.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedRequest {
    /// The method.
    pub method: String,
    /// The whole URL.
    pub url: String,
    /// Headers that must be there with these values; names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body: a string is compared as text, anything else as JSON.
    pub body: Option<Value>,
    /// The credential that must be named; nothing: none may be named.
    pub credential: Option<String>,
}

/// A recorded answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedResponse {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Bytes,
}

/// What became of a rehearsal.
#[derive(Debug)]
pub struct RehearsalReport {
    /// The run.
    pub run: RunReport,
    /// Every progress report, in order.
    pub progress: Vec<Progress>,
    /// What `state` holds afterwards.
    pub state: BTreeMap<String, Vec<u8>>,
    /// Requests that the manifest does not allow, each with the line that would; how requests differed from the recorded
    /// ones; and recorded ones that were not sent.
    pub mismatches: Vec<String>,
}

/// Progress reports that a rehearsal keeps.
const REPORTS: usize = 1_000;

pub(crate) async fn rehearse(
    runtime: &WasmRuntime,
    prepared: &PreparedSkill,
    rehearsal: Rehearsal,
) -> Result<RehearsalReport, SandboxError> {
    let connected = rehearsal.connections.iter().filter(|connection| connection.connected);
    let connected = connected.map(|connection| connection.service.clone()).collect();
    let recorder = Arc::new(Recorder {
        connected,
        credentials: rehearsal.credentials,
        allowlist: rehearsal.allowlist,
        left: Mutex::new(rehearsal.exchanges.into()),
        mismatches: Mutex::new(Vec::new()),
    });
    let state = Arc::new(MemoryState::new(rehearsal.state));
    let progress: Arc<Mutex<Vec<Progress>>> = Arc::default();
    let told = Arc::clone(&progress);
    let doors = Doors {
        http: Some(Arc::clone(&recorder) as Arc<dyn HttpDoor>),
        state: Arc::clone(&state) as Arc<_>,
        connections: rehearsal.connections.into(),
        tokens: Some(Arc::clone(&recorder) as Arc<dyn TokenDoor>),
        settings: Arc::new(rehearsal.settings),
        progress: Some(Arc::new(move |report: &Progress| {
            let mut kept = told.lock();
            if kept.len() < REPORTS {
                kept.push(report.clone());
            }
        })),
    };
    let invocation = Invocation {
        tool: &rehearsal.local,
        source: Source::tool(&rehearsal.tool),
        arguments: rehearsal.arguments.as_str(),
        call_id: "rehearsal".into(),
        correlation_id: "rehearsal".into(),
        session: None,
        deadline: None,
    };
    // Locked down, but for what a recording stands in for.
    let locked = Limits::of(Preset::LockedDown);
    let own = prepared.limits();
    let limits = Limits {
        http_requests: own.http_requests,
        workspace_bytes: own.workspace_bytes,
        workspace_files: own.workspace_files,
        ..locked.capped(own)
    };
    let run = runtime.invoke(prepared, invocation, doors, limits).await;
    let mut mismatches = std::mem::take(&mut *recorder.mismatches.lock());
    let unsent = recorder.left.lock();
    mismatches.extend(unsent.iter().map(|left| format!("{} {} was not sent", left.request.method, left.request.url)));
    let progress = progress.lock().clone();
    Ok(RehearsalReport { run, progress, state: state.entries(), mismatches })
}

/// Answers from the recording, in order.
struct Recorder {
    connected: BTreeSet<String>,
    credentials: Vec<CredentialUse>,
    allowlist: Allowlist,
    left: Mutex<VecDeque<Exchange>>,
    mismatches: Mutex<Vec<String>>,
}

#[async_trait]
impl HttpDoor for Recorder {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        // A refusal that is written down is part of the world that the case describes.
        if let Some(refusal) = self.recorded_refusal(&request) {
            return Err(refusal);
        }
        if let Err(error) = self.allowlist.rehearse(&self.credentials, &request) {
            let hint = error.hint().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
            self.mismatches.lock().push(format!("{error}{hint}"));
            return Err(error);
        }
        if let Some(service) = request.credential.as_ref().filter(|service| !self.connected.contains(*service)) {
            return Err(HttpError::Denied(Denial {
                code: "not_connected".into(),
                message: format!("http: {service} is not connected"),
                hint: Some(format!("name it in the test case: \"connected\": [\"{service}\"]")),
            }));
        }
        let mut left = self.left.lock();
        let asked = format!("{} {}", request.method, request.url);
        let refuse = |what: &str, hint: String| {
            let message = format!("{asked}{what}");
            self.mismatches.lock().push(format!("{message}\nhint: {hint}"));
            Err(HttpError::Denied(Denial { code: "not_recorded".into(), message, hint: Some(hint) }))
        };
        let Some(next) = left.pop_front() else {
            let hint = format!("add {} to exchanges in the test case", to_record(&request));
            return refuse(" is not among the recorded exchanges", hint);
        };
        let differences = differences(&next.request, &request);
        if !differences.is_empty() {
            let hint = "send what is recorded, or record what is sent".to_owned();
            left.push_front(next);
            return refuse(&format!(": {}", differences.join("; ")), hint);
        }
        match next.answer {
            RecordedAnswer::Failure(error) => Err(error),
            RecordedAnswer::Response(response) => Ok(HttpResponse {
                status: response.status,
                url: request.url,
                headers: response.headers.into_iter().map(|(name, value)| (name, value.into_bytes())).collect(),
                body: response.body,
            }),
        }
    }
}

/// A text that a case can record as what the skill sends.
#[async_trait]
impl TokenDoor for Recorder {
    async fn scoped_token(&self, service: &str) -> Result<String, TokenRefused> {
        Ok(format!("rehearsal-token-of-{service}"))
    }
}

impl Recorder {
    /// The next exchange, where it is this request and ends in a refusal by the host.
    fn recorded_refusal(&self, request: &HttpRequest) -> Option<HttpError> {
        let mut left = self.left.lock();
        let next = left.pop_front()?;
        match next.answer {
            RecordedAnswer::Failure(refusal @ HttpError::Denied(_))
                if differences(&next.request, request).is_empty() =>
            {
                Some(refusal)
            }
            answer => {
                left.push_front(Exchange { answer, ..next });
                None
            }
        }
    }
}

/// The exchange of a request that was not recorded, for the author to say what comes back.
fn to_record(request: &HttpRequest) -> Value {
    let mut sent = json!({ "method": request.method, "url": request.url });
    if let Some(service) = &request.credential {
        sent["credential"] = service.as_str().into();
    }
    json!({ "request": sent, "response": { "status": 200, "body": {} } })
}

fn differences(recorded: &RecordedRequest, sent: &HttpRequest) -> Vec<String> {
    let mut found = Vec::new();
    if recorded.method != sent.method {
        found.push(format!("the recorded method is {}", recorded.method));
    }
    if !same_url(&recorded.url, &sent.url) {
        found.push(format!("the recorded URL is {}", recorded.url));
    }
    if recorded.credential != sent.credential {
        found.push(match &recorded.credential {
            Some(service) => format!("the recorded request names the credential {service}"),
            None => "the recorded request names no credential".to_owned(),
        });
    }
    for (name, value) in &recorded.headers {
        let same = sent.headers.iter().any(|(n, v)| n.eq_ignore_ascii_case(name) && v == value.as_bytes());
        if !same {
            found.push(format!("the recorded header {name}: {value} is not sent"));
        }
    }
    let body = sent.body.as_deref().unwrap_or_default();
    let same = match &recorded.body {
        None => true,
        Some(Value::String(text)) => text.as_bytes() == body,
        Some(json) => same_json(json, body),
    };
    if !same {
        found.push(format!("the body is {:?}", String::from_utf8_lossy(body)));
    }
    found
}

/// `https://a` and `https://a/` are one.
fn same_url(recorded: &str, sent: &str) -> bool {
    let parsed = |text: &str| url::Url::parse(text).ok();
    recorded == sent || parsed(recorded).is_some_and(|url| Some(url) == parsed(sent))
}

/// As values: `1` and `1.0` are one.
fn same_json(recorded: &Value, body: &[u8]) -> bool {
    let recorded = CanonicalJson::of(recorded.clone());
    recorded.is_ok_and(|recorded| CanonicalJson::parse(body).is_ok_and(|sent| sent.as_str() == recorded.as_str()))
}
