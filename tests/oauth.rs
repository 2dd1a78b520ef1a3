//! Connecting accounts by OAuth 2.1, against a real authorisation server (oidc-provider) and the whole host.

use crate::harness::{
    Behaviour, Cli, Exchange, Gateway, Guest, Home, Key, Provider, Publisher, Request, browse, command, open, sophon,
};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};
use std::time::Duration;

/// A gateway that knows a real provider, and ann, who has an account there.
struct Stage {
    provider: Provider,
    home: Home,
    gateway: Gateway,
    ann: Key,
}

impl Stage {
    fn new() -> Self {
        Self::with("sophon-public", "")
    }

    fn with(client: &str, more: &str) -> Self {
        let provider = Provider::start();
        let home = Home::configured(&provider.section(client, more));
        std::fs::write(home.path().join("client-secret"), format!("{}\n", Provider::SECRET)).expect("the secret");
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(home.path().join("client-secret"), private).expect("its permissions");
        let gateway = Gateway::start(&home);
        let ann = gateway.key("approver", "ann");
        Self { provider, home, gateway, ann }
    }

    /// Begins an authorisation whose answer comes to a port of this machine.
    #[track_caller]
    fn start(&self) -> String {
        let body = json!({"redirect": "http://127.0.0.1:9/callback/real"});
        let started = self.post("start", body).expect(200);
        started["authorization_url"].as_str().expect("an address").to_owned()
    }

    fn post(&self, step: &str, body: Value) -> crate::harness::Answer {
        self.gateway.request(&self.ann, "POST", &format!("/v1/oauth/real/{step}"), Some(&body))
    }

    /// Connects ann's account.
    #[track_caller]
    fn connect(&self) -> Value {
        self.post("finish", parts(&browse(&self.start()))).expect(200)
    }

    /// Installs a guest that asks the provider what its token is good for.
    fn install(&self, name: &'static str, behaviour: Behaviour, access: &str, scopes: &[&str]) {
        let publisher = Publisher::new("Mallory Inc", 7);
        self.gateway.trust(&publisher);
        let rule =
            json!({"host": "127.0.0.1", "ports": [port_of(&self.provider)], "schemes": ["http"], "credential": "real"});
        let guest = Guest::new(name, behaviour).manifest(json!({
            "permissions": {"network": [rule]},
            "credentials": [{"service": "real", "scopes": scopes, "required": false, "access": access}],
        }));
        let grant = format!("http://{}=real", self.provider.host());
        self.gateway.installed(&publisher.sign(&guest), &[&grant]);
    }

    /// What the provider tells the guest of the token that came with its request.
    #[track_caller]
    fn me(&self, name: &str) -> Value {
        let seen = Exchange::of(&self.gateway.content(&self.gateway.agent(), &format!("{name}.run"), json!({}))).text();
        let (_, body) = seen.split_once("\n\n").unwrap_or_else(|| panic!("no body in {seen}"));
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error} in {seen}"))
    }

    fn request(&self) -> Request {
        Request::get(format!("{}/api/me", self.provider.issuer())).credential("real")
    }
}

fn port_of(provider: &Provider) -> u16 {
    provider.host().rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port")
}

/// The answer in an address that a browser was sent to.
#[track_caller]
fn parts(address: &str) -> Value {
    let query = address.split_once('?').unwrap_or_else(|| panic!("{address} says nothing")).1;
    let decoded = |text: &str| text.replace("%3A", ":").replace("%2F", "/");
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), Value::from(decoded(value)))).collect::<serde_json::Map<_, _>>().into()
}

/// A `sophon connect` that waits. Killed when it is dropped.
struct Connecting {
    child: Child,
    told: Value,
}

impl Connecting {
    #[track_caller]
    fn start(home: &Home, more: &[&str]) -> Self {
        let mut child = command(sophon())
            .env("SOPHON_HOME", home.path())
            .args(["connect", "real", "--user", "ann", "--json"])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("sophon starts");
        let mut line = String::new();
        BufReader::new(child.stderr.take().expect("its messages")).read_line(&mut line).expect("a line");
        let told = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
        Self { child, told }
    }

