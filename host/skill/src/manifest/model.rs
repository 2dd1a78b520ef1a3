//! What a manifest says, as types.

use crate::ceilings;
use crate::network::{NetworkRule, StreamWish};
use serde::Serialize;
use serde_json::Value;
use sophon_types::{Risk, ServiceName, ToolName};
use std::fmt;

/// What runs the skill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Runtime {
    /// A WebAssembly component that speaks `sophon:skill`.
    Wasm,
    /// A Python script of the public contract.
    Python,
    /// A .NET assembly of the public contract.
    CSharp,
    /// A script of the public contract, in the named language.
    Sandbox {
        /// Such as `python`.
        language: String,
    },
    /// A container image.
    Container,
}

impl Runtime {
    /// The runtime's name as manifests write it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Wasm => "wasm",
            Self::Python => "python",
            Self::CSharp => "csharp",
            Self::Sandbox { .. } => "sandbox",
            Self::Container => "container",
        }
    }

    /// Whether the code is Python source.
    #[must_use]
    pub fn is_python(&self) -> bool {
        match self {
            Self::Python => true,
            Self::Sandbox { language } => language.eq_ignore_ascii_case("python") || language == "python3",
            Self::Wasm | Self::CSharp | Self::Container => false,
        }
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a native skill is spoken to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// The public contract's: `params` and standard input, one JSON value on standard output.
    #[default]
    Params,
    /// The Model Context Protocol over standard input and output.
    Mcp,
}

/// Where the skill stands in a catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Category {
    /// Small helpers.
    Utility,
    /// Calendars, tasks, notes.
    Productivity,
    /// Mail, chat.
    Communication,
    /// Databases, statistics.
    Data,
    /// Code and its tools.
    Development,
    /// Other services.
    Integration,
    /// Models.
    Ai,
    /// Homes, workflows.
    Automation,
    /// Anything else, and what is not known.
    Other,
}

impl Category {
    /// All categories with their names.
    pub(super) const WORDS: [(&'static str, Self); 9] = [
        ("utility", Self::Utility),
        ("productivity", Self::Productivity),
        ("communication", Self::Communication),
        ("data", Self::Data),
        ("development", Self::Development),
        ("integration", Self::Integration),
        ("ai", Self::Ai),
        ("automation", Self::Automation),
        ("other", Self::Other),
    ];
}

/// One tool.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tool {
    /// The full name, `<skill>.<tool>`.
    pub name: ToolName,
    /// The name as the manifest has it: what the skill's code is called with.
    pub local: String,
    /// What it does, 1 to 2000 characters. Untrusted text.
    pub description: String,
    /// The declared risk; the effective one is never lower.
    #[serde(rename = "riskLevel")]
    pub risk: Risk,
    /// The JSON Schema of the arguments; describes an object, is self-contained and bounded.
    pub parameters: Value,
    /// The JSON Schema of the result, where the manifest has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub returns: Option<Value>,
    /// Whether the person who approves may change the arguments.
    pub editable: bool,
    /// Where this tool may go, where it has a list of its own; each rule is covered by `permissions.network`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Vec<NetworkRule>>,
    /// What it does to the world.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub effects: Vec<Effect>,
}

impl Tool {
    /// The parts that a model or a person acts on and that differ, as the manifest names them.
    pub(crate) fn differing_parts(&self, other: &Self) -> Vec<&'static str> {
        let parts = [
            ("description", self.description != other.description),
            ("riskLevel", self.risk != other.risk),
            ("parameters", self.parameters != other.parameters),
            ("returns", self.returns != other.returns),
            ("effects", self.effects != other.effects),
        ];
        parts.into_iter().filter(|(_, differs)| *differs).map(|(part, _)| part).collect()
    }
}

/// What a tool does to the world, beyond reading and undoable writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Effect {
    /// Sends e-mail.
    Email,
    /// Sends messages in chats or by telephone.
    Message,
    /// Moves money or orders goods.
    Payment,
    /// Makes something public.
    Publish,
    /// Deletes.
    Delete,
    /// Runs commands somewhere.
    Shell,
}

impl Effect {
    /// All effects with their names.
    pub(super) const WORDS: [(&'static str, Self); 6] = [
        ("email", Self::Email),
        ("message", Self::Message),
        ("payment", Self::Payment),
        ("publish", Self::Publish),
        ("delete", Self::Delete),
        ("shell", Self::Shell),
    ];

    /// The effect's name as manifests write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Message => "message",
            Self::Payment => "payment",
            Self::Publish => "publish",
            Self::Delete => "delete",
            Self::Shell => "shell",
        }
    }
}

