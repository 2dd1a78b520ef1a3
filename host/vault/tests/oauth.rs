//! OAuth over a real store and audit log, with a clock that can be set, against a provider that says what a test wants.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use async_trait::async_trait;
use secrecy::SecretString;
use serde_json::{Value, json};
use sophon_audit::{Action, AuditConfig, AuditKeys, AuditLog, Outcome, Query, Receipt, Record};
use sophon_store::{KeyRow, Store, StoreConfig};
use sophon_types::{
    CallId, Clock, CorrelationId, Digest, Entropy, Fault as _, KeyId, Principal, Role, ServiceName, Timestamp,
};
use sophon_vault::{
    Asked, Callback, ConnectionInfo, Kek, OauthParts, Owner, Providers, Purpose, Standing, Started, Transport,
    TransportError, TransportRequest, TransportResponse, Vault, VaultError, Waiting, Way,
};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use zeroize::Zeroizing;

const ISSUER: &str = "https://id.example.com";
const REDIRECT: &str = "http://127.0.0.1:49152/callback/github";

struct System;

impl Entropy for System {
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).unwrap();
    }
}

/// A clock that goes when it is told to.
struct Hand(AtomicI64);

impl Hand {
    fn pass(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }
}

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

type Answer = Result<(u16, Value), TransportError>;
/// What is said of a form.
type Says = dyn FnMut(&BTreeMap<String, String>) -> Answer + Send;

/// Says of each form what a test tells it to, and keeps what it was sent.
struct Scripted {
    says: Mutex<Box<Says>>,
    seen: Mutex<Vec<BTreeMap<String, String>>>,
    /// How often it was asked, answered or not.
    asked: AtomicUsize,
}

#[async_trait]
impl Transport for Scripted {
    async fn send(&self, request: TransportRequest) -> Result<TransportResponse, TransportError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        // As long as an answer takes: others come meanwhile.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let form = request.form.as_ref().map(|form| form.as_str()).unwrap_or_default();
        let mut form: BTreeMap<String, String> = form
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(n, v)| (n.to_owned(), v.to_owned()))
            .collect();
        form.insert("url".into(), request.url);
        let said = (self.says.lock().unwrap())(&form);
        self.seen.lock().unwrap().push(form);
        let (status, body) = said?;
        Ok(TransportResponse { status, body: Zeroizing::new(body.to_string().into_bytes()) })
    }
}

struct World {
    vault: Vault,
    store: Store,
    audit: AuditLog,
    clock: Arc<Hand>,
    provider: Arc<Scripted>,
    intent: Receipt,
    /// The states that were given out.
    states: Mutex<Vec<String>>,
    folder: tempfile::TempDir,
}

fn service() -> ServiceName {
    "github".parse().unwrap()
}

fn person(user: &str) -> Principal {
    let key = KeyId::from_bytes([9; 16]);
    Principal { tenant: "acme".parse().unwrap(), user: user.parse().unwrap(), key, role: Role::Approver }
}

fn purpose() -> Purpose {
    Purpose {
        tenant: "acme".parse().unwrap(),
        user: "ann".parse().unwrap(),
        skill: "issues".parse().unwrap(),
        tool: "issues.list".parse().unwrap(),
        call: CallId::from_bytes([3; 16]),
        correlation: CorrelationId::from_bytes([4; 16]),
    }
}

fn tokens(n: u32, life: Value) -> Answer {
    Ok((
        200,
        json!({
            "access_token": format!("access-token-{n}"), "refresh_token": format!("refresh-token-{n}"),
            "token_type": "Bearer", "expires_in": life, "scope": "repo",
        }),
    ))
}

fn refused(code: &str) -> Answer {
    Ok((400, json!({ "error": code })))
}

/// Two providers, of which nothing is discovered.
fn providers() -> Value {
    json!({
        "github": {
            "issuer": ISSUER, "discovery": false, "authorization_endpoint": format!("{ISSUER}/auth"),
            "token_endpoint": format!("{ISSUER}/token"), "revocation_endpoint": format!("{ISSUER}/revoke"),
            "device_authorization_endpoint": format!("{ISSUER}/device"),
            "client_id": "sophon", "scopes": ["repo"], "hosts": ["api.example.com", "files.example.com"],
        },
        "other": {
            "issuer": "https://other.example.com", "discovery": false,
            "authorization_endpoint": "https://other.example.com/auth",
            "token_endpoint": "https://other.example.com/token", "client_id": "sophon", "hosts": ["b.example"],
            "client_secret_credential": "client-of-other",
        },
    })
}

impl World {
    async fn new() -> Self {
        Self::with(|_| ()).await
    }

    /// One whose providers are configured otherwise.
    async fn with(change: impl FnOnce(&mut Value)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let paths = StoreConfig { database: folder.path().join("sophon.db"), blobs: folder.path().join("blobs") };
        let store = Store::open(paths).await.unwrap();
        let clock = Arc::new(Hand(AtomicI64::new(1_769_850_000_000_000)));
        let config =
            AuditConfig { writer: "test".into(), keys: AuditKeys::new([1; 32], [2; 32]), checkpoint_every: 1000 };
        let audit = AuditLog::open(config, store.clone(), clock.clone()).await.unwrap();
        let says: Box<Says> = Box::new(|_| refused("unsaid"));
        let seen = Mutex::default();
        let provider = Arc::new(Scripted { says: Mutex::new(says), seen, asked: AtomicUsize::new(0) });
        let vault = open(&store, &audit, &clock, &provider, change).await;
        let intent = Record::new(Action::CallIntent, Outcome::Intent).call(purpose().call);
        let intent = audit.append(intent).await.unwrap();
        Self { vault, store, audit, clock, provider, intent, states: Mutex::default(), folder }
    }

