//! An author's day, end to end in one process: build, check, inspect, sign, verify, rehearse.
//!
//! Components are made of WAT by wit-component; one test builds a real project with cargo where the target is installed.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use serde_json::{Value, json};
use sophon_author::{
    AuthorError, BuildRequest, CaseOutcome, CaseReport, Cases, NewOptions, Subject, build, check, inspect, new,
    rehearse, sign, verify,
};
use sophon_sandbox::{Compilation, CompileLimits, Worker};
use sophon_skill::{Package, Publisher, PublisherRole, SigningIdentity, Standing, TrustStore, Verdict, tools_section};
use sophon_types::{Entropy, Fault, FaultKind, Trust};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

const TOOLS: &str = r#"[
    {"name": "echo", "description": "Gives back its arguments.", "riskLevel": "none",
     "parameters": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}, "returns": {}},
    {"name": "missing", "description": "Finds nothing.", "riskLevel": "low", "parameters": {"type": "object"}},
    {"name": "trap", "description": "Traps.", "riskLevel": "none", "parameters": {"type": "object"}}
]"#;

/// A core module of the contract's world. The tools: `echo` gives its arguments, `missing` is not found, all else traps.
fn core_module(imports: &str, described: Option<&str>) -> Vec<u8> {
    let data: String = described.unwrap_or_default().bytes().map(|byte| format!("\\{byte:02x}")).collect();
    let describe = described.map_or_else(String::new, |json| {
        let answer = (8192_u64 << 32) | json.len() as u64;
        format!(r#"(func (export "sophon_describe_v1") (result i64) (i64.const {answer}))"#)
    });
    let wat = format!(
        r#"(module
            {imports}
            (memory (export "memory") 2)
            (global $next (mut i32) (i32.const 65536))
            (data (i32.const 2048) "no such thing")
            (data (i32.const 8192) "{data}")
            {describe}
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (local $at i32)
                (local.set $at (global.get $next))
                (global.set $next (i32.add (global.get $next) (i32.and (i32.add (local.get 3) (i32.const 15)) (i32.const -8))))
                (local.get $at))
            (func (export "sophon:skill/tools@1.0.0#call-tool")
                (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64) (result i32)
                (if (i32.eq (i32.load8_u (local.get 0)) (i32.const 101))
                    (then
                        (i32.store8 (i32.const 1024) (i32.const 0))
                        (i32.store (i32.const 1028) (local.get 2))
                        (i32.store (i32.const 1032) (local.get 3))
                        (return (i32.const 1024))))
                (if (i32.eq (i32.load8_u (local.get 0)) (i32.const 109))
                    (then
                        (i32.store8 (i32.const 1024) (i32.const 1))
                        (i32.store8 (i32.const 1028) (i32.const 2))
                        (i32.store (i32.const 1032) (i32.const 2048))
                        (i32.store (i32.const 1036) (i32.const 13))
                        (return (i32.const 1024))))
                unreachable))"#
    );
    let mut core = wat::parse_str(wat).unwrap();
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit")).unwrap();
    let world = resolve.select_world(&[package], Some("skill")).unwrap();
    embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).unwrap();
    core
}

struct Zero;

impl Entropy for Zero {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

/// A skill's folder with a prebuilt core module.
struct Project {
    home: TempDir,
}

impl Project {
    fn new(manifest: Value, core: &[u8]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut whole = json!({
            "name": "probe", "version": "1.2.3", "author": "Ada", "license": "Apache-2.0", "description": "A probe.",
            "category": "utility", "runtime": "wasm", "entrypoint": "skill.wasm",
        });
        for (key, value) in manifest.as_object().unwrap() {
            whole[key] = value.clone();
        }
        let project = Self { home };
        project.write("manifest.json", whole.to_string().as_bytes());
        project.write("README.md", b"# probe\n");
        project.write("LICENSE", b"Apache-2.0\n");
        project.write("core.bin", core);
        project
    }

