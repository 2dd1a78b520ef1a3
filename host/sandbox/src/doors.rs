//! The doors of the sandbox: everything that a running skill can reach, opened by the caller for one call.
//!
//! A door is a trait with two implementations: the real one (egress, the store) and the one of a rehearsal
//! (recorded exchanges, memory). The sandbox itself opens no socket and no file outside a workspace.

use async_trait::async_trait;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sophon_egress::{Carry, EgressSession, HttpError, HttpRequest, HttpResponse, TokenRefused};
use sophon_store::{Quota, Store, StoreError, Swap};
use sophon_types::{SkillName, TenantId};
use std::collections::BTreeMap;
use std::sync::Arc;
use url::Host;

/// Everything that one call can reach.
pub struct Doors {
    /// The way out. Without one every request is denied.
    pub http: Option<Arc<dyn HttpDoor>>,
    /// The skill's key-value store.
    pub state: Arc<dyn StateDoor>,
    /// The declared services and whether they are connected.
    pub connections: Arc<[Connection]>,
    /// Short-lived tokens for a skill that opted in. Without one there are none.
    pub tokens: Option<Arc<dyn TokenDoor>>,
    /// Non-secret configuration.
    pub settings: Arc<BTreeMap<String, String>>,
    /// Told of each progress report, while the call runs.
    pub progress: Option<Arc<ProgressListener>>,
}

/// Told of each progress report, while the call runs.
pub type ProgressListener = dyn Fn(&Progress) + Send + Sync;

/// Sends a request on behalf of a skill; the two HTTP imports lead here.
#[async_trait]
pub trait HttpDoor: Send + Sync {
    /// Sends one request, or says why not.
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError>;

    /// Opens a connection that is no HTTP, where a person granted that very place; nothing where nobody did.
    async fn stream(self: Arc<Self>, _host: &Host<String>, _port: u16) -> Result<Option<Box<dyn Carry>>, HttpError> {
        Ok(None)
    }
}

#[async_trait]
impl HttpDoor for EgressSession {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        Self::send(self, request).await
    }

    async fn stream(self: Arc<Self>, host: &Host<String>, port: u16) -> Result<Option<Box<dyn Carry>>, HttpError> {
        self.open_stream(host, port).await
    }
}

/// Gives short-lived tokens to a skill whose manifest opted in.
#[async_trait]
pub trait TokenDoor: Send + Sync {
    /// A token for `service`, good for this run only.
    async fn scoped_token(&self, service: &str) -> Result<String, TokenRefused>;
}

#[async_trait]
impl TokenDoor for EgressSession {
    async fn scoped_token(&self, service: &str) -> Result<String, TokenRefused> {
        Self::scoped_token(self, service).await
    }
}

/// How a service may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The host attaches the credential.
    Proxy,
    /// The skill may ask for a short-lived token.
    ScopedToken,
}

/// A service that the manifest declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The service.
    pub service: String,
    /// Whether the caller (or the tenant) has connected it.
    pub connected: bool,
    /// How it may be used.
    pub access: Access,
}

/// Severity of a line that a skill logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LogLevel {
    /// For authors.
    Debug,
    /// For operators.
    Info,
    /// Something is off.
    Warn,
    /// Something failed.
    Error,
}

/// A line that a skill wrote; untrusted text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// How severe the skill calls it.
    pub level: LogLevel,
    /// The text, cut to the call's bound.
    pub message: String,
}

/// How far a call has come, in the skill's words; untrusted text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// 0 to 100.
    pub percent: u8,
    /// What is being done.
    pub message: String,
}

/// Why the state could not be read or written; the cases of the WIT contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StateError {
    /// The quota of the skill is used up (bytes).
    QuotaExceeded(u64),
    /// Another value than the expected one was found.
    Conflict,
    /// The store cannot be used.
    Unavailable(String),
}

