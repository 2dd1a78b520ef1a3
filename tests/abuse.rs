//! Too many requests.

use crate::harness::{Gateway, Home};

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
