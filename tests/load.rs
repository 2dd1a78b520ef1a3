//! Load: everything is bounded, what is too much is refused and says when to come back, and nobody starves another.
//!
//! Each test holds something open that is slow, or floods, and asserts that others were served meanwhile and that
//! everything is free again afterwards. None of them measures time: scripts/overload prints how soon refusals come.

use crate::harness::{Behaviour, Crowd, Gateway, Guest, Hold, Home, Key, Publisher, Reply, Request, Tenant, Upstream};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::time::Duration;

/// Calls that one who is not to be starved makes.
const SERVED: usize = 20;

fn quick() -> Guest {
    Guest::new("quick", Behaviour::Return(b"\"there\"".to_vec()))
}

/// Makes calls one after the other, each of which must succeed.
#[track_caller]
fn is_served(gateway: &Gateway, key: &Key, tool: &str) {
    for n in 0..SERVED {
        let answer = gateway.call(key, tool, json!({}));
        assert_eq!(answer.status, 200, "call {n} of {SERVED}: {}", answer.text());
        assert_eq!(answer.json()["status"], "succeeded", "call {n} of {SERVED}: {}", answer.text());
    }
}

/// Begins a call and does not wait for it.
fn begin(gateway: &Gateway, key: &Key, tool: &str) -> crate::harness::Answer {
    gateway.call_with(key, tool, json!({"arguments": {}, "wait_seconds": 0}))
}

/// The calls' ids, for those that began.
#[track_caller]
fn begun(gateway: &Gateway, keys: &[Key], tool: &str, count: usize) -> Vec<(Key, String)> {
    let mut calls = Vec::new();
    for key in keys.iter().cycle().take(count) {
        let answer = begin(gateway, key, tool).expect(202);
        calls.push((key.clone(), answer["call_id"].as_str().expect("a call").to_owned()));
    }
    calls
}

fn status(gateway: &Gateway, (key, call): &(Key, String), wait: u32) -> Value {
    gateway.request(key, "GET", &format!("/v1/calls/{call}?wait={wait}"), None).json()
}

/// Waits until something is as it should be.
#[track_caller]
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..1200 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("it never came to be that {what}");
}

#[track_caller]
fn is_refused_for_now(answer: &crate::harness::Answer) {
    answer.problem(503, "over_capacity");
    let seconds: u64 = answer.header("retry-after").and_then(|text| text.parse().ok()).expect("Retry-After");
    assert!((1..=60).contains(&seconds), "{seconds}");
}

#[test]
fn attack_44_a_slow_upstream_holds_up_its_own_tenant_only() {
    let home = Home::configured("[sandbox]\nconcurrent_calls = 4\n");
    let (gateway, publisher) = (Gateway::start(&home), Publisher::new("Good Co", 1));
    let hold = Hold::new();
    let answers = Reply::With(Box::new(|_| http::Response::new(bytes::Bytes::from_static(b"{}"))));
    let upstream = Upstream::start(Reply::Held(hold.clone(), Box::new(answers)));
    let slow = Guest::new("slow", Behaviour::Send(Request::get(upstream.url("/"))))
        .manifest(json!({"permissions": {"network": [{"host": "localhost", "ports": [upstream.address.port()]}]}}));
    let acme = Tenant::new(&home, &gateway, "acme", &publisher);
    let rival = Tenant::new(&home, &gateway, "rival", &publisher);
    acme.installed(&publisher.sign(&slow), &[&upstream.host()]);
    rival.installed(&publisher.sign(&quick()), &[]);
    let users: Vec<Key> = ["ann", "bob", "cid", "dan", "eve"].map(|user| acme.agent(user)).into();
    let zoe = rival.agent("zoe");

    // The tenant's users take all that the tenant can have; one more of it is refused, whoever it is.
    let held = begun(&gateway, &users[..3], "slow.run", 3);
    upstream.wait_for(3);
    for user in &users {
        is_refused_for_now(&begin(&gateway, user, "slow.run"));
    }
    is_served(&gateway, &zoe, "quick.run");
    assert!(held.iter().all(|call| status(&gateway, call, 0)["status"] == "running"), "it was not slow");

    hold.let_go();
    for call in &held {
        assert_eq!(status(&gateway, call, 60)["status"], "succeeded");
    }
    // Every place is back: as many run at one time as before, and all of them end.
    for call in begun(&gateway, &users[..3], "slow.run", 3) {
        assert_eq!(status(&gateway, &call, 60)["status"], "succeeded");
    }
    is_served(&gateway, &zoe, "quick.run");
}

