//! Credentials: where they travel, and that no skill ever sees one.

use crate::server::{Seen, Step, answer};
use crate::world::{World, manifest, manifest_with, tight};
use flate2::Compression;
use flate2::write::GzEncoder;
use secrecy::SecretString;
use sophon_egress::{ConnectionState, HttpRequest};
use sophon_skill::Manifest;
use sophon_types::{Fault, Principal, Role};
use sophon_vault::{Attach, Binding, HostBinding, Owner};
use std::collections::BTreeMap;
use std::io::Write;

const TOKEN: &str = "ghp_5bNLqtirsqPaayJsR8x2Vd0TuQwEz";
pub(crate) const NAMED: &str = r#"[{"host":"api.example.com","credential":"github"},"other.example.com"]"#;
pub(crate) const URL: &str = "https://api.example.com/x";

pub(crate) async fn connect(world: &World, hosts: Option<&[&str]>, attach: Attach, fields: &[(&str, &str)]) {
    let actor = Principal { role: Role::Approver, ..world.principal() };
    let fields: BTreeMap<String, SecretString> =
        fields.iter().map(|(name, value)| ((*name).to_owned(), SecretString::from(*value))).collect();
    let hosts: Option<Vec<HostBinding>> = hosts.map(|hosts| hosts.iter().map(|host| host.parse().unwrap()).collect());
    world
        .vault
        .put(
            &actor,
            Owner::User,
            &"github".parse().unwrap(),
            fields,
            Binding { hosts, attach: Some(attach), ..Binding::default() },
        )
        .await
        .unwrap();
}

async fn connected(hosts: Option<&[&str]>) -> World {
    let world = World::new(tight()).await;
    connect(&world, hosts, Attach::Bearer { field: "token".into() }, &[("token", TOKEN)]).await;
    world
}

pub(crate) fn with_credential(method: &str, url: &str) -> HttpRequest {
    let mut request = HttpRequest::new(method, url);
    request.credential = Some("github".into());
    request
}

async fn code(world: &World, rules: &Manifest, grants: &[&str], request: HttpRequest) -> Option<&'static str> {
    world.session(rules, grants).await.send(request).await.err().map(|error| error.code())
}

#[tokio::test]
async fn a_credential_is_attached_outside_the_skill() {
    let world = connected(None).await;
    let session = world.session(&manifest(NAMED), &[]).await;
    assert_eq!(session.connections().await.unwrap()[0].state, ConnectionState::Connected);
    assert!(session.secrets().is_empty());
    session.send(with_credential("GET", URL)).await.unwrap();
    let seen = world.cables.log.all().pop().unwrap();
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    assert_eq!(seen.header("accept-encoding"), Some("identity"));
    assert!(session.secrets().find(TOKEN.as_bytes()).is_some());
    // Without being named, it stays at home.
    session.send(HttpRequest::new("GET", URL)).await.unwrap();
    assert_eq!(world.cables.log.all().pop().unwrap().header("authorization"), None);
}

#[tokio::test]
async fn other_ways_to_attach() {
    for (attach, fields, name, expected) in [
        (
            Attach::Header { name: "x-api-key".into(), prefix: "k-".into(), field: "key".into() },
            &[("key", "0123456789abcdefghij")][..],
            "x-api-key",
            "k-0123456789abcdefghij",
        ),
        (
            Attach::Basic { user_field: "user".into(), password_field: "password".into() },
            &[("user", "ann-the-user"), ("password", "correct horse battery")][..],
            "authorization",
            "Basic YW5uLXRoZS11c2VyOmNvcnJlY3QgaG9yc2UgYmF0dGVyeQ==",
        ),
    ] {
        let world = World::new(tight()).await;
        connect(&world, None, attach, fields).await;
        // The server echoes what it got; the skill must not see it, encoded or not.
        world.script(|seen| {
            let echo = format!("{:?}", seen.headers);
            answer(200, &[], echo.as_bytes())
        });
        let session = world.session(&manifest(NAMED), &[]).await;
        let response = session.send(with_credential("GET", URL)).await.unwrap();
        assert_eq!(world.cables.log.all()[0].header(name), Some(expected));
        let body = String::from_utf8_lossy(&response.body);
        let secret = fields.last().unwrap().1;
        assert!(!body.contains(secret) && !body.contains("Y29ycmVjdCBob3JzZSBiYXR0ZXJ5"), "{body}");
        assert!(!body.contains("ann-the-user"), "{body}");
        assert!(!body.contains("YW5uLXRoZS11c2VyOmNvcnJlY3QgaG9yc2UgYmF0dGVyeQ"), "{body}");
        let mut collides = with_credential("GET", URL);
        collides.headers = vec![(name.to_uppercase(), b"own".to_vec())];
        assert_eq!(session.send(collides).await.unwrap_err().code(), "header_not_allowed");
    }
}