    #[track_caller]
    fn connected(mut self) -> Value {
        let status = self.child.wait().expect("sophon ends");
        let mut text = String::new();
        self.child.stdout.take().expect("its output").read_to_string(&mut text).expect("text");
        assert!(status.success(), "{status}: {text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text:?}"))
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn an_account_is_connected_in_a_browser_and_its_token_used() {
    let stage = Stage::new();
    let connected = stage.connect();
    assert_eq!(connected["oauth"]["issuer"], stage.provider.issuer(), "{connected}");
    assert_eq!(connected["oauth"]["standing"], "good");
    assert_eq!(connected["fields"], json!(["access_token"]), "of the refresh token nothing is shown");
    assert_eq!(connected["hosts"], json!([stage.provider.host()]));
    stage.install("proxied", Behaviour::Send(stage.request()), "proxy", &[]);
    let me = stage.me("proxied");
    assert_eq!((&me["sub"], &me["scope"]), (&json!("ann"), &json!("openid offline_access repo.read repo.write")));
    let actions: Vec<Value> = stage.gateway.audit("").iter().map(|record| record["action"].clone()).collect();
    for action in ["oauth.start", "oauth.callback", "credential.use"] {
        assert!(actions.contains(&json!(action)), "{action} is not in {actions:?}");
    }
}

#[test]
fn the_command_line_connects_and_disconnects() {
    let stage = Stage::new();
    let connecting = Connecting::start(&stage.home, &[]);
    let url = connecting.told["authorization_url"].as_str().expect("an address");
    assert!(
        url.contains("code_challenge_method=S256") && url.contains("redirect_uri=http%3A%2F%2F127.0.0.1%3A"),
        "{url}"
    );
    let back = browse(url);
    // Somebody else's page comes first, and changes nothing.
    let state = back.split("state=").nth(1).and_then(|rest| rest.split('&').next()).expect("a state");
    assert_eq!(open(&back.replace(state, "guessed")).status, 400);
    assert_eq!(open(&back).status, 200);
    let connected = connecting.connected();
    assert_eq!((&connected["service"], &connected["owner"]), (&json!("real"), &json!("user")), "{connected}");

    stage.install("proxied", Behaviour::Send(stage.request()), "proxy", &[]);
    assert_eq!(stage.me("proxied")["sub"], "ann");
    assert_eq!(stage.provider.again(), 200);
    Cli::new(&stage.home, ["disconnect", "real", "--user", "ann"]).expect(0);
    assert_eq!(stage.provider.again(), 401, "the token is good for nothing any more");
    let revoked = stage.gateway.audit("action=oauth.revoke");
    assert_eq!(revoked.last().expect("a record")["outcome"], "ok", "{revoked:?}");
    Cli::new(&stage.home, ["disconnect", "real", "--user", "ann"]).expect(1);
}

#[test]
fn an_account_is_connected_from_another_device() {
    let stage = Stage::new();
    let connecting = Connecting::start(&stage.home, &["--device", "--scope", "openid", "--scope", "offline_access"]);
    let code = connecting.told["user_code"].as_str().expect("a code").to_owned();
    assert!(connecting.told["verification_uri"].as_str().is_some_and(|uri| uri.starts_with(&stage.provider.issuer())));
    std::thread::sleep(Duration::from_millis(300));
    stage.provider.approve(&code);
    let connected = connecting.connected();
    assert_eq!(connected["oauth"]["scopes"], json!(["openid", "offline_access"]), "{connected}");
}

#[test]
fn the_browser_may_come_back_to_the_gateway() {
    let provider = Provider::start();
    let home = Home::new();
    // Outside the home: the confined host may read this file, and nothing beside it.
    let file = home.beside("client-secret");
    let secret = format!("client_secret_file = {file:?}");
    std::fs::write(&file, Provider::SECRET).expect("the secret");
    // Which port it will have is known only once it runs; the provider takes any.
    let first = Gateway::start(&home);
    let redirect = format!("http://{}/v1/oauth/callback", first.client.address);
    let admin = first.admin_key().clone();
    drop(first);
    home.configure_trusting(&provider.section("sophon-secret", &format!("redirect = \"{redirect}\"\n{secret}")));
    let refused = crate::harness::Launch::new(&home, &[]).refused();
    assert!(refused["message"].as_str().is_some_and(|text| text.contains("others than its owner")), "{refused}");
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&file, private).expect("its permissions");
    let gateway = Gateway::again(&home, &admin);
    let ann = gateway.key("approver", "ann");
    let started = gateway.request(&ann, "POST", "/v1/oauth/real/start", Some(&json!({}))).expect(200);
    let back = browse(started["authorization_url"].as_str().expect("an address"));
    assert!(back.starts_with(&redirect), "{back}");
    let (_, query) = back.split_once('?').expect("an answer");
    // It cannot be brought by somebody with a key: it was to come with the browser.
    let brought = gateway.request(&ann, "POST", "/v1/oauth/real/finish", Some(&parts(&back)));
    brought.problem(403, "oauth_state");
    let again = gateway.client.send("GET", &format!("/v1/oauth/callback?{query}"), &[], None);
    again.problem(403, "oauth_state");
    let started = gateway.request(&ann, "POST", "/v1/oauth/real/start", Some(&json!({}))).expect(200);
    let back = browse(started["authorization_url"].as_str().expect("an address"));
    let (_, query) = back.split_once('?').expect("an answer");
    let page = gateway.client.send("GET", &format!("/v1/oauth/callback?{query}"), &[], None);
    assert_eq!(page.status, 200, "{}", page.text());
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    let shown = gateway.request(&ann, "GET", "/v1/credentials/real", None).expect(200);
    assert_eq!(shown["oauth"]["standing"], "good");
    gateway.client.send("GET", &format!("/v1/oauth/callback?{query}"), &[], None).problem(403, "oauth_state");
    assert!(!gateway.log().contains(Provider::SECRET));
}

