//! kill -9: nothing that was acknowledged is lost, and nothing runs twice.

use crate::harness::{Behaviour, Gateway, Guest, Home, Publisher, Reply, Request, Upstream};
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
fn attack_47_what_was_acknowledged_survives_a_kill_at_any_moment() {
    let home = Home::new();
    let mut gateway = Gateway::start(&home);
    let publisher = Publisher::new("Good Co", 1);
    gateway.trust(&publisher);
    gateway.installed(&publisher.sign(&Guest::new("quick", Behaviour::Return(b"1".to_vec()))), &[]);
    let agent = gateway.agent();
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        for _ in 0..10 + round {
            let answer = gateway.call(&agent, "quick.run", json!({})).expect(200);
            acknowledged.push(answer["call_id"].as_str().expect("an id").to_owned());
        }
        gateway.kill();
        gateway = Gateway::start(&home);
    }
    for call in &acknowledged {
        let view = gateway.request(&agent, "GET", &format!("/v1/calls/{call}"), None).expect(200);
        assert_eq!(view["status"], "succeeded", "{view}");
        assert_eq!(gateway.audit(&format!("call={call}&action=call.outcome")).len(), 1);
    }
    let verified = gateway.admin("GET", "/v1/audit/verify", None).expect(200);
    assert_eq!(verified["intact"], true, "{verified}");
}

#[test]
fn a_home_has_one_gateway() {
    let home = Home::new();
    let gateway = Gateway::start(&home);
    let second = crate::harness::Cli::new(&home, ["serve", "--listen", "127.0.0.1:0"]).run();
    assert_eq!(second.code, 1, "{second:?}");
    assert!(second.stderr.contains("hint:"), "{second:?}");
    gateway.admin("GET", "/v1/skills", None).expect(200);
}