#[tokio::test]
async fn attack_14_and_17_where_a_credential_does_not_travel() {
    let rules = manifest(NAMED);
    // Declared, named by the rule, bound to the host: every part has to hold.
    type Case = (
        &'static str,
        Option<&'static [&'static str]>,
        &'static str,
        &'static [&'static str],
        &'static str,
        Option<&'static str>,
    );
    let cases: [Case; 10] = [
        ("the rule names it", None, NAMED, &[], URL, None),
        ("the connection names the host", Some(&["api.example.com"]), r#"["api.example.com"]"#, &[], URL, None),
        ("neither does", None, r#"["api.example.com"]"#, &[], URL, Some("credential_not_allowed")),
        ("another host is bound", Some(&["other.example.com"]), NAMED, &[], URL, Some("credential_wrong_host")),
        ("another host is asked", None, NAMED, &[], "https://other.example.com/", Some("credential_not_allowed")),
        ("a grant", None, "[]", &["api.example.com"], URL, None),
        (
            "a grant, but plain http",
            None,
            "[]",
            &["api.example.com:8080"],
            "http://api.example.com:8080/",
            Some("credential_over_http"),
        ),
        ("a grant of plain http", None, "[]", &["http://api.example.com:8080"], "http://api.example.com:8080/", None),
        (
            "a manifest's plain http",
            None,
            r#"[{"host":"api.example.com","schemes":["http"],"credential":"github"}]"#,
            &[],
            "http://api.example.com/",
            Some("credential_over_http"),
        ),
        ("not on the list at all", None, NAMED, &[], "https://evil.example/", Some("host_not_allowed")),
    ];
    for (name, hosts, network, grants, url, expected) in cases {
        let world = connected(hosts).await;
        let found = code(&world, &manifest(network), grants, with_credential("GET", url)).await;
        assert_eq!(found, expected, "{name}");
        assert_eq!(world.dialled().is_empty(), expected.is_some(), "{name}");
    }
    let world = connected(None).await;
    let undeclared = manifest_with(r#"["api.example.com"]"#, "[]");
    assert_eq!(code(&world, &undeclared, &[], with_credential("GET", URL)).await, Some("credential_not_declared"));
    let mut own = with_credential("GET", URL);
    own.headers = vec![("Authorization".into(), b"Bearer own".to_vec())];
    assert_eq!(code(&world, &rules, &[], own).await, Some("header_not_allowed"));
    let empty = World::new(tight()).await;
    assert_eq!(code(&empty, &rules, &[], with_credential("GET", URL)).await, Some("not_connected"));
    assert!(empty.dialled().is_empty() && world.dialled().is_empty());
}

#[tokio::test]
async fn the_hint_about_an_unbound_credential_works() {
    let world = connected(None).await;
    for (network, url) in [
        (r#"["api.example.com"]"#, URL),
        (r#"[{"host":"api.example.com","ports":[8443]}]"#, "https://api.example.com:8443/x"),
    ] {
        let session = world.session(&manifest(network), &[]).await;
        let hint = session.send(with_credential("GET", url)).await.unwrap_err().hint().unwrap();
        let rule = &hint[hint.find('{').unwrap()..=hint.rfind('}').unwrap()];
        assert_eq!(
            code(&world, &manifest(&format!("[{rule}]")), &[], with_credential("GET", url)).await,
            None,
            "{hint}"
        );
    }
}

#[tokio::test]
async fn a_cancelled_request_leaves_a_record() {
    let world = connected(None).await;
    world.script(|_| vec![Step::Hang]);
    let session = world.session(&manifest(NAMED), &[]).await;
    let mut sending = Box::pin(session.send(HttpRequest::new("POST", URL)));
    while world.cables.log.len() == 0 {
        assert!(futures_poll(&mut sending).await.is_none());
    }
    drop(sending);
    let last = world.audited().await.into_iter().rfind(|entry| entry.record["action"] == "egress.request");
    assert_eq!(last.unwrap().record["outcome"], "unknown");
}

/// A request's end says of it all that its intent said, whether it was answered or let go.
#[tokio::test]
async fn both_records_of_a_request_tell_of_the_same() {
    for answered in [true, false] {
        let world = connected(None).await;
        world.script(move |_| if answered { answer(200, &[], b"{}") } else { vec![Step::Hang] });
        let session = world.session(&manifest(NAMED), &[]).await;
        let mut sending = Box::pin(session.send(with_credential("GET", URL)));
        let ended = loop {
            match futures_poll(&mut sending).await {
                None if !answered && world.cables.log.len() > 0 => break None,
                None => {}
                done => break done,
            }
        };
        assert_eq!(ended.is_some_and(|ended| ended.is_ok()), answered);
        drop(sending);
        let told = world.audited().await.into_iter().filter(|entry| entry.record["action"] == "egress.request");
        let [intent, end]: [_; 2] = told.map(|entry| entry.record).collect::<Vec<_>>().try_into().unwrap();
        assert_eq!((&intent["outcome"], end["outcome"] == "ok"), (&"intent".into(), answered));
        for field in ["call", "correlation", "key", "risk", "skill", "tenant", "tool", "user"] {
            assert_eq!(intent[field], end[field], "{field}");
            assert!(!intent[field].is_null(), "{field}");
        }
        let (before, after) = (intent["detail"].as_object().unwrap(), end["detail"].as_object().unwrap());
        assert!(before.contains_key("credential") && before.contains_key("host") && before.contains_key("hop"));
        assert!(before.iter().all(|(name, value)| after.get(name) == Some(value)), "{before:?} {after:?}");
    }
}

#[tokio::test]
async fn attack_42_without_an_audit_log_nothing_is_sent() {
    let world = connected(None).await;
    let rules = manifest(NAMED);
    let session = world.session(&rules, &[]).await;
    world.audit.close().await.unwrap();
    for request in [HttpRequest::new("GET", URL), with_credential("GET", URL), with_credential("POST", URL)] {
        let error = session.send(request).await.unwrap_err();
        assert_eq!(error.code(), "host_unavailable");
        assert_eq!(error.denial().unwrap().code, "host_unavailable");
    }
    assert!(world.dialled().is_empty() && world.asked() == 0);
}

/// Lets a future run a little.
async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    tokio::select! {
        biased;
        output = future => Some(output),
        () = tokio::task::yield_now() => None,
    }
}

#[tokio::test]
async fn attack_16_an_echoed_credential_is_redacted() {
    let world = connected(None).await;
    world.script(|seen| {
        let held = seen.header("authorization").unwrap_or_default().to_owned();
        let token = held.trim_start_matches("Bearer ");
        let hex: String = token.bytes().map(|b| format!("{b:02x}")).collect();
        let reversed: String = token.chars().rev().collect();
        answer(200, &[("X-Echo", &held), ("X-Hex", &hex)], format!("{held} {hex} {reversed}").as_bytes())
    });
    let response = world.session(&manifest(NAMED), &[]).await.send(with_credential("GET", URL)).await.unwrap();
    let hex: String = TOKEN.bytes().map(|b| format!("{b:02x}")).collect();
    let reversed: String = TOKEN.chars().rev().collect();
    let shown = format!("{:?} {}", response.headers, String::from_utf8_lossy(&response.body));
    let headers: Vec<u8> = response.headers.iter().flat_map(|(_, value)| value.clone()).collect();
    let headers = String::from_utf8_lossy(&headers);
    for secret in [TOKEN, &hex, &reversed] {
        assert!(!shown.contains(secret) && !headers.contains(secret), "{shown}");
    }
    assert!(shown.contains("redacted"));
    let length = response.headers.iter().find(|(name, _)| name == "content-length").unwrap();
    assert_eq!(length.1, response.body.len().to_string().into_bytes());
}

#[tokio::test]
async fn attack_16_an_echo_in_disguise_is_refused() {
    let mut zipped = GzEncoder::new(Vec::new(), Compression::best());
    zipped.write_all(TOKEN.as_bytes()).unwrap();
    let zipped = zipped.finish().unwrap();
    for (method, expected) in [("GET", "upstream_protocol"), ("POST", "unknown_outcome")] {
        let world = connected(None).await;
        let body = zipped.clone();
        world.script(move |_| answer(200, &[("Content-Encoding", "gzip")], &body));
        let rules = manifest(NAMED);
        assert_eq!(code(&world, &rules, &[], with_credential(method, URL)).await, Some(expected));
        // Where nothing secret was brokered, there is nothing to hide.
        let session = world.session(&rules, &[]).await;
        assert_eq!(session.send(HttpRequest::new(method, URL)).await.unwrap().body, zipped);
    }
}

#[tokio::test]
async fn attack_16_a_secret_in_an_error_or_redirect_does_not_reach_the_skill() {
    let world = connected(None).await;
    let rules = manifest(NAMED);
    world.script(|seen: &Seen| match seen.header("authorization") {
        Some(held) => {
            let token = held.trim_start_matches("Bearer ").to_owned();
            answer(302, &[("Location", &format!("https://other.example.com/{token}"))], b"")
        }
        None => answer(200, &[], b""),
    });
    // Followed: the next request would hold the secret, so it is not sent.
    let error = world.session(&rules, &[]).await.send(with_credential("GET", URL)).await.unwrap_err();
    assert_eq!(error.code(), "secret_in_request");
    assert!(!format!("{error:?}").contains(TOKEN));
    assert_eq!(world.cables.log.len(), 1);
    // Handed to the skill: redacted.
    let mut manual = with_credential("GET", URL);
    manual.redirects = sophon_egress::Redirects::Manual;
    let response = world.session(&rules, &[]).await.send(manual).await.unwrap();
    let fields: Vec<u8> = response.headers.into_iter().flat_map(|(_, value)| value).collect();
    assert!(!String::from_utf8_lossy(&fields).contains(TOKEN));
    // To a host that is not allowed: the refusal names the URL.
    world.script(|seen: &Seen| {
        let token = seen.header("authorization").unwrap().trim_start_matches("Bearer ").to_owned();
        answer(302, &[("Location", &format!("https://evil.example/{token}"))], b"")
    });
    let error = world.session(&rules, &[]).await.send(with_credential("GET", URL)).await.unwrap_err();
    assert_eq!(error.code(), "host_not_allowed");
    assert!(!format!("{error:?} {:?}", error.hint()).contains(TOKEN), "{error:?}");
    assert!(!world.audit_text().await.contains(TOKEN));
}

#[tokio::test]
async fn attack_10_a_credential_stays_with_its_origin() {
    let rules = manifest(
        r#"[{"host":"api.example.com","ports":[443,8443],"credential":"github"},{"host":"other.example.com","credential":"github"}]"#,
    );
    for (to, kept) in [
        ("/end", true),
        ("https://api.example.com/end", true),
        ("https://api.example.com:443/end", true),
        ("https://api.example.com:8443/end", false),
        ("https://other.example.com/end", false),
        ("https://other.example.com/back", false),
    ] {
        let world = connected(None).await;
        world.script(move |seen| match seen.target() {
            "/start" => answer(307, &[("Location", to)], b""),
            // Coming back does not bring the credential back.
            "/back" => answer(307, &[("Location", "https://api.example.com/end")], b""),
            _ => answer(200, &[], b""),
        });
        let request = with_credential("GET", "https://api.example.com/start");
        world.session(&rules, &[]).await.send(request).await.unwrap();
        let last = world.cables.log.all().pop().unwrap();
        assert_eq!(last.target(), "/end");
        assert_eq!(last.header("authorization").is_some(), kept, "{to}");
    }
}

#[tokio::test]
async fn attack_17_a_secret_in_the_request_is_refused_before_injection() {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(TOKEN);
    let hex: String = TOKEN.bytes().map(|b| format!("{b:02X}")).collect();
    let percent: String = TOKEN.bytes().map(|b| format!("%{b:02x}")).collect();
    let reversed: String = TOKEN.chars().rev().collect();
    for spelled in [TOKEN, &encoded, &hex, &percent, &reversed] {
        let world = connected(None).await;
        let rules = manifest(NAMED);
        let mut in_url = with_credential("GET", &format!("{URL}?q={spelled}"));
        in_url.timeout = Some(std::time::Duration::from_secs(1));
        let mut in_body = with_credential("POST", URL);
        in_body.body = Some(format!("note={spelled}").into());
        let mut in_header = with_credential("GET", URL);
        in_header.headers = vec![("X-Note".into(), spelled.as_bytes().to_vec())];
        let in_path = with_credential("GET", &format!("{URL}/{spelled}"));
        for request in [in_url, in_path, in_body, in_header] {
            assert_eq!(code(&world, &rules, &[], request).await, Some("secret_in_request"), "{spelled}");
        }
        assert!(world.dialled().is_empty());
        // Once lent in a call, also without naming it, and to any host.
        let session = world.session(&rules, &[]).await;
        session.send(with_credential("GET", URL)).await.unwrap();
        let mut smuggled = HttpRequest::new("POST", "https://other.example.com/");
        smuggled.body = Some(spelled.to_owned().into());
        assert_eq!(session.send(smuggled).await.unwrap_err().code(), "secret_in_request");
        assert_eq!(world.cables.log.len(), 1);
        assert!(!world.audit_text().await.contains(spelled));
    }
}

#[tokio::test]
async fn attack_17_a_secret_in_a_host_name_asks_no_resolver() {
    let world = connected(None).await;
    let rules = manifest(r#"[{"host":"api.example.com","credential":"github"},"*.example.com"]"#);
    let session = world.session(&rules, &[]).await;
    session.send(with_credential("GET", URL)).await.unwrap();
    world.forget();
    let error = session.send(HttpRequest::new("GET", format!("https://{TOKEN}.example.com/"))).await.unwrap_err();
    assert_eq!(error.code(), "secret_in_request");
    assert_eq!((world.asked(), world.dialled().len()), (0, 0));
    let text = world.audit_text().await.to_lowercase();
    assert!(!text.contains(&TOKEN.to_lowercase()), "{text}");
}

#[tokio::test]
async fn the_order_of_effects_is_in_the_audit_log() {
    let world = connected(None).await;
    let rules = manifest(NAMED);
    let session = world.session(&rules, &[]).await;
    session.send(with_credential("GET", "https://api.example.com/x?token=hunter2-hunter2")).await.unwrap();
    session.send(HttpRequest::new("GET", "https://evil.example/")).await.unwrap_err();
    world.script(|_| vec![Step::Close]);
    session.send(HttpRequest::new("POST", "https://api.example.com/w")).await.unwrap_err();
    let steps: Vec<String> = world
        .audited()
        .await
        .iter()
        .map(|entry| {
            format!("{} {}", entry.record["action"].as_str().unwrap(), entry.record["outcome"].as_str().unwrap())
        })
        .filter(|step| step.starts_with("egress") || step.starts_with("credential.use"))
        .collect();
    let expected = [
        "credential.use intent",
        "egress.request intent",
        "egress.request ok",
        "egress.denied denied",
        "egress.request unknown",
    ];
    let kinds: Vec<&str> = steps.iter().map(String::as_str).collect();
    assert_eq!(kinds.len(), expected.len(), "{kinds:?}");
    for (found, expected) in kinds.iter().zip(expected) {
        let same =
            found == &expected || (expected.starts_with("credential.use") && found.starts_with("credential.use"));
        assert!(same, "{kinds:?}");
    }
    let text = world.audit_text().await;
    assert!(!text.contains("hunter2") && !text.contains(TOKEN));
}

#[tokio::test]
async fn attack_17_a_wildcard_alone_releases_no_credential() {
    let wild = r#"[{"host":"*.example.com","credential":"github"}]"#;
    let both = r#"[{"host":"*.example.com","credential":"github"},{"host":"api.example.com","credential":"github"}]"#;
    let refused = Some("credential_wildcard");
    for (hosts, network, grants, expected) in [
        (None, wild, &[][..], refused),
        (Some(&["api.example.com"][..]), wild, &[], None),
        (Some(&["other.example.com"]), wild, &[], Some("credential_wrong_host")),
        (None, wild, &["api.example.com"], None),
        (None, both, &[], None),
    ] {
        let world = connected(hosts).await;
        let outcome = world.session(&manifest(network), grants).await.send(with_credential("GET", URL)).await;
        assert_eq!(outcome.as_ref().err().map(Fault::code), expected, "{hosts:?} {network} {grants:?}");
        // What is refused is refused before a secret is opened.
        let used = world.audited().await.iter().any(|entry| entry.record["action"] == "credential.use");
        assert_eq!(used, expected.is_none(), "{hosts:?} {network} {grants:?}");
        if let Some(hint) = outcome.err().and_then(|error| error.hint()).filter(|_| expected == refused) {
            let host = hint.split_once("sophon credential set github --host ").unwrap().1;
            let world = connected(Some(&[host])).await;
            assert_eq!(code(&world, &manifest(network), grants, with_credential("GET", URL)).await, None, "{hint}");
        }
    }
}

#[tokio::test]
async fn attack_14_nothing_stands_beside_a_credential() {
    let world = connected(None).await;
    let rules = manifest(NAMED);
    for name in ["Range", "If-Range", "Cookie", "range", "if_range"] {
        let mut request = with_credential("GET", URL);
        request.headers = vec![(name.into(), b"bytes=0-9".to_vec())];
        assert_eq!(code(&world, &rules, &[], request.clone()).await, Some("header_not_allowed"), "{name}");
        assert!(world.dialled().is_empty());
        request.credential = None;
        assert_eq!(code(&world, &rules, &[], request).await, None, "{name}");
        world.forget();
    }
}

#[tokio::test]
async fn attack_16_a_part_of_an_answer_is_refused_once_a_secret_is_lent() {
    let world = connected(None).await;
    let rules = manifest(NAMED);
    world.script(|_| answer(206, &[("Content-Range", "bytes 0-4/30")], b"ghp_5"));
    let session = world.session(&rules, &[]).await;
    assert_eq!(session.send(HttpRequest::new("GET", URL)).await.unwrap().status, 206);
    for request in [with_credential("GET", URL), HttpRequest::new("GET", URL)] {
        assert_eq!(session.send(request).await.unwrap_err().code(), "upstream_protocol");
    }
    assert_eq!(session.send(HttpRequest::new("POST", URL)).await.unwrap_err().code(), "unknown_outcome");
}

#[tokio::test]
async fn attack_16_a_session_that_a_credential_opened_stays_outside() {
    let opening: &[(&str, &str)] = &[
        ("Set-Cookie", "session=0123456789"),
        ("Set-Cookie2", "session=0123456789"),
        ("Authentication-Info", "nextnonce=0123456789"),
        ("Proxy-Authentication-Info", "nextnonce=0123456789"),
        ("WWW-Authenticate", "Bearer realm=x"),
    ];
    let world = connected(None).await;
    let rules = manifest(NAMED);
    world.script(move |seen| match seen.target() {
        "/away" => answer(302, &[("Location", "https://other.example.com/end")], b""),
        _ => answer(200, opening, b""),
    });
    let names = async |request: HttpRequest| {
        let response = world.session(&rules, &[]).await.send(request).await.unwrap();
        response.headers.into_iter().map(|(name, _)| name).filter(|name| name != "content-length").collect::<Vec<_>>()
    };
    assert_eq!(names(with_credential("GET", URL)).await, ["www-authenticate"]);
    // On any hop: the origin that got the credential chose where the chain ends.
    assert_eq!(names(with_credential("GET", "https://api.example.com/away")).await, ["www-authenticate"]);
    let kept = names(HttpRequest::new("GET", URL)).await;
    assert_eq!(kept, ["set-cookie", "set-cookie2", "authentication-info", "www-authenticate"]);
}

#[tokio::test]
async fn a_secret_that_is_lent_again_is_not_looked_for_twice() {
    let world = connected(None).await;
    let session = world.session(&manifest(NAMED), &[]).await;
    session.send(with_credential("GET", URL)).await.unwrap();
    let once = format!("{:?}", session.secrets());
    for _ in 0..5 {
        session.send(with_credential("GET", URL)).await.unwrap();
    }
    assert_eq!(format!("{:?}", session.secrets()), once);
    // Replaced meanwhile: both are looked for.
    let newer = "ghp_0therT0kenQwertzUiopAsdf99";
    connect(&world, None, Attach::Bearer { field: "token".into() }, &[("token", newer)]).await;
    session.send(with_credential("GET", URL)).await.unwrap();
    for secret in [TOKEN, newer] {
        assert!(session.secrets().find(secret.as_bytes()).is_some());
    }
}

#[tokio::test]
async fn attack_16_and_17_large_bodies_are_searched_too() {
    let mut limits = tight();
    limits.response_body_bytes = 1024 * 1024;
    let world = World::new(limits).await;
    connect(&world, None, Attach::Bearer { field: "token".into() }, &[("token", TOKEN)]).await;
    let large = |end: &str| [&vec![b'.'; 200_000][..], end.as_bytes()].concat();
    let echo = large(TOKEN);
    world.script(move |_| answer(200, &[], &echo));
    let session = std::sync::Arc::new(world.session(&manifest(NAMED), &[]).await);
    // More at once than may be searched at once: all are served.
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let session = std::sync::Arc::clone(&session);
        tasks.spawn(async move { session.send(with_credential("GET", URL)).await.unwrap().body });
    }
    let bodies = tasks.join_all().await;
    assert_eq!(bodies.len(), 6);
    for body in bodies {
        assert!(body.len() > 200_000 && !body.ends_with(TOKEN.as_bytes()));
    }
    world.forget();
    for request in [with_credential("POST", URL), HttpRequest::new("POST", URL)] {
        let request = HttpRequest { body: Some(large(TOKEN).into()), ..request };
        assert_eq!(session.send(request).await.unwrap_err().code(), "secret_in_request");
    }
    assert!(world.dialled().is_empty());
}

#[tokio::test]
async fn a_receipt_of_another_call_opens_nothing() {
    let world = connected(None).await;
    let rules = manifest(NAMED);
    let session = world.session_with_foreign_intent(&rules).await;
    assert_eq!(session.send(with_credential("GET", URL)).await.unwrap_err().code(), "host_unavailable");
    assert!(session.secrets().is_empty() && world.dialled().is_empty());
}
