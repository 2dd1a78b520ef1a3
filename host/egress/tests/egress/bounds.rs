//! Servers that never end, never begin or do not speak HTTP: everything is bounded, nothing hangs.

use crate::server::{Seen, Step, answer};
use crate::world::{World, manifest, tight};
use sophon_egress::{HttpError, HttpRequest};
use sophon_types::Fault;
use std::time::Duration;

const OPEN: &str = r#"["api.example.com"]"#;
const URL: &str = "https://api.example.com/x";

/// What GET and what POST must come to with this server; nothing means success.
async fn check(
    name: &str,
    get: Option<&str>,
    post: Option<&str>,
    script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + Copy + 'static,
) {
    let world = World::new(tight()).await;
    world.script(script);
    let rules = manifest(OPEN);
    for (method, expected) in [("GET", get), ("POST", post)] {
        let session = world.session(&rules, &[]).await;
        let mut request = HttpRequest::new(method, URL);
        request.body = (method == "POST").then(|| "hello".into());
        let outcome = session.send(request).await;
        assert_eq!(outcome.as_ref().err().map(Fault::code), expected, "{name} {method}: {outcome:?}");
    }
}

fn send(text: &str) -> Vec<Step> {
    vec![Step::Send(text.as_bytes().to_vec()), Step::Close]
}

const UNKNOWN: Option<&str> = Some("unknown_outcome");

