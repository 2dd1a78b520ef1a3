//! The host's parts, opened in this process over a folder of their own.

use sophon_approval::Policy;
use sophon_audit::{Action, AuditConfig, AuditKeys, AuditLog, Outcome, Record};
use sophon_egress::{Egress, EgressConfig, EgressLimits, OwnListeners, Roots, SystemResolver, TcpDialer};
use sophon_executor::{
    CallLimits, CallRequest, CallStatus, Consent, Executor, InstallRequest, Parts, Requirements, Results,
    ScheduleLimits,
};
use sophon_sandbox::{ContainerConfig, ContainerRuntime, Limits, PoolLimits, Tightening, WasmRuntime};
use sophon_skill::{HostGrant, Package, Preset, Unsigned};
use sophon_store::{Store, StoreConfig};
use sophon_types::{CallId, CanonicalJson, Clock, CorrelationId, Entropy, KeyId, Principal, Risk, Role, Timestamp};
use sophon_vault::{Kek, Vault};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Configuration that keeps rate limits out of the way of a load.
pub const NO_RATE_LIMITS: &str = "[rate_limit]\nuser_per_minute = 100000000\nuser_burst = 1000000\n\
                                  address_per_minute = 100000000\naddress_burst = 1000000\n";

/// The operating system's randomness.
#[derive(Debug)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system gives randomness");
    }
}

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "a bench reads the clock as the command line does")]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

/// Everything that takes part in a call.
pub struct Host {
    /// The executor.
    pub executor: Executor,
    /// The audit log.
    pub audit: AuditLog,
    /// The store.
    pub store: Store,
    /// The vault.
    pub vault: Vault,
    /// The way out.
    pub egress: Egress,
    /// Who calls.
    pub principal: Principal,
}

impl Host {
    /// Opens the parts below `folder`; a folder in memory (such as one of `/dev/shm`) makes the audit one in memory.
    ///
    /// # Errors
    /// Those of the parts.
    pub async fn open(folder: &Path, concurrent: u32, roots: Roots) -> Result<Self, Failed> {
        Self::open_with(folder, concurrent, roots, Policy::default()).await
    }