    fn plain() -> Self {
        Self::new(json!({}), &core_module("", Some(TOOLS)))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn write(&self, name: &str, content: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn request(&self) -> BuildRequest {
        BuildRequest { component: Some(self.path("core.bin")), ..BuildRequest::new(self.home.path()) }
    }

    fn refused(&self) -> AuthorError {
        let error = build(&self.request()).expect_err("it was to be refused");
        let packages = fs::read_dir(self.home.path()).unwrap();
        let left = packages.flatten().filter(|entry| entry.file_name().to_string_lossy().contains("sophon-skill"));
        assert_eq!(left.count(), 0, "a package was written all the same");
        error
    }
}

#[test]
fn builds_a_package_that_a_host_takes() {
    let project = Project::new(
        json!({ "tools": [{ "name": "echo", "editable": true, "effects": ["email"] }] }),
        &core_module("", Some(TOOLS)),
    );
    let built = build(&project.request()).unwrap();
    assert_eq!(built.package, project.path("probe-1.2.3.sophon-skill"));
    assert_ne!(built.report.verdict, Verdict::Reject, "{}", built.report);
    let names: Vec<_> = built.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["probe.echo", "probe.missing", "probe.trap"]);

    let package = Package::read(fs::read(&built.package).unwrap()).unwrap();
    let echo = &package.manifest().tools[0];
    assert!(echo.editable && echo.effects.len() == 1);
    let section: Value = serde_json::from_slice(&tools_section(package.entrypoint()).unwrap().unwrap()).unwrap();
    assert_eq!(section[0]["effects"], json!(["email"]));
    assert_eq!(section[2]["name"], "trap");
    let files: Vec<_> = package.archive().files().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(files, ["LICENSE", "README.md", "manifest.json", "skill.wasm"]);

    // The same input gives the same bytes, and a component that has its section already gets no second one.
    assert_eq!(build(&project.request()).unwrap().digest, built.digest);
    project.write("core.bin", package.entrypoint());
    assert_eq!(build(&project.request()).unwrap().digest, built.digest);

    let checked = check(&Subject::at(&built.package).unwrap(), None).unwrap();
    assert!(!checked.is_rejected() && checked.digest == Some(built.digest));
    let component = Subject::Component { component: project.path("core.bin"), manifest: project.path("manifest.json") };
    assert_eq!(check(&component, None).unwrap().report, checked.report);

    let inspection = inspect(&built.package).unwrap();
    assert_eq!(inspection.exports, ["sophon:skill/tools@1.0.0"]);
    assert!(inspection.sections.iter().any(|section| section.name.contains("sophon:tools")));
    assert!(inspection.sections.iter().any(|section| section.name == "core module" && section.count == 1));
    assert!(inspection.imports.is_empty() && inspection.signature.is_none());
}

#[test]
fn says_what_is_wrong_and_writes_no_package() {
    #[track_caller]
    fn check(project: &Project, code: &str, text: &str) {
        let error = project.refused();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(text), "{error}");
        assert!(error.hint().is_some_and(|hint| !hint.is_empty()), "{error:?}");
    }
    let described = core_module("", Some(TOOLS));
    let silent = core_module("", None);
    check(
        &Project::new(json!({ "tools": [{ "name": "echo", "riskLevel": "high" }] }), &described),
        "tool_contradiction",
        "echo",
    );
    check(&Project::new(json!({ "tools": [{ "name": "ecko" }] }), &described), "unknown_tool_in_manifest", "ecko");
    check(&Project::new(json!({}), &silent), "no_tools", "probe");
    check(&Project::new(json!({ "version": "one" }), &described), "invalid_manifest", "version");
    check(
        &Project::new(json!({ "runtime": "python", "entrypoint": "a.py" }), &described),
        "runtime_not_built",
        "python",
    );
    check(&Project::new(json!({}), b"not wasm"), "not_a_component", "not WebAssembly");
    let strange = wat::parse_str(r#"(module (import "env" "now" (func)))"#).unwrap();
    check(&Project::new(json!({}), &strange), "not_a_component", "env");
    check(&Project::new(json!({}), &wat::parse_str("(module)").unwrap()), "no_tools", "probe");
    check(&Project::new(json!({}), &core_module("", Some("[]"))), "describe_failed", "no tool");

    let bare = Project::plain();
    fs::remove_file(bare.path("LICENSE")).unwrap();
    check(&bare, "missing_file", "LICENSE");
    fs::remove_file(bare.path("manifest.json")).unwrap();
    check(&bare, "no_manifest", "manifest.json");

    let crateless = Project::plain();
    let error = build(&BuildRequest::new(crateless.home.path())).unwrap_err();
    assert_eq!((error.code(), error.kind()), ("no_cargo_toml", FaultKind::NotFound));
    crateless.write("Cargo.toml", b"[package]\nname = \"probe\"\n");
    let error = build(&BuildRequest { cargo: "/nowhere/cargo".into(), ..BuildRequest::new(crateless.home.path()) });
    assert_eq!(error.unwrap_err().code(), "cargo_missing");
    assert_eq!(Subject::at(Path::new("/nowhere")).unwrap_err().code(), "not_a_skill");
}

#[test]
fn a_component_of_another_language_takes_the_tools_of_the_manifest() {
    let tools: Value = serde_json::from_str(TOOLS).unwrap();
    let project = Project::new(json!({ "tools": tools }), &core_module("", None));
    let built = build(&project.request()).unwrap();
    let package = Package::read(fs::read(&built.package).unwrap()).unwrap();
    let section: Value = serde_json::from_slice(&tools_section(package.entrypoint()).unwrap().unwrap()).unwrap();
    assert_eq!(section, tools);

    // The component alone still says what its tools are.
    let again = Project::new(json!({}), package.entrypoint());
    assert_eq!(build(&again.request()).unwrap().tools, built.tools);
}

#[test]
fn what_the_host_would_refuse_is_not_built() {
    let http = format!(r#"(import "sophon:skill/http@1.0.0" "send" (func (param{})))"#, " i32".repeat(16));
    let core = core_module(&http, Some(TOOLS));
    let undeclared = Project::new(json!({}), &core);
    let error = undeclared.refused();
    assert_eq!((error.code(), error.kind()), ("rejected_by_analysis", FaultKind::Denied));
    assert!(error.to_string().contains("sophon:skill/http"), "{error}");
    let AuthorError::Rejected { report, .. } = &error else { panic!("{error:?}") };
    assert_eq!(report.verdict, Verdict::Reject);
    let checked = check(&Subject::Project(undeclared.request()), None).unwrap();
    assert!(checked.is_rejected() && checked.report == **report);

    let declared = Project::new(json!({ "permissions": { "network": ["api.example.com"] } }), &core);
    let built = build(&declared.request()).unwrap();
    assert_eq!(built.imports, ["sophon:skill/http@1.0.0"]);
    let inspection = inspect(&built.package).unwrap();
    assert_eq!(inspection.imports, built.imports);
    assert_eq!(inspection.network, ["https://api.example.com"]);

    // As an update of one that asks for less.
    let before = Project::new(json!({}), &core_module("", Some(TOOLS)));
    let before = build(&before.request()).unwrap().package;
    for subject in [Subject::Project(declared.request()), Subject::at(&built.package).unwrap()] {
        let checked = check(&subject, Some(&before)).unwrap();
        let beyond: Vec<_> = checked.report.findings.iter().filter(|found| found.rule == "SA022").collect();
        assert_eq!(beyond.len(), 2, "{}", checked.report);
        assert!(beyond.iter().all(|found| found.place == "manifest.json: permissions.network"), "{beyond:?}");
        assert!(check(&subject, None).unwrap().report.findings.iter().all(|found| found.rule != "SA022"));
    }
}

#[test]
fn signs_and_verifies() {
    let project = Project::plain();
    let built = build(&project.request()).unwrap();
    let ada = SigningIdentity::from_seed("Ada", &[7; 32]).unwrap();
    let trust = |role| TrustStore {
        publishers: vec![Publisher { key: ada.public_key(), name: "Ada L".into(), role, standing: Standing::Trusted }],
        ..TrustStore::default()
    };
    let untrusted = |trust: &TrustStore| verify(&built.package, None, trust).unwrap_err();
    assert_eq!(untrusted(&TrustStore::default()).kind(), FaultKind::Untrusted);

    let signed = sign(&built.package, &ada).unwrap();
    assert_eq!(signed.envelope, project.path("probe-1.2.3.sophon-skill.dsse.json"));
    let verified = verify(&built.package, None, &trust(PublisherRole::Local)).unwrap();
    assert_eq!((verified.trust, verified.publisher.as_deref()), (Trust::LocalDev, Some("Ada L")));
    assert_eq!(verified.signer, Some(signed.fingerprint));
    let other = verify(&built.package, Some(&signed.envelope), &trust(PublisherRole::Publisher)).unwrap();
    assert_eq!(other.trust, Trust::Trusted);
    assert_eq!(untrusted(&TrustStore::default()).code(), "unknown_signer");
    assert!(inspect(&built.package).unwrap().signature.unwrap().of_this_package);

    // A new build makes the signature one of another package, and says so.
    project.write("README.md", b"# another\n");
    let rebuilt = build(&project.request()).unwrap();
    assert_eq!((built.stale_signature, rebuilt.stale_signature.as_ref()), (None, Some(&signed.envelope)));
    assert_eq!(untrusted(&trust(PublisherRole::Local)).code(), "signature_for_other_package");
    assert!(!inspect(&built.package).unwrap().signature.unwrap().of_this_package);
    fs::write(&signed.envelope, "{}").unwrap();
    assert_eq!(untrusted(&trust(PublisherRole::Local)).kind(), FaultKind::Untrusted);
}

async fn play(project: &Project, cases: Value) -> Vec<CaseReport> {
    project.write("tests/cases.json", cases.to_string().as_bytes());
    rehearse(&Subject::Project(project.request()), &Cases::default(), Compilation::InProcess, &Zero).await.unwrap()
}

#[tokio::test]
async fn plays_cases_and_shows_what_differs() {
    let project = Project::new(
        json!({ "settings": [{ "key": "unit", "description": "d", "default": "C" }],
            "credentials": [{ "service": "github", "scopes": [], "required": false, "access": "proxy" }] }),
        &core_module("", Some(TOOLS)),
    );
    let echo = |expect: Value| json!({ "tool": "echo", "arguments": { "text": "a" }, "expect": expect });
    let reports = play(
        &project,
        json!([
            echo(json!({ "result": { "text": "a" } })),
            { "tool": "probe.missing", "expect": { "error": { "kind": "not-found", "contains": "such" } } },
            echo(json!({ "result": { "text": "b" } })),
            echo(json!({ "error": { "kind": "failed" } })),
            { "tool": "missing", "expect": { "error": { "kind": "denied" } } },
            { "tool": "missing", "expect": { "error": { "kind": "not-found", "contains": "other" } } },
            { "tool": "missing", "expect": { "result": null } },
            { "tool": "trap", "expect": { "error": { "kind": "failed" } } },
            { "tool": "echo", "arguments": { "text": 1 }, "expect": { "result": { "text": 1 } } },
            { "tool": "ecko", "expect": { "result": 1 } },
            { "tool": "missing", "settings": { "units": "F" }, "connected": ["gitlab"], "expect": { "result": 1 } },
            { "tool": "missing", "expect": { "error": { "kind": "not-found" } }, "progress": [{ "percent": 1, "message": "m" }] },
            { "tool": "missing", "expect": { "error": { "kind": "not-found" } }, "progress": [],
              "exchanges": [{ "request": { "method": "GET", "url": "https://a.example" }, "response": { "status": 200 } }] },
            { "tool": "missing", "expect": { "error": { "kind": "not-found" } },
              "exchanges": [{ "request": { "method": "GET", "url": "https://a.example" }, "error": "timeout" }] },
        ]),
    )
    .await;
    let wanted: [&[&str]; 14] = [
        &[],
        &[],
        &["result.text: expected \"b\", came \"a\""],
        &["an error was expected, a result came"],
        &["the error is not-found, not denied: no such thing"],
        &["does not contain \"other\""],
        &["a result was expected, an error came: not-found: no such thing"],
        &["trapped"],
        &["arguments/text"],
        &["there is no tool \"ecko\"; the skill has echo, missing, trap"],
        &["does not declare \"units\"", "do not have \"gitlab\""],
        &["progress: expected [1 % \"m\"], came []"],
        &["https://a.example/ was not sent"],
        &["https://a.example/ was not sent"],
    ];
    assert_eq!(reports.len(), wanted.len());
    for (report, wanted) in reports.iter().zip(wanted) {
        let passed = report.outcome == CaseOutcome::Passed;
        assert_eq!(passed, wanted.is_empty(), "{report:?}");
        assert_eq!(report.problems.len(), wanted.len(), "{report:?}");
        for (problem, wanted) in report.problems.iter().zip(wanted) {
            assert!(problem.contains(wanted), "{problem}");
        }
    }
    assert_eq!(reports[0].name, "cases#1");
    assert!(reports[0].fuel > 0);
    assert_eq!(reports[2].expected, json!({ "result": { "text": "b" } }));
    assert_eq!(reports[2].actual, Some(json!({ "result": { "text": "a" } })));
    assert_eq!(reports[8].actual, None);
}

#[tokio::test]
async fn a_package_and_a_component_can_be_played_too() {
    let project = Project::plain();
    let built = build(&project.request()).unwrap();
    project.write("tests/echo.json", br#"{"tool":"echo","arguments":{"text":"a"},"expect":{"result":{"text":"a"}}}"#);
    project.write("tests/missing.json", br#"{"tool":"missing","expect":{"error":{"kind":"not-found"}}}"#);
    fs::rename(project.path("core.bin"), project.path("core.wasm")).unwrap();
    for path in [built.package.clone(), project.path("core.wasm")] {
        let subject = Subject::at(&path).unwrap();
        let reports = rehearse(&subject, &Cases::default(), Compilation::InProcess, &Zero).await.unwrap();
        let names: Vec<_> = reports.iter().map(|report| report.name.as_str()).collect();
        assert_eq!(names, ["echo", "missing"]);
        assert!(reports.iter().all(|report| report.outcome == CaseOutcome::Passed), "{reports:?}");
        let only = Cases { only: Some("miss".into()), path: Some(project.path("tests")) };
        assert_eq!(rehearse(&subject, &only, Compilation::InProcess, &Zero).await.unwrap().len(), 1);
        let none = Cases { only: Some("nothing".into()), path: None };
        assert_eq!(rehearse(&subject, &none, Compilation::InProcess, &Zero).await.unwrap_err().code(), "no_test_cases");
    }
    project.write("tests/odd.json", br#"{"tool":"echo","expects":{}}"#);
    let error = rehearse(&Subject::at(&built.package).unwrap(), &Cases::default(), Compilation::InProcess, &Zero)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "invalid_test_case");
    assert!(error.to_string().contains("odd.json"), "{error}");
}

#[tokio::test]
async fn attack_22_what_is_tried_out_is_compiled_where_the_caller_says() {
    let project = Project::plain();
    let built = build(&project.request()).unwrap();
    project.write("tests/echo.json", br#"{"tool":"echo","arguments":{"text":"a"},"expect":{"result":{"text":"a"}}}"#);
    fs::rename(project.path("core.bin"), project.path("core.wasm")).unwrap();
    let own = BuildRequest { component: Some(project.path("core.wasm")), ..project.request() };
    let component = Subject::at(&project.path("core.wasm")).unwrap();
    for subject in [Subject::at(&built.package).unwrap(), component, Subject::Project(own)] {
        let marker = project.path("compiled");
        let script = format!("/bin/cat >{}; echo this compiler refuses >&2; exit 1", marker.display());
        let arguments = vec!["-c".into(), script.into()];
        let worker = Worker { program: "/bin/sh".into(), arguments, limits: CompileLimits::default() };
        let tried = rehearse(&subject, &Cases::default(), Compilation::Worker(worker), &Zero).await;
        let error = tried.expect_err("it was compiled elsewhere");
        assert_eq!(error.code(), "component_does_not_compile", "{error}");
        assert!(error.to_string().contains("this compiler refuses"), "{error}");
        assert!(fs::read(&marker).unwrap().starts_with(b"\0asm"), "it got the component");
        fs::remove_file(marker).unwrap();
    }
}

#[tokio::test]
async fn a_new_project_builds_and_passes_its_own_tests() {
    let house = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("2fa");
    let options = NewOptions { sdk: house.join("skills-sdk"), author: None, description: None };
    new(&dir, "2fa", &options).unwrap();
    let request = BuildRequest { target_dir: Some(house.join("target/guests")), ..BuildRequest::new(&dir) };
    let built = match build(&request) {
        Err(AuthorError::NoTarget { target, .. }) => {
            eprintln!("left out: a build with cargo; get the target: scripts/setup ({target})");
            return;
        }
        built => built.unwrap_or_else(|error| panic!("{error}\n{error:?}")),
    };
    assert_eq!(built.report.verdict, Verdict::Admit, "{}", built.report);
    assert!(built.imports.is_empty(), "a skill that only computes imports nothing: {:?}", built.imports);
    assert_eq!(built.tools[0].name.as_str(), "2fa.hello");
    assert_eq!(built.warnings, [""; 0]);
    assert!(!built.compiler.contains("warning"), "{}", built.compiler);
    assert_eq!(build(&request).unwrap().digest, built.digest);
    let reports =
        rehearse(&Subject::Project(request.clone()), &Cases::default(), Compilation::InProcess, &Zero).await.unwrap();
    assert_eq!(reports.len(), 2);
    assert!(reports.iter().all(|report| report.outcome == CaseOutcome::Passed), "{reports:?}");

    let cargo_toml = fs::read_to_string(dir.join("Cargo.toml")).unwrap();
    fs::write(dir.join("Cargo.toml"), cargo_toml.replace("name = \"skill-2fa\"", "name = \"other\"")).unwrap();
    assert_eq!(build(&request).unwrap_err().code(), "name_mismatch");
    fs::write(dir.join("Cargo.toml"), cargo_toml).unwrap();

    fs::write(dir.join("src/lib.rs"), "fn broken() -> u8 { \"text\" }").unwrap();
    let error = build(&request).unwrap_err();
    let AuthorError::Compile { stderr, .. } = &error else { panic!("{error:?}") };
    assert!(stderr.contains("error[E0308]") && stderr.contains("src/lib.rs:1"), "{stderr}");
    assert!(error.to_string().contains(stderr.trim_end()), "the author is told what the compiler said: {error}");
}
