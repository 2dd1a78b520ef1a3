//! Too many requests.

use crate::harness::{Behaviour, Cli, Gateway, Guest, Home, Publisher, Request, Upstream, command};
use serde_json::{Value, json};

#[test]
fn attack_44_a_user_who_asks_too_often_is_told_when_to_come_back() {
    let home = Home::configured("[rate_limit]\nuser_per_minute = 60\nuser_burst = 5\n");
    let gateway = Gateway::start(&home);
    let (ann, bob) = (gateway.key("agent", "ann"), gateway.key("agent", "bob"));
    let answers: Vec<_> = (0..20).map(|_| gateway.request(&ann, "GET", "/v1/tools", None)).collect();
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!(!refused.is_empty() && answers[0].status == 200);
    for answer in refused {
        answer.problem(429, "rate_limited");
        let seconds: u64 = answer.header("retry-after").and_then(|text| text.parse().ok()).expect("Retry-After");
        assert!((1..=60).contains(&seconds), "{seconds}");
    }
    // A second key is no second allowance; another user has their own.
    let second = gateway.request(&ann, "GET", "/v1/tools", None).status;
    assert_eq!(second, 429);
    assert_eq!(gateway.request(&bob, "GET", "/v1/tools", None).status, 200);
    // What supervises the gateway is exempt.
    for _ in 0..50 {
        assert_eq!(gateway.client.send("GET", "/healthz", &[], None).status, 200);
    }
}

#[test]
fn attack_44_a_forged_forwarded_address_is_no_new_address() {
    let home = Home::configured("[rate_limit]\nfailures_per_minute = 60\nfailures_burst = 5\n");
    let gateway = Gateway::start(&home);
    let wrong = format!("Bearer sk_{}", "A".repeat(43));
    let statuses: Vec<u16> = (0..20)
        .map(|n| {
            let forged = format!("203.0.113.{n}");
            let headers = [("Authorization", &*wrong), ("X-Forwarded-For", &*forged), ("Forwarded", "for=203.0.113.9")];
            gateway.client.send("GET", "/v1/tools", &headers, None).status
        })
        .collect();
    assert_eq!(statuses[0], 401);
    assert!(statuses.contains(&429), "{statuses:?}");
}

#[test]
fn attack_44_limits_hold_under_concurrency() {
    let home = Home::configured("[rate_limit]\nuser_per_minute = 60\nuser_burst = 10\n");
    let gateway = Gateway::start(&home);
    let ann = gateway.key("agent", "ann");
    let started = std::time::Instant::now();
    let passed: usize = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..8)
            .map(|_| {
                scope
                    .spawn(|| (0..20).filter(|_| gateway.request(&ann, "GET", "/v1/tools", None).status == 200).count())
            })
            .collect();
        runs.into_iter().map(|run| run.join().expect("a count")).sum()
    });
    // The burst, and one more for every second that it took.
    let most = 10 + started.elapsed().as_secs() as usize + 1;
    assert!((10..=most).contains(&passed), "{passed} passed, at most {most}");
}

#[test]
fn attack_44_a_tool_has_its_own_budget() {
    let home = Home::configured("[[rate_limit.tools]]\ntool = \"echo.*\"\nper_minute = 1\nburst = 2\n");
    let gateway = Gateway::start(&home);
    let publisher = Publisher::new("Good Co", 1);
    gateway.trust(&publisher);
    gateway.installed(&publisher.sign(&Guest::new("echo", Behaviour::Return(b"1".to_vec()))), &[]);
    let (ann, bob) = (gateway.key("agent", "ann"), gateway.key("agent", "bob"));
    let statuses: Vec<u16> = (0..3).map(|_| gateway.call(&ann, "echo.run", json!({})).status).collect();
    assert_eq!(statuses, [200, 200, 429]);
    let refused = gateway.call(&ann, "echo.run", json!({}));
    refused.problem(429, "rate_limited");
    let after = refused.header("retry-after").expect("Retry-After");
    let limit = refused.header("ratelimit").expect("RateLimit");
    assert!(limit.contains(&format!("\"tool\";r=0;t={after}")) && limit.contains("\"user\";r="), "{limit}");
    // A plan of too many steps is no plan: it uses up nothing.
    let steps: Vec<Value> = (0..51).map(|_| json!({"tool": "echo.run", "arguments": {}})).collect();
    gateway.request(&bob, "POST", "/v1/plans", Some(&json!({"steps": steps}))).expect(422);
    assert_eq!(gateway.call(&bob, "echo.run", json!({})).status, 200, "a budget of each user");
    let steps = json!({"steps": [{"tool": "echo.run", "arguments": {}}, {"tool": "echo.run", "arguments": {}}]});
    gateway.request(&bob, "POST", "/v1/plans", Some(&steps)).problem(429, "rate_limited");
    assert_eq!(gateway.request(&ann, "GET", "/v1/tools", None).status, 200, "other requests are not touched");
}

