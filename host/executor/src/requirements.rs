//! What Python skills require beside themselves: fetched when they are installed, kept by digest, unpacked when they are run.
//!
//! Promise: nothing is fetched at call time; what is used has a digest that the skill's manifest names, compared each time it is
//! read; no code of it runs before it is inside the skill's own sandbox. An installation that fails keeps nothing of it, and
//! what no installed skill requires any more is removed.

use crate::catalogue::{Ready, State};
use crate::{Executor, InstallError};
use bytes::Bytes;
use sophon_audit::{Action, Outcome, Record};
use sophon_egress::{Denial, HttpError, PackageIndex};
use sophon_sandbox::SandboxError;
use sophon_skill::{Layer, Listing, Manifest, Package, Requirement, RequirementError, Runtime, requirements};
use sophon_types::{Digest, Fault as _, TenantId};
use std::collections::HashSet;
use std::time::Duration;
use tokio::time::Instant;

/// How long all that a skill requires may take to fetch: whoever installs it waits.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where requirements come from, and how much of them a skill may have.
#[derive(Debug, Clone)]
pub struct Requirements {
    /// The index.
    pub index: PackageIndex,
    /// Bytes of one skill's requirements, packed and unpacked.
    pub most: usize,
}

/// A requirement and the file that was found for it.
pub(crate) type Wheel = (Requirement, Bytes);

/// The lock of a skill that has one.
fn lock_of(manifest: &Manifest) -> Result<Vec<Requirement>, RequirementError> {
    if manifest.runtime == Runtime::Wasm { Ok(Vec::new()) } else { requirements(manifest) }
}

impl Executor {
    /// Gets everything that a skill requires, and sees that it can be unpacked. Nothing of it is kept yet.
    pub(crate) async fn gather(&self, record: Record, ready: &Ready) -> Result<Vec<Wheel>, InstallError> {
        let lock = lock_of(ready.skill.manifest())?;
        if lock.is_empty() {
            return Ok(Vec::new());
        }
        let parts = &self.0.parts;
        let record = record
            .detail("index", parts.requirements.index.host())
            .detail("requirements", lock.iter().map(ToString::to_string).collect::<Vec<_>>());
        parts.audit.append(record.clone()).await?;
        let _turn = self.0.installing.requirements.acquire().await;
        let gathered = self.gathered(ready.skill.tenant(), lock).await;
        let record = match &gathered {
            Ok(wheels) => {
                let digests: Vec<String> = wheels.iter().map(|(_, bytes)| Digest::of(bytes).to_string()).collect();
                record.then(Action::SkillRequirements, Outcome::Ok).detail("wheels", digests)
            }
            Err(error) => record.then(Action::SkillRequirements, Outcome::failed(error.code())),
        };
        parts.audit.append(record).await?;
        gathered
    }

    async fn gathered(&self, tenant: &TenantId, lock: Vec<Requirement>) -> Result<Vec<Wheel>, InstallError> {
        let most = self.0.parts.requirements.most;
        let deadline = Instant::now() + PATIENCE;
        let mut wheels: Vec<Wheel> = Vec::with_capacity(lock.len());
        let mut left = most;
        for requirement in lock {
            let bytes = match self.kept(&requirement).await? {
                Some(bytes) => bytes,
                None => self.fetched(tenant, &requirement, left, deadline).await?,
            };
            left = left.checked_sub(bytes.len()).ok_or_else(|| too_large(&requirement, most))?;
            wheels.push((requirement, bytes));
        }
        let unpacked = tokio::task::spawn_blocking(move || Layer::of(&wheels, most).map(|_layer| wheels)).await;
        Ok(unpacked.map_err(|panic| InstallError::Host(panic.to_string()))??)
    }