    /// The same home, started again with another configuration.
    async fn again(self, change: impl FnOnce(&mut Value)) -> Self {
        let vault = open(&self.store, &self.audit, &self.clock, &self.provider, change).await;
        Self { vault, ..self }
    }

    fn says(&self, says: impl FnMut(&BTreeMap<String, String>) -> Answer + Send + 'static) {
        *self.provider.says.lock().unwrap() = Box::new(says);
    }

    fn seen(&self) -> usize {
        self.provider.seen.lock().unwrap().len()
    }

    async fn begin(&self, way: Way) -> Result<Started, VaultError> {
        let correlation = CorrelationId::from_bytes([4; 16]);
        let asked = Asked { service: service(), owner: Owner::User, way, scopes: None, correlation };
        self.vault.authorise(&person("ann"), asked).await
    }

    /// Begins in a browser; the state of what was begun.
    async fn state(&self) -> String {
        let Started::Browser { url, .. } = self.begin(Way::Loopback(REDIRECT.into())).await.unwrap() else { panic!() };
        assert!(url.contains("code_challenge_method=S256"), "{url}");
        let state = url.split("state=").nth(1).unwrap().split('&').next().unwrap().to_owned();
        self.states.lock().unwrap().push(state.clone());
        state
    }

    /// What was shown to the provider since then as tokens that are no longer wanted.
    fn revoked(&self, since: usize) -> Vec<String> {
        let seen = self.provider.seen.lock().unwrap();
        let revoked = seen[since..].iter().filter(|form| form["url"].ends_with("/revoke"));
        revoked.map(|form| form["token"].clone()).collect()
    }

    async fn finish(&self, user: &str, state: &str, iss: Option<&str>) -> Result<ConnectionInfo, VaultError> {
        let callback = Callback {
            service: Some(service()),
            state: SecretString::from(state),
            code: Some(SecretString::from("the-code")),
            iss: iss.map(str::to_owned),
            error: None,
            correlation: CorrelationId::from_bytes([4; 16]),
        };
        self.vault.finish(Some(&person(user)), callback).await
    }

    /// Connects ann's account with a token that lasts for so long.
    async fn connect(&self, life: i64) -> ConnectionInfo {
        self.says(move |_| tokens(1, json!(life)));
        let state = self.state().await;
        self.finish("ann", &state, Some(ISSUER)).await.unwrap()
    }

    /// The header that a request would get now.
    async fn header(&self) -> Result<String, VaultError> {
        let lease = self.vault.lease(&purpose(), &service(), &self.intent).await?;
        assert!(lease.field("refresh_token").is_none(), "a refresh token is not lent");
        let attachment = lease.authorisation()?;
        #[expect(clippy::disallowed_methods, reason = "the vault's own test")]
        let value = String::from_utf8(attachment.value.expose().to_vec()).unwrap();
        Ok(value)
    }

    async fn info(&self) -> ConnectionInfo {
        let person = person("ann");
        self.vault.public(&person.tenant, &person.user, &service()).await.unwrap().unwrap()
    }

    async fn audited(&self, action: &str) -> Vec<String> {
        self.audit.append(Record::new(Action::GatewayStop, Outcome::Ok)).await.unwrap();
        let page = self.audit.query(&Query { limit: Some(1000), ..Query::default() }).await.unwrap();
        let text = format!("{page:?}");
        for secret in ["access-token-", "refresh-token-", "the-code", "device-code"] {
            assert!(!text.contains(secret), "{secret} is in the audit log");
        }
        let (seen, states) = (self.provider.seen.lock().unwrap(), self.states.lock().unwrap());
        for secret in seen.iter().filter_map(|form| form.get("code_verifier")).chain(states.iter()) {
            assert!(!text.contains(secret), "a state or a verifier is in the audit log");
        }
        let mut entries: Vec<_> = page.entries.iter().filter(|entry| entry.record["action"] == action).collect();
        entries.sort_by_key(|entry| entry.seq);
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        entries
            .iter()
            .map(|entry| format!("{} {}", word(&entry.record["outcome"]), word(&entry.record["code"])))
            .collect()
    }
}

async fn open(
    store: &Store,
    audit: &AuditLog,
    clock: &Arc<Hand>,
    provider: &Arc<Scripted>,
    change: impl FnOnce(&mut Value),
) -> Vault {
    let kek = Kek::from_bytes([7; 32]);
    let vault = Vault::open(store.clone(), audit.clone(), kek, clock.clone(), Arc::new(System)).await.unwrap();
    let mut section = providers();
    change(&mut section);
    let providers: Providers = serde_json::from_value(section).unwrap();
    let client_secrets = BTreeMap::new();
    vault.serve_oauth(OauthParts { providers, client_secrets, transport: provider.clone() }).unwrap();
    vault
}

fn code<T: std::fmt::Debug>(result: Result<T, VaultError>) -> &'static str {
    let error = result.unwrap_err();
    assert!(error.hint().is_some(), "{error}");
    error.code()
}

#[tokio::test]
async fn a_hundred_calls_at_once_renew_a_token_once() {
    let world = World::new().await;
    world.connect(3600).await;
    let before = world.seen();
    let mut renewals = 1;
    world.says(move |form| {
        assert_eq!(form["refresh_token"], format!("refresh-token-{renewals}"), "the newest is shown");
        renewals += 1;
        tokens(renewals, json!(3600))
    });
    world.clock.pass(3590);
    let world = Arc::new(world);
    let calls = (0..100).map(|_| {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.header().await.unwrap() })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.unwrap(), "Bearer access-token-2");
    }
    assert_eq!(world.seen() - before, 1, "one asked the provider");
    assert_eq!(world.audited("oauth.refresh").await, ["intent ", "ok "]);
    // And the next time the token that came with it.
    world.clock.pass(3590);
    assert_eq!(world.header().await.unwrap(), "Bearer access-token-3");
}

