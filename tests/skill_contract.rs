//! What a skill of the public contract gets of a connection, and what becomes of what it prints: over a real gateway, under real
//! gVisor. Needs an engine, as the tests of `public_skills` do.

use crate::harness::Cli;
use crate::public_skills::{SECRET, Stage, answer, hidden};
use serde_json::{Value, json};

/// A skill of a catalogue whose tools take the zone of the connection where a call names none.
fn zones() -> Value {
    let tool = |name: &str, risk: &str| {
        json!({
            "name": name, "description": "Purges a zone.", "riskLevel": risk,
            "parameters": {"type": "object", "properties": {"zone": {"type": ["string", "null"]}, "base_url": {"type": "string"}}},
        })
    };
    json!({
        "name": "zones", "version": "1.0.0", "author": "A", "license": "MIT", "description": "Zones.",
        "category": "integration", "runtime": "sandbox", "language": "python", "entrypoint": "main.py",
        "integration": {"service": "zones", "displayName": "Zones", "authType": "custom", "fields": [
            {"key": "base_url", "label": "Address", "type": "url", "required": true},
            {"key": "token", "label": "Token", "type": "secret", "required": true},
            {"key": "zone", "label": "Zone", "type": "text"},
        ]},
        "credentials": [{"service": "zones", "scopes": [], "required": true, "access": "proxy"}],
        "tools": [tool("purge", "low"), tool("destroy", "high")],
        "sandbox": {"network": true, "timeoutSeconds": 30},
    })
}

const PURGE: &str = r#"
import json, urllib.request
url = params["base_url"] + "/zones/" + params["zone"]
made = urllib.request.Request(url, headers={"Authorization": "Bearer " + params["token"]})
with urllib.request.urlopen(made, timeout=20) as answer:
    answer.read()
print(json.dumps({"fields": sorted(params), "zone": params["zone"]}))
"#;

impl Stage {
    /// Installs a skill of one file.
    fn install_source(&self, manifest: &Value, source: &str) {
        let folder = self.home.beside(manifest["name"].as_str().expect("a name"));
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("manifest.json"), manifest.to_string()).expect("a file");
        std::fs::write(folder.join("main.py"), source).expect("a file");
        self.install_folder(&folder);
    }

    fn connect_zones(&self, zone: &str) {
        // The last field is of another skill that shares the connection.
        let fields = json!({"token": SECRET, "zone": zone, "userId": "somebody"});
        self.connect("zones", fields, &["zone", "userId"], json!({}));
    }

    fn targets(&self) -> Vec<String> {
        self.seen().iter().map(|seen| seen.target.clone()).collect()
    }
}

#[test]
fn an_argument_goes_before_a_connections_default_and_no_other_field_is_for_a_call() {
    let Some(stage) = Stage::new(|_| answer(json!({}))) else { return };
    stage.install_source(&zones(), PURGE);
    stage.connect_zones("everything");
    let value = |arguments| stage.gateway.value(&stage.agent, "zones.purge", arguments);
    assert_eq!(value(json!({"zone": "small"}))["zone"], "small");
    assert_eq!(value(json!({}))["zone"], "everything");
    let last = value(json!({"zone": null}));
    assert_eq!(last["zone"], "everything");
    assert_eq!(last["fields"], json!(["base_url", "token", "tool", "zone"]), "what its manifest declares, and no more");
    assert_eq!(stage.targets(), ["/zones/small", "/zones/everything", "/zones/everything"]);
    // Where requests go, and what authorises them, is no call's to say.
    for name in ["base_url", "token"] {
        let refused = stage.gateway.call(&stage.agent, "zones.purge", json!({name: "https://evil.example"}));
        let problem = refused.problem(422, "argument_is_connected");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(name)), "{problem}");
    }
    // A name that only another skill declares is nothing here.
    assert_eq!(value(json!({"userId": "me"}))["fields"], json!(["base_url", "token", "tool", "userId", "zone"]));
    let intents = stage.gateway.audit("action=call.intent");
    let defaults: Vec<&Value> = intents.iter().map(|intent| &intent["detail"]["connection_defaults"]).collect();
    assert!(defaults[0].is_null() && *defaults[1] == json!(["zone (zones)"]), "{intents:?}");
    hidden(&stage, &last.to_string());
}

