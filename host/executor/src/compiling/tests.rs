//! Cold components: how many compilers there are at one time, who waits for them, and what becomes of the code.

use super::*;
use crate::InstallRequest;
use crate::api::{Consent, HostChoice};
use crate::tests::{START, World};
use sophon_sandbox::{CodeCache, Compilation, CompileLimits, Limits, PoolLimits, Worker};
use sophon_skill::{InstallTerms, Package, Preset, TrustStore, Unsigned, verify, with_tools_section};
use sophon_types::{KeyId, Principal, Role};
use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tempfile::TempDir;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// A package of a component that does nothing; each `number` is another component.
fn package(number: u32) -> Vec<u8> {
    let wat = format!(
        r#"(module
            (memory (export "memory") 1)
            (global i32 (i32.const {number}))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
            (func (export "sophon:skill/tools@1.0.0#call-tool")
                (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64) (result i32) unreachable))"#
    );
    let mut core = wat::parse_str(wat).unwrap();
    let mut resolve = Resolve::default();
    let (contract, _) = resolve.push_path("../../wit").unwrap();
    let world = resolve.select_world(&[contract], Some("skill")).unwrap();
    embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).unwrap();
    let component = ComponentEncoder::default().module(&core).unwrap().encode().unwrap();
    let tools = r#"[{"name": "go", "description": "d", "riskLevel": "none", "parameters": {"type": "object"}}]"#;
    let manifest = format!(
        r#"{{"name": "cold-{number}", "version": "1.0.0", "author": "A", "license": "Apache-2.0", "description": "d",
            "category": "utility", "runtime": "wasm", "entrypoint": "skill.wasm", "tools": {tools}}}"#
    );
    let files = [
        ("manifest.json", manifest.into_bytes()),
        ("skill.wasm", with_tools_section(&component, tools.as_bytes()).unwrap()),
        ("README.md", b"Nothing.".to_vec()),
        ("LICENSE", b"Apache-2.0".to_vec()),
    ];
    let files: BTreeMap<_, _> = files.into_iter().map(|(name, content)| (name.to_owned(), content)).collect();
    sophon_skill::pack(&files).unwrap()
}

fn ready(tenant: &str, number: u32) -> Arc<Ready> {
    let package = Package::read(package(number)).unwrap_or_else(|error| panic!("{error}"));
    let verified = verify(package, None, &TrustStore::default(), Unsigned::DangerouslyAllow);
    let terms = InstallTerms {
        tenant: tenant.parse().unwrap(),
        grants: Vec::new(),
        streams: Vec::new(),
        settings: BTreeMap::new(),
    };
    let installed = Arc::new(verified.unwrap_or_else(|error| panic!("{error}"))).install(terms);
    Arc::new(Ready::prepare(Arc::new(installed.unwrap_or_else(|error| panic!("{error}")))).unwrap())
}

/// A world with a compiler that says when it begins and when it ends, and takes its time.
struct Slow {
    world: World,
    folder: TempDir,
}

impl Slow {
    /// The compiler ends by what `last` does; `$code` is the code of a component.
    async fn ending(last: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (code, log) = (folder.path().join("code"), folder.path().join("log"));
        std::fs::write(&code, compiled(folder.path())).unwrap();
        std::fs::write(&log, "").unwrap();
        let script = format!(
            "code={} log={}; echo in >>$log; /bin/cat >/dev/null; /bin/sleep 0.5; echo out >>$log; {last}",
            code.display(),
            log.display()
        );
        let arguments = vec!["-c".into(), script.into()];
        let worker = Worker { program: "/bin/sh".into(), arguments, limits: CompileLimits::default() };
        let cache = CodeCache::open(&folder.path().join("cache"), [7; 32]).unwrap();
        let runtime = start(Compilation::Worker(worker), cache);
        Self { world: World::running_in(runtime).await, folder }
    }

    async fn component(&self, ready: &Arc<Ready>) -> Outcome {
        self.world.executor.component(ready).await
    }

