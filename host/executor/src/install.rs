//! Installing, changing and removing skills: verified, compiled and recorded before anything of them is there.

use crate::api::{Consent, HostChoice, InstallRequest, SkillView};
use crate::catalogue::{Entry, Ready, State};
use crate::requirements::Wheel;
use crate::{CallError, Executor, InstallError};
use bytes::Bytes;
use futures::StreamExt as _;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sophon_audit::{Action, Outcome, Record};
use sophon_sandbox::{ContainerRuntime, PreparedSkill, SandboxError};
use sophon_skill::{
    Envelope, HostGrant, InstallTerms, InstalledSkill, Manifest, Package, Report, Runtime, StreamGrant, TrustStore,
    Unsigned, VerifiedPackage, changes, verify,
};
use sophon_store::{Activation, SkillRow};
use sophon_types::{Digest, Fault as _, FaultReport, Principal, SkillName, TenantId, Trust};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

/// Changes of what is installed: one at a time in a tenant. What waits is bounded too, because it waits with its package in
/// memory.
pub(crate) struct Installing {
    tenants: Mutex<HashMap<TenantId, Line>>,
    /// What skills require, while it is fetched and unpacked: megabytes in memory.
    pub(crate) requirements: Semaphore,
}

/// Where the changes of one tenant stand in line.
#[derive(Clone)]
struct Line {
    turn: Arc<tokio::sync::Mutex<()>>,
    room: Arc<Semaphore>,
}

/// A tenant's turn; the next one's when it is dropped.
pub(crate) struct Turn {
    _turn: OwnedMutexGuard<()>,
    _room: OwnedSemaphorePermit,
}

/// Changes of one tenant that are made or wait to be.
const IN_LINE: usize = 8;

/// Skills whose requirements are fetched at one time.
const AT_ONCE: usize = 2;

impl Default for Installing {
    fn default() -> Self {
        Self { tenants: Mutex::default(), requirements: Semaphore::new(AT_ONCE) }
    }
}

impl Installing {
    /// This tenant's turn.
    pub(crate) async fn turn(&self, tenant: &TenantId) -> Result<Turn, InstallError> {
        let fresh = || Line { turn: Arc::default(), room: Arc::new(Semaphore::new(IN_LINE)) };
        let line = self.tenants.lock().entry(tenant.clone()).or_insert_with(fresh).clone();
        let room = line.room.try_acquire_owned().map_err(|_full| InstallError::OverCapacity)?;
        Ok(Turn { _turn: line.turn.lock_owned().await, _room: room })
    }
}

impl Executor {
    /// Installs a package for the caller's tenant, or replaces what it has under the same name.
    ///
    /// # Errors
    /// [`InstallError`]; nothing is installed then.
    pub async fn install(&self, principal: &Principal, request: InstallRequest) -> Result<SkillView, InstallError> {
        let parts = &self.0.parts;
        let _turn = self.0.installing.turn(&principal.tenant).await?;
        let trust = self.trust_store(&principal.tenant).await?;
        let runtime = parts.runtime.clone();
        let tenant = principal.tenant.clone();
        let asked = request.clone();
        let permit = self.0.compiling.permit(&principal.tenant).await;
        let (ready, envelope) = blocking(move || {
            let _permit = permit;
            let (ready, envelope) = prepare(&asked, &tenant, &trust)?;
            // Compiled before it counts as installed, and the code kept: the first call does not wait for a compiler.
            if ready.skill.manifest().runtime == Runtime::Wasm {
                runtime.prepare_warm(ready.skill.tenant(), ready.skill.package())?;
            }
            Ok((ready, envelope))
        })
        .await?;
        let manifest = ready.skill.manifest();
        ContainerRuntime::check_runtime(manifest)?;
        self.check_version(principal, &ready).await?;
        self.check_consent(principal, &ready, request.consent)?;
        check_hosts(&ready, &request)?;
        let wheels = self.gather(record(Action::SkillRequirements, principal, &manifest.name), &ready).await?;
        let _keeping = self.0.wheels.lock().await;
        let record =
            described(record(Action::SkillInstall, principal, &manifest.name), ready.skill.package(), &request);
        parts.audit.append(record.clone()).await?;
        let installed = self.put_in_force(principal, &record, ready, envelope, request, wheels).await;
        let installed = self.told(record, Action::SkillInstall, installed).await;
        // Those of what it replaces, or of this one where it was not kept.
        self.sweep_wheels().await;
        installed
    }

