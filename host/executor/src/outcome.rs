//! What became of a call, in the one form that is stored, shown and recorded.

use crate::api::{CallOutput, ErrorView};
use crate::{CallError, CallStatus};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sophon_guard::{Detector, Finding, KnownSecrets, RawOutput, Source};
use sophon_sandbox::RunFailure;
use sophon_types::{CallId, Entropy, Fault, FaultKind, Stage, ToolName};
use sophon_vault::Vault;

/// The end of a call, everything in it scanned and wrapped.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ending {
    pub(crate) output: Option<CallOutput>,
    pub(crate) error: Option<ErrorView>,
}

/// An ending at rest. Only what the vault opened is ever read into it: the vault's seal is the evidence.
#[derive(Serialize, Deserialize)]
struct AtRest {
    content: Option<String>,
    result: Option<Value>,
    findings: Vec<Finding>,
    error: Option<ErrorView>,
}

/// What the vault seals for: results of calls.
const PURPOSE: &str = "call-result";

impl Ending {
    /// Scans and wraps what a run gave: nothing of it leaves in another way. Beside it what was noticed in its text.
    pub(crate) fn of(
        tool: &ToolName,
        output: Result<RawOutput, RunFailure>,
        secrets: &KnownSecrets,
        detector: &Detector,
        entropy: &dyn Entropy,
    ) -> (Self, Vec<Finding>) {
        match output {
            Ok(raw) => {
                let clean = detector.sanitise(raw, secrets, entropy);
                let ending = Self { output: Some(CallOutput::of(&clean)), error: None };
                (ending, clean.findings().to_vec())
            }
            Err(failure) => {
                if let RunFailure::Host { cause } = &failure {
                    tracing::error!(%tool, cause, "the host could not run the skill");
                }
                let raw = RawOutput::new(Source::error(tool), failure.to_string());
                let wrapped = detector.sanitise(raw, secrets, entropy);
                let error = ErrorView {
                    stage: failure.stage(),
                    kind: failure.kind(),
                    code: failure.code().to_owned(),
                    message: wrapped.content().to_owned(),
                    hint: failure.hint(),
                };
                (Self { output: None, error: Some(error) }, wrapped.findings().to_vec())
            }
        }
    }

    /// The end of a call that a crash or a shutdown cut short.
    pub(crate) fn unknown() -> Self {
        let error = ErrorView {
            stage: Stage::Sandbox,
            kind: FaultKind::Internal,
            code: "unknown_outcome".into(),
            message: "the host stopped while the call ran; whether it had its effect is not known".into(),
            hint: Some("look at the other side before you call again, with a new idempotency key".into()),
        };
        Self { output: None, error: Some(error) }
    }

    /// The end of a call whose outcome is on record, but whose result was not kept any more.
    pub(crate) fn lost() -> Self {
        let error = ErrorView {
            stage: Stage::Store,
            kind: FaultKind::Internal,
            code: "result_lost".into(),
            message: "the call ended as its status says, but the host stopped before its result was kept".into(),
            hint: Some("look at the other side; calling again would do it again".into()),
        };
        Self { output: None, error: Some(error) }
    }

    pub(crate) fn status(&self) -> CallStatus {
        match &self.error {
            None => CallStatus::Succeeded,
            Some(_) => CallStatus::Failed,
        }
    }

    /// For rest: results may hold what a user told in confidence.
    pub(crate) fn seal(&self, vault: &Vault, call: CallId) -> Result<Vec<u8>, CallError> {
        let output = self.output.clone();
        let (content, result, findings) =
            output.map_or((None, None, Vec::new()), |output| (Some(output.content), output.result, output.findings));
        let at_rest = AtRest { content, result, findings, error: self.error.clone() };
        let plain = serde_json::to_vec(&at_rest).map_err(|error| CallError::Vault(unreadable(&error)))?;
        Ok(vault.seal(PURPOSE, call.as_bytes(), &plain)?)
    }

    pub(crate) fn unseal(vault: &Vault, call: CallId, sealed: &[u8]) -> Result<Self, CallError> {
        let plain = vault.unseal(PURPOSE, call.as_bytes(), sealed)?;
        let at_rest: AtRest = serde_json::from_slice(&plain).map_err(|error| CallError::Vault(unreadable(&error)))?;
        let AtRest { content, result, findings, error } = at_rest;
        Ok(Self { output: content.map(|content| CallOutput { content, result, findings }), error })
    }
}

fn unreadable(error: &serde_json::Error) -> sophon_vault::VaultError {
    tracing::error!(%error, "a call's result cannot be written or read");
    sophon_vault::VaultError::Incomplete("a call's result")
}

/// The audit's word for how a run ended.
pub(crate) fn audit_outcome(ending: &Ending) -> sophon_audit::Outcome {
    match &ending.error {
        None => sophon_audit::Outcome::Ok,
        Some(error) => sophon_audit::Outcome::Failed { code: error.code.clone().into() },
    }
}

/// Why a call did not run that was not refused at once: because it waited for a person, or was a step of a plan.
pub(crate) fn refused(error: &CallError) -> ErrorView {
    ErrorView {
        stage: error.stage(),
        kind: error.kind(),
        code: error.code().to_owned(),
        // The host's own words are for its log.
        message: if error.kind() == FaultKind::Internal { "the host failed".into() } else { error.to_string() },
        hint: error.hint(),
    }
}

/// The audit's word for a refusal.
pub(crate) fn refusal(error: &CallError) -> sophon_audit::Outcome {
    match error.kind() {
        FaultKind::NeedsApproval | FaultKind::Denied => sophon_audit::Outcome::Denied { code: error.code().into() },
        _ => sophon_audit::Outcome::Failed { code: error.code().into() },
    }
}
