//! Skills in C#, on a real .NET under real gVisor: how they are run, what they hold of a credential, what keeps them in.
//!
//! Needs an engine (`SOPHON_TEST_ENGINE`, which `scripts/test` starts) that has the image for them, made of the runtime that
//! `scripts/dotnet-runtime` gives; without either the tests are left out, by name. The skills are compiled against that runtime.

use crate::harness::{Cli, Gateway, Home, Key, Signed, Upstream, command, root};
use crate::public_skills::engine;
use bytes::Bytes;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// What is missing on this machine to compile skills and to run them; looked for once.
static MISSING: LazyLock<Option<String>> = LazyLock::new(|| {
    let output = dotnet_runtime().output().expect("scripts/dotnet-runtime runs");
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
});

/// The engine, where it has the image, and this machine what skills are compiled with.
#[expect(clippy::disallowed_methods, reason = "a test is told whether native skills are required by its environment")]
fn engine_for_csharp() -> Option<String> {
    let engine = engine()?;
    let required = std::env::var("SOPHON_CONTAINERS").is_ok_and(|value| value == "required");
    if let Some(missing) = &*MISSING {
        assert!(!required, "a .NET runtime is required here: {missing}");
        return None;
    }
    let mut curl = command("curl");
    let image = "http://engine/images/sophon-csharp:1/json";
    curl.args([
        "--silent",
        "--fail",
        "--output",
        "/dev/null",
        "--unix-socket",
        engine.trim_start_matches("unix://"),
        image,
    ]);
    let found = curl.status().expect("curl runs").success();
    assert!(
        found || !required,
        "the image for C# is required here: scripts/build-images --dotnet \"$(scripts/dotnet-runtime)\""
    );
    found.then_some(engine)
}

fn dotnet_runtime() -> std::process::Command {
    let mut script = command(root().join("scripts/dotnet-runtime"));
    #[expect(clippy::disallowed_methods, reason = "where scripts/test has it keep what it fetched")]
    if let Some(cache) = std::env::var_os("XDG_CACHE_HOME") {
        script.env("XDG_CACHE_HOME", cache);
    }
    script
}

/// Compiles a source of `tests/dotnet`, or another file.
fn compiled(folder: &Path, name: &str, source: &Path, more: &[String]) -> PathBuf {
    let assembly = folder.join(name);
    let mut compile = dotnet_runtime();
    compile.arg("compile").arg(&assembly).arg(source).args(more);
    let output = compile.output().expect("scripts/dotnet-runtime runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assembly
}

fn source(name: &str) -> PathBuf {
    root().join("tests/dotnet").join(name)
}

/// The skill that does what its call says.
static PROBE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::read(compiled(folder.path(), "Probe.dll", &source("Probe.cs"), &[])).expect("an assembly")
});

/// A package of these files, whose first one is the entrypoint.
fn package(name: &str, files: &[(&str, &[u8])], sandbox: Value) -> Signed {
    let manifest = json!({
        "name": name, "version": "1.0.0", "author": "A", "license": "Apache-2.0", "description": "Does it.",
        "category": "utility", "runtime": "csharp", "entrypoint": files[0].0, "sandbox": sandbox,
        "tools": [{"name": "go", "description": "Do it.", "riskLevel": "none",
                   "parameters": [{"name": "what", "type": "string", "description": "What.", "required": true}]}],
    });
    let others = [
        ("manifest.json", manifest.to_string().into_bytes()),
        ("README.md", b"Does it.".to_vec()),
        ("LICENSE", b"Apache-2.0".to_vec()),
    ];
    let files = files.iter().map(|(name, bytes)| (*name, bytes.to_vec())).chain(others);
    let files = files.map(|(name, bytes)| (name.to_owned(), bytes)).collect();
    Signed { package: sophon_skill::pack(&files).expect("an archive"), envelope: None }
}

struct Stage {
    _home: Home,
    gateway: Gateway,
    agent: Key,
}

impl Stage {
    fn new() -> Option<Self> {
        let engine = engine_for_csharp()?;
        let home = Home::configured(&format!("[containers]\nengine = {engine:?}\nwarm = 1\n"));
        let gateway = Gateway::start(&home);
        Some(Self { agent: gateway.agent(), gateway, _home: home })
    }

