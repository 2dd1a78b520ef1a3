//! The parts of the house, opened in order and closed in the opposite one. The only place that puts them together.

use crate::config::{Config, HookEvent, VaultKey};
use crate::context::Context;
use crate::error::CliError;
use crate::home::{CODE_KEY, Home, HomeLock, Missing, SANDBOXES_KEY, parse_key, read_private};
use crate::output::is_interactive;
use crate::system;
use crate::worker::{COMPONENT_WORKER, compilation};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use sophon_approval::Policy;
use sophon_audit::{AuditConfig, AuditKeys, AuditLog};
use sophon_egress::{
    Egress, EgressConfig, EgressLimits, Endpoint, OwnListeners, Roots, SigningSecret, SystemResolver, TcpDialer,
};
use sophon_executor::{CallLimits, Executor, Parts, Requirements, Told, Webhook, Webhooks};
use sophon_gateway::{Gateway, GatewayParts, OperatorToken, Reload};
use sophon_guard::Detector;
use sophon_sandbox::{
    CodeCache, ContainerConfig, ContainerRuntime, InsideProgram, Limits, PoolLimits, WasmRuntime, sweep_requirements,
    sweep_workspaces,
};
use sophon_skill::Preset;
use sophon_store::{Store, StoreConfig};
use sophon_types::{Clock, Digest, Entropy, ServiceName};
use sophon_vault::{Kek, OauthParts, Vault, VaultError};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The variable that holds the vault's key where `[vault] key = "env"`.
const KEY_VARIABLE: &str = "SOPHON_VAULT_KEY";
/// The variable that holds its passphrase where `[vault] key = "passphrase"`.
const PASSPHRASE_VARIABLE: &str = "SOPHON_VAULT_PASSPHRASE";
/// The variables that hold what is to follow them, for a change of the key.
const NEW_KEY_VARIABLE: &str = "SOPHON_VAULT_NEW_KEY";
const NEW_PASSPHRASE_VARIABLE: &str = "SOPHON_VAULT_NEW_PASSPHRASE";
/// The file of the vault's key, where it is in one.
const VAULT_KEY: &str = "kek";

/// How long a renewal of tokens that is under way may take until the house is closed: one exchange with a provider, and
/// the writing down of what it gave.
const RENEWALS: Duration = Duration::from_secs(30);

/// An open home.
pub(crate) struct House {
    config: Config,
    store: Store,
    audit: AuditLog,
    vault: Vault,
    executor: Executor,
    containers: ContainerRuntime,
    own_listeners: OwnListeners,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    _lock: HomeLock,
}

impl House {
    /// Opens everything in the home of `context`, which `lock` keeps for this process.
    pub(crate) async fn open(context: &Context, lock: HomeLock) -> Result<Self, CliError> {
        let home = context.home()?;
        let config = context.config()?;
        let clock = context.shared_clock();
        let entropy = context.shared_entropy();
        home.check_database()?;
        let store = Store::open(StoreConfig { database: home.database(), blobs: home.blobs() }).await?;
        let audit = open_audit(&home, &config, &store, &*entropy, Arc::clone(&clock)).await?;
        let vault = open_vault(context, &home, &config, &store, &audit).await?;
        let own_listeners = OwnListeners::default();
        let egress_config = EgressConfig {
            roots: roots(&home, &config)?,
            limits: egress_limits(&config),
            own_listeners: own_listeners.clone(),
            clock: Arc::clone(&clock),
        };
        let egress = Egress::new(
            egress_config,
            vault.clone(),
            audit.clone(),
            Arc::new(SystemResolver::new()),
            Arc::new(TcpDialer),
        )
        .map_err(|error| CliError::of(&error))?;
        vault.serve_oauth(OauthParts {
            providers: config.oauth.clone(),
            client_secrets: client_secrets(&home, &config)?,
            transport: egress.transport(),
        })?;
        let pool = pool_limits(&config);
        let mut limits = CallLimits { concurrent: pool.concurrent_calls as usize, ..CallLimits::default() };
        if let Some(mb) = config.sandbox.results_mb {
            limits.results_bytes = u64::from(mb.get()) << 20;
        }
        let runtime = runtime(&home, &config, &*entropy)?;
        let owner = sandbox_owner(&home, &config, &*entropy)?;
        let containers = containers(&config, owner, Some(home.requirements()), &entropy);
        let requirements = requirements(&home, &config)?;
        let executor = Executor::open(Parts {
            store: store.clone(),
            audit: audit.clone(),
            vault: vault.clone(),
            egress,
            runtime,
            containers: containers.clone(),
            requirements,
            detector: Detector::new(config.prompt_injection.clone()),
            tightening: config.sandbox.components_in_sandboxes,
            policy: Policy::new(config.approval.clone()).map_err(|error| CliError::of(&error))?,
            limits,
            schedules: config.schedules.clone(),
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
        })
        .await
        .map_err(|error| CliError::of(&error))?;
        Ok(Self { config, store, audit, vault, executor, containers, own_listeners, clock, entropy, _lock: lock })
    }

