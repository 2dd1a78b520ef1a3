//! Calls that come round, over the real gateway: they fire after a restart, once, and through the gate like any other.

use crate::harness::{Behaviour, Cli, Gateway, Guest, Home, Key, Publisher, Request, Upstream};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

struct Stage {
    home: Home,
    gateway: Gateway,
    upstream: Upstream,
    agent: Key,
}

impl Stage {
    /// A gateway with a skill that does nothing much, and one that posts and has to be asked about.
    fn new() -> Self {
        Self::configured("")
    }

    fn configured(more: &str) -> Self {
        let home = Home::configured(more);
        let gateway = Gateway::start(&home);
        let publisher = Publisher::new("Good Co", 3);
        gateway.trust(&publisher);
        let upstream = Upstream::plain();
        gateway.installed(&publisher.sign(&Guest::new("ticker", Behaviour::Return(b"\"tick\"".to_vec()))), &[]);
        let request = Request::new("POST", upstream.url("/effect"));
        let rule = json!({"host": "localhost", "ports": [upstream.address.port()], "methods": ["POST"]});
        let poster = Guest::new("poster", Behaviour::Send(request)).risk("high").network(rule, "svc");
        gateway.installed(&publisher.sign(&poster), &[&upstream.host()]);
        let agent = gateway.agent();
        Self { home, gateway, upstream, agent }
    }

    #[track_caller]
    fn schedule(&self, tool: &str, more: Value) -> crate::harness::Answer {
        let mut body = json!({"tool": tool, "arguments": {}, "cron": "* * * * *"});
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        self.gateway.request(&self.agent, "POST", "/v1/schedules", Some(&body))
    }

    fn schedules(&self, key: &Key) -> Vec<Value> {
        let answer = self.gateway.request(key, "GET", "/v1/schedules", None).expect(200);
        answer["schedules"].as_array().expect("schedules").clone()
    }
}

