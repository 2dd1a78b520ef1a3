//! WebAssembly binaries: core module or component, what is nested in one, what one imports and exports.
//!
//! Promises: only looks at bytes. Whether a component may run is said by the analysis of `sophon_skill` alone.

use crate::AuthorError;
use std::ops::Range;
use wasmparser::{Encoding, ExternalKind, Parser, Payload};
use wit_component::ComponentEncoder;

/// Makes a component of what a compiler wrote; a component stays as it is.
pub(crate) fn componentise(what: &str, binary: &[u8]) -> Result<Vec<u8>, AuthorError> {
    let refused = |cause: String| AuthorError::NotAComponent { what: what.to_owned(), cause };
    match encoding(binary) {
        None => Err(refused("it is not WebAssembly".into())),
        Some(Encoding::Component) => Ok(binary.to_vec()),
        Some(Encoding::Module) => ComponentEncoder::default()
            .validate(true)
            .module(binary)
            .and_then(|mut encoder| encoder.encode())
            .map_err(|error| refused(format!("{error:#}"))),
    }
}

fn encoding(binary: &[u8]) -> Option<Encoding> {
    match Parser::new(0).parse(binary, true) {
        Ok(wasmparser::Chunk::Parsed { payload: Payload::Version { encoding, .. }, .. }) => Some(encoding),
        _ => None,
    }
}

/// The core module that exports `name`: the binary itself, or the first one nested in it at any depth.
pub(crate) fn module_exporting<'a>(binary: &'a [u8], name: &str) -> wasmparser::Result<Option<&'a [u8]>> {
    if encoding(binary) == Some(Encoding::Module) {
        return Ok(exports_of(binary)?.contains(&name).then_some(binary));
    }
    for payload in Parser::new(0).parse_all(binary) {
        if let Payload::ModuleSection { unchecked_range, .. } = payload?
            && let Some(module) = binary.get(unchecked_range)
            && exports_of(module)?.contains(&name)
        {
            return Ok(Some(module));
        }
    }
    Ok(None)
}

fn exports_of(module: &[u8]) -> wasmparser::Result<Vec<&str>> {
    let mut names = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::ExportSection(section) = payload? {
            for export in section {
                let export = export?;
                if export.kind == ExternalKind::Func {
                    names.push(export.name);
                }
            }
        }
    }
    Ok(names)
}

/// What a component shows on its outside.
#[derive(Debug, Default)]
pub(crate) struct Outline {
    pub(crate) imports: Vec<String>,
    pub(crate) exports: Vec<String>,
    /// Name and size of each section at the top level, in order.
    pub(crate) sections: Vec<(String, usize)>,
}

/// Reads the outside of a component.
pub(crate) fn outline(component: &[u8]) -> wasmparser::Result<Outline> {
    let mut outline = Outline::default();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload?;
        if depth == 0 {
            match &payload {
                Payload::ComponentImportSection(section) => {
                    for import in section.clone() {
                        outline.imports.push(import?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(section) => {
                    for export in section.clone() {
                        outline.exports.push(export?.name.name.to_owned());
                    }
                }
                _ => {}
            }
            if let Some((name, range)) = section(&payload) {
                outline.sections.push((name, range.len()));
            }
        }
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(outline)
}

fn section(payload: &Payload<'_>) -> Option<(String, Range<usize>)> {
    match payload {
        Payload::CustomSection(custom) => {
            Some((format!("custom {:?}", custom.name()), custom.data_offset()..custom.range().end))
        }
        Payload::ModuleSection { unchecked_range, .. } => Some(("core module".into(), unchecked_range.clone())),
        Payload::ComponentSection { unchecked_range, .. } => Some(("component".into(), unchecked_range.clone())),
        Payload::ComponentImportSection(section) => Some(("imports".into(), section.range())),
        Payload::ComponentExportSection(section) => Some(("exports".into(), section.range())),
        Payload::ComponentTypeSection(section) => Some(("types".into(), section.range())),
        Payload::CoreTypeSection(section) => Some(("core types".into(), section.range())),
        Payload::InstanceSection(section) => Some(("core instances".into(), section.range())),
        Payload::ComponentInstanceSection(section) => Some(("instances".into(), section.range())),
        Payload::ComponentAliasSection(section) => Some(("aliases".into(), section.range())),
        Payload::ComponentCanonicalSection(section) => Some(("canonical functions".into(), section.range())),
        _ => None,
    }
}