    /// The gateway over these parts. Where it listens, skills cannot reach it.
    pub(crate) fn gateway(
        &self,
        operator: OperatorToken,
        listen: Option<SocketAddr>,
        reload: Option<Arc<dyn Reload>>,
    ) -> Gateway {
        let mut config = self.config.gateway.clone();
        if let Some(address) = listen {
            self.own_listeners.add(address);
            // Whoever opens the home for one command fires nothing.
            self.executor.keep_time();
            config.max_connections = within(config.max_connections, system::open_files());
            if self.config.containers.engine.is_some() {
                look_after(self.containers.clone());
            }
        }
        Gateway::new(GatewayParts {
            executor: self.executor.clone(),
            store: self.store.clone(),
            vault: self.vault.clone(),
            audit: self.audit.clone(),
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
            config,
            rate_limits: self.config.rate_limit.clone(),
            reload,
            operator,
            listen,
        })
    }

    /// Begins to tell the webhooks of `sophon.toml`; links lead to the gateway that listens at `bound` where nothing is said.
    pub(crate) fn webhooks(&self, home: &Home, bound: SocketAddr) -> Result<Webhooks, CliError> {
        let mut hooks: Vec<Webhook> = Vec::new();
        for section in &self.config.webhooks {
            let path = home.root().join(&section.secret_file);
            let secret = read_private(&path)?;
            let secret = SigningSecret::read(&secret).ok_or_else(|| not_a_signing_secret(&path))?;
            let name = section.name.0.clone();
            if hooks.iter().any(|hook| hook.name == name) {
                return Err(CliError::Config {
                    place: home.config().display().to_string(),
                    message: format!("two webhooks have the name {name}"),
                    hint: "give each of [[webhooks]] a name of its own".into(),
                });
            }
            let told = |event: &HookEvent| match event {
                HookEvent::Pending => Told::Pending,
                HookEvent::Decided => Told::Decided,
            };
            let own = || format!("http://{bound}/v1/approvals/{{approval_id}}");
            hooks.push(Webhook {
                name,
                endpoint: Endpoint::new(&section.url.0, secret).map_err(|denial| CliError::Config {
                    place: home.config().display().to_string(),
                    message: denial.message,
                    hint: denial.hint.unwrap_or_default(),
                })?,
                events: section.events.iter().map(told).collect(),
                tenant: section.tenant.clone(),
                link: section.link.as_ref().map_or_else(own, |link| link.0.clone()),
            });
        }
        Ok(self.executor.tell(hooks))
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn audit(&self) -> &AuditLog {
        &self.audit
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Closes everything. What was answered is durable already; this ends the audit log with a checkpoint.
    pub(crate) async fn close(self) -> Result<(), CliError> {
        self.executor.drain(Duration::from_secs(1)).await;
        self.containers.close().await;
        self.vault.close(RENEWALS).await;
        let closed = self.audit.close().await;
        self.store.close().await;
        Ok(closed?)
    }
}

async fn open_audit(
    home: &Home,
    config: &Config,
    store: &Store,
    entropy: &dyn Entropy,
    clock: Arc<dyn Clock>,
) -> Result<AuditLog, CliError> {
    let missing = if store.audit().writers().await?.is_empty() { Missing::Unused } else { Missing::Lost };
    let signing = home.key("audit-signing", missing, entropy)?;
    let hashing = home.key("audit-hash", missing, entropy)?;
    let sinks = crate::sinks::of(home, &config.audit);
    let config = AuditConfig {
        writer: "host".to_owned(),
        keys: AuditKeys::new(*signing, *hashing),
        checkpoint_every: config.audit.checkpoint_every.get(),
    };
    let log = AuditLog::open(config, store.clone(), clock).await?;
    log.attach(sinks);
    Ok(log)
}

/// Opens the vault. Where an earlier process ended in the middle of a change of the key, this finishes or undoes it.
async fn open_vault(
    context: &Context,
    home: &Home,
    config: &Config,
    store: &Store,
    audit: &AuditLog,
) -> Result<Vault, CliError> {
    let open = |kek| Vault::open(store.clone(), audit.clone(), kek, context.shared_clock(), context.shared_entropy());
    let opened = open(kek(context, home, config, store, context.entropy()).await?).await;
    if !matches!(config.vault.key, VaultKey::File) {
        return Ok(opened?);
    }
    match opened {
        // The key is good, so what was to follow it never did, whatever is in its file.
        Ok(vault) => {
            home.following(VAULT_KEY).discard()?;
            Ok(vault)
        }
        Err(VaultError::WrongKey) => {
            let Some((next, key)) = home.interrupted_key(VAULT_KEY)? else { return Err(VaultError::WrongKey.into()) };
            let vault = open(Kek::from_bytes(*key)).await?;
            next.adopt()?;
            Ok(vault)
        }
        Err(error) => Err(error.into()),
    }
}

/// Seals every credential under a new key. Needs the home to itself.
pub(crate) async fn rotate(context: &Context) -> Result<(), CliError> {
    let (home, config) = (context.home()?, context.config()?);
    home.create()?;
    let Some(lock) = home.lock()? else {
        return Err(CliError::usage("the home is in use", "stop the gateway, then rotate"));
    };
    let house = House::open(context, lock).await?;
    let rotated = house.rotate(context, &home, &config).await;
    let closed = house.close().await;
    // First of all which key is in force: an error of closing must not hide it.
    rotated?;
    if let Err(error) = closed {
        context.output().note(&format!("the key is changed; the home did not close in order: {error}"));
    }
    Ok(())
}

impl House {
    async fn rotate(&self, context: &Context, home: &Home, config: &Config) -> Result<(), CliError> {
        let operator = OperatorToken::mint(context.entropy()).operator();
        let environment = context.environment();
        match config.vault.key {
            VaultKey::File => {
                let (next, key) = home.next_key(VAULT_KEY, context.entropy())?;
                self.vault.rotate(&operator, Kek::from_bytes(*key)).await?;
                next.adopt()
            }
            VaultKey::Env => {
                let key = environment.value(NEW_KEY_VARIABLE).and_then(parse_key);
                let key = key.ok_or(CliError::KeyVariable { variable: NEW_KEY_VARIABLE })?;
                Ok(self.vault.rotate(&operator, Kek::from_bytes(*key)).await?)
            }
            VaultKey::Passphrase => {
                let text = environment.value(NEW_PASSPHRASE_VARIABLE).map(SecretString::from);
                let passphrase = match text {
                    Some(text) => text,
                    None if is_interactive() => crate::secret_input::ask_twice("New passphrase of this home")?,
                    None => return Err(CliError::KeyVariable { variable: NEW_PASSPHRASE_VARIABLE }),
                };
                let kek = derive(&self.store, context.entropy(), passphrase).await?;
                Ok(self.vault.rotate(&operator, kek).await?)
            }
        }
    }
}

async fn derive(store: &Store, entropy: &dyn Entropy, passphrase: SecretString) -> Result<Kek, CliError> {
    let params = Vault::kdf_params(store, entropy).await?;
    let derived = tokio::task::spawn_blocking(move || Kek::from_passphrase(&passphrase, &params)).await;
    Ok(derived.map_err(|error| CliError::Start { message: error.to_string() })??)
}

async fn kek(
    context: &Context,
    home: &Home,
    config: &Config,
    store: &Store,
    entropy: &dyn Entropy,
) -> Result<Kek, CliError> {
    let environment = context.environment();
    match config.vault.key {
        VaultKey::File => {
            let missing = if Vault::is_made(store).await? { Missing::Lost } else { Missing::Unused };
            Ok(Kek::from_bytes(*home.key(VAULT_KEY, missing, entropy)?))
        }
        VaultKey::Env => {
            let key = environment.value(KEY_VARIABLE).and_then(parse_key);
            Ok(Kek::from_bytes(*key.ok_or(CliError::KeyVariable { variable: KEY_VARIABLE })?))
        }
        VaultKey::Passphrase => {
            let passphrase = match environment.value(PASSPHRASE_VARIABLE) {
                Some(text) => SecretString::from(text),
                None if is_interactive() => crate::secret_input::ask("Passphrase of this home")?,
                None => return Err(CliError::KeyVariable { variable: PASSPHRASE_VARIABLE }),
            };
            derive(store, entropy, passphrase).await
        }
    }
}

/// The engine. Components are compiled by a child of this same program, and compiled code is kept in the home.
fn runtime(home: &Home, config: &Config, entropy: &dyn Entropy) -> Result<WasmRuntime, CliError> {
    // What it protects is made again at no loss.
    let key = home.key(CODE_KEY, Missing::Unused, entropy)?;
    let folder = home.code_cache();
    // Without a cache skills are compiled at each start: slower, and no less safe.
    let cache = CodeCache::open(&folder, *key)
        .inspect_err(|error| tracing::warn!(folder = %folder.display(), %error, "compiled code cannot be kept"))
        .ok();
    let pool = pool_limits(config);
    let runtime = WasmRuntime::start_compiling(&pool, ceiling(config), compilation()?, cache)
        .map_err(|error| CliError::of(&error))?;
    let workspaces = home.workspaces();
    // What an earlier process left when it was killed; nobody else uses the home meanwhile.
    match sweep_workspaces(&workspaces) {
        Ok(0) => {}
        Ok(swept) => tracing::info!(swept, "workspaces of an earlier run are removed"),
        Err(error) => tracing::warn!(folder = %workspaces.display(), %error, "workspaces cannot be swept"),
    }
    Ok(runtime.with_workspaces_below(&workspaces))
}

/// Finds the engine, and removes what an earlier run left there, while the host serves already.
fn look_after(containers: ContainerRuntime) {
    tokio::spawn(async move {
        match containers.open().await {
            Ok(facts) => tracing::info!(leftovers = facts.leftovers, "native skills run under gVisor"),
            Err(cause) => tracing::warn!(%cause, hint = cause.hint(), "native skills are refused"),
        }
    });
}

/// Whose sandboxes those of this home are. One engine may serve several homes, of several machines even: each sees, and
/// removes, its own only. The path alone would not tell them apart, and a copy of a home has the same file.
fn sandbox_owner(home: &Home, config: &Config, entropy: &dyn Entropy) -> Result<String, CliError> {
    if config.containers.engine.is_none() {
        return Ok("nobody".into());
    }
    let id = home.key(SANDBOXES_KEY, Missing::Unused, entropy)?;
    Ok(Digest::of_parts(&[&*id, home.root().as_os_str().as_encoded_bytes()]).to_string())
}

/// Where native skills run. The engine is looked for when one is first called.
fn containers(
    config: &Config,
    owner: String,
    requirements: Option<PathBuf>,
    entropy: &Arc<dyn Entropy>,
) -> ContainerRuntime {
    let section = &config.containers;
    let settings = ContainerConfig {
        engine: section.engine.clone(),
        runtime: section.runtime.clone(),
        owner,
        images: section.images.clone(),
        concurrent: section.concurrent.get(),
        memory_mb: section.memory_mb.get(),
        warm: section.warm,
        requirements,
    };
    let runtime = ContainerRuntime::new(settings, ceiling(config), Arc::clone(entropy));
    match std::env::current_exe() {
        Ok(program) => runtime.with_inside(InsideProgram { program, word: COMPONENT_WORKER.into() }),
        Err(error) => {
            tracing::warn!(%error, "this program is not found again, so no component runs in a sandbox");
            runtime
        }
    }
}

/// Where what skills require comes from. What an earlier run left unpacked is removed; it is unpacked anew where it is needed.
fn requirements(home: &Home, config: &Config) -> Result<Requirements, CliError> {
    let folder = home.requirements();
    if let Err(error) = sweep_requirements(&folder) {
        tracing::warn!(folder = %folder.display(), %error, "requirements of an earlier run cannot be removed");
    }
    let section = &config.containers;
    Requirements::new(&section.python_index, &section.python_index_files, section.requirements_mb.get()).map_err(
        |denial| CliError::Config {
            place: home.config().display().to_string(),
            message: format!("[containers] python_index: {}", denial.message),
            hint: denial.hint.unwrap_or_default(),
        },
    )
}

/// As the gateway's, with sandboxes that are nobody else's: those of a running gateway are not touched.
pub(crate) fn containers_for_doctor(context: &Context) -> Result<ContainerRuntime, CliError> {
    let mut config = context.config()?;
    config.containers.warm = 0;
    let entropy = context.shared_entropy();
    let owner = Digest::of(&entropy.bytes::<32>()).to_string();
    Ok(containers(&config, owner, None, &entropy))
}

/// What `[sandbox]` leaves of the most that any preset gives.
fn ceiling(config: &Config) -> Limits {
    let section = &config.sandbox;
    let mut limits = Limits::of(Preset::Minimal);
    if let Some(fuel) = section.fuel {
        limits.fuel = fuel.get();
    }
    if let Some(mb) = section.memory_mb {
        limits.memory = mebibytes(mb.get());
    }
    if let Some(seconds) = section.timeout_seconds {
        limits.wall = Duration::from_secs(seconds.get().into());
    }
    if let Some(requests) = section.http_requests {
        limits.http_requests = requests;
    }
    limits
}

/// Files and sockets that the house needs besides those of its clients: what egress may have open and keep, the database,
/// the compilers, the log.
const OTHER_FILES: usize = 1024;

/// As many connections as configured, or as the process can have.
fn within(connections: NonZeroUsize, files: usize) -> NonZeroUsize {
    // With few files in all, half of them for each.
    let room = files.saturating_sub(OTHER_FILES).max(files / 2);
    let fitting = NonZeroUsize::new(room).map_or(connections, |room| connections.min(room));
    if fitting < connections {
        tracing::warn!(
            connections = fitting.get(),
            files,
            "fewer connections than [gateway] max_connections are served: the system lets the process open fewer files"
        );
    }
    fitting
}

fn pool_limits(config: &Config) -> PoolLimits {
    let mut pool = PoolLimits::default();
    if let Some(calls) = config.sandbox.concurrent_calls {
        pool.concurrent_calls = calls.get();
    }
    pool.memory = ceiling(config).memory;
    pool
}

fn egress_limits(config: &Config) -> EgressLimits {
    let section = &config.egress;
    let seconds = |count: std::num::NonZeroU32| Duration::from_secs(count.get().into());
    let mut limits = EgressLimits::default();
    limits.resolve = seconds(section.resolve_seconds);
    limits.connect = seconds(section.connect_seconds);
    limits.exchange = seconds(section.request_seconds);
    limits.response_body_bytes = section.max_response_bytes.get();
    limits.request_body_bytes = section.max_request_bytes.get();
    limits.connections = section.max_connections.get();
    limits
}

fn mebibytes(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(1 << 20)
}

/// The secrets of this host's clients at providers, from their files; a relative path starts at the home.
fn client_secrets(home: &Home, config: &Config) -> Result<BTreeMap<ServiceName, SecretString>, CliError> {
    let in_files =
        config.oauth.iter().filter_map(|(service, provider)| Some((service, provider.client_secret_file()?)));
    let read = |(service, file): (&ServiceName, &Path)| {
        let path = home.root().join(file);
        let text = read_private(&path)?;
        match text.trim() {
            "" => Err(CliError::KeyFileInvalid { path }),
            secret => Ok((service.clone(), SecretString::from(secret))),
        }
    };
    in_files.map(read).collect()
}

fn not_a_signing_secret(path: &Path) -> CliError {
    CliError::Config {
        place: path.display().to_string(),
        message: "this is not the secret of a webhook: whsec_ and base64 of 24 to 64 bytes".into(),
        hint: format!("(umask 077; echo whsec_$(head -c 32 /dev/urandom | base64 -w0) > {})", path.display()),
    }
}

/// The public authorities and those of `[egress] extra_ca_files`; a relative path starts at the home.
fn roots(home: &Home, config: &Config) -> Result<Roots, CliError> {
    let mut roots = Roots::mozilla();
    for file in &config.egress.extra_ca_files {
        let path = home.root().join(file);
        let bytes = std::fs::read(&path).map_err(|error| CliError::file(&path, error))?;
        let certificates = certificates(&bytes).filter(|found| !found.is_empty()).ok_or_else(|| not_a_ca(&path))?;
        roots = certificates.into_iter().fold(roots, Roots::with);
    }
    Ok(roots)
}

/// The certificates of a PEM file (RFC 7468), or the one of a DER file.
fn certificates(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    // A DER certificate is a SEQUENCE.
    if bytes.first() == Some(&0x30) {
        return Some(vec![bytes.to_vec()]);
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let blocks = text.split(BEGIN).skip(1);
    blocks
        .map(|block| {
            let coded: String = block.split_once(END)?.0.split_whitespace().collect();
            STANDARD.decode(coded).ok()
        })
        .collect()
}

fn not_a_ca(path: &Path) -> CliError {
    CliError::Config {
        place: path.display().to_string(),
        message: "holds no certificate".into(),
        hint: "[egress] extra_ca_files names PEM files with BEGIN CERTIFICATE blocks".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_connections_are_promised_than_there_can_be() {
        let count = |n| NonZeroUsize::new(n).unwrap();
        assert_eq!(within(count(16_384), 1_048_576), count(16_384));
        assert_eq!(within(count(16_384), 4_096), count(3_072));
        assert_eq!(within(count(16_384), 1_024), count(512));
        assert_eq!(within(count(100), 1_024), count(100));
        assert_eq!(within(count(100), 0), count(100));
    }

    #[test]
    fn certificates_are_read_from_pem_and_der() {
        let pem = "words\n-----BEGIN CERTIFICATE-----\nMAMC\nAQE=\n-----END CERTIFICATE-----\n\
                   -----BEGIN CERTIFICATE-----\nMAMCAQI=\n-----END CERTIFICATE-----\n";
        let (one, two) = (vec![0x30, 3, 2, 1, 1], vec![0x30, 3, 2, 1, 2]);
        assert_eq!(certificates(pem.as_bytes()), Some(vec![one.clone(), two]));
        assert_eq!(certificates(&one), Some(vec![one]));
        assert_eq!(certificates(b"nothing"), Some(vec![]));
        assert_eq!(certificates(b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----"), None);
    }

    #[test]
    fn the_configuration_only_lowers_what_a_preset_gives() {
        let mut config = Config::default();
        assert_eq!(ceiling(&config), Limits::of(Preset::Minimal));
        config.sandbox.memory_mb = std::num::NonZeroU32::new(16);
        config.sandbox.http_requests = Some(0);
        let limits = ceiling(&config);
        assert_eq!((limits.memory, limits.http_requests), (16 << 20, 0));
        assert_eq!(Limits::of(Preset::Standard).capped(&limits).memory, 16 << 20);
    }

    #[test]
    fn sandboxes_of_two_homes_of_one_path_are_told_apart() {
        use crate::system::SystemEntropy;
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().join("home"));
        home.create().unwrap();
        let mut config = Config::default();
        assert_eq!(sandbox_owner(&home, &config, &SystemEntropy).unwrap(), "nobody");
        assert!(!home.key_file(SANDBOXES_KEY).exists());
        config.containers.engine = Some("unix:///run/docker.sock".into());
        let owner = sandbox_owner(&home, &config, &SystemEntropy).unwrap();
        assert_eq!(sandbox_owner(&home, &config, &SystemEntropy).unwrap(), owner, "the same after a restart");
        // A copy beside it, and another machine's home of the same path.
        let copy = Home::at(folder.path().join("copy"));
        copy.create().unwrap();
        std::fs::copy(home.key_file(SANDBOXES_KEY), copy.key_file(SANDBOXES_KEY)).unwrap();
        assert_ne!(sandbox_owner(&copy, &config, &SystemEntropy).unwrap(), owner);
        std::fs::remove_file(home.key_file(SANDBOXES_KEY)).unwrap();
        assert_ne!(sandbox_owner(&home, &config, &SystemEntropy).unwrap(), owner);
    }
}