    /// Makes what was checked, and recorded as meant, durable, and what is in force.
    async fn put_in_force(
        &self,
        principal: &Principal,
        record: &Record,
        ready: Ready,
        envelope: Option<String>,
        request: InstallRequest,
        wheels: Vec<Wheel>,
    ) -> Result<SkillView, InstallError> {
        let parts = &self.0.parts;
        let (manifest, package) = (ready.skill.manifest(), ready.skill.package());
        for tool in &manifest.tools {
            // As it is shown when tools are listed; said once, and not for each list.
            let source = format!("tool-description:{}", tool.name);
            let shown = parts.detector.wrap(&source, &tool.description, &*parts.entropy);
            let about = record.clone().tool(&tool.name);
            if let Some(flagged) = about.flagged("tool-description", &shown.findings, &parts.detector) {
                parts.audit.append(flagged).await?;
            }
        }
        let row = SkillRow {
            tenant: principal.tenant.clone(),
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            digest: *package.digest(),
            trust: package.trust(),
            publisher: package.signer().map(ToString::to_string),
            envelope,
            grants: Granted { hosts: request.grants.clone(), streams: request.streams.clone() }.to_value()?,
            settings: serde_json::to_value(&request.settings).map_err(|error| InstallError::Host(error.to_string()))?,
            // An update does not switch on what somebody switched off.
            activation: self
                .0
                .catalogue
                .skill(&principal.tenant, manifest.name.as_str())
                .map_or(Activation::Enabled, |before| before.row.activation),
            installed_by: principal.user.clone(),
            installed_at: parts.clock.now(),
        };
        parts.store.blobs().put(request.package).await?;
        self.keep_wheels(wheels).await?;
        if let Some(signer) = &row.publisher {
            parts.store.publishers().pin(&row.tenant, &row.name, signer).await?;
        }
        parts.store.skills().put(row.clone()).await?;
        // What is in force follows the store at once, whatever becomes of the last record.
        let entry = Entry { row: Arc::new(row), state: State::Ready(Arc::new(ready)) };
        let view = view(&entry);
        self.0.catalogue.put(&principal.tenant, &view.name, entry);
        Ok(view)
    }

    /// Records what became of what was recorded as meant. Where it failed, that is what the caller learns, whatever the log
    /// takes of it.
    async fn told<T>(&self, intent: Record, action: Action, done: Result<T, InstallError>) -> Result<T, InstallError> {
        let audit = &self.0.parts.audit;
        match &done {
            Ok(_done) => {
                audit.append(intent.then(action, Outcome::Ok)).await?;
            }
            Err(error) => {
                if let Err(unrecorded) = audit.append(intent.then(action, Outcome::failed(error.code()))).await {
                    tracing::error!(%error, %unrecorded, "what failed could not be recorded either");
                }
            }
        }
        done
    }

    /// The tenant's skills.
    #[must_use]
    pub fn skills(&self, principal: &Principal) -> Vec<SkillView> {
        self.0.catalogue.skills(&principal.tenant).iter().map(view).collect()
    }

    /// One skill of the tenant.
    ///
    /// # Errors
    /// [`InstallError::UnknownSkill`].
    pub fn skill(&self, principal: &Principal, name: &SkillName) -> Result<SkillView, InstallError> {
        Ok(view(&self.entry(principal, name)?))
    }

    /// What the static analysis says of an installed skill.
    ///
    /// # Errors
    /// [`InstallError`] where there is no such skill, or it cannot be derived any more.
    pub async fn analysis(&self, principal: &Principal, name: &SkillName) -> Result<Report, InstallError> {
        let entry = self.entry(principal, name)?;
        if let Some(ready) = entry.ready() {
            return Ok(ready.skill.package().report().clone());
        }
        let trust = self.trust_store(&principal.tenant).await?;
        Ok(self.derive(&entry.row, &trust).await?.skill.package().report().clone())
    }

