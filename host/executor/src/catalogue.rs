//! The skills that are installed, ready to be called: evidence, compiled code, validators and allowlists in one place.

use crate::InstallError;
use crate::install::effective_settings;
use parking_lot::RwLock;
use serde_json::Value;
use sophon_egress::Allowlist;
use sophon_sandbox::{BoxedComponent, NativeSkill};
use sophon_skill::{ArgumentCheck, InstalledSkill, Shown};
use sophon_store::SkillRow;
use sophon_types::{FaultReport, SkillName, TenantId, ToolName};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::sync::OnceCell;

/// A skill that can run. Its component is mapped while it is in use: [`Executor::component`](crate::Executor::component).
pub(crate) struct Ready {
    pub(crate) skill: Arc<InstalledSkill>,
    pub(crate) settings: Arc<BTreeMap<String, String>>,
    /// By the tool's index in the manifest.
    pub(crate) tools: Vec<ReadyTool>,
    /// Of a native skill: unpacked for its sandbox, once its tier was there.
    pub(crate) native: OnceCell<Arc<NativeSkill>>,
    /// Of a component that runs inside a sandbox: unpacked, once its tier was there.
    pub(crate) boxed: OnceCell<Arc<BoxedComponent>>,
}

/// What a call of one tool needs.
pub(crate) struct ReadyTool {
    check: ArgumentCheck,
    pub(crate) allowlist: Arc<Allowlist>,
}

impl ReadyTool {
    /// Every violation of the schema, with its place. Values that the caller sent are not repeated.
    pub(crate) fn violations(&self, arguments: &Value) -> Vec<String> {
        self.check.violations(arguments, Shown::PlacesOnly)
    }
}

impl Ready {
    /// Prepares everything a call needs but the component. Computes for some time: not for an async worker.
    pub(crate) fn prepare(skill: Arc<InstalledSkill>) -> Result<Self, InstallError> {
        let manifest = skill.manifest();
        let mut tools = Vec::with_capacity(manifest.tools.len());
        for tool in &manifest.tools {
            let check = ArgumentCheck::new(&tool.parameters)
                .map_err(|cause| InstallError::Schema { tool: tool.name.clone(), cause })?;
            let allowlist = Arc::new(Allowlist::compile(manifest, Some(tool), skill.grants()));
            tools.push(ReadyTool { check, allowlist });
        }
        let settings = Arc::new(effective_settings(&skill));
        Ok(Self { skill, settings, tools, native: OnceCell::new(), boxed: OnceCell::new() })
    }
}

/// An installed skill as its row tells, and whether it can run.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) row: Arc<SkillRow>,
    pub(crate) state: State,
}

/// Whether an installed skill can run.
#[derive(Clone)]
pub(crate) enum State {
    Ready(Arc<Ready>),
    /// It was accepted once, but cannot be derived again: listed, never run.
    Broken(FaultReport),
}

impl Entry {
    pub(crate) fn ready(&self) -> Option<&Arc<Ready>> {
        match &self.state {
            State::Ready(ready) => Some(ready),
            State::Broken(_) => None,
        }
    }
}

/// A tool that a caller's tenant has. Made only where it was found, so whoever keeps something by tool keeps no more than
/// is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedTool(ToolName);

impl OfferedTool {
    pub(crate) fn found(tool: ToolName) -> Self {
        Self(tool)
    }

    /// Its full name.
    #[must_use]
    pub const fn name(&self) -> &ToolName {
        &self.0
    }
}

/// Every tenant's skills.
#[derive(Default)]
pub(crate) struct Catalogue(RwLock<HashMap<TenantId, BTreeMap<SkillName, Entry>>>);

impl Catalogue {
    pub(crate) fn put(&self, tenant: &TenantId, name: &SkillName, entry: Entry) {
        self.0.write().entry(tenant.clone()).or_default().insert(name.clone(), entry);
    }

    pub(crate) fn remove(&self, tenant: &TenantId, name: &SkillName) {
        if let Some(skills) = self.0.write().get_mut(tenant) {
            skills.remove(name);
        }
    }

    /// Everything that is installed, of every tenant.
    pub(crate) fn all(&self) -> Vec<Entry> {
        self.0.read().values().flat_map(|skills| skills.values().cloned()).collect()
    }

    pub(crate) fn skills(&self, tenant: &TenantId) -> Vec<Entry> {
        self.0.read().get(tenant).map(|skills| skills.values().cloned().collect()).unwrap_or_default()
    }

    pub(crate) fn skill(&self, tenant: &TenantId, name: &str) -> Option<Entry> {
        self.0.read().get(tenant)?.get(name).cloned()
    }

    /// The skill that has the tool, and the tool's index. A tool's full name begins with its skill's name.
    pub(crate) fn tool(&self, tenant: &TenantId, tool: &ToolName) -> Option<(Entry, Option<usize>)> {
        let entry = self.skill(tenant, tool.skill())?;
        let index = entry
            .ready()
            .and_then(|ready| ready.skill.manifest().tools.iter().position(|candidate| candidate.name == *tool));
        Some((entry, index))
    }
}