#[test]
fn attack_44_a_destination_has_its_own_budget_whatever_skill_speaks_to_it() {
    let home = Home::configured(
        "[[rate_limit.destinations]]\nhost = \"localhost\"\nper_minute = 1\nburst = 2\nper = \"tenant\"\n",
    );
    let upstream = Upstream::plain();
    let gateway = Gateway::start(&home);
    let publisher = Publisher::new("Good Co", 1);
    gateway.trust(&publisher);
    for name in ["first", "second"] {
        let guest = Guest::new(name, Behaviour::Send(Request::new("GET", upstream.url("/"))));
        let rule = json!({"host": "localhost", "ports": [upstream.address.port()]});
        gateway.installed(&publisher.sign(&guest.network(rule, "svc")), &[&upstream.host()]);
    }
    let agent = gateway.agent();
    gateway.content(&agent, "first.run", json!({}));
    gateway.content(&agent, "second.run", json!({}));
    let refused = gateway.call(&agent, "first.run", json!({})).expect(200);
    assert!(refused.to_string().contains("too many requests to localhost"), "{refused}");
    assert_eq!(upstream.seen().len(), 2, "it was not sent");
    let denied = gateway.audit("action=egress.denied");
    assert_eq!(denied[0]["code"], "destination_rate_limited", "{denied:?}");
}

#[test]
fn limits_are_read_again_while_the_gateway_runs_and_the_rest_says_that_it_waits() {
    let home = Home::configured("[rate_limit]\nuser_per_minute = 1\nuser_burst = 2\n");
    let gateway = Gateway::start(&home);
    let ann = gateway.key("agent", "ann");
    let statuses = || -> Vec<u16> { (0..3).map(|_| gateway.request(&ann, "GET", "/v1/tools", None).status).collect() };
    assert_eq!(statuses(), [200, 200, 429]);
    home.configure_trusting("[rate_limit]\nuser_per_minute = 1\nuser_burst = 50\n[gateway]\ndrain_seconds = 3\n");
    let told = Cli::new(&home, ["config", "reload", "--json"]).expect(0).json();
    assert_eq!(told, json!({"applied": ["rate_limit.user_burst"], "needs_restart": ["gateway.drain_seconds"]}));
    assert_eq!(statuses(), [200, 200, 200]);

    home.configure_trusting("[rate_limit]\nuser_burst = 0\n");
    let refused = Cli::new(&home, ["config", "reload", "--json"]).run();
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("user_burst") && refused.stderr.contains("sophon.toml"), "{}", refused.stderr);
    assert_eq!(statuses(), [200, 200, 200], "what was in force stays");

    // A signal does the same.
    home.configure_trusting("[rate_limit]\nuser_per_minute = 1\nuser_burst = 1\n");
    let sent = command("kill").args(["-HUP", &gateway.pid().to_string()]).status().expect("kill starts");
    assert!(sent.success());
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while gateway.request(&ann, "GET", "/v1/tools", None).status != 429 {
        assert!(std::time::Instant::now() < until, "the signal changes nothing");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // Only whoever has the home may, and every attempt is recorded.
    let key = gateway.admin_key().clone();
    assert!([403, 429].contains(&gateway.request(&key, "POST", "/v1/operator/reload", None).status));
    home.configure_trusting("");
    Cli::new(&home, ["config", "reload"]).expect(0);
    let found = Cli::new(&home, ["audit", "query", "--action", "config.reload", "--json"]).expect(0).json();
    let entries = found["entries"].as_array().expect("entries");
    let outcomes: Vec<_> = entries.iter().map(|entry| entry["record"]["outcome"].clone()).collect();
    assert_eq!(outcomes, ["ok", "failed", "ok", "ok"]);
}

#[test]
fn absurd_limits_are_refused_with_their_place_and_key() {
    for (text, key) in [
        ("[rate_limit]\nuser_per_minute = 1\nuser_burst = 4000000000\n", "user_burst"),
        ("[rate_limit]\nmax_tracked = 4000000000\n", "max_tracked"),
        ("[rate_limit]\nuser_per_minute = -1\n", "user_per_minute"),
        ("[[rate_limit.tools]]\ntool = \"no tool\"\nper_minute = 1\nburst = 1\n", "tool"),
        ("[[rate_limit.destinations]]\nhost = \"https://a.example/\"\nper_minute = 1\nburst = 1\n", "host"),
        ("[[rate_limit.destinations]]\nhost = \"a.example\"\nper_minute = 1\nburst = 1\nper = \"planet\"\n", "per"),
    ] {
        let home = Home::new();
        home.configure(text);
        let refused = Cli::new(&home, ["config", "check", "--json"]).run();
        assert_ne!(refused.code, 0, "{text}");
        assert!(refused.stderr.contains("sophon.toml:") && refused.stderr.contains(key), "{text}: {}", refused.stderr);
    }
}