#[tokio::test]
async fn attack_13_slow_servers_are_cut_off() {
    let timeout = Some("upstream_timeout");
    check("says nothing", timeout, UNKNOWN, |_| vec![Step::Hang]).await;
    check("half a header", timeout, UNKNOWN, |_| vec![Step::Send(b"HTTP/1.1 200 OK\r\nX: ".to_vec()), Step::Hang])
        .await;
    check("one byte at a time", timeout, UNKNOWN, |_| {
        vec![Step::Send(b"HTTP/1.1 200 OK\r\nX: ".to_vec()), Step::Endless(b"a".to_vec(), Duration::from_millis(20))]
    })
    .await;
    check("half a body", timeout, UNKNOWN, |_| {
        vec![Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".to_vec()), Step::Hang]
    })
    .await;
    check("a body in drops", timeout, UNKNOWN, |_| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n".to_vec();
        vec![Step::Send(head), Step::Endless(b"a".to_vec(), Duration::from_millis(50))]
    })
    .await;
    check("informational for ever", timeout, UNKNOWN, |_| {
        vec![Step::Endless(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".to_vec(), Duration::ZERO)]
    })
    .await;
}

#[tokio::test]
async fn attack_13_endless_answers_are_cut_off() {
    let large = Some("response_too_large");
    check("endless header value", large, large, |_| {
        vec![Step::Send(b"HTTP/1.1 200 OK\r\nX: ".to_vec()), Step::Endless(vec![b'a'; 4096], Duration::ZERO)]
    })
    .await;
    check("endless header fields", large, large, |_| {
        vec![Step::Send(b"HTTP/1.1 200 OK\r\n".to_vec()), Step::Endless(b"a: b\r\n".repeat(100), Duration::ZERO)]
    })
    .await;
    check("endless body", large, large, |_| {
        vec![Step::Send(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()), Step::Endless(vec![b'a'; 4096], Duration::ZERO)]
    })
    .await;
    check("endless chunks", large, large, |_| {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        vec![Step::Send(head), Step::Endless(b"5\r\nhello\r\n".repeat(100), Duration::ZERO)]
    })
    .await;
    check("a stated length over the limit", large, large, |_| {
        vec![Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n".to_vec()), Step::Hang]
    })
    .await;
}

#[tokio::test]
async fn attack_14_answers_with_two_readings_are_refused() {
    let protocol = Some("upstream_protocol");
    check("not HTTP", protocol, UNKNOWN, |_| send("SSH-2.0-OpenSSH_9.9\r\n\r\n")).await;
    check("HTTP/0.9", protocol, UNKNOWN, |_| send("hello world\r\n\r\n")).await;
    check("length and chunks", protocol, UNKNOWN, |_| {
        send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
    })
    .await;
    check("two lengths", protocol, UNKNOWN, |_| {
        send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc")
    })
    .await;
    check("a coding below the chunks", protocol, UNKNOWN, |_| {
        send("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
    })
    .await;
    check("a bad chunk size", protocol, UNKNOWN, |_| {
        send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n")
    })
    .await;
    check("an overflowing chunk size", protocol, UNKNOWN, |_| {
        send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nok\r\n0\r\n\r\n")
    })
    .await;
    check("a folded header", protocol, UNKNOWN, |_| send("HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n"))
        .await;
    check("space before the colon", protocol, UNKNOWN, |_| send("HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n")).await;
    check("switches protocols", protocol, UNKNOWN, |_| {
        send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
    })
    .await;
    let broken = Some("connection_failed");
    check("breaks off", broken, UNKNOWN, |_| send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")).await;
    check("closes at once", broken, UNKNOWN, |_| vec![Step::Close]).await;
    check("until close", None, None, |_| send("HTTP/1.1 200 OK\r\n\r\nall of it")).await;
}

#[tokio::test]
async fn attack_13_resolver_and_dialer_are_bounded() {
    let world = World::new(tight()).await;
    let rules = manifest(OPEN);
    world.names.set("api.example.com", &[&[]]);
    assert_eq!(world.get(&rules, URL).await.unwrap_err().code(), "dns_failed");

    // The first address is dead, the second answers.
    world.names.set("api.example.com", &[&["93.184.216.35", "93.184.216.36"]]);
    world.cables.dead.lock().unwrap().push("93.184.216.35".parse().unwrap());
    assert_eq!(world.get(&rules, URL).await.unwrap().status, 200);
    assert_eq!(world.dialled().len(), 2);

    // However many addresses there are, only so many are tried.
    let many: Vec<String> = (0..200).map(|n| format!("93.184.217.{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    world.names.set("api.example.com", &[many.as_slice()]);
    *world.cables.dead.lock().unwrap() = many.iter().map(|ip| ip.parse().unwrap()).collect();
    world.forget();
    assert_eq!(world.get(&rules, URL).await.unwrap_err().code(), "connection_failed");
    assert_eq!(world.dialled().len(), tight().addresses);
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let world = World::new(tight()).await;
    let rules = manifest(r#"["unnamed.example.com"]"#);
    let error = world.get(&rules, "https://unnamed.example.com/").await.unwrap_err();
    assert_eq!(error.code(), "tls_failed");
    assert_eq!(world.cables.log.len(), 0);
}

#[tokio::test]
async fn a_call_sends_only_so_many_requests() {
    let mut limits = tight();
    limits.requests_per_call = 3;
    let world = World::new(limits).await;
    let session = world.session(&manifest(OPEN), &[]).await;
    for _ in 0..3 {
        session.send(HttpRequest::new("GET", URL)).await.unwrap();
    }
    let error = session.send(HttpRequest::new("GET", URL)).await.unwrap_err();
    assert_eq!(error.code(), "too_many_requests");
    assert_eq!(world.cables.log.len(), 3);
}

#[tokio::test]
async fn methods_and_bodies_are_checked() {
    let world = World::new(tight()).await;
    let session = world.session(&manifest(OPEN), &[]).await;
    for (method, code) in [
        ("get", "invalid_request"),
        ("", "invalid_request"),
        ("GET /evil HTTP/1.1\r\nX:", "invalid_request"),
        ("CONNECT", "method_never_allowed"),
        ("TRACE", "method_never_allowed"),
    ] {
        let error = session.send(HttpRequest::new(method, URL)).await.unwrap_err();
        assert_eq!(error.code(), code, "{method:?}");
    }
    let mut large = HttpRequest::new("POST", URL);
    large.body = Some(vec![0; tight().request_body_bytes + 1].into());
    assert!(matches!(session.send(large).await, Err(HttpError::InvalidRequest(_))));
    assert!(world.dialled().is_empty());
    let mut post = HttpRequest::new("POST", URL);
    post.body = Some("a=b".into());
    world.script(|seen| answer(201, &[], &seen.body));
    assert_eq!(session.send(post).await.unwrap().body, "a=b");
}
