//! The effect gate: every request of a running skill is measured against the risk that was approved for the call.

use async_trait::async_trait;
use sophon_approval::Gate;
use sophon_audit::{Action, AuditLog, Outcome, Record};
use sophon_egress::{EffectDenied, EffectGate, EffectRequest};
use sophon_types::Risk;

/// Plugged into egress for one call.
pub(crate) struct CallGate {
    pub(crate) audit: AuditLog,
    /// A record with the call's identity, to be completed for each effect.
    pub(crate) record: Record,
    pub(crate) gate: Gate,
    pub(crate) approved: Risk,
}

#[async_trait]
impl EffectGate for CallGate {
    async fn permit(&self, effect: &EffectRequest) -> Result<(), EffectDenied> {
        if !self.gate.admits_effect(self.approved, effect.risk) {
            return Err(EffectDenied {
                code: "approval_required",
                message: format!(
                    "{} is of risk {}, the call was approved for {}, and above that a person has to approve it",
                    effect.method, effect.risk, self.approved
                ),
                hint: Some(
                    "declare the tool's riskLevel (or its effects) so that the call is assessed as what it does".into(),
                ),
            });
        }
        if effect.risk < Risk::Medium {
            return Ok(());
        }
        // A write waits for its own record: what happened must be known even if the host dies while it is on its way.
        let record = self
            .record
            .clone()
            .then(Action::EgressRequest, Outcome::Intent)
            .risk(effect.risk)
            .detail("method", effect.method.as_str())
            .detail("url", self.audit.redactor().text(&effect.url).value().clone())
            .detail("credential", effect.credential.as_ref().map(ToString::to_string));
        match self.audit.append(record).await {
            Ok(_receipt) => Ok(()),
            Err(error) => {
                tracing::error!(%error, "the audit log refused a write-type request");
                Err(EffectDenied {
                    code: "audit_unavailable",
                    message: "the request could not be recorded, so it was not sent".into(),
                    hint: None,
                })
            }
        }
    }
}
