//! The gateway as a whole: the parts it stands on, and the router over them.

use crate::admission::{Rule, admit};
use crate::auth::Authenticator;
use crate::config::{GatewayConfig, RateLimits};
use crate::extract::BodyLimit;
use crate::limit::Limits;
use crate::metrics::Metrics;
use crate::operator::Prover;
use crate::origin::OriginRule;
use crate::passes::{Passes, Queries};
use crate::readiness::Readiness;
use crate::refusals::Refusals;
use crate::reload::Reload;
use crate::routes::{self, Size};
use crate::shares::Shares;
use crate::watchers::Watchers;
use crate::work::Work;
use crate::{OperatorToken, frame, openapi};
use axum::Router;
use axum::middleware::from_fn_with_state;
use bytes::Bytes;
use parking_lot::Mutex;
use sophon_audit::AuditLog;
use sophon_executor::Executor;
use sophon_store::Store;
use sophon_types::{Clock, Entropy};
use sophon_vault::Vault;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What a gateway stands on.
pub struct GatewayParts {
    /// Runs the calls.
    pub executor: Executor,
    /// Holds the keys.
    pub store: Store,
    /// Holds the credentials.
    pub vault: Vault,
    /// Records.
    pub audit: AuditLog,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The section `[gateway]`.
    pub config: GatewayConfig,
    /// The section `[rate_limit]`.
    pub rate_limits: RateLimits,
    /// Reads the configuration again, where that can be done.
    pub reload: Option<Arc<dyn Reload>>,
    /// The token of this run.
    pub operator: OperatorToken,
    /// Where the gateway listens, if it does; names it besides `allowed_hosts`.
    pub listen: Option<SocketAddr>,
}

impl fmt::Debug for GatewayParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayParts").field("config", &self.config).finish_non_exhaustive()
    }
}

/// The gateway. Cheap to clone; all clones are the same gateway.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

struct Inner {
    executor: Executor,
    store: Store,
    vault: Vault,
    audit: AuditLog,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    config: GatewayConfig,
    authenticator: Authenticator,
    limits: Arc<Limits>,
    reload: Option<Arc<dyn Reload>>,
    refusals: Refusals,
    origins: OriginRule,
    metrics: Metrics,
    prover: Prover,
    calls: Shares,
    requests: Shares,
    bodies: Shares,
    packages: Shares,
    audit_passes: Passes,
    audit_queries: Queries,
    work: Work,
    watchers: Watchers,
    halt: CancellationToken,
    openapi: Mutex<Option<Bytes>>,
    readiness: Readiness,
}

impl Gateway {
    /// A gateway over its parts.
    #[must_use]
    pub fn new(parts: GatewayParts) -> Self {
        let GatewayParts {
            executor,
            store,
            vault,
            audit,
            clock,
            entropy,
            config,
            rate_limits,
            reload,
            operator,
            listen,
        } = parts;
        let limits = Arc::new(Limits::new(&rate_limits));
        executor.bound_destinations(Arc::clone(&limits) as Arc<_>);
        executor.bound_tools(Arc::clone(&limits) as Arc<_>);
        Self(Arc::new(Inner {
            authenticator: Authenticator::new(store.clone(), &operator),
            limits,
            reload,
            refusals: Refusals::new(audit.clone()),
            origins: OriginRule::new(
                &config.allowed_hosts,
                &config.allowed_origins,
                listen.map(|address| address.ip()),
            ),
            metrics: Metrics::new(),
            calls: Shares::of(config.max_concurrent_calls.get()),
            requests: Shares::of(config.requests()),
            bodies: Shares::of(config.body_memory()),
            packages: Shares::of(config.body_memory()),
            prover: operator.prover(),
            audit_passes: Passes::default(),
            audit_queries: Queries::new(),
            work: Work::new(),
            watchers: Watchers::new(config.max_event_streams_per_user.get()),
            halt: CancellationToken::new(),
            openapi: Mutex::new(None),
            readiness: Readiness::default(),
            executor,
            store,
            vault,
            audit,
            clock,
            entropy,
            config,
        }))
    }

    /// All routes. A request that comes through no listener is the command line's, in this process.
    pub fn router(&self) -> Router {
        let mut router = Router::new();
        for route in routes::table() {
            let body_limit = BodyLimit(match route.size {
                Size::Usual => self.0.config.max_body_bytes.get(),
                Size::Package => self.0.config.largest_body(),
            });
            let (method, path) = (route.verb.as_str(), route.path);
            let rule = Rule { method, path, access: route.access, hurry: route.hurry, pace: route.pace, body_limit };
            let handler = route.handler.route_layer(from_fn_with_state((self.clone(), rule), admit));
            router = router.route(route.path, handler);
        }
        router
            .fallback(frame::no_route)
            .method_not_allowed_fallback(frame::no_method)
            .layer(from_fn_with_state(self.clone(), frame::frame))
            .with_state(self.clone())
    }

    /// The document at `/openapi.json`.
    #[must_use]
    pub fn openapi(&self) -> Bytes {
        let mut made = self.0.openapi.lock();
        made.get_or_insert_with(|| openapi::document(&routes::table())).clone()
    }

    pub(crate) fn executor(&self) -> &Executor {
        &self.0.executor
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }

    pub(crate) fn vault(&self) -> &Vault {
        &self.0.vault
    }

    pub(crate) fn audit(&self) -> &AuditLog {
        &self.0.audit
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    pub(crate) fn entropy(&self) -> &dyn Entropy {
        &*self.0.entropy
    }

    pub(crate) fn config(&self) -> &GatewayConfig {
        &self.0.config
    }

    pub(crate) fn authenticator(&self) -> &Authenticator {
        &self.0.authenticator
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    pub(crate) fn reload_source(&self) -> Option<Arc<dyn Reload>> {
        self.0.reload.clone()
    }

    pub(crate) fn refusals(&self) -> &Refusals {
        &self.0.refusals
    }

    pub(crate) fn origins(&self) -> &OriginRule {
        &self.0.origins
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Calls that clients wait for.
    pub(crate) fn calls(&self) -> &Shares {
        &self.0.calls
    }

    /// Requests of known callers that are not answered to the end.
    pub(crate) fn requests(&self) -> &Shares {
        &self.0.requests
    }

    /// Bytes of packages that are installed or wait to be.
    pub(crate) fn packages(&self) -> &Shares {
        &self.0.packages
    }

    /// Bytes of bodies that are being read.
    pub(crate) fn bodies(&self) -> &Shares {
        &self.0.bodies
    }

    pub(crate) fn prover(&self) -> &Prover {
        &self.0.prover
    }

    /// Passes over the whole audit log.
    pub(crate) fn audit_passes(&self) -> &Passes {
        &self.0.audit_passes
    }

    /// Queries of the audit log.
    pub(crate) fn audit_queries(&self) -> &Queries {
        &self.0.audit_queries
    }

    /// What keeps a processor busy for a while.
    pub(crate) fn work(&self) -> &Work {
        &self.0.work
    }

    pub(crate) fn last_readiness(&self) -> &Readiness {
        &self.0.readiness
    }

    /// From now on the gateway says that it is not ready.
    pub(crate) fn stop(&self) {
        self.0.halt.cancel();
    }

    /// Completes when the gateway stops.
    pub(crate) fn halted(&self) -> impl Future<Output = ()> + Send + use<> {
        self.0.halt.clone().cancelled_owned()
    }

    /// Streams of events that are open.
    pub(crate) fn watchers(&self) -> &Watchers {
        &self.0.watchers
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.0.halt.is_cancelled()
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gateway")
    }
}
