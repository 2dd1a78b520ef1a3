//! API keys from their making to their end.

use crate::fixtures::World;
use serde_json::json;

#[tokio::test]
async fn a_key_works_until_it_is_revoked() {
    let world = World::new().await;
    let body = json!({"role": "agent", "user": "ann", "label": "laptop", "structured_results": true});
    let made = world.post("/v1/keys", &world.operator, &body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let key = made.json["key"].as_str().unwrap();
    assert_eq!((made.json["label"].as_str(), made.json["structured_results"].as_bool()), (Some("laptop"), Some(true)));
    for _cold_then_warm in 0..2 {
        assert_eq!(world.get("/v1/tools", key).await.status, 200);
    }
    let listed = world.get("/v1/keys", &world.operator).await;
    assert!(!listed.text.contains(key), "a list shows no key");
    assert_eq!(listed.json["keys"][0]["structured_results"], true);

    let id = made.json["id"].as_str().unwrap();
    assert_eq!(world.delete(&format!("/v1/keys/{id}"), &world.operator).await.status, 204);
    assert_eq!(world.get("/v1/tools", key).await.brief(), (401, "key_invalid"), "at once, not when a cache forgets");
    let listed = world.get("/v1/keys", &world.operator).await;
    assert!(listed.json["keys"][0]["revoked_at"].is_string(), "{}", listed.text);
    let unknown = "key_00000000000000000000000000000000";
    assert_eq!(world.delete(&format!("/v1/keys/{unknown}"), &world.operator).await.brief(), (404, "not_found"));
}

#[tokio::test]
async fn an_admin_cannot_end_the_keys_of_another_tenant() {
    let world = World::new().await;
    let other = json!({"role": "agent", "user": "bob", "tenant": "other"});
    let made = world.post("/v1/keys", &world.operator, &other).await;
    let admin = world.key("admin", "ann").await;
    let path = format!("/v1/keys/{}", made.json["id"].as_str().unwrap());
    assert_eq!(world.delete(&path, &admin).await.brief(), (404, "not_found"));
    assert_eq!(world.get("/v1/tools", made.json["key"].as_str().unwrap()).await.status, 200);
}

#[tokio::test]
async fn the_store_knows_no_key_in_clear() {
    let world = World::new().await;
    let key = world.key("agent", "ann").await;
    let rows = world.store.keys().list(&"default".parse().unwrap()).await.unwrap();
    assert_eq!(rows[0].secret_digest, sophon_types::Digest::of(key.as_bytes()));
    assert!(!format!("{rows:?}").contains(&key));
}
