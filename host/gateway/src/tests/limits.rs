//! Rate limits at the edge.

use crate::budgets::{Sharing, ToolBudget};
use crate::config::RateLimits;
use crate::fixtures::{CountingEntropy, World, request};
use crate::key::{KeyText, KeyUse};
use http::Method;
use sophon_store::KeyRow;
use sophon_types::{KeyId, Role};
use std::num::NonZeroU32;

fn tight(limits: &mut RateLimits) {
    let number = |n| NonZeroU32::new(n).unwrap();
    limits.user_per_minute = number(1);
    limits.user_burst = number(5);
    limits.address_per_minute = number(1);
    limits.address_burst = number(3);
    limits.failures_per_minute = number(1);
    limits.failures_burst = number(3);
}

#[tokio::test]
async fn attack_44_a_user_is_limited_over_all_keys_and_addresses() {
    let world = World::with(|_config, limits| tight(limits)).await;
    let keys = [world.key("agent", "ann").await, world.key("agent", "ann").await];
    let mut statuses = Vec::new();
    for n in 0..8 {
        let request = request(Method::GET, "/v1/tools", &keys[n % 2], None);
        let answer = world.send_from(&format!("203.0.113.{n}:1"), request).await;
        if answer.status == 429 {
            let seconds: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((1..=60).contains(&seconds), "{seconds}");
            assert_eq!(answer.json["code"], "rate_limited");
        }
        statuses.push(answer.status.as_u16());
    }
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429, 429, 429]);
    let bob = world.key("agent", "bob").await;
    assert_eq!(world.get("/v1/tools", &bob).await.status, 200);
}

#[tokio::test]
async fn attack_44_a_spoofed_forwarded_address_changes_nothing() {
    let world = World::with(|_config, limits| tight(limits)).await;
    let mut limited = 0;
    for n in 0..10 {
        let mut request = request(Method::GET, "/openapi.json", "", None);
        request.headers_mut().insert("x-forwarded-for", format!("198.51.100.{n}").parse().unwrap());
        limited += usize::from(world.send_from("203.0.113.5:1", request).await.status == 429);
    }
    assert_eq!(limited, 7);
}

#[tokio::test]
async fn attack_44_behind_a_configured_proxy_the_client_is_limited_not_the_proxy() {
    let world = World::with(|config, limits| {
        tight(limits);
        config.trusted_proxies = vec!["203.0.113.0/24".parse().unwrap()];
    })
    .await;
    let from = |forwarded: String| {
        let mut request = request(Method::GET, "/openapi.json", "", None);
        request.headers_mut().insert("x-forwarded-for", forwarded.parse().unwrap());
        world.send_from("203.0.113.5:1", request)
    };
    for n in 0..10 {
        assert_eq!(from(format!("198.51.100.{n}")).await.status, 200);
    }
    let mut limited = 0;
    for n in 0..10 {
        // What the client itself puts before its address does not count.
        limited += usize::from(from(format!("192.0.2.{n}, 198.51.100.200")).await.status == 429);
    }
    assert_eq!(limited, 7);
}

