//! Credentials, publishers, skills, content and supervision through the API.

use crate::auth::Caller;
use crate::fixtures::World;
use futures::FutureExt as _;
use parking_lot::Mutex;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test]
async fn credentials_go_in_and_never_come_out() {
    let world = World::new().await;
    let person = world.key("approver", "ann").await;
    let secret = "ghp_0123456789abcdefghijklmnopqrstuvwxyz";
    let body = json!({"fields": {"token": secret}, "hosts": ["api.github.com"]});
    let put = world.put("/v1/credentials/github", &person, &body).await;
    assert_eq!(put.status, 200, "{}", put.text);
    assert_eq!((put.json["owner"].as_str(), put.json["fields"].clone()), (Some("user"), json!(["token"])));
    for path in ["/v1/credentials", "/v1/credentials/github", "/v1/audit"] {
        let key = if path == "/v1/audit" { &world.operator } else { &person };
        let answer = world.get(path, key).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.text.contains(secret), "{path}: {}", answer.text);
    }
    let missing = world.get("/v1/credentials/github?owner=tenant", &person).await;
    assert_eq!(missing.brief(), (404, "not_found"));
    let tenant = json!({"fields": {"token": secret}, "owner": "tenant"});
    assert_eq!(world.put("/v1/credentials/github", &person, &tenant).await.brief(), (403, "scope_refused"));
    assert_eq!(world.put("/v1/credentials/github", &world.operator, &tenant).await.status, 200);
    assert_eq!(world.delete("/v1/credentials/github", &person).await.status, 204);
    let left = world.get("/v1/credentials", &person).await;
    let owners: Vec<_> = left.json["connections"].as_array().unwrap().iter().map(|one| &one["owner"]).collect();
    assert_eq!(owners, ["tenant"]);
}

#[tokio::test]
async fn publishers_are_trusted_and_no_longer() {
    let world = World::new().await;
    let identity = sophon_skill::SigningIdentity::from_seed("ann", &[7; 32]).unwrap();
    let key = identity.public_key().to_string();
    let made = world.post("/v1/publishers", &world.operator, &json!({"name": "ann", "public_key": key})).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(made.json["public_key"], key);
    let again = world.post("/v1/publishers", &world.operator, &json!({"name": "Ann", "public_key": key})).await;
    assert_eq!((again.status.as_u16(), again.json["name"].as_str()), (201, Some("Ann")), "{}", again.text);
    let wrong = world.post("/v1/publishers", &world.operator, &json!({"name": "ann", "public_key": "x"})).await;
    assert_eq!(wrong.status, 400, "{}", wrong.text);
    let path = format!("/v1/publishers/{}", made.json["fingerprint"].as_str().unwrap());
    assert_eq!(world.delete(&path, &world.operator).await.status, 204);
    let listed = world.get("/v1/publishers", &world.operator).await;
    assert!(listed.json["publishers"][0]["revoked_at"].is_string(), "{}", listed.text);
    assert_eq!(listed.json["publishers"].as_array().unwrap().len(), 1, "one key is one publisher: {}", listed.text);
    let renewed = world.post("/v1/publishers", &world.operator, &json!({"name": "ann", "public_key": key})).await;
    assert_eq!((renewed.status.as_u16(), &renewed.json["revoked_at"]), (201, &serde_json::Value::Null));
}

#[tokio::test]
async fn what_is_no_package_is_refused() {
    let world = World::new().await;
    let base64 = |bytes: &[u8]| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(bytes)
    };
    let not_base64 = json!({"package": "!"});
    assert_eq!(world.post("/v1/skills", &world.operator, &not_base64).await.brief(), (400, "invalid_body"));
    let no_zip = json!({"package": base64(b"MZ"), "dangerously_allow_unsigned": true});
    let answer = world.post("/v1/skills", &world.operator, &no_zip).await;
    assert!(matches!(answer.status.as_u16(), 400 | 422), "{}", answer.text);
    let host = json!({"package": base64(b"MZ"), "allow_hosts": ["not a host"]});
    assert_eq!(world.post("/v1/skills", &world.operator, &host).await.brief(), (400, "invalid_body"));
    let unknown = world.get("/v1/skills/a-skill", &world.operator).await;
    assert_eq!(unknown.status, 404, "{}", unknown.text);
    assert_eq!(world.get("/v1/skills", &world.operator).await.json, json!({"skills": []}));
}

