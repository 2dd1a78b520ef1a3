//! A host with real store, audit and vault, and a network that exists in memory only.

use crate::server::{Identity, Log, Script, Seen, Step, answer, serve};
use async_trait::async_trait;
use sophon_audit::{Action, AuditConfig, AuditKeys, AuditLog, Entry, Outcome, Query, Record};
use sophon_egress::{
    Allowlist, CallScope, Deadline, Dial, EffectDenied, EffectGate, EffectRequest, Egress, EgressConfig, EgressLimits,
    EgressSession, HttpError, HttpRequest, HttpResponse, OwnListeners, Resolve, Roots, Socket,
};
use sophon_skill::{HostGrant, Manifest};
use sophon_store::{Store, StoreConfig};
use sophon_types::{
    CallId, Clock, CorrelationId, Entropy, KeyId, Principal, Risk, Role, SkillName, TenantId, Timestamp, UserId,
};
use sophon_vault::{Kek, Vault};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::time::Instant;

/// Where every name leads unless a test says otherwise.
pub(crate) const PUBLIC: &str = "93.184.216.34";

pub(crate) struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp::parse("2026-06-01T12:00:00Z").unwrap()
    }
}

pub(crate) struct Counter(AtomicUsize);

impl Entropy for Counter {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            // Different every time; nothing here needs to be unguessable.
            let n = self.0.fetch_add(1, Ordering::Relaxed);
            *byte = (n.wrapping_mul(0x9e37_79b9) >> 7).to_le_bytes()[0];
        }
    }
}

/// Answers from a table and counts.
#[derive(Default)]
pub(crate) struct Names {
    pub(crate) table: Mutex<HashMap<String, Vec<Vec<IpAddr>>>>,
    pub(crate) asked: AtomicUsize,
}

impl Names {
    /// Each question gets the next answer; the last one stays.
    pub(crate) fn set(&self, name: &str, answers: &[&[&str]]) {
        let answers = answers.iter().map(|set| set.iter().map(|ip| ip.parse().unwrap()).collect()).collect();
        self.table.lock().unwrap().insert(name.to_owned(), answers);
    }
}

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut table = self.table.lock().unwrap();
        match table.get_mut(name) {
            None => Ok(vec![PUBLIC.parse().unwrap()]),
            Some(answers) if answers.len() > 1 => Ok(answers.remove(0)),
            Some(answers) => Ok(answers.first().cloned().unwrap_or_default()),
        }
    }
}

/// Connects every address to the scripted server, and writes down which were dialled.
pub(crate) struct Cables {
    pub(crate) dialled: Mutex<Vec<SocketAddr>>,
    pub(crate) script: Mutex<Script>,
    pub(crate) log: Log,
    pub(crate) dead: Mutex<Vec<IpAddr>>,
    tls: Arc<rustls::ServerConfig>,
    connections: AtomicUsize,
}

#[async_trait]
impl Dial for Cables {
    async fn dial(&self, address: SocketAddr) -> io::Result<Box<dyn Socket>> {
        self.dialled.lock().unwrap().push(address);
        if self.dead.lock().unwrap().contains(&address.ip()) {
            return Err(io::Error::from(io::ErrorKind::ConnectionRefused));
        }
        let (near, far) = tokio::io::duplex(64 * 1024);
        let number = self.connections.fetch_add(1, Ordering::SeqCst);
        // By habit, and nothing more: plain http on the ports where tests speak it.
        let tls = (!matches!(address.port(), 80 | 8080)).then(|| Arc::clone(&self.tls));
        tokio::spawn(serve(far, tls, self.script.lock().unwrap().clone(), self.log.clone(), number));
        Ok(Box::new(near))
    }

    fn is_local(&self, _: IpAddr) -> bool {
        false
    }
}

/// Says yes, unless told otherwise, and writes down what it was asked.
#[derive(Default)]
pub(crate) struct Gate {
    pub(crate) asked: Mutex<Vec<EffectRequest>>,
    pub(crate) ceiling: Mutex<Option<Risk>>,
}

#[async_trait]
impl EffectGate for Gate {
    async fn permit(&self, effect: &EffectRequest) -> Result<(), EffectDenied> {
        self.asked.lock().unwrap().push(effect.clone());
        if self.ceiling.lock().unwrap().is_some_and(|ceiling| effect.risk > ceiling) {
            return Err(EffectDenied { code: "effect_not_approved", message: "too risky".into(), hint: None });
        }
        Ok(())
    }
}