    /// Lets a skill's tools be called.
    ///
    /// # Errors
    /// [`InstallError`]; nothing has changed then.
    pub async fn enable(&self, principal: &Principal, name: &SkillName) -> Result<SkillView, InstallError> {
        self.activate(principal, name, Activation::Enabled).await
    }

    /// Keeps a skill installed, but its tools can be neither listed nor called. Calls that run now go on.
    ///
    /// # Errors
    /// [`InstallError`]; nothing has changed then.
    pub async fn disable(&self, principal: &Principal, name: &SkillName) -> Result<SkillView, InstallError> {
        self.activate(principal, name, Activation::Disabled).await
    }

    async fn activate(
        &self,
        principal: &Principal,
        name: &SkillName,
        to: Activation,
    ) -> Result<SkillView, InstallError> {
        let _turn = self.0.installing.turn(&principal.tenant).await?;
        let entry = self.entry(principal, name)?;
        let action = match to {
            Activation::Enabled => Action::SkillEnable,
            Activation::Disabled => Action::SkillDisable,
        };
        let record = record(action, principal, name);
        self.0.parts.audit.append(record.clone()).await?;
        let changed = self.0.parts.store.skills().activate(&principal.tenant, name, to).await.map(|_before| {
            let row = SkillRow { activation: to, ..(*entry.row).clone() };
            let entry = Entry { row: Arc::new(row), state: entry.state };
            let view = view(&entry);
            self.0.catalogue.put(&principal.tenant, name, entry);
            view
        });
        self.told(record, action, changed.map_err(InstallError::from)).await
    }

    /// Removes a skill and its `state`. Its versions stay known, so that an older one cannot come back.
    ///
    /// # Errors
    /// [`InstallError`]; nothing has changed then.
    pub async fn remove(&self, principal: &Principal, name: &SkillName) -> Result<SkillView, InstallError> {
        let _turn = self.0.installing.turn(&principal.tenant).await?;
        let entry = self.entry(principal, name)?;
        let record = record(Action::SkillRemove, principal, name);
        self.0.parts.audit.append(record.clone()).await?;
        let removed = self.0.parts.store.skills().remove(&principal.tenant, name).await;
        if removed.is_ok() {
            self.0.catalogue.remove(&principal.tenant, name);
            let keeping = self.0.wheels.lock().await;
            self.sweep_wheels().await;
            drop(keeping);
        }
        self.told(record, Action::SkillRemove, removed.map_err(InstallError::from)).await?;
        Ok(view(&entry))
    }

    fn entry(&self, principal: &Principal, name: &SkillName) -> Result<Entry, InstallError> {
        let found = self.0.catalogue.skill(&principal.tenant, name.as_str());
        found.ok_or_else(|| InstallError::UnknownSkill(name.clone()))
    }

    /// Versions only rise. The same version may be installed again with the same bytes (to change grants or settings),
    /// or by the local developer, who builds a version more than once.
    async fn check_version(&self, principal: &Principal, ready: &Ready) -> Result<(), InstallError> {
        let (manifest, package) = (ready.skill.manifest(), ready.skill.package());
        let skills = self.0.parts.store.skills();
        let Some(highest) = skills.highest_version(&principal.tenant, &manifest.name).await? else { return Ok(()) };
        let installed = skills.get(&principal.tenant, &manifest.name).await?;
        let again = installed.is_some_and(|row| row.digest == *package.digest());
        let known = skills.versions_digest(&principal.tenant, &manifest.name, &manifest.version).await?;
        let again = again || (manifest.version == highest && known == Some(*package.digest()));
        let rebuilt = package.trust() == Trust::LocalDev && manifest.version == highest;
        if again || rebuilt {
            return Ok(());
        }
        Ok(package.check_follows(&highest)?)
    }

    /// An update that asks for more, or describes a tool in other words, needs a person's fresh consent.
    fn check_consent(&self, principal: &Principal, ready: &Ready, consent: Consent) -> Result<(), InstallError> {
        let manifest = ready.skill.manifest();
        let before = self.0.catalogue.skill(&principal.tenant, manifest.name.as_str());
        let (Some(before), Consent::AsBefore) = (before, consent) else { return Ok(()) };
        let changed = match before.ready() {
            Some(old) => changes(old.skill.manifest(), manifest).iter().map(ToString::to_string).collect(),
            // What was agreed to cannot be read any more, so nothing counts as agreed.
            None => vec!["what is installed cannot be read any more".to_owned()],
        };
        if changed.is_empty() {
            return Ok(());
        }
        Err(InstallError::ConsentNeeded { skill: manifest.name.clone(), changes: changed })
    }

