//! The WebAssembly tier: compile once, pre-instantiate once a skill version, a fresh store and instance for every call.

mod bindings;
mod budget;
mod capabilities;
mod engine;
mod host;
mod output;
mod run;
mod warm;
mod wasi;
mod workspace;

#[cfg(test)]
pub(crate) mod tests;

use crate::compile::{CodeCache, Compilation, Compiler, Swept};
use crate::limits::{Limits, PoolLimits};
use crate::{Rehearsal, RehearsalReport, SandboxError};
use bindings::SkillPre;
use engine::Ticking;
pub(crate) use engine::compiler_engine;
use host::Host;
use parking_lot::Mutex;
pub(crate) use run::{Invocation, output};
pub use run::{RunReport, Usage};
use sophon_skill::{Filesystem, Manifest, Preset, Runtime, VerifiedPackage};
use sophon_types::{Digest, SkillName, TenantId, Timestamp};
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use wasmtime::component::{Component, HasSelf, Linker};
pub use workspace::sweep_workspaces;

/// The engine, its pool and the linkers. Cheap to clone.
#[derive(Clone)]
pub struct WasmRuntime {
    inner: Arc<Inner>,
    workspaces: Option<Arc<Path>>,
}

struct Inner {
    ticking: Ticking,
    ceiling: Limits,
    compiler: Compiler,
    warm: warm::Warm,
    /// One linker for each set of optional interfaces.
    linkers: Mutex<HashMap<Capabilities, Arc<Linker<Host>>>>,
}

/// A component that is compiled, linked with exactly what its manifest declares, and ready to be instantiated.
pub struct PreparedSkill {
    name: SkillName,
    digest: Digest,
    pre: SkillPre<Host>,
    limits: Limits,
}

impl PreparedSkill {
    /// The limits of each call.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The package that it was made of; only approved calls of that very package run in it.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }
}

/// The optional interfaces; everything else of the contract is always linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Capabilities {
    http: bool,
    credentials: bool,
    workspace: bool,
}

impl Capabilities {
    fn of(manifest: &Manifest) -> Self {
        Self {
            // What the analysis asks too: a component that passed it links.
            http: manifest.wants_network(),
            credentials: !manifest.credentials.is_empty(),
            workspace: manifest.permissions.filesystem == Filesystem::Workspace,
        }
    }
}

impl WasmRuntime {
    /// Starts the engine with a pool for `pool.concurrent_calls`; no call gets more than `ceiling`. Compiles in this
    /// process: for an author's own code.
    ///
    /// # Errors
    /// [`SandboxError::Engine`] where the machine cannot give the address space or a thread.
    pub fn start(pool: &PoolLimits, ceiling: Limits) -> Result<Self, SandboxError> {
        Self::start_compiling(pool, ceiling, Compilation::InProcess, None)
    }

    /// As [`WasmRuntime::start`], but compiles as `compilation` says and keeps compiled code in `cache`.
    ///
    /// # Errors
    /// As [`WasmRuntime::start`].
    pub fn start_compiling(
        pool: &PoolLimits,
        ceiling: Limits,
        compilation: Compilation,
        cache: Option<CodeCache>,
    ) -> Result<Self, SandboxError> {
        // What the pool has a slot for is all that any component can have.
        let most = Limits::of(Preset::Minimal);
        let ceiling = Limits {
            memory: ceiling.memory.min(pool.memory),
            table_elements: ceiling.table_elements.min(most.table_elements),
            instances: ceiling.instances.min(most.instances),
            memories: ceiling.memories.min(most.memories),
            tables: ceiling.tables.min(most.tables),
            ..ceiling
        };
        let compiler = Compiler::new(compilation, cache);
        let ticking = Ticking::start(pool)?;
        let inner = Arc::new(Inner {
            ticking,
            ceiling,
            compiler,
            warm: warm::Warm::default(),
            linkers: Mutex::new(HashMap::new()),
        });
        Ok(Self { inner, workspaces: None })
    }

    /// Makes the calls' workspaces below `root`, made where missing, in place of the system's folder for temporary
    /// files. The folder belongs to this runtime alone: see [`sweep_workspaces`](crate::sweep_workspaces).
    #[must_use]
    pub fn with_workspaces_below(self, root: &Path) -> Self {
        Self { workspaces: Some(root.into()), ..self }
    }

