//! Sandboxes of native skills as an operator meets them: found again after a crash, gone after a stop, told of by doctor; and
//! components that an operator wants in sandboxes too.
//!
//! Needs an engine (`SOPHON_TEST_ENGINE`, which `scripts/test` starts); without one these are left out, by name.

use crate::harness::{Behaviour, Cli, Gateway, Guest, Home, Key, Signed, command};
use crate::public_skills::engine;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const SOURCE: &str =
    "import json, time\ntime.sleep(params.get('seconds', 0))\nprint(json.dumps({'said': params['text']}))\n";

fn package() -> Signed {
    let manifest = json!({
        "name": "sayer", "version": "1.0.0", "author": "A", "license": "Apache-2.0", "description": "Says it.",
        "category": "utility", "runtime": "python", "entrypoint": "main.py",
        "tools": [{"name": "say", "description": "Say it.", "riskLevel": "none",
                   "parameters": {"type": "object", "properties": {"text": {"type": "string"}, "seconds": {"type": "number"}}}}],
    });
    let files = [
        ("manifest.json", manifest.to_string()),
        ("main.py", SOURCE.to_owned()),
        ("README.md", "Says it.".to_owned()),
        ("LICENSE", "Apache-2.0".to_owned()),
    ];
    let files = files.into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes())).collect();
    Signed { package: sophon_skill::pack(&files).expect("an archive"), envelope: None }
}

/// A gateway with the skill, on `engine`.
fn stage(engine: &str, more: &str) -> (Home, Gateway, Key) {
    let home = Home::configured(&format!("[containers]\nengine = {engine:?}\nwarm = 1\n{more}"));
    let gateway = Gateway::start(&home);
    gateway.install(&package(), json!({"dangerously_allow_unsigned": true})).expect(201);
    let agent = gateway.agent();
    (home, gateway, agent)
}

/// The engine's containers whose name has this process's number in it.
fn sandboxes(engine: &str, pid: u32) -> usize {
    let socket = engine.trim_start_matches("unix://");
    let mut curl = command("curl");
    curl.args(["--silent", "--fail", "--unix-socket", socket, "http://engine/containers/json?all=1"]);
    let output = curl.output().expect("curl runs");
    let found: Value = serde_json::from_slice(&output.stdout).expect("a list");
    let name = format!("/sophon-{pid}-");
    let names = found.as_array().expect("a list").iter().map(|one| one["Names"][0].as_str().unwrap_or_default());
    names.filter(|found| found.starts_with(&name)).count()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn attack_47_sandboxes_of_a_killed_host_are_gone_after_the_next_start() {
    let Some(engine) = engine() else { return };
    let (home, mut gateway, agent) = stage(&engine, "");
    let content = gateway.content(&agent, "sayer.say", json!({"text": "hello"}));
    assert!(content.contains("hello"), "{content}");
    let (pid, admin) = (gateway.pid(), gateway.admin_key().clone());
    let body = json!({"arguments": {"text": "late", "seconds": 20}, "wait_seconds": 0});
    gateway.call_with(&agent, "sayer.say", body);
    wait_until("a call and a sandbox that waits", || sandboxes(&engine, pid) >= 2);
    gateway.kill();
    assert!(sandboxes(&engine, pid) >= 2, "nobody removed them");
    let mut gateway = Gateway::again(&home, &admin);
    wait_until("what was left behind is removed", || sandboxes(&engine, pid) == 0);
    gateway.content(&agent, "sayer.say", json!({"text": "again"}));
    let pid = gateway.pid();
    wait_until("a sandbox waits", || sandboxes(&engine, pid) >= 1);
    assert!(gateway.stop().success());
    assert_eq!(sandboxes(&engine, pid), 0, "a stop removes its own");
}

#[test]
fn doctor_says_what_native_skills_run_in_and_what_is_missing() {
    let Some(engine) = engine() else { return };
    let home = Home::configured(&format!("[containers]\nengine = {engine:?}\n"));
    let found = Cli::new(&home, ["doctor", "--json"]).run().json();
    let check = |found: &Value, name: &str| {
        let checks = found["checks"].as_array().expect("checks").clone();
        checks.into_iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("{name}: {found}"))
    };
    let containers = check(&found, "native skills");
    assert_eq!(containers["status"], "ok", "{containers}");
    for part in ["gVisor", "runsc", "cgroups"] {
        assert!(containers["message"].as_str().expect("a message").contains(part), "{containers}");
    }
    assert!(check(&found, "landlock")["message"].as_str().expect("a message").contains("andlock"), "{found}");
    let nowhere = Home::configured("[containers]\nengine = \"unix:///nowhere/docker.sock\"\n");
    let found = Cli::new(&nowhere, ["doctor", "--json"]).run().json();
    let containers = check(&found, "native skills");
    assert_eq!(containers["status"], "failed", "{containers}");
    assert!(containers["hint"].as_str().expect("a hint").contains("scripts/setup --containers"), "{containers}");
}

#[test]
fn an_operator_has_components_run_in_sandboxes_with_the_same_result() {
    let Some(engine) = engine() else { return };
    let guest = || Guest::new("kept-in", Behaviour::Return(b"{\"a\": [1, 2.5, \"x\"]}".to_vec()));
    let run = |more: &str| {
        let (_home, gateway, agent) = stage(&engine, more);
        gateway.install(&Signed::unsigned(&guest()), json!({"dangerously_allow_unsigned": true})).expect(201);
        let value = gateway.value(&agent, "kept-in.run", json!({}));
        (value, sandboxes(&engine, gateway.pid()))
    };
    let here = run("");
    let boxed = run("[sandbox]\ncomponents_in_sandboxes = \"all\"\n");
    assert_eq!(boxed.0, here.0);
    assert_eq!(here.0, json!({"a": [1, 2.5, "x"]}));
    assert!(boxed.1 > 0, "a sandbox for it");
}
