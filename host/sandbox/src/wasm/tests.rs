//! Hostile components in the real engine. Core modules in WAT are lifted against the contract by wit-component.

mod approved;
mod hostile;
mod pool;
mod residue;
mod warm;
mod wasi;
mod workspace;

use super::*;
use crate::{Doors, MemoryState, RunFailure, RunReport};
use sophon_guard::Source;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// A core module around `body`, the code of `call-tool`; `extra` stands at the module's top level.
/// The result area at 1024 says `ok("\"fine\"")`.
pub(crate) fn module(imports: &str, extra: &str, body: &str) -> String {
    format!(
        r#"(module
            {imports}
            (memory (export "memory") 1)
            (global $next (mut i32) (i32.const 4096))
            (data (i32.const 1024) "\00\00\00\00\10\04\00\00\06\00\00\00\00\00\00\00\22fine\22")
            {extra}
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (local $at i32)
                (local.set $at (global.get $next))
                (global.set $next (i32.add (global.get $next) (i32.and (i32.add (local.get 3) (i32.const 15)) (i32.const -8))))
                (local.get $at))
            (func (export "sophon:skill/tools@1.0.0#call-tool")
                (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64) (result i32)
                {body}))"#
    )
}

pub(crate) const FINE: &str = "(i32.const 1024)";

pub(crate) fn lift(wat: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path("../../wit").unwrap();
    lift_in(&resolve, package, "skill", wat)
}

fn lift_in(resolve: &Resolve, package: wit_parser::PackageId, world: &str, wat: &str) -> Vec<u8> {
    let mut core = wat::parse_str(wat).unwrap();
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    embed_component_metadata(&mut core, resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&core).unwrap().validate(true).encode().unwrap()
}

fn manifest(extra: &str) -> Manifest {
    manifest_with("", extra)
}

/// With `tool` in its tool, and `extra` at the top.
fn manifest_with(tool: &str, extra: &str) -> Manifest {
    let text = format!(
        r#"{{"name": "probe", "version": "1.0.0", "author": "A", "license": "Apache-2.0", "description": "d",
            "category": "utility", "runtime": "wasm", "entrypoint": "skill.wasm",
            "tools": [{{"name": "go", "description": "d", "riskLevel": "none", "parameters": {{"type": "object"}}{tool}}}]
            {extra}}}"#
    );
    Manifest::parse(text.as_bytes()).unwrap_or_else(|errors| panic!("{errors}"))
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

fn small() -> Limits {
    Limits {
        fuel: 20_000_000,
        wall: Duration::from_secs(20),
        memory: 4 << 20,
        hostcalls: 500,
        ..Limits::of(sophon_skill::Preset::Standard)
    }
}

struct Lab {
    runtime: WasmRuntime,
    limits: Limits,
}

impl Lab {
    fn new(limits: Limits) -> Self {
        let pool = PoolLimits { concurrent_calls: 8, ..PoolLimits::default() };
        Self { runtime: WasmRuntime::start(&pool, limits.clone()).unwrap(), limits }
    }

    fn prepare(&self, wat: &str) -> PreparedSkill {
        self.compile(&manifest(""), &lift(wat)).unwrap_or_else(|error| panic!("{error}"))
    }

    fn compile(&self, manifest: &Manifest, component: &[u8]) -> Result<PreparedSkill, SandboxError> {
        self.runtime.compile(None, manifest, &Digest::of(component), || component, Digest::of(component))
    }

    async fn run(&self, skill: &PreparedSkill) -> RunReport {
        self.run_with(skill, doors()).await
    }

    async fn run_with(&self, skill: &PreparedSkill, doors: Doors) -> RunReport {
        let invocation = run::Invocation {
            tool: "go",
            source: Source::tool(&"probe.go".parse().unwrap()),
            arguments: "{}",
            call_id: "call".into(),
            correlation_id: "correlation".into(),
            session: None,
            deadline: None,
        };
        self.runtime.invoke(skill, invocation, doors, self.limits.clone()).await
    }