#[test]
fn a_schedule_outlives_a_crash_fires_once_a_minute_and_asks_where_a_call_would() {
    let mut stage = Stage::new();
    let ticks = stage.schedule("ticker.run", json!({"time_zone": "Europe/Zurich"})).expect(201);
    let posts = stage.schedule("poster.run", json!({})).expect(201);
    stage.gateway.kill();
    stage.gateway = Gateway::again(&stage.home, stage.gateway.admin_key());
    let until = Instant::now() + Duration::from_secs(100);
    let fired = loop {
        let all = stage.schedules(&stage.agent);
        if all.iter().all(|one| one["last_fire_at"].is_string()) {
            break all;
        }
        assert!(Instant::now() < until, "{all:?}\n{}", stage.gateway.log());
        std::thread::sleep(Duration::from_millis(250));
    };
    let of = |made: &Value| fired.iter().find(|one| one["schedule_id"] == made["schedule_id"]).expect("it is listed");
    let call = of(&ticks)["last_call_id"].as_str().expect("a call").to_owned();
    let view = stage.gateway.request(&stage.agent, "GET", &format!("/v1/calls/{call}?wait=20"), None).expect(200);
    assert_eq!(view["status"], "succeeded", "{view}");
    // The other one waits for a person, and nothing has left.
    assert_eq!(of(&posts)["last_outcome"], "awaiting_approval", "{fired:?}");
    let ann = stage.gateway.key("approver", "ann");
    let waiting = stage.gateway.request(&ann, "GET", "/v1/approvals?status=pending", None).expect(200);
    assert_eq!(waiting["approvals"][0]["tool"], "poster.run", "{waiting}");
    assert!(stage.upstream.seen().is_empty());
    // A crash between the call and the note that it was made: the firing is claimed, and due still.
    stage.gateway.kill();
    let since = fired.iter().map(|one| one["last_fire_at"].as_str().expect("a moment").to_owned()).max();
    crate::audit::sql(
        &stage.home,
        "UPDATE schedules SET fire_at = last_fire_at, due_at = last_fire_at, claimed_at = last_fire_at + 1000000, \
         last_fire_at = NULL, last_call = NULL, last_outcome = NULL",
    );
    stage.gateway = Gateway::again(&stage.home, stage.gateway.admin_key());
    let until = Instant::now() + Duration::from_secs(100);
    while stage.schedules(&stage.agent).iter().any(|one| one["last_fire_at"].as_str() < since.as_deref()) {
        assert!(Instant::now() < until, "{}", stage.gateway.log());
        std::thread::sleep(Duration::from_millis(250));
    }
    // A firing is one call, however often it was taken up: as many have begun as there were different ones, and no call
    // was asked about twice.
    for made in [&ticks, &posts] {
        let path = format!("/v1/schedules/{}", made["schedule_id"].as_str().expect("an id"));
        stage.gateway.request(&stage.agent, "DELETE", &path, None).expect(204);
    }
    let began = |tool: &str, action: &str| {
        let records = stage.gateway.audit(&format!("tool={tool}&action={action}"));
        let calls: BTreeSet<_> = records.iter().map(|one| one["call"].to_string()).collect();
        assert_eq!(calls.len(), records.len(), "{records:?}");
        assert!(records.iter().all(|one| one["user"] == "ann"), "{records:?}");
        calls
    };
    let fired = |tool: &str| {
        let records = stage.gateway.audit(&format!("tool={tool}&action=schedule.fire"));
        let of = |name: &str| records.iter().map(|one| one["detail"][name].to_string()).collect::<BTreeSet<_>>();
        let calls: BTreeSet<_> = records.iter().map(|one| one["call"].to_string()).collect();
        assert!(records.len() > of("fire_at").len(), "one was taken up twice: {records:?}");
        assert_eq!(calls.len(), of("fire_at").len(), "{records:?}");
        calls
    };
    for (tool, action) in [("ticker.run", "call.intent"), ("poster.run", "approval.request")] {
        // One that was under way when its schedule was removed is on record a moment later.
        while began(tool, action) != fired(tool) {
            assert!(Instant::now() < until, "{tool}: {:?} {:?}", began(tool, action), fired(tool));
            std::thread::sleep(Duration::from_millis(250));
        }
    }
    assert!(stage.upstream.seen().is_empty());
}

