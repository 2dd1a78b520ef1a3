//! Reads a component: validated once, then walked once for what the rules need.

use super::offered::InterfaceName;
use crate::sections::tools_section;
use crate::text::quote;
use sophon_types::{Fault, FaultKind, Stage};
use wasmparser::component_types::ComponentEntityType;
use wasmparser::{ComponentExternalKind, Parser, Payload, Validator, WasmFeatures};

/// Bytes of a component. The largest that is known (a whole Python interpreter) has 26 MB.
pub const MAX_COMPONENT: usize = 48 << 20;
/// Components within components. Tools that compose components reach three.
const MAX_NESTING: usize = 8;
/// Imports and exports of the component itself.
const MAX_NAMES: usize = 1000;
/// Bytes of the section `sophon:tools`.
const MAX_TOOLS_SECTION: usize = 2 << 20;

/// What rustc and LLVM emit for `wasm32-wasip2`, and nothing beside it. Off, among others: threads, memory64,
/// multi-memory, tail calls, exceptions, garbage collection, relaxed SIMD, stack switching, custom page sizes, wide
/// arithmetic, and everything asynchronous of the component model. The sandbox's engine has the same list.
const FEATURES: WasmFeatures = WasmFeatures::FLOATS
    .union(WasmFeatures::MUTABLE_GLOBAL)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::SIMD)
    .union(WasmFeatures::COMPONENT_MODEL);

/// Something imported or exported by the component itself.
#[derive(Debug)]
pub(super) struct Extern {
    pub(super) name: String,
    pub(super) kind: ComponentExternalKind,
    /// The name as that of a versioned interface, where it is one.
    pub(super) interface: Option<InterfaceName>,
    /// Names of the functions that an exported instance has; empty for everything else.
    pub(super) functions: Vec<String>,
}

/// What the rules look at.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) imports: Vec<Extern>,
    pub(super) exports: Vec<Extern>,
    pub(super) tools_section: Option<Vec<u8>>,
    /// Core modules, at any depth.
    pub(super) modules: usize,
    /// Components within the component, at any depth.
    pub(super) components: usize,
    /// Bytes of linear memory that all core modules together start with.
    pub(super) initial_memory: u64,
    /// Elements of all tables together at the start.
    pub(super) initial_table: u64,
}

impl Facts {
    pub(super) fn of(component: &[u8]) -> Result<Self, Flaw> {
        check_frame(component)?;
        let mut validator = Validator::new_with_features(FEATURES);
        let types = validator.validate_all(component).map_err(|error| Flaw::at(error.offset(), error.message()))?;
        let mut facts = Self::walk(component)?;
        facts.tools_section = tools_section(component)?;
        if facts.tools_section.as_ref().is_some_and(|section| section.len() > MAX_TOOLS_SECTION) {
            return Err(Flaw::whole("the section sophon:tools is too large"));
        }
        for export in &mut facts.exports {
            let Some(item) = types.component_item_for_export(&export.name) else { continue };
            if let ComponentEntityType::Instance(instance) = item.ty {
                let items = types[instance].exports.iter();
                let functions = items.filter(|(_, item)| matches!(item.ty, ComponentEntityType::Func(_)));
                export.functions = functions.map(|(name, _)| name.clone()).collect();
            }
        }
        Ok(facts)
    }

    fn walk(component: &[u8]) -> Result<Self, Flaw> {
        let mut facts = Self::default();
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(component) {
            match payload.map_err(flaw)? {
                Payload::ModuleSection { .. } => {
                    facts.modules += 1;
                    depth += 1;
                }
                Payload::ComponentSection { unchecked_range, .. } => {
                    facts.components += 1;
                    depth += 1;
                    if depth > MAX_NESTING {
                        return Err(Flaw::at(
                            unchecked_range.start,
                            format!("components nest deeper than {MAX_NESTING}"),
                        ));
                    }
                }
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(section) if depth == 0 => {
                    for import in section {
                        let import = import.map_err(flaw)?;
                        push(&mut facts.imports, import.name.name, import.ty.kind())?;
                    }
                }
                Payload::ComponentExportSection(section) if depth == 0 => {
                    for export in section {
                        let export = export.map_err(flaw)?;
                        push(&mut facts.exports, export.name.name, export.kind)?;
                    }
                }
                Payload::MemorySection(section) => {
                    for memory in section {
                        let pages = memory.map_err(flaw)?.initial;
                        facts.initial_memory = facts.initial_memory.saturating_add(pages.saturating_mul(64 * 1024));
                    }
                }
                Payload::TableSection(section) => {
                    for table in section {
                        facts.initial_table = facts.initial_table.saturating_add(table.map_err(flaw)?.ty.initial);
                    }
                }
                _ => {}
            }
        }
        Ok(facts)
    }
}

fn push(list: &mut Vec<Extern>, name: &str, kind: ComponentExternalKind) -> Result<(), Flaw> {
    if list.len() == MAX_NAMES {
        return Err(Flaw::whole(format!("there are more than {MAX_NAMES} imports or exports")));
    }
    let interface = InterfaceName::parse(name);
    list.push(Extern { name: name.to_owned(), kind, interface, functions: Vec::new() });
    Ok(())
}

fn flaw(error: wasmparser::Error) -> Flaw {
    Flaw::at(error.offset(), error.message())
}

/// Size and first bytes: cheap, and the errors that authors make most.
pub(crate) fn check_frame(component: &[u8]) -> Result<(), Flaw> {
    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
    const MODULE: &[u8] = b"\0asm\x01\0\0\0";
    if component.len() > MAX_COMPONENT {
        return Err(Flaw::whole(format!("it has {} bytes, at most {MAX_COMPONENT} are allowed", component.len())));
    }
    if component.starts_with(MODULE) {
        return Err(Flaw::whole("this is a core module, not a component"));
    }
    if component.starts_with(b"\x7fELF") {
        return Err(Flaw::whole("this is machine code (a precompiled component?), which is never loaded"));
    }
    if !component.starts_with(COMPONENT) {
        return Err(Flaw::whole("this is not a WebAssembly component"));
    }
    Ok(())
}

/// Why bytes are no component that this host takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", self.place())]
pub struct Flaw {
    offset: Option<usize>,
    message: String,
}

impl Flaw {
    pub(crate) fn at(offset: usize, message: impl AsRef<str>) -> Self {
        // The validator repeats names out of the component.
        let message = message.as_ref();
        let plain = message.len() <= 300 && !message.contains(char::is_control) && message.is_ascii();
        let message = if plain { message.to_owned() } else { quote(message) };
        Self { offset: Some(offset), message }
    }

    pub(crate) fn whole(message: impl Into<String>) -> Self {
        Self { offset: None, message: message.into() }
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    pub(super) fn place(&self) -> String {
        self.offset.map_or_else(|| "component".to_owned(), |offset| format!("component, byte {offset:#x}"))
    }

    pub(super) fn advice(&self) -> &'static str {
        "build the skill with `cargo build --release --target wasm32-wasip2` and package the .wasm file as it comes out"
    }
}

impl Fault for Flaw {
    fn stage(&self) -> Stage {
        Stage::Analysis
    }
    fn kind(&self) -> FaultKind {
        FaultKind::Unprocessable
    }
    fn code(&self) -> &'static str {
        "invalid_component"
    }
    fn hint(&self) -> Option<String> {
        Some(self.advice().into())
    }
}
