//! Every error is a problem.

use crate::fixtures::{Answer, World, request};
use http::Method;
use serde_json::json;

fn check(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.brief(), (status, code), "{}", answer.text);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert_eq!(answer.json["status"], status);
    assert_eq!(answer.json["type"], format!("urn:sophon:problem:{code}"));
    for name in ["title", "detail", "stage", "kind", "correlation_id"] {
        assert!(answer.json[name].as_str().is_some_and(|text| !text.is_empty()), "{name}: {}", answer.text);
    }
    assert_eq!(answer.json["correlation_id"].as_str(), answer.headers["x-correlation-id"].to_str().ok());
}

#[tokio::test]
async fn whatever_is_wrong_is_a_problem() {
    let world = World::with(|config, _limits| config.max_body_bytes = 2000.try_into().unwrap()).await;
    let key = world.key("agent", "ann").await;
    let send = |method: Method, path: &str, body: Option<&str>| {
        world.send(request(method, path, &key, body.map(str::to_owned)))
    };
    check(&send(Method::GET, "/nowhere", None).await, 404, "no_such_route");
    check(&send(Method::GET, "/v1/tools/", None).await, 404, "no_such_route");
    let method = send(Method::PUT, "/v1/tools", None).await;
    check(&method, 405, "method_not_allowed");
    assert_eq!(method.headers["allow"], "GET,HEAD");
    check(&send(Method::GET, "/v1/calls/nonsense", None).await, 400, "invalid_parameter");
    let id = "call_00000000000000000000000000000000";
    check(&send(Method::GET, &format!("/v1/calls/{id}?wiat=1"), None).await, 400, "invalid_parameter");
    check(&send(Method::GET, &format!("/v1/calls/{id}?wait=soon"), None).await, 400, "invalid_parameter");

    let call = "/v1/tools/a-skill.tool/call";
    for body in [
        "",
        "{",
        "[]",
        "{}",
        "{\"arguments\": {}, \"arguments\": {}}",
        "{\"arguments\": {}, \"argumnets\": {}}",
        "{\"arguments\": {}, \"wait_seconds\": -1}",
        "{\"arguments\": {}} {}",
        "{\"arguments\": {}, \"session\": \"mine\"}",
    ] {
        check(&send(Method::POST, call, Some(body)).await, 400, "invalid_body");
    }
    check(&send(Method::POST, call, Some("{\"arguments\": {\"a\": 1, \"a\": 2}}")).await, 400, "invalid_json");
    let huge = format!("{{\"arguments\": {{\"a\": \"{}\"}}}}", "x".repeat(2000));
    check(&send(Method::POST, call, Some(&huge)).await, 413, "body_too_large");
    let mut plain = request(Method::POST, call, &key, Some("{\"arguments\": {}}".into()));
    plain.headers_mut().insert("content-type", "text/plain".parse().unwrap());
    check(&world.send(plain).await, 415, "unsupported_media_type");
    let unknown = send(Method::POST, call, Some("{\"arguments\": {}}")).await;
    assert_eq!(unknown.status, 404, "{}", unknown.text);
    check(&unknown, 404, unknown.brief().1);
}

#[tokio::test]
async fn a_body_without_a_length_is_bounded_too() {
    let world = World::with(|config, _limits| config.max_body_bytes = 1000.try_into().unwrap()).await;
    let chunks = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(bytes::Bytes::from_static(&[b' '; 512])));
    let mut endless = request(Method::POST, "/v1/external-content", &world.operator, Some(String::new()));
    *endless.body_mut() = axum::body::Body::from_stream(chunks);
    check(&world.send(endless).await, 413, "body_too_large");
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_ended() {
    let world = World::with(|config, _limits| config.request_timeout_seconds = 1.try_into().unwrap()).await;
    let mut slow = request(Method::POST, "/v1/external-content", &world.operator, Some(String::new()));
    *slow.body_mut() =
        axum::body::Body::from_stream(futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    check(&world.send(slow).await, 504, "request_timeout");
}

#[tokio::test]
async fn unauthenticated_requests_are_told_how() {
    let world = World::new().await;
    let missing = world.get("/v1/tools", "").await;
    check(&missing, 401, "key_missing");
    assert_eq!(missing.headers["www-authenticate"], "Bearer realm=\"sophon\"");
    let unknown = format!("sk_{}", "A".repeat(43));
    check(&world.get("/v1/tools", &unknown).await, 401, "key_invalid");
    check(&world.get("/v1/tools", "hunter2").await, 401, "key_invalid");
    let token = format!("op_{}", "A".repeat(43));
    check(&world.get("/v1/tools", &token).await, 401, "key_invalid");
}

#[tokio::test]
async fn a_valid_traceparent_is_the_correlation() {
    let world = World::new().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let mut traced = request(Method::GET, "/healthz", "", None);
    traced.headers_mut().insert("traceparent", format!("00-{trace}-00f067aa0ba902b7-01").parse().unwrap());
    let answer = world.send(traced).await;
    assert_eq!((answer.status.as_u16(), &answer.headers["x-correlation-id"]), (200, &trace.parse().unwrap()));
    let mut broken = request(Method::GET, "/healthz", "", None);
    broken.headers_mut().insert("traceparent", "00-zz-00f067aa0ba902b7-01".parse().unwrap());
    assert_eq!(world.send(broken).await.headers["x-correlation-id"].len(), 32);
}

#[tokio::test]
async fn a_secret_in_a_malformed_body_is_not_repeated() {
    let world = World::new().await;
    let body = json!({"fields": {"token": {"oops": "hunter2-hunter2"}}, "hosts": "hunter2-hunter2"});
    let answer = world.put("/v1/credentials/github", &world.operator, &body).await;
    check(&answer, 400, "invalid_body");
    assert!(!answer.text.contains("hunter2"), "{}", answer.text);
}
