//! What became of a call, in the one form that is stored, shown and recorded.

use crate::api::{CallOutput, ErrorView};
use crate::{CallError, CallStatus};
use serde::{Deserialize, Serialize};
use sophon_guard::{KnownSecrets, RawOutput, Source, sanitise};
use sophon_sandbox::RunFailure;
use sophon_types::{CallId, Entropy, Fault, FaultKind, Stage, ToolName};
use sophon_vault::Vault;

/// The end of a call, everything in it scanned and wrapped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ending {
    pub(crate) output: Option<CallOutput>,
    pub(crate) error: Option<ErrorView>,
}

/// What the vault seals for: results of calls.
const PURPOSE: &str = "call-result";

impl Ending {
    /// Scans and wraps what a run gave: nothing of it leaves in another way.
    pub(crate) fn of(
        tool: &ToolName,
        output: Result<RawOutput, RunFailure>,
        secrets: &KnownSecrets,
        entropy: &dyn Entropy,
    ) -> Self {
        match output {
            Ok(raw) => Self { output: Some(CallOutput::of(&sanitise(raw, secrets, entropy))), error: None },
            Err(failure) => {
                if let RunFailure::Host { cause } = &failure {
                    tracing::error!(%tool, cause, "the host could not run the skill");
                }
                let wrapped = sanitise(RawOutput::new(Source::error(tool), failure.to_string()), secrets, entropy);
                let error = ErrorView {
                    stage: failure.stage(),
                    code: failure.code().to_owned(),
                    message: wrapped.content().to_owned(),
                    hint: failure.hint(),
                };
                // The findings stay with the error's text.
                Self { output: None, error: Some(error) }
            }
        }
    }

    /// The end of a call that a crash or a shutdown cut short.
    pub(crate) fn unknown() -> Self {
        let error = ErrorView {
            stage: Stage::Sandbox,
            code: "unknown_outcome".into(),
            message: "the host stopped while the call ran; whether it had its effect is not known".into(),
            hint: Some("look at the other side before you call again, with a new idempotency key".into()),
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
        let plain = serde_json::to_vec(self).map_err(|error| CallError::Vault(unreadable(&error)))?;
        Ok(vault.seal(PURPOSE, call.as_bytes(), &plain)?)
    }

    pub(crate) fn unseal(vault: &Vault, call: CallId, sealed: &[u8]) -> Result<Self, CallError> {
        let plain = vault.unseal(PURPOSE, call.as_bytes(), sealed)?;
        serde_json::from_slice(&plain).map_err(|error| CallError::Vault(unreadable(&error)))
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

/// The audit's word for a refusal.
pub(crate) fn refusal(error: &CallError) -> sophon_audit::Outcome {
    match error.kind() {
        FaultKind::NeedsApproval | FaultKind::Denied => sophon_audit::Outcome::Denied { code: error.code().into() },
        _ => sophon_audit::Outcome::Failed { code: error.code().into() },
    }
}
