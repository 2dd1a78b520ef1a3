//! Who reaches what.

use crate::admission::Access;
use crate::fixtures::{World, request};
use crate::routes;
use http::Method;
use sophon_types::Role;

/// A path of the template with something in its variable parts.
fn filled(path: &str) -> String {
    path.replace("{tool}", "a-skill.tool")
        .replace("{id}", "call_00000000000000000000000000000000")
        .replace("{name}", "a-skill")
        .replace("{service}", "github")
        .replace("{fingerprint}", &"0".repeat(64))
}

#[tokio::test]
async fn every_route_asks_for_exactly_its_roles() {
    let world = World::new().await;
    let mut keys = Vec::new();
    for role in [Role::Agent, Role::Approver, Role::Publisher, Role::Admin] {
        keys.push((role, world.key(role.as_str(), "ann").await));
    }
    for route in routes::table() {
        let Access::Roles(allowed) = route.access else { continue };
        let method = Method::from_bytes(route.verb.as_str().as_bytes()).unwrap();
        let path = filled(route.path);
        let nobody = world.send(request(method.clone(), &path, "", None)).await;
        assert_eq!(nobody.brief(), (401, "key_missing"), "{method} {path}");
        for (role, key) in &keys {
            let answer = world.send(request(method.clone(), &path, key, None)).await;
            let refused = answer.brief() == (403, "role_refused");
            assert_eq!(refused, !allowed.contains(role), "{method} {path} as {role}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn attack_41_an_agents_key_reaches_nothing_that_decides() {
    let reachable: Vec<_> = routes::table()
        .into_iter()
        .filter(|route| matches!(route.access, Access::Roles(roles) if roles.contains(&Role::Agent)))
        .map(|route| format!("{} {}", route.verb.as_str(), route.path))
        .collect();
    assert_eq!(
        reachable,
        [
            "GET /v1/tools",
            "POST /v1/tools/{tool}/call",
            "GET /v1/calls/{id}",
            "POST /v1/plans",
            "GET /v1/plans/{id}",
            "GET /v1/approvals",
            "GET /v1/approvals/{id}",
            "POST /v1/sessions",
            "GET /v1/schedules",
            "GET /v1/schedules/{id}",
            "POST /v1/schedules",
            "DELETE /v1/schedules/{id}",
            "POST /v1/external-content",
            "GET /v1/events"
        ]
    );
    let world = World::new().await;
    let agent = world.key("agent", "ann").await;
    for path in ["/v1/approvals/x/approve", "/v1/approvals/x/reject", "/v1/grants"] {
        let answer = world.post(path, &agent, &serde_json::json!({})).await;
        assert_eq!(answer.brief(), (403, "role_refused"), "{path}");
    }
    // The first try is on record at once, with who, where and under which id; what follows as one record.
    world.audit.checkpoint().await.unwrap();
    let found = world.get("/v1/audit?action=authz.refused", &world.operator).await;
    let first = &found.json["entries"][0]["record"];
    assert_eq!(first["detail"]["routes"], serde_json::json!(["POST /v1/approvals/{id}/approve"]), "{}", found.text);
    assert_eq!((&first["user"], &first["code"]), (&"ann".into(), &"role_refused".into()));
    assert!(first["key"].is_string() && first["correlation"].is_string(), "{first}");
    world.gateway.refusals().flush(crate::refusals::AtTheEnd::Yes);
    world.audit.checkpoint().await.unwrap();
    let found = world.get("/v1/audit?action=authz.refused", &world.operator).await;
    let second = &found.json["entries"][1]["record"]["detail"];
    let routes = ["POST /v1/approvals/{id}/reject", "POST /v1/grants"];
    assert_eq!((&second["routes"], &second["count"]), (&routes.as_slice().into(), &2.into()), "{}", found.text);
    assert_eq!(found.json["entries"].as_array().unwrap().len(), 2);
    // What a person has allowed is not the agent's to see or to change.
    assert_eq!(world.get("/v1/sessions", &agent).await.brief(), (403, "role_refused"));
    assert_eq!(world.delete("/v1/sessions/x", &agent).await.brief(), (403, "role_refused"));
}

#[tokio::test]
async fn attack_41_what_a_key_does_not_reach_is_on_record_and_a_flood_of_it_is_bounded() {
    let world = World::new().await;
    let admin = world.key("admin", "ann").await;
    let named = serde_json::json!({"role": "agent", "user": "bob", "tenant": "other"});
    for _ in 0..50 {
        assert_eq!(world.post("/v1/keys", &admin, &named).await.brief(), (403, "scope_refused"));
    }
    let person = world.key("approver", "bob").await;
    let own = serde_json::json!({"owner": "tenant", "fields": {"token": "0123456789abcdef"}});
    let answer = world.put("/v1/credentials/github", &person, &own).await;
    assert_eq!(answer.brief(), (403, "scope_refused"), "{}", answer.text);
    world.gateway.refusals().flush(crate::refusals::AtTheEnd::Yes);
    world.audit.checkpoint().await.unwrap();
    let found = world.get("/v1/audit?action=authz.refused", &world.operator).await;
    let told: Vec<_> = found.json["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| &entry["record"])
        .map(|record| (record["user"].as_str().unwrap(), record["detail"]["count"].as_u64().unwrap()))
        .collect();
    assert_eq!(told, [("ann", 1), ("bob", 1), ("ann", 49)], "{}", found.text);
}

#[tokio::test]
async fn only_the_operator_acts_for_others() {
    let world = World::new().await;
    let admin = world.key("admin", "ann").await;
    let with = |key: &str, name: &'static str, value: &str| {
        let mut request = request(Method::GET, "/v1/keys", key, None);
        request.headers_mut().insert(name, value.parse().unwrap());
        request
    };
    let other = world.send(with(&world.operator, "x-sophon-tenant", "other")).await;
    assert_eq!((other.status.as_u16(), other.json["keys"].as_array().unwrap().len()), (200, 0));
    let wrong = world.send(with(&world.operator, "x-sophon-tenant", "not a tenant")).await;
    assert_eq!(wrong.brief(), (400, "invalid_parameter"));
    // For a key the header means nothing: it stays in its tenant.
    let own = world.send(with(&admin, "x-sophon-tenant", "other")).await;
    assert_eq!(own.json["keys"].as_array().unwrap().len(), 1);
    let named = serde_json::json!({"role": "agent", "user": "bob", "tenant": "other"});
    assert_eq!(world.post("/v1/keys", &admin, &named).await.brief(), (403, "scope_refused"));
    assert_eq!(world.post("/v1/keys", &world.operator, &named).await.status, 201);
}

#[tokio::test]
async fn names_and_origins_are_checked_before_anything_else() {
    let world = World::new().await;
    let mut rebound = request(Method::GET, "/healthz", "", None);
    rebound.headers_mut().insert("host", "evil.example".parse().unwrap());
    assert_eq!(world.send(rebound).await.brief(), (403, "host_refused"));
    let mut page = request(Method::GET, "/v1/tools", &world.operator, None);
    page.headers_mut().insert("origin", "https://evil.example".parse().unwrap());
    assert_eq!(world.send(page).await.brief(), (403, "origin_refused"));
}