#[test]
fn attack_41_a_default_of_a_connection_is_on_the_card_and_may_not_change_before_the_call_runs() {
    let Some(stage) = Stage::new(|_| answer(json!({}))) else { return };
    stage.install_source(&zones(), PURGE);
    stage.connect_zones("first");
    let ann = stage.gateway.key("approver", "ann");
    let asks = |arguments| {
        let asked = stage.gateway.call(&stage.agent, "zones.destroy", arguments).expect(202);
        let id = asked["approval_id"].as_str().expect("an id").to_owned();
        let path = format!("/v1/approvals/{id}");
        (stage.gateway.request(&ann, "GET", &path, None).expect(200), asked, path)
    };
    let approve = |path: &str| stage.gateway.request(&ann, "POST", &format!("{path}/approve"), Some(&json!({})));
    let ended = |asked: &Value| {
        let path = format!("/v1/calls/{}?wait=30", asked["call_id"].as_str().expect("an id"));
        stage.gateway.request(&stage.agent, "GET", &path, None).expect(200)["status"].clone()
    };
    let (card, asked, path) = asks(json!({}));
    assert_eq!(card["connection_defaults"], json!(["zone (zones)"]), "{card}");
    approve(&path).expect(200);
    assert_eq!(ended(&asked), "succeeded");
    // What was shown is what runs: an argument stays, and a default that is another one by now does not run.
    let (card, given, path) = asks(json!({"zone": "given"}));
    assert!(card["connection_defaults"].is_null(), "{card}");
    let (_, taken, second) = asks(json!({}));
    stage.connect_zones("second");
    approve(&path).expect(200);
    assert_eq!(ended(&given), "succeeded");
    approve(&second);
    assert_eq!(ended(&taken), "cancelled");
    // Nor does one whose default is gone: it would be another call.
    let (_, taken, third) = asks(json!({}));
    stage.connect("zones", json!({"token": SECRET, "userId": "somebody"}), &["userId"], json!({}));
    approve(&third);
    assert_eq!(ended(&taken), "cancelled");
    // A yes to a plan is bound to them as well.
    stage.connect_zones("third");
    let steps = json!({"steps": [{"name": "one", "tool": "zones.destroy", "arguments": {}}]});
    let plan = stage.gateway.request(&stage.agent, "POST", "/v1/plans", Some(&steps)).expect(202);
    let path = format!("/v1/approvals/{}", plan["approval_id"].as_str().expect("an id"));
    let card = stage.gateway.request(&ann, "GET", &path, None).expect(200);
    assert_eq!(card["connection_defaults"], json!(["zone (zones)"]), "{card}");
    stage.connect_zones("fourth");
    approve(&path).expect(200);
    let path = format!("/v1/plans/{}?wait=30", plan["plan_id"].as_str().expect("an id"));
    assert_eq!(stage.gateway.request(&stage.agent, "GET", &path, None).expect(200)["status"], "failed");
    assert_eq!(stage.targets(), ["/zones/first", "/zones/given"]);
}

/// A skill as many of a catalogue: it looks for an object where the refusal has a text, and falls over it.
const FALLS_OVER: &str = r#"
import json, urllib.error, urllib.request
try:
    urllib.request.urlopen("https://elsewhere.example/v1/x", timeout=20)
except urllib.error.HTTPError as error:
    told = json.loads(error.read())["error"]
    try:
        print(json.dumps({"error": told.get("summary")}))
    except AttributeError as what:
        print(json.dumps({"error": "Unexpected error: " + type(what).__name__}))
"#;

#[test]
fn whatever_a_skill_prints_its_failure_names_the_grant_that_is_missing() {
    let Some(stage) = Stage::new(|_| answer(json!({}))) else { return };
    stage.install_source(&zones(), FALLS_OVER);
    stage.connect_zones("first");
    let error = stage.gateway.failure(&stage.agent, "zones.purge", json!({}));
    assert_eq!(error["code"], "tool_failed");
    let (message, hint) = (error["message"].as_str().expect("a message"), error["hint"].as_str().expect("a hint"));
    assert!(message.contains("AttributeError") && message.contains("host_not_allowed"), "{error}");
    // The hint has the skill's words in it, so it stands inside the markers.
    assert!(hint.contains("host_not_allowed") && hint.contains("--allow-host elsewhere.example"), "{error}");
    assert!(hint.find("<external_content") < hint.find("--allow-host"), "{error}");
}

