//! The gateway on a socket, and what surrounds a request.

use crate::admission::{Access, Hurry, Pace, Rule, admit};
use crate::extract::BodyLimit;
use crate::fixtures::{World, request};
use crate::{Challenge, RunFile, frame};
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use futures::StreamExt as _;
use http::Method;
use serde_json::json;
use sophon_types::{KeyId, Principal, Role};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
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
    let other = Principal {
        tenant: "other".parse().unwrap(),
        user: "ann".parse().unwrap(),
        key: KeyId::from_bytes([1; 16]),
        role: Role::Agent,
    };
    let taken = world.gateway.calls().take(&other, 2).unwrap();
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

#[tokio::test]
async fn only_the_operator_may_wait_for_a_long_pass() {
    async fn slow() -> &'static str {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        "done"
    }
    let world = World::with(|config, _limits| config.request_timeout_seconds = 1.try_into().unwrap()).await;
    let admin = world.key("admin", "ann").await;
    let status = |hurry: Hurry, key: &str| {
        let access = Access::Roles(&[Role::Admin]);
        let pace = Pace::Limited;
        let rule = Rule { method: "GET", path: "/slow", access, hurry, pace, body_limit: BodyLimit(0) };
        let router = Router::new()
            .route("/slow", get(slow).route_layer(from_fn_with_state((world.gateway.clone(), rule), admit)))
            .layer(from_fn_with_state(world.gateway.clone(), frame::frame));
        let request = request(Method::GET, "/slow", key, None);
        async { router.oneshot(request).await.unwrap().status().as_u16() }
    };
    let (operator, admin) = (world.operator.as_str(), admin.as_str());
    let statuses = tokio::join!(
        status(Hurry::NotForTheOperator, operator),
        status(Hurry::NotForTheOperator, admin),
        status(Hurry::Always, operator),
    );
    assert_eq!(statuses, (200, 504, 504));
    let unhurried: Vec<_> = crate::routes::table()
        .into_iter()
        .filter(|route| route.hurry == Hurry::NotForTheOperator)
        .map(|route| route.path)
        .collect();
    assert_eq!(unhurried, ["/v1/audit/verify", "/v1/audit/export"]);
}

#[tokio::test]
async fn a_body_that_stops_coming_ends_the_request() {
    let world = World::with(|config, _limits| config.stall_seconds = 1.try_into().unwrap()).await;
    let mut stalled = request(Method::POST, "/v1/external-content", &world.operator, Some(String::new()));
    let begun = futures::stream::once(async { Ok::<_, std::io::Error>(bytes::Bytes::from_static(b"{")) });
    *stalled.body_mut() = axum::body::Body::from_stream(begun.chain(futures::stream::pending()));
    let answer = world.send(stalled).await;
    assert_eq!(answer.brief(), (400, "invalid_body"), "{}", answer.text);
}

/// A gateway on a socket, for as long as the test runs.
async fn serving(world: &World) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let gateway = world.gateway.clone();
    tokio::spawn(async move { gateway.serve(listener, std::future::pending()).await.unwrap() });
    address
}

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// What comes at once or, in a test, soon: never after a place became free.
async fn exchange_soon(address: SocketAddr, request: &str) -> String {
    let answer = tokio::time::timeout(Duration::from_secs(60), exchange(address, request)).await;
    answer.expect("nobody waits for a place")
}

/// Checks an answer that no handler has made.
fn assert_no_place(answer: &str, setting: &str) {
    let (head, body) = answer.split_once("\r\n\r\n").expect(answer);
    assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
    let length = format!("content-length: {}", body.len());
    for field in ["retry-after: 1", "connection: close", "content-type: application/problem+json", &length] {
        assert!(head.lines().any(|line| line == field), "{field}: {answer}");
    }
    let problem: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!((problem["code"].as_str(), problem["status"].as_u64()), (Some("over_capacity"), Some(503)), "{answer}");
    assert!(problem["hint"].as_str().is_some_and(|hint| hint.contains(setting)), "{answer}");
    assert!(head.contains(problem["correlation_id"].as_str().unwrap()), "{answer}");
}

/// A connection with a request of a known caller that does not end, and that has its answer where it is refused.
async fn begin(address: SocketAddr, key: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /v1/external-content HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // hyper says it when the body is asked for, which is when the request is known to be of somebody.
    let mut said = [0; 12];
    stream.read_exact(&mut said).await.unwrap();
    (stream, String::from_utf8_lossy(&said).into_owned())
}