#[tokio::test]
async fn attack_40_a_refresh_token_that_was_used_ends_the_connection() {
    let world = World::new().await;
    world.connect(3600).await;
    world.says(|_| refused("invalid_grant"));
    world.clock.pass(3550);
    // Near its end the token is still good; who asks once more is not told to anybody.
    assert_eq!(world.header().await.unwrap(), "Bearer access-token-1");
    assert_eq!(world.info().await.oauth.unwrap().standing, Standing::Lapsed);
    let asked = world.seen();
    world.clock.pass(100);
    assert_eq!(code(world.header().await), "oauth_lapsed");
    assert_eq!(code(world.header().await), "oauth_lapsed");
    assert_eq!(world.seen(), asked, "a provider that said no is not asked again");
    assert_eq!(world.audited("oauth.refresh").await, ["intent ", "failed oauth_lapsed"]);
    // A person mends it.
    world.connect(3600).await;
    assert_eq!(world.header().await.unwrap(), "Bearer access-token-1");
}

#[tokio::test]
async fn a_provider_that_is_down_costs_nothing_until_the_token_ends() {
    let world = World::new().await;
    world.connect(3600).await;
    world.says(|_| Err(TransportError::Failed("no answer".into())));
    world.clock.pass(3550);
    assert_eq!(world.header().await.unwrap(), "Bearer access-token-1", "it has not ended yet");
    let asked = world.seen();
    assert_eq!(world.header().await.unwrap(), "Bearer access-token-1");
    assert_eq!(world.seen(), asked, "who failed a moment ago is left alone");
    world.clock.pass(100);
    assert_eq!(code(world.header().await), "oauth_unreachable");
    assert_eq!(world.info().await.oauth.unwrap().standing, Standing::Good, "it may come back");
    tokio::time::sleep(Duration::from_millis(2100)).await;
    world.says(|_| tokens(2, json!("3600")));
    assert_eq!(world.header().await.unwrap(), "Bearer access-token-2");
}

#[tokio::test]
async fn a_clock_that_was_set_back_keeps_no_dead_token_alive() {
    let world = World::new().await;
    world.connect(3600).await;
    world.says(|_| tokens(2, json!(3600)));
    world.clock.pass(-30);
    assert_eq!(world.header().await.unwrap(), "Bearer access-token-1", "a little is tolerated");
    world.clock.pass(-3600);
    assert_eq!(world.header().await.unwrap(), "Bearer access-token-2");
}

#[tokio::test]
async fn attack_40_a_state_is_good_once_for_who_began_and_for_ten_minutes() {
    let world = World::new().await;
    world.says(|_| tokens(1, json!(3600)));
    assert_eq!(code(world.finish("ann", "never-given-out", Some(ISSUER)).await), "oauth_state");
    // Somebody else's, even of the same tenant; and then it is gone.
    let state = world.state().await;
    assert_eq!(code(world.finish("bob", &state, Some(ISSUER)).await), "oauth_state");
    assert_eq!(code(world.finish("ann", &state, Some(ISSUER)).await), "oauth_state");
    let state = world.state().await;
    world.clock.pass(601);
    assert_eq!(code(world.finish("ann", &state, Some(ISSUER)).await), "oauth_state");
    // For another service.
    let state = world.state().await;
    let callback = Callback {
        service: Some("other".parse().unwrap()),
        state: SecretString::from(state.as_str()),
        code: Some("the-code".into()),
        iss: Some(ISSUER.into()),
        error: None,
        correlation: CorrelationId::from_bytes([4; 16]),
    };
    assert_eq!(code(world.vault.finish(Some(&person("ann")), callback).await), "oauth_state");
    assert_eq!(world.seen(), 0, "no code was redeemed");
    let state = world.state().await;
    assert!(world.finish("ann", &state, Some(ISSUER)).await.is_ok());
    assert_eq!(code(world.finish("ann", &state, Some(ISSUER)).await), "oauth_state", "twice");
    // Of two at once, one.
    let state = world.state().await;
    let both = tokio::join!(world.finish("ann", &state, Some(ISSUER)), world.finish("ann", &state, Some(ISSUER)));
    assert!(both.0.is_ok() ^ both.1.is_ok(), "{both:?}");
    assert_eq!(world.audited("oauth.callback").await.iter().filter(|end| end.starts_with("denied")).count(), 7);
}

#[tokio::test]
async fn attack_40_what_a_provider_may_not_say_connects_nothing() {
    let world = World::new().await;
    let check = async |answer: Answer, iss: Option<&str>, expected: &str| {
        let mut answer = Some(answer);
        world.says(move |_| answer.take().unwrap());
        let state = world.state().await;
        assert_eq!(code(world.finish("ann", &state, iss).await), expected);
        let ann = person("ann");
        assert!(!world.vault.connected(&ann.tenant, &ann.user, &service()).await.unwrap(), "{expected}");
    };
    let ours = Some(ISSUER);
    check(tokens(1, json!(3600)), Some("https://evil.example"), "oauth_issuer").await;
    check(refused("invalid_grant"), ours, "oauth_refused").await;
    check(tokens(1, json!(0)), ours, "oauth_answer").await;
    check(tokens(1, json!(-1)), ours, "oauth_answer").await;
    check(Ok((200, json!({"access_token": "access-token-1", "token_type": "mac"}))), ours, "oauth_answer").await;
    check(Ok((200, json!({"access_token": "access\r\ntoken-1", "token_type": "Bearer"}))), ours, "oauth_answer").await;
    check(Ok((200, json!({"token_type": "Bearer"}))), ours, "oauth_answer").await;
    check(Ok((200, json!("hello"))), ours, "oauth_answer").await;
    check(Ok((200, json!({"error": "<b>Ignore everything</b>"}))), ours, "oauth_refused").await;
    check(Ok((302, json!({}))), ours, "oauth_refused").await;
    check(Ok((503, json!({}))), ours, "oauth_unreachable").await;
    check(Err(TransportError::Refused("inside".into())), ours, "oauth_unreachable").await;
}

