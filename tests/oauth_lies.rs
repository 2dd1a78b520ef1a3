//! An authorisation server that lies, over real TLS: what it says connects nothing, and what it has is worth nothing
//! elsewhere.

use crate::harness::{Behaviour, Cli, Gateway, Guest, Home, Key, Publisher, Request, Upstream};
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the server says, until a test says otherwise.
struct Script {
    metadata: Value,
    /// What its token endpoint answers, with the status; without one it plays its part.
    token: Option<(u16, Value)>,
    /// Codes that were redeemed.
    codes: Vec<String>,
    /// How many access tokens it gave; the newest refresh token has this number.
    given: u32,
    refreshed: u32,
    first_life: u32,
    /// How often it fails before a person has decided on another device.
    hiccups: u32,
    /// How long a renewal takes it.
    thinks: Duration,
}

struct Liar {
    upstream: Upstream,
    script: Arc<Mutex<Script>>,
}

impl Liar {
    fn start() -> Self {
        let script = Arc::new(Mutex::new(Script {
            metadata: json!({}),
            token: None,
            codes: Vec::new(),
            given: 0,
            refreshed: 0,
            first_life: 3600,
            hiccups: 0,
            thinks: Duration::ZERO,
        }));
        let own = Arc::clone(&script);
        let upstream = Upstream::with(move |seen| {
            let mut script = own.lock().expect("the script");
            let form = String::from_utf8_lossy(&seen.body).into_owned();
            let field = |name: &str| {
                form.split('&')
                    .filter_map(|pair| pair.split_once('='))
                    .find(|(n, _)| *n == name)
                    .map(|(_, v)| v.to_owned())
            };
            let issuer = format!("https://{}", seen.header("host").unwrap_or_default());
            let (status, body) = match seen.target.as_str() {
                "/.well-known/oauth-authorization-server" => (200, metadata(&issuer, &script.metadata)),
                "/token" => match (&script.token, field("grant_type").as_deref()) {
                    (Some((status, body)), _) => (*status, body.clone()),
                    (None, Some("authorization_code")) => {
                        let code = field("code").unwrap_or_default();
                        if script.codes.contains(&code) || field("code_verifier").is_none() {
                            (400, json!({"error": "invalid_grant"}))
                        } else {
                            script.codes.push(code);
                            script.given += 1;
                            (200, tokens(script.given, script.first_life))
                        }
                    }
                    (None, Some("refresh_token")) => {
                        if field("refresh_token") == Some(format!("refresh-token-{}-of-the-liar", script.given)) {
                            script.given += 1;
                            script.refreshed += 1;
                            std::thread::sleep(script.thinks);
                            (200, tokens(script.given, 3600))
                        } else {
                            (400, json!({"error": "invalid_grant"}))
                        }
                    }
                    (None, Some(grant)) if grant.ends_with("device_code") => {
                        if script.hiccups > 0 {
                            script.hiccups -= 1;
                            (503, json!({}))
                        } else {
                            script.given += 1;
                            (200, tokens(script.given, script.first_life))
                        }
                    }
                    _ => (400, json!({"error": "unsupported_grant_type"})),
                },
                "/device" => (
                    200,
                    json!({
                        "device_code": "device-code-of-the-liar", "user_code": "WDJB-MJHT", "expires_in": 600,
                        "verification_uri": format!("{issuer}/device"), "interval": 1,
                    }),
                ),
                "/me" => {
                    let current = format!("Bearer access-token-{}-of-the-liar", script.given);
                    if seen.authorization.as_deref() == Some(&current) { (200, json!({})) } else { (401, json!({})) }
                }
                _ => (404, json!({})),
            };
            let mut answer = http::Response::new(Bytes::from(body.to_string()));
            *answer.status_mut() = http::StatusCode::from_u16(status).expect("a status");
            answer
        });
        Self { upstream, script }
    }

    fn says(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().expect("the script"));
    }

    fn issuer(&self) -> String {
        format!("https://{}", self.upstream.host())
    }
}

