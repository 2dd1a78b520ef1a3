//! From a component's bytes to compiled code that can be mapped: compiled in a child that can be killed, kept on disk
//! under the host's own MAC.
//!
//! wasmtime does not bound what compiling costs, and mapping compiled code is running it. So a hostile component can at
//! most end its own compiler, and nothing is ever mapped that this host did not make: an uploaded precompiled file has
//! no way in.

mod cache;
mod mapped;
mod pipes;
mod worker;

pub use cache::{CodeCache, Swept};
pub use worker::{CompileLimits, Worker, compile_worker};

use sophon_types::{Digest, TenantId, Timestamp};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use wasmtime::Engine;
use wasmtime::component::Component;

/// How components are compiled.
#[derive(Debug, Clone)]
pub enum Compilation {
    /// In this process: for the author's own code on the author's own machine.
    InProcess,
    /// In a child process with limits: for everybody else's code.
    Worker(Worker),
}

/// Compiles, and remembers what it compiled.
pub(crate) struct Compiler {
    compilation: Compilation,
    cache: Option<Arc<CodeCache>>,
}

impl Compiler {
    pub(crate) fn new(compilation: Compilation, cache: Option<CodeCache>) -> Self {
        Self { compilation, cache: cache.map(Arc::new) }
    }

    /// The component of that digest, ready to be linked; from the cache where it has it for the same `owner`, else compiled
    /// from its bytes.
    pub(crate) fn component<B: AsRef<[u8]>>(
        &self,
        engine: &Engine,
        owner: Option<&TenantId>,
        digest: &Digest,
        bytes: impl FnOnce() -> B,
    ) -> Result<Component, String> {
        if let Some(component) = self.kept(engine, owner, digest) {
            return Ok(component);
        }
        let bytes = bytes();
        let bytes = bytes.as_ref();
        let code = match &self.compilation {
            Compilation::InProcess => in_process(engine, bytes)?,
            Compilation::Worker(worker) => worker.compile(bytes)?,
        };
        if let Some(cache) = &self.cache {
            cache.store(&name(engine, owner, digest), &code);
        }
        mapped::component(engine, &code)
    }

    /// The component of that digest, where the cache has it for the same `owner`. Nothing is compiled.
    pub(crate) fn kept(&self, engine: &Engine, owner: Option<&TenantId>, digest: &Digest) -> Option<Component> {
        self.cache.as_ref()?.load(engine, &name(engine, owner, digest))
    }

    /// Removes compiled code of components that are not `installed`, and of other engines than this one, from the cache.
    pub(crate) fn sweep<'a>(
        &self,
        engine: &Engine,
        installed: impl IntoIterator<Item = &'a (TenantId, Digest)>,
        now: Timestamp,
    ) -> io::Result<Swept> {
        let Some(cache) = &self.cache else { return Ok(Swept::default()) };
        cache.sweep(&installed.into_iter().map(|(owner, digest)| name(engine, Some(owner), digest)).collect(), now)
    }
}

/// Compiles on the spot. A compiler that breaks down over a component ends with that component, and not with the process:
/// wasmtime takes its own adapters between components for granted, and panics where they do not pass its validation.
fn in_process(engine: &Engine, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let compiled = catch_unwind(AssertUnwindSafe(|| engine.precompile_component(bytes)));
    let code = compiled.map_err(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref().copied());
        format!("the compiler broke down: {}", words.unwrap_or("it did not say why"))
    })?;
    code.map_err(|error| format!("{error:#}"))
}

/// Names compiled code: by whose it is, by the component and by all that decides how this engine compiles. A tenant's
/// code is its own, so that nobody learns from the time that an installation takes what others have installed.
fn name(engine: &Engine, owner: Option<&TenantId>, component: &Digest) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    let owner = owner.map_or("", TenantId::as_str).as_bytes();
    format!("{}-{:016x}.cwasm", Digest::of_parts(&[owner, component.as_bytes()]).to_hex(), hasher.finish())
}

#[cfg(test)]
pub(crate) mod tests;