    /// Compiles and links a verified package of nobody in particular. Takes 20 to 100 ms of CPU for a small component:
    /// not for an async worker.
    ///
    /// # Errors
    /// [`SandboxError`] where the component does not compile or link, needs too much, or is no component.
    pub fn prepare(&self, package: &VerifiedPackage) -> Result<PreparedSkill, SandboxError> {
        self.prepared(None, package)
    }

    /// As [`WasmRuntime::prepare`], for a tenant, whose compiled code is kept apart from everybody else's.
    ///
    /// # Errors
    /// As [`WasmRuntime::prepare`].
    pub fn prepare_for(&self, tenant: &TenantId, package: &VerifiedPackage) -> Result<PreparedSkill, SandboxError> {
        self.prepared(Some(tenant), package)
    }

    fn prepared(&self, owner: Option<&TenantId>, package: &VerifiedPackage) -> Result<PreparedSkill, SandboxError> {
        let manifest = package.manifest();
        if manifest.runtime != Runtime::Wasm {
            return Err(SandboxError::NoTier { skill: manifest.name.clone(), runtime: manifest.runtime.to_string() });
        }
        self.compile(owner, manifest, package.component_digest(), || package.component(), *package.digest())
    }

    /// The prepared component of a tenant's package, where it was prepared before and is still mapped.
    #[must_use]
    pub fn warm(&self, tenant: &TenantId, package: &Digest) -> Option<Arc<PreparedSkill>> {
        self.inner.warm.get(&(tenant.clone(), *package))
    }

    /// As [`WasmRuntime::prepare_for`], and keeps it for [`WasmRuntime::warm`]. Takes about a millisecond where the compiled
    /// code is in the cache: not for an async worker.
    ///
    /// # Errors
    /// As [`WasmRuntime::prepare`].
    pub fn prepare_warm(
        &self,
        tenant: &TenantId,
        package: &VerifiedPackage,
    ) -> Result<Arc<PreparedSkill>, SandboxError> {
        let prepared = self.prepare_for(tenant, package)?;
        Ok(self.inner.warm.keep((tenant.clone(), *package.digest()), prepared))
    }

    /// As [`WasmRuntime::prepare_warm`], where the compiled code is in the cache; nothing where it would have to be
    /// compiled.
    ///
    /// # Errors
    /// As [`WasmRuntime::prepare`].
    pub fn map_kept(
        &self,
        tenant: &TenantId,
        package: &VerifiedPackage,
    ) -> Result<Option<Arc<PreparedSkill>>, SandboxError> {
        let (engine, compiler) = (&self.inner.ticking.engine, &self.inner.compiler);
        let Some(component) = compiler.kept(engine, Some(tenant), package.component_digest()) else { return Ok(None) };
        let prepared = self.linked(package.manifest(), &component, *package.digest())?;
        Ok(Some(self.inner.warm.keep((tenant.clone(), *package.digest()), prepared)))
    }

    /// Removes compiled code from the cache that none of the `installed` components (each with its tenant) needs under this
    /// engine: of what was removed or replaced, and of engines that were here before. What was written within an hour of
    /// `now` stays: it may be of what is being installed.
    ///
    /// # Errors
    /// Where the folder cannot be read, or a file not be removed.
    pub fn sweep_code(&self, installed: &[(TenantId, Digest)], now: Timestamp) -> io::Result<Swept> {
        self.inner.compiler.sweep(&self.inner.ticking.engine, installed, now)
    }

    /// A component by itself, for the executor inside a sandbox.
    pub(crate) fn prepare_component(
        &self,
        manifest: &Manifest,
        component: &[u8],
        digest: Digest,
    ) -> Result<PreparedSkill, SandboxError> {
        self.compile(None, manifest, &digest, || component, digest)
    }

    fn compile<B: AsRef<[u8]>>(
        &self,
        owner: Option<&TenantId>,
        manifest: &Manifest,
        component: &Digest,
        bytes: impl FnOnce() -> B,
        digest: Digest,
    ) -> Result<PreparedSkill, SandboxError> {
        let compiled = self.inner.compiler.component(&self.inner.ticking.engine, owner, component, bytes);
        let component = compiled.map_err(|cause| refuse(manifest.name.clone(), cause))?;
        self.linked(manifest, &component, digest)
    }