pub(crate) struct World {
    pub(crate) egress: Egress,
    pub(crate) audit: AuditLog,
    pub(crate) vault: Vault,
    pub(crate) names: Arc<Names>,
    pub(crate) cables: Arc<Cables>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) own: OwnListeners,
    pub(crate) entropy: Arc<dyn Entropy>,
    _home: tempfile::TempDir,
}

/// Limits that make hostile servers fail fast, and keep no connection.
pub(crate) fn tight() -> EgressLimits {
    let mut limits = EgressLimits::default();
    limits.resolve = Duration::from_secs(2);
    limits.connect = Duration::from_secs(2);
    limits.tls = Duration::from_millis(600);
    limits.header = Duration::from_millis(600);
    limits.body_idle = Duration::from_millis(300);
    limits.exchange = Duration::from_secs(2);
    limits.response_header_bytes = 16 * 1024;
    limits.response_body_bytes = 64 * 1024;
    limits.idle_per_origin = 0;
    limits
}

impl World {
    /// A server that says `ok` to everything, for the usual names.
    pub(crate) async fn new(limits: EgressLimits) -> Self {
        Self::with(limits, Arc::new(|_: &Seen| answer(200, &[("X-From", "server")], b"ok"))).await
    }

    pub(crate) async fn with(limits: EgressLimits, script: Script) -> Self {
        let identity = Identity::of(&["api.example.com", "other.example.com", "internal.example", "10.0.0.5", PUBLIC]);
        let home = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(FixedClock);
        let entropy: Arc<dyn Entropy> = Arc::new(Counter(AtomicUsize::new(1)));
        let config = StoreConfig { database: home.path().join("sophon.db"), blobs: home.path().join("blobs") };
        let store = Store::open(config).await.unwrap();
        let keys = AuditKeys::new([7; 32], [8; 32]);
        let config = AuditConfig { writer: "test".into(), keys, checkpoint_every: 1000 };
        let audit = AuditLog::open(config, store.clone(), Arc::clone(&clock)).await.unwrap();
        let vault =
            Vault::open(store, audit.clone(), Kek::from_bytes([9; 32]), Arc::clone(&clock), Arc::clone(&entropy))
                .await
                .unwrap();
        let names = Arc::new(Names::default());
        let cables = Arc::new(Cables {
            dialled: Mutex::default(),
            script: Mutex::new(script),
            log: Log::default(),
            dead: Mutex::default(),
            tls: identity.tls,
            connections: AtomicUsize::new(0),
        });
        let own = OwnListeners::new();
        let config =
            EgressConfig { roots: Roots::mozilla().with(identity.root), limits, own_listeners: own.clone(), clock };
        let resolver: Arc<dyn Resolve> = names.clone();
        let dialer: Arc<dyn Dial> = cables.clone();
        let egress = Egress::new(config, vault.clone(), audit.clone(), resolver, dialer).unwrap();
        Self { egress, audit, vault, names, cables, gate: Arc::default(), own, entropy, _home: home }
    }

    /// Egress with another network, over the same audit log and vault.
    pub(crate) fn over(&mut self, roots: Roots, resolver: Arc<dyn Resolve>, dialer: Arc<dyn Dial>) {
        let config =
            EgressConfig { roots, limits: tight(), own_listeners: self.own.clone(), clock: Arc::new(FixedClock) };
        self.egress = Egress::new(config, self.vault.clone(), self.audit.clone(), resolver, dialer).unwrap();
    }

    pub(crate) fn script(&self, script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static) {
        *self.cables.script.lock().unwrap() = Arc::new(script);
    }

    pub(crate) fn principal(&self) -> Principal {
        Principal {
            tenant: "acme".parse().unwrap(),
            user: "ann".parse().unwrap(),
            key: KeyId::from_bytes([1; 16]),
            role: Role::Agent,
        }
    }

    pub(crate) async fn session(&self, manifest: &Manifest, grants: &[&str]) -> EgressSession {
        self.session_of(manifest, grants, "acme".parse().unwrap(), manifest.name.clone()).await
    }

