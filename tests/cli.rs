//! The command line, as scripts rely on it: exit codes, JSON, hints that work, and no secret in an argument.

use crate::harness::{Behaviour, Cli, Gateway, Guest, Home, Publisher, demo_publisher, example};
use serde_json::{Value, json};
use sophon_skill::Package;
use std::path::Path;

#[test]
fn exit_codes_tell_what_kind_of_failure_it_was() {
    let home = Home::new();
    let publisher = Publisher::new("Good Co", 1);
    let fine = publisher.sign(&Guest::new("fine", Behaviour::Return(b"1".to_vec())));
    let path = fine.write(&home.beside(""), "fine-1.0.0");
    let file = path.to_str().expect("a path");
    let risky = publisher.sign(&Guest::new("risky", Behaviour::Return(b"1".to_vec())).risk("high"));
    let risky = risky.write(&home.beside(""), "risky-1.0.0");
    let broken = publisher.sign(&Guest::new("broken", Behaviour::Trap)).write(&home.beside(""), "broken-1.0.0");

    Cli::new(&home, ["install"]).expect(2);
    Cli::new(&home, ["no-such-verb"]).expect(2);
    Cli::new(&home, ["install", "/does/not/exist.sophon-skill"]).expect(1);
    let untrusted = Cli::new(&home, ["install", file]).expect(5);
    assert!(untrusted.stderr.contains("hint:"), "{}", untrusted.stderr);
    Cli::new(&home, ["key", "trust", &publisher.public_key(), "--name", "Good Co"]).expect(0);
    Cli::new(&home, ["install", file]).expect(0);
    Cli::new(&home, ["install", risky.to_str().expect("a path")]).expect(0);
    Cli::new(&home, ["install", broken.to_str().expect("a path")]).expect(0);
    Cli::new(&home, ["call", "fine.run", "{}"]).expect(0);
    let approval = Cli::new(&home, ["call", "risky.run", "{}"]).expect(4);
    assert!(approval.stderr.contains("hint:"), "{}", approval.stderr);
    Cli::new(&home, ["call", "broken.run", "{}"]).expect(1);
    Cli::new(&home, ["call", "fine.run", "{not json"]).expect(2);
    Cli::new(&home, ["call", "no.such_tool", "{}"]).expect(1);
    let undeclared = publisher.sign(&Guest::new("greedy", Behaviour::Import("evil:host/door")));
    let path = undeclared.write(&home.beside(""), "greedy-1.0.0");
    Cli::new(&home, ["install", path.to_str().expect("a path")]).expect(3);
}

#[test]
fn json_is_one_value_on_stdout_and_errors_are_json_on_stderr() {
    let home = Home::new();
    for words in
        [&["list", "--json"][..], &["key", "list", "--json"], &["config", "show", "--json"], &["doctor", "--json"]]
    {
        let finished = Cli::new(&home, words).expect(0);
        assert!(finished.json().is_object() || finished.json().is_array(), "{words:?}");
    }
    for words in
        [&["call", "no.such_tool", "{}", "--json"][..], &["install", "/nowhere", "--json"], &["--json", "wrong"]]
    {
        let finished = Cli::new(&home, words).run();
        assert_ne!(finished.code, 0, "{words:?}");
        assert_eq!(finished.stdout, "", "{words:?}");
        let line = finished.stderr.lines().last().unwrap_or_default();
        let error: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{words:?}: {}", finished.stderr));
        let text = error.to_string();
        assert!(text.contains("\"code\"") && text.contains("\"hint\""), "{words:?}: {error}");
    }
}

