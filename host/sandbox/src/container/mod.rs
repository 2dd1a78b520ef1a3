//! The native tier: Docker's engine, gVisor's kernel, one sandbox for one call.
//!
//! A sandbox has no network device, a root file system that cannot be written, no capability, no user but nobody, and the
//! limits of [`BoxLimits`]. What its programs send goes over one pair of pipes to this host and from here through egress
//! ([`sophon_egress::proxy`]). Sandboxes are started ahead of calls, used once and thrown away.
//!
//! Promises: nothing runs where the kernel that answers inside is not gVisor's; a sandbox is killed and removed whatever
//! becomes of its call, and where this host is killed, by the next; there is never a second call in one.

mod answer;
mod boxed;
mod component;
mod config;
mod engine;
mod kind;
mod layer;
mod life;
mod link;
mod mcp;
mod pool;
mod presets;
mod proxied;
mod run;
mod tenancy;
#[cfg(test)]
mod tests;
mod unavailable;

pub use component::{BoxedComponent, InsideProgram};
pub use config::ContainerConfig;
pub use engine::EngineFacts;
pub use kind::ImageKind;
pub use layer::sweep_requirements;
pub use presets::{BOX_TABLE, BoxLimits, BoxRow, Network};
pub use unavailable::Unavailable;

use crate::{Limits, SandboxError};
use boxed::Recipe;
use bytes::Bytes;
use engine::{Engine, Image};
use layer::Laid;
use life::Lives;
use parking_lot::Mutex;
use pool::Pool;
use sophon_skill::{Layer, Manifest, Preset, Protocol, Runtime, Tool, VerifiedPackage};
use sophon_types::{Digest, Entropy, SkillName};
use std::collections::HashMap;
use std::sync::Arc;

/// Runs native skills. Cheap to clone.
#[derive(Clone)]
pub struct ContainerRuntime {
    inner: Arc<Inner>,
}

struct Inner {
    config: ContainerConfig,
    ceiling: Limits,
    entropy: Arc<dyn Entropy>,
    inside: Option<InsideProgram>,
    open: tokio::sync::Mutex<Option<Arc<Open>>>,
}

/// An engine that was found fit.
pub(crate) struct Open {
    engine: Engine,
    lives: Arc<Lives>,
    pool: Pool,
    facts: EngineFacts,
    /// Images by their names, as they were when they were looked up.
    images: Mutex<HashMap<String, Image>>,
}

/// What there is for native skills, for `sophon doctor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerFacts {
    /// The engine.
    pub engine: EngineFacts,
    /// The name that it knows gVisor by.
    pub runtime: String,
    /// Sandboxes that an earlier run of this home had left and that were removed just now.
    pub leftovers: usize,
    /// Whether there is an image for skills in C#.
    pub csharp: bool,
    /// The version of .NET in it, where it says so.
    pub dotnet: Option<String>,
}

/// A native skill that can be run.
#[derive(Debug)]
pub struct NativeSkill {
    name: SkillName,
    digest: Digest,
    limits: Limits,
    recipe: Recipe,
    entrypoint: String,
    files: Vec<(String, Bytes)>,
    /// Of an MCP server: the tools that were agreed to.
    mcp: Option<Vec<Tool>>,
    /// What it requires beside itself, and where its sandboxes wait that see it.
    laid: Option<(Laid, Pool)>,
}

/// A native skill whose requirements go has no more sandboxes that wait.
impl Drop for NativeSkill {
    fn drop(&mut self) {
        if let Some((_laid, pool)) = &self.laid {
            pool.forget(&self.recipe);
        }
    }
}

impl NativeSkill {
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

impl ContainerRuntime {
    /// A runtime whose engine is looked for when it is first needed. No call gets more than `ceiling`.
    #[must_use]
    pub fn new(config: ContainerConfig, ceiling: Limits, entropy: Arc<dyn Entropy>) -> Self {
        let open = tokio::sync::Mutex::default();
        Self { inner: Arc::new(Inner { config, ceiling, entropy, inside: None, open }) }
    }

    /// As it is, not yet opened, with a program that can be the executor inside a sandbox.
    #[must_use]
    pub fn with_inside(self, program: InsideProgram) -> Self {
        let Inner { config, ceiling, entropy, .. } = &*self.inner;
        let (config, ceiling, entropy) = (config.clone(), ceiling.clone(), Arc::clone(entropy));
        let open = tokio::sync::Mutex::default();
        Self { inner: Arc::new(Inner { config, ceiling, entropy, inside: Some(program), open }) }
    }

