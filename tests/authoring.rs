//! A new author's first hour: the five commands, and what each of them says when something is wrong. A hint counts only
//! if what it says works, so the tests do what it says.

use crate::harness::{
    Behaviour, Cli, Finished, Gateway, Guest, Home, Publisher, Request, Upstream, edit, hints, paste,
};
use bytes::Bytes;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Someone at a terminal, in a folder of their own.
struct Author {
    home: Home,
    folder: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

/// One target folder serves all tests, so that what they share is compiled once; and in one folder cargo takes projects of
/// one name for one project: what one test has just built would pass for what another has just broken.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

impl Author {
    fn new() -> Self {
        let home = Home::new();
        let folder = home.beside("work");
        std::fs::create_dir(&folder).expect("a folder");
        // A test that failed breaks nothing of the next one's.
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        Self { home, folder, _alone: alone }
    }

    fn cli(&self, words: &[&str]) -> Cli {
        let guests = crate::harness::target().join("guests");
        Cli::new(&self.home, words.iter().copied())
            .folder(&self.folder)
            .env("CARGO_TARGET_DIR", guests.to_str().expect("a path"))
    }

    #[track_caller]
    fn sophon<const N: usize>(&self, words: [&str; N]) -> Finished {
        self.cli(&words).expect(0)
    }

    /// What goes wrong, and the hints that come with it.
    #[track_caller]
    fn fails<const N: usize>(&self, code: i32, words: [&str; N]) -> (String, Vec<String>) {
        let finished = self.cli(&words).expect(code);
        let said = format!("{}{}", finished.stdout, finished.stderr);
        let hints = hints(&said);
        assert!(!hints.is_empty(), "no hint: {said}");
        (said, hints)
    }

    #[track_caller]
    fn start(&self, name: &str) -> PathBuf {
        let sdk = crate::harness::root().join("skills-sdk");
        self.sophon(["new", name, "--sdk", sdk.to_str().expect("a path")]);
        self.folder.join(name)
    }
}

#[test]
fn five_commands_lead_from_nothing_to_a_call() {
    let author = Author::new();
    let sdk = crate::harness::root().join("skills-sdk");
    let started = author.sophon(["new", "hello-skill", "--sdk", sdk.to_str().expect("a path")]);
    assert!(started.stderr.contains("next: sophon build hello-skill"), "{}", started.stderr);
    for file in ["README.md", "LICENSE", ".gitignore", "manifest.json", "src/lib.rs", "tests/hello.json"] {
        assert!(author.folder.join("hello-skill").join(file).is_file(), "{file}");
    }

    let built = author.sophon(["build", "hello-skill"]);
    assert_eq!(built.stdout.trim(), "hello-skill/hello-skill-0.1.0.sophon-skill");
    assert!(!built.stderr.contains("warning"), "{}", built.stderr);
    let identity = author.home.path().join("identities/local.key");
    let said = format!("made the signing identity local ({})", identity.display());
    assert!(built.stderr.contains(&said) && built.stderr.contains("signed by local"), "{}", built.stderr);
    assert_eq!(std::fs::metadata(&identity).expect("the identity").permissions().mode() & 0o777, 0o600);

    let tested = author.sophon(["test", "hello-skill"]);
    assert_eq!(tested.stdout.lines().filter(|line| line.starts_with("ok ")).count(), 2, "{}", tested.stdout);
    assert!(tested.stderr.contains("2 passed, 0 failed"), "{}", tested.stderr);

    let installed = author.sophon(["install", "hello-skill/hello-skill-0.1.0.sophon-skill"]);
    assert!(installed.stderr.contains("trust: local-dev"), "{}", installed.stderr);

    let called = author.sophon(["call", "hello-skill.hello", r#"{"name": "Ada"}"#]);
    assert!(called.stdout.contains("Hello, Ada!"), "{}", called.stdout);

    // Said once: the next build signs with the same identity.
    let key = std::fs::read(&identity).expect("the identity");
    let again = author.sophon(["build", "hello-skill"]);
    assert!(again.stderr.contains("signed by local") && !again.stderr.contains("made"), "{}", again.stderr);
    assert_eq!(std::fs::read(&identity).expect("the identity"), key);
}

/// The compiler that a command with this word in its line has started, once it has.
fn compiler_of(word: &str) -> Option<u32> {
    let line = |pid: &str| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let names = |pid: &str, word: &str| String::from_utf8_lossy(&line(pid)).contains(word);
    let processes = std::fs::read_dir("/proc").expect("the processes").flatten();
    let mut numbers = processes.filter_map(|entry| entry.file_name().into_string().ok());
    let found = numbers.find(|pid| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The state and the parent follow the name, which may hold anything.
        let parent = status.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)).unwrap_or_default();
        names(pid, "compile-worker") && names(parent, word)
    });
    found?.parse().ok()
}

