//! The sections of `sophon.toml` and their defaults.

use super::audit::AuditSection;
use super::webhooks::WebhookSection;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use sophon_approval::{ApprovalConfig, Policy};
use sophon_executor::ScheduleLimits;
use sophon_gateway::{GatewayConfig, RateLimits};
use sophon_guard::InjectionConfig;
use sophon_sandbox::{ContainerConfig, Tightening};
use sophon_vault::Providers;
use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

/// The whole configuration.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    pub(crate) gateway: GatewayConfig,
    #[serde(deserialize_with = "rate_limit")]
    pub(crate) rate_limit: RateLimits,
    #[serde(deserialize_with = "approval")]
    pub(crate) approval: ApprovalConfig,
    #[serde(deserialize_with = "schedules")]
    pub(crate) schedules: ScheduleLimits,
    pub(crate) prompt_injection: InjectionConfig,
    pub(crate) sandbox: SandboxSection,
    pub(crate) containers: ContainersSection,
    pub(crate) egress: EgressSection,
    pub(crate) vault: VaultSection,
    /// `[oauth.SERVICE]`: the providers by which accounts are connected.
    pub(crate) oauth: Providers,
    pub(crate) audit: AuditSection,
    pub(crate) log: LogSection,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) webhooks: Vec<WebhookSection>,
}

/// `[approval]`, checked while it is known where in the file it stands.
fn approval<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ApprovalConfig, D::Error> {
    let config = ApprovalConfig::deserialize(deserializer)?;
    Policy::new(config.clone()).map_err(D::Error::custom)?;
    Ok(config)
}

/// `[schedules]`, checked while it is known where in the file it stands.
fn schedules<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ScheduleLimits, D::Error> {
    let limits = ScheduleLimits::deserialize(deserializer)?;
    limits.check().map_err(D::Error::custom)?;
    Ok(limits)
}

/// `[rate_limit]`, checked while it is known where in the file it stands.
fn rate_limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RateLimits, D::Error> {
    let limits = RateLimits::deserialize(deserializer)?;
    limits.check().map_err(D::Error::custom)?;
    Ok(limits)
}

/// `[sandbox]`: the most that any call may use, whatever its manifest asks for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SandboxSection {
    /// Units of fuel: about one an instruction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fuel: Option<NonZeroU64>,
    /// Memory of one call, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory_mb: Option<NonZeroU32>,
    /// Wall clock of one call, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeout_seconds: Option<NonZeroU32>,
    /// HTTP requests of one call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) http_requests: Option<u32>,
    /// Calls that run at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) concurrent_calls: Option<NonZeroU32>,
    /// MiB that the larger results of one tenant's calls may take in the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) results_mb: Option<NonZeroU32>,
    /// Which components run inside sandboxes, beside native skills.
    pub(crate) components_in_sandboxes: Tightening,
}

/// `[containers]`: where native skills run. Without an engine they are refused.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ContainersSection {
    /// The engine's address, such as `unix:///run/docker.sock`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) engine: Option<String>,
    /// The name that the engine knows gVisor's runtime by.
    pub(crate) runtime: String,
    /// Images in place of those that `scripts/build-images` makes: `python`, `csharp`, `base`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) images: BTreeMap<String, String>,
    /// Sandboxes at one time, waiting ones included.
    pub(crate) concurrent: NonZeroUsize,
    /// Memory that all of them together may be allowed, in MiB.
    pub(crate) memory_mb: NonZeroUsize,
    /// Sandboxes that are kept ready for each kind of skill.
    pub(crate) warm: usize,
    /// The index that what Python skills require comes from, in the form of PyPI's `/simple`.
    pub(crate) python_index: String,
    /// Hosts beside the index's own at which its files may lie.
    pub(crate) python_index_files: Vec<String>,
    /// MiB of one skill's requirements, packed and unpacked.
    pub(crate) requirements_mb: NonZeroUsize,
}

impl Default for ContainersSection {
    fn default() -> Self {
        let usual = ContainerConfig::default();
        let at_least = |number: usize| NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN);
        Self {
            engine: None,
            runtime: usual.runtime,
            images: usual.images,
            concurrent: at_least(usual.concurrent),
            memory_mb: at_least(usual.memory_mb),
            warm: usual.warm,
            python_index: "https://pypi.org/simple".into(),
            python_index_files: vec!["files.pythonhosted.org".into()],
            requirements_mb: at_least(128),
        }
    }
}

/// `[egress]`: how skills reach the world.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EgressSection {
    /// PEM files with certificate authorities that are trusted besides the public ones.
    pub(crate) extra_ca_files: Vec<PathBuf>,
    /// Seconds to find a name's addresses.
    pub(crate) resolve_seconds: NonZeroU32,
    /// Seconds to connect.
    pub(crate) connect_seconds: NonZeroU32,
    /// Seconds for one request, redirects included.
    pub(crate) request_seconds: NonZeroU32,
    /// The largest response body, in bytes.
    pub(crate) max_response_bytes: NonZeroUsize,
    /// The largest request body, in bytes.
    pub(crate) max_request_bytes: NonZeroUsize,
    /// Connections in use at the same time.
    pub(crate) max_connections: NonZeroUsize,
}

impl Default for EgressSection {
    fn default() -> Self {
        const MIB: usize = 1 << 20;
        Self {
            extra_ca_files: Vec::new(),
            resolve_seconds: at_least_one(5),
            connect_seconds: at_least_one(10),
            request_seconds: at_least_one(60),
            max_response_bytes: NonZeroUsize::MIN.saturating_add(8 * MIB - 1),
            max_request_bytes: NonZeroUsize::MIN.saturating_add(8 * MIB - 1),
            max_connections: NonZeroUsize::MIN.saturating_add(511),
        }
    }
}

/// `[vault]`: where the key that seals credentials comes from.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct VaultSection {
    pub(crate) key: VaultKey,
}

/// Where the vault's key comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum VaultKey {
    /// `keys/kek` of the home, made when the home is made.
    #[default]
    File,
    /// 32 bytes as hexadecimal or base64 in `SOPHON_VAULT_KEY`.
    Env,
    /// A passphrase in `SOPHON_VAULT_PASSPHRASE`, or asked for on a terminal.
    Passphrase,
}

/// `[log]`: what goes to standard error.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LogSection {
    /// error, warn, info, debug, trace, or directives such as `info,sophon_egress=debug`.
    pub(crate) level: String,
    /// text or json.
    pub(crate) format: LogFormat,
}

impl Default for LogSection {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

fn at_least_one(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN)
}
