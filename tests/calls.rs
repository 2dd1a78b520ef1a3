//! A call belongs to the host: it goes on without its client, and the same key is the same call.

use crate::harness::{Behaviour, Gateway, Guest, Home, Publisher, Reply, Request, Upstream};
use bytes::Bytes;
use serde_json::{Value, json};
use std::time::Duration;

/// An upstream that takes its time, and a skill that posts to it.
fn set_up(pause: Duration) -> (Home, Upstream, Gateway) {
    let home = Home::new();
    let reply = Reply::With(Box::new(|_| http::Response::new(Bytes::from_static(b"{\"done\":true}"))));
    let upstream = Upstream::start(Reply::Late(pause, Box::new(reply)));
    let gateway = Gateway::start(&home);
    let publisher = Publisher::new("Good Co", 1);
    gateway.trust(&publisher);
    let guest = Guest::new("slow", Behaviour::Send(Request::new("POST", upstream.url("/effect")).body(b"x")))
        .risk("medium")
        .network(json!({"host": "localhost", "ports": [upstream.address.port()], "methods": ["POST"]}), "svc");
    gateway.installed(&publisher.sign(&guest), &[&upstream.host()]);
    (home, upstream, gateway)
}

/// The one call that the audit knows of.
fn only_call(gateway: &Gateway) -> String {
    let intents = gateway.audit("action=call.intent");
    assert_eq!(intents.len(), 1, "{intents:?}");
    intents[0]["call"].as_str().expect("a call").to_owned()
}

#[test]
fn a_client_that_hangs_up_does_not_end_its_call() {
    let (_home, upstream, gateway) = set_up(Duration::from_secs(2));
    let agent = gateway.agent();
    let body = json!({"arguments": {}}).to_string();
    let headers = [agent.header(), ("Content-Type", "application/json")];
    let open = gateway.client.begin("POST", "/v1/tools/slow.run/call", &headers, body.as_bytes());
    upstream.wait_for(1);
    drop(open);
    let call = only_call(&gateway);
    let view = gateway.request(&agent, "GET", &format!("/v1/calls/{call}?wait=30"), None).expect(200);
    assert_eq!(view["status"], "succeeded", "{view}");
    assert!(view["content"].as_str().is_some(), "{view}");
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn a_client_that_hangs_up_at_any_moment_leaves_no_call_without_an_end() {
    let (_home, _upstream, gateway) = set_up(Duration::ZERO);
    let agent = gateway.agent();
    for n in 0..60_u64 {
        let body = json!({"arguments": {}, "idempotency_key": format!("hang-up-{n}")}).to_string();
        let headers = [agent.header(), ("Content-Type", "application/json")];
        let open = gateway.client.begin("POST", "/v1/tools/slow.run/call", &headers, body.as_bytes());
        std::thread::sleep(Duration::from_micros(n * 150));
        drop(open);
    }
    // Whatever began has an end: nobody else will run it.
    for n in 0..60 {
        let body = json!({"arguments": {}, "idempotency_key": format!("hang-up-{n}"), "wait_seconds": 20});
        let answer = gateway.call_with(&agent, "slow.run", body).expect(200);
        assert_eq!(answer["status"], "succeeded", "call {n}: {answer}");
    }
}

#[test]
fn a_call_that_outlives_the_wait_is_accepted_and_can_be_fetched() {
    let (_home, _upstream, gateway) = set_up(Duration::from_secs(2));
    let agent = gateway.agent();
    let view = gateway.call_with(&agent, "slow.run", json!({"arguments": {}, "wait_seconds": 0})).expect(202);
    assert_eq!(view["status"], "running", "{view}");
    let path = format!("/v1/calls/{}?wait=30", view["call_id"].as_str().expect("an id"));
    let done = gateway.request(&agent, "GET", &path, None).expect(200);
    assert_eq!(done["status"], "succeeded", "{done}");
}

#[test]
fn the_same_idempotency_key_is_the_same_call() {
    let (_home, upstream, gateway) = set_up(Duration::from_millis(300));
    let agent = gateway.agent();
    let body = json!({"arguments": {}, "idempotency_key": "order-1", "wait_seconds": 30});
    let first = gateway.call_with(&agent, "slow.run", body.clone()).expect(200);
    let again = gateway.call_with(&agent, "slow.run", body.clone()).expect(200);
    assert_eq!(first["call_id"], again["call_id"]);
    assert_eq!(again["status"], "succeeded", "{again}");
    let same = |answer: &Value| answer["content"].as_str().map(str::len);
    assert_eq!(same(&first), same(&again));
    assert_eq!(upstream.seen().len(), 1, "one effect");

    let other = json!({"arguments": {"note": "other"}, "idempotency_key": "order-1"});
    gateway.call_with(&agent, "slow.run", other).problem(409, "idempotency_key_reused");
    // Another user's key of the same name is another call.
    let bob = gateway.key("agent", "bob");
    let bobs = gateway.call_with(&bob, "slow.run", body).expect(200);
    assert_ne!(bobs["call_id"], first["call_id"]);
    assert_eq!(upstream.seen().len(), 2);
}

#[test]
fn many_clients_with_one_idempotency_key_cause_one_effect() {
    let (_home, upstream, gateway) = set_up(Duration::from_millis(500));
    let agent = gateway.agent();
    let body = json!({"arguments": {}, "idempotency_key": "race", "wait_seconds": 30});
    let ids: Vec<Value> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| gateway.call_with(&agent, "slow.run", body.clone()).json()["call_id"].clone()))
            .collect();
        runs.into_iter().map(|run| run.join().expect("an answer")).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0] && id.is_string()), "{ids:?}");
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn a_graceful_shutdown_finishes_what_is_in_flight() {
    let (home, upstream, mut gateway) = set_up(Duration::from_secs(2));
    let agent = gateway.agent();
    let client = gateway.client;
    let (header, bearer) = agent.header();
    let bearer = bearer.to_owned();
    let waiting = std::thread::spawn(move || {
        let body = json!({"arguments": {}, "wait_seconds": 30}).to_string();
        let headers = [(header, &*bearer), ("Content-Type", "application/json")];
        client.send("POST", "/v1/tools/slow.run/call", &headers, Some(body.as_bytes()))
    });
    upstream.wait_for(1);
    assert!(gateway.stop().success(), "{}", gateway.log());
    let answer = waiting.join().expect("an answer").expect(200);
    assert_eq!(answer["status"], "succeeded", "{answer}");

    let gateway = Gateway::start(&home);
    let path = format!("/v1/calls/{}", answer["call_id"].as_str().expect("an id"));
    assert_eq!(gateway.request(&agent, "GET", &path, None).expect(200)["status"], "succeeded");
    assert_eq!(upstream.seen().len(), 1);
    assert_eq!(gateway.admin("GET", "/v1/audit/verify", None).expect(200)["intact"], true);
}