#[test]
fn a_field_that_a_skill_calls_no_secret_is_one_until_a_person_says_so() {
    let Some(stage) = Stage::new(|_| answer(json!({}))) else { return };
    stage.install_source(&zones(), PURGE);
    let fields = json!({"base_url": stage.upstream.url(""), "token": SECRET, "zone": "nobody-elses-zone"});
    let words = ["credential", "set", "zones", "--user", "ann"];
    let set = Cli::new(&stage.home, words).stdin(&fields.to_string()).expect(0);
    for shown in ["--plain base_url (Address)", "--plain zone (Zone)"] {
        assert!(set.stderr.contains(shown), "{}", set.stderr);
    }
    assert!(!set.stderr.contains("Token") && !set.stderr.contains(SECRET), "{}", set.stderr);
    let set = Cli::new(&stage.home, words.into_iter().chain(["--json"])).stdin(&fields.to_string()).expect(0);
    assert_eq!(set.json()["proposed_plain"], json!(["base_url", "zone"]));
    let error = stage.gateway.failure(&stage.agent, "zones.purge", json!({}));
    assert!(!error.to_string().contains("nobody-elses-zone"), "{error}");
    let plain = words.into_iter().chain(["--plain", "base_url", "--plain", "zone"]);
    let set = Cli::new(&stage.home, plain).stdin(&fields.to_string()).expect(0);
    assert!(!set.stderr.contains("--plain"), "{}", set.stderr);
    let found = stage.gateway.value(&stage.agent, "zones.purge", json!({}));
    assert_eq!(found["zone"], "nobody-elses-zone");
    assert_eq!(stage.seen()[0].header("authorization"), Some(format!("Bearer {SECRET}").as_str()));
    hidden(&stage, &found.to_string());
}

/// A skill that posts to a webhook, as one of a catalogue does.
const POSTS: &str = r#"
import json, urllib.error, urllib.request
hook = params["hook"]
if not hook.startswith("https://"):
    raise SystemExit("no URL")
made = urllib.request.Request(hook + "?wait=true", data=json.dumps({"content": params["text"]}).encode(),
                              headers={"Content-Type": "application/json"}, method="POST")
with urllib.request.urlopen(made, timeout=20) as answer:
    print(json.dumps({"told": hook, "answer": answer.read().decode()}))
"#;

#[test]
fn a_webhook_is_a_url_to_the_skill_and_its_secret_is_none() {
    let Some(stage) = Stage::new(|seen| answer(json!({"asked": seen.target}))) else { return };
    let mut manifest = zones();
    manifest["name"] = "chat".into();
    manifest["integration"] = json!({"service": "chat", "fields": [
        {"key": "base_url", "label": "Address", "type": "url"}, {"key": "hook", "label": "Webhook", "type": "url"},
    ]});
    manifest["credentials"] = json!([{"service": "chat", "scopes": [], "required": true, "access": "proxy"}]);
    manifest["tools"] = json!([{
        "name": "post", "description": "Posts.", "riskLevel": "medium",
        "parameters": {"type": "object", "properties": {"text": {"type": "string"}}},
    }]);
    stage.install_source(&manifest, POSTS);
    let hook = stage.upstream.url(&format!("/api/webhooks/123456789/{SECRET}"));
    let words = ["credential", "set", "chat", "--field", "hook", "--place", "hook=url", "--user", "ann"];
    Cli::new(&stage.home, words).stdin(&hook).expect(0);
    let told = stage.gateway.value(&stage.agent, "chat.post", json!({"text": "hello"}));
    assert_eq!(stage.targets(), [format!("/api/webhooks/123456789/{SECRET}?wait=true")]);
    assert!(told["told"].as_str().is_some_and(|told| told.contains("/sophon-ph-")), "{told}");
    hidden(&stage, &told.to_string());
}
