//! Where a skill runs: a component in this process or, where the table of tiers says so, in a sandbox; everything else in a
//! sandbox under gVisor.
//!
//! Promise: there is no other way. What a tier is missing for is refused, with the reason; it never runs in another.

use crate::catalogue::Ready;
use crate::run::Run;
use crate::{CallError, Executor};
use sophon_approval::ApprovedCall;
use sophon_audit::Receipt;
use sophon_egress::{Deadline, EgressSession};
use sophon_sandbox::{BoxedComponent, Limits, NativeSkill, PreparedSkill, RunReport, Tier, tier};
use std::sync::Arc;

/// A skill that is ready to run in its tier.
#[derive(Clone)]
pub(crate) enum Prepared {
    /// Mapped.
    Wasm(Arc<PreparedSkill>),
    /// Its sandbox is there, or will be made.
    Native(Arc<NativeSkill>),
    /// The same, for a component.
    Boxed(Arc<BoxedComponent>),
}

impl Prepared {
    pub(crate) fn limits(&self) -> &Limits {
        match self {
            Self::Wasm(skill) => skill.limits(),
            Self::Native(skill) => skill.limits(),
            Self::Boxed(skill) => skill.limits(),
        }
    }
}

impl Executor {
    /// Readies a skill for its tier.
    pub(crate) async fn prepared(&self, ready: &Arc<Ready>) -> Result<Prepared, CallError> {
        Ok(match self.tier(ready) {
            Tier::Wasm => Prepared::Wasm(self.component(ready).await?),
            Tier::GvisorWasm => Prepared::Boxed(self.boxed(ready).await?),
            Tier::Gvisor => Prepared::Native(self.native(ready).await?),
        })
    }

    fn tier(&self, ready: &Ready) -> Tier {
        let package = ready.skill.package();
        tier(package.trust(), &package.manifest().runtime, self.0.parts.tightening)
    }

    /// A component for a sandbox, unpacked once.
    async fn boxed(&self, ready: &Ready) -> Result<Arc<BoxedComponent>, CallError> {
        let prepare = || self.0.parts.containers.prepare_component(ready.skill.package());
        Ok(Arc::clone(ready.boxed.get_or_try_init(prepare).await?))
    }

    /// A native skill, unpacked once.
    pub(crate) async fn native(&self, ready: &Ready) -> Result<Arc<NativeSkill>, CallError> {
        let prepare = || async {
            let layer = self.layer(ready).await?;
            self.0.parts.containers.prepare(ready.skill.package(), layer).await
        };
        Ok(Arc::clone(ready.native.get_or_try_init(prepare).await?))
    }

    /// Refuses a call whose tier is not there before anybody is asked about it.
    pub(crate) async fn check_tier(&self, ready: &Ready) -> Result<(), CallError> {
        match self.tier(ready) {
            Tier::Wasm => {}
            Tier::GvisorWasm => drop(self.boxed(ready).await?),
            Tier::Gvisor => drop(self.native(ready).await?),
        }
        Ok(())
    }
}

impl Run {
    /// Runs the call in its tier.
    pub(crate) async fn in_tier(
        &self,
        approved: ApprovedCall,
        intent: &Receipt,
        session: &Arc<EgressSession>,
        deadline: Arc<Deadline>,
    ) -> RunReport {
        let parts = &self.executor.0.parts;
        let doors = self.doors(session);
        match &self.prepared {
            Prepared::Wasm(skill) => parts.runtime.run(skill, approved, intent, doors, deadline).await,
            Prepared::Boxed(skill) => parts.containers.run_component(skill, approved, intent, doors, deadline).await,
            Prepared::Native(skill) => match self.fields(session, approved.request().arguments.value()).await {
                Ok(fields) => parts.containers.run(skill, approved, intent, doors, deadline, fields).await,
                Err(failure) => RunReport::refused(failure),
            },
        }
    }
}