/// A skill's key-value store; keys and values have passed their bounds.
#[async_trait]
pub trait StateDoor: Send + Sync {
    /// The value at `key`.
    async fn read(&self, key: &str) -> Result<Option<Vec<u8>>, StateError>;
    /// Writes `value`, durable on return, unless the skill would then keep more than `quota`.
    async fn write(&self, key: &str, value: Vec<u8>, quota: Quota) -> Result<(), StateError>;
    /// Removes `key`, whether it is there or not.
    async fn delete(&self, key: &str) -> Result<(), StateError>;
    /// Up to `limit` keys with `prefix`, in byte order, after `after`.
    async fn keys(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>, StateError>;
    /// Writes `value` only where the present value is `expected`.
    async fn compare_and_set(
        &self,
        key: &str,
        expected: Option<Vec<u8>>,
        value: Vec<u8>,
        quota: Quota,
    ) -> Result<(), StateError>;
}

/// The real state: rows of one tenant and one skill.
pub struct StoredState {
    store: Store,
    tenant: TenantId,
    skill: SkillName,
}

impl StoredState {
    /// The state of `skill` in `tenant`.
    #[must_use]
    pub fn new(store: Store, tenant: TenantId, skill: SkillName) -> Self {
        Self { store, tenant, skill }
    }
}

/// The skill is told that its quota is used up; anything else is the operator's to know.
fn refused(error: &StoreError, quota: Quota) -> StateError {
    match error {
        StoreError::Quota { .. } => StateError::QuotaExceeded(quota.bytes),
        other => unavailable(other),
    }
}

fn unavailable(error: &StoreError) -> StateError {
    tracing::error!(%error, "state");
    StateError::Unavailable("the host's store cannot be used now".into())
}

#[async_trait]
impl StateDoor for StoredState {
    async fn read(&self, key: &str) -> Result<Option<Vec<u8>>, StateError> {
        self.store.state().read(&self.tenant, &self.skill, key).await.map_err(|error| unavailable(&error))
    }

    async fn write(&self, key: &str, value: Vec<u8>, quota: Quota) -> Result<(), StateError> {
        let written = self.store.state().write(&self.tenant, &self.skill, key, value, quota).await;
        written.map_err(|error| refused(&error, quota))
    }

    async fn delete(&self, key: &str) -> Result<(), StateError> {
        self.store.state().delete(&self.tenant, &self.skill, key).await.map_err(|error| unavailable(&error))
    }

    async fn keys(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>, StateError> {
        let names = self.store.state().names(&self.tenant, &self.skill, prefix, after, limit).await;
        names.map_err(|error| unavailable(&error))
    }

    async fn compare_and_set(
        &self,
        key: &str,
        expected: Option<Vec<u8>>,
        value: Vec<u8>,
        quota: Quota,
    ) -> Result<(), StateError> {
        let state = self.store.state();
        match state.compare_and_set(&self.tenant, &self.skill, key, expected, Some(value), quota).await {
            Ok(Swap::Swapped) => Ok(()),
            Ok(Swap::Differs(_present)) => Err(StateError::Conflict),
            Err(error) => Err(refused(&error, quota)),
        }
    }
}

/// State in memory, for rehearsals.
#[derive(Default)]
pub struct MemoryState(Mutex<BTreeMap<String, Vec<u8>>>);

impl MemoryState {
    /// State that holds `entries` at first.
    #[must_use]
    pub fn new(entries: BTreeMap<String, Vec<u8>>) -> Self {
        Self(Mutex::new(entries))
    }

    /// What it holds now.
    #[must_use]
    pub fn entries(&self) -> BTreeMap<String, Vec<u8>> {
        self.0.lock().clone()
    }
}

#[async_trait]
impl StateDoor for MemoryState {
    async fn read(&self, key: &str) -> Result<Option<Vec<u8>>, StateError> {
        Ok(self.0.lock().get(key).cloned())
    }

    async fn write(&self, key: &str, value: Vec<u8>, quota: Quota) -> Result<(), StateError> {
        put(&mut self.0.lock(), key, value, quota)
    }

    async fn delete(&self, key: &str) -> Result<(), StateError> {
        self.0.lock().remove(key);
        Ok(())
    }

    async fn keys(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>, StateError> {
        let entries = self.0.lock();
        let wanted =
            entries.keys().filter(|key| key.starts_with(prefix) && after.is_none_or(|last| key.as_str() > last));
        Ok(wanted.take(limit as usize).cloned().collect())
    }

    async fn compare_and_set(
        &self,
        key: &str,
        expected: Option<Vec<u8>>,
        value: Vec<u8>,
        quota: Quota,
    ) -> Result<(), StateError> {
        let mut entries = self.0.lock();
        if entries.get(key) != expected.as_ref() {
            return Err(StateError::Conflict);
        }
        put(&mut entries, key, value, quota)
    }
}

fn put(entries: &mut BTreeMap<String, Vec<u8>>, key: &str, value: Vec<u8>, quota: Quota) -> Result<(), StateError> {
    let others: usize = entries.iter().filter(|(k, _)| *k != key).map(|(k, v)| k.len() + v.len()).sum();
    if (others + key.len() + value.len()) as u64 > quota.bytes {
        return Err(StateError::QuotaExceeded(quota.bytes));
    }
    if !entries.contains_key(key) && entries.len() as u64 >= quota.entries {
        return Err(StateError::QuotaExceeded(quota.entries));
    }
    entries.insert(key.to_owned(), value);
    Ok(())
}