#[test]
fn the_scripting_contract_works_from_an_empty_home() {
    let home = Home::new();
    let made = Cli::new(&home, ["key", "create", "--role", "agent", "--user", "ann", "--json"]).expect(0).json();
    let key = made["key"].as_str().expect("a key");
    assert!(key.starts_with("sk_"), "{made}");
    let gateway = Gateway::start(&home);
    let bearer = format!("Bearer {key}");
    gateway.client.send("GET", "/v1/tools", &[("Authorization", &bearer)], None).expect(200);
    // The same verbs speak to the running gateway.
    let publisher = Publisher::new("Good Co", 1);
    Cli::new(&home, ["key", "trust", &publisher.public_key(), "--name", "Good Co", "--json"]).expect(0);
    let package = publisher.sign(&Guest::new("fine", Behaviour::Return(b"[1,2]".to_vec())));
    let path = package.write(&home.beside(""), "fine-1.0.0");
    Cli::new(&home, ["install", path.to_str().expect("a path"), "--json"]).expect(0);
    let called = Cli::new(&home, ["call", "fine.run", "{}", "--json"]).expect(0).json();
    assert_eq!(called["status"], "succeeded", "{called}");
    assert_eq!(called["result"], json!([1, 2]), "the operator gets data too");
    let listed = Cli::new(&home, ["list", "--json"]).expect(0).json();
    assert!(listed.to_string().contains("\"fine\""), "{listed}");
    Cli::new(&home, ["disable", "fine"]).expect(0);
    Cli::new(&home, ["enable", "fine"]).expect(0);
    Cli::new(&home, ["remove", "fine"]).expect(0);
}

#[test]
fn a_secret_enters_by_stdin_and_never_by_an_argument() {
    let home = Home::new();
    let secret = "tok_from_a_pipe_98237498237";
    let set = Cli::new(&home, ["credential", "set", "svc", "--field", "token", "--user", "ann", "--json"])
        .stdin(secret)
        .expect(0);
    assert!(!set.stdout.contains(secret) && !set.stderr.contains(secret));
    let listed = Cli::new(&home, ["credential", "list", "--user", "ann", "--json"]).expect(0);
    assert!(listed.stdout.contains("svc") && !listed.stdout.contains(secret), "{}", listed.stdout);
    Cli::new(&home, ["credential", "set", "svc", "--value", secret]).expect(2);
    Cli::new(&home, ["credential", "set", "svc", secret]).expect(2);
    assert!(home.files_with(secret.as_bytes()).is_empty());
    Cli::new(&home, ["credential", "remove", "svc", "--user", "ann"]).expect(0);
}

#[test]
fn a_wrong_configuration_is_told_with_its_line() {
    let home = Home::new();
    home.configure("[gateway]\nlisten_on = \"127.0.0.1:0\"\n");
    let finished = Cli::new(&home, ["serve"]).run();
    assert_eq!(finished.code, 1, "{finished:?}");
    assert!(finished.stderr.contains("sophon.toml:2") && finished.stderr.contains("listen_on"), "{}", finished.stderr);
    home.configure("");
    let finished = Cli::new(&home, ["config", "show"]).env("SOPHON__GATEWAY__COLOUR", "blue").run();
    assert_eq!(finished.code, 1);
    assert!(finished.stderr.contains("SOPHON__GATEWAY__COLOUR"), "{}", finished.stderr);
    let shown = Cli::new(&home, ["config", "show"]).env("SOPHON__GATEWAY__DRAIN_SECONDS", "3").expect(0);
    assert!(shown.stdout.contains("drain_seconds = 3"), "{}", shown.stdout);
}

#[test]
fn attack_38_a_home_with_the_wrong_vault_key_fails_closed() {
    let home = Home::new();
    Cli::new(&home, ["credential", "set", "svc", "--field", "token"]).stdin("tok_abcdefgh12345678").expect(0);
    let key = home.path().join("keys/kek");
    let right = std::fs::read(&key).expect("the key");
    std::fs::write(&key, "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=\n").expect("the key");
    let finished = Cli::new(&home, ["credential", "list", "--json"]).run();
    assert_ne!(finished.code, 0, "{finished:?}");
    assert!(finished.stderr.contains("hint"), "{}", finished.stderr);
    std::fs::write(&key, right).expect("the key");
    Cli::new(&home, ["credential", "list", "--json"]).expect(0);
}