    /// With the probe, as `probe`.
    fn probing() -> Option<Self> {
        let stage = Self::new()?;
        stage.install(&package("probe", &[("Probe.dll", &PROBE)], json!({"timeoutSeconds": 30})));
        Some(stage)
    }

    fn install(&self, package: &Signed) {
        self.gateway.install(package, json!({"dangerously_allow_unsigned": true})).expect(201);
    }

    fn value(&self, tool: &str, what: &str) -> Value {
        self.gateway.value(&self.agent, tool, json!({"what": what}))
    }

    /// Waits until a call of what was just installed finds its turn: sandboxes of another kind are being started too, and .NET takes
    /// its time in half a core.
    fn wait_for(&self, tool: &str) {
        let busy = || {
            let answer = self.gateway.call(&self.agent, tool, json!({"what": "programs"})).json();
            answer["error"]["code"] == "no_capacity" || answer["error"]["code"] == "deadline_exceeded"
        };
        let tries = (0..30).take_while(|_| busy()).count();
        assert!(tries < 30, "{}", self.gateway.log());
    }

    /// Calls what must fail with that code; its message must have that part.
    #[track_caller]
    fn fails(&self, tool: &str, what: &str, code: &str, part: &str) {
        let error = self.gateway.failure(&self.agent, tool, json!({"what": what}));
        assert_eq!(error["code"], code, "{what}: {error}");
        assert!(error["message"].as_str().is_some_and(|text| text.contains(part)), "{what}: {error}");
    }
}

#[test]
fn a_class_skill_gets_its_call_and_answers_under_gvisor() {
    let Some(stage) = Stage::probing() else { return };
    let found = stage.value("probe.go", "facts");
    let stdin: Value = serde_json::from_str(found["stdin"].as_str().expect("a text")).expect("JSON");
    assert_eq!(stdin, json!({"tool": "go", "parameters": {"what": "facts"}}));
    assert_eq!((&found["folder"], &found["base"]), (&json!("/skill"), &json!("/skill/")));
    assert_eq!((&found["user"], &found["arguments"]), (&json!("nobody"), &json!(0)));
    assert!(found["kernel"].as_str().is_some_and(|kernel| kernel.contains("4.4.0")), "{found}");
    // Nothing of the host's own environment, and nothing of Python's.
    let variables: Vec<&str> = found["variables"].as_array().expect("names").iter().filter_map(Value::as_str).collect();
    assert!(variables.contains(&"DOTNET_EnableDiagnostics") && !variables.contains(&"PYTHONUTF8"), "{variables:?}");
    assert!(!variables.iter().any(|name| name.starts_with("SOPHON")), "{variables:?}");
    // A pool with more work than it may have threads waits, and is no failure.
    assert_eq!(stage.value("probe.go", "pool"), json!(2016));
}

#[test]
fn a_main_runs_with_the_assemblies_beside_it() {
    let Some(stage) = Stage::new() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let words = compiled(folder.path(), "Words.dll", &source("Words.cs"), &[]);
    let library = format!("-r:{}", words.display());
    let program = compiled(folder.path(), "Program.dll", &source("Program.cs"), &[library]);
    let (program, words) = (std::fs::read(program).expect("an assembly"), std::fs::read(words).expect("an assembly"));
    stage.install(&package("greeter", &[("bin/Program.dll", &program), ("bin/Words.dll", &words)], json!({})));
    // More than a pipe holds.
    let found = stage.value("greeter.go", &"x".repeat(100_000));
    assert_eq!((&found["success"], &found["result"]), (&json!(true), &json!("hello from beside")));
    assert!(found["length"].as_u64().is_some_and(|length| length > 100_000), "{found}");
    stage.fails("greeter.go", "leave", "skill_exited", "with status 4");
    // Without it, the runtime says what is missing.
    stage.install(&package("alone", &[("Program.dll", &program)], json!({})));
    stage.fails("alone.go", "x", "skill_exited", "Words");
}