    /// Derives every installed skill again, from its package and signature, and removes packages and compiled code that are
    /// not installed: those of installations that were cut short, and those that were replaced. Components are mapped when
    /// they are called.
    pub(crate) async fn load(&self) -> Result<(), CallError> {
        let rows = self.0.parts.store.skills().list_all().await?;
        match self.0.parts.store.blobs().sweep(rows.iter().map(|row| row.digest).collect()).await {
            Ok(0) => {}
            Ok(swept) => tracing::info!(swept, "packages that are not installed are removed"),
            Err(error) => tracing::warn!(%error, "packages that are not installed cannot be removed"),
        }
        let mut trust_stores: BTreeMap<TenantId, TrustStore> = BTreeMap::new();
        for row in &rows {
            if !trust_stores.contains_key(&row.tenant) {
                let trust = self.trust_store(&row.tenant).await?;
                trust_stores.insert(row.tenant.clone(), trust);
            }
        }
        // Twice what the machine computes at one time: while some are read from the disk, others are analysed.
        let at_once = 2 * std::thread::available_parallelism().map_or(1, usize::from);
        let trust_stores = &trust_stores;
        futures::stream::iter(rows)
            .for_each_concurrent(at_once, |row| async move {
                let trust = &trust_stores[&row.tenant];
                self.reload(row, trust).await;
            })
            .await;
        let keeping = self.0.wheels.lock().await;
        self.sweep_wheels().await;
        drop(keeping);
        self.sweep_code().await;
        Ok(())
    }

    /// Removes compiled code that no installed component needs: of what was removed or replaced, and of other engines.
    async fn sweep_code(&self) {
        let mut installed = Vec::new();
        for entry in self.0.catalogue.all() {
            let component = match &entry.state {
                State::Ready(ready) => Some(*ready.skill.package().component_digest()),
                // It may run again once it is trusted again.
                State::Broken(_) => self.component_of_broken(&entry.row.digest).await,
            };
            installed.extend(component.map(|component| (entry.row.tenant.clone(), component)));
        }
        let (runtime, now) = (self.0.parts.runtime.clone(), self.0.parts.clock.now());
        match tokio::task::spawn_blocking(move || runtime.sweep_code(&installed, now)).await {
            Ok(Ok(swept)) if swept.files == 0 => {}
            Ok(Ok(swept)) => {
                let (files, bytes) = (swept.files, swept.bytes);
                tracing::info!(files, bytes, "compiled code that no installed skill needs is removed");
            }
            Ok(Err(error)) => tracing::warn!(%error, "compiled code that no installed skill needs cannot be removed"),
            Err(panic) => tracing::warn!(%panic, "compiled code that no installed skill needs cannot be removed"),
        }
    }

    async fn component_of_broken(&self, package: &Digest) -> Option<Digest> {
        let bytes = self.0.parts.store.blobs().get(package).await.ok()??;
        let read = tokio::task::spawn_blocking(move || Some(Digest::of(Package::read(bytes).ok()?.entrypoint())));
        read.await.ok()?
    }

    /// The component of a skill, mapped: as it was used last, out of the cache of compiled code, or compiled.
    pub(crate) async fn component(&self, ready: &Arc<Ready>) -> Result<Arc<PreparedSkill>, SandboxError> {
        let runtime = &self.0.parts.runtime;
        if let Some(prepared) = runtime.warm(ready.skill.tenant(), ready.skill.package().digest()) {
            return Ok(prepared);
        }
        let (wanted, cache) = (Arc::clone(ready), runtime.clone());
        let kept =
            tokio::task::spawn_blocking(move || cache.map_kept(wanted.skill.tenant(), wanted.skill.package())).await;
        match kept.unwrap_or_else(|error| Err(SandboxError::Engine(error.to_string())))? {
            Some(prepared) => Ok(prepared),
            None => self.0.compiling.component(runtime, ready).await,
        }
    }