#[test]
fn what_only_the_owner_may_read_only_the_owner_can_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    Cli::new(&home, ["key", "identity", "ann", "--json"]).expect(0);
    let mode = |path: &str| std::fs::metadata(home.path().join(path)).expect(path).permissions().mode() & 0o777;
    assert_eq!(mode(""), 0o700);
    for file in ["keys/kek", "keys/audit-signing", "keys/audit-hash", "identities/ann.key"] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
}

#[test]
fn doctor_says_what_is_wrong_and_how_to_mend_it() {
    let home = Home::new();
    Cli::new(&home, ["key", "list"]).expect(0);
    let healthy = Cli::new(&home, ["doctor", "--json"]).expect(0).json();
    assert_eq!(healthy["healthy"], true, "{healthy}");
    home.configure("[gateway]\nlisten = \"nowhere\"\n");
    let ill = Cli::new(&home, ["doctor", "--json"]).run();
    assert_eq!(ill.code, 1, "{ill:?}");
    let checks = ill.json()["checks"].clone();
    let failed: Vec<&Value> =
        checks.as_array().expect("checks").iter().filter(|check| check["status"] == "failed").collect();
    assert!(!failed.is_empty() && failed.iter().all(|check| check["hint"].is_string()), "{checks}");
}

/// Where guests are built: one folder for all tests, so that what they share is compiled once.
fn guests() -> String {
    crate::harness::target().join("guests").to_str().expect("a path").to_owned()
}

/// Runs `sophon build` and gives the package's path.
#[track_caller]
fn build(home: &Home, project: &Path, more: &[&str]) -> String {
    let (project, guests) = (project.to_str().expect("a path"), guests());
    let words = ["build", project, "--target-dir", &guests, "--json"];
    let built = Cli::new(home, words.into_iter().chain(more.iter().copied())).expect(0).json();
    built["package"].as_str().unwrap_or_else(|| panic!("no package in {built}")).to_owned()
}

#[test]
fn an_author_goes_from_nothing_to_an_installed_skill() {
    let home = Home::new();
    let work = home.beside("work");
    std::fs::create_dir(&work).expect("a folder");
    Cli::new(&home, ["key", "identity", "ann"]).expect(0);
    let sdk = crate::harness::root().join("skills-sdk");
    Cli::new(&home, ["new", "first-skill", "--sdk", sdk.to_str().expect("a path")]).folder(&work).expect(0);
    let project = work.join("first-skill");
    let out = work.to_str().expect("a path");
    let package = build(&home, &project, &["--out", out, "--unsigned"]);
    Cli::new(&home, ["check", &package]).expect(0);
    Cli::new(&home, ["verify", &package]).expect(5);
    Cli::new(&home, ["sign", &package, "--identity", "ann"]).expect(0);
    Cli::new(&home, ["verify", &package]).expect(0);
    let cases = project.join("tests");
    Cli::new(&home, ["test", &package, "--cases", cases.to_str().expect("a path")]).expect(0);
    let inspected = Cli::new(&home, ["inspect", &package, "--json"]).expect(0);
    assert!(inspected.stdout.contains("first-skill"), "{}", inspected.stdout);
    let installed = Cli::new(&home, ["install", &package, "--json"]).expect(0).json();
    assert_eq!(installed["trust"], "local-dev", "{installed}");
    let tools = Cli::new(&home, ["tools", "--json"]).expect(0).json();
    assert!(tools.to_string().contains("first-skill."), "{tools}");
}

#[test]
fn a_component_built_for_wasip2_is_a_skill_too() {
    let home = Home::new();
    let source = crate::harness::root().join("examples/text-tools");
    let out = home.beside("out");
    std::fs::create_dir(&out).expect("a folder");
    let out = out.to_str().expect("a path").to_owned();
    // A version does not come back, so each package gets a home of its own.
    let check = |package: &str| {
        let home = Home::new();
        Cli::new(&home, ["install", package, "--dangerously-allow-unsigned"]).expect(0);
        let echoed = Cli::new(&home, ["call", "text-tools.echo", "{\"text\":\"by way of WASI\"}", "--json"]).expect(0);
        assert!(echoed.stdout.contains("by way of WASI"), "{}", echoed.stdout);
    };
    // Through `sophon build`, and as cargo leaves it.
    check(&build(&home, &source, &["--target", "wasm32-wasip2", "--out", &out]));
    let mut cargo = crate::harness::command(env!("CARGO"));
    cargo.args(["build", "--release", "--locked", "--target", "wasm32-wasip2", "--target-dir", &guests()]);
    let built = cargo.current_dir(&source).output().expect("cargo starts");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let component = crate::harness::target().join("guests/wasm32-wasip2/release/text_tools.wasm");
    check(&build(&home, &source, &["--component", component.to_str().expect("a path"), "--out", &out]));
}

