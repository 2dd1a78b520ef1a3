//! What the tests of this crate stand on: a gateway over real parts in a folder of its own.

use crate::config::{GatewayConfig, RateLimits};
use crate::peer::Peer;
use crate::{Gateway, GatewayParts, OperatorToken};
use axum::Router;
use axum::body::Body;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use sophon_approval::Policy;
use sophon_audit::{AuditConfig, AuditKeys, AuditLog};
use sophon_egress::{Egress, EgressConfig, EgressLimits, OwnListeners, Roots, SystemResolver, TcpDialer};
use sophon_executor::{CallLimits, Executor, Parts, Requirements, ScheduleLimits};
use sophon_sandbox::{ContainerConfig, ContainerRuntime, Limits, PoolLimits, Tightening, WasmRuntime};
use sophon_skill::Preset;
use sophon_store::{Store, StoreConfig};
use sophon_types::{Clock, Entropy, Timestamp};
use sophon_vault::{Kek, Vault};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tower::ServiceExt as _;

/// Bytes that differ from call to call and are the same in each run.
#[derive(Debug, Default)]
pub(crate) struct CountingEntropy(AtomicU64);

impl Entropy for CountingEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            let seed = self.0.fetch_add(1, Ordering::Relaxed);
            let block = sophon_types::Digest::of(&seed.to_be_bytes());
            chunk.copy_from_slice(&block.as_bytes()[..chunk.len()]);
        }
    }
}

/// A clock that moves by a millisecond each time it is read.
#[derive(Debug, Default)]
pub(crate) struct CountingClock(AtomicU64);

impl Clock for CountingClock {
    fn now(&self) -> Timestamp {
        let count = self.0.fetch_add(1, Ordering::Relaxed);
        Timestamp::from_micros(1_769_850_000_000_000 + i64::try_from(count).unwrap() * 1000)
    }
}

/// A gateway over real parts.
pub(crate) struct World {
    pub(crate) gateway: Gateway,
    pub(crate) operator: String,
    pub(crate) audit: AuditLog,
    pub(crate) store: Store,
    router: Router,
    _folder: tempfile::TempDir,
}

/// An answer that was read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) json: Value,
}

impl Answer {
    /// The status, and the code of the problem where it is one.
    pub(crate) fn brief(&self) -> (u16, &str) {
        (self.status.as_u16(), self.json["code"].as_str().unwrap_or_default())
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_config, _limits| {}).await
    }

    pub(crate) async fn with(configure: impl FnOnce(&mut GatewayConfig, &mut RateLimits)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(CountingClock::default());
        let entropy: Arc<dyn Entropy> = Arc::new(CountingEntropy::default());
        let paths = StoreConfig { database: folder.path().join("sophon.db"), blobs: folder.path().join("blobs") };
        let store = Store::open(paths).await.unwrap();
        let audit_config =
            AuditConfig { writer: "host".into(), keys: AuditKeys::new([1; 32], [2; 32]), checkpoint_every: 1000 };
        let audit = AuditLog::open(audit_config, store.clone(), Arc::clone(&clock)).await.unwrap();
        let kek = Kek::from_bytes([3; 32]);
        let vault =
            Vault::open(store.clone(), audit.clone(), kek, Arc::clone(&clock), Arc::clone(&entropy)).await.unwrap();
        let egress_config = EgressConfig {
            roots: Roots::mozilla(),
            limits: EgressLimits::default(),
            own_listeners: OwnListeners::default(),
            clock: Arc::clone(&clock),
        };
        let (resolver, dialer) = (Arc::new(SystemResolver::new()), Arc::new(TcpDialer));
        let egress = Egress::new(egress_config, vault.clone(), audit.clone(), resolver, dialer).unwrap();
        let pool = PoolLimits { concurrent_calls: 2, ..PoolLimits::default() };
        let executor = Executor::open(Parts {
            store: store.clone(),
            audit: audit.clone(),
            vault: vault.clone(),
            egress,
            runtime: WasmRuntime::start(&pool, Limits::of(Preset::Minimal)).unwrap(),
            containers: ContainerRuntime::new(
                ContainerConfig::default(),
                Limits::of(Preset::Minimal),
                Arc::clone(&entropy),
            ),
            requirements: Requirements::new("https://index.example/simple", &[], 1).unwrap(),
            detector: sophon_guard::Detector::default(),
            tightening: Tightening::default(),
            policy: Policy::default(),
            limits: CallLimits { concurrent: 2, ..CallLimits::default() },
            schedules: ScheduleLimits::default(),
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
        })
        .await
        .unwrap();
        let (mut config, mut rate_limits) = (GatewayConfig::default(), RateLimits::default());
        configure(&mut config, &mut rate_limits);
        let operator = OperatorToken::mint(&*entropy);
        let token = operator.expose().to_owned();
        let gateway = Gateway::new(GatewayParts {
            executor,
            store: store.clone(),
            vault,
            audit: audit.clone(),
            clock,
            entropy,
            config,
            rate_limits,
            reload: None,
            operator,
            listen: None,
        });
        Self { router: gateway.router(), gateway, operator: token, audit, store, _folder: folder }
    }

    /// Makes a key for `user`, and returns it.
    pub(crate) async fn key(&self, role: &str, user: &str) -> String {
        let made = self.post("/v1/keys", &self.operator, &json!({"role": role, "user": user})).await;
        assert_eq!(made.status, 201, "{}", made.text);
        made.json["key"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn get(&self, path: &str, key: &str) -> Answer {
        self.send(request(Method::GET, path, key, None)).await
    }

    pub(crate) async fn delete(&self, path: &str, key: &str) -> Answer {
        self.send(request(Method::DELETE, path, key, None)).await
    }

    pub(crate) async fn post(&self, path: &str, key: &str, body: &Value) -> Answer {
        self.send(request(Method::POST, path, key, Some(body.to_string()))).await
    }

    pub(crate) async fn put(&self, path: &str, key: &str, body: &Value) -> Answer {
        self.send(request(Method::PUT, path, key, Some(body.to_string()))).await
    }

    /// Sends a request as if it came from `peer`.
    pub(crate) async fn send_from(&self, peer: &str, mut request: Request<Body>) -> Answer {
        request.extensions_mut().insert(Peer::Remote(peer.parse().unwrap()));
        self.send(request).await
    }

    /// The answer as it begins.
    pub(crate) async fn open(&self, request: Request<Body>) -> axum::response::Response {
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.open(request).await.into_parts();
        let endless = parts.headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
        let body = if endless { Body::empty() } else { body };
        let bytes = axum::body::to_bytes(body, 10 << 20).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let json = serde_json::from_str(&text).unwrap_or_default();
        Answer { status: parts.status, headers: parts.headers, text, json }
    }
}

/// A request with a key, unless the key is empty.
pub(crate) fn request(method: Method, path: &str, key: &str, body: Option<String>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path).header(HOST, "localhost");
    if !key.is_empty() {
        request = request.header(AUTHORIZATION, format!("Bearer {key}"));
    }
    if body.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    request.body(body.map(Body::from).unwrap_or_default()).unwrap()
}
