//! kill -9: nothing that was acknowledged is lost, and nothing runs twice.

mod kills;
mod ledger;
mod leftovers;
mod load;

use crate::harness::{Behaviour, Chance, Cli, Gateway, Guest, Home, Publisher, Reply, Request, Upstream, setting};
use bytes::Bytes;
use serde_json::json;
use std::time::Duration;

#[test]
fn attack_47_a_call_that_was_cut_short_is_of_unknown_outcome_and_never_runs_again() {
    let home = Home::new();
    let reply = Reply::With(Box::new(|_| http::Response::new(Bytes::from_static(b"{}"))));
    let upstream = Upstream::start(Reply::Late(Duration::from_secs(20), Box::new(reply)));
    let mut gateway = Gateway::start(&home);
    let publisher = Publisher::new("Good Co", 1);
    gateway.trust(&publisher);
    let guest = Guest::new("payer", Behaviour::Send(Request::new("POST", upstream.url("/pay")).body(b"1")))
        .risk("medium")
        .network(json!({"host": "localhost", "ports": [upstream.address.port()], "methods": ["POST"]}), "svc");
    gateway.installed(&publisher.sign(&guest), &[&upstream.host()]);
    let agent = gateway.agent();
    let body = json!({"arguments": {}, "idempotency_key": "pay-1", "wait_seconds": 0});
    let running = gateway.call_with(&agent, "payer.run", body.clone()).expect(202);
    let path = format!("/v1/calls/{}", running["call_id"].as_str().expect("an id"));
    upstream.wait_for(1);
    gateway.kill();

    let gateway = Gateway::start(&home);
    let view = gateway.request(&agent, "GET", &path, None).expect(200);
    assert_eq!(view["status"], "unknown_outcome", "{view}");
    assert!(view["error"]["hint"].as_str().is_some(), "{view}");
    // Asking again with the same key tells the same and does nothing.
    let again = gateway.call_with(&agent, "payer.run", body).expect(200);
    assert_eq!(again["status"], "unknown_outcome", "{again}");
    assert_eq!(again["call_id"], running["call_id"]);
    assert_eq!(upstream.seen().len(), 1);
    // The audit says so too, and is whole.
    let outcomes = gateway.audit("action=call.outcome");
    assert_eq!(outcomes.len(), 1, "{outcomes:?}");
    assert!(outcomes[0].to_string().contains("unknown"), "{}", outcomes[0]);
    let verified = gateway.admin("GET", "/v1/audit/verify", None).expect(200);
    assert_eq!(verified["intact"], true, "{verified}");
}

#[test]
fn attack_47_a_change_of_the_vaults_key_that_is_cut_short_locks_nobody_out() {
    let (home, mut gateway, publisher) = Gateway::trusting("Good Co", 1);
    let upstream = Upstream::plain();
    let request = Request::get(upstream.url("/mine")).credential("svc");
    let rule = json!({"host": "localhost", "ports": [upstream.address.port()], "credential": "svc"});
    let guest = Guest::new("reader", Behaviour::Send(request)).network(rule, "svc");
    gateway.installed(&publisher.sign(&guest), &[&upstream.host()]);
    gateway.connect("svc", "tok_that_has_to_stay_4711");
    let (admin, agent) = (gateway.admin_key().clone(), gateway.agent());
    assert!(gateway.stop().success());

    let seed = setting("SOPHON_CRASH_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("SOPHON_CRASH_SEED={seed}");
    let mut chance = Chance::new(seed);
    for _ in 0..12 {
        Cli::new(&home, ["credential", "rotate"]).killed_after(Duration::from_millis(chance.below(600)));
        Cli::new(&home, ["doctor", "--json"]).expect(0);
    }
    let gateway = Gateway::again(&home, &admin);
    gateway.content(&agent, "reader.run", json!({}));
    assert_eq!(upstream.seen()[0].authorization.as_deref(), Some("Bearer tok_that_has_to_stay_4711"));
    let mut keys: Vec<_> = std::fs::read_dir(home.path().join("keys"))
        .expect("the keys")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .collect();
    keys.sort();
    assert_eq!(keys, ["audit-hash", "audit-signing", "code-cache", "kek"]);
}

#[test]
fn a_home_has_one_gateway() {
    let home = Home::new();
    let gateway = Gateway::start(&home);
    let second = Cli::new(&home, ["serve", "--listen", "127.0.0.1:0"]).run();
    assert_eq!(second.code, 1, "{second:?}");
    assert!(second.stderr.contains("hint:"), "{second:?}");
    gateway.admin("GET", "/v1/skills", None).expect(200);
}