    fn caching(folder: &std::path::Path, key: [u8; 32]) -> Self {
        let cache = crate::CodeCache::open(folder, key).unwrap();
        let pool = PoolLimits { concurrent_calls: 2, ..PoolLimits::default() };
        let runtime = WasmRuntime::start_compiling(&pool, small(), Compilation::InProcess, Some(cache)).unwrap();
        Self { runtime, limits: small() }
    }

    async fn failure(&self, wat: &str) -> RunFailure {
        let skill = self.prepare(wat);
        let failure = self.run(&skill).await.output.expect_err("it was to fail");
        // Whatever became of that run, the next one has a store of its own and the engine goes on.
        let fine = self.prepare(&module("", "", FINE));
        self.run(&fine).await.output.unwrap_or_else(|error| panic!("the engine is damaged: {error}"));
        failure
    }
}

#[tokio::test]
async fn a_good_component_gives_its_result() {
    let lab = Lab::new(small());
    let skill = lab.prepare(&module("", "", FINE));
    let report = lab.run(&skill).await;
    assert!(report.output.is_ok(), "{:?}", report.output);
    assert!(report.usage.fuel > 0 && report.usage.memory_peak == 64 << 10, "{:?}", report.usage);
}

#[tokio::test]
async fn attack_19_a_loop_runs_out_of_fuel_wherever_it_stands() {
    let endless = "(loop $again (br $again)) (unreachable)";
    let lab = Lab::new(small());
    let out = |failure: RunFailure| assert_eq!(failure, RunFailure::OutOfFuel { fuel: 20_000_000 });
    out(lab.failure(&module("", "", endless)).await);
    out(lab.failure(&module("", &format!("(func $s {endless}) (start $s)"), FINE)).await);
    let realloc = module("", "", FINE).replace("(local $at i32)", &format!("(local $at i32) {endless}"));
    out(lab.failure(&realloc).await);
    let post = format!("(func (export \"cabi_post_sophon:skill/tools@1.0.0#call-tool\") (param i32) {endless})");
    out(lab.failure(&module("", &post, FINE)).await);
}

#[tokio::test]
async fn attack_19_the_deadline_ends_a_loop_that_has_fuel_left() {
    let lab = Lab::new(Limits { fuel: u64::MAX / 2, wall: Duration::from_millis(200), ..small() });
    let failure = lab.failure(&module("", "", "(loop $again (br $again)) (unreachable)")).await;
    assert_eq!(failure, RunFailure::DeadlineExceeded { wall: Duration::from_millis(200) });
}

#[tokio::test]
async fn attack_20_memory_is_summed_and_refused_memory_is_told() {
    let lab = Lab::new(small());
    let eater = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 8)) (i32.const -1)))) (unreachable)";
    assert_eq!(lab.failure(&module("", "", eater)).await, RunFailure::OutOfMemory { memory: 4 << 20 });
    let large = module("", "", FINE).replace("\"memory\") 1)", "\"memory\") 100)");
    let error = lab.compile(&manifest(""), &lift(&large)).err().expect("6.25 MiB do not fit into 4");
    assert!(matches!(error, SandboxError::TooDemanding { .. }), "{error}");
}

#[tokio::test]
async fn a_trap_is_named() {
    let lab = Lab::new(small());
    let failure = lab.failure(&module("", "", "(unreachable)")).await;
    assert!(matches!(&failure, RunFailure::Trap { trap } if trap.contains("unreachable")), "{failure:?}");
    let deep = module("", "(func $f (call $f))", "(call $f) (i32.const 1024)");
    let failure = lab.failure(&deep).await;
    assert!(matches!(&failure, RunFailure::Trap { trap } if trap.contains("stack")), "{failure:?}");
}