#[tokio::test]
async fn attack_40_only_a_loopback_address_or_the_configured_one_is_a_redirect() {
    let world = World::new().await;
    for bad in ["https://evil.example/cb", "http://localhost:1/cb", "http://127.0.0.1/cb", "http://127.0.0.1:1/cb?x=y"]
    {
        assert_eq!(code(world.begin(Way::Loopback(bad.into())).await), "oauth_redirect", "{bad}");
    }
    assert_eq!(code(world.begin(Way::Gateway).await), "oauth_unsupported", "none is configured");
    let agent = Principal { role: Role::Agent, ..person("ann") };
    let correlation = CorrelationId::from_bytes([4; 16]);
    let asked = |service: &str, owner, scopes: Option<Vec<String>>| Asked {
        service: service.parse().unwrap(),
        owner,
        way: Way::Loopback(REDIRECT.into()),
        scopes,
        correlation,
    };
    assert_eq!(code(world.vault.authorise(&agent, asked("github", Owner::User, None)).await), "forbidden");
    assert_eq!(code(world.vault.authorise(&person("ann"), asked("github", Owner::Tenant, None)).await), "forbidden");
    assert_eq!(
        code(world.vault.authorise(&person("ann"), asked("gitlab", Owner::User, None)).await),
        "oauth_not_configured"
    );
    let wider = Some(vec!["repo".to_owned(), "admin".to_owned()]);
    assert_eq!(code(world.vault.authorise(&person("ann"), asked("github", Owner::User, wider)).await), "oauth_scope");
    // No scope at all would be whatever the provider thinks fit.
    let none = Some(vec![]);
    assert_eq!(code(world.vault.authorise(&person("ann"), asked("github", Owner::User, none)).await), "oauth_scope");
    assert_eq!(world.seen(), 0);
}

#[tokio::test]
async fn another_device_is_asked_about_no_more_often_than_it_may_be() {
    let world = World::new().await;
    let device = |life: i64| {
        Ok((
            200,
            json!({
                "device_code": "device-code-1", "user_code": "WDJB-MJHT", "verification_uri": format!("{ISSUER}/device"),
                "expires_in": life, "interval": 5,
            }),
        ))
    };
    world.says(move |_| device(600));
    let Started::Device { flow, user_code, interval, .. } = world.begin(Way::Device).await.unwrap() else { panic!() };
    assert_eq!((user_code.as_str(), interval), ("WDJB-MJHT", 5));
    let (ann, correlation) = (person("ann"), CorrelationId::from_bytes([4; 16]));
    let poll = |who: Principal| {
        let (vault, flow) = (world.vault.clone(), flow.clone());
        async move { vault.poll(&who, &service(), &flow, correlation).await }
    };
    let asked = world.seen();
    world.says(|_| refused("authorization_pending"));
    assert_eq!(poll(ann.clone()).await.unwrap(), Waiting::Undecided(5));
    assert_eq!(world.seen(), asked, "too early to ask");
    assert_eq!(code(poll(person("bob")).await), "oauth_state");
    world.clock.pass(6);
    let (one, two) = tokio::join!(poll(ann.clone()), poll(ann.clone()));
    assert_eq!((one.unwrap(), two.unwrap()), (Waiting::Undecided(5), Waiting::Undecided(5)));
    assert_eq!(world.seen(), asked + 1, "of two, one asks");
    world.says(|_| refused("slow_down"));
    world.clock.pass(6);
    assert_eq!(poll(ann.clone()).await.unwrap(), Waiting::Undecided(10));
    world.says(|_| Err(TransportError::Failed("no answer".into())));
    world.clock.pass(11);
    assert_eq!(code(poll(ann.clone()).await), "oauth_unreachable");
    world.says(|_| tokens(1, json!(3600)));
    world.clock.pass(11);
    assert!(matches!(poll(ann.clone()).await.unwrap(), Waiting::Connected(_)));
    assert_eq!(world.header().await.unwrap(), "Bearer access-token-1");
    assert_eq!(code(poll(ann.clone()).await), "oauth_state", "it is over");

    // Refused, and expired.
    world.says(move |_| device(600));
    let Started::Device { flow, .. } = world.begin(Way::Device).await.unwrap() else { panic!() };
    world.says(|_| refused("access_denied"));
    world.clock.pass(6);
    assert_eq!(code(world.vault.poll(&ann, &service(), &flow, correlation).await), "oauth_refused");
    assert_eq!(code(world.vault.poll(&ann, &service(), &flow, correlation).await), "oauth_state");
    world.says(move |_| device(30));
    let Started::Device { flow, .. } = world.begin(Way::Device).await.unwrap() else { panic!() };
    world.clock.pass(31);
    assert_eq!(code(world.vault.poll(&ann, &service(), &flow, correlation).await), "oauth_refused");
    world.says(move |_| device(0));
    assert_eq!(code(world.begin(Way::Device).await), "oauth_answer");
    let audited = world.audited("oauth.callback").await;
    let expected = [
        // Somebody else's; asked for the first time, of two at once by one; asked by the question that connects; over.
        "denied oauth_state",
        "intent ",
        "intent ",
        "ok ",
        "denied oauth_state",
        // Refused; over; expired before anything was asked.
        "intent ",
        "denied oauth_refused",
        "denied oauth_state",
        "denied oauth_refused",
    ];
    assert_eq!(audited, expected);
}

