//! Who may call, and what a key's role lets it do.

use crate::harness::{Behaviour, Cli, Gateway, Guest, Home, Key, Publisher};
use serde_json::json;

#[test]
fn without_a_good_key_nothing_is_answered() {
    let home = Home::new();
    let gateway = Gateway::start(&home);
    let send = |headers: &[(&str, &str)]| gateway.client.send("GET", "/v1/tools", headers, None);
    let missing = send(&[]);
    let problem = missing.problem(401, "key_missing");
    assert!(problem["hint"].as_str().is_some_and(|hint| hint.contains("sophon key create")), "{problem}");
    assert!(missing.header("www-authenticate").is_some());
    let wrong = format!("Bearer sk_{}", "A".repeat(43));
    send(&[("Authorization", &wrong)]).problem(401, "key_invalid");
    send(&[("Authorization", "Basic YWRtaW46YWRtaW4=")]).problem(401, "key_invalid");
    let good = gateway.agent();
    send(&[good.header(), good.header()]).problem(401, "key_invalid");
    send(&[good.header()]).expect(200);
    // Whose tenant it would have been is not known, so the operator sees it and no tenant's admin does.
    let refused = Cli::new(&home, ["audit", "query", "--action", "authn.refused", "--json"]).expect(0).json();
    assert!(refused["entries"].as_array().is_some_and(|entries| !entries.is_empty()), "{refused}");
}

#[test]
fn a_revoked_key_is_refused_at_once() {
    let home = Home::new();
    let gateway = Gateway::start(&home);
    let key = gateway.agent();
    gateway.request(&key, "GET", "/v1/tools", None).expect(200);
    assert_eq!(gateway.admin("DELETE", &format!("/v1/keys/{}", key.id), None).status, 204);
    gateway.request(&key, "GET", "/v1/tools", None).problem(401, "key_invalid");
    let outcomes: Vec<_> = gateway.audit("action=key.revoke").iter().map(|record| record["outcome"].clone()).collect();
    assert_eq!(outcomes, [json!("intent"), json!("ok")]);
}

#[test]
fn each_role_has_its_own_routes() {
    let home = Home::new();
    let gateway = Gateway::start(&home);
    let body = json!({});
    for (role, method, path) in [
        ("agent", "GET", "/v1/skills"),
        ("agent", "GET", "/v1/credentials"),
        ("agent", "GET", "/v1/audit"),
        ("agent", "POST", "/v1/keys"),
        ("agent", "POST", "/v1/publishers"),
        ("approver", "GET", "/v1/tools"),
        ("approver", "POST", "/v1/skills"),
        ("publisher", "GET", "/v1/tools"),
        ("publisher", "GET", "/v1/audit/export"),
    ] {
        let key = gateway.key(role, "ann");
        let with = (method != "GET").then_some(&body);
        let problem = gateway.request(&key, method, path, with).problem(403, "role_refused");
        assert!(
            problem["hint"].as_str().is_some_and(|hint| hint.contains("admin") || hint.contains("agent")),
            "{problem}"
        );
    }
}

#[test]
fn a_tenant_sees_nothing_of_another() {
    let home = Home::new();
    let gateway = Gateway::start(&home);
    let publisher = Publisher::new("Good Co", 1);
    gateway.trust(&publisher);
    gateway.installed(&publisher.sign(&Guest::new("ours", Behaviour::Return(b"1".to_vec()))), &[]);
    let agent = gateway.agent();
    let call = gateway.call(&agent, "ours.run", json!({})).expect(200)["call_id"].as_str().expect("an id").to_owned();

    let words = ["key", "create", "--role", "agent", "--user", "ann", "--tenant", "elsewhere", "--json"];
    let stranger = Key::of(&Cli::new(&home, words).expect(0).json());
    assert_eq!(gateway.request(&stranger, "GET", "/v1/tools", None).expect(200)["tools"], json!([]));
    gateway.call(&stranger, "ours.run", json!({})).problem(404, "unknown_tool");
    gateway.request(&stranger, "GET", &format!("/v1/calls/{call}"), None).problem(404, "unknown_call");
    // Nor another user of the same tenant.
    let bob = gateway.key("agent", "bob");
    gateway.request(&bob, "GET", &format!("/v1/calls/{call}"), None).problem(404, "unknown_call");
    gateway.request(&agent, "GET", &format!("/v1/calls/{call}"), None).expect(200);
    let words = ["key", "create", "--role", "admin", "--user", "eve", "--tenant", "elsewhere", "--json"];
    let eve = Key::of(&Cli::new(&home, words).expect(0).json());
    assert_eq!(gateway.request(&eve, "GET", "/v1/skills", None).expect(200)["skills"], json!([]));
    let records = gateway.request(&eve, "GET", "/v1/audit", None).expect(200).to_string();
    assert!(!records.contains("ours.run"), "{records}");
}

#[test]
fn a_key_rests_as_a_digest_only() {
    let home = Home::new();
    let mut gateway = Gateway::start(&home);
    let key = gateway.agent();
    gateway.request(&key, "GET", "/v1/tools", None).expect(200);
    let listed = gateway.admin("GET", "/v1/keys", None).expect(200);
    assert!(listed.to_string().contains(&key.id) && !listed.to_string().contains(&key.text));
    assert!(gateway.stop().success());
    assert!(home.files_with(key.text.as_bytes()).is_empty());
}

#[test]
fn names_and_origins_of_strangers_are_refused() {
    let home = Home::new();
    let gateway = Gateway::start(&home);
    let key = gateway.agent();
    let rebound = gateway.client.send("GET", "/v1/tools", &[key.header(), ("Host", "evil.example")], None);
    assert_eq!(rebound.status, 403, "{}", rebound.text());
    rebound.problem(403, "host_refused");
    let page = gateway.client.send("GET", "/v1/tools", &[key.header(), ("Origin", "https://evil.example")], None);
    page.problem(403, "origin_refused");
}
