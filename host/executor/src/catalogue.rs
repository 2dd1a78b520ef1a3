//! The skills that are installed, ready to be called: evidence, compiled code, validators and allowlists in one place.

use crate::InstallError;
use crate::install::effective_settings;
use jsonschema::Validator;
use parking_lot::RwLock;
use serde_json::Value;
use sophon_egress::Allowlist;
use sophon_sandbox::{PreparedSkill, WasmRuntime};
use sophon_skill::InstalledSkill;
use sophon_store::SkillRow;
use sophon_types::{FaultReport, SkillName, TenantId, ToolName};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A skill that can run.
pub(crate) struct Ready {
    pub(crate) skill: Arc<InstalledSkill>,
    pub(crate) prepared: PreparedSkill,
    pub(crate) settings: Arc<BTreeMap<String, String>>,
    /// By the tool's index in the manifest.
    pub(crate) tools: Vec<ReadyTool>,
}

/// What a call of one tool needs.
pub(crate) struct ReadyTool {
    validator: Validator,
    pub(crate) allowlist: Arc<Allowlist>,
}

/// The most violations that one answer lists.
const VIOLATIONS: usize = 20;

impl ReadyTool {
    /// Every violation of the schema, with its place. Values that the caller sent are not repeated.
    pub(crate) fn violations(&self, arguments: &Value) -> Vec<String> {
        let found = self.validator.iter_errors(arguments).take(VIOLATIONS);
        found
            .map(|error| {
                let place = error.instance_path().to_string();
                let place = if place.is_empty() { "the arguments".to_owned() } else { place };
                format!("{place}: {}", error.masked())
            })
            .collect()
    }
}

impl Ready {
    /// Prepares everything a call needs. Compiles: not for an async worker.
    pub(crate) fn prepare(skill: Arc<InstalledSkill>, runtime: &WasmRuntime) -> Result<Self, InstallError> {
        let prepared = runtime.prepare_for(skill.tenant(), skill.package())?;
        let manifest = skill.manifest();
        let mut tools = Vec::with_capacity(manifest.tools.len());
        for tool in &manifest.tools {
            // One draft and one engine, whatever the schema says of itself: the same that the manifest was checked for.
            let validator = jsonschema::options()
                .with_draft(jsonschema::Draft::Draft202012)
                .with_pattern_options(jsonschema::PatternOptions::regex())
                .build(&tool.parameters)
                .map_err(|error| InstallError::Schema { tool: tool.name.clone(), cause: error.to_string() })?;
            let allowlist = Arc::new(Allowlist::compile(manifest, Some(tool), skill.grants()));
            tools.push(ReadyTool { validator, allowlist });
        }
        let settings = Arc::new(effective_settings(&skill));
        Ok(Self { skill, prepared, settings, tools })
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