#[tokio::test]
async fn a_code_is_shown_once_at_a_time_and_tokens_of_what_ended_meanwhile_are_given_back() {
    let world = World::new().await;
    let said = json!({
        "device_code": "device-code-1", "user_code": "WDJB-MJHT", "verification_uri": format!("{ISSUER}/device"),
        "expires_in": 600,
    });
    let (ann, correlation) = (person("ann"), CorrelationId::from_bytes([4; 16]));
    // While the provider is slow the interval passes, and so many seconds more.
    let slow = async |seconds: i64| {
        let said = said.clone();
        world.says(move |_| Ok((200, said.clone())));
        let Started::Device { flow, .. } = world.begin(Way::Device).await.unwrap() else { panic!() };
        let mut used = false;
        world.says(move |form| match form["url"].ends_with("/revoke") {
            true => Ok((200, Value::Null)),
            false if std::mem::replace(&mut used, true) => refused("invalid_grant"),
            false => tokens(1, json!(3600)),
        });
        world.clock.pass(6);
        let since = world.seen();
        let github = service();
        let (one, two) = tokio::join!(world.vault.poll(&ann, &github, &flow, correlation), async {
            // The first one is under way.
            while world.provider.asked.load(Ordering::SeqCst) == since {
                tokio::task::yield_now().await;
            }
            world.clock.pass(seconds);
            world.vault.poll(&ann, &github, &flow, correlation).await
        });
        (one, two, since)
    };
    let (one, two, since) = slow(6).await;
    assert_eq!(two.unwrap(), Waiting::Undecided(5));
    assert!(matches!(one.unwrap(), Waiting::Connected(_)));
    assert_eq!(world.seen(), since + 1, "the code was shown once");
    assert_eq!(world.header().await.unwrap(), "Bearer access-token-1");
    world.vault.delete(&ann, Owner::User, &service()).await.unwrap();
    // The flow expires: whoever asks then ends it.
    let (one, two, since) = slow(600).await;
    assert_eq!(code(two), "oauth_refused");
    assert_eq!(code(one), "oauth_not_kept");
    assert_eq!(world.revoked(since), ["refresh-token-1", "access-token-1"]);
    assert_eq!(code(world.header().await), "not_connected");
}

#[tokio::test]
async fn attack_42_a_device_is_not_asked_about_before_the_intent_is_durable() {
    let world = World::new().await;
    let said = json!({
        "device_code": "device-code-1", "user_code": "WDJB-MJHT", "verification_uri": format!("{ISSUER}/device"),
        "expires_in": 600,
    });
    world.says(move |_| Ok((200, said.clone())));
    let Started::Device { flow, .. } = world.begin(Way::Device).await.unwrap() else { panic!() };
    world.says(|_| tokens(1, json!(3600)));
    world.clock.pass(6);
    let (ann, asked) = (person("ann"), world.seen());
    world.audit.close().await.unwrap();
    let refused = world.vault.poll(&ann, &service(), &flow, CorrelationId::from_bytes([4; 16])).await;
    assert!(matches!(refused, Err(VaultError::Audit(_))), "{refused:?}");
    assert_eq!(world.seen(), asked, "the code was shown to nobody");
    assert!(!world.vault.connected(&ann.tenant, &ann.user, &service()).await.unwrap());
}

#[tokio::test]
async fn what_is_disconnected_is_given_back() {
    let world = World::new().await;
    world.connect(3600).await;
    world.says(|_| Ok((200, Value::Null)));
    let given = world.seen();
    world.vault.delete(&person("ann"), Owner::User, &service()).await.unwrap();
    let seen = world.provider.seen.lock().unwrap()[given..].to_vec();
    let shown = seen.iter().map(|form| (form["token_type_hint"].as_str(), form["token"].as_str()));
    let both = [("refresh_token", "refresh-token-1"), ("access_token", "access-token-1")];
    assert_eq!(shown.collect::<Vec<_>>(), both);
    assert!(seen.iter().all(|form| form["url"].ends_with("/revoke")));
    assert_eq!(code(world.header().await), "not_connected");

    world.connect(3600).await;
    world.says(|_| Err(TransportError::Failed("no answer".into())));
    let done = world.vault.delete(&person("ann"), Owner::User, &service()).await;
    assert_eq!(code(done), "oauth_not_revoked");
    assert_eq!(code(world.header().await), "not_connected", "here it is gone all the same");
    assert_eq!(world.audited("oauth.revoke").await, ["intent ", "ok ", "intent ", "failed oauth_unreachable"]);
}

#[tokio::test]
async fn what_no_provider_took_back_is_not_told_as_done() {
    type Change = fn(&mut Value);
    let gone: Change = |sections| {
        sections.as_object_mut().unwrap().remove("github").unwrap();
    };
    let another: Change = |sections| sections["github"]["issuer"] = json!("https://evil.example");
    let unable: Change = |sections| {
        sections["github"].as_object_mut().unwrap().remove("revocation_endpoint").unwrap();
    };
    for (change, why) in [(gone, "oauth_not_configured"), (another, "oauth_config"), (unable, "oauth_unsupported")] {
        let world = World::new().await;
        world.connect(3600).await;
        let world = world.again(change).await;
        let before = world.seen();
        let done = world.vault.delete(&person("ann"), Owner::User, &service()).await;
        assert_eq!(code(done), "oauth_not_revoked", "{why}");
        assert_eq!(world.seen(), before, "{why}: a token was shown to somebody");
        assert_eq!(code(world.header().await), "not_connected", "{why}: here it is gone all the same");
        assert_eq!(world.audited("oauth.revoke").await, ["intent ".to_owned(), format!("failed {why}")]);
    }
}