#[test]
fn attack_44_a_skill_that_floods_host_calls_starves_nobody() {
    let home = Home::configured("[sandbox]\nconcurrent_calls = 8\n");
    let (gateway, publisher) = (Gateway::start(&home), Publisher::new("Good Co", 1));
    let limits = json!({"sandbox": {"timeoutSeconds": 25}});
    let flood = Guest::new("flood", Behaviour::FloodState).manifest(limits);
    let acme = Tenant::new(&home, &gateway, "acme", &publisher);
    let rival = Tenant::new(&home, &gateway, "rival", &publisher);
    acme.installed(&publisher.sign(&flood), &[]);
    let remember = Guest::new("memory", Behaviour::Remember { key: "flood", value: "mine".into() });
    rival.installed(&publisher.sign(&remember), &[]);
    let users: Vec<Key> = ["ann", "bob"].map(|user| acme.agent(user)).into();
    let zoe = rival.agent("zoe");

    let floods = begun(&gateway, &users, "flood.run", 7);
    let before = gateway.resident();
    is_served(&gateway, &zoe, "memory.run");
    assert!(gateway.content(&zoe, "memory.run", json!({})).contains("mine"));
    assert!(floods.iter().any(|call| status(&gateway, call, 0)["status"] == "running"), "there was no flood");
    let grown = gateway.resident().saturating_sub(before);
    assert!(grown < 256 << 20, "the process grew by {grown} bytes");
    for call in &floods {
        assert_eq!(status(&gateway, call, 60)["status"], "failed");
    }
    for call in begun(&gateway, &users, "flood.run", 7) {
        // It runs; how it ends was seen above.
        assert_eq!(status(&gateway, &call, 0)["status"], "running");
    }
}