#[tokio::test]
async fn attack_44_where_every_connection_serves_somebody_the_next_is_refused_at_once() {
    let world = World::with(|config, _limits| config.max_connections = 1.try_into().unwrap()).await;
    let address = serving(&world).await;
    let (busy, said) = begin(address, &world.key("agent", "ann").await).await;
    assert_eq!(said, "HTTP/1.1 100");
    assert_no_place(&exchange_soon(address, HEALTH).await, "max_connections");
    drop(busy);
    let free = async { while !exchange(address, HEALTH).await.starts_with("HTTP/1.1 200 ") {} };
    tokio::time::timeout(Duration::from_secs(60), free).await.expect("the place is free again");
}

#[tokio::test]
async fn attack_44_a_few_connections_are_left_for_those_who_are_refused() {
    let world = World::with(|config, _limits| config.max_connections = 16.try_into().unwrap()).await;
    let address = serving(&world).await;
    let mut keys = vec![world.key("agent", "ann").await, world.key("agent", "bob").await];
    for tenant in ["rival", "third"] {
        let body = json!({"role": "agent", "user": "zoe", "tenant": tenant});
        let made = world.post("/v1/keys", &world.operator, &body).await;
        keys.push(made.json["key"].as_str().unwrap().to_owned());
    }
    let mut begun = Vec::new();
    for _ in 0..4 {
        for key in &keys {
            begun.push(begin(address, key).await);
        }
    }
    let refused = begun.iter().filter(|(_, said)| said == "HTTP/1.1 503").count();
    assert_eq!((begun.len(), refused), (16, 1));
    let further = format!(
        "GET /v1/tools HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
        keys[0]
    );
    for _ in 0..3 {
        let answer = exchange_soon(address, &further).await;
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("more requests of this caller"), "{answer}");
        assert!(exchange_soon(address, HEALTH).await.starts_with("HTTP/1.1 200 "));
    }
}

#[tokio::test]
async fn attack_44_a_client_that_does_not_read_does_not_keep_its_place() {
    let world = World::with(|config, _limits| {
        config.max_connections = 1.try_into().unwrap();
        config.stall_seconds = 1.try_into().unwrap();
    })
    .await;
    let address = serving(&world).await;
    let socket = TcpSocket::new_v4().unwrap();
    // As little room as the system allows, so that the gateway's side fills up soon.
    socket.set_recv_buffer_size(1024).unwrap();
    let mut stalling = socket.connect(address).await.unwrap();
    let pipelined = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1000);
    let let_go = async { while stalling.write_all(pipelined.as_bytes()).await.is_ok() {} };
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, let_go).await.expect("the connection of a client that reads nothing is ended");
    let answer = tokio::time::timeout(limit, exchange(address, HEALTH)).await.expect("its place is free again");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn attack_44_one_address_cannot_take_every_place() {
    let world = World::with(|config, _limits| config.max_connections_per_address = 2.try_into().unwrap()).await;
    let address = serving(&world).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(HEALTH.replace("close", "keep-alive").as_bytes()).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'H');
        open.push(stream);
    }
    // Who sends nothing is answered too.
    for request in [HEALTH, ""] {
        assert_no_place(&exchange_soon(address, request).await, "max_connections_per_address");
    }
    let metrics = world.get("/metrics", "").await;
    assert!(metrics.text.contains("sophon_http_connections_refused_total 2"), "{}", metrics.text);
    drop(open);
    let again = async {
        loop {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let mut answer = String::new();
            drop(stream.write_all(HEALTH.as_bytes()).await);
            drop(stream.read_to_string(&mut answer).await);
            if answer.starts_with("HTTP/1.1 200 ") {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), again).await.expect("a place that was left is free again");
}

#[tokio::test]
async fn a_gateway_proves_that_it_knows_its_token_and_shows_nothing() {
    let world = World::new().await;
    let run = RunFile { address: "127.0.0.1:1".parse().unwrap(), token: world.operator.clone(), pid: 1 };
    let challenge = Challenge::fresh(world.gateway.entropy());
    let answer = world.get(&challenge.path(), "").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(challenge.is_answered(&run, answer.json["proof"].as_str().unwrap()), "{}", answer.text);
    assert!(!answer.text.contains(&world.operator), "{}", answer.text);
    let other = RunFile { token: World::new().await.operator.replace("op_", "op_x"), ..run };
    assert!(!challenge.is_answered(&other, answer.json["proof"].as_str().unwrap()));
    for nonce in ["", "short", &"a".repeat(129), &"%0A".repeat(40)] {
        let answer = world.get(&format!("/v1/operator/hello?nonce={nonce}"), "").await;
        assert_eq!(answer.brief(), (400, "invalid_parameter"), "{nonce}");
    }
}
