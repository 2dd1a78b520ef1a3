//! Nothing of one tenant, user, skill or credential serves another: connections, TLS sessions, look-ups. What is compared
//! is what the network sees (dials, handshakes, questions), never how long something took.

use crate::server::answer;
use crate::world::{PUBLIC, World, manifest, manifest_with, tight};
use async_trait::async_trait;
use secrecy::SecretString;
use sophon_egress::{EgressLimits, HttpRequest, Resolve, Roots};
use sophon_skill::Manifest;
use sophon_types::{Fault, Principal, Role};
use sophon_vault::{Attach, Binding, Owner};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const URL: &str = "https://api.example.com/x";
const OPEN: &str = r#"["api.example.com"]"#;
const NAMED: &str = r#"[{"host":"api.example.com","credential":"github"}]"#;

/// Everybody who must not share anything with `("acme", "ann", "probe")`.
const OTHERS: [(&str, &str, &str); 5] = [
    ("rival", "ann", "probe"),
    ("acme", "bob", "probe"),
    ("acme", "ann", "second"),
    ("rival", "bob", "second"),
    // Names that run together where somebody forgets to keep them apart.
    ("acmeann", "probe", "second"),
];

fn keeping() -> EgressLimits {
    let mut limits = tight();
    limits.idle_per_origin = 4;
    limits
}

async fn connect(world: &World, who: (&str, &str), owner: Owner, token: &str) {
    let (tenant, user) = (who.0.parse().unwrap(), who.1.parse().unwrap());
    let role = if owner == Owner::Tenant { Role::Admin } else { Role::Approver };
    let actor = Principal { tenant, user, role, ..world.principal() };
    let fields = [("token".to_owned(), SecretString::from(token))].into();
    let binding = Binding { attach: Some(Attach::Bearer { field: "token".into() }), ..Binding::default() };
    world.vault.put(&actor, owner, &"github".parse().unwrap(), fields, binding).await.unwrap();
}

async fn send(world: &World, rules: &Manifest, who: (&str, &str, &str), credential: bool) {
    let mut request = HttpRequest::new("GET", URL);
    request.credential = credential.then(|| "github".to_owned());
    world.session_as(rules, who).await.send(request).await.unwrap_or_else(|error| panic!("{who:?}: {error}"));
}

#[tokio::test]
async fn attack_16_a_connection_serves_one_user_of_one_tenant_with_one_credential() {
    let world = World::new(keeping()).await;
    let rules = manifest(NAMED);
    for user in ["ann", "bob"] {
        connect(&world, ("acme", user), Owner::User, &format!("ghp_of{user}irsqPaayJsR8x2Vd0TuQwEz")).await;
    }
    let (ann, bob) = (("acme", "ann", "probe"), ("acme", "bob", "probe"));
    for (who, credential, connections) in [
        (ann, false, 1),
        (ann, false, 1),
        // A server may take whoever logged in on a connection for logged in on all of it.
        (ann, true, 2),
        (ann, true, 2),
        (ann, false, 2),
        (bob, true, 3),
        (bob, false, 4),
        (ann, true, 4),
    ] {
        send(&world, &rules, who, credential).await;
        assert_eq!(world.dialled().len(), connections, "{who:?} {credential}");
    }
    let users = |connection| {
        let seen = world.cables.log.all().into_iter().filter(|seen| seen.connection == connection);
        seen.map(|seen| seen.header("authorization").map(str::to_owned)).collect::<std::collections::HashSet<_>>()
    };
    assert!((0..4).all(|connection| users(connection).len() == 1), "two credentials went over one connection");
    // A credential that was replaced is another one.
    connect(&world, ("acme", "ann"), Owner::User, "ghp_replacedqPaayJsR8x2Vd0TuQwEz").await;
    send(&world, &rules, ann, true).await;
    assert_eq!(world.dialled().len(), 5);
}

#[tokio::test]
async fn a_tenants_credential_is_shared_and_its_connections_are_not() {
    let world = World::new(keeping()).await;
    let rules = manifest(NAMED);
    connect(&world, ("acme", "root"), Owner::Tenant, "ghp_tenantsqPaayJsR8x2Vd0TuQwEz").await;
    for (n, user) in ["ann", "bob", "cid"].into_iter().enumerate() {
        for _ in 0..2 {
            send(&world, &rules, ("acme", user, "probe"), true).await;
            assert_eq!(world.dialled().len(), n + 1, "{user}");
        }
    }
}

#[tokio::test]
async fn a_tls_session_is_resumed_by_its_own_bearer_only() {
    // No connection is kept, so that every request needs a handshake.
    let world = World::new(tight()).await;
    let rules = manifest(NAMED);
    for who in [("acme", "ann"), ("acme", "bob"), ("rival", "ann")] {
        connect(&world, who, Owner::User, &format!("ghp_{}{}qPaayJsR8x2Vd0TuQwEz", who.0, who.1)).await;
    }
    let resumed = || world.cables.log.all().last().unwrap().resumed;
    let ann = ("acme", "ann", "probe");
    send(&world, &rules, ann, false).await;
    assert!(!resumed());
    send(&world, &rules, ann, false).await;
    assert!(resumed(), "the server gives tickets and the client uses its own, else this test shows nothing");
    send(&world, &rules, ann, true).await;
    assert!(!resumed(), "with a credential it is somebody else to the server");
    send(&world, &rules, ann, true).await;
    assert!(resumed());
    for who in OTHERS {
        for credential in [false, true] {
            if credential && !matches!(who, ("acme" | "rival", "ann", _) | ("acme", "bob", _)) {
                continue;
            }
            send(&world, &rules, who, credential).await;
            assert!(!resumed(), "{who:?} {credential}");
        }
    }
    connect(&world, ("acme", "ann"), Owner::User, "ghp_replacedqPaayJsR8x2Vd0TuQwEz").await;
    send(&world, &rules, ann, true).await;
    assert!(!resumed(), "a credential that was replaced is another one");
}

