//! Compilations: few at one time, one of each tenant, and one for all that wait for the same component.
//!
//! Promises: whoever stops waiting leaves nothing behind, for the places are held by the work and not by who waits for it;
//! a component whose code is in the cache waits for no compiler.
//!
//! Nobody who has a place waits for a turn, so nobody waits for ever: turns are taken first, places last.

use crate::catalogue::Ready;
use futures::FutureExt as _;
use futures::future::Shared;
use parking_lot::Mutex;
use sophon_sandbox::{PreparedSkill, SandboxError, WasmRuntime};
use sophon_types::{Digest, TenantId};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore, oneshot};

/// Packages that are verified and compiled at one time, in all: a compiler may take 2 GiB.
const AT_ONCE: usize = 2;

/// Who compiles, and what.
pub(crate) struct Compiling {
    places: Arc<Semaphore>,
    turns: Mutex<HashMap<TenantId, Arc<tokio::sync::Mutex<()>>>>,
    flights: Mutex<HashMap<Component, Flight>>,
}

/// The right to verify and compile a package; the next one's when it is dropped.
pub(crate) struct Permit {
    _turn: OwnedMutexGuard<()>,
    _place: OwnedSemaphorePermit,
}

/// Whose component, and the digest of its package.
type Component = (TenantId, Digest);

/// A component that is ready to be instantiated, or why it is not.
type Outcome = Result<Arc<PreparedSkill>, SandboxError>;

/// A compilation that is under way or waits for its place, and what comes of it for all that wait.
type Flight = Shared<oneshot::Receiver<Outcome>>;

impl Default for Compiling {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(AT_ONCE)), turns: Mutex::default(), flights: Mutex::default() }
    }
}

impl Compiling {
    /// A permit for this tenant. To be dropped by the thread that does the work, when it has.
    pub(crate) async fn permit(&self, tenant: &TenantId) -> Permit {
        let turn = Arc::clone(self.turns.lock().entry(tenant.clone()).or_default());
        let turn = turn.lock_owned().await;
        let place = Arc::clone(&self.places).acquire_owned().await.expect("the places are never closed");
        Permit { _turn: turn, _place: place }
    }

    /// The component of a skill whose code is not in the cache. Whoever asks while it is compiled waits for the same
    /// compilation, and gets the same failure.
    pub(crate) async fn component(self: &Arc<Self>, runtime: &WasmRuntime, ready: &Arc<Ready>) -> Outcome {
        let package = ready.skill.package().digest();
        let flight = {
            let mut flights = self.flights.lock();
            // A flight is taken off the list when its component is mapped, so one that ended meanwhile is found here.
            if let Some(prepared) = runtime.warm(ready.skill.tenant(), package) {
                return Ok(prepared);
            }
            let component = (ready.skill.tenant().clone(), *package);
            let begin = || self.begin(component.clone(), runtime.clone(), Arc::clone(ready));
            flights.entry(component.clone()).or_insert_with(begin).clone()
        };
        flight.await.unwrap_or_else(|_gone| Err(SandboxError::Engine("the host is shutting down".into())))
    }

    /// A task of its own: who waits may leave, and the others still get their component.
    fn begin(self: &Arc<Self>, component: Component, runtime: WasmRuntime, ready: Arc<Ready>) -> Flight {
        let (tell, told) = oneshot::channel();
        let compiling = Arc::clone(self);
        tokio::spawn(async move {
            let permit = compiling.permit(&component.0).await;
            if compiling.is_abandoned(&component) {
                return;
            }
            let compile = move || {
                let _permit = permit;
                runtime.prepare_warm(ready.skill.tenant(), ready.skill.package())
            };
            let compiled = tokio::task::spawn_blocking(compile).await;
            let compiled = compiled.unwrap_or_else(|error| Err(SandboxError::Engine(error.to_string())));
            compiling.flights.lock().remove(&component);
            if tell.send(compiled).is_err() {
                tracing::debug!("nobody waits for the component any more");
            }
        });
        told.shared()
    }

    /// Whether nobody waits for it any more; then it is off the list, and whoever comes next begins anew.
    fn is_abandoned(&self, component: &Component) -> bool {
        let mut flights = self.flights.lock();
        // One is the list's own.
        let abandoned = flights.get(component).and_then(Shared::strong_count) == Some(1);
        if abandoned {
            flights.remove(component);
        }
        abandoned
    }
}

#[cfg(test)]
mod tests;