    /// Puts a skill into the catalogue as it can be derived now.
    pub(crate) async fn reload(&self, row: SkillRow, trust: &TrustStore) {
        let state = match self.derive(&row, trust).await {
            Ok(ready) => State::Ready(Arc::new(ready)),
            Err(error) => {
                tracing::error!(skill = %row.name, tenant = %row.tenant, %error, "an installed skill cannot be run");
                State::Broken(FaultReport::of(&error))
            }
        };
        let (tenant, name) = (row.tenant.clone(), row.name.clone());
        self.0.catalogue.put(&tenant, &name, Entry { row: Arc::new(row), state });
    }

    async fn derive(&self, row: &SkillRow, trust: &TrustStore) -> Result<Ready, InstallError> {
        let damaged = |what: &str| InstallError::Host(format!("{}: {what}; install it again", row.name));
        let Granted { hosts: grants, streams } =
            Granted::of(row.grants.clone()).map_err(|_odd| damaged("its grants cannot be read"))?;
        let settings: BTreeMap<String, String> =
            serde_json::from_value(row.settings.clone()).map_err(|_odd| damaged("its settings cannot be read"))?;
        let bytes = self.0.parts.store.blobs().get(&row.digest).await?.ok_or_else(|| damaged("its package is gone"))?;
        let request = InstallRequest {
            package: bytes,
            envelope: row.envelope.clone().map(Bytes::from),
            unsigned: if row.trust == Trust::Unsigned { Unsigned::DangerouslyAllow } else { Unsigned::Refuse },
            consent: Consent::AsBefore,
            hosts: HostChoice::Made,
            grants,
            streams,
            settings,
        };
        let (tenant, trust) = (row.tenant.clone(), trust.clone());
        let (ready, _envelope) = blocking(move || prepare(&request, &tenant, &trust)).await?;
        Ok(ready)
    }
}

/// What a person granted, as a row keeps it.
#[derive(Serialize, Deserialize)]
struct Granted {
    hosts: Vec<HostGrant>,
    streams: Vec<StreamGrant>,
}

impl Granted {
    fn to_value(&self) -> Result<Value, InstallError> {
        serde_json::to_value(self).map_err(|error| InstallError::Host(error.to_string()))
    }

    /// Rows of before there were other connections than HTTP have the list of hosts alone.
    fn of(value: Value) -> serde_json::Result<Self> {
        if value.is_array() {
            return Ok(Self { hosts: serde_json::from_value(value)?, streams: Vec::new() });
        }
        serde_json::from_value(value)
    }
}

/// A native skill of the public contract asks for the network as a whole. It gets the hosts that a person chose, who is
/// asked where the source names some and nobody has.
fn check_hosts(ready: &Ready, request: &InstallRequest) -> Result<(), InstallError> {
    let (manifest, report) = (ready.skill.manifest(), ready.skill.package().report());
    let open = request.hosts == HostChoice::Open && request.grants.is_empty();
    if manifest.runtime == Runtime::Wasm || !manifest.leaves_hosts_open() || !open || report.hosts.is_empty() {
        return Ok(());
    }
    let hosts = report.hosts.iter().map(|wish| wish.grant().unwrap_or_else(|| wish.host.to_string())).collect();
    Err(InstallError::HostsNotChosen { skill: manifest.name.clone(), hosts })
}

/// From bytes to something that can be called; no effect on anything.
fn prepare(
    request: &InstallRequest,
    tenant: &TenantId,
    trust: &TrustStore,
) -> Result<(Ready, Option<String>), InstallError> {
    let package = Package::read(request.package.clone())?;
    let envelope = request.envelope.as_deref().map(Envelope::parse).transpose()?;
    let kept = request.envelope.as_deref().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let verified = Arc::new(verify(package, envelope.as_ref(), trust, request.unsigned)?);
    let installed = verified.install(InstallTerms {
        tenant: tenant.clone(),
        grants: request.grants.clone(),
        streams: request.streams.clone(),
        settings: request.settings.clone(),
    })?;
    let ready = Ready::prepare(Arc::new(installed))?;
    // Kept only where it is what was verified: a package let in unsigned may come with an envelope of a stranger.
    Ok((ready, kept.filter(|_| verified.signer().is_some())))
}

