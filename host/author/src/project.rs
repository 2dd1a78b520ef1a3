//! A skill's folder: the author's manifest, and what becomes of it once the component is there.

use crate::{AuthorError, component, describe, files, tools};
use serde_json::{Map, Value, json};
use sophon_skill::{Manifest, Runtime, tools_section, with_tools_section};
use sophon_types::CanonicalJson;
use std::path::Path;

/// Bytes of the largest manifest that is worth reading; the manifest's own reader has the exact bound.
const MANIFEST: usize = 1 << 20;

/// The author's manifest. Its tools may be missing, or hold only what the code does not say.
pub(crate) struct Draft {
    document: Map<String, Value>,
    /// What the manifest would say if the code added nothing: everything but the tools is final.
    pub(crate) manifest: Manifest,
}

/// A manifest with its tools, and the component that carries the same list.
pub(crate) struct Finished {
    /// `manifest.json` of the package.
    pub(crate) json: Vec<u8>,
    pub(crate) manifest: Manifest,
    pub(crate) component: Vec<u8>,
}

impl Draft {
    /// Reads a manifest; every violation outside the tools is found before anything is compiled.
    pub(crate) fn read(path: &Path) -> Result<Self, AuthorError> {
        let dir = || path.parent().unwrap_or(Path::new(".")).to_owned();
        if !path.is_file() {
            return Err(AuthorError::NoManifest { dir: dir() });
        }
        Self::parse(&files::read(path, MANIFEST)?)
    }

    fn parse(bytes: &[u8]) -> Result<Self, AuthorError> {
        let document = match CanonicalJson::parse(bytes).map(CanonicalJson::into_value) {
            Ok(Value::Object(document)) => document,
            // The manifest's own reader says best what is wrong with it.
            _not_an_object => {
                let manifest = Manifest::parse(bytes)?;
                return Err(AuthorError::Host(format!("{}: manifest.json is read in two ways", manifest.name)));
            }
        };
        let manifest = Manifest::parse(&json_of(&filled(document.clone())))?;
        if manifest.runtime != Runtime::Wasm {
            return Err(AuthorError::NotWasm { skill: manifest.name, runtime: manifest.runtime.to_string() });
        }
        Ok(Self { document, manifest })
    }

    /// Puts the tools of `binary` (a core module or a component) into the manifest and into the component.
    ///
    /// They come from the code where it describes itself, else from the manifest, else from the section that a
    /// component may have already.
    pub(crate) fn finish(self, binary: &[u8]) -> Result<Finished, AuthorError> {
        let skill = &self.manifest.name;
        let component = component::componentise(skill.as_str(), binary)?;
        let refused = |cause: String| AuthorError::NotAComponent { what: skill.to_string(), cause };
        let listed = self.document.get("tools").and_then(Value::as_array).cloned().unwrap_or_default();
        let tools = match describe::describe(skill, binary)? {
            Some(described) => tools::merge(skill, &listed, described)?,
            None if !listed.is_empty() => listed,
            None => {
                let section = tools_section(&component).map_err(|flaw| refused(flaw.to_string()))?;
                let section = section.ok_or_else(|| AuthorError::NoTools { skill: skill.clone() })?;
                let failed = |cause| AuthorError::Describe { skill: skill.clone(), cause };
                describe::parse(&section).map_err(failed)?.into_iter().map(Value::Object).collect()
            }
        };
        let component =
            with_tools_section(&component, &tools::section(&tools)).map_err(|flaw| refused(flaw.to_string()))?;
        let mut document = self.document;
        document.insert("tools".into(), tools.into());
        let json = json_of(&document);
        let manifest = Manifest::parse(&json)?;
        Ok(Finished { json, manifest, component })
    }
}

/// The document with everything that the code will say of its tools stood in for, so that the rest can be checked.
fn filled(mut document: Map<String, Value>) -> Map<String, Value> {
    let empty = document.get("tools").is_none_or(|tools| tools.as_array().is_some_and(Vec::is_empty));
    if empty {
        document.insert("tools".into(), json!([{ "name": "tool" }]));
    }
    let tools = document.get_mut("tools").and_then(Value::as_array_mut);
    for tool in tools.into_iter().flatten().filter_map(Value::as_object_mut) {
        tool.entry("description").or_insert_with(|| "Not described yet.".into());
        tool.entry("riskLevel").or_insert_with(|| "none".into());
    }
    document
}

/// For people to read, ending in a line feed. Keys in the order of the map: equal documents give equal bytes.
fn json_of(document: &Map<String, Value>) -> Vec<u8> {
    format!("{:#}\n", Value::Object(document.clone())).into_bytes()
}
