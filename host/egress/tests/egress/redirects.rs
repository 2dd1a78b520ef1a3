//! Redirects: methods, bodies, header fields and credentials from hop to hop.

use crate::server::{Seen, answer};
use crate::world::{World, manifest, tight};
use sophon_egress::{HttpRequest, Redirects};
use sophon_types::{Fault, Risk};

const BOTH: &str = r#"["api.example.com","other.example.com",{"host":"api.example.com","schemes":["http","https"],"ports":[80,8443]}]"#;

fn redirecting(status: u16, to: &'static str) -> impl Fn(&Seen) -> Vec<crate::server::Step> + Send + Sync + 'static {
    move |seen| match seen.target() {
        "/start" => answer(status, &[("Location", to)], b"moved"),
        _ => answer(200, &[], seen.method().as_bytes()),
    }
}

#[tokio::test]
async fn attack_10_methods_and_bodies_change_as_rfc_9110_says() {
    let world = World::new(tight()).await;
    let rules = manifest(BOTH);
    for (status, method, expected) in [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (303, "PUT", "GET"),
        (301, "PUT", "PUT"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
        (302, "GET", "GET"),
    ] {
        world.forget();
        world.script(redirecting(status, "/end"));
        let mut request = HttpRequest::new(method, "https://api.example.com/start");
        request.headers = vec![("Content-Type".into(), b"text/plain".to_vec())];
        request.body = (method != "GET").then(|| "body".into());
        let response = world.session(&rules, &[]).await.send(request).await.unwrap();
        assert_eq!(response.body, expected, "{status} {method}");
        assert_eq!(response.url, "https://api.example.com/end");
        let sent = world.cables.log.all();
        let kept = method == expected && method != "GET";
        assert_eq!(sent[1].body, if kept { b"body".to_vec() } else { Vec::new() }, "{status} {method}");
        assert_eq!(sent[1].header("content-type").is_some(), kept || method == "GET", "{status} {method}");
        // The gate was asked about every hop, with its own method.
        let asked = world.gate.asked.lock().unwrap().clone();
        assert_eq!(asked.iter().map(|effect| effect.method.as_str()).collect::<Vec<_>>(), [method, expected]);
        assert_eq!(asked[1].hop, 1);
    }
}

#[tokio::test]
async fn attack_10_header_fields_do_not_travel_to_another_origin() {
    let world = World::new(tight()).await;
    let rules = manifest(BOTH);
    let fields = [
        ("Authorization", "Bearer own"),
        ("Cookie", "a=b"),
        ("X-Api-Key", "k"),
        ("Range", "bytes=0-9"),
        ("If-Range", "x"),
        ("Accept", "text/plain"),
    ];
    for (to, kept) in [
        ("https://api.example.com/end", true),
        ("https://other.example.com/end", false),
        ("//other.example.com/end", false),
        ("https://api.example.com:8443/end", false),
    ] {
        world.forget();
        world.script(redirecting(302, to));
        let mut request = HttpRequest::new("GET", "https://api.example.com/start");
        request.headers = fields.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        world.session(&rules, &[]).await.send(request).await.unwrap();
        let last = world.cables.log.all().pop().unwrap();
        for name in ["authorization", "cookie", "x-api-key", "range", "if-range"] {
            assert_eq!(last.header(name).is_some(), kept, "{to} {name}");
        }
        assert_eq!(last.header("accept"), Some("text/plain"));
    }
}

#[tokio::test]
async fn attack_10_no_downgrade_no_escape_no_endless_chain() {
    let world = World::new(tight()).await;
    let rules = manifest(BOTH);
    for (to, code) in [
        ("http://api.example.com/end", "redirect_downgrade"),
        ("http://api.example.com:80/end", "redirect_downgrade"),
        ("https://evil.example/end", "host_not_allowed"),
        ("https://user@api.example.com/end", "url_userinfo"),
        ("https://169.254.169.254/", "host_not_allowed"),
        ("file:///etc/passwd", "scheme_not_supported"),
        ("https://api.example.com:99999/", "url_syntax"),
        ("/start", "too_many_redirects"),
        ("", "too_many_redirects"),
    ] {
        world.forget();
        world.script(redirecting(302, to));
        let error = world.get(&rules, "https://api.example.com/start").await.unwrap_err();
        assert_eq!(error.code(), code, "{to}");
        let expected = if code == "too_many_redirects" { 11 } else { 1 };
        assert_eq!(world.cables.log.len(), expected, "{to}");
    }
    assert!(world.audit_text().await.contains("redirect_downgrade"));
}

#[tokio::test]
async fn a_redirect_can_be_left_to_the_skill() {
    let world = World::new(tight()).await;
    world.script(redirecting(302, "https://evil.example/"));
    let mut request = HttpRequest::new("GET", "https://api.example.com/start");
    request.redirects = Redirects::Manual;
    let response = world.session(&manifest(BOTH), &[]).await.send(request).await.unwrap();
    assert_eq!(response.status, 302);
    assert!(response.headers.contains(&("location".into(), b"https://evil.example/".to_vec())));
    assert_eq!(world.cables.log.len(), 1);
}

#[tokio::test]
async fn the_gate_sees_each_hop_before_any_packet() {
    let world = World::new(tight()).await;
    *world.gate.ceiling.lock().unwrap() = Some(Risk::Low);
    let rules = manifest(BOTH);
    let session = world.session(&rules, &[]).await;
    for method in ["POST", "PUT", "PATCH", "DELETE", "PROPFIND"] {
        let error = session.send(HttpRequest::new(method, "https://api.example.com/x")).await.unwrap_err();
        assert_eq!(error.code(), "effect_not_approved", "{method}");
    }
    assert!(world.dialled().is_empty() && world.asked() == 0);
    for method in ["GET", "HEAD", "OPTIONS"] {
        world.script(|_| answer(200, &[], b""));
        session.send(HttpRequest::new(method, "https://api.example.com/x")).await.unwrap();
    }
    assert!(world.audit_text().await.contains("effect_not_approved"));
}