/// The record says what was let in and what it was granted.
fn described(record: Record, package: &VerifiedPackage, request: &InstallRequest) -> Record {
    let manifest = package.manifest();
    let hosts: Vec<String> = request.grants.iter().map(ToString::to_string).collect();
    let credentials: Vec<String> = manifest.credentials.iter().map(|used| used.service.to_string()).collect();
    record
        .detail("version", manifest.version.to_string())
        .detail("skill_digest", package.digest().to_string())
        .detail("trust", package.trust().as_str())
        .detail("analysis", package.report().verdict.to_string())
        .detail("signer", package.signer().map(ToString::to_string))
        .detail("granted_hosts", hosts)
        .detail("granted_streams", request.streams.iter().map(ToString::to_string).collect::<Vec<_>>())
        .detail("credentials", credentials)
        .detail("requirements", required(manifest))
}

/// What it requires, in words: each package with its version.
fn required(manifest: &Manifest) -> Vec<String> {
    let named = |line: &String| line.split("--hash").next().unwrap_or(line).trim().to_owned();
    manifest.requirements.iter().map(named).collect()
}

fn record(action: Action, principal: &Principal, skill: &SkillName) -> Record {
    Record::new(action, Outcome::Intent).principal(principal).skill(skill)
}

fn view(entry: &Entry) -> SkillView {
    let row = &entry.row;
    let ready = entry.ready();
    let manifest = ready.map(|ready| ready.skill.manifest());
    let network = manifest.and_then(|manifest| manifest.permissions.network.as_ref());
    SkillView {
        name: row.name.clone(),
        version: row.version.clone(),
        digest: row.digest,
        trust: row.trust,
        publisher: row.publisher.clone(),
        enabled: row.activation == Activation::Enabled,
        broken: match &entry.state {
            State::Ready(_) => None,
            State::Broken(fault) => Some(fault.clone()),
        },
        verdict: ready.map(|ready| ready.skill.package().report().verdict),
        tools: manifest.map(|m| m.tools.iter().map(|tool| tool.name.clone()).collect()).unwrap_or_default(),
        network: network.into_iter().flatten().map(ToString::to_string).collect(),
        grants: ready.map(|ready| ready.skill.grants().to_vec()).unwrap_or_default(),
        credentials: manifest
            .map(|m| m.credentials.iter().map(|used| used.service.to_string()).collect())
            .unwrap_or_default(),
        integration: manifest.and_then(|m| m.integration.clone()),
        streams: manifest.map(|m| m.permissions.streams.iter().map(ToString::to_string).collect()).unwrap_or_default(),
        granted_streams: ready.map(|ready| ready.skill.streams().to_vec()).unwrap_or_default(),
        requirements: manifest.map(required).unwrap_or_default(),
        settings: ready.map(|ready| effective_settings(&ready.skill)).unwrap_or_default(),
        installed_by: row.installed_by.to_string(),
        installed_at: row.installed_at,
    }
}

/// The manifest's defaults under what the person set.
pub(crate) fn effective_settings(skill: &InstalledSkill) -> BTreeMap<String, String> {
    let declared = skill.manifest().settings.iter();
    declared.filter_map(|setting| Some((setting.key.clone(), skill.setting(&setting.key)?.to_owned()))).collect()
}

/// Runs what computes for long on a thread of its own. A panic there becomes an error here.
async fn blocking<T, F>(work: F) -> Result<T, InstallError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, InstallError> + Send + 'static,
{
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(InstallError::Host(format!("{error}"))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future as _;

    #[tokio::test]
    async fn changes_that_wait_are_bounded_for_each_tenant() {
        let installing = Installing::default();
        let (acme, rival): (TenantId, TenantId) = ("acme".parse().unwrap(), "rival".parse().unwrap());
        let turn = installing.turn(&acme).await.unwrap();
        let mut waiting: Vec<_> = (1..IN_LINE).map(|_| Box::pin(installing.turn(&acme))).collect();
        for one in &mut waiting {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(one.as_mut().poll(&mut context).is_pending());
        }
        assert!(matches!(installing.turn(&acme).await, Err(InstallError::OverCapacity)), "at once");
        drop(installing.turn(&rival).await.unwrap());
        drop(turn);
        for one in waiting {
            drop(one.await.unwrap());
        }
        drop(installing.turn(&acme).await.unwrap());
    }
}
