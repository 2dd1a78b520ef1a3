//! Placeholders: where they are redeemed, and that they are worth nothing elsewhere.

use crate::credentials::{NAMED, URL, connect};
use crate::server::answer;
use crate::world::{World, manifest_with, tight};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sophon_egress::{HttpError, HttpRequest, TokenRefused};
use sophon_skill::Manifest;
use sophon_types::Fault as _;
use sophon_vault::Attach;

const TOKEN: &str = "ghp_5bNLqtirsqPaayJsR8x2Vd0TuQwEz";

fn opted_in() -> Manifest {
    manifest_with(NAMED, r#"[{"service":"github","scopes":["repo"],"required":false,"access":"scoped-token"}]"#)
}

async fn connected() -> World {
    let world = World::new(tight()).await;
    connect(&world, None, Attach::Bearer { field: "token".into() }, &[("token", TOKEN)]).await;
    world
}

fn with_header(url: &str, name: &str, value: &str) -> HttpRequest {
    let mut request = HttpRequest::new("GET", url);
    request.headers = vec![(name.to_owned(), value.as_bytes().to_vec())];
    request
}

fn code(result: Result<impl Sized, HttpError>) -> Option<&'static str> {
    result.err().map(|error| error.code())
}

#[tokio::test]
async fn attack_16_a_scoped_token_is_a_placeholder_that_only_egress_redeems() {
    let world = connected().await;
    let session = world.session(&opted_in(), &[]).await;
    let token = session.scoped_token("github").await.unwrap();
    assert_eq!(session.scoped_token("github").await.unwrap(), token, "one a run");
    assert!(!token.contains(TOKEN) && token.starts_with("sophon-ph-"), "{token}");

    // The server says back what it got; the skill does not learn what its placeholder stands for.
    world.script(|seen| answer(200, &[], format!("{:?}", seen.headers).as_bytes()));
    let response = session.send(with_header(URL, "Authorization", &format!("Bearer {token}"))).await.unwrap();
    let seen = world.cables.log.all().pop().unwrap();
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    assert!(!String::from_utf8_lossy(&response.body).contains(TOKEN));
    assert!(session.secrets().find(TOKEN.as_bytes()).is_some());
    // In any header a credential may use, with anything around it, more than once.
    let twice = format!("a={token}; b={token}");
    session.send(with_header(URL, "X-Api-Key", &twice)).await.unwrap();
    let seen = world.cables.log.all().pop().unwrap();
    assert_eq!(seen.header("x-api-key"), Some(format!("a={TOKEN}; b={TOKEN}").as_str()));
    // In HTTP Basic, after decoding; the pair as it was sent is a secret too.
    let basic = format!("Basic {}", STANDARD.encode(format!("x-access-token:{token}")));
    let response = session.send(with_header(URL, "authorization", &basic)).await.unwrap();
    let pair = STANDARD.encode(format!("x-access-token:{TOKEN}"));
    let seen = world.cables.log.all().pop().unwrap();
    assert_eq!(seen.header("authorization"), Some(format!("Basic {pair}").as_str()));
    assert!(!String::from_utf8_lossy(&response.body).contains(&pair));

    let audit = world.audit_text().await;
    assert!(audit.contains("credential.token") && audit.contains("credential.use"), "{audit}");
    assert!(!audit.contains(&token) && !audit.contains(TOKEN));
}

