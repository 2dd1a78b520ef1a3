//! What every error of the house can say of itself.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Where in the life of a call, a package or a command something failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Stage {
    /// Reading the configuration.
    Config,
    /// Opening or locking the home folder.
    Home,
    /// Establishing who calls.
    Authn,
    /// Deciding whether the caller may do this at all.
    Authz,
    /// Counting the caller's requests.
    RateLimit,
    /// Finding the skill, tool or call.
    Resolve,
    /// Checking arguments and bodies.
    Validate,
    /// Assessing the risk.
    Assess,
    /// Asking whether a person has to approve.
    Gate,
    /// Running the skill.
    Sandbox,
    /// Letting a request out.
    Egress,
    /// Using a credential.
    Vault,
    /// Scanning and wrapping output.
    Guard,
    /// Writing the audit log.
    Audit,
    /// Reading or writing the database or blobs.
    Store,
    /// Reading a manifest.
    Manifest,
    /// Reading a package.
    Package,
    /// Checking a signature.
    Signature,
    /// Analysing a component.
    Analysis,
    /// Compiling a component.
    Compile,
    /// Building a skill.
    Build,
    /// Trying a skill out.
    Rehearse,
    /// Speaking to the gateway.
    Client,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Config => "config",
            Self::Home => "home",
            Self::Authn => "authn",
            Self::Authz => "authz",
            Self::RateLimit => "rate-limit",
            Self::Resolve => "resolve",
            Self::Validate => "validate",
            Self::Assess => "assess",
            Self::Gate => "gate",
            Self::Sandbox => "sandbox",
            Self::Egress => "egress",
            Self::Vault => "vault",
            Self::Guard => "guard",
            Self::Audit => "audit",
            Self::Store => "store",
            Self::Manifest => "manifest",
            Self::Package => "package",
            Self::Signature => "signature",
            Self::Analysis => "analysis",
            Self::Compile => "compile",
            Self::Build => "build",
            Self::Rehearse => "rehearse",
            Self::Client => "client",
        })
    }
}

/// What kind of failure it is: the edges (HTTP status, exit code) are chosen from this alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FaultKind {
    /// The input is wrong; the same input will fail again.
    Invalid,
    /// The input is well-formed, but its content fails a rule (a schema, an analysis).
    Unprocessable,
    /// Who calls is not known.
    Unauthenticated,
    /// A policy forbids it.
    Denied,
    /// A person would have to approve it.
    NeedsApproval,
    /// A signature or its key is not trusted.
    Untrusted,
    /// There is no such thing (for this caller).
    NotFound,
    /// It contradicts what is there.
    Conflict,
    /// It is larger than allowed.
    TooLarge,
    /// Too many requests.
    RateLimited,
    /// It cannot be done now; later it may.
    Unavailable,
    /// It took too long.
    Timeout,
    /// The other side or the skill failed.
    Upstream,
    /// The host failed; the text is for the log, not for the caller.
    Internal,
}

/// An error that can be shown: `Display` names the subject and what is wrong with it, without a secret.
///
/// For [`FaultKind::Internal`] the text may name files and queries; an edge shows it to the operator's log only.
pub trait Fault: std::error::Error + Send + Sync + 'static {
    /// Where it failed.
    fn stage(&self) -> Stage;
    /// What kind of failure it is.
    fn kind(&self) -> FaultKind;
    /// A stable snake_case code that programs may rely on.
    fn code(&self) -> &'static str;
    /// One line that, followed, mends it.
    fn hint(&self) -> Option<String>;
}

/// A [`Fault`] as data, for an edge that writes JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultReport {
    /// Where it failed.
    pub stage: Stage,
    /// What kind of failure it is.
    pub kind: FaultKind,
    /// The stable code.
    pub code: String,
    /// Subject and cause.
    pub message: String,
    /// One line that, followed, mends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl FaultReport {
    /// What `fault` says of itself.
    #[must_use]
    pub fn of(fault: &dyn Fault) -> Self {
        Self {
            stage: fault.stage(),
            kind: fault.kind(),
            code: fault.code().to_owned(),
            message: fault.to_string(),
            hint: fault.hint(),
        }
    }
}

impl fmt::Display for FaultReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.stage, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}