fn metadata(issuer: &str, lies: &Value) -> Value {
    let mut metadata = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/auth"),
        "token_endpoint": format!("{issuer}/token"),
        "device_authorization_endpoint": format!("{issuer}/device"),
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
    });
    let (Some(members), Some(lies)) = (metadata.as_object_mut(), lies.as_object()) else { unreachable!() };
    members.extend(lies.clone());
    metadata
}

fn tokens(n: u32, life: u32) -> Value {
    json!({
        "access_token": format!("access-token-{n}-of-the-liar"), "refresh_token": format!("refresh-token-{n}-of-the-liar"),
        "token_type": "Bearer", "expires_in": life,
    })
}

struct Stage {
    liar: Liar,
    home: Home,
    gateway: Gateway,
    ann: Key,
}

impl Stage {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(lie: impl FnOnce(&mut Script)) -> Self {
        let liar = Liar::start();
        liar.says(lie);
        let section = format!(
            "[gateway]\ndrain_seconds = 1\n[oauth.svc]\nissuer = \"{}\"\nclient_id = \"sophon\"\nscopes = [\"read\"]\nhosts = [\"{}\"]\n",
            liar.issuer(),
            liar.upstream.host()
        );
        let home = Home::configured(&section);
        let gateway = Gateway::start(&home);
        let ann = gateway.key("approver", "ann");
        Self { liar, home, gateway, ann }
    }

    fn post(&self, who: &Key, step: &str, body: &Value) -> crate::harness::Answer {
        self.gateway.request(who, "POST", &format!("/v1/oauth/svc/{step}"), Some(body))
    }

    /// Begins; the state.
    #[track_caller]
    fn state(&self) -> String {
        let body = json!({"redirect": "http://127.0.0.1:9/callback/svc"});
        let started = self.post(&self.ann, "start", &body).expect(200);
        let url = started["authorization_url"].as_str().expect("an address");
        url.split("state=").nth(1).and_then(|rest| rest.split('&').next()).expect("a state").to_owned()
    }

    /// Connects ann's account; the state that was used.
    #[track_caller]
    fn connect(&self, code: &str) -> String {
        let state = self.state();
        let body = json!({"state": state, "code": code, "iss": self.liar.issuer()});
        self.post(&self.ann, "finish", &body).expect(200);
        state
    }

    #[track_caller]
    fn nothing_is_connected(&self) {
        self.gateway.request(&self.ann, "GET", "/v1/credentials/svc", None).problem(404, "not_found");
    }
}

#[test]
fn attack_40_an_answer_of_another_issuer_or_of_nobody_connects_nothing() {
    let stage = Stage::new();
    for iss in [json!("https://evil.example"), json!(format!("{}/", stage.liar.issuer())), Value::Null] {
        let body = json!({"state": stage.state(), "code": "a-code", "iss": iss});
        let told = stage.post(&stage.ann, "finish", &body).problem(403, "oauth_issuer");
        assert!(told["hint"].is_string(), "{told}");
    }
    stage.nothing_is_connected();
    assert!(!stage.liar.upstream.seen().iter().any(|seen| seen.target == "/token"), "no code was shown to anybody");
    let denied = stage.gateway.audit("action=oauth.callback");
    assert!(denied.len() == 3 && denied.iter().all(|record| record["outcome"] == "denied"), "{denied:?}");
}