#[test]
fn a_csharp_skill_says_that_it_has_failed() {
    let Some(stage) = Stage::probing() else { return };
    stage.fails("probe.go", "fail", "tool_failed", "no such parcel");
    stage.fails("probe.go", "nothing", "bad_result", "printed nothing");
    stage.fails("probe.go", "throw", "skill_exited", "InvalidOperationException: what it was");
    stage.fails("probe.go", "throw elsewhere", "skill_exited", "what it was elsewhere");
    stage.fails("probe.go", "exit", "skill_exited", "with status 3");
    assert!(stage.gateway.log().contains("what it was"), "its last words are for the operator");
    for (name, garbage) in [("garbage", &b"MZ and nothing that makes sense"[..]), ("empty", b"")] {
        stage.install(&package(name, &[("Garbage.dll", garbage)], json!({})));
        stage.fails(&format!("{name}.go"), "x", "skill_exited", "BadImageFormatException");
    }
}

#[test]
fn attack_46_a_csharp_skill_gets_no_further_than_its_preset() {
    let Some(stage) = Stage::probing() else { return };
    for what in ["connect", "resolve", "without the proxy"] {
        stage.fails("probe.go", what, "sockets_not_allowed", "");
    }
    stage.fails("probe.go", "threads", "limit_exceeded", "28 processes");
    stage.fails("probe.go", "processes", "limit_exceeded", "28 processes");
    stage.fails("probe.go", "memory", "out_of_memory", "256 MiB");
    stage.fails("probe.go", "files", "limit_exceeded", "MiB of files");
    stage.fails("probe.go", "large file", "limit_exceeded", "MiB of files");
    stage.fails("probe.go", "descriptors", "limit_exceeded", "256 open files");
    // There is no other program to start: no shell, no tool of the runtime's own.
    let found = stage.value("probe.go", "programs");
    assert!(found.as_array().is_some_and(|all| all.iter().all(|one| one == "it did not run")), "{found}");
    let slow = package("slow", &[("Probe.dll", &PROBE)], json!({"preset": "restricted", "timeoutSeconds": 5}));
    stage.install(&slow);
    stage.wait_for("slow.go");
    stage.fails("slow.go", "forever", "deadline_exceeded", "5 s");
    assert_eq!(stage.value("slow.go", "programs"), found, "there is room for .NET in the narrowest preset that it has");
}

#[test]
fn attack_46_a_csharp_skill_cannot_be_locked_down_and_says_so_when_it_is_installed() {
    // No engine is needed to know that.
    let home = Home::new();
    let gateway = Gateway::start(&home);
    let refused = |files: &[(&str, &[u8])], sandbox: Value| {
        gateway.install(&package("probe", files, sandbox), json!({"dangerously_allow_unsigned": true})).json()
    };
    let locked = refused(&[("Probe.dll", b"x")], json!({"preset": "locked-down"}));
    assert_eq!(locked["code"], "runtime_unfit", "{locked}");
    assert!(locked["detail"].as_str().is_some_and(|text| text.contains("threads")), "{locked}");
    assert!(locked["hint"].as_str().is_some_and(|hint| hint.contains("restricted")), "{locked}");
    let source = refused(&[("Skill.cs", b"class Skill {}")], json!({}));
    assert_eq!(source["code"], "runtime_unfit", "{source}");
}

#[test]
fn attack_45_without_its_image_a_csharp_skill_is_never_run() {
    let Some(engine) = engine() else { return };
    let section = format!("[containers]\nengine = {engine:?}\nimages = {{ csharp = \"nowhere/none:9\" }}\n");
    let home = Home::configured(&section);
    let gateway = Gateway::start(&home);
    let package = package("probe", &[("Probe.dll", b"x")], json!({}));
    gateway.install(&package, json!({"dangerously_allow_unsigned": true})).expect(201);
    let answer = gateway.call(&gateway.agent(), "probe.go", json!({"what": "facts"})).json();
    assert_eq!(answer["code"], "gvisor_not_available", "{answer}");
    assert!(answer["detail"].as_str().is_some_and(|text| text.contains("nowhere/none:9")), "{answer}");
    assert!(answer["hint"].as_str().is_some_and(|hint| hint.contains("scripts/build-images --dotnet")), "{answer}");
    let found = Cli::new(&home, ["doctor", "--json"]).run().json();
    assert!(found.to_string().contains("none for C# (scripts/build-images --dotnet"), "{found}");
}

