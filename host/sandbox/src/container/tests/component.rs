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
    assert!(matches!(run(absent.clone()).await, Err(RunFailure::Host { .. })));
    assert!(!absent.exists(), "the engine made something of that name");
    // A name that would be two in a list.
    let odd = folder.path().join("a:b:rw");
    std::fs::hard_link(program().program, &odd).unwrap();
    assert!(run(odd).await.is_ok());
}