    /// The same, under a policy of its own.
    ///
    /// # Errors
    /// Those of the parts.
    pub async fn open_with(folder: &Path, concurrent: u32, roots: Roots, policy: Policy) -> Result<Self, Failed> {
        let (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        let paths = StoreConfig { database: folder.join("sophon.db"), blobs: folder.join("blobs") };
        let store = Store::open(paths).await?;
        let config =
            AuditConfig { writer: "host".into(), keys: AuditKeys::new([1; 32], [2; 32]), checkpoint_every: 1000 };
        let audit = AuditLog::open(config, store.clone(), Arc::clone(&clock)).await?;
        let kek = Kek::from_bytes([3; 32]);
        let vault = Vault::open(store.clone(), audit.clone(), kek, Arc::clone(&clock), Arc::clone(&entropy)).await?;
        let egress = EgressConfig {
            roots,
            limits: EgressLimits::default(),
            own_listeners: OwnListeners::default(),
            clock: Arc::clone(&clock),
        };
        let egress =
            Egress::new(egress, vault.clone(), audit.clone(), Arc::new(SystemResolver::new()), Arc::new(TcpDialer))?;
        let pool = PoolLimits { concurrent_calls: concurrent, ..PoolLimits::default() };
        let executor = Executor::open(Parts {
            store: store.clone(),
            audit: audit.clone(),
            vault: vault.clone(),
            egress: egress.clone(),
            runtime: WasmRuntime::start(&pool, Limits::of(Preset::Minimal))?,
            containers: ContainerRuntime::new(
                ContainerConfig::default(),
                Limits::of(Preset::Minimal),
                Arc::clone(&entropy),
            ),
            requirements: Requirements::new("https://index.example/simple", &[], 1).map_err(|denial| denial.message)?,
            detector: sophon_guard::Detector::default(),
            policy,
            tightening: Tightening::default(),
            limits: CallLimits { concurrent: concurrent as usize, ..CallLimits::default() },
            schedules: ScheduleLimits::default(),
            clock,
            entropy,
        })
        .await?;
        let principal = Principal {
            tenant: "default".parse()?,
            user: "ann".parse()?,
            key: KeyId::mint(&SystemEntropy),
            role: Role::Agent,
        };
        Ok(Self { executor, audit, store, vault, egress, principal })
    }

    /// The same person as an admin.
    #[must_use]
    pub fn principal_admin(&self) -> Principal {
        Principal { role: Role::Admin, ..self.principal.clone() }
    }

    /// Appends a record like that of a call's intent.
    ///
    /// # Errors
    /// The audit log's.
    pub async fn append_record(&self) -> Result<(), Failed> {
        let arguments = serde_json::json!({ "text": "hello" });
        let record = Record::new(Action::CallIntent, Outcome::Intent)
            .principal(&self.principal)
            .call(CallId::mint(&SystemEntropy))
            .correlation(CorrelationId::mint(&SystemEntropy))
            .risk(Risk::None)
            .params(self.audit.redactor().params(&arguments, None))
            .detail("skill_digest", "sha256:72eaca7956f4cfa45474cb1f80e7ccf3cfa5b45061e35497d1d8c427d1077b92")
            .detail("arguments_digest", "sha256:72eaca7956f4cfa45474cb1f80e7ccf3cfa5b45061e35497d1d8c427d1077b92");
        self.audit.append(record).await?;
        Ok(())
    }

    /// Installs a package for the caller's tenant.
    ///
    /// # Errors
    /// The executor's.
    pub async fn install(&self, package: Vec<u8>, grants: Vec<HostGrant>) -> Result<(), Failed> {
        let request = InstallRequest {
            hosts: sophon_executor::HostChoice::Open,
            package: package.into(),
            envelope: None,
            unsigned: Unsigned::DangerouslyAllow,
            consent: Consent::AsBefore,
            grants,
            streams: Vec::new(),
            settings: BTreeMap::new(),
        };
        self.executor.install(&self.principal, request).await?;
        Ok(())
    }

    /// One call, from the request's text to the sanitised result.
    ///
    /// # Errors
    /// The executor's, and a call that did not succeed.
    pub async fn call(&self, tool: &str, arguments: &str) -> Result<(), Failed> {
        let view = self.executor.call(&self.principal, request(tool, arguments)?).await?;
        if view.status == CallStatus::Succeeded { Ok(()) } else { Err(format!("{view:?}").into()) }
    }

    /// One call that has to ask a person; its id.
    ///
    /// # Errors
    /// The executor's, and a call that did not ask.
    pub async fn ask(&self, tool: &str, arguments: &str) -> Result<CallId, Failed> {
        let view = self.executor.call(&self.principal, request(tool, arguments)?).await?;
        if view.status == CallStatus::AwaitingApproval { Ok(view.call_id) } else { Err(format!("{view:?}").into()) }
    }
}

fn request(tool: &str, arguments: &str) -> Result<CallRequest, Failed> {
    Ok(CallRequest {
        tool: tool.to_owned(),
        arguments: CanonicalJson::parse(arguments.as_bytes())?,
        session: None,
        idempotency_key: None,
        wait: Duration::from_secs(30),
        correlation: CorrelationId::mint(&SystemEntropy),
        results: Results::Text,
    })
}

/// A package that `scripts/build-examples` made.
///
/// # Errors
/// Where it is not there.
pub fn example(name: &str) -> Result<Vec<u8>, Failed> {
    let path = root().join("target/skills").join(format!("{name}-1.0.0.sophon-skill"));
    std::fs::read(&path).map_err(|error| format!("{}: {error}; scripts/build-examples makes it", path.display()).into())
}

/// The component in a package.
///
/// # Errors
/// Where the package cannot be read.
pub fn component(package: &[u8]) -> Result<Vec<u8>, Failed> {
    Ok(Package::read(package.to_vec())?.entrypoint().to_vec())
}

/// The top of the checkout.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new(".")).to_owned()
}
