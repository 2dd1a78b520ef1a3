//! The audit log through the API.

use crate::fixtures::{World, request};
use http::Method;
use serde_json::json;
use tower::ServiceExt as _;

#[tokio::test]
async fn an_admin_reads_their_tenant_and_the_operator_the_home() {
    let world = World::new().await;
    for tenant in ["default", "other"] {
        let body = json!({"role": "agent", "user": "bob", "tenant": tenant});
        assert_eq!(world.post("/v1/keys", &world.operator, &body).await.status, 201);
    }
    let admin =
        world.post("/v1/keys", &world.operator, &json!({"role": "admin", "user": "eve", "tenant": "third"})).await;
    let admin = admin.json["key"].as_str().unwrap();
    world.post("/v1/keys", admin, &json!({"role": "agent", "user": "bob"})).await;

    let count = |text: &serde_json::Value| text["entries"].as_array().unwrap().len();
    let all = world.get("/v1/audit?action=key.create", &world.operator).await;
    assert_eq!(count(&all.json), 8, "an intent and an outcome each: {}", all.text);
    let own = world.get("/v1/audit?action=key.create", admin).await;
    assert_eq!(count(&own.json), 2, "{}", own.text);
    assert!(own.json["entries"].as_array().unwrap().iter().all(|entry| entry["record"]["tenant"] == "third"));

    let export = world.get("/v1/audit/export", admin).await;
    assert_eq!(export.headers["content-type"], "application/x-ndjson");
    assert!(export.text.contains("third") && !export.text.contains("\"other\""), "{}", export.text);
    let found = sophon_audit::verify_export(export.text.as_bytes(), None).unwrap();
    assert!(found.is_intact() && found.records >= 8, "{found:?}");
}

#[tokio::test]
async fn queries_are_paged_and_checked() {
    let world = World::new().await;
    for _ in 0..4 {
        world.key("agent", "ann").await;
    }
    let mut seen = 0;
    let mut path = "/v1/audit?limit=3".to_owned();
    loop {
        let page = world.get(&path, &world.operator).await;
        seen += page.json["entries"].as_array().unwrap().len();
        match page.json["next"].as_u64() {
            Some(next) => path = format!("/v1/audit?limit=3&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen, 8);
    for wrong in ["action=nonsense", "since=yesterday", "order=random", "limit=-1", "call=x", "tool=x", "page=1"] {
        let answer = world.get(&format!("/v1/audit?{wrong}"), &world.operator).await;
        assert_eq!(answer.brief(), (400, "invalid_parameter"), "{wrong}");
    }
    let verified = world.get("/v1/audit/verify", &world.operator).await;
    assert_eq!((verified.json["intact"].as_bool(), verified.json["records"].as_u64()), (Some(true), Some(8)));
    assert_eq!(verified.json["public_key"].as_str().unwrap().len(), 64);
}

#[tokio::test]
async fn one_pass_over_the_whole_log_runs_at_a_time() {
    let world = World::new().await;
    world.key("agent", "ann").await;
    let export = request(Method::GET, "/v1/audit/export", &world.operator, None);
    let unread = world.gateway.router().oneshot(export).await.unwrap();
    assert_eq!(unread.status(), 200);
    for path in ["/v1/audit/verify", "/v1/audit/export"] {
        let busy = world.get(path, &world.operator).await;
        assert_eq!(busy.brief(), (503, "audit_busy"), "{path}");
        assert!(busy.headers.contains_key("retry-after"), "{path}");
    }
    assert_eq!(world.get("/v1/audit", &world.operator).await.status, 200, "a page is no pass");
    drop(unread);
    for path in ["/v1/audit/verify", "/v1/audit/export", "/v1/audit/verify"] {
        assert_eq!(world.get(path, &world.operator).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn an_export_signs_only_what_is_new() {
    let world = World::new().await;
    world.key("agent", "ann").await;
    let checkpoints = || async {
        assert_eq!(world.get("/v1/audit/export", &world.operator).await.status, 200);
        world.get("/v1/audit/verify", &world.operator).await.json["checkpoints"].as_u64().unwrap()
    };
    let first = checkpoints().await;
    assert_eq!((checkpoints().await, checkpoints().await), (first, first), "nothing was appended since");
    world.key("agent", "bob").await;
    assert_eq!((checkpoints().await, checkpoints().await), (first + 1, first + 1));
}

#[tokio::test]
async fn attack_44_each_page_of_a_csv_export_waits_for_its_tenants_turn() {
    let world = World::new().await;
    let admin = world.key("admin", "root").await;
    let held = world.gateway.audit_queries().begin(Some("default".parse().unwrap())).await.unwrap();
    let request = crate::fixtures::request(http::Method::GET, "/v1/audit/export?format=csv", &admin, None);
    let answer = world.open(request).await;
    assert_eq!(answer.status(), 200);
    let mut body = Box::pin(axum::body::to_bytes(answer.into_body(), 1 << 20));
    for _ in 0..10 {
        assert!(futures::poll!(&mut body).is_pending(), "it reads beside another query of its tenant");
        tokio::task::yield_now().await;
    }
    drop(held);
    assert!(body.await.unwrap().starts_with(b"position,writer,seq"));
}