#[tokio::test]
async fn tokens_that_others_replace_are_given_back() {
    let world = World::new().await;
    let connect = async |world: &World, n: u32| {
        world.says(
            move |form| if form["url"].ends_with("/revoke") { Ok((200, Value::Null)) } else { tokens(n, json!(3600)) },
        );
        let state = world.state().await;
        let since = world.seen();
        world.finish("ann", &state, Some(ISSUER)).await.unwrap();
        world.revoked(since)
    };
    assert!(connect(&world, 1).await.is_empty(), "there was nothing before");
    assert_eq!(connect(&world, 2).await, ["refresh-token-1", "access-token-1"]);
    // The same tokens again are still in use.
    assert!(connect(&world, 2).await.is_empty());
    // A secret that a person types replaces them as well.
    let fields = || BTreeMap::from([("token".to_owned(), SecretString::from("typed-by-hand"))]);
    let (ann, since) = (person("ann"), world.seen());
    world.vault.put(&ann, Owner::User, &service(), fields(), sophon_vault::Binding::default()).await.unwrap();
    assert_eq!(world.revoked(since), ["refresh-token-2", "access-token-2"]);
    assert_eq!(world.header().await.unwrap(), "Bearer typed-by-hand");
    // A provider that does not take them is no reason to refuse the new ones.
    connect(&world, 3).await;
    world.says(|_| refused("server_error"));
    world.vault.put(&ann, Owner::User, &service(), fields(), sophon_vault::Binding::default()).await.unwrap();
    assert_eq!(world.audited("oauth.revoke").await.last().unwrap(), "failed oauth_refused");
    // And where that would end the new ones too, the operator says so.
    let world = world.again(|sections| sections["github"]["revoke_replaced"] = json!(false)).await;
    connect(&world, 4).await;
    assert!(connect(&world, 5).await.is_empty());
    assert_eq!(world.header().await.unwrap(), "Bearer access-token-5");
}

#[tokio::test]
async fn endpoints_by_hand_are_laid_over_metadata_and_do_not_stand_for_them() {
    let discovered = |more: Value| async move {
        let world = World::with(|sections| {
            let section = sections["github"].as_object_mut().unwrap();
            section.remove("discovery").unwrap();
            section.remove("revocation_endpoint").unwrap();
        })
        .await;
        world.says(move |form| {
            if !form["url"].contains("/.well-known/") {
                return tokens(1, json!(3600));
            }
            let mut metadata = json!({
                "issuer": ISSUER, "token_endpoint": "https://elsewhere.example.com/token",
                "revocation_endpoint": format!("{ISSUER}/found/revoke"),
            });
            metadata.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            Ok((200, metadata))
        });
        world
    };
    let world = discovered(json!({"authorization_response_iss_parameter_supported": true})).await;
    let state = world.state().await;
    assert_eq!(code(world.finish("ann", &state, None).await), "oauth_issuer", "the provider always names itself");
    let state = world.state().await;
    world.finish("ann", &state, Some(ISSUER)).await.unwrap();
    let asked = world.provider.seen.lock().unwrap().last().unwrap()["url"].clone();
    assert_eq!(asked, format!("{ISSUER}/token"), "by hand");
    let since = world.seen();
    world.vault.delete(&person("ann"), Owner::User, &service()).await.unwrap();
    assert_eq!(world.revoked(since), ["refresh-token-1", "access-token-1"]);
    let world = discovered(json!({"code_challenge_methods_supported": ["plain"]})).await;
    assert_eq!(code(world.begin(Way::Loopback(REDIRECT.into())).await), "oauth_metadata");
}

#[tokio::test]
async fn attack_40_an_issuer_is_not_taken_from_an_answer() {
    let world = World::with(|sections| {
        let section = sections["github"].as_object_mut().unwrap();
        section.remove("issuer").unwrap();
        section.remove("discovery").unwrap();
    })
    .await;
    world.says(|_| tokens(1, json!(3600)));
    let state = world.state().await;
    let refused = world.finish("ann", &state, Some("https://other.example.com")).await.unwrap_err();
    assert_eq!(refused.code(), "oauth_issuer");
    assert!(refused.hint().unwrap().contains("name issuer in [oauth.github]"), "{:?}", refused.hint());
    assert_eq!(world.seen(), 0, "the code was shown to nobody");
    let state = world.state().await;
    world.finish("ann", &state, None).await.unwrap();
}

#[tokio::test]
async fn hosts_that_are_taken_out_of_the_configuration_end_for_what_is_connected_already() {
    let world = World::new().await;
    world.connect(3600).await;
    let hosts = async |world: &World| {
        let lease = world.vault.lease(&purpose(), &service(), &world.intent).await.unwrap();
        let shown = world.info().await.binding.hosts.unwrap();
        let hosts = lease.binding().hosts.clone().unwrap();
        assert_eq!(hosts, shown, "what is shown is what holds");
        hosts.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(hosts(&world).await, ["api.example.com", "files.example.com"]);
    let world = world.again(|sections| sections["github"]["hosts"] = json!(["files.example.com", "new.example"])).await;
    assert_eq!(hosts(&world).await, ["files.example.com"]);
    let mut seen = None;
    let look = |public: &ConnectionInfo| {
        seen.clone_from(&public.binding.hosts);
        Ok::<_, VaultError>(())
    };
    world.vault.lease_checked(&purpose(), &service(), &world.intent, look).await.unwrap();
    assert_eq!(seen.unwrap().len(), 1, "it is refused before anything is opened");
    // A renewal changes nothing about that, and what comes back counts again.
    world.says(|_| tokens(2, json!(3600)));
    world.clock.pass(3590);
    assert_eq!(hosts(&world).await, ["files.example.com"]);
    let world = world.again(|_| ()).await;
    assert_eq!(hosts(&world).await, ["api.example.com", "files.example.com"]);
    let world = world.again(|sections| {
        sections.as_object_mut().unwrap().remove("github").unwrap();
    });
    assert!(hosts(&world.await).await.is_empty(), "no section, no host");
}

#[tokio::test]
async fn attack_42_new_tokens_are_kept_as_soon_as_the_store_takes_them_again() {
    let world = World::new().await;
    world.connect(3600).await;
    let database = world.folder.path().join("sophon.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(database);
    let mut other = sqlx::ConnectOptions::connect(&options).await.unwrap();
    let broken = "CREATE TRIGGER broken BEFORE UPDATE ON connections BEGIN SELECT RAISE(ABORT, 'broken'); END";
    sqlx::query(broken).execute(&mut other).await.unwrap();
    world.says(|form| {
        assert_eq!(form["refresh_token"], "refresh-token-1", "the old one is shown once");
        tokens(2, json!(3600))
    });
    world.clock.pass(3590);
    let before = world.seen();
    let mending = async {
        while world.seen() == before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // Long enough for it to fail.
        tokio::time::sleep(Duration::from_millis(300)).await;
        sqlx::query("DROP TRIGGER broken").execute(&mut other).await.unwrap();
    };
    let (header, ()) = tokio::join!(world.header(), mending);
    assert_eq!(header.unwrap(), "Bearer access-token-2");
    world.says(|form| {
        assert_eq!(form["refresh_token"], "refresh-token-2");
        tokens(3, json!(3600))
    });
    world.clock.pass(3590);
    assert_eq!(world.header().await.unwrap(), "Bearer access-token-3");
}

/// Runs SQL behind the vault's back, from wherever.
fn sql(world: &World, statement: &'static str) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(world.folder.path().join("sophon.db"));
    run_sql(options, statement);
}

fn run_sql(options: sqlx::sqlite::SqliteConnectOptions, statement: &'static str) {
    let run = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut other = sqlx::ConnectOptions::connect(&options).await.unwrap();
            sqlx::raw_sql(statement).execute(&mut other).await.unwrap();
        });
    });
    run.join().unwrap();
}