#[test]
fn attack_22_a_package_that_is_tried_out_is_compiled_in_a_child() {
    let author = Author::new();
    let publisher = Publisher::new("Good Co", 1);
    let heavy = publisher.sign(&Guest::new("tried-out", Behaviour::Heavy));
    let package = heavy.write(&author.folder, "tried-out-1.0.0");
    std::fs::create_dir(author.folder.join("tests")).expect("a folder");
    let case = json!({"tool": "run", "arguments": {}, "expect": {"result": true}});
    std::fs::write(author.folder.join("tests/case.json"), case.to_string()).expect("a case");
    let package = package.to_str().expect("a path");
    let finished = std::thread::scope(|scope| {
        let tested = scope.spawn(|| author.cli(&["test", package]).run());
        let compiler = loop {
            match compiler_of(package) {
                Some(pid) => break Some(pid),
                None if tested.is_finished() => break None,
                None => std::thread::sleep(std::time::Duration::from_millis(1)),
            }
        };
        let compiler = compiler.expect("a child compiles").to_string();
        assert!(crate::harness::command("kill").args(["-KILL", &compiler]).status().expect("kill").success());
        tested.join().expect("an answer")
    });
    assert!(finished.stderr.contains("the compiler was killed"), "{finished:?}");
    assert_ne!(finished.code, 0, "{finished:?}");
}