    /// Finds the engine, proves that its runtime is gVisor, removes what an earlier run of this home has left behind.
    ///
    /// # Errors
    /// [`Unavailable`], with what to do about it. Nothing native runs then; asked again, it looks again.
    pub async fn open(&self) -> Result<ContainerFacts, Unavailable> {
        let open = self.opened().await?;
        let config = &self.inner.config;
        open.image(config, ImageKind::Python).await?;
        let csharp = open.image(config, ImageKind::CSharp).await.ok();
        let leftovers = open.lives.sweep().await.map_err(Unavailable::broken)?;
        Ok(ContainerFacts {
            engine: open.facts.clone(),
            runtime: config.runtime.clone(),
            leftovers,
            csharp: csharp.is_some(),
            dotnet: csharp.and_then(|image| image.dotnet),
        })
    }

    async fn opened(&self) -> Result<Arc<Open>, Unavailable> {
        let mut open = self.inner.open.lock().await;
        if let Some(open) = &*open {
            return Ok(Arc::clone(open));
        }
        let found = Arc::new(self.find().await?);
        Open::keep_house(&found);
        *open = Some(Arc::clone(&found));
        Ok(found)
    }

    async fn find(&self) -> Result<Open, Unavailable> {
        let config = &self.inner.config;
        let address = config.engine.as_deref().ok_or(Unavailable::Off)?;
        let absent = |error: bollard::errors::Error| Unavailable::NoEngine {
            address: address.to_owned(),
            cause: error.to_string(),
        };
        let engine = Engine::connect(address, &config.runtime, &config.owner).await.map_err(absent)?;
        let facts = engine.facts().await.map_err(absent)?;
        if !facts.runtimes.contains(&config.runtime) {
            return Err(Unavailable::NoRuntime { runtime: config.runtime.clone(), known: facts.runtimes });
        }
        let lives = Arc::new(Lives::new(engine.clone(), &*self.inner.entropy));
        let leftovers = lives.sweep().await.map_err(Unavailable::broken)?;
        if leftovers > 0 {
            tracing::warn!(leftovers, "sandboxes that an earlier run left behind were removed");
        }
        let pool = Pool::new(engine.clone(), Arc::clone(&lives), config);
        let open = Open { engine, lives, pool, facts, images: Mutex::default() };
        // The proof: a sandbox whose kernel answers as gVisor's does. Every later one is asked as well.
        let image = open.image(config, ImageKind::Base).await?.id;
        let nothing = Recipe {
            kind: ImageKind::Base,
            image,
            command: Vec::new(),
            variables: &[],
            shown: Vec::new(),
            limits: BoxLimits::of(Preset::LockedDown),
        };
        open.pool.prove(&nothing).await?;
        Ok(open)
    }

    /// Makes a verified package ready to be run, and has a sandbox started for it ahead of its first call. `layer` is what it
    /// requires beside itself.
    ///
    /// # Errors
    /// [`SandboxError`] where it has no tier here, gVisor does not answer, or its requirements are not there.
    pub async fn prepare(
        &self,
        package: &VerifiedPackage,
        layer: Option<Layer>,
    ) -> Result<Arc<NativeSkill>, SandboxError> {
        let files = package.files();
        let files = files.files().map(|(name, content)| (name.to_owned(), content.clone())).collect();
        self.prepared(package.manifest(), *package.digest(), files, layer).await
    }

    async fn prepared(
        &self,
        manifest: &Manifest,
        digest: Digest,
        files: Vec<(String, Bytes)>,
        layer: Option<Layer>,
    ) -> Result<Arc<NativeSkill>, SandboxError> {
        let skill = || manifest.name.clone();
        let kind = Self::kind_of(manifest)?;
        let missing = |cause: String| SandboxError::Requirements { skill: skill(), cause };
        if layer.is_none() && !manifest.requirements.is_empty() {
            return Err(missing("they are not installed".into()));
        }
        let unavailable = |cause| SandboxError::Containers { skill: skill(), cause };
        let open = self.opened().await.map_err(unavailable)?;
        let image = open.image(&self.inner.config, kind).await.map_err(unavailable)?.id;
        let laid = match layer {
            Some(layer) => Some((self.lay(layer).await.map_err(missing)?, open.pool.clone())),
            None => None,
        };
        let shown = laid.iter().map(|(laid, _)| laid.shown()).collect();
        let limits = BoxLimits::for_skill(manifest);
        let recipe = Recipe { kind, image, command: kind.command(), variables: kind.variables(), shown, limits };
        open.pool.expect(&recipe);
        Ok(Arc::new(NativeSkill {
            name: skill(),
            digest,
            limits: Limits::for_skill(manifest, &self.inner.ceiling),
            recipe,
            entrypoint: manifest.entrypoint.clone(),
            files,
            mcp: (manifest.protocol == Protocol::Mcp).then(|| manifest.tools.clone()),
            laid,
        }))
    }