#[tokio::test]
async fn what_others_have_done_changes_nothing_of_what_is_done_for_one() {
    // The trace of the same requests, in a world of one's own and in one where everybody was busy before.
    let mut traces = Vec::new();
    for busy in [false, true] {
        let world = World::new(keeping()).await;
        let rules = manifest(NAMED);
        connect(&world, ("acme", "ann"), Owner::User, "ghp_annsqPaayJsR8x2Vd0TuQwEz").await;
        if busy {
            for (tenant, user, _) in OTHERS {
                connect(&world, (tenant, user), Owner::User, &format!("ghp_{tenant}{user}JsR8x2Vd0TuQwEz")).await;
            }
            for who in OTHERS {
                send(&world, &rules, who, false).await;
                send(&world, &rules, who, true).await;
            }
        }
        let mut trace = Vec::new();
        for credential in [false, true, false, true] {
            world.forget();
            send(&world, &rules, ("acme", "ann", "probe"), credential).await;
            let seen = world.cables.log.all();
            trace.push((world.dialled().len(), world.asked(), seen.len(), seen[0].resumed));
        }
        traces.push(trace);
    }
    assert_eq!(traces[0], traces[1]);
}

#[tokio::test]
async fn whether_others_have_a_credential_does_not_show() {
    let refusal = |others: bool| async move {
        let world = World::new(keeping()).await;
        if others {
            connect(&world, ("rival", "ann"), Owner::User, "ghp_rivalsqPaayJsR8x2Vd0TuQwEz").await;
            connect(&world, ("rival", "root"), Owner::Tenant, "ghp_rivalsqPaayJsR8x2Vd0TuQwE1").await;
            connect(&world, ("acme", "bob"), Owner::User, "ghp_bobsqPaayJsR8x2Vd0TuQwEz").await;
        }
        let mut request = HttpRequest::new("GET", URL);
        request.credential = Some("github".into());
        let session = world.session_as(&manifest(NAMED), ("acme", "ann", "probe")).await;
        let states: Vec<_> = session.connections().await.unwrap().into_iter().map(|one| one.state).collect();
        let error = session.send(request).await.unwrap_err();
        (states, error.code(), error.to_string(), error.hint(), world.dialled().len(), world.asked())
    };
    let (alone, among) = (refusal(false).await, refusal(true).await);
    assert_eq!(alone.1, "not_connected");
    assert_eq!(alone, among);
}

#[tokio::test]
async fn a_tenant_that_keeps_many_connections_closes_its_own() {
    let mut limits = keeping();
    limits.idle_connections = 4;
    let world = World::new(limits).await;
    let rules = manifest(OPEN);
    let rival = ("rival", "zoe", "probe");
    send(&world, &rules, rival, false).await;
    for n in 0..20 {
        send(&world, &rules, ("acme", &format!("user-{n}"), "probe"), false).await;
    }
    let before = world.dialled().len();
    send(&world, &rules, rival, false).await;
    assert_eq!(world.dialled().len(), before, "its connection was closed for another tenant's");
}

/// Never answers for names that begin with `slow`.
#[derive(Default)]
struct HalfSlow {
    slow: AtomicUsize,
}

#[async_trait]
impl Resolve for HalfSlow {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        if name.starts_with("slow") {
            self.slow.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
        Ok(vec![PUBLIC.parse().unwrap()])
    }
}

#[tokio::test]
async fn attack_13_names_that_never_resolve_use_up_their_own_tenants_look_ups() {
    let mut world = World::new(tight()).await;
    let resolver = Arc::new(HalfSlow::default());
    world.over(Roots::mozilla(), resolver.clone(), world.cables.clone());
    let rules = manifest_with(r#"[{"host":"*.example.com","schemes":["http"]}]"#, "[]");
    let get = async |who: (&str, &str, &str), host: &str| {
        let request = HttpRequest::new("GET", format!("http://{host}.example.com/x"));
        world.session_as(&rules, who).await.send(request).await
    };
    world.script(|_| answer(200, &[], b"ok"));
    let most = EgressLimits::default().lookups_per_tenant;
    for n in 0..most {
        // Nobody waits any more for these look-ups, but they go on.
        let mut request = HttpRequest::new("GET", format!("http://slow-{n}.example.com/x"));
        request.timeout = Some(Duration::from_millis(20));
        let error = world.session_as(&rules, ("acme", "ann", "probe")).await.send(request).await.unwrap_err();
        assert!(matches!(error.code(), "dns_failed" | "upstream_timeout"), "{error}");
    }
    assert_eq!(resolver.slow.load(Ordering::SeqCst), most);
    let own = get(("acme", "bob", "second"), "fast").await.unwrap_err();
    assert!(matches!(own.code(), "dns_failed" | "upstream_timeout"), "{own}");
    get(("rival", "ann", "probe"), "fast")
        .await
        .unwrap_or_else(|error| panic!("another tenant waits for them: {error}"));
}