    pub(crate) async fn session_of(
        &self,
        manifest: &Manifest,
        grants: &[&str],
        tenant: TenantId,
        skill: SkillName,
    ) -> EgressSession {
        let call = CallId::mint(&*self.entropy);
        self.session_for(manifest, grants, (tenant, self.principal().user, skill), (call, call)).await
    }

    /// A session of this user of this tenant, for a skill of this name.
    pub(crate) async fn session_as(&self, manifest: &Manifest, who: (&str, &str, &str)) -> EgressSession {
        let call = CallId::mint(&*self.entropy);
        let who = (who.0.parse().unwrap(), who.1.parse().unwrap(), who.2.parse().unwrap());
        self.session_for(manifest, &[], who, (call, call)).await
    }

    /// A session whose receipt is another call's.
    pub(crate) async fn session_with_foreign_intent(&self, manifest: &Manifest) -> EgressSession {
        let calls = (CallId::mint(&*self.entropy), CallId::mint(&*self.entropy));
        let Principal { tenant, user, .. } = self.principal();
        self.session_for(manifest, &[], (tenant, user, manifest.name.clone()), calls).await
    }

    /// A session of one call with the receipt of another's intent; usually they are the same.
    async fn session_for(
        &self,
        manifest: &Manifest,
        grants: &[&str],
        (tenant, user, skill): (TenantId, UserId, SkillName),
        (call, intended): (CallId, CallId),
    ) -> EgressSession {
        let grants: Vec<HostGrant> = grants.iter().map(|grant| grant.parse().unwrap()).collect();
        let principal = Principal { tenant, user, ..self.principal() };
        let tool = &manifest.tools[0];
        let intent = Record::new(Action::CallIntent, Outcome::Intent).principal(&principal).call(intended);
        let intent = self.audit.append(intent).await;
        self.egress.session(CallScope {
            principal,
            skill,
            tool: tool.name.clone(),
            call,
            correlation: CorrelationId::mint(&*self.entropy),
            allowlist: Arc::new(Allowlist::compile(manifest, Some(tool), &grants)),
            streams: Arc::new([]),
            credentials: manifest.services().into(),
            approved: Risk::Critical,
            intent: intent.unwrap(),
            gate: self.gate.clone(),
            deadline: Deadline::at(Instant::now() + Duration::from_secs(30)),
        })
    }

    pub(crate) async fn get(&self, manifest: &Manifest, url: &str) -> Result<HttpResponse, HttpError> {
        self.session(manifest, &[]).await.send(HttpRequest::new("GET", url)).await
    }

    pub(crate) fn dialled(&self) -> Vec<SocketAddr> {
        self.cables.dialled.lock().unwrap().clone()
    }

    pub(crate) fn asked(&self) -> usize {
        self.names.asked.load(Ordering::SeqCst)
    }

    pub(crate) fn forget(&self) {
        self.cables.dialled.lock().unwrap().clear();
        self.cables.log.clear();
        self.names.asked.store(0, Ordering::SeqCst);
        self.gate.asked.lock().unwrap().clear();
    }

    /// The whole audit log. What was queued is durable once a later record is.
    pub(crate) async fn audited(&self) -> Vec<Entry> {
        self.audit.append(Record::new(Action::GatewayStop, Outcome::Ok)).await.unwrap();
        self.audit.reader().query(&Query { limit: Some(1000), ..Query::default() }).await.unwrap().entries
    }

    /// The same as text, to look for what must not be in it.
    pub(crate) async fn audit_text(&self) -> String {
        format!("{:?}", self.audited().await)
    }
}

/// A manifest whose `permissions.network` is `network` (JSON).
pub(crate) fn manifest(network: &str) -> Manifest {
    manifest_with(network, r#"[{"service":"github","scopes":[],"required":false,"access":"proxy"}]"#)
}

pub(crate) fn manifest_with(network: &str, credentials: &str) -> Manifest {
    let text = format!(
        r#"{{"name":"probe","version":"1.0.0","author":"a","license":"MIT","description":"d","category":"utility",
        "runtime":"wasm","entrypoint":"skill.wasm","credentials":{credentials},
        "tools":[{{"name":"go","description":"d","riskLevel":"low","parameters":{{"type":"object"}}}}],
        "permissions":{{"network":{network}}}}}"#
    );
    Manifest::parse(text.as_bytes()).unwrap_or_else(|errors| panic!("{errors:?}"))
}
