//! Reading the configuration again while the gateway runs: the limits and what asks a person change at once, everything else says that it waits
//! for the next start.

use crate::config::RateLimits;
use crate::{Gateway, GatewayError};
use sophon_approval::Policy;
use sophon_audit::{Action, AuditError, Outcome, Record};
use sophon_types::{CorrelationId, Fault, FaultKind, FaultReport, Principal, Stage};
use std::fmt;

/// Reads the configuration again. The command line knows where it stands.
pub trait Reload: Send + Sync {
    /// The configuration as it is now.
    ///
    /// # Errors
    /// What is wrong with it; what is in force stays then.
    fn reload(&self) -> Result<Reloaded, FaultReport>;
}

/// A configuration that was read again.
#[derive(Debug, Clone)]
pub struct Reloaded {
    /// `[rate_limit]`.
    pub rate_limits: RateLimits,
    /// `[approval]`.
    pub policy: Policy,
    /// The keys that have changed and hold from now on.
    pub applied: Vec<String>,
    /// The keys that have changed and hold from the next start on.
    pub needs_restart: Vec<String>,
}

/// Why the configuration was not read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReloadError(FaultReport);

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for ReloadError {}

impl Fault for ReloadError {
    fn stage(&self) -> Stage {
        self.0.stage
    }

    fn kind(&self) -> FaultKind {
        self.0.kind
    }

    fn code(&self) -> &'static str {
        match self.0.kind {
            FaultKind::Unavailable => "audit_unavailable",
            FaultKind::Internal => "internal",
            _ => "invalid_configuration",
        }
    }

    fn hint(&self) -> Option<String> {
        self.0.hint.clone()
    }
}

impl From<AuditError> for ReloadError {
    fn from(error: AuditError) -> Self {
        Self(FaultReport::of(&error))
    }
}

impl Gateway {
    /// Reads the configuration again, for `by` where somebody asked (else a signal did), and records it. What is wrong
    /// with it changes nothing.
    ///
    /// # Errors
    /// [`ReloadError`].
    pub async fn reload(&self, by: Option<(&Principal, CorrelationId)>) -> Result<Reloaded, ReloadError> {
        let record = |outcome| {
            let record = Record::new(Action::ConfigReload, outcome);
            by.map_or(record.clone(), |(principal, correlation)| record.principal(principal).correlation(correlation))
        };
        let Some(source) = self.reload_source() else {
            let none = GatewayError::Broken { detail: "nothing can be read again here".into() };
            return Err(ReloadError(FaultReport::of(&none)));
        };
        let read = tokio::task::spawn_blocking(move || source.reload()).await;
        let read =
            read.map_err(|panic| ReloadError(FaultReport::of(&GatewayError::Broken { detail: panic.to_string() })))?;
        match read {
            Ok(reloaded) => {
                let told = record(Outcome::Ok)
                    .detail("applied", reloaded.applied.clone())
                    .detail("needs_restart", reloaded.needs_restart.clone());
                self.audit().append(told).await?;
                self.limits().reload(&reloaded.rate_limits);
                self.executor().follow_policy(reloaded.policy.clone());
                tracing::info!(applied = ?reloaded.applied, needs_restart = ?reloaded.needs_restart, "the configuration was read again");
                Ok(reloaded)
            }
            Err(report) => {
                self.audit()
                    .append(record(Outcome::failed(report.code.clone())).detail("message", report.message.clone()))
                    .await?;
                tracing::error!(
                    message = report.message,
                    "the configuration cannot be read again; what was in force stays"
                );
                Err(ReloadError(report))
            }
        }
    }
}