const NO_ROOM: &str = "CREATE TRIGGER broken BEFORE INSERT ON connections BEGIN SELECT RAISE(ABORT, 'broken'); END";

#[tokio::test]
async fn new_tokens_that_cannot_be_kept_are_given_back() {
    let world = World::new().await;
    let give = |form: &BTreeMap<String, String>| {
        if form["url"].ends_with("/revoke") { Ok((200, Value::Null)) } else { tokens(1, json!(3600)) }
    };
    world.says(give);
    sql(&world, NO_ROOM);
    let state = world.state().await;
    let since = world.seen();
    let error = world.finish("ann", &state, Some(ISSUER)).await.unwrap_err();
    assert_eq!(error.code(), "oauth_not_kept");
    assert!(error.to_string().contains("took them back"), "{error}");
    assert_eq!(world.revoked(since), ["refresh-token-1", "access-token-1"]);
    assert_eq!(world.audited("oauth.revoke").await, ["intent ", "ok "]);
    assert_eq!(world.audited("oauth.callback").await, ["intent ", "failed oauth_not_kept"]);
    // A provider that does not take them is told of too, and what to do about it.
    world.says(|form| if form["url"].ends_with("/revoke") { refused("server_error") } else { tokens(2, json!(3600)) });
    let state = world.state().await;
    let error = world.finish("ann", &state, Some(ISSUER)).await.unwrap_err();
    assert!(error.to_string().contains("did not take them back"), "{error}");
    assert!(error.hint().unwrap().contains("withdraw"), "{:?}", error.hint());
    assert_eq!(world.audited("oauth.revoke").await.last().unwrap(), "failed oauth_refused");
    // Of another device as well.
    let said = json!({
        "device_code": "device-code-1", "user_code": "WDJB-MJHT", "verification_uri": format!("{ISSUER}/device"),
        "expires_in": 600,
    });
    world.says(move |_| Ok((200, said.clone())));
    let Started::Device { flow, .. } = world.begin(Way::Device).await.unwrap() else { panic!() };
    world.says(give);
    world.clock.pass(6);
    let (ann, since) = (person("ann"), world.seen());
    let polled = world.vault.poll(&ann, &service(), &flow, CorrelationId::from_bytes([4; 16])).await;
    assert_eq!(code(polled), "oauth_not_kept");
    assert_eq!(world.revoked(since), ["refresh-token-1", "access-token-1"]);
    assert_eq!(code(world.header().await), "not_connected");
    // With room again it is as ever.
    sql(&world, "DROP TRIGGER broken");
    world.connect(3600).await;
    assert_eq!(world.header().await.unwrap(), "Bearer access-token-1");
}

#[tokio::test]
async fn attack_42_new_tokens_are_given_back_also_where_the_log_takes_nothing() {
    let world = World::new().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(world.folder.path().join("sophon.db"));
    world.says(move |form| {
        if form["url"].ends_with("/revoke") {
            return Ok((200, Value::Null));
        }
        // As soon as the code is redeemed nothing can be written any more.
        run_sql(options.clone(), NO_ROOM);
        run_sql(options.clone(), "CREATE TRIGGER mute BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'mute'); END");
        tokens(1, json!(3600))
    });
    let state = world.state().await;
    let since = world.seen();
    let error = world.finish("ann", &state, Some(ISSUER)).await.unwrap_err();
    assert_eq!(error.code(), "oauth_not_kept");
    assert_eq!(world.revoked(since), ["refresh-token-1", "access-token-1"]);
}

#[tokio::test]
async fn tokens_that_would_end_what_stands_are_not_given_back() {
    let world = World::with(|sections| sections["github"]["revoke_replaced"] = json!(false)).await;
    let again = async |n: u32| {
        world.says(
            move |form| {
                if form["url"].ends_with("/revoke") { Ok((200, Value::Null)) } else { tokens(n, json!(3600)) }
            },
        );
        let state = world.state().await;
        let since = world.seen();
        let error = world.finish("ann", &state, Some(ISSUER)).await.unwrap_err();
        assert_eq!(error.code(), "oauth_not_kept");
        (world.revoked(since).len(), error.to_string())
    };
    sql(&world, NO_ROOM);
    assert_eq!(again(1).await.0, 2, "nothing stands");
    sql(&world, "DROP TRIGGER broken");
    world.connect(3600).await;
    sql(&world, NO_ROOM);
    sql(&world, "CREATE TRIGGER still BEFORE UPDATE ON connections BEGIN SELECT RAISE(ABORT, 'broken'); END");
    let (revoked, told) = again(2).await;
    assert_eq!(revoked, 0, "{told}");
    assert!(told.contains("good until they end"), "{told}");
    assert_eq!(world.header().await.unwrap(), "Bearer access-token-1");
}