    /// The file of a requirement that this host has already.
    async fn kept(&self, requirement: &Requirement) -> Result<Option<Bytes>, InstallError> {
        for digest in requirement.digests() {
            if let Some(bytes) = self.0.parts.store.wheels().get(digest).await? {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    async fn fetched(
        &self,
        tenant: &TenantId,
        requirement: &Requirement,
        left: usize,
        deadline: Instant,
    ) -> Result<Bytes, InstallError> {
        let parts = &self.0.parts;
        let index = &parts.requirements.index;
        let failed = |cause: HttpError| match cause {
            HttpError::TooLarge(_) => too_large(requirement, parts.requirements.most),
            cause => InstallError::Index { index: index.host().to_owned(), subject: requirement.to_string(), cause },
        };
        let odd = |status: u16| failed(HttpError::Protocol(format!("it answered with the status {status}")));
        let list = parts.egress.listing(index, tenant, requirement.name(), Listing::ACCEPT, deadline).await;
        let list = list.map_err(failed)?;
        match list.status {
            200 => {}
            404 | 410 => return Err(RequirementError::NotFound(requirement.to_string()).into()),
            status => return Err(odd(status)),
        }
        let offered = Listing::read(requirement.name(), &list.media, &list.body)?;
        let file = requirement.choose(&offered)?;
        let found = parts.egress.listed_file(index, tenant, &list, &file.url, left, deadline).await.map_err(failed)?;
        if found.status != 200 {
            return Err(odd(found.status));
        }
        requirement.check(&found.body)?;
        Ok(found.body)
    }

    /// Everything that an installed skill requires, unpacked; nothing where it requires nothing.
    pub(crate) async fn layer(&self, ready: &Ready) -> Result<Option<Layer>, SandboxError> {
        let manifest = ready.skill.manifest();
        let unusable = |cause: String| SandboxError::Requirements { skill: manifest.name.clone(), cause };
        let lock = lock_of(manifest).map_err(|error| unusable(error.to_string()))?;
        if lock.is_empty() {
            return Ok(None);
        }
        let _turn = self.0.installing.requirements.acquire().await;
        let mut wheels = Vec::with_capacity(lock.len());
        for requirement in lock {
            let kept = self.kept(&requirement).await.map_err(|error| unusable(error.to_string()))?;
            let bytes = kept.ok_or_else(|| unusable(format!("{requirement} is not here")))?;
            wheels.push((requirement, bytes));
        }
        let most = self.0.parts.requirements.most;
        let unpacked = tokio::task::spawn_blocking(move || Layer::of(&wheels, most)).await;
        let layer = unpacked.map_err(|panic| unusable(panic.to_string()))?;
        layer.map(Some).map_err(|error| unusable(error.to_string()))
    }

    /// Keeps what was gathered. Under [`Inner::wheels`](crate::call::Inner), until the skill is in the catalogue.
    pub(crate) async fn keep_wheels(&self, wheels: Vec<Wheel>) -> Result<(), InstallError> {
        for (_, bytes) in wheels {
            self.0.parts.store.wheels().put(bytes).await?;
        }
        Ok(())
    }

    /// Removes what no installed skill requires. Under [`Inner::wheels`](crate::call::Inner).
    pub(crate) async fn sweep_wheels(&self) {
        let mut keep = HashSet::new();
        for entry in self.0.catalogue.all() {
            let lock = match &entry.state {
                State::Ready(ready) => lock_of(ready.skill.manifest()).ok(),
                State::Broken(_) => self.lock_of_broken(&entry.row.digest).await,
            };
            keep.extend(lock.iter().flatten().flat_map(|requirement| requirement.digests().iter().copied()));
        }
        match self.0.parts.store.wheels().sweep(keep).await {
            Ok(0) => {}
            Ok(swept) => tracing::info!(swept, "requirements of skills that are not installed any more are removed"),
            Err(error) => tracing::warn!(%error, "requirements that nothing needs cannot be removed"),
        }
    }

    /// It may run again once it is trusted again.
    async fn lock_of_broken(&self, package: &Digest) -> Option<Vec<Requirement>> {
        let bytes = self.0.parts.store.blobs().get(package).await.ok()??;
        let read = tokio::task::spawn_blocking(move || lock_of(Package::read(bytes).ok()?.manifest()).ok());
        read.await.ok()?
    }
}

fn too_large(requirement: &Requirement, most: usize) -> InstallError {
    RequirementError::TooLarge { most_mb: most >> 20, what: requirement.to_string() }.into()
}

impl Requirements {
    /// From the index at `url`, whose files may lie at the hosts `files` too; `most_mb` MiB a skill.
    ///
    /// # Errors
    /// [`Denial`], which says what is wrong with the URL or a host.
    pub fn new(url: &str, files: &[String], most_mb: usize) -> Result<Self, Denial> {
        Ok(Self { index: PackageIndex::new(url, files)?, most: most_mb << 20 })
    }
}