#[test]
fn doctor_says_which_dotnet_there_is() {
    let Some(engine) = engine_for_csharp() else { return };
    let home = Home::configured(&format!("[containers]\nengine = {engine:?}\n"));
    let found = Cli::new(&home, ["doctor", "--json"]).run().json();
    assert!(found.to_string().contains("images for Python and C# (.NET "), "{found}");
}

#[test]
fn the_hosts_that_an_assembly_names_are_proposed_to_a_person() {
    let Some(stage) = Stage::new() else { return };
    let package = package("probe", &[("Probe.dll", &PROBE)], json!({"network": true}));
    let open = stage.gateway.install(&package, json!({"dangerously_allow_unsigned": true}));
    assert_eq!(open.json()["code"], "hosts_not_chosen", "{}", open.text());
    assert!(open.json()["hint"].as_str().expect("a hint").contains("--allow-host api.tickets.net"), "{}", open.text());
}

const SECRET: &str = "tok-9VxLq2irsKQaayHsR8x2Md0TuQwEz";

#[test]
fn the_csharp_example_of_the_public_contract_asks_with_a_placeholder() {
    let Some(engine) = engine_for_csharp() else { return };
    let upstream = Upstream::with(|seen| {
        let place = json!({"place": "Lisbon", "got": seen.header("authorization")});
        let mut answer = http::Response::new(Bytes::from(place.to_string()));
        if seen.target.ends_with("/LOST") {
            *answer.status_mut() = http::StatusCode::NOT_FOUND;
        }
        answer
    });
    let home = Home::configured(&format!("[containers]\nengine = {engine:?}\nwarm = 1\n"));
    let gateway = Gateway::start(&home);
    // What `dotnet publish` leaves.
    let (example, published) = (root().join("examples/public/parcel-desk"), home.beside("published"));
    std::fs::create_dir(&published).expect("a folder");
    compiled(&published, "ParcelDesk.dll", &example.join("Skill.cs"), &[]);
    for name in ["manifest.json", "README.md", "LICENSE"] {
        std::fs::copy(example.join(name), published.join(name)).expect("a copy");
    }
    let grant = format!("https://{}", upstream.host());
    let words = ["install".into(), published.into_os_string(), "--dangerously-allow-unsigned".into()];
    Cli::new(&home, words.into_iter().chain(["--allow-host".into(), grant.into()])).expect(0);

    let ann = gateway.key("approver", "ann");
    let body = json!({
        "fields": {"token": SECRET, "base_url": upstream.url("")}, "plain": ["base_url"], "placeholders": {},
        "attach": {"type": "placeholders"},
    });
    gateway.request(&ann, "PUT", "/v1/credentials/parcel-desk", Some(&body)).expect(200);
    let agent = gateway.agent();
    let found = gateway.value(&agent, "parcel-desk.check", json!({"text": "RR123456785GB and rr123456784gb"}));
    let numbers = json!([{"number": "RR123456785GB", "valid": true}, {"number": "RR123456784GB", "valid": false}]);
    assert_eq!(found, json!({"success": true, "result": numbers}));
    let content = gateway.content(&agent, "parcel-desk.where", json!({"number": "rr123456785gb"}));
    assert!(content.contains("Lisbon"), "{content}");
    let lost = gateway.failure(&agent, "parcel-desk.where", json!({"number": "lost"}));
    assert_eq!(lost["code"], "tool_failed", "{lost}");
    assert!(lost["message"].as_str().is_some_and(|text| text.contains("the carrier answers 404")), "{lost}");

    let seen = upstream.seen().clone();
    assert_eq!(seen[0].target, "/v1/parcels/RR123456785GB");
    assert_eq!(seen[0].header("authorization"), Some(format!("Bearer {SECRET}").as_str()));
    assert!(!content.contains(SECRET) && !gateway.log().contains(SECRET), "{content}");
    assert!(!format!("{:?}", gateway.audit("")).contains(SECRET));
    assert!(home.files_with(SECRET.as_bytes()).is_empty());
}