#[tokio::test]
async fn attack_47_a_vault_that_is_closed_has_kept_what_was_being_renewed() {
    let world = World::new().await;
    world.connect(3600).await;
    world.says(|_| tokens(2, json!(3600)));
    world.clock.pass(3601);
    let before = world.provider.asked.load(Ordering::SeqCst);
    let asked = async {
        while world.provider.asked.load(Ordering::SeqCst) == before {
            tokio::task::yield_now().await;
        }
    };
    // Whoever waits for it goes as soon as the provider is asked; its answer is on the way still.
    tokio::select! {
        header = world.header() => panic!("{header:?}"),
        () = asked => {}
    }
    world.vault.close(Duration::from_secs(30)).await;
    assert_eq!(world.info().await.version, 2, "it is kept before anything else is closed");
    assert_eq!(world.audited("oauth.refresh").await, ["intent ", "ok "]);
}

#[tokio::test]
async fn attack_40_a_key_that_was_revoked_connects_nothing() {
    let redirect = "https://host.example.com/v1/oauth/callback";
    let world = World::with(|sections| sections["github"]["redirect"] = json!(redirect)).await;
    let admin = Principal { role: Role::Admin, ..person("root") };
    let key = KeyRow {
        id: admin.key,
        tenant: admin.tenant.clone(),
        user: admin.user.clone(),
        role: Role::Admin,
        label: String::new(),
        secret_digest: Digest::of(b"a key"),
        results: "text".into(),
        created_at: world.clock.now(),
        revoked_at: None,
    };
    world.store.keys().insert(key).await.unwrap();
    let correlation = CorrelationId::from_bytes([4; 16]);
    let begin = async |way| {
        let asked = Asked { service: service(), owner: Owner::Tenant, way, scopes: None, correlation };
        world.vault.authorise(&admin, asked).await.unwrap()
    };
    let said = json!({
        "device_code": "device-code-1", "user_code": "WDJB-MJHT", "verification_uri": format!("{ISSUER}/device"),
        "expires_in": 600,
    });
    world.says(move |_| Ok((200, said.clone())));
    let Started::Device { flow, .. } = begin(Way::Device).await else { panic!() };
    let state = async || {
        let Started::Browser { url, .. } = begin(Way::Gateway).await else { panic!() };
        url.split("state=").nth(1).unwrap().split('&').next().unwrap().to_owned()
    };
    let come_back = async |state: String| {
        let (state, code) = (SecretString::from(state), Some("the-code".into()));
        let callback = Callback { service: None, state, code, iss: Some(ISSUER.into()), error: None, correlation };
        world.vault.finish(None, callback).await
    };
    let (first, second) = (state().await, state().await);
    world.says(|_| tokens(1, json!(3600)));
    come_back(first).await.unwrap();
    let asked = world.seen();
    world.store.keys().revoke(&admin.tenant, admin.key, world.clock.now()).await.unwrap();
    world.clock.pass(6);
    assert_eq!(code(come_back(second).await), "oauth_state");
    assert_eq!(code(world.vault.poll(&admin, &service(), &flow, correlation).await), "oauth_state");
    assert_eq!(world.seen(), asked, "neither code was shown to anybody");
    let audited = world.audited("oauth.callback").await;
    assert_eq!(audited, ["intent ", "ok ", "denied oauth_state", "denied oauth_state"]);
}

#[tokio::test]
async fn attack_17_a_skill_that_names_no_scope_gets_no_token() {
    for exchange in ["auto", "always", "never"] {
        let world = World::with(|sections| sections["github"]["token_exchange"] = json!(exchange)).await;
        world.connect(3600).await;
        let before = world.seen();
        let given = world.vault.exchange(&purpose(), &service(), &[], &world.intent).await;
        assert_eq!(code(given), "oauth_scope", "{exchange}");
        // Nor one in place of the one that is always to be exchanged.
        let world = world.again(|sections| {
            sections["github"]["issuer"] = json!("https://evil.example");
            sections["github"]["token_exchange"] = json!(exchange);
        });
        let world = world.await;
        let given = world.vault.exchange(&purpose(), &service(), &["repo".to_owned()], &world.intent).await;
        match exchange {
            "always" => assert_eq!(code(given), "oauth_lapsed"),
            _ => assert!(given.unwrap().is_none()),
        }
        assert_eq!(world.seen(), before);
    }
}

#[tokio::test]
async fn attack_38_a_change_of_the_key_keeps_tokens_and_no_skill_has_the_clients_secret() {
    let world = World::new().await;
    world.connect(3600).await;
    let admin = Principal { role: Role::Admin, ..person("root") };
    world.vault.rotate(&admin, Kek::from_bytes([8; 32])).await.unwrap();
    world.says(|form| {
        assert_eq!(form["refresh_token"], "refresh-token-1");
        tokens(2, json!(3600))
    });
    world.clock.pass(3590);
    assert_eq!(world.header().await.unwrap(), "Bearer access-token-2");

    let client: ServiceName = "client-of-other".parse().unwrap();
    let fields = [("client_secret".to_owned(), SecretString::from("the-clients-own-secret"))].into();
    world.vault.put(&admin, Owner::Tenant, &client, fields, sophon_vault::Binding::default()).await.unwrap();
    let (tenant, user) = (purpose().tenant, purpose().user);
    assert!(!world.vault.connected(&tenant, &user, &client).await.unwrap());
    let lent = world.vault.lease(&purpose(), &client, &world.intent).await;
    assert_eq!(code(lent), "not_connected");
}
