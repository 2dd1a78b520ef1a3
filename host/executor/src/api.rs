//! What goes into the executor and what comes out of it, as data for an edge to write.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sophon_guard::{Finding, SanitizedOutput};
use sophon_skill::{HostGrant, Integration, StreamGrant, Unsigned, Verdict};
use sophon_types::{
    ApprovalId, CallId, CanonicalJson, CorrelationId, Digest, FaultKind, FaultReport, Risk, SessionId, SkillName,
    Stage, Timestamp, ToolName, Trust, Version,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Whether the caller may have the structured result beside the wrapped text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Results {
    /// Wrapped text only: what a model may read.
    Text,
    /// The structured value too, for programs. It is scanned for secrets, not wrapped.
    Structured,
}

/// A call as it comes from an edge.
#[derive(Debug, Clone)]
pub struct CallRequest {
    /// The tool's full name, not yet checked.
    pub tool: String,
    /// The exact arguments.
    pub arguments: CanonicalJson,
    /// The agent's session.
    pub session: Option<SessionId>,
    /// The same key with the same tool and arguments is the same call, for 24 hours.
    pub idempotency_key: Option<String>,
    /// How long to wait for the result.
    pub wait: Duration,
    /// What the call belongs to.
    pub correlation: CorrelationId,
    /// What the caller may have.
    pub results: Results,
}

/// Where a call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CallStatus {
    /// A person has to approve it first.
    AwaitingApproval,
    /// It runs.
    Running,
    /// It runs, and waits for a person to decide on one of its requests.
    Parked,
    /// It gave a result.
    Succeeded,
    /// It ran and gave none.
    Failed,
    /// It was approved, and a rule of the operator forbids it now; it has not run.
    Denied,
    /// A person said no; it has not run.
    Rejected,
    /// Nobody decided in time; it has not run.
    Expired,
    /// What was asked about is no more what it was; it has not run.
    Cancelled,
    /// The host stopped in the middle of it; whether it had its effect is not known, and it is never run again.
    UnknownOutcome,
}

impl CallStatus {
    /// The status as it is stored and sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AwaitingApproval => "awaiting_approval",
            Self::Running => "running",
            Self::Parked => "parked",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Denied => "denied",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::UnknownOutcome => "unknown_outcome",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        let all = [
            Self::AwaitingApproval,
            Self::Running,
            Self::Parked,
            Self::Succeeded,
            Self::Failed,
            Self::Denied,
            Self::Rejected,
            Self::Expired,
            Self::Cancelled,
            Self::UnknownOutcome,
        ];
        all.into_iter().find(|status| status.as_str() == name)
    }

    /// Whether the call is over.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::AwaitingApproval | Self::Running | Self::Parked)
    }
}

/// A result that may leave the host: made from [`SanitizedOutput`] only, or from what the vault sealed of one.
#[derive(Debug, Clone, PartialEq)]
pub struct CallOutput {
    pub(crate) content: String,
    pub(crate) result: Option<Value>,
    pub(crate) findings: Vec<Finding>,
}

impl CallOutput {
    pub(crate) fn of(output: &SanitizedOutput) -> Self {
        Self {
            content: output.content().to_owned(),
            result: output.result().cloned(),
            findings: output.findings().to_vec(),
        }
    }

    /// The wrapped text.
    #[must_use]
    pub fn content(&self) -> &str {
        &self.content
    }

    /// The structured value, where the caller may have it.
    #[must_use]
    pub fn result(&self) -> Option<&Value> {
        self.result.as_ref()
    }

    /// What was noticed in the text.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    pub(crate) fn for_caller(mut self, results: Results) -> Self {
        if results == Results::Text {
            self.result = None;
        }
        self
    }
}

/// Why a call that ran gave no result. The message is wrapped like a result: a skill may have written it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorView {
    /// Where it failed.
    pub stage: Stage,
    /// What kind of failure it is.
    pub kind: FaultKind,
    /// The stable code.
    pub code: String,
    /// Wrapped text.
    pub message: String,
    /// One line that, followed, mends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// How far a running call says it is. The message is wrapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressView {
    /// 0 to 100.
    pub percent: u8,
    /// Wrapped text.
    pub message: String,
}