    /// How many compilers were started, and how many ran at one time at most.
    fn compilers(&self) -> (usize, usize) {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
        let (mut now, mut most) = (0_usize, 0);
        for line in log.lines() {
            now = if line == "in" { now + 1 } else { now - 1 };
            most = most.max(now);
        }
        (log.lines().filter(|line| *line == "in").count(), most)
    }
}

fn start(compilation: Compilation, cache: CodeCache) -> WasmRuntime {
    let pool = PoolLimits { concurrent_calls: 2, ..PoolLimits::default() };
    WasmRuntime::start_compiling(&pool, Limits::of(Preset::Minimal), compilation, Some(cache)).unwrap()
}

/// What a compiler makes of a component, as the cache keeps it but for its MAC.
fn compiled(folder: &Path) -> Vec<u8> {
    let folder = folder.join("compiled");
    let runtime = start(Compilation::InProcess, CodeCache::open(&folder, [7; 32]).unwrap());
    let ready = ready("acme", 0);
    runtime.prepare_for(ready.skill.tenant(), ready.skill.package()).unwrap_or_else(|error| panic!("{error}"));
    let file = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let mut code = std::fs::read(file).unwrap();
    code.truncate(code.len() - 32);
    code
}

fn now<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn two_compile_at_one_time_and_one_of_each_tenant() {
    let compiling = Compiling::default();
    let [acme, rival, third] = ["acme", "rival", "third"].map(|name| name.parse::<TenantId>().unwrap());
    let first = compiling.permit(&acme).await;
    let mut same = Box::pin(compiling.permit(&acme));
    assert!(now(&mut same).is_pending(), "one of each tenant");
    let second = compiling.permit(&rival).await;
    let (mut given_up, mut other) = (Box::pin(compiling.permit(&third)), Box::pin(compiling.permit(&third)));
    assert!(now(&mut given_up).is_pending() && now(&mut other).is_pending(), "two in all");
    // Who has a turn and waits for a place gives both up; the next in turn waits for the place from now on.
    drop(given_up);
    assert!(now(&mut other).is_pending());
    drop(first);
    assert!(now(&mut same).is_pending(), "the other tenant came first");
    drop(other.await);
    let same = same.await;
    drop((same, second));
    assert_eq!(compiling.places.available_permits(), AT_ONCE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_22_cold_calls_of_one_component_share_one_compilation() {
    let slow = Slow::ending("/bin/cat $code").await;
    let cold = ready("acme", 0);
    let all = futures::future::join_all((0..16).map(|_| slow.component(&cold))).await;
    let all: Vec<_> = all.into_iter().map(|one| one.unwrap_or_else(|error| panic!("{error}"))).collect();
    assert!(all.iter().all(|one| Arc::ptr_eq(one, &all[0])));
    assert_eq!(slow.compilers().0, 1);
    assert!(slow.world.executor.0.compiling.flights.lock().is_empty());

    // A failure is everybody's as well; who comes later tries again.
    let failing = Slow::ending("echo broken >&2; exit 1").await;
    for tries in 1..=2 {
        let all = futures::future::join_all((0..16).map(|_| failing.component(&cold))).await;
        for one in all {
            let error = one.err().expect("it does not compile");
            assert!(error.to_string().contains("broken"), "{error}");
        }
        assert_eq!(failing.compilers().0, tries);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_22_cold_calls_of_many_components_start_two_compilers_at_a_time() {
    let slow = Slow::ending("/bin/cat $code").await;
    let cold: Vec<_> =
        ["acme", "rival", "third"].into_iter().flat_map(|tenant| (0..3).map(|n| ready(tenant, n))).collect();
    let all = futures::future::join_all(cold.iter().map(|cold| slow.component(cold))).await;
    assert!(all.iter().all(Result::is_ok));
    let (started, most) = slow.compilers();
    assert_eq!(started, cold.len());
    assert!(most <= 2, "{most} at one time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_22_who_gives_up_leaves_no_compiler_and_no_place_behind() {
    let slow = Slow::ending("/bin/cat $code").await;
    let compiling = Arc::clone(&slow.world.executor.0.compiling);
    let [one, other] = ["one", "other"].map(|name| name.parse().unwrap());
    let busy = (compiling.permit(&one).await, compiling.permit(&other).await);

    // What is in the cache waits for nobody, not even where it is not mapped any more.
    let kept = ready("acme", 1);
    let worker = slow.world.executor.0.parts.runtime.clone();
    let made = Arc::clone(&kept);
    let made = tokio::task::spawn_blocking(move || worker.prepare_for(made.skill.tenant(), made.skill.package()));
    made.await.unwrap().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(slow.compilers().0, 1);
    let mapped = tokio::time::timeout(Duration::from_secs(60), slow.component(&kept)).await;
    assert!(mapped.expect("it waits for a compiler").is_ok());

    // What is not waits, and is not compiled once nobody wants it any more.
    let cold = ready("acme", 2);
    let waiting = tokio::time::timeout(Duration::from_millis(200), slow.component(&cold)).await;
    assert!(waiting.is_err(), "there was no place");
    drop(busy);
    while !compiling.flights.lock().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(slow.compilers().0, 1, "nobody wanted it");
    assert_eq!(compiling.places.available_permits(), AT_ONCE);

    // Who gives up while it is compiled takes it from nobody: whoever asks next gets what comes of it.
    let begun = tokio::time::timeout(Duration::from_millis(150), slow.component(&cold)).await;
    assert!(begun.is_err(), "the compiler was not slow");
    assert!(slow.component(&cold).await.is_ok());
    assert_eq!(slow.compilers().0, 2);
    assert_eq!(compiling.places.available_permits(), AT_ONCE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compiled_code_that_no_installed_skill_needs_is_removed_at_the_start() {
    let slow = Slow::ending("/bin/cat $code").await;
    let principal = Principal {
        tenant: "acme".parse().unwrap(),
        user: "ann".parse().unwrap(),
        key: KeyId::from_bytes([1; 16]),
        role: Role::Admin,
    };
    for number in 0..3 {
        let request = InstallRequest {
            package: package(number).into(),
            envelope: None,
            unsigned: Unsigned::DangerouslyAllow,
            consent: Consent::AsBefore,
            hosts: HostChoice::Made,
            grants: Vec::new(),
            streams: Vec::new(),
            settings: BTreeMap::new(),
        };
        slow.world.executor.install(&principal, request).await.unwrap_or_else(|error| panic!("{error}"));
    }
    let cache = slow.folder.path().join("cache");
    let files = || std::fs::read_dir(&cache).unwrap().map(|file| file.unwrap().path()).collect::<Vec<_>>();
    let age = |hours: u64| {
        let then = Duration::from_micros(START.cast_unsigned()) - Duration::from_secs(hours * 3600);
        for file in files() {
            let file = std::fs::File::options().write(true).open(file).unwrap();
            file.set_modified(std::time::UNIX_EPOCH + then).unwrap();
        }
    };
    assert_eq!(files().len(), 3);
    slow.world.executor.remove(&principal, &"cold-1".parse().unwrap()).await.unwrap();
    // One that cannot be derived any more may be installed, and can be again.
    slow.world.sql("UPDATE skills SET settings = '[]' WHERE name = 'cold-2'").await;
    age(0);
    slow.world.executor.load().await.unwrap();
    assert_eq!(files().len(), 3, "what is young may be of what is being installed");
    age(2);
    slow.world.executor.load().await.unwrap();
    assert_eq!(files().len(), 2);
    for number in [0, 2] {
        let kept = ready("acme", number);
        let runtime = &slow.world.executor.0.parts.runtime;
        assert!(runtime.map_kept(kept.skill.tenant(), kept.skill.package()).unwrap().is_some(), "cold-{number}");
    }
}
