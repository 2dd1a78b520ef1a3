//! Why a call or an installation did not happen. What happened and failed is not an error but an outcome.

use crate::schedules::ScheduleError;
use sophon_approval::DeskError;
use sophon_audit::AuditError;
use sophon_egress::HttpError;
use sophon_sandbox::SandboxError;
use sophon_skill::{EnvelopeError, PackageError, RequirementError, TermsError, VerifyError};
use sophon_store::StoreError;
use sophon_types::{Fault, FaultKind, JsonError, NameError, Risk, ServiceName, SkillName, Stage, ToolName};
use sophon_vault::VaultError;

/// Why a call was refused before anything of it ran.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The text is no tool's full name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// No enabled skill of the tenant has the tool.
    #[error("{tool}: there is no such tool{}", .reason.as_ref().map(|r| format!(" ({r})")).unwrap_or_default())]
    UnknownTool {
        /// The tool.
        tool: ToolName,
        /// What stands in the way, where something does.
        reason: Option<String>,
    },
    /// There is no such call of this caller.
    #[error("there is no such call, or it is not yours, or it is older than 24 hours")]
    UnknownCall,
    /// The arguments do not fit the tool's schema.
    #[error("{tool}: the arguments do not fit the tool's schema: {}", .violations.join("; "))]
    Arguments {
        /// The tool.
        tool: ToolName,
        /// Each violation, with its place.
        violations: Vec<String>,
    },
    /// An argument has the name of a field that the tool gets from a connection, and that no call may change.
    #[error("{tool}: the argument {argument:?} is a field of the connection of {service}, which no call changes")]
    ArgumentIsConnected {
        /// The tool.
        tool: ToolName,
        /// The argument.
        argument: String,
        /// The service.
        service: ServiceName,
    },
    /// The idempotency key was used for another call.
    #[error("the idempotency key was used before, with another tool or other arguments")]
    IdempotencyMismatch,
    /// The idempotency key is empty, too long or holds control characters.
    #[error("an idempotency key is 1 to 255 printable characters")]
    IdempotencyKey,
    /// A rule of the operator forbids the call.
    #[error("{message}")]
    PolicyDenied {
        /// Which tool, and why.
        message: String,
    },
    /// There is no such plan of this caller.
    #[error("there is no such plan, or it is not yours, or it is older than 24 hours")]
    UnknownPlan,
    /// The plan is not one.
    #[error("{message}")]
    PlanShape {
        /// What is wrong with it.
        message: String,
    },
    /// A step of the plan was refused.
    #[error("step {name}: {cause}")]
    Step {
        /// Its name.
        name: String,
        /// Why.
        cause: Box<Self>,
    },
    /// What a step refers to is not there.
    #[error("step {step}: {message}")]
    Reference {
        /// The step's name.
        step: String,
        /// What is missing.
        message: String,
    },
    /// There is no such session of this key.
    #[error("there is no such session of this key, or it has ended")]
    UnknownSession,
    /// A person cannot be asked, or a decision not be taken.
    #[error(transparent)]
    Desk(#[from] DeskError),
    /// The edited arguments would be a graver call than the one that was asked about.
    #[error("with these arguments the call is of risk {now}, and it was asked about as {asked}")]
    Graver {
        /// The risk with the edited arguments.
        now: Risk,
        /// The risk that was asked about.
        asked: Risk,
    },
    /// The arguments have no canonical form.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// As many calls run and wait as the host takes.
    #[error("the host runs as many calls as it can")]
    OverCapacity,
    /// The host is shutting down.
    #[error("the host is shutting down")]
    ShuttingDown,
    /// The skill was updated or installed anew while the call waited for its turn.
    #[error("{tool}: the skill has changed since the call was assessed; nothing has run")]
    SkillChanged {
        /// The tool.
        tool: ToolName,
    },
    /// Whoever called is gone; nothing has run.
    #[error("nobody waits for the call any more; nothing has run")]
    Abandoned,
    /// The host broke while it handled the call.
    #[error("the call's task ended without a word")]
    Lost,
    /// The audit log cannot be written, so nothing may happen.
    #[error("the call cannot be recorded, so it is refused: {0}")]
    Audit(#[from] AuditError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A schedule was not made.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// The skill's component could be compiled when it was installed and cannot be mapped now; nothing has run.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

impl Fault for CallError {
    fn stage(&self) -> Stage {
        match self {
            Self::Name(_) | Self::UnknownTool { .. } | Self::UnknownCall | Self::UnknownPlan | Self::UnknownSession => {
                Stage::Resolve
            }
            Self::Arguments { .. }
            | Self::ArgumentIsConnected { .. }
            | Self::IdempotencyMismatch
            | Self::IdempotencyKey => Stage::Validate,
            Self::PlanShape { .. } | Self::Reference { .. } => Stage::Validate,
            Self::Step { cause, .. } => cause.stage(),
            Self::PolicyDenied { .. } | Self::Graver { .. } => Stage::Gate,
            Self::Desk(error) => error.stage(),
            Self::Json(error) => error.stage(),
            Self::OverCapacity | Self::ShuttingDown | Self::SkillChanged { .. } | Self::Abandoned | Self::Lost => {
                Stage::Sandbox
            }
            Self::Audit(_) => Stage::Audit,
            Self::Store(error) => error.stage(),
            Self::Vault(error) => error.stage(),
            Self::Schedule(error) => error.stage(),
            Self::Sandbox(error) => error.stage(),
        }
    }

    fn kind(&self) -> FaultKind {
        match self {
            Self::Name(_) | Self::IdempotencyKey => FaultKind::Invalid,
            Self::UnknownTool { .. } | Self::UnknownCall | Self::UnknownPlan | Self::UnknownSession => {
                FaultKind::NotFound
            }
            Self::Arguments { .. } | Self::ArgumentIsConnected { .. } | Self::Graver { .. } => FaultKind::Unprocessable,
            Self::IdempotencyMismatch => FaultKind::Conflict,
            Self::Lost => FaultKind::Internal,
            Self::PlanShape { .. } | Self::Reference { .. } => FaultKind::Unprocessable,
            Self::Step { cause, .. } => cause.kind(),
            Self::PolicyDenied { .. } => FaultKind::Denied,
            Self::Desk(error) => error.kind(),
            Self::Json(error) => error.kind(),
            Self::OverCapacity | Self::ShuttingDown | Self::SkillChanged { .. } | Self::Abandoned | Self::Audit(_) => {
                FaultKind::Unavailable
            }
            Self::Store(error) => error.kind(),
            Self::Vault(error) => error.kind(),
            Self::Schedule(error) => error.kind(),
            Self::Sandbox(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Name(_) => "invalid_name",
            Self::UnknownTool { .. } => "unknown_tool",
            Self::UnknownCall => "unknown_call",
            Self::Arguments { .. } => "invalid_arguments",
            Self::ArgumentIsConnected { .. } => "argument_is_connected",
            Self::IdempotencyMismatch => "idempotency_key_reused",
            Self::IdempotencyKey => "invalid_idempotency_key",
            Self::UnknownPlan => "unknown_plan",
            Self::PlanShape { .. } => "invalid_plan",
            Self::Reference { .. } => "reference_unresolved",
            Self::Step { cause, .. } => cause.code(),
            Self::PolicyDenied { .. } => "policy_denied",
            Self::UnknownSession => "unknown_session",
            Self::Graver { .. } => "graver_than_asked",
            Self::Desk(error) => error.code(),
            Self::Json(error) => error.code(),
            Self::OverCapacity => "over_capacity",
            Self::ShuttingDown => "shutting_down",
            Self::SkillChanged { .. } => "skill_changed",
            Self::Abandoned => "abandoned",
            Self::Lost => "internal",
            Self::Audit(_) => "audit_unavailable",
            Self::Store(error) => error.code(),
            Self::Vault(error) => error.code(),
            Self::Schedule(error) => error.code(),
            Self::Sandbox(error) => error.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Name(_) | Self::UnknownTool { .. } => {
                Some("GET /v1/tools (or `sophon list`) names the tools you may use".into())
            }
            Self::UnknownCall => Some("use the call_id of the answer to your own call".into()),
            Self::Arguments { .. } => Some("GET /v1/tools gives the schema of each tool's arguments".into()),
            Self::ArgumentIsConnected { argument, service, .. } => Some(format!(
                "leave {argument} out: the tool gets it from the connection, which a person changes (sophon credential set {service})"
            )),
            Self::IdempotencyMismatch => Some("use a new idempotency key for each different call".into()),
            Self::IdempotencyKey => Some("a UUID makes a good key".into()),
            Self::UnknownPlan => Some("use the plan_id of the answer to your own plan".into()),
            Self::PlanShape { .. } => Some("docs/manual/approvals.md shows a plan with references".into()),
            Self::Reference { .. } => Some("look at the earlier step's result, and name a place that is there".into()),
            Self::Step { cause, .. } => cause.hint(),
            Self::PolicyDenied { .. } => {
                Some("the rules are in [approval] of sophon.toml; the operator can change them".into())
            }
            Self::UnknownSession => {
                Some("POST /v1/sessions begins a session; it is bound to the key that began it".into())
            }
            Self::Graver { .. } => Some("reject it, and let the agent call with other arguments".into()),
            Self::Desk(error) => error.hint(),
            Self::Json(error) => error.hint(),
            Self::OverCapacity | Self::ShuttingDown => Some("try again after the time in Retry-After".into()),
            Self::SkillChanged { .. } => {
                Some("read the tool's schema again (GET /v1/tools), then call it again".into())
            }
            Self::Abandoned | Self::Lost => None,
            Self::Audit(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Vault(error) => error.hint(),
            Self::Schedule(error) => error.hint(),
            Self::Sandbox(error) => error.hint(),
        }
    }
}

/// Why a skill was not installed, changed or removed. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// The archive or its manifest is not acceptable.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// The signature is not trusted, or the analysis rejects the component.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The component cannot be run here.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The signature is not an envelope that this host reads.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// What the person installing set or granted does not fit the skill.
    #[error(transparent)]
    Terms(#[from] TermsError),
    /// An update that goes beyond what was agreed to when the skill was installed.
    #[error("{skill}: the update needs fresh consent: {}", .changes.join("; "))]
    ConsentNeeded {
        /// The skill.
        skill: SkillName,
        /// What it adds or changes.
        changes: Vec<String>,
    },
    /// The skill asks for the network without naming hosts, its source names some, and nobody has chosen among them.
    #[error("{skill}: it asks for the network, and its source names {}; nobody has chosen which of them it may reach", .hosts.join(", "))]
    HostsNotChosen {
        /// The skill.
        skill: SkillName,
        /// The hosts; `*.…` where a part of the name is filled in when it runs.
        hosts: Vec<String>,
    },
    /// What it requires beside itself cannot be installed.
    #[error(transparent)]
    Requirements(#[from] RequirementError),
    /// What it requires could not be fetched.
    #[error("{subject}: the index {index} does not give it: {cause}")]
    Index {
        /// The index's host.
        index: String,
        /// The package and its version.
        subject: String,
        /// Why.
        cause: HttpError,
    },
    /// The tool's schema is not usable.
    #[error("{tool}: the schema of its parameters is not usable: {cause}")]
    Schema {
        /// The tool.
        tool: ToolName,
        /// What is wrong with it.
        cause: String,
    },
    /// As many changes of the tenant's skills and publishers wait as the host takes.
    #[error("other changes of this tenant's skills are not done yet, and there is no room for one more to wait")]
    OverCapacity,
    /// There is no such skill.
    #[error("{0}: there is no such skill in this tenant")]
    UnknownSkill(SkillName),
    /// The public key cannot be read.
    #[error("the public key cannot be used: {0}")]
    PublicKey(String),
    /// There is no such publisher.
    #[error("no publisher of this tenant has the key {0}")]
    UnknownPublisher(String),
    /// The audit log cannot be written, so nothing may happen.
    #[error("the change cannot be recorded, so it is refused: {0}")]
    Audit(#[from] AuditError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The host failed.
    #[error("the host failed: {0}")]
    Host(String),
}

impl Fault for InstallError {
    fn stage(&self) -> Stage {
        match self {
            Self::Package(error) => error.stage(),
            Self::Verify(error) => error.stage(),
            Self::Sandbox(error) => error.stage(),
            Self::Envelope(error) => error.stage(),
            Self::Terms(error) => error.stage(),
            Self::ConsentNeeded { .. } | Self::HostsNotChosen { .. } => Stage::Gate,
            Self::Requirements(error) => error.stage(),
            Self::Index { .. } => Stage::Egress,
            Self::Schema { .. } => Stage::Manifest,
            Self::UnknownSkill(_) | Self::UnknownPublisher(_) => Stage::Resolve,
            Self::PublicKey(_) => Stage::Signature,
            Self::OverCapacity => Stage::RateLimit,
            Self::Audit(_) => Stage::Audit,
            Self::Store(error) => error.stage(),
            Self::Host(_) => Stage::Sandbox,
        }
    }

    fn kind(&self) -> FaultKind {
        match self {
            Self::Package(error) => error.kind(),
            Self::Verify(error) => error.kind(),
            Self::Sandbox(error) => error.kind(),
            Self::Envelope(error) => error.kind(),
            Self::Terms(error) => error.kind(),
            Self::ConsentNeeded { .. } | Self::HostsNotChosen { .. } => FaultKind::NeedsApproval,
            Self::Requirements(error) => error.kind(),
            Self::Index { cause: HttpError::Denied(_), .. } => FaultKind::Denied,
            Self::Index { .. } => FaultKind::Upstream,
            Self::Schema { .. } => FaultKind::Unprocessable,
            Self::PublicKey(_) => FaultKind::Invalid,
            Self::UnknownSkill(_) | Self::UnknownPublisher(_) => FaultKind::NotFound,
            Self::Audit(_) | Self::OverCapacity => FaultKind::Unavailable,
            Self::Store(error) => error.kind(),
            Self::Host(_) => FaultKind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Package(error) => error.code(),
            Self::Verify(error) => error.code(),
            Self::Sandbox(error) => error.code(),
            Self::Envelope(error) => error.code(),
            Self::Terms(error) => error.code(),
            Self::ConsentNeeded { .. } => "consent_required",
            Self::HostsNotChosen { .. } => "hosts_not_chosen",
            Self::Requirements(error) => error.code(),
            Self::Index { cause: HttpError::Denied(_), .. } => "index_refused",
            Self::Index { .. } => "index_unreachable",
            Self::Schema { .. } => "invalid_schema",
            Self::UnknownSkill(_) => "unknown_skill",
            Self::PublicKey(_) => "invalid_public_key",
            Self::OverCapacity => "over_capacity",
            Self::UnknownPublisher(_) => "unknown_publisher",
            Self::Audit(_) => "audit_unavailable",
            Self::Store(error) => error.code(),
            Self::Host(_) => "internal",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Package(error) => error.hint(),
            Self::Verify(error) => error.hint(),
            Self::Sandbox(error) => error.hint(),
            Self::Envelope(error) => error.hint(),
            Self::Terms(error) => error.hint(),
            Self::ConsentNeeded { .. } => Some(
                "read the changes; if you agree, install it with --accept-changes (\"accept_changes\": true)".into(),
            ),
            Self::HostsNotChosen { hosts, .. } => Some(host_flags(hosts)),
            Self::Requirements(error) => error.hint(),
            Self::Index { cause: cause @ HttpError::Denied(_), .. } => cause.hint(),
            Self::Index { .. } => {
                Some("see that [containers] python_index is right and answers, then install it again".into())
            }
            Self::Schema { .. } => {
                Some("write the tool's \"parameters\" as a JSON Schema (draft 2020-12) of an object".into())
            }
            Self::OverCapacity => Some("try again after the time in Retry-After".into()),
            Self::UnknownSkill(_) => Some("`sophon list` names the installed skills".into()),
            Self::PublicKey(_) => Some("give the line that `sophon key identity` printed, or the .pub file".into()),
            Self::UnknownPublisher(_) => Some("GET /v1/publishers lists them".into()),
            Self::Audit(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Host(_) => None,
        }
    }
}

/// The flags that grant the hosts, or none.
fn host_flags(hosts: &[String]) -> String {
    let flags = hosts.iter().map(|host| match host.strip_prefix("*.") {
        Some(family) => format!("--allow-host YOURS.{family}"),
        None => format!("--allow-host {host}"),
    });
    let flags: Vec<_> = flags.collect();
    format!(
        "install it with those that you want of {} (\"allow_hosts\"), or with --no-hosts (\"hosts_chosen\": true)",
        flags.join(" ")
    )
}