#[tokio::test]
async fn attack_17_a_placeholder_goes_to_the_hosts_of_its_connection_only() {
    let world = connected().await;
    let session = world.session(&opted_in(), &[]).await;
    let token = session.scoped_token("github").await.unwrap();
    let bearer = format!("Bearer {token}");
    let sent = || world.cables.log.all().len();
    // A host that the manifest allows, but not for this credential.
    let elsewhere = with_header("https://other.example.com/x", "Authorization", &bearer);
    assert_eq!(code(session.send(elsewhere).await), Some("credential_not_allowed"));
    // Outside the values of header fields.
    let refused = |request| async { code(session.send(request).await) };
    assert_eq!(refused(HttpRequest::new("GET", format!("{URL}?t={token}"))).await, Some("placeholder_misplaced"));
    let mut body = HttpRequest::new("POST", URL);
    body.body = Some(Bytes::from(format!("{{\"t\":\"{token}\"}}")));
    assert_eq!(refused(body).await, Some("placeholder_misplaced"));
    for name in ["Content-Type", "Range", "Accept-Encoding"] {
        assert_eq!(refused(with_header(URL, name, &token)).await, Some("placeholder_misplaced"), "{name}");
    }
    // Beside something else that authorises.
    let mut beside = with_header(URL, "X-Api-Key", &token);
    beside.headers.push(("Cookie".into(), b"session=own".to_vec()));
    assert_eq!(refused(beside).await, Some("header_not_allowed"));
    assert_eq!(sent(), 0, "something of it left");

    // A redirect to another host takes nothing along.
    world.script(|seen| match seen.target() {
        "/x" => answer(302, &[("Location", "https://other.example.com/y")], b""),
        _ => answer(200, &[], b"there"),
    });
    session.send(with_header(URL, "Authorization", &bearer)).await.unwrap();
    let log = world.cables.log.all();
    assert_eq!(log[0].header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    assert_eq!(log[1].header("authorization"), None);
}

#[tokio::test]
async fn attack_25_a_placeholder_of_another_run_is_refused() {
    let world = connected().await;
    let first = world.session(&opted_in(), &[]).await;
    let token = first.scoped_token("github").await.unwrap();
    let second = world.session(&opted_in(), &[]).await;
    assert_ne!(second.scoped_token("github").await.unwrap(), token);
    let bearer = format!("Bearer {token}");
    assert_eq!(code(second.send(with_header(URL, "Authorization", &bearer)).await), Some("placeholder_unknown"));
    let basic = format!("Basic {}", STANDARD.encode(format!("u:{token}")));
    assert_eq!(code(second.send(with_header(URL, "Authorization", &basic)).await), Some("placeholder_unknown"));
    let in_url = HttpRequest::new("GET", format!("{URL}?t={token}"));
    assert_eq!(code(second.send(in_url).await), Some("placeholder_unknown"));
    drop(first);
    assert!(world.cables.log.all().is_empty());
}

#[tokio::test]
async fn who_gets_no_token() {
    let world = World::new(tight()).await;
    let session = world.session(&opted_in(), &[]).await;
    assert_eq!(session.scoped_token("github").await, Err(TokenRefused::NotConnected("github".into())));
    assert_eq!(session.scoped_token("gitlab").await, Err(TokenRefused::Undeclared("gitlab".into())));
    connect(&world, None, Attach::Placeholders, &[("user", "ann-the-user"), ("password", "correct horse battery")])
        .await;
    let world_session = world.session(&crate::world::manifest(NAMED), &[]).await;
    assert!(matches!(world_session.scoped_token("github").await, Err(TokenRefused::NotAvailable(_))), "no opt-in");
    // Field by field, where the caller may name them.
    let github = "github".parse().unwrap();
    let user = session.placeholder(&github, Some("user")).await.unwrap();
    let password = session.placeholder(&github, Some("password")).await.unwrap();
    assert_ne!(user, password);
    assert!(matches!(session.placeholder(&github, Some("pin")).await, Err(TokenRefused::NotAvailable(_))));
    let basic = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    session.send(with_header(URL, "Authorization", &basic)).await.unwrap();
    let expected = format!("Basic {}", STANDARD.encode("ann-the-user:correct horse battery"));
    assert_eq!(world.cables.log.all()[0].header("authorization"), Some(expected.as_str()));
    // Which of two fields a placeholder without a name stands for is not guessed.
    let nameless = session.placeholder(&github, None).await.unwrap();
    assert_eq!(code(session.send(with_header(URL, "X-Api-Key", &nameless)).await), Some("credential_unfit"));
}