#[test]
fn the_clients_secret_may_lie_outside_the_home() {
    let provider = Provider::start();
    let home = Home::new();
    let secret = home.beside("secrets").join("client");
    std::fs::create_dir(home.beside("secrets")).expect("a folder");
    std::fs::write(&secret, Provider::SECRET).expect("the secret");
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&secret, private).expect("its permissions");
    home.configure_trusting(&provider.section("sophon-secret", &format!("client_secret_file = {secret:?}")));
    let gateway = Gateway::start(&home);
    let ann = gateway.key("approver", "ann");
    let stage = Stage { provider, home, gateway, ann };
    assert_eq!(stage.connect()["oauth"]["standing"], "good");
}

#[test]
fn a_token_is_renewed_and_the_refresh_token_rotates() {
    let stage = Stage::new();
    stage.provider.first_life(4);
    let first = stage.connect();
    stage.install("renewed", Behaviour::Send(stage.request()), "proxy", &[]);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(stage.me("renewed")["sub"], "ann");
    assert_eq!(stage.provider.given("refresh_token"), 1);
    let shown = stage.gateway.request(&stage.ann, "GET", "/v1/credentials/real", None).expect(200);
    assert_ne!(shown["version"], first["version"]);
    assert_eq!(stage.me("renewed")["sub"], "ann");
    assert_eq!(stage.provider.given("refresh_token"), 1, "the new one lasts");
    let renewed = stage.gateway.audit("action=oauth.refresh");
    assert_eq!(renewed.len(), 2, "{renewed:?}");
    assert!(renewed[0]["call"].is_string() && renewed[1]["outcome"] == "ok", "{renewed:?}");
}

#[test]
fn attack_17_a_skill_that_opted_in_gets_a_token_of_no_more_than_its_scopes() {
    let stage = Stage::with("sophon-secret", "client_secret_file = \"client-secret\"");
    stage.connect();
    let request = || Request::get(format!("{}/api/me", stage.provider.issuer())).header("Authorization", "-");
    stage.install(
        "narrow",
        Behaviour::SendScoped { service: "real", request: request() },
        "scoped-token",
        &["repo.read"],
    );
    let me = stage.me("narrow");
    assert_eq!((&me["sub"], &me["scope"]), (&json!("ann"), &json!("repo.read")), "{me}");
    assert!(me["expires_in"].as_u64().is_some_and(|seconds| seconds <= 300), "{me}");
    let given = stage.gateway.audit("action=credential.token");
    assert_eq!(given.last().expect("a record")["detail"]["kind"], "exchanged", "{given:?}");
    // Nor does the host attach the whole token for a skill that declared narrow ones.
    stage.install("sidestep", Behaviour::Send(stage.request()), "scoped-token", &["repo.read"]);
    let error = stage.gateway.failure(&stage.gateway.agent(), "sidestep.run", json!({}));
    assert!(error["message"].as_str().is_some_and(|text| text.contains("credential_scoped")), "{error}");
    // A scope that nobody granted is not asked for.
    stage.install("greedy", Behaviour::SendScoped { service: "real", request: request() }, "scoped-token", &["admin"]);
    let error = stage.gateway.failure(&stage.gateway.agent(), "greedy.run", json!({}));
    assert!(error["message"].as_str().is_some_and(|text| text.contains("is not granted")), "{error}");
}

#[test]
fn attack_16_where_no_narrow_token_is_given_a_skill_gets_a_placeholder() {
    let stage = Stage::with("sophon-public", "token_exchange = \"never\"");
    stage.connect();
    let request = Request::get(format!("{}/api/me", stage.provider.issuer())).header("Authorization", "-");
    stage.install("held", Behaviour::SendScoped { service: "real", request }, "scoped-token", &["repo.read"]);
    assert_eq!(stage.me("held")["sub"], "ann", "egress redeemed it");
    let given = stage.gateway.audit("action=credential.token");
    assert_eq!(given.last().expect("a record")["detail"]["kind"], "placeholder", "{given:?}");
}