    /// Whether such a skill can be run here at all, engine or not.
    ///
    /// # Errors
    /// [`SandboxError::NoTier`] and [`SandboxError::Unfit`].
    pub fn check_runtime(manifest: &Manifest) -> Result<(), SandboxError> {
        if manifest.runtime == Runtime::Wasm { Ok(()) } else { Self::kind_of(manifest).map(drop) }
    }

    /// The kind of image that a native skill runs in.
    fn kind_of(manifest: &Manifest) -> Result<ImageKind, SandboxError> {
        let (skill, runtime) = (manifest.name.clone(), manifest.runtime.to_string());
        let Some(kind) = ImageKind::of(&manifest.runtime) else {
            return Err(SandboxError::NoTier { skill, runtime });
        };
        if kind != ImageKind::CSharp {
            return Ok(kind);
        }
        let (what, hint) = if manifest.sandbox.preset == Some(Preset::LockedDown) {
            let what = "cannot be locked down: .NET does not run without threads of its own, and whoever may start threads \
                        may start processes";
            (what, "choose the preset restricted, which has the fewest, or write the skill in Python")
        } else if !manifest.entrypoint.to_ascii_lowercase().ends_with(".dll") {
            ("have an assembly for their entrypoint", "build the skill, and name its .dll as the entrypoint")
        } else if !manifest.requirements.is_empty() {
            let hint = "leave requirements out, and put the assemblies that the skill needs beside its entrypoint";
            ("require nothing beside their package: requirements are those of Python", hint)
        } else {
            return Ok(kind);
        };
        Err(SandboxError::Unfit { skill, runtime, what, hint })
    }

    /// Writes requirements down where sandboxes see them.
    async fn lay(&self, layer: Layer) -> Result<Laid, String> {
        let folder = self.inner.config.requirements.clone().ok_or("this host has no folder for them")?;
        let laid = tokio::task::spawn_blocking(move || Laid::lay(&folder, &layer)).await;
        laid.map_err(|panic| panic.to_string())?.map_err(|error| error.to_string())
    }

    /// Removes every sandbox, and waits until they are gone.
    pub async fn close(&self) {
        let open = self.inner.open.lock().await.take();
        if let Some(open) = open {
            open.pool.close().await;
            open.lives.settled().await;
        }
    }
}

impl Open {
    async fn image(&self, config: &ContainerConfig, kind: ImageKind) -> Result<Image, Unavailable> {
        let name = config.image(kind);
        if let Some(image) = self.images.lock().get(name) {
            return Ok(image.clone());
        }
        let found = self.engine.image(name).await.map_err(Unavailable::broken)?;
        let image = found.ok_or_else(|| Unavailable::NoImage { name: name.to_owned(), kind })?;
        let wanted = sophon_init::PROTOCOL.to_string();
        if image.protocol.as_deref() != Some(&*wanted) {
            let protocol = image.protocol.unwrap_or_else(|| "none".into());
            let what = format!("{name} speaks protocol {protocol}, this host {wanted}");
            return Err(Unavailable::Image { kind, what });
        }
        self.images.lock().insert(name.to_owned(), image.clone());
        Ok(image)
    }

    /// From time to time: removes what could not be removed, and sandboxes that nobody has used for long.
    fn keep_house(this: &Arc<Self>) {
        let open = Arc::downgrade(this);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(std::time::Duration::from_secs(60));
            ticks.tick().await;
            loop {
                ticks.tick().await;
                let Some(open) = open.upgrade() else { return };
                open.pool.let_go_of_old_ones();
                match open.lives.sweep().await {
                    Ok(0) => {}
                    Ok(strays) => tracing::warn!(strays, "sandboxes that were left behind are removed"),
                    Err(error) => tracing::warn!(%error, "the engine cannot be asked for what was left behind"),
                }
            }
        });
    }
}