    /// A compiled component, linked with exactly what its manifest declares.
    fn linked(
        &self,
        manifest: &Manifest,
        component: &Component,
        digest: Digest,
    ) -> Result<PreparedSkill, SandboxError> {
        let skill = || manifest.name.clone();
        let limits = Limits::for_skill(manifest, &self.inner.ceiling);
        check_demand(component, &limits).map_err(|what| SandboxError::TooDemanding { skill: skill(), what })?;
        let link = |error: wasmtime::Error| SandboxError::Link { skill: skill(), cause: format!("{error:#}") };
        let linker = self.linker(Capabilities::of(manifest)).map_err(link)?;
        let pre = linker.instantiate_pre(component).and_then(SkillPre::new).map_err(link)?;
        component.initialize_copy_on_write_image().map_err(link)?;
        Ok(PreparedSkill { name: skill(), digest, pre, limits })
    }

    fn linker(&self, capabilities: Capabilities) -> wasmtime::Result<Arc<Linker<Host>>> {
        if let Some(linker) = self.inner.linkers.lock().get(&capabilities) {
            return Ok(Arc::clone(linker));
        }
        let linker = Arc::new(link(&self.inner.ticking.engine, capabilities)?);
        self.inner.linkers.lock().insert(capabilities, Arc::clone(&linker));
        Ok(linker)
    }

    /// Tries a tool out in the locked-down sandbox, against recorded exchanges and state in memory.
    ///
    /// # Errors
    /// [`SandboxError`] where the component cannot be prepared. What becomes of the run is in the report.
    pub async fn rehearse(
        &self,
        prepared: &PreparedSkill,
        rehearsal: Rehearsal,
    ) -> Result<RehearsalReport, SandboxError> {
        crate::rehearsal::rehearse(self, prepared, rehearsal).await
    }
}

fn link(engine: &wasmtime::Engine, capabilities: Capabilities) -> wasmtime::Result<Linker<Host>> {
    use bindings::sophon::skill::{credentials, http, log, progress, settings, state, workspace};

    let mut linker = Linker::new(engine);
    log::add_to_linker::<Host, HasSelf<Host>>(&mut linker, |host| host)?;
    settings::add_to_linker::<Host, HasSelf<Host>>(&mut linker, |host| host)?;
    state::add_to_linker::<Host, HasSelf<Host>>(&mut linker, |host| host)?;
    progress::add_to_linker::<Host, HasSelf<Host>>(&mut linker, |host| host)?;
    wasi::link(&mut linker)?;
    if capabilities.http {
        http::add_to_linker::<Host, HasSelf<Host>>(&mut linker, |host| host)?;
        wasi::link_http(&mut linker)?;
    }
    if capabilities.credentials {
        credentials::add_to_linker::<Host, HasSelf<Host>>(&mut linker, |host| host)?;
    }
    if capabilities.workspace {
        workspace::add_to_linker::<Host, HasSelf<Host>>(&mut linker, |host| host)?;
    }
    Ok(linker)
}

/// wasmtime says that a component has more parts than the pool has for it in the same breath as that it does not
/// compile, and in words only.
fn refuse(skill: SkillName, cause: String) -> SandboxError {
    if cause.contains("in the pooling allocator") {
        return SandboxError::TooDemanding { skill, what: format!("more than one call can have: {cause}") };
    }
    // Its adapters between components have the memories of both, and multi-memory is off for them as well.
    if cause.contains("invalid adapter module generated") {
        let cause = "it is composed of components that hand each other values by way of their memories, and several \
                     memories in one module are off here; link the parts into one component";
        return SandboxError::Compile { skill, cause: cause.into() };
    }
    SandboxError::Compile { skill, cause }
}

/// Refuses a component that could never be instantiated within its limits, before the first call.
fn check_demand(component: &Component, limits: &Limits) -> Result<(), String> {
    // Nothing: the component imports or exports modules, whose needs are not known before they are linked.
    let Some(demand) = component.resources_required() else {
        return Err("modules that are not part of it".into());
    };
    let over = |count: u32, most: usize| usize::try_from(count).map_or(true, |count| count > most);
    if over(demand.num_memories, limits.memories) || over(demand.num_tables, limits.tables) {
        return Err(format!(
            "{} memories and {} tables; a call may have {} and {}",
            demand.num_memories, demand.num_tables, limits.memories, limits.tables
        ));
    }
    // In pages of 64 KiB.
    let initial = demand.max_initial_memory_size.unwrap_or(0).saturating_mul(64 << 10);
    if initial > limits.memory as u64 {
        return Err(format!(
            "{} MiB of memory at the start; a call may have {} MiB",
            initial >> 20,
            limits.memory >> 20
        ));
    }
    Ok(())
}