#[tokio::test]
async fn attack_20_host_calls_are_counted() {
    let imports = r#"(import "sophon:skill/log@1.0.0" "write" (func $log (param i32 i32 i32)))"#;
    let flood = "(loop $again (call $log (i32.const 1) (i32.const 1040) (i32.const 6)) (br $again)) (unreachable)";
    let lab = Lab::new(small());
    let failure = lab.failure(&module(imports, "", flood)).await;
    assert_eq!(failure, RunFailure::LimitExceeded { what: "more than 500 host calls".into() });
}

#[tokio::test]
async fn attack_26_what_a_skill_logs_is_bounded() {
    let imports = r#"(import "sophon:skill/log@1.0.0" "write" (func $log (param i32 i32 i32)))"#;
    let flood = r"(local $i i32)
        (loop $again
            (call $log (i32.const 1) (i32.const 1040) (i32.const 6))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $i) (i32.const 400))))
        (i32.const 1024)";
    let lab = Lab::new(Limits { log_bytes: 1_000, ..small() });
    let skill = lab.prepare(&module(imports, "", flood));
    let report = lab.run(&skill).await;
    assert!(report.output.is_ok(), "{:?}", report.output);
    assert!(!report.logs.is_empty());
    assert_eq!(report.logs.len() as u64 + report.logs_dropped, 400);
    assert!(report.logs.iter().map(|line| line.message.len()).sum::<usize>() < 1_000);
}

#[tokio::test]
async fn attack_20_a_single_host_call_carries_a_bounded_number_of_bytes() {
    let imports = r#"(import "sophon:skill/log@1.0.0" "write" (func $log (param i32 i32 i32)))"#;
    let heavy = "(call $log (i32.const 1) (i32.const 0) (i32.const 65000)) (i32.const 1024)";
    let lab = Lab::new(Limits { hostcall_bytes: 10_000, ..small() });
    let failure = lab.failure(&module(imports, "", heavy)).await;
    assert!(matches!(&failure, RunFailure::LimitExceeded { .. }), "{failure:?}");
}