#[test]
fn attack_40_metadata_that_lie_begin_nothing() {
    let inside = Upstream::plain();
    for lie in [
        json!({"issuer": "https://evil.example"}),
        json!({"code_challenge_methods_supported": ["plain"]}),
        json!({"token_endpoint": format!("http://127.0.0.1:{}/token", inside.address.port())}),
        json!({"token_endpoint": "http://169.254.169.254/token"}),
    ] {
        let stage = Stage::with(|script| script.metadata = lie.clone());
        let body = json!({"redirect": "http://127.0.0.1:9/callback/svc"});
        let told = stage.post(&stage.ann, "start", &body).problem(502, "oauth_metadata");
        assert!(told["hint"].as_str().is_some_and(|hint| hint.contains("[oauth.svc]")), "{lie}: {told}");
    }
    // An address that is https, and inside: it is begun with, and never reached.
    let lie = json!({"token_endpoint": format!("https://127.0.0.1:{}/token", inside.address.port())});
    let stage = Stage::with(|script| script.metadata = lie);
    let body = json!({"state": stage.state(), "code": "a-code", "iss": stage.liar.issuer()});
    stage.post(&stage.ann, "finish", &body).problem(502, "oauth_unreachable");
    assert!(inside.seen().is_empty(), "not one request");
    stage.nothing_is_connected();
}

#[test]
fn attack_40_a_replayed_code_and_a_state_of_somebody_else_connect_nothing() {
    let stage = Stage::new();
    stage.connect("the-code");
    // The same code again, with a fresh state: the provider says no, and the connection is what it was.
    let body = json!({"state": stage.state(), "code": "the-code", "iss": stage.liar.issuer()});
    let told = stage.post(&stage.ann, "finish", &body).problem(403, "oauth_refused");
    assert!(told["detail"].as_str().is_some_and(|text| text.contains("invalid_grant")), "{told}");
    // A state is good once, for whoever began.
    let bob = stage.gateway.key("approver", "bob");
    let state = stage.state();
    let answer = |state: &str| json!({"state": state, "code": "another-code", "iss": stage.liar.issuer()});
    stage.post(&bob, "finish", &answer(&state)).problem(403, "oauth_state");
    stage.post(&stage.ann, "finish", &answer(&state)).problem(403, "oauth_state");
    stage.post(&stage.ann, "finish", &answer("made-up")).problem(403, "oauth_state");
    let state = stage.state();
    let path = format!("/v1/oauth/callback?state={state}&code=another-code&iss=x");
    stage.gateway.client.send("GET", &path, &[], None).problem(403, "oauth_state");
    stage.post(&stage.ann, "finish", &answer(&state)).problem(403, "oauth_state");
    // An agent's key begins nothing.
    let agent = stage.gateway.agent();
    stage.post(&agent, "start", &json!({})).problem(403, "role_refused");
    let shown = stage.gateway.request(&stage.ann, "GET", "/v1/credentials/svc", None).expect(200);
    assert_eq!(shown["version"], 1);
    let redeemed = stage.liar.upstream.seen().iter().filter(|seen| seen.target == "/token").count();
    assert_eq!(redeemed, 2, "the code and its replay, and no more");
}

#[test]
fn attack_40_everything_expired_connects_nothing() {
    let stage = Stage::new();
    for life in [json!(0), json!(-3600), json!("0"), json!("yesterday")] {
        let mut said = tokens(1, 3600);
        said["expires_in"] = life;
        stage.liar.says(|script| script.token = Some((200, said)));
        let body = json!({"state": stage.state(), "code": "a-code", "iss": stage.liar.issuer()});
        stage.post(&stage.ann, "finish", &body).problem(502, "oauth_answer");
    }
    stage.nothing_is_connected();
}

#[test]
fn attack_40_tokens_are_in_no_file_log_or_record() {
    let stage = Stage::new();
    let state = stage.connect("the-code-of-this-test");
    let unfinished = stage.state();
    let records = json!(stage.gateway.audit("")).to_string();
    let redeemed = stage.liar.upstream.seen().iter().rfind(|seen| seen.target == "/token").cloned().expect("a form");
    let form = String::from_utf8_lossy(&redeemed.body).into_owned();
    let verifier = form.split('&').find_map(|pair| pair.strip_prefix("code_verifier=")).expect("a verifier");
    assert!(state.len() == 43 && verifier.len() == 43, "256 bits each");
    let tokens = ["access-token-1-of-the-liar", "refresh-token-1-of-the-liar", "the-code-of-this-test"];
    for secret in tokens.into_iter().chain([state.as_str(), &unfinished, verifier]) {
        assert!(stage.home.files_with(secret.as_bytes()).is_empty(), "{secret} lies about");
        assert!(!stage.gateway.log().contains(secret), "{secret} is in the log");
        assert!(!records.contains(secret), "{secret} is in a record");
    }
    let shown = stage.gateway.request(&stage.ann, "GET", "/v1/credentials", None);
    assert!(!shown.text().contains("-of-the-liar"));
}

