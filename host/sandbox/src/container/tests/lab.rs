//! What the tests share: an engine that was given, a skill out of source text, a door that writes down what goes out.

use super::super::tenancy::Who;
use super::super::*;
use crate::wasm::Invocation;
use crate::{Doors, HttpDoor, MemoryState, RunFailure, RunReport};
use async_trait::async_trait;
use serde_json::{Map, Value};
use sophon_egress::{Denial, HttpError, HttpRequest, HttpResponse};
use sophon_guard::{KnownSecrets, Source, sanitise};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

/// Different each time.
pub(super) struct Seeded;

impl Entropy for Seeded {
    fn fill(&self, bytes: &mut [u8]) {
        let next = LABS.fetch_add(1, Ordering::Relaxed);
        let seed = Digest::of_parts(&[&std::process::id().to_be_bytes(), &next.to_be_bytes()]);
        bytes.iter_mut().zip(seed.as_bytes().iter().cycle()).for_each(|(byte, random)| *byte = *random);
    }
}

static LABS: AtomicU32 = AtomicU32::new(0);

/// The engine that `scripts/test` started.
#[expect(clippy::disallowed_methods, reason = "a test is told of an engine by its environment")]
pub(super) fn given() -> Option<String> {
    let given = std::env::var("SOPHON_TEST_ENGINE").ok().filter(|address| !address.is_empty());
    let required = std::env::var("SOPHON_CONTAINERS").is_ok_and(|value| value == "required");
    assert!(given.is_some() || !required, "an engine is required here: scripts/test starts one");
    given
}

/// A door that writes down what comes, and answers or refuses.
#[derive(Default)]
pub(super) struct Web {
    pub(super) seen: Mutex<Vec<HttpRequest>>,
}

#[async_trait]
impl HttpDoor for Web {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let url = request.url.clone();
        self.seen.lock().push(request);
        if !url.contains("://api.example.com") {
            let message = format!("http: {url} is not in permissions.network");
            let hint = Some("declare the host".to_owned());
            return Err(HttpError::Denied(Denial { code: "host_not_allowed".into(), message, hint }));
        }
        let headers = vec![("content-type".to_owned(), b"application/json".to_vec())];
        Ok(HttpResponse { status: 200, url, headers, body: Bytes::from_static(b"{\"answer\": 42}") })
    }
}

pub(super) struct Lab {
    pub(super) runtime: ContainerRuntime,
    pub(super) web: Arc<Web>,
}

/// A configuration on the given engine, with sandboxes that are nobody else's.
pub(super) fn config(engine: String) -> ContainerConfig {
    let owner = format!("test-{}-{}", std::process::id(), LABS.fetch_add(1, Ordering::Relaxed));
    ContainerConfig { engine: Some(engine), owner, warm: 0, concurrent: 4, ..ContainerConfig::default() }
}

pub(super) fn runtime(config: ContainerConfig) -> ContainerRuntime {
    ContainerRuntime::new(config, Limits::of(sophon_skill::Preset::Minimal), Arc::new(Seeded))
}

impl Lab {
    /// Nothing where there is no engine.
    pub(super) async fn open() -> Option<Self> {
        Self::with(|config| config).await
    }

    pub(super) async fn with(change: impl FnOnce(ContainerConfig) -> ContainerConfig) -> Option<Self> {
        let runtime = runtime(change(config(given()?)));
        runtime.open().await.unwrap_or_else(|cause| panic!("{cause}; hint: {}", cause.hint()));
        Some(Self { runtime, web: Arc::default() })
    }

    /// A skill of one file, with this in its manifest as well.
    pub(super) async fn skill(&self, source: &str, extra: &str) -> Arc<NativeSkill> {
        let files = vec![("main.py".to_owned(), Bytes::from(source.to_owned()))];
        self.runtime.prepared(&manifest(extra), Digest::of(source.as_bytes()), files, None).await.unwrap()
    }

    pub(super) async fn call(&self, skill: &NativeSkill, arguments: &str) -> RunReport {
        self.call_of(&who("acme", "ann"), skill, arguments).await
    }

    pub(super) async fn call_of(&self, who: &Who, skill: &NativeSkill, arguments: &str) -> RunReport {
        let doors = Doors {
            http: Some(Arc::clone(&self.web) as Arc<dyn HttpDoor>),
            state: Arc::new(MemoryState::new(BTreeMap::new())),
            connections: Vec::new().into(),
            tokens: None,
            settings: Arc::new(BTreeMap::new()),
            progress: None,
        };
        let tool = "probe.go".parse().unwrap();
        let invocation = Invocation {
            tool: "go",
            source: Source::tool(&tool),
            arguments,
            call_id: "test".into(),
            correlation_id: "test".into(),
            session: None,
            deadline: None,
        };
        let fields = Map::from_iter([("base_url".to_owned(), Value::from("https://api.example.com"))]);
        self.runtime.invoke(skill, who, invocation, doors, fields).await
    }

    /// Runs that source once, with this in its manifest.
    pub(super) async fn report(&self, source: &str, extra: &str) -> RunReport {
        let skill = self.skill(source, extra).await;
        self.call(&skill, "{}").await
    }

    pub(super) async fn value(&self, source: &str, extra: &str) -> Value {
        value(self.report(source, extra).await)
    }

    pub(super) async fn failure(&self, source: &str, extra: &str) -> RunFailure {
        let report = self.report(source, extra).await;
        match report.output {
            Err(failure) => failure,
            Ok(_) => panic!("{:?}", value(report)),
        }
    }

    /// Waits until so many sandboxes wait for a call.
    pub(super) async fn wait_for(&self, count: usize) {
        let open = self.runtime.opened().await.unwrap();
        for _ in 0..1_000 {
            if open.pool.waiting() >= count {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("{} sandboxes wait, not {count}", open.pool.waiting());
    }

    /// How many sandboxes of this lab the engine has once all are settled.
    pub(super) async fn left(&self) -> usize {
        let open = self.runtime.opened().await.unwrap();
        open.lives.settled().await;
        open.engine.owned().await.unwrap().len()
    }
}

pub(super) fn who(tenant: &str, user: &str) -> Who {
    Who { tenant: tenant.parse().unwrap(), user: user.parse().unwrap() }
}

pub(super) fn value(report: RunReport) -> Value {
    let raw = report.output.unwrap_or_else(|failure| panic!("{failure:?}; {:?}", report.logs));
    let output = sanitise(raw, &KnownSecrets::none(), &Seeded);
    output.result().cloned().expect("a value")
}

pub(super) fn manifest(extra: &str) -> Manifest {
    let text = format!(
        r#"{{"name": "probe", "version": "1.0.0", "author": "A", "license": "Apache-2.0", "description": "d",
            "category": "utility", "runtime": "python", "entrypoint": "main.py",
            "tools": [{{"name": "go", "description": "d", "riskLevel": "none", "parameters": {{"type": "object"}}}}]
            {extra}}}"#
    );
    Manifest::parse(text.as_bytes()).unwrap_or_else(|errors| panic!("{errors}"))
}

/// With this preset and timeout.
pub(super) fn sandbox(preset: &str, seconds: u32) -> String {
    format!(r#", "sandbox": {{"preset": "{preset}", "timeoutSeconds": {seconds}}}"#)
}