#[tokio::test]
async fn attack_44_guessing_keys_is_slowed_but_holds_up_nobody_with_a_key() {
    let world = World::with(|_config, limits| {
        tight(limits);
        limits.user_burst = NonZeroU32::new(100).unwrap();
    })
    .await;
    let key = world.key("agent", "ann").await;
    let mut statuses = Vec::new();
    for n in 0..6 {
        let guess = format!("sk_{}{n}A", "A".repeat(41));
        let answer = world.send_from("203.0.113.5:1", request(Method::GET, "/v1/tools", &guess, None)).await;
        statuses.push(answer.status.as_u16());
    }
    assert_eq!(statuses, [401, 401, 401, 429, 429, 429]);
    let answer = world.send_from("203.0.113.5:1", request(Method::GET, "/v1/tools", &key, None)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[tokio::test]
async fn attack_44_failed_authentications_leave_a_bounded_trace() {
    let world = World::new().await;
    for n in 0..50 {
        let guess = format!("sk_{}{}A", "A".repeat(41), n % 10);
        world.send_from("203.0.113.5:1", request(Method::GET, "/v1/tools", &guess, None)).await;
    }
    let records = |query: &'static str| async {
        world.audit.checkpoint().await.unwrap();
        world.get(query, &world.operator).await
    };
    let found = records("/v1/audit?action=authn.refused").await;
    assert_eq!(found.json["entries"].as_array().unwrap().len(), 1, "{}", found.text);
    world.gateway.refusals().flush(crate::refusals::AtTheEnd::Yes);
    let found = records("/v1/audit?action=authn.refused").await;
    let counts: Vec<_> = found.json["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["record"]["detail"]["count"].as_u64().unwrap())
        .collect();
    assert_eq!(counts, [1, 49]);
}

#[tokio::test]
async fn supervision_is_never_limited() {
    let world = World::with(|_config, limits| tight(limits)).await;
    for path in ["/healthz", "/readyz", "/metrics"] {
        for _ in 0..20 {
            let answer = world.send_from("203.0.113.5:1", request(Method::GET, path, "", None)).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn attack_44_a_flood_of_guesses_does_not_reach_the_store() {
    let world = World::with(|_config, limits| {
        tight(limits);
        limits.user_burst = NonZeroU32::new(100).unwrap();
    })
    .await;
    let entropy = CountingEntropy::default();
    let keys: Vec<KeyText> = (0..2).map(|_| KeyText::mint(KeyUse::Api, &entropy)).collect();
    for (n, key) in keys.iter().enumerate() {
        let row = KeyRow {
            id: KeyId::from_bytes([u8::try_from(n).unwrap(); 16]),
            tenant: "default".parse().unwrap(),
            user: "ann".parse().unwrap(),
            role: Role::Agent,
            label: String::new(),
            secret_digest: key.digest(),
            results: "text".into(),
            created_at: world.gateway.clock().now(),
            revoked_at: None,
        };
        world.store.keys().insert(row).await.unwrap();
    }
    let send = |from: &'static str, key: &str| {
        let request = request(Method::GET, "/v1/tools", key, None);
        world.send_from(from, request)
    };
    assert_eq!(send("203.0.113.5:1", keys[0].expose()).await.status, 200);
    for n in 0..4 {
        send("203.0.113.5:1", &format!("sk_{}{n}A", "A".repeat(41))).await;
    }
    // The second key was never seen: from there it is one guess more, and nobody looks whether it is a good one.
    let unseen = send("203.0.113.5:1", keys[1].expose()).await;
    assert_eq!(unseen.brief(), (429, "rate_limited"));
    assert!(unseen.headers.contains_key("retry-after"));
    assert_eq!(send("203.0.113.5:1", keys[0].expose()).await.status, 200, "who was known before is not held up");
    assert_eq!(send("203.0.113.6:1", keys[1].expose()).await.status, 200, "nor anybody elsewhere");
}

#[tokio::test]
async fn attack_44_limits_say_where_they_stand_and_retry_after_agrees() {
    let world = World::with(|_config, limits| tight(limits)).await;
    let key = world.key("agent", "ann").await;
    let mut left = Vec::new();
    for _ in 0..5 {
        let answer = world.get("/v1/tools", &key).await;
        let limit = answer.headers["ratelimit"].to_str().unwrap().to_owned();
        assert!(
            answer.headers["ratelimit-policy"].to_str().unwrap().starts_with("\"user\";q=5;w=300, \"tenant\";q=100;")
        );
        left.push(limit.split(['=', ';']).nth(2).unwrap().to_owned());
    }
    assert_eq!(left, ["4", "3", "2", "1", "0"]);
    let refused = world.get("/v1/tools", &key).await;
    assert_eq!(refused.brief(), (429, "rate_limited"));
    let after = refused.headers["retry-after"].to_str().unwrap();
    assert_eq!(refused.headers["ratelimit"], format!("\"user\";r=0;t={after}").as_str());
    assert_eq!(refused.headers["ratelimit-policy"], "\"user\";q=5;w=300");
    let open = world.send_from("203.0.113.5:1", request(Method::GET, "/openapi.json", "", None)).await;
    assert!(open.headers["ratelimit"].to_str().unwrap().starts_with("\"address\";r=2;"));
    let exempt = world.send_from("203.0.113.5:1", request(Method::GET, "/healthz", "", None)).await;
    assert!(!exempt.headers.contains_key("ratelimit"));
}

#[tokio::test]
async fn attack_44_a_name_that_is_no_tool_is_counted_nowhere() {
    let world = World::with(|_config, limits| {
        let (one, tool) = (NonZeroU32::MIN, "*".to_owned());
        limits.tools = vec![ToolBudget { tool, per_minute: one, burst: one, per: Sharing::Everyone }];
    })
    .await;
    let key = world.key("agent", "ann").await;
    let long = "x".repeat(100_000);
    for name in ["ab.c", "ab.c", "ab.d", "no-tool", "no-tool", long.as_str(), long.as_str()] {
        let body = serde_json::json!({"steps": [{"tool": name, "arguments": {}}]});
        let plan = world.post("/v1/plans", &key, &body).await;
        assert!(matches!(plan.status.as_u16(), 400..=428), "{}", plan.text);
        if name.len() < 100 {
            let path = format!("/v1/tools/{name}/call");
            let call = world.post(&path, &key, &serde_json::json!({"arguments": {}})).await;
            assert!(matches!(call.status.as_u16(), 400..=428), "{}", call.text);
            assert!(!call.headers["ratelimit"].to_str().unwrap().contains("\"tool\""));
        }
    }
    // A plan's form comes first, whatever it names.
    let steps: Vec<_> = (0..51).map(|_| serde_json::json!({"tool": "ab.c", "arguments": {}})).collect();
    let plan = world.post("/v1/plans", &key, &serde_json::json!({"steps": steps})).await;
    assert_eq!(plan.brief(), (422, "invalid_plan"), "{}", plan.text);
}
