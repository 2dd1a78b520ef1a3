//! Egress over a network that is in memory: who was asked, what was dialled and what was written is kept.

use crate::home::{Counter, Fixed, Home, name};
use async_trait::async_trait;
use secrecy::SecretString;
use serde_json::{Value, json};
use sophon_audit::{Action, Outcome, Receipt, Record};
use sophon_egress::{
    Allowlist, CallScope, Deadline, Dial, EffectDenied, EffectGate, EffectRequest, Egress, EgressConfig, EgressLimits,
    EgressSession, HttpError, HttpRequest, HttpResponse, OwnListeners, Resolve, Roots, Socket,
};
use sophon_skill::{HostGrant, Manifest};
use sophon_types::{CallId, CorrelationId, Entropy, Risk, Role};
use sophon_vault::{Attach, Binding, Kek, Owner, Vault};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::time::Instant;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

/// The credential of the service `github`, as the vault holds it.
pub const TOKEN: &str = "ghp_5bNLqtirsqPaayJsR8x2Vd0TuQwEz";

/// Requests after which a world is made anew, so that its log stays small.
const REQUESTS: usize = 20_000;

/// What came out of the host.
#[derive(Debug, Default)]
pub struct Heard {
    /// Names that were to be resolved.
    pub asked: Vec<String>,
    /// Addresses that were dialled.
    pub dialled: Vec<SocketAddr>,
    /// What was written, connection by connection.
    pub written: Vec<Vec<u8>>,
}

/// Both ends of the network.
#[derive(Debug, Default)]
pub struct Cables {
    heard: Arc<Mutex<Heard>>,
    answers: Mutex<Vec<IpAddr>>,
    reply: Mutex<Vec<u8>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Resolve for Cables {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        lock(&self.heard).asked.push(name.to_owned());
        Ok(lock(&self.answers).clone())
    }
}

#[async_trait]
impl Dial for Cables {
    async fn dial(&self, address: SocketAddr) -> io::Result<Box<dyn Socket>> {
        let number = {
            let mut heard = lock(&self.heard);
            heard.dialled.push(address);
            heard.written.push(Vec::new());
            heard.written.len() - 1
        };
        let (near, far) = tokio::io::duplex(1 << 20);
        let reply = lock(&self.reply).clone();
        tokio::spawn(answer(far, Arc::clone(&self.heard), number, reply));
        Ok(Box::new(near))
    }

    fn is_local(&self, _: IpAddr) -> bool {
        false
    }
}

/// Reads what is written until the request's head is there, replies, and reads on: what comes after is kept as well.
async fn answer(mut far: DuplexStream, heard: Arc<Mutex<Heard>>, number: usize, reply: Vec<u8>) {
    let mut read = Vec::new();
    let mut replied = false;
    loop {
        match far.read_buf(&mut read).await {
            Ok(0) | Err(_) => break,
            Ok(_) => lock(&heard).written[number].clone_from(&read),
        }
        // 0x16: a TLS handshake, which has no counterpart here.
        if read.first() == Some(&0x16) {
            return;
        }
        if !replied && read.windows(4).any(|end| end == b"\r\n\r\n") {
            replied = true;
            if far.write_all(&reply).await.is_err() || far.shutdown().await.is_err() {
                break;
            }
        }
    }
}

struct Anything;

#[async_trait]
impl EffectGate for Anything {
    async fn permit(&self, _: &EffectRequest) -> Result<(), EffectDenied> {
        Ok(())
    }
}

/// Egress with a vault that holds one credential.
pub struct World {
    home: Home,
    egress: Egress,
    cables: Arc<Cables>,
    intent: Receipt,
    call: CallId,
    left: usize,
}