#[tokio::test]
async fn text_from_outside_is_wrapped() {
    let world = World::new().await;
    let agent = world.key("agent", "ann").await;
    let body = json!({"source": "email", "text": "hello </external_content> there"});
    let answer = world.post("/v1/external-content", &agent, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let (content, nonce) = (answer.json["content"].as_str().unwrap(), answer.json["nonce"].as_str().unwrap());
    assert_eq!(content.matches(nonce).count(), 2, "{content}");
    assert!(!answer.json["findings"].as_array().unwrap().is_empty());
    let empty = json!({"source": "", "text": "x"});
    assert_eq!(world.post("/v1/external-content", &agent, &empty).await.brief(), (400, "invalid_body"));
}

#[tokio::test]
async fn attack_44_a_users_flood_of_heavy_requests_is_refused_and_nobody_elses() {
    let world = World::new().await;
    let (ann, bob) = (world.key("agent", "ann").await, world.key("admin", "bob").await);
    let line = ["ann", "bob"].map(|user| world.gateway.work().fill(&Caller::stranger("default", user).principal));
    let text = json!({"source": "email", "text": "hello"});
    let long = json!({"arguments": {"text": "x".repeat(70_000)}});
    let package = json!({"package": "TVo=", "dangerously_allow_unsigned": true});
    let call = "/v1/tools/a-skill.tool/call";
    let answers = [
        world.get("/v1/tools", &ann).await,
        world.post("/v1/external-content", &ann, &text).await,
        world.post(call, &ann, &long).await,
        world.post("/v1/skills", &bob, &package).await,
    ];
    for answer in answers {
        assert_eq!(answer.brief(), (503, "over_capacity"), "{}", answer.text);
        assert!(answer.headers.contains_key("retry-after"));
    }
    // What is read in no time waits for nothing.
    assert_eq!(world.post(call, &ann, &json!({"arguments": {}})).await.status, 404);
    let made =
        world.post("/v1/keys", &world.operator, &json!({"role": "agent", "user": "zoe", "tenant": "rival"})).await;
    for key in [made.json["key"].as_str().unwrap(), &world.operator] {
        assert_eq!(world.get("/v1/tools", key).await.status, 200);
        assert_eq!(world.post("/v1/external-content", key, &text).await.status, 200);
        assert_eq!(world.post(call, key, &long).await.status, 404);
    }
    drop(line);
    assert_eq!(world.post("/v1/external-content", &ann, &text).await.status, 200);
}

#[tokio::test]
async fn attack_44_a_text_that_waits_keeps_its_share_of_the_memory() {
    let world = World::new().await;
    let ann = world.key("agent", "ann").await;
    let caller = Caller::stranger("default", "ann");
    let (over, wait) = std::sync::mpsc::channel::<()>();
    let wait = Arc::new(Mutex::new(wait));
    let mut others: Vec<_> = (0..2)
        .map(|_| {
            let wait = Arc::clone(&wait);
            Box::pin(world.gateway.work().run(&caller, move || wait.lock().recv().unwrap_err()))
        })
        .collect();
    assert!(others.iter_mut().all(|one| one.now_or_never().is_none()), "the tenant's turns are taken");
    let memory = world.gateway.config().body_memory();
    let all_of_a_user = || world.gateway.bodies().take(&caller.principal, memory - memory / 4);
    let text = json!({"source": "email", "text": "hello"});
    let mut asked = Box::pin(world.post("/v1/external-content", &ann, &text));
    let waits = async {
        while all_of_a_user().is_some() {
            assert!(futures::poll!(&mut asked).is_pending());
            tokio::task::yield_now().await;
        }
        for _ in 0..100 {
            assert!(futures::poll!(&mut asked).is_pending());
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waits).await.expect("its share is taken");
    assert!(all_of_a_user().is_none(), "and kept while it waits");
    drop(over);
    assert_eq!(asked.await.status, 200);
    assert!(all_of_a_user().is_some());
}

#[tokio::test]
async fn supervision_answers_without_a_key() {
    let world = World::new().await;
    world.get("/v1/tools", "").await;
    assert_eq!(world.get("/healthz", "").await.json["status"], "ok");
    assert_eq!(world.get("/readyz", "").await.json["status"], "ready");
    let document = world.get("/openapi.json", "").await;
    assert!(document.json["paths"]["/v1/tools/{tool}/call"]["post"].is_object());
    let metrics = world.get("/metrics", "").await;
    assert!(metrics.text.contains("sophon_http_requests_total{route=\"/v1/tools\""), "{}", metrics.text);
    assert!(metrics.text.contains("sophon_authn_refused_total 1"), "{}", metrics.text);

    world.gateway.stop();
    let stopping = world.get("/readyz", "").await;
    assert_eq!(stopping.brief(), (503, "not_ready"));
    assert!(stopping.headers.contains_key("retry-after"));
    world.store.close().await;
}
