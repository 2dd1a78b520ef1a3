//! The executor inside a sandbox gives what the one in this process gives.

use super::*;
use crate::wasm::Invocation;
use crate::wasm::tests::{FINE, lift, module};
use crate::{Doors, MemoryState, PoolLimits, RunFailure, RunReport, WasmRuntime};
use sophon_guard::{KnownSecrets, Source, sanitise};
use std::path::Path;

/// The program that the workspace's build made; `scripts/test` builds before it tests.
fn program() -> InsideProgram {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/debug/sophon");
    let program = program.canonicalize().expect("cargo build -p sophon-cli makes the executor for the inside");
    InsideProgram { program, word: "component-worker".into() }
}

fn doors() -> Doors {
    Doors {
        http: None,
        state: Arc::new(MemoryState::default()),
        connections: Arc::new([]),
        tokens: None,
        settings: Arc::default(),
        progress: None,
    }
}

fn invocation() -> Invocation<'static> {
    Invocation {
        tool: "go",
        source: Source::tool(&"probe.go".parse().unwrap()),
        arguments: "{}",
        call_id: "call".into(),
        correlation_id: "correlation".into(),
        session: None,
        deadline: None,
    }
}

fn text(report: RunReport) -> Result<String, RunFailure> {
    report.output.map(|raw| {
        let output = sanitise(raw, &KnownSecrets::none(), &Seeded);
        format!("{:?}", output.result())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_gives_the_same_inside_a_sandbox_as_in_this_process() {
    let Some(engine) = given() else { return };
    let sandboxed = runtime(config(engine)).with_inside(program());
    let manifest = manifest("").document().as_str().replace("\"python\"", "\"wasm\"").replace("main.py", "skill.wasm");
    let manifest = Manifest::parse(manifest.as_bytes()).unwrap();
    let pool = PoolLimits { concurrent_calls: 1, ..PoolLimits::default() };
    let here = WasmRuntime::start(&pool, Limits::of(sophon_skill::Preset::Minimal)).unwrap();
    let endless = "(loop $again (br $again)) (unreachable)";
    let greedy = "(drop (memory.grow (i32.const 60000))) (unreachable)";
    for body in [FINE, "(unreachable)", endless, greedy] {
        let component = lift(&module("", "", body));
        let digest = Digest::of(&component);
        let prepared = here.prepare_component(&manifest, &component, digest).unwrap();
        let expected = here.invoke(&prepared, invocation(), doors(), prepared.limits().clone()).await;
        let boxed = sandboxed.prepared_component(&manifest, digest, component.into()).await.unwrap();
        let found = sandboxed.invoke_component(&boxed, &who("acme", "ann"), invocation(), doors()).await;
        assert_eq!(found.usage.fuel, expected.usage.fuel, "{body}: {:?}", found.output);
        assert_eq!(found.usage.memory_peak, expected.usage.memory_peak, "{body}");
        assert_eq!(text(found), text(expected), "{body}");
    }
    sandboxed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_not_there_is_refused_and_nothing_is_made_in_its_place() {
    let Some(engine) = given() else { return };
    let folder = tempfile::tempdir_in(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target")).unwrap();
    let manifest = manifest("").document().as_str().replace("\"python\"", "\"wasm\"").replace("main.py", "skill.wasm");
    let manifest = Manifest::parse(manifest.as_bytes()).unwrap();
    let component = lift(&module("", "", FINE));
    let run = async |program: std::path::PathBuf| {
        let sandboxed = runtime(config(engine.clone())).with_inside(InsideProgram { program, ..self::program() });
        let digest = Digest::of(&component);
        let boxed = sandboxed.prepared_component(&manifest, digest, component.clone().into()).await.unwrap();
        let report = sandboxed.invoke_component(&boxed, &who("acme", "ann"), invocation(), doors()).await;
        sandboxed.close().await;
        text(report)
    };
    let absent = folder.path().join("absent");
    assert!(matches!(run(absent.clone()).await, Err(RunFailure::NoSandbox { .. })));
    assert!(!absent.exists(), "the engine made something of that name");
    // A name that would be two in a list.
    let odd = folder.path().join("a:b:rw");
    std::fs::hard_link(program().program, &odd).unwrap();
    assert!(run(odd).await.is_ok());
}

/// The recorded answers of a case, one after another, and what was asked.
#[derive(Default)]
struct Recorded {
    answers: Mutex<std::collections::VecDeque<serde_json::Value>>,
    asked: Mutex<Vec<String>>,
}

#[async_trait::async_trait]
impl crate::HttpDoor for Recorded {
    async fn send(
        &self,
        request: sophon_egress::HttpRequest,
    ) -> Result<sophon_egress::HttpResponse, sophon_egress::HttpError> {
        let body = request.body.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
        let asked = format!("{} {} {:?} {:?} {body}", request.method, request.url, request.headers, request.credential);
        self.asked.lock().push(asked);
        let answer = self.answers.lock().pop_front().unwrap_or_default();
        let Some(status) = answer["response"]["status"].as_u64() else { return Err(sophon_egress::HttpError::Timeout) };
        let fields = answer["response"]["headers"].as_object().cloned().unwrap_or_default();
        let fields =
            fields.into_iter().map(|(name, value)| (name, value.as_str().unwrap_or_default().as_bytes().to_vec()));
        let body = match &answer["response"]["body"] {
            serde_json::Value::Null => Bytes::new(),
            serde_json::Value::String(text) => Bytes::from(text.clone()),
            other => Bytes::from(other.to_string()),
        };
        let status = u16::try_from(status).unwrap();
        Ok(sophon_egress::HttpResponse { status, url: request.url, headers: fields.collect(), body })
    }
}

/// What came of a call: everything but how long it took.
#[derive(Debug, PartialEq)]
struct Came {
    output: Result<String, RunFailure>,
    progress: Option<crate::Progress>,
    logs: Vec<crate::LogLine>,
    state: std::collections::BTreeMap<String, Vec<u8>>,
    asked: Vec<String>,
}

/// The world that a case begins in.
struct World {
    recorded: Arc<Recorded>,
    state: Arc<MemoryState>,
    doors: Doors,
}

impl World {
    fn of(case: &serde_json::Value, manifest: &Manifest) -> Self {
        let exchanges = case["exchanges"].as_array().cloned().unwrap_or_default();
        let recorded = Arc::new(Recorded { answers: Mutex::new(exchanges.into()), ..Recorded::default() });
        let entries = case["state"].as_object().cloned().unwrap_or_default();
        let entries = entries.into_iter().map(|(key, value)| (key, value.to_string().into_bytes()));
        let state = Arc::new(MemoryState::new(entries.collect()));
        let is_connected =
            |service: &str| case["connected"].as_array().is_some_and(|all| all.iter().any(|one| one == service));
        let connections = manifest.services().into_iter().map(|declared| crate::Connection {
            service: declared.service.to_string(),
            connected: is_connected(declared.service.as_str()),
            access: crate::Access::Proxy,
        });
        let mut settings: std::collections::BTreeMap<String, String> = manifest
            .settings
            .iter()
            .filter_map(|setting| Some((setting.key.clone(), setting.default.clone()?)))
            .collect();
        for (key, value) in case["settings"].as_object().into_iter().flatten() {
            settings.insert(key.clone(), value.as_str().unwrap_or_default().to_owned());
        }
        let doors = Doors {
            http: Some(Arc::clone(&recorded) as Arc<dyn crate::HttpDoor>),
            state: Arc::clone(&state) as Arc<_>,
            connections: connections.collect(),
            settings: Arc::new(settings),
            ..doors()
        };
        Self { recorded, state, doors }
    }

    fn came(recorded: &Recorded, state: &MemoryState, report: RunReport) -> Came {
        let (progress, logs) = (report.progress.clone(), report.logs.clone());
        let (state, asked) = (state.entries(), recorded.asked.lock().clone());
        Came { output: text(report), progress, logs, state, asked }
    }
}

/// The examples that `scripts/build-examples` builds, with every case that `sophon test` plays.
#[tokio::test(flavor = "multi_thread")]
async fn every_case_of_the_examples_gives_the_same_in_both_tiers() {
    let Some(engine) = given() else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let sandboxed = runtime(ContainerConfig { warm: 1, ..config(engine) }).with_inside(program());
    let pool = PoolLimits { concurrent_calls: 1, ..PoolLimits::default() };
    let here = WasmRuntime::start(&pool, Limits::of(sophon_skill::Preset::Minimal)).unwrap();
    let mut played = 0;
    for name in ["text-tools", "notebook", "github-issues"] {
        let archive = root.join(format!("target/skills/{name}-1.0.0.sophon-skill"));
        let archive = std::fs::read(archive).expect("scripts/build-examples makes the examples");
        let package = sophon_skill::Package::read(archive).unwrap();
        let (manifest, digest) = (package.manifest(), *package.digest());
        let prepared = here.prepare_component(manifest, package.entrypoint(), digest).unwrap();
        let boxed = sandboxed.prepared_component(manifest, digest, package.entrypoint().clone()).await.unwrap();
        let mut files: Vec<_> =
            std::fs::read_dir(root.join("examples").join(name).join("tests")).unwrap().flatten().collect();
        files.sort_by_key(std::fs::DirEntry::file_name);
        for file in files {
            let cases: serde_json::Value = serde_json::from_slice(&std::fs::read(file.path()).unwrap()).unwrap();
            for case in cases.as_array().cloned().unwrap_or_else(|| vec![cases.clone()]) {
                let tool = case["tool"].as_str().unwrap();
                let local = tool.strip_prefix(&format!("{name}.")).unwrap_or(tool);
                let arguments = case.get("arguments").cloned().unwrap_or_else(|| serde_json::json!({})).to_string();
                let call = || Invocation {
                    tool: local,
                    source: Source::tool(&format!("{name}.{local}").parse().unwrap()),
                    arguments: &arguments,
                    ..invocation()
                };
                let World { recorded, state, doors } = World::of(&case, manifest);
                let report = here.invoke(&prepared, call(), doors, prepared.limits().clone()).await;
                let expected = World::came(&recorded, &state, report);
                let World { recorded, state, doors } = World::of(&case, manifest);
                let report = sandboxed.invoke_component(&boxed, &who("acme", "ann"), call(), doors).await;
                assert_eq!(World::came(&recorded, &state, report), expected, "{name}: {:?}", file.file_name());
                played += 1;
            }
        }
    }
    assert!(played >= 27, "{played} cases");
    sandboxed.close().await;
}
