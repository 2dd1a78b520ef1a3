//! The gateway on a socket, and what surrounds a request.

use crate::fixtures::{World, request};
use crate::frame;
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use http::Method;
use serde_json::json;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt as _;

async fn exchange(address: std::net::SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn serving_begins_and_ends_on_the_record() {
    let world = World::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let gateway = world.gateway.clone();
    let serving = tokio::spawn(async move {
        gateway.serve(listener, async { stopped.await.unwrap_or_default() }).await.unwrap();
    });
    let head = format!(
        "GET /v1/tools HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
        world.operator
    );
    let answer = exchange(address, &head).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("{\"tools\":[]}"), "{answer}");
    let foreign = "GET /healthz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert!(exchange(address, foreign).await.starts_with("HTTP/1.1 403 "));
    let fields = "X-A: b\r\n".repeat(100);
    let many = exchange(address, &format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")).await;
    assert!(many.starts_with("HTTP/1.1 431 "), "{many}");

    // A connection that is idle does not hold up the end.
    let idle = TcpStream::connect(address).await.unwrap();
    stop.send(()).unwrap();
    serving.await.unwrap();
    drop(idle);
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
    let actions: Vec<_> = world
        .audit
        .tail(None, 10)
        .await
        .unwrap()
        .iter()
        .map(|entry| entry.record["action"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(actions, ["gateway.start", "gateway.stop"]);
    let after = world.post("/v1/tools/a-skill.tool/call", &world.operator, &json!({"arguments": {}})).await;
    assert_eq!(after.status, 503, "{}", after.text);
}

#[tokio::test]
async fn over_capacity_says_when_to_come_back() {
    let world = World::with(|config, _limits| config.max_concurrent_calls = 2.try_into().unwrap()).await;
    let taken = Arc::clone(world.gateway.calls()).try_acquire_many_owned(2).unwrap();
    let body = json!({"arguments": {}});
    let call = || world.post("/v1/tools/a-skill.tool/call", &world.operator, &body);
    let busy = call().await;
    assert_eq!(busy.brief(), (503, "over_capacity"));
    assert!(busy.headers.contains_key("retry-after"));
    drop(taken);
    assert_eq!(call().await.status, 404);
}

#[tokio::test]
async fn a_panic_is_an_internal_error_that_tells_nothing() {
    async fn panics() -> &'static str {
        panic!("the secret is hunter2")
    }
    let world = World::new().await;
    let router = Router::new().route("/panics", get(panics));
    let router = router.layer(from_fn_with_state(world.gateway.clone(), frame::frame));
    let response = router.oneshot(request(Method::GET, "/panics", "", None)).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (500, &"application/problem+json".parse().unwrap())
    );
    let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert!(text.contains("\"code\":\"internal\"") && !text.contains("hunter2"), "{text}");
}