#[test]
fn attack_44_clients_that_are_slow_in_every_way_starve_nobody() {
    let limits = "[rate_limit]\nuser_burst = 100000\naddress_burst = 100000\n";
    let home = Home::configured(&format!(
        "[gateway]\nmax_connections = 400\nmax_connections_per_address = 400\nmax_concurrent_calls = 16\n{limits}"
    ));
    let (gateway, publisher) = (Gateway::start(&home), Publisher::new("Good Co", 1));
    let acme = Tenant::new(&home, &gateway, "acme", &publisher);
    let rival = Tenant::new(&home, &gateway, "rival", &publisher);
    acme.installed(&publisher.sign(&quick()), &[]);
    rival.installed(&publisher.sign(&quick()), &[]);
    let (ann, bob, zoe) = (acme.agent("ann"), acme.agent("bob"), rival.agent("zoe"));
    let address = gateway.client.address;

    // Heads that never end.
    let heads = Crowd::gather(address, 1, 390, 100, b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ");
    is_served(&gateway, &zoe, "quick.run");
    // Answers that nobody takes, of requests that need no key.
    let pipelined = b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".repeat(200);
    let readers = Crowd::gather(address, 2, 200, 100, &pipelined);
    is_served(&gateway, &zoe, "quick.run");
    // Bodies that never come, of two users of one tenant: more than the tenant can have requests.
    let slow_body = |key: &Key| {
        let (name, bearer) = key.header();
        let head = "POST /v1/tools/quick.run/call HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json";
        format!("{head}\r\n{name}: {bearer}\r\nContent-Length: 1000\r\n\r\n{{").into_bytes()
    };
    let bodies = [(3, &ann), (4, &bob)].map(|(row, key)| Crowd::gather(address, row, 400, 100, &slow_body(key)));
    is_served(&gateway, &zoe, "quick.run");
    let mut refused = gateway.client.begin("POST", "/v1/tools/quick.run/call", &[bob.header()], b"");
    let mut answer = String::new();
    refused.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after"), "{answer}");
    let cut = gateway.metric("sophon_http_connections_cut_total");
    assert!(cut > 0.0, "no room was made, so this test shows nothing");
    assert!(gateway.metric("sophon_http_connections") <= 401.0);

    let sizes = heads.len() + readers.len() + bodies.iter().map(Crowd::len).sum::<usize>();
    assert_eq!(sizes, 390 + 200 + 800);
    drop((heads, readers, bodies));
    eventually("their connections are gone", || gateway.metric("sophon_http_connections") < 5.0);
    is_served(&gateway, &ann, "quick.run");
    is_served(&gateway, &bob, "quick.run");
}

#[test]
fn attack_44_a_tenant_of_many_users_is_limited_and_nobody_else_is() {
    let limits = "[rate_limit]\nuser_per_minute = 60\nuser_burst = 5\ntenant_users = 3\n";
    let home = Home::configured(limits);
    // Before there is a gateway, which would count them as the operator's.
    let keys: Vec<Key> = (0..20).map(|n| Key::make_in(&home, "acme", "agent", &format!("user-{n}"))).collect();
    let (gateway, publisher) = (Gateway::start(&home), Publisher::new("Good Co", 1));
    let rival = Tenant::new(&home, &gateway, "rival", &publisher).agent("zoe");
    let started = std::time::Instant::now();
    let answers: Vec<_> = keys
        .iter()
        .flat_map(|key| (0..2).map(|_| gateway.request(key, "GET", "/v1/tools", None)).collect::<Vec<_>>())
        .collect();
    let passed = answers.iter().filter(|answer| answer.status == 200).count();
    // Three users' bursts, and what three users may send in every second that it took.
    let most = 15 + 3 * (started.elapsed().as_secs() as usize + 1);
    assert!((15..=most).contains(&passed), "{passed} passed, at most {most}");
    for refused in answers.iter().filter(|answer| answer.status != 200) {
        refused.problem(429, "rate_limited");
        assert!(refused.header("retry-after").is_some());
    }
    gateway.request(&rival, "GET", "/v1/tools", None).expect(200);
    // The person at the machine is not of the tenant, whatever tenant they look at.
    crate::harness::Cli::new(&home, ["list", "--tenant", "acme", "--json"]).expect(0);
}

#[test]
fn attack_44_ten_thousand_idle_connections_starve_nobody() {
    let home = Home::configured("[rate_limit]\nuser_burst = 100000\n");
    let (gateway, publisher) = (Gateway::start(&home), Publisher::new("Good Co", 1));
    gateway.trust(&publisher);
    gateway.installed(&publisher.sign(&quick()), &[]);
    let agent = gateway.agent();
    is_served(&gateway, &agent, "quick.run");
    let before = gateway.resident();

    let idle = Crowd::gather(gateway.client.address, 1, 10_000, 250, b"");
    is_served(&gateway, &agent, "quick.run");
    // All of them have been let in. Who says nothing for 15 seconds is let go, so a slow machine has fewer open now.
    eventually("all are accepted", || gateway.metric("sophon_http_connections_accepted_total") >= idle.len() as f64);
    let open = gateway.metric("sophon_http_connections");
    let grown = gateway.resident().saturating_sub(before);
    println!("10,000 idle connections, of which {open} are open now, took {grown} bytes");
    assert!(grown < 10_000 * (32 << 10), "the process grew by {grown} bytes");
    is_served(&gateway, &agent, "quick.run");

    drop(idle);
    eventually("their connections are gone", || gateway.metric("sophon_http_connections") < 5.0);
    is_served(&gateway, &agent, "quick.run");
}

#[test]
fn attack_44_more_idle_connections_than_there_is_room_for_keep_nobody_out() {
    let home = Home::configured("[gateway]\nmax_connections = 300\n[rate_limit]\nuser_burst = 100000\n");
    let (gateway, publisher) = (Gateway::start(&home), Publisher::new("Good Co", 1));
    gateway.trust(&publisher);
    gateway.installed(&publisher.sign(&quick()), &[]);
    let agent = gateway.agent();
    // A connection of somebody known, in the middle of a request, that came before all of them.
    let (name, bearer) = agent.header();
    let body = json!({"arguments": {}, "wait_seconds": 60}).to_string();
    let mut early = gateway.client.connect();
    let head = format!(
        "POST /v1/tools/quick.run/call HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{name}: {bearer}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    early.write_all(head.as_bytes()).expect("sent");
    // Its key has been seen by the time that another request was answered.
    is_served(&gateway, &agent, "quick.run");

    let crowds: Vec<Crowd> =
        (1..=3).map(|row| Crowd::gather(gateway.client.address, row, 1_000, 200, b"GET / HTTP/1.1\r\n")).collect();
    is_served(&gateway, &agent, "quick.run");
    assert!(gateway.metric("sophon_http_connections") <= 301.0);
    assert!(gateway.metric("sophon_http_connections_cut_total") > 2_000.0);
    early.write_all(body.as_bytes()).expect("the body of a request that is served is taken");
    let mut answer = String::new();
    early.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    drop(crowds);
    eventually("their connections are gone", || gateway.metric("sophon_http_connections") < 5.0);
}