#[tokio::test]
async fn attack_21_an_interface_that_the_manifest_does_not_declare_does_not_link() {
    let imports = r#"(import "sophon:skill/workspace@1.0.0" "remove" (func $remove (param i32 i32 i32)))"#;
    let wat = module(imports, "", "(call $remove (i32.const 0) (i32.const 0) (i32.const 2048)) (i32.const 1024)");
    let lab = Lab::new(small());
    let error = lab.compile(&manifest(""), &lift(&wat)).err().expect("it is not declared");
    assert!(matches!(error, SandboxError::Link { .. }), "{error}");
    let declared = manifest(r#", "permissions": {"filesystem": "workspace"}"#);
    lab.compile(&declared, &lift(&wat)).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn attack_21_what_the_analysis_takes_for_declared_is_what_links() {
    let imports = format!(r#"(import "sophon:skill/http@1.0.0" "send" (func (param{})))"#, " i32".repeat(16));
    let component = lift(&module(&imports, "", FINE));
    let lab = Lab::new(small());
    for (tool, extra, declared) in [
        ("", "", false),
        ("", r#", "permissions": {"network": false}"#, false),
        ("", r#", "sandbox": {"network": false}"#, false),
        ("", r#", "permissions": {"network": ["api.example.com"]}"#, true),
        ("", r#", "permissions": {"network": true}"#, true),
        ("", r#", "sandbox": {"network": true}"#, true),
        // Of a tool alone it can only be a list that narrows nothing to nothing.
        (r#", "network": []"#, "", true),
    ] {
        let manifest = manifest_with(tool, extra);
        let report = sophon_skill::analyse(&component, &manifest);
        let undeclared = report.findings.iter().any(|finding| finding.rule == "SA004");
        let linked = lab.compile(&manifest, &component);
        assert_eq!((undeclared, linked.is_ok()), (!declared, declared), "{tool}{extra}: {report}");
    }
}

#[tokio::test]
async fn attack_25_nothing_crosses_instances_when_a_slot_is_used_again() {
    // Each run looks for what an earlier one left behind a fresh memory's end and in its middle, then leaves its own.
    let snoop = r"(local $at i32)
        (if (i32.eq (memory.grow (i32.const 8)) (i32.const -1)) (then (unreachable)))
        (local.set $at (i32.const 8192))
        (loop $look
            (if (i64.ne (i64.load (local.get $at)) (i64.const 0)) (then (unreachable)))
            (i64.store (local.get $at) (i64.const 0x5ec2e75ec2e75ec2))
            (local.set $at (i32.add (local.get $at) (i32.const 512)))
            (br_if $look (i32.lt_u (local.get $at) (i32.const 589000))))
        (i32.const 1024)";
    let pool = PoolLimits { concurrent_calls: 1, ..PoolLimits::default() };
    let lab = Lab { runtime: WasmRuntime::start(&pool, small()).unwrap(), limits: small() };
    let skill = lab.prepare(&module("", "", snoop));
    for round in 0..50 {
        let report = lab.run(&skill).await;
        assert!(report.output.is_ok(), "round {round}: {:?}", report.output);
    }
}

#[tokio::test]
async fn attack_23_a_dropped_call_gives_its_slot_back() {
    let pool = PoolLimits { concurrent_calls: 1, ..PoolLimits::default() };
    let limits = Limits { fuel: u64::MAX / 2, ..small() };
    let lab = Lab { runtime: WasmRuntime::start(&pool, limits.clone()).unwrap(), limits };
    let endless = lab.prepare(&module("", "", "(loop $again (br $again)) (unreachable)"));
    let fine = lab.prepare(&module("", "", FINE));
    for _ in 0..5 {
        let dropped = tokio::time::timeout(Duration::from_millis(50), lab.run(&endless)).await;
        assert!(dropped.is_err(), "an endless loop came to an end");
        let report = lab.run(&fine).await;
        assert!(report.output.is_ok(), "{:?}", report.output);
    }
}

#[tokio::test]
async fn a_busy_skill_lets_others_work() {
    // One thread: were the loop not to yield, the counter below would never move before the deadline.
    let lab = Lab::new(Limits { fuel: u64::MAX / 2, wall: Duration::from_millis(500), ..small() });
    let endless = lab.prepare(&module("", "", "(loop $again (br $again)) (unreachable)"));
    let turns = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&turns);
    let other = tokio::spawn(async move {
        loop {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let until = Instant::now();
    assert!(lab.run(&endless).await.output.is_err());
    assert!(until.elapsed() >= Duration::from_millis(500));
    assert!(turns.load(std::sync::atomic::Ordering::Relaxed) >= 3, "the other task had no turn");
    other.abort();
}

#[tokio::test]
async fn a_result_that_is_not_json_is_refused() {
    let lab = Lab::new(small());
    let failure = lab.failure(&module("", "", FINE).replace("\\22fine\\22", "nofine")).await;
    assert!(matches!(failure, RunFailure::BadResult { .. }), "{failure:?}");
}

#[tokio::test]
async fn attack_27_the_engine_has_the_features_off_that_the_analysis_refuses() {
    let lab = Lab::new(small());
    let component = |core: &str| format!("(component (core module {core}))");
    for (feature, core) in [
        ("memory64", "(memory i64 1)"),
        ("threads", "(memory 1 1 shared)"),
        ("multi-memory", "(memory 1) (memory 1)"),
        ("tail calls", "(func $f (return_call $f))"),
        ("relaxed SIMD", "(func (param v128) (drop (i8x16.relaxed_swizzle (local.get 0) (local.get 0))))"),
        ("exceptions", "(tag $t)"),
        ("garbage collection", "(type (struct (field i32)))"),
        ("extended constants", "(global i32 (i32.add (i32.const 1) (i32.const 2)))"),
        ("custom page sizes", "(memory 1 (pagesize 1))"),
        ("wide arithmetic", "(func (param i64) (result i64 i64) (i64.mul_wide_u (local.get 0) (local.get 0)))"),
    ] {
        let bytes = wat::parse_str(component(core)).unwrap_or_else(|error| panic!("{feature}: {error}"));
        let error = lab.compile(&manifest(""), &bytes).err().unwrap_or_else(|| panic!("{feature} is on"));
        assert!(matches!(error, SandboxError::Compile { .. }), "{feature}: {error}");
        assert_eq!(sophon_skill::analyse(&bytes, &manifest("")).verdict, sophon_skill::Verdict::Reject, "{feature}");
    }
}

#[tokio::test]
async fn attack_24_compiled_code_is_used_only_under_this_hosts_mac() {
    let folder = tempfile::tempdir().unwrap();
    let wat = module("", "", FINE);
    let runs = |lab: Lab| {
        let wat = wat.clone();
        async move {
            let skill = lab.prepare(&wat);
            assert!(lab.run(&skill).await.output.is_ok());
        }
    };
    runs(Lab::caching(folder.path(), [1; 32])).await;
    let file = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let made = std::fs::read(&file).unwrap();

    // As it is, it is used: the file is not written again.
    let before = std::fs::metadata(&file).unwrap().modified().unwrap();
    runs(Lab::caching(folder.path(), [1; 32])).await;
    assert_eq!(std::fs::metadata(&file).unwrap().modified().unwrap(), before);

    // Damaged, cut short, empty, of another host, of another component: made again.
    let flipped = |at: usize| {
        let mut bytes = made.clone();
        bytes[at] ^= 1;
        bytes
    };
    let other = {
        let folder = tempfile::tempdir().unwrap();
        let lab = Lab::caching(folder.path(), [1; 32]);
        lab.prepare(&module("", "", "(unreachable)"));
        let file = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        std::fs::read(file).unwrap()
    };
    let cut = made[..made.len() - 1].to_vec();
    for bad in [flipped(0), flipped(made.len() / 2), flipped(made.len() - 1), cut, Vec::new(), other] {
        std::fs::write(&file, &bad).unwrap();
        runs(Lab::caching(folder.path(), [1; 32])).await;
        assert_ne!(std::fs::read(&file).unwrap(), bad, "damaged code was kept");
    }
    runs(Lab::caching(folder.path(), [2; 32])).await;
    assert_ne!(std::fs::read(&file).unwrap(), made, "another key made the same MAC");
}

#[tokio::test]
async fn what_a_child_compiled_runs() {
    let compilation = Compilation::Worker(crate::compile::tests::worker(crate::CompileLimits::default()));
    let pool = PoolLimits { concurrent_calls: 2, ..PoolLimits::default() };
    let runtime = WasmRuntime::start_compiling(&pool, small(), compilation, None).unwrap();
    let lab = Lab { runtime, limits: small() };
    let report = lab.run(&lab.prepare(&module("", "", FINE))).await;
    assert!(report.output.is_ok(), "{:?}", report.output);
    let error = lab.compile(&manifest(""), b"garbage").err().expect("it is no component");
    assert!(matches!(error, SandboxError::Compile { .. }), "{error}");
}

#[tokio::test]
async fn a_cache_that_cannot_be_written_costs_time_only() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::caching(&folder.path().join("gone"), [1; 32]);
    std::fs::remove_dir_all(folder.path().join("gone")).unwrap();
    let skill = lab.prepare(&module("", "", FINE));
    assert!(lab.run(&skill).await.output.is_ok());
}

#[test]
fn what_a_crash_left_half_written_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("x.cwasm.7.partial"), b"half").unwrap();
    std::fs::write(folder.path().join("y.cwasm"), b"whole").unwrap();
    crate::CodeCache::open(folder.path(), [0; 32]).unwrap();
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["y.cwasm"]);
}