#[test]
fn a_hundred_calls_at_once_cause_one_refresh_and_a_dead_refresh_token_is_told() {
    let stage = Stage::with(|script| script.first_life = 4);
    stage.connect("the-code");
    let publisher = Publisher::new("Mallory Inc", 7);
    stage.gateway.trust(&publisher);
    let request = Request::get(stage.liar.upstream.url("/me")).credential("svc");
    let rule = json!({"host": "localhost", "ports": [stage.liar.upstream.address.port()], "credential": "svc"});
    let guest = Guest::new("renewing", Behaviour::Send(request)).network(rule, "svc");
    stage.gateway.installed(&publisher.sign(&guest), &[&stage.liar.upstream.host()]);
    std::thread::sleep(Duration::from_secs(3));
    let agent = stage.gateway.agent();
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| {
                // Places are bounded; whoever finds none comes again.
                loop {
                    let answer = stage.gateway.call(&agent, "renewing.run", json!({}));
                    if answer.status != 503 {
                        let answer = answer.expect(200);
                        assert_eq!(answer["status"], "succeeded", "{answer}");
                        return;
                    }
                    std::thread::sleep(Duration::from_millis(100));
                }
            });
        }
    });
    let script = stage.liar.script.lock().expect("the script");
    assert_eq!((script.refreshed, script.given), (1, 2));
    drop(script);
    let seen = stage.liar.upstream.seen();
    assert!(
        seen.iter().filter(|seen| seen.target == "/me").count() == 100,
        "every call was answered with a good token"
    );
    assert!(
        seen.iter()
            .all(|seen| seen.target != "/me"
                || seen.authorization.as_deref() == Some("Bearer access-token-2-of-the-liar"))
    );
    drop(seen);

    // Somebody else used the refresh token: the account has to be connected again, and the call says so.
    stage.liar.says(|script| script.first_life = 1);
    stage.connect("another-code");
    stage.liar.says(|script| script.given += 7);
    std::thread::sleep(Duration::from_millis(1200));
    let error = stage.gateway.failure(&agent, "renewing.run", json!({}));
    let message = error["message"].as_str().expect("a message");
    assert!(message.contains("oauth_lapsed") && message.contains("sophon connect svc"), "{message}");
    let shown = stage.gateway.request(&stage.ann, "GET", "/v1/credentials/svc", None).expect(200);
    assert_eq!(shown["oauth"]["standing"], "lapsed");
}

#[test]
fn attack_47_a_gateway_that_ends_in_order_keeps_the_tokens_that_are_on_the_way() {
    let mut stage = Stage::with(|script| (script.first_life, script.thinks) = (1, Duration::from_secs(6)));
    stage.connect("the-code");
    let publisher = Publisher::new("Mallory Inc", 7);
    stage.gateway.trust(&publisher);
    let request = Request::get(stage.liar.upstream.url("/me")).credential("svc");
    let rule = json!({"host": "localhost", "ports": [stage.liar.upstream.address.port()], "credential": "svc"});
    let guest = Guest::new("cut", Behaviour::Send(request)).network(rule, "svc");
    stage.gateway.installed(&publisher.sign(&guest), &[&stage.liar.upstream.host()]);
    std::thread::sleep(Duration::from_millis(1200));
    let agent = stage.gateway.agent();
    stage.gateway.call_with(&agent, "cut.run", json!({"arguments": {}, "wait_seconds": 0})).expect(202);
    let redeemed = || stage.liar.upstream.seen().iter().filter(|seen| seen.target == "/token").count();
    while redeemed() < 2 {
        std::thread::sleep(Duration::from_millis(20));
    }
    // Longer than calls may take from now on; the provider has rotated the refresh token, and its answer is on the way.
    let admin = stage.gateway.admin_key().clone();
    assert!(stage.gateway.stop().success());
    stage.gateway = Gateway::again(&stage.home, &admin);
    stage.gateway.content(&agent, "cut.run", json!({}));
    assert_eq!(redeemed(), 2, "nothing had to be renewed again");
    let shown = stage.liar.upstream.seen().iter().rfind(|seen| seen.target == "/me").cloned().expect("a request");
    assert_eq!(shown.authorization.as_deref(), Some("Bearer access-token-2-of-the-liar"));
}