/// A call as its caller sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct CallView {
    /// The call.
    pub call_id: CallId,
    /// Where it stands.
    pub status: CallStatus,
    /// The tool.
    pub tool: ToolName,
    /// The risk that was assessed.
    pub risk: Option<Risk>,
    /// The result, where it succeeded.
    pub output: Option<CallOutput>,
    /// Why there is none, where it failed.
    pub error: Option<ErrorView>,
    /// The last progress report, while it runs.
    pub progress: Option<ProgressView>,
    /// What it waits for, while it waits for a person.
    pub approval: Option<ApprovalRef>,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// The question that a call waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApprovalRef {
    /// Its id.
    pub id: ApprovalId,
    /// Until when it may be decided.
    pub expires_at: Timestamp,
}

/// A tool that a caller may use.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ToolView {
    /// The full name.
    pub name: ToolName,
    /// The skill.
    pub skill: SkillName,
    /// The skill's version.
    pub version: Version,
    /// The author's words: untrusted text.
    pub description: String,
    /// The least risk of a call, before its arguments are known.
    pub risk: Risk,
    /// JSON Schema of the arguments.
    pub parameters: Value,
    /// JSON Schema of the result, where the author gives one.
    pub returns: Option<Value>,
}

/// What the person installing has seen of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// Only what was agreed to before: an update that goes beyond it is refused.
    AsBefore,
    /// Whatever the update changes.
    ToChanges,
}

/// What the person installing has seen of the hosts that a skill's source names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostChoice {
    /// Nothing: where the skill asks for the network and names no host itself, its hosts have to be chosen.
    Open,
    /// The grants are what they want, be they none.
    Made,
}

/// A package to install.
#[derive(Debug, Clone)]
pub struct InstallRequest {
    /// The archive.
    pub package: Bytes,
    /// The signature (DSSE envelope).
    pub envelope: Option<Bytes>,
    /// What to do about a package that nobody trusted has signed.
    pub unsigned: Unsigned,
    /// Whether an update may go beyond what was agreed to.
    pub consent: Consent,
    /// Hosts that the person installing grants beyond the manifest's.
    pub grants: Vec<HostGrant>,
    /// Connections that are no HTTP, which nobody reads, of those that the manifest asks for.
    pub streams: Vec<StreamGrant>,
    /// Whether the list of grants is a choice even where it is empty.
    pub hosts: HostChoice,
    /// Non-secret configuration.
    pub settings: BTreeMap<String, String>,
}

/// An installed skill.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SkillView {
    /// The name.
    pub name: SkillName,
    /// The version.
    pub version: Version,
    /// SHA-256 of the archive.
    pub digest: Digest,
    /// Who vouches for it.
    pub trust: Trust,
    /// Fingerprint of the publisher's key, where it is signed.
    pub publisher: Option<String>,
    /// Whether its tools can be called.
    pub enabled: bool,
    /// Why it cannot be run at present, where it cannot.
    pub broken: Option<FaultReport>,
    /// What follows from the static analysis; nothing where it cannot be run.
    pub verdict: Option<Verdict>,
    /// The tools' full names.
    pub tools: Vec<ToolName>,
    /// What the manifest lets it reach, in words.
    pub network: Vec<String>,
    /// Hosts granted beyond the manifest.
    pub grants: Vec<HostGrant>,
    /// Connections that are no HTTP and that it asks for.
    pub streams: Vec<String>,
    /// Of these, those that were granted.
    pub granted_streams: Vec<StreamGrant>,
    /// Services whose credentials it may use.
    pub credentials: Vec<String>,
    /// The service that it integrates, and what a person fills in to connect it. Untrusted text.
    pub integration: Option<Integration>,
    /// Packages that it requires beside itself, each with its version.
    pub requirements: Vec<String>,
    /// Non-secret configuration.
    pub settings: BTreeMap<String, String>,
    /// Who installed it.
    pub installed_by: String,
    /// When.
    pub installed_at: Timestamp,
}

/// A publisher whose signature this tenant trusts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PublisherView {
    /// SHA-256 of the public key, in hexadecimal.
    pub fingerprint: String,
    /// The name that the person who trusted it gave it.
    pub name: String,
    /// The skills whose name is pinned to this key.
    pub skills: Vec<SkillName>,
    /// When it was trusted.
    pub added_at: Timestamp,
    /// When that was taken back.
    pub revoked_at: Option<Timestamp>,
}