#[test]
fn a_component_built_by_cargo_component_is_a_skill_too() {
    let there = crate::harness::command("cargo").args(["component", "--version"]).output();
    if !there.is_ok_and(|output| output.status.success()) {
        eprintln!(
            "left out: a build with cargo-component, which is not installed here (cargo install cargo-component)"
        );
        return;
    }
    let home = Home::new();
    let source = crate::harness::root().join("examples/text-tools");
    let mut cargo = crate::harness::command("cargo");
    cargo.args(["component", "build", "--release", "--target", "wasm32-unknown-unknown", "--target-dir", &guests()]);
    let built = cargo.current_dir(&source).output().expect("cargo starts");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let component = crate::harness::target().join("guests/wasm32-unknown-unknown/release/text_tools.wasm");
    let out = home.beside("out");
    std::fs::create_dir(&out).expect("a folder");
    let out = out.to_str().expect("a path").to_owned();
    let package = build(&home, &source, &["--component", component.to_str().expect("a path"), "--out", &out]);
    Cli::new(&home, ["install", &package, "--dangerously-allow-unsigned"]).expect(0);
    Cli::new(&home, ["call", "text-tools.echo", "{\"text\":\"hello\"}"]).expect(0);
}

/// What an author reads, what a program reads and what a code host shows are one report.
#[test]
fn check_says_the_same_in_every_form() {
    let home = Home::new();
    let greedy = Publisher::new("Good Co", 1).sign(&Guest::new("greedy", Behaviour::Import("evil:host/door")));
    let package = Package::read(greedy.package.clone()).expect("the package can be read");
    let path = greedy.write(&home.beside(""), "greedy-1.0.0");
    let file = path.to_str().expect("a path");
    let report = json!(package.analyse());
    let findings = report["findings"].as_array().expect("findings");
    assert!(findings.iter().any(|finding| finding["rule"] == "SA003"), "{report}");

    let shown = Cli::new(&home, ["check", file]).expect(1);
    let checked = Cli::new(&home, ["check", file, "--json"]).expect(1).json();
    let sarif = Cli::new(&home, ["check", file, "--sarif"]).expect(1).json();
    assert_eq!(checked["report"], report);
    assert_eq!(sarif["version"], "2.1.0", "{sarif}");
    let results = sarif["runs"][0]["results"].as_array().expect("results");
    assert_eq!(results.len(), findings.len());
    for (finding, result) in findings.iter().zip(results) {
        let word = |key: &str| finding[key].as_str().expect("a text");
        let text = result["message"]["text"].as_str().expect("a text");
        assert_eq!(result["ruleId"], finding["rule"]);
        for key in ["severity", "rule", "place", "message", "advice"] {
            assert!(shown.stdout.contains(word(key)), "{key}: {}", shown.stdout);
        }
        assert!(text.contains(word("message")) && text.contains(word("advice")), "{text}");
    }
    // As an update: what it asks for beyond the version before.
    let publisher = Publisher::new("Good Co", 1);
    let quiet = publisher.sign(&Guest::new("grower", Behaviour::Return(b"true".to_vec())));
    let wider = Guest::new("grower", Behaviour::Return(b"true".to_vec())).version("1.1.0");
    let wider = publisher.sign(&wider.manifest(json!({"permissions": {"maxMemoryMb": 128}})));
    let before = quiet.write(&home.beside(""), "grower-1.0.0");
    let after = wider.write(&home.beside(""), "grower-1.1.0");
    let (before, after) = (before.to_str().expect("a path"), after.to_str().expect("a path"));
    let compared = Cli::new(&home, ["check", after, "--since", before]).expect(0);
    assert!(compared.stdout.contains("SA022") && compared.stdout.contains("128 MiB"), "{}", compared.stdout);
    assert!(!Cli::new(&home, ["check", after]).expect(0).stdout.contains("SA022"));
    // The host refuses it with the same words.
    let refused = Cli::new(&home, ["install", file, "--dangerously-allow-unsigned"]).run();
    assert!(refused.stderr.contains("SA003") || refused.stderr.contains("does not offer"), "{}", refused.stderr);
}