#[test]
fn what_is_malformed_or_absurd_is_refused_and_recorded() {
    let stage = Stage::new();
    let check = |more: Value, status: u16, code: &str| {
        let problem = stage.schedule("ticker.run", more.clone()).expect(status);
        assert_eq!(problem["code"], code, "{more}: {problem}");
        assert!(problem["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{problem}");
    };
    check(json!({"cron": "every day"}), 422, "invalid_cron");
    check(json!({"cron": "* * * * * *"}), 422, "invalid_cron");
    check(json!({"cron": "0 0 31 2 *"}), 422, "invalid_cron");
    check(json!({"time_zone": "Mars/Olympus"}), 422, "unknown_time_zone");
    check(json!({"jitter_seconds": 86_400}), 422, "invalid_jitter");
    check(json!({"jitter_seconds": -1}), 400, "invalid_body");
    check(json!({"missed": "always"}), 422, "invalid_missed_policy");
    check(json!({"tool": "ticker.none"}), 404, "unknown_tool");
    let refused = stage.gateway.audit("action=schedule.create&outcome=denied");
    let codes: std::collections::BTreeSet<_> = refused.iter().filter_map(|one| one["code"].as_str()).collect();
    let expected = ["invalid_cron", "invalid_jitter", "invalid_missed_policy", "unknown_time_zone", "unknown_tool"];
    assert_eq!(codes.into_iter().collect::<Vec<_>>(), expected);
    assert!(stage.schedules(&stage.agent).is_empty());
}

#[test]
fn schedules_are_their_users_own_and_the_command_line_handles_them() {
    let stage = Stage::new();
    let yearly = json!({"cron": "0 0 1 1 *", "jitter_seconds": 600, "missed": "once"});
    let made = stage.schedule("ticker.run", yearly).expect(201);
    let id = made["schedule_id"].as_str().expect("an id");
    let bob = stage.gateway.key("agent", "bob");
    assert!(stage.schedules(&bob).is_empty());
    let path = format!("/v1/schedules/{id}");
    assert_eq!(stage.gateway.request(&bob, "DELETE", &path, None).expect(404)["code"], "unknown_schedule");
    let add =
        ["schedules", "add", "ticker.run", "{}", "--cron", "0 9 * * MON-FRI", "--time-zone", "Europe/Zurich", "--json"];
    let added = Cli::new(&stage.home, add).expect(0).json();
    assert!(added["next_at"].is_string(), "{added}");
    let listed = Cli::new(&stage.home, ["schedules", "list", "--json"]).expect(0).json();
    assert_eq!(listed["schedules"].as_array().map(Vec::len), Some(2), "the operator sees all: {listed}");
    let page = Cli::new(&stage.home, ["schedules", "list", "--limit", "1", "--json"]).expect(0).json();
    let next = page["next"].as_str().expect("there is one more");
    let page = Cli::new(&stage.home, ["schedules", "list", "--after", next, "--json"]).expect(0).json();
    assert_eq!(page["schedules"], json!([listed["schedules"][1]]));
    let shown = Cli::new(&stage.home, ["schedules", "show", id, "--json"]).expect(0).json();
    assert_eq!((&shown["arguments"], shown["cron"].as_str()), (&json!({}), Some("0 0 1 1 *")), "{shown}");
    assert!(listed["schedules"][0].get("arguments").is_none(), "{listed}");
    Cli::new(&stage.home, ["schedules", "remove", id]).expect(0);
    assert!(stage.schedules(&stage.agent).is_empty());
    let wrong = ["schedules", "add", "ticker.run", "{}", "--cron", "never"];
    assert!(Cli::new(&stage.home, wrong).run().stderr.contains("cron"));
}

#[test]
fn how_many_schedules_there_may_be_and_how_often_they_fire_is_the_operators_to_say() {
    let stage = Stage::configured(
        "[schedules]\nmax_per_user = 2\nmax_per_tenant = 3\nmin_interval_seconds = 3600\nmax_jitter_seconds = 60\n\
         max_argument_bytes = 32\n",
    );
    let refused = |more: Value, status: u16, code: &str| {
        let problem = stage.schedule("ticker.run", more.clone()).expect(status);
        assert_eq!(problem["code"], code, "{more}: {problem}");
        assert!(problem["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{problem}");
    };
    refused(json!({"cron": "*/30 * * * *"}), 422, "interval_too_short");
    refused(json!({"cron": "0,1 9 * * *"}), 422, "interval_too_short");
    refused(json!({"cron": "0 * * * *", "jitter_seconds": 61}), 422, "invalid_jitter");
    refused(json!({"cron": "0 * * * *", "arguments": {"text": "x".repeat(40)}}), 413, "arguments_too_large");
    for _ in 0..2 {
        stage.schedule("ticker.run", json!({"cron": "0 * * * *", "jitter_seconds": 60})).expect(201);
    }
    refused(json!({"cron": "0 * * * *"}), 409, "too_many_schedules");
    let body = json!({"tool": "ticker.run", "arguments": {}, "cron": "0 9 * * *"});
    for (user, status) in [("bob", 201), ("eve", 409)] {
        stage.gateway.request(&stage.gateway.key("agent", user), "POST", "/v1/schedules", Some(&body)).expect(status);
    }
    let denied = stage.gateway.audit("action=schedule.create&outcome=denied");
    assert_eq!(denied.len(), 6, "{denied:?}");
}