/// A service whose credential the skill uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CredentialUse {
    /// The service.
    pub service: ServiceName,
    /// What the credential has to be good for, in the service's words; never empty where tokens are asked for.
    pub scopes: Vec<String>,
    /// Whether the skill is of no use without it.
    pub required: bool,
    /// How it may be used.
    pub access: Access,
}

/// How a skill may use a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// The host attaches it to requests; the skill never sees it.
    Proxy,
    /// The host hands out short-lived tokens of narrow scope, and attaches nothing.
    ScopedToken,
}

/// How a person connects the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Integration {
    /// The service.
    pub service: ServiceName,
    /// Its name for people.
    pub display_name: String,
    /// The authentication's name, such as `custom`, `apiKey` or `oauth2`; free text of the public contract.
    pub auth_type: String,
    /// What the person fills in.
    pub fields: Vec<Field>,
    /// A path or URL that tells whether the connection works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_endpoint: Option<String>,
}

/// One field of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Field {
    /// The key in the connection.
    pub key: String,
    /// The label for people.
    pub label: String,
    /// What kind of value it is.
    #[serde(rename = "type")]
    pub kind: FieldKind,
    /// Whether it must be filled in.
    pub required: bool,
    /// A regular expression that the value has to match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// What to say when it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern_message: Option<String>,
    /// An example to show in the empty field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placeholder: Option<String>,
    /// Help for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help_text: Option<String>,
    /// Where more help is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help_url: Option<String>,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldKind {
    /// A secret: sealed in the vault, never shown.
    Secret,
    /// Plain text.
    Text,
    /// A URL.
    Url,
    /// An e-mail address.
    Email,
}

/// The skill's wish for its sandbox; limits can only become tighter than it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SandboxWish {
    /// The preset it is made for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// Whether it wants the network. `true` grants nothing by itself: the person who installs names the hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<bool>,
    /// Wall-clock seconds for a call, 1 to 3600.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
    /// Memory in MiB, 1 to 4096.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_memory_mb: Option<u32>,
}

/// The sandbox's presets, from open to closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// The fewest limits.
    Minimal,
    /// The default.
    Standard,
    /// Tighter.
    Restricted,
    /// No network, nothing to write.
    LockedDown,
}

impl Preset {
    /// All presets with their names.
    pub(super) const WORDS: [(&'static str, Self); 4] = [
        ("minimal", Self::Minimal),
        ("standard", Self::Standard),
        ("restricted", Self::Restricted),
        ("locked-down", Self::LockedDown),
    ];

    /// MiB of linear memory where the manifest says nothing.
    #[must_use]
    pub const fn memory_mb(self) -> u32 {
        match self {
            Self::Minimal => ceilings::MEMORY_MB,
            Self::Standard | Self::LockedDown => 64,
            Self::Restricted => 32,
        }
    }

    /// Seconds that a call may take where the manifest says nothing.
    #[must_use]
    pub const fn wall_seconds(self) -> u32 {
        match self {
            Self::Minimal => 300,
            Self::Standard | Self::LockedDown => 30,
            Self::Restricted => 10,
        }
    }

    /// The preset's name as manifests write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minimal => "minimal",
            Self::Standard => "standard",
            Self::Restricted => "restricted",
            Self::LockedDown => "locked-down",
        }
    }
}

/// What the skill asks to be permitted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Permissions {
    /// Where requests may go. Nothing: the manifest does not say. An empty list names no host, and so grants none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Vec<NetworkRule>>,
    /// Connections that are no HTTP. Each has to be granted by a person besides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<StreamWish>,
    /// What of the file system.
    pub filesystem: Filesystem,
    /// Memory in MiB, 1 to 4096.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_memory_mb: Option<u32>,
    /// Processor time in seconds, 1 to 3600.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_cpu_seconds: Option<u32>,
}

/// What of the file system a skill may use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Filesystem {
    /// Nothing.
    #[default]
    None,
    /// An empty folder for one call.
    Workspace,
}

/// A setting that the person in charge may give; never a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// The key that the skill asks for: a letter, then letters, digits, `_`, `.` and `-`, at most 64 characters.
    pub key: String,
    /// What it does.
    pub description: String,
    /// The value where nobody set one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
}