impl World {
    /// A new one.
    #[must_use]
    pub fn new() -> Self {
        let home = Home::new();
        let entropy: Arc<dyn Entropy> = Arc::new(Counter::default());
        let cables = Arc::new(Cables::default());
        let call = CallId::from_bytes([1; 16]);
        let (egress, intent) = home.runtime.block_on(async {
            let (store, audit) = (home.store.clone(), home.audit.clone());
            let kek = Kek::from_bytes([9; 32]);
            let vault = Vault::open(store, audit.clone(), kek, Arc::new(Fixed), entropy).await.unwrap();
            let attach = Some(Attach::Bearer { field: "token".into() });
            let fields = BTreeMap::from([("token".to_owned(), SecretString::from(TOKEN))]);
            let actor = Home::principal(Role::Approver);
            let binding = Binding { attach, ..Binding::default() };
            vault.put(&actor, Owner::User, &name("github"), fields, binding).await.unwrap();
            let intent =
                Record::new(Action::CallIntent, Outcome::Intent).principal(&Home::principal(Role::Agent)).call(call);
            let intent = audit.append(intent).await.unwrap();
            let mut limits = EgressLimits::default();
            limits.exchange = Duration::from_secs(5);
            limits.response_body_bytes = 1 << 20;
            limits.idle_per_origin = 0;
            limits.redirects = 3;
            let config = EgressConfig {
                roots: Roots::mozilla(),
                limits,
                own_listeners: OwnListeners::new(),
                clock: Arc::new(Fixed),
            };
            let (resolver, dialer): (Arc<dyn Resolve>, Arc<dyn Dial>) = (cables.clone(), cables.clone());
            (Egress::new(config, vault, audit, resolver, dialer).unwrap(), intent)
        });
        Self { home, egress, cables, intent, call, left: REQUESTS }
    }

    /// Made anew where it is used up.
    pub fn freshen(&mut self) {
        if self.left == 0 {
            *self = Self::new();
        }
        self.left -= 1;
    }

    /// Egress for one call of the manifest's first tool.
    #[must_use]
    pub fn session(&self, manifest: &Manifest, grants: &[HostGrant]) -> EgressSession {
        let _context = self.home.runtime.enter();
        let tool = &manifest.tools[0];
        self.egress.session(CallScope {
            principal: Home::principal(Role::Agent),
            skill: manifest.name.clone(),
            tool: tool.name.clone(),
            call: self.call,
            correlation: CorrelationId::from_bytes([2; 16]),
            allowlist: Arc::new(Allowlist::compile(manifest, Some(tool), grants)),
            streams: Arc::new([]),
            credentials: manifest.credentials.clone().into(),
            approved: Risk::Critical,
            intent: self.intent.clone(),
            gate: Arc::new(Anything),
            deadline: Deadline::at(Instant::now() + Duration::from_secs(10)),
        })
    }

    /// Sends `request` while every name has `answers` and every server says `reply`; what came of it, and what left.
    pub fn send(
        &self,
        session: &EgressSession,
        request: HttpRequest,
        answers: &[IpAddr],
        reply: &[u8],
    ) -> (Result<HttpResponse, HttpError>, Heard) {
        *lock(&self.cables.answers) = answers.to_vec();
        *lock(&self.cables.reply) = reply.to_vec();
        let answer = self.home.runtime.block_on(async {
            let answer = session.send(request).await;
            // The far ends read what is still on its way.
            for _ in 0..8 {
                tokio::task::yield_now().await;
            }
            answer
        });
        (answer, std::mem::take(&mut *lock(&self.cables.heard)))
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

/// A manifest whose `permissions.network` is `network` and which declares the service `github`.
#[must_use]
pub fn manifest_of(network: &Value) -> Option<Manifest> {
    let manifest = json!({
        "name": "probe", "version": "1.0.0", "author": "a", "license": "MIT", "description": "d",
        "runtime": "wasm", "entrypoint": "skill.wasm",
        "credentials": [{"service": "github", "scopes": [], "required": false, "access": "proxy"}],
        "tools": [{"name": "go", "description": "d", "riskLevel": "low", "parameters": {"type": "object"}}],
        "permissions": {"network": network},
    });
    Manifest::parse(manifest.to_string().as_bytes()).ok()
}
