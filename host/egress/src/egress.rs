//! The one instance of egress in a process.

use crate::EgressLimits;
use crate::address::OwnListeners;
use crate::budget::{Budget, DestinationBudget};
use crate::dial::Dial;
use crate::dispatch::Wire;
use crate::pool::Pool;
use crate::resolve::Resolve;
use crate::scan::Scanner;
use crate::session::{CallScope, EgressSession};
use crate::slots::{Shares, Slots};
use crate::tls::{Roots, TlsClients};
use crate::transport::ProviderTransport;
use sophon_audit::AuditLog;
use sophon_types::{Clock, Fault, FaultKind, Stage};
use sophon_vault::{Transport, Vault};
use std::fmt;
use std::sync::Arc;

/// What egress is set up with.
pub struct EgressConfig {
    /// The authorities that certificates may come from.
    pub roots: Roots,
    /// Every bound.
    pub limits: EgressLimits,
    /// The addresses that this host listens on.
    pub own_listeners: OwnListeners,
    /// For the validity of certificates.
    pub clock: Arc<dyn Clock>,
}

/// The only way out. Cheap to clone.
#[derive(Clone)]
pub struct Egress {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) wire: Arc<Wire>,
    pub(crate) vault: Vault,
    pub(crate) audit: AuditLog,
    pub(crate) scanner: Scanner,
    pub(crate) budget: Budget,
}

impl Egress {
    /// Sets egress up. Reads no environment, so no proxy variable has an effect.
    ///
    /// # Errors
    /// [`SetupError`] where an extra root certificate cannot be read.
    pub fn new(
        config: EgressConfig,
        vault: Vault,
        audit: AuditLog,
        resolver: Arc<dyn Resolve>,
        dialer: Arc<dyn Dial>,
    ) -> Result<Self, SetupError> {
        let EgressConfig { roots, limits, own_listeners: own, clock } = config;
        let tls = TlsClients::new(&roots, clock, limits.tls_stores).map_err(|error| SetupError(error.to_string()))?;
        let wire = Arc::new(Wire {
            own,
            resolver,
            dialer,
            tls,
            pool: Pool::new(limits.clone()),
            slots: Slots::new(&limits),
            lookups: Shares::new(limits.lookups_per_tenant),
            limits,
        });
        Ok(Self { inner: Arc::new(Inner { wire, vault, audit, scanner: Scanner::new(), budget: Budget::default() }) })
    }

    /// From now on requests of skills are counted by their destination. Once.
    pub fn bound_destinations(&self, budget: Arc<dyn DestinationBudget>) {
        self.inner.budget.plug(budget);
    }

    /// The way out for the vault: to authorisation servers, over the same checks and the same wire.
    #[must_use]
    pub fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(ProviderTransport::over(Arc::clone(&self.inner.wire)))
    }

    pub(crate) fn wire(&self) -> &Wire {
        &self.inner.wire
    }

    /// Egress for one call.
    #[must_use]
    pub fn session(&self, scope: CallScope) -> EgressSession {
        EgressSession::new(Arc::clone(&self.inner), scope)
    }
}

impl fmt::Debug for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Egress").field("limits", &self.inner.wire.limits).finish_non_exhaustive()
    }
}

/// TLS could not be set up: an extra root certificate is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("egress: the certificates of the extra authorities cannot be used: {0}")]
pub struct SetupError(String);

impl Fault for SetupError {
    fn stage(&self) -> Stage {
        Stage::Config
    }
    fn kind(&self) -> FaultKind {
        FaultKind::Invalid
    }
    fn code(&self) -> &'static str {
        "invalid_root_certificate"
    }
    fn hint(&self) -> Option<String> {
        Some("give each authority's own certificate, in DER, as sophon.toml names it".into())
    }
}