#[test]
fn what_each_command_says_to_a_program_is_one_value() {
    let author = Author::new();
    author.start("hello-skill");
    let built = author.sophon(["build", "hello-skill", "--json"]);
    assert_eq!(built.stderr, "", "nobody reads it");
    let built = built.json();
    let package = built["package"].as_str().expect("a package").to_owned();
    let signature = &built["signature"];
    assert_eq!((&signature["identity"], signature["made"].is_string()), (&json!("local"), true), "{built}");
    assert_eq!(signature["envelope"], format!("{package}.dsse.json"));
    let again = author.sophon(["build", "hello-skill", "--json"]).json();
    assert_eq!(again["signature"]["fingerprint"], signature["fingerprint"]);
    assert_eq!((&again["signature"]["made"], &again["digest"]), (&Value::Null, &built["digest"]));
    let unsigned = author.sophon(["build", "hello-skill", "--unsigned", "--out", "bare", "--json"]).json();
    assert_eq!(unsigned["signature"], Value::Null);
    assert!(!author.folder.join("bare/hello-skill-0.1.0.sophon-skill.dsse.json").exists());
    let tested = author.sophon(["test", "hello-skill", "--json"]).json();
    assert_eq!((&tested["passed"], &tested["failed"]), (&json!(2), &json!(0)), "{tested}");
    let installed = author.sophon(["install", &package, "--json"]).json();
    assert_eq!(installed["trust"], "local-dev", "{installed}");
    let called = author.sophon(["call", "hello-skill.hello", r#"{"name":"Ada"}"#, "--json"]).json();
    assert_eq!(called["result"], json!({"text": "Hello, Ada!"}), "{called}");

    std::fs::write(author.folder.join("hello-skill/src/lib.rs"), "fn broken() -> u8 { \"text\" }").expect("a file");
    for words in [["build", "hello-skill", "--json"], ["test", "hello-skill", "--json"]] {
        let failed = author.cli(&words).expect(1);
        let error: Value = serde_json::from_str(failed.stderr.trim()).expect("one value");
        assert_eq!((error["code"].as_str(), failed.stdout.as_str()), (Some("compile_failed"), ""), "{error}");
        assert!(error["message"].as_str().is_some_and(|message| message.contains("E0308")), "{error}");
    }
}

#[test]
fn building_signs_while_a_gateway_runs_and_where_no_home_can_be_opened() {
    let author = Author::new();
    author.start("hello-skill");
    let gateway = Gateway::start(&author.home);
    author.sophon(["build", "hello-skill"]);
    let installed = author.sophon(["install", "hello-skill/hello-skill-0.1.0.sophon-skill", "--json"]).json();
    assert_eq!(installed["trust"], "local-dev", "{installed}");
    let trusted = gateway.audit("action=publisher.trust");
    assert!(!trusted.is_empty() && trusted.iter().all(|record| record["detail"]["name"] == "local"), "{trusted:?}");
    drop(gateway);

    // With its identity in place, building opens nothing of the home.
    std::fs::write(author.home.path().join("sophon.db"), "damaged").expect("the database");
    author.sophon(["build", "hello-skill"]);
    // And unsigned it needs no home at all; signed it does, and says so before anything is compiled.
    let nowhere = |words: &[&str]| author.cli(words).env("SOPHON_HOME", "/dev/null/home");
    nowhere(&["build", "hello-skill", "--unsigned"]).expect(0);
    let refused = nowhere(&["build", "hello-skill"]).expect(1);
    assert!(refused.stderr.contains("/dev/null/home") && !refused.stderr.contains("Finished"), "{}", refused.stderr);
}

#[test]
fn attack_36_a_local_identity_is_trusted_in_its_home_alone() {
    let author = Author::new();
    author.start("hello-skill");
    let built = author.sophon(["build", "hello-skill", "--json"]).json();
    let package = author.folder.join("hello-skill/hello-skill-0.1.0.sophon-skill");
    let package = package.to_str().expect("a path");
    let other = Home::new();
    let refused = Cli::new(&other, ["install", package]).expect(5);
    assert!(refused.stderr.contains("nobody this home trusts"), "{}", refused.stderr);
    // Its own builds make another identity there, which changes nothing for the first one.
    let key = built["signature"]["public_key"].as_str().expect("a key");
    Cli::new(&other, ["key", "trust", key, "--name", "Ann"]).expect(0);
    let installed = Cli::new(&other, ["install", package, "--json"]).expect(0).json();
    assert_eq!(installed["trust"], "trusted", "{installed}");

    // What a person takes back stays so: building signs, and trusts nothing a second time.
    let fingerprint = built["signature"]["fingerprint"].as_str().expect("a fingerprint");
    author.sophon(["key", "untrust", fingerprint]);
    author.sophon(["build", "hello-skill"]);
    author.fails(5, ["install", package]);
}

#[test]
fn who_signs_is_chosen_by_name_and_others_identities_are_not_used_unasked() {
    let author = Author::new();
    author.start("hello-skill");
    let (said, hints) = author.fails(2, ["build", "hello-skill", "--identity", "ann"]);
    assert!(said.contains("no identity ann"), "{said}");
    assert_eq!(hints, ["sophon key identity ann"]);
    author.sophon(["key", "identity", "ann"]);
    let signer = |words: &[&str]| {
        let words = ["build", "hello-skill", "--json"].iter().chain(words).copied().collect::<Vec<_>>();
        author.cli(&words).expect(0).json()["signature"]["identity"].clone()
    };
    assert_eq!(signer(&["--identity", "ann"]), "ann");
    assert_eq!(signer(&[]), "local", "the only identity there was is a person's to name");

    // A key that others can read signs nothing, and is told before anything is compiled.
    let file = author.home.path().join("identities/local.key");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("the identity");
    let (said, hints) = author.fails(1, ["build", "hello-skill"]);
    assert!(said.contains("others than its owner can read it") && !said.contains("Finished"), "{said}");
    assert_eq!(hints, [format!("chmod 600 {}", file.display())]);
}

const WEATHER: &str = r#"//! The tools of weather.

use sophon_sdk::{Result, http, settings, tool};

sophon_sdk::skill!(weather);

/// Says what the weather is like.
#[tool(risk = "low")]
fn weather(city: String) -> Result<String> {
    let base = settings::value_or("base_url", "https://api.weather.net");
    Ok(http::post(base).path([city]).credential("weather").send()?.error_for_status()?.text())
}
"#;

#[test]
fn a_typical_mistake_at_each_command_is_told_with_what_mends_it() {
    let author = Author::new();
    let manifest = author.folder.join("weather/manifest.json");
    let say = |text: &str| std::fs::write(author.folder.join("weather/src/lib.rs"), text).expect("the code");
    new_mistakes(&author);

    // build: wrong use of the macros, then a capability that the manifest does not declare.
    say(&WEATHER
        .replace("/// Says what the weather is like.\n", "")
        .replace("fn weather(city: String)", "async fn weather(city: &str)"));
    let (said, _) = author.fails(1, ["build", "weather"]);
    for line in ["write `/// What it does.` above", "write `fn weather(..)`", "write `city: String`"] {
        assert!(said.contains(line), "{line}: {said}");
    }
    say(WEATHER);
    let (said, hints) = author.fails(3, ["build", "weather"]);
    assert!(said.contains("the manifest does not ask for the network"), "{said}");
    edit(&manifest, |manifest| paste(manifest, &hints[0]));
    edit(&manifest, |manifest| assert_eq!(manifest["permissions"], json!({"network": ["api.weather.net"]})));
    author.sophon(["build", "weather"]);

    test_mistakes(&author, &manifest);
    install_mistakes(&author, &manifest);
    call_mistakes(&author, &manifest);
}

fn new_mistakes(author: &Author) {
    let root = crate::harness::root().to_str().expect("a path");
    let sdk = crate::harness::root().join("skills-sdk");
    let sdk = sdk.to_str().expect("a path");
    let (said, _) = author.fails(1, ["new", "Weather", "--sdk", sdk]);
    assert!(said.contains("\"Weather\""), "{said}");
    let (_, hints) = author.fails(1, ["new", "weather", "--sdk", root]);
    assert!(hints[0].contains("--sdk FOLDER"), "{hints:?}");
    author.start("weather");
    let (said, _) = author.fails(1, ["new", "weather", "--sdk", sdk]);
    assert!(said.contains("not overwritten"), "{said}");
    let (_, hints) = author.fails(1, ["build", "wether"]);
    assert!(hints[0].contains("sophon new"), "{hints:?}");
}

/// test: what the case needs and the manifest does not declare, host, method, and an exchange that is not recorded.
fn test_mistakes(author: &Author, manifest: &Path) {
    let tests = author.folder.join("weather/tests");
    // The template's case is of a tool that is gone.
    let failed = author.cli(&["test", "weather"]).expect(1);
    assert!(failed.stdout.contains("there is no tool \"hello\"; the skill has weather"), "{}", failed.stdout);
    std::fs::remove_file(tests.join("hello.json")).expect("the template's case");
    let (_, hints) = author.fails(1, ["test", "weather"]);
    assert!(hints[0].contains("tests/NAME.json"), "{hints:?}");

    let case = json!({
        "tool": "weather", "arguments": {"city": "Oslo"}, "connected": ["weather"],
        "settings": {"base_url": "https://api.weather.net/v1"},
        "exchanges": [{
            "request": {"method": "POST", "url": "https://api.weather.net/v1/Oslo", "credential": "weather"},
            "response": {"status": 200, "body": "cold"},
        }],
        "expect": {"result": "cold"},
    });
    let file = tests.join("weather.json");
    std::fs::write(&file, case.to_string()).expect("a case");
    let (said, hints) = author.fails(1, ["test", "weather"]);
    assert!(said.contains("does not declare \"base_url\"") && said.contains("do not have \"weather\""), "{said}");
    assert_eq!(hints.len(), 2, "{said}");
    edit(manifest, |manifest| hints.iter().for_each(|hint| paste(manifest, hint)));
    author.sophon(["test", "weather"]);

    for narrow in [json!([]), json!(["other.weather.net"]), json!([{"host": "api.weather.net", "methods": ["GET"]}])] {
        edit(manifest, |manifest| manifest["permissions"] = json!({"network": narrow}));
        let (said, hints) = author.fails(1, ["test", "weather"]);
        assert!(said.contains("http: POST api.weather.net/v1/Oslo is not in permissions.network"), "{said}");
        edit(manifest, |manifest| paste(manifest, &hints[0]));
        author.sophon(["test", "weather"]);
    }
    // A credential that is used and not declared; then an exchange that is not recorded.
    edit(manifest, |manifest| {
        manifest["credentials"] = json!([{"service": "other"}]);
        manifest["permissions"] = json!({"network": ["api.weather.net"]});
    });
    edit(&file, |case| case["connected"] = json!([]));
    let (said, hints) = author.fails(1, ["test", "weather"]);
    assert!(said.contains("the credential \"weather\" is not in the manifest"), "{said}");
    edit(manifest, |manifest| paste(manifest, &hints[0]));
    edit(&file, |case| {
        case["connected"] = json!(["weather"]);
        case["exchanges"] = json!([]);
        case["expect"] = json!({"result": "{}"});
    });
    let (said, hints) = author.fails(1, ["test", "weather"]);
    assert!(said.contains("is not among the recorded exchanges"), "{said}");
    edit(&file, |case| paste(case, &hints[0]));
    author.sophon(["test", "weather"]);
}

/// install: no signature, a version that falls, and a package of other tools that declares less than it imports.
fn install_mistakes(author: &Author, manifest: &Path) {
    author.sophon(["build", "weather", "--unsigned", "--out", "bare"]);
    let (_, hints) = author.fails(5, ["install", "bare/weather-0.1.0.sophon-skill"]);
    assert!(hints[0].contains("`sophon build`, which signs"), "{hints:?}");
    author.sophon(["build", "weather", "--out", "bare"]);
    author.sophon(["install", "bare/weather-0.1.0.sophon-skill"]);

    // What a home's own author builds again may come again; a version that falls is a mistake, or an attack.
    edit(manifest, |manifest| manifest["description"] = "Says what the weather is like.".into());
    author.sophon(["build", "weather"]);
    author.sophon(["install", "weather/weather-0.1.0.sophon-skill"]);
    edit(manifest, |manifest| manifest["version"] = "0.0.9".into());
    author.sophon(["build", "weather"]);
    let (said, hints) = author.fails(1, ["install", "weather/weather-0.0.9.sophon-skill"]);
    assert!(said.contains("not newer than 0.1.0"), "{said}");
    edit(manifest, |manifest| paste(manifest, &hints[0]));
    author.sophon(["build", "weather"]);
    author.sophon(["install", "weather/weather-0.1.1.sophon-skill"]);

    let publisher = Publisher::new("Good Co", 1);
    author.sophon(["key", "trust", &publisher.public_key(), "--name", "Good Co"]);
    let mut wishes = json!({"permissions": {"maxMemoryMb": 16}});
    let guest = |wishes: &Value| {
        let send = Behaviour::Send(Request::get("https://api.weather.net/v1".into()));
        let guest = Guest::new("sender", send).manifest(wishes.clone());
        publisher.sign(&guest).write(&author.folder, "sender").to_str().expect("a path").to_owned()
    };
    let (said, hints) = author.fails(3, ["install", &guest(&wishes)]);
    assert!(said.contains("the manifest does not ask for the network"), "{said}");
    paste(&mut wishes, &hints[0]);
    assert_eq!(wishes["permissions"], json!({"maxMemoryMb": 16, "network": ["api.weather.net"]}));
    author.sophon(["install", &guest(&wishes)]);
}

/// call: a misspelt tool, wrong arguments, no connection, and a method that no rule allows.
fn call_mistakes(author: &Author, manifest: &Path) {
    let upstream = Upstream::with(|_| http::Response::new(Bytes::from_static(b"cold")));
    author.fails(1, ["call", "weather.wether", r#"{"city":"Oslo"}"#]);
    let (said, _) = author.fails(1, ["call", "weather.weather", r#"{"town":"Oslo"}"#]);
    assert!(said.contains("town") || said.contains("city"), "{said}");

    let install = |version: &str, rules: Value| {
        edit(manifest, |manifest| {
            manifest["version"] = version.into();
            manifest["permissions"] = json!({ "network": rules });
        });
        author.sophon(["build", "weather"]);
        let package = format!("weather/weather-{version}.sophon-skill");
        let setting = format!("base_url={}", upstream.url(""));
        let host = upstream.host();
        author.sophon(["install", &package, "--allow-host", &host, "--set", &setting, "--accept-changes"]);
    };
    let call = ["call", "weather.weather", r#"{"city":"Oslo"}"#];
    let host = |methods: Value| json!({"host": "localhost", "methods": methods, "credential": "weather"});
    install("0.2.0", json!([host(json!(["GET", "POST"]))]));
    let (said, hints) = author.fails(3, call);
    assert!(said.contains("weather is not connected"), "{said}");
    let connect = hints.iter().find_map(|hint| hint.strip_prefix("sophon ")).unwrap_or_else(|| panic!("{hints:?}"));
    let words: Vec<&str> = connect.split_whitespace().collect();
    Cli::new(&author.home, words).stdin("tok_abcdefgh12345678").expect(0);
    let called = author.sophon(call);
    assert!(called.stdout.contains("cold"), "{}", called.stdout);

    let narrow = json!([host(json!(["GET"]))]);
    install("0.3.0", narrow.clone());
    let (said, hints) = author.fails(3, call);
    assert!(said.contains("is not in permissions.network"), "{said}");
    let mut mended = json!({"permissions": {"network": narrow}});
    paste(&mut mended, &hints[0]);
    install("0.4.0", mended["permissions"]["network"].clone());
    let called = author.sophon(call);
    assert!(called.stdout.contains("cold"), "{}", called.stdout);
}