#[test]
fn the_examples_are_signed_by_the_demo_publisher() {
    let home = Home::new();
    let demo = demo_publisher();
    for name in ["github-issues", "text-tools", "notebook"] {
        let (path, package) = example(name);
        assert!(package.envelope.is_some(), "{name} has no signature");
        Cli::new(&home, ["verify", path.to_str().expect("a path"), "--key", &demo]).expect(0);
    }
}

#[test]
fn the_manual_knows_every_key_of_the_configuration_and_every_verb() {
    let home = Home::new();
    let manual = |page: &str| {
        let path = crate::harness::root().join("docs/manual").join(page);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let page = manual("configuration.md");
    let shown = Cli::new(&home, ["config", "show"]).expect(0).stdout;
    let shown: toml::Table = shown.parse().expect("TOML");
    for (section, keys) in &shown {
        for key in keys.as_table().expect("a section").keys() {
            let named = page.contains(&format!("`{key}`")) || page.contains(&format!("`{section}.{key}`"));
            assert!(named, "configuration.md does not name {section}.{key}");
        }
    }
    let page = manual("cli.md");
    let help = Cli::new(&home, ["help"]).expect(0).stdout;
    let verbs =
        help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1).take_while(|line| !line.is_empty());
    let verbs: Vec<&str> =
        verbs.filter(|line| !line.starts_with("    ")).filter_map(|line| line.split_whitespace().next()).collect();
    assert!(verbs.len() > 10, "{help}");
    for verb in verbs.into_iter().filter(|verb| *verb != "help") {
        assert!(page.contains(&format!("`{verb}")), "cli.md does not name {verb}");
    }
}

#[test]
fn the_vaults_key_may_come_from_the_environment_or_a_passphrase() {
    let keys = ["11".repeat(32), "22".repeat(32)];
    let cases = [
        ("env", "SOPHON_VAULT_KEY", "SOPHON_VAULT_NEW_KEY", keys[0].as_str(), keys[1].as_str()),
        (
            "passphrase",
            "SOPHON_VAULT_PASSPHRASE",
            "SOPHON_VAULT_NEW_PASSPHRASE",
            "correct horse battery staple",
            "a passphrase that is another",
        ),
    ];
    for (source, variable, next, first, second) in cases {
        let home = Home::new();
        let sophon = |words: &[&str]| Cli::new(&home, words).env("SOPHON__VAULT__KEY", source);
        let set = ["credential", "set", "svc", "--field", "token"];
        sophon(&set).env(variable, first).stdin("tok_abcdefgh12345678").expect(0);
        let list = ["credential", "list", "--json"];
        let found = |value: &str| sophon(&list).env(variable, value).run();
        assert_eq!(found(first).json()["connections"][0]["service"], "svc", "{source}");
        assert_eq!(found(second).code, 1, "{source}: another key opens the vault");
        let without = sophon(&list).run();
        assert_eq!(without.code, 1, "{source}: no key opens the vault");
        assert!(without.stderr.contains("hint:") || without.stderr.contains("\"hint\""), "{}", without.stderr);

        sophon(&["credential", "rotate"]).env(variable, first).env(next, second).expect(0);
        assert_eq!(found(first).code, 1, "{source}: the key from before opens the vault");
        assert_eq!(found(second).json()["connections"][0]["service"], "svc", "{source}");
        assert!(!home.path().join("keys/kek").exists(), "{source}: no key in a file");
    }
}