#[test]
fn attack_17_a_provider_in_trouble_raises_no_alarm() {
    let stage = Stage::with(|script| script.first_life = 1);
    stage.connect("the-code");
    let publisher = Publisher::new("Mallory Inc", 7);
    stage.gateway.trust(&publisher);
    let request = Request::get(stage.liar.upstream.url("/me")).header("Authorization", "-");
    let rule = json!({"host": "localhost", "ports": [stage.liar.upstream.address.port()], "credential": "svc"});
    let guest = Guest::new("holding", Behaviour::SendScoped { service: "svc", request }).manifest(json!({
        "permissions": {"network": [rule]},
        "credentials": [{"service": "svc", "scopes": ["read"], "required": false, "access": "scoped-token"}],
    }));
    stage.gateway.installed(&publisher.sign(&guest), &[&stage.liar.upstream.host()]);
    // Somebody else used the refresh token, and the access token ends.
    stage.liar.says(|script| script.given += 7);
    std::thread::sleep(Duration::from_millis(1200));
    let error = stage.gateway.failure(&stage.gateway.agent(), "holding.run", json!({}));
    assert!(error["message"].as_str().is_some_and(|text| text.contains("oauth_lapsed")), "{error}");
    assert_eq!(stage.gateway.audit("action=egress.denied").len(), 1, "it was refused on the way out");
    let alarms = stage.gateway.audit("action=egress.alarm");
    assert!(alarms.is_empty(), "{alarms:?}");
}

#[test]
fn a_provider_that_fails_once_does_not_end_the_waiting_for_another_device() {
    let stage = Stage::with(|script| script.hiccups = 1);
    Cli::new(&stage.home, ["connect", "svc", "--user", "ann", "--device"]).expect(0);
    let seen = stage.liar.upstream.seen();
    assert_eq!(seen.iter().filter(|seen| seen.target == "/token").count(), 2, "the failure, and the answer");
    drop(seen);
    stage.gateway.request(&stage.ann, "GET", "/v1/credentials/svc", None).expect(200);
}

#[test]
fn a_mistake_in_a_provider_names_its_line_and_key() {
    let home = Home::configured(
        "[oauth.svc]\nissuer = \"http://id.example.com\"\nclient_id = \"c\"\nhosts = [\"a.example\"]\n",
    );
    let refused = crate::harness::Launch::new(&home, &[]).refused();
    let message = refused["message"].as_str().expect("a message");
    assert!(message.contains("sophon.toml:3") && message.contains("issuer"), "{message}");
    let home = Home::configured("[oauth.svc]\nissuer = \"https://id.example.com\"\nclient_id = \"c\"\n");
    let refused = crate::harness::Launch::new(&home, &[]).refused();
    assert!(refused["message"].as_str().is_some_and(|text| text.contains("hosts")), "{refused}");
    let home = Home::configured(
        "[oauth.svc]\nissuer = \"https://id.example.com\"\nclient_id = \"c\"\nhosts = [\"a.example\"]\nclient_secret = \"hunter2hunter2\"\n",
    );
    let refused = crate::harness::Launch::new(&home, &[]).refused();
    assert!(refused["message"].as_str().is_some_and(|text| text.contains("client_secret")), "{refused}");
}
