//! Reads a component in one pass: every payload is validated and, where the rules need something of it, noted.

use super::flaw::{Flaw, check_frame};
use super::offered::InterfaceName;
use crate::sections::TOOLS_SECTION;
use wasmparser::component_types::ComponentEntityType;
use wasmparser::types::Types;
use wasmparser::{
    ComponentExternalKind, ComponentInstance, ConstExpr, DataKind, ElementItems, ElementKind, FuncToValidate,
    FuncValidatorAllocations, FunctionBody, Instance, Operator, Parser, Payload, SectionLimited, TypeRef, ValidPayload,
    Validator, ValidatorResources, WasmFeatures,
};

/// Bytes of a component. The largest that is known (a whole Python interpreter) has 26 MB.
pub const MAX_COMPONENT: usize = 48 << 20;
/// Components within components. Tools that compose components reach three.
const MAX_NESTING: usize = 8;
/// Imports and exports of the component itself.
const MAX_NAMES: usize = 1000;
/// Bytes of the section `sophon:tools`.
const MAX_TOOLS_SECTION: usize = 2 << 20;
/// Custom sections at any depth. Debug information makes about a dozen a module.
const MAX_SECTIONS: usize = 2000;
/// Data segments that are looked into. Beyond it the structure is refused anyway.
pub(super) const MAX_SEGMENTS: u64 = 20_000;

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

/// How many there are of each part, at any depth.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) modules: u64,
    pub(super) components: u64,
    pub(super) functions: u64,
    pub(super) locals: u64,
    pub(super) code: u64,
    pub(super) types: u64,
    pub(super) tables: u64,
    pub(super) memories: u64,
    pub(super) globals: u64,
    pub(super) data_segments: u64,
    pub(super) element_segments: u64,
    pub(super) elements: u64,
    pub(super) imports: u64,
    pub(super) exports: u64,
    /// Types, instances, aliases and canonical functions of the component model.
    pub(super) component_items: u64,
    /// Bytes of linear memory that all core modules together start with.
    pub(super) initial_memory: u64,
    /// Elements of all tables together at the start.
    pub(super) initial_table: u64,
    /// Core modules that are instantiated.
    pub(super) instances: u64,
    /// Components that a component imports, other than the whole: what they are is not known while it is read.
    pub(super) component_imports: u64,
    /// Instances that the components which are open at each depth come to, by what is known when they make them.
    weights: [u64; MAX_NESTING + 1],
    /// The most that any component which has ended comes to. What is made was defined before, so none comes to more.
    heaviest: u64,
}

impl Totals {
    /// How many instances of components there can be at most.
    pub(super) fn component_instances(&self) -> u64 {
        self.weights[0]
    }
}

/// The largest value of something among all functions, and where that function stands.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Most {
    pub(super) value: u64,
    pub(super) offset: usize,
}

impl Most {
    fn see(&mut self, value: u64, offset: usize) {
        if value > self.value {
            *self = Self { value, offset };
        }
    }
}

/// The extremes of the functions' bodies.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    pub(super) size: Most,
    pub(super) locals: Most,
    pub(super) nesting: Most,
    pub(super) branches: Most,
}

/// Bytes that may hold anything.
#[derive(Debug, Clone, Copy)]
pub(super) struct Carrier<'a> {
    pub(super) kind: CarrierKind<'a>,
    pub(super) data: &'a [u8],
    /// Where it begins, in the component or in the file.
    pub(super) offset: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CarrierKind<'a> {
    /// A data segment of a core module, and where it goes in memory.
    Segment { module: usize, address: Option<u32> },
    /// A custom section.
    Section(&'a str),
    /// Another file of the package.
    File(&'a str),
}

/// A segment that does not fit into what it is written to.
#[derive(Debug)]
pub(super) struct Misplaced {
    pub(super) what: &'static str,
    pub(super) offset: usize,
    pub(super) end: u64,
    pub(super) room: u64,
}

/// What the rules look at.
#[derive(Debug, Default)]
pub(super) struct Facts<'a> {
    pub(super) imports: Vec<Extern>,
    pub(super) exports: Vec<Extern>,
    pub(super) tools_section: Option<&'a [u8]>,
    pub(super) totals: Totals,
    pub(super) bodies: Bodies,
    pub(super) carriers: Vec<Carrier<'a>>,
    /// The code section of each core module, by the module's number.
    pub(super) code: Vec<(usize, &'a [u8])>,
    pub(super) misplaced: Vec<Misplaced>,
    /// Custom sections among the carriers.
    sections: usize,
}

/// What is open while the component is walked.
enum Level {
    Component,
    Module(Module),
}

/// What of a core module its segments are checked against. `None` for what is imported: its size is not known here.
#[derive(Default)]
struct Module {
    number: usize,
    memories: Vec<Option<u64>>,
    tables: Vec<Option<u64>>,
}

impl<'a> Facts<'a> {
    pub(super) fn of(component: &'a [u8]) -> Result<Self, Flaw> {
        check_frame(component)?;
        let (mut facts, types) = Self::walk(component)?;
        if facts.tools_section.is_some_and(|section| section.len() > MAX_TOOLS_SECTION) {
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

    fn walk(component: &'a [u8]) -> Result<(Self, Types), Flaw> {
        let mut facts = Self::default();
        let mut levels = Vec::new();
        let mut types = None;
        let mut allocations = FuncValidatorAllocations::default();
        let mut validator = Validator::new_with_features(FEATURES);
        let mut parser = Parser::new(0);
        parser.set_features(FEATURES);
        for payload in parser.parse_all(component) {
            let payload = payload?;
            match validator.payload(&payload)? {
                ValidPayload::Func(function, body) => {
                    allocations = facts.function(function, &body, allocations)?;
                }
                // The last to end is the whole.
                ValidPayload::End(ended) => types = Some(ended),
                ValidPayload::Ok | ValidPayload::Parser(_) => {}
            }
            match levels.last_mut() {
                Some(Level::Module(module)) => facts.in_module(payload, module, component)?,
                _ => facts.in_component(&payload, levels.len())?,
            }
            .apply(&mut levels);
        }
        let types = types.ok_or_else(|| Flaw::whole("the component does not end"))?;
        Ok((facts, types))
    }

    fn in_component(&mut self, payload: &Payload<'a>, depth: usize) -> Result<Step, Flaw> {
        let totals = &mut self.totals;
        match payload {
            Payload::ModuleSection { .. } => {
                let number = usize::try_from(totals.modules).unwrap_or(usize::MAX);
                totals.modules += 1;
                return Ok(Step::Into(Level::Module(Module { number, ..Module::default() })));
            }
            Payload::ComponentSection { unchecked_range, .. } => {
                totals.components += 1;
                if depth >= MAX_NESTING {
                    let message = format!("components nest deeper than {MAX_NESTING}");
                    return Err(Flaw::at(unchecked_range.start, message));
                }
                if let Some(weight) = totals.weights.get_mut(depth + 1) {
                    *weight = 0;
                }
                return Ok(Step::Into(Level::Component));
            }
            Payload::End(_) => {
                totals.heaviest = totals.heaviest.max(totals.weights.get(depth).copied().unwrap_or_default());
                return Ok(Step::Out);
            }
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section.clone() {
                    let import = import?;
                    push(&mut self.imports, import.name.name, import.ty.kind())?;
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section.clone() {
                    let export = export?;
                    push(&mut self.exports, export.name.name, export.kind)?;
                }
            }
            Payload::CoreTypeSection(section) => totals.types += count(section),
            Payload::InstanceSection(section) => {
                totals.component_items += count(section);
                for instance in section.clone() {
                    totals.instances += u64::from(matches!(instance?, Instance::Instantiate { .. }));
                }
            }
            Payload::ComponentInstanceSection(section) => {
                totals.component_items += count(section);
                for instance in section.clone() {
                    if matches!(instance?, ComponentInstance::Instantiate { .. })
                        && let Some(weight) = totals.weights.get_mut(depth)
                    {
                        *weight = weight.saturating_add(1).saturating_add(totals.heaviest);
                    }
                }
            }
            Payload::ComponentAliasSection(section) => totals.component_items += count(section),
            Payload::ComponentTypeSection(section) => totals.component_items += count(section),
            Payload::ComponentCanonicalSection(section) => totals.component_items += count(section),
            Payload::ComponentImportSection(section) => {
                totals.component_items += count(section);
                for import in section.clone() {
                    let is_component = import?.ty.kind() == ComponentExternalKind::Component;
                    totals.component_imports += u64::from(is_component);
                }
            }
            Payload::ComponentExportSection(section) => totals.component_items += count(section),
            Payload::CustomSection(section) if depth == 0 && section.name() == TOOLS_SECTION => {
                if self.tools_section.is_some() {
                    return Err(Flaw::at(section.data_offset(), "there is a second section sophon:tools"));
                }
                self.tools_section = Some(section.data());
            }
            Payload::CustomSection(section) => {
                self.carry(CarrierKind::Section(section.name()), section.data(), section.data_offset())?;
            }
            _ => {}
        }
        Ok(Step::On)
    }

    fn in_module(&mut self, payload: Payload<'a>, module: &mut Module, component: &'a [u8]) -> Result<Step, Flaw> {
        let totals = &mut self.totals;
        match payload {
            Payload::End(_) => return Ok(Step::Out),
            Payload::TypeSection(section) => totals.types += count(&section),
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    totals.imports += 1;
                    match import?.ty {
                        TypeRef::Memory(_) => module.memories.push(None),
                        TypeRef::Table(_) => module.tables.push(None),
                        _ => {}
                    }
                }
            }
            Payload::FunctionSection(section) => totals.functions += count(&section),
            Payload::MemorySection(section) => {
                totals.memories += count(&section);
                for memory in section {
                    let bytes = memory?.initial.saturating_mul(64 * 1024);
                    totals.initial_memory = totals.initial_memory.saturating_add(bytes);
                    module.memories.push(Some(bytes));
                }
            }
            Payload::TableSection(section) => {
                totals.tables += count(&section);
                for table in section {
                    let size = table?.ty.initial;
                    totals.initial_table = totals.initial_table.saturating_add(size);
                    module.tables.push(Some(size));
                }
            }
            Payload::GlobalSection(section) => totals.globals += count(&section),
            Payload::ExportSection(section) => totals.exports += count(&section),
            Payload::ElementSection(section) => self.elements(section, module)?,
            Payload::CodeSectionStart { range, .. } => {
                totals.code += range.len() as u64;
                self.code.push((module.number, component.get(range).unwrap_or_default()));
            }
            Payload::DataSection(section) => self.data(section, module)?,
            Payload::CustomSection(section) => {
                self.carry(CarrierKind::Section(section.name()), section.data(), section.data_offset())?;
            }
            _ => {}
        }
        Ok(Step::On)
    }

    fn elements(&mut self, section: wasmparser::ElementSectionReader<'a>, module: &Module) -> Result<(), Flaw> {
        self.totals.element_segments += count(&section);
        for element in section {
            let element = element?;
            let items = u64::from(match &element.items {
                ElementItems::Functions(items) => items.count(),
                ElementItems::Expressions(_, items) => items.count(),
            });
            self.totals.elements = self.totals.elements.saturating_add(items);
            if let ElementKind::Active { table_index, offset_expr } = &element.kind {
                let room = module.tables.get(table_index.unwrap_or(0) as usize).copied().flatten();
                self.place("element", constant(offset_expr), items, room, element.range.start);
            }
        }
        Ok(())
    }

    fn data(&mut self, section: wasmparser::DataSectionReader<'a>, module: &Module) -> Result<(), Flaw> {
        for segment in section {
            let segment = segment?;
            self.totals.data_segments += 1;
            let mut address = None;
            let offset = segment.range.end.saturating_sub(segment.data.len());
            if let DataKind::Active { memory_index, offset_expr } = &segment.kind {
                address = constant(offset_expr);
                let room = module.memories.get(*memory_index as usize).copied().flatten();
                self.place("data", address, segment.data.len() as u64, room, segment.range.start);
            }
            if self.totals.data_segments <= MAX_SEGMENTS {
                let kind = CarrierKind::Segment { module: module.number, address };
                self.carriers.push(Carrier { kind, data: segment.data, offset });
            }
        }
        Ok(())
    }

    /// Notes a segment that cannot fit, whatever runs before it is written.
    fn place(&mut self, what: &'static str, at: Option<u32>, length: u64, room: Option<u64>, offset: usize) {
        let (Some(at), Some(room)) = (at, room) else { return };
        let end = u64::from(at) + length;
        if end > room && self.misplaced.len() < 8 {
            self.misplaced.push(Misplaced { what, offset, end, room });
        }
    }

    fn carry(&mut self, kind: CarrierKind<'a>, data: &'a [u8], offset: usize) -> Result<(), Flaw> {
        if self.sections == MAX_SECTIONS {
            return Err(Flaw::whole(format!("there are more than {MAX_SECTIONS} custom sections")));
        }
        self.sections += 1;
        self.carriers.push(Carrier { kind, data, offset });
        Ok(())
    }

    /// Validates one function, as [`wasmparser::FuncValidator::validate`] does, and looks at its shape on the way.
    fn function(
        &mut self,
        function: FuncToValidate<ValidatorResources>,
        body: &FunctionBody<'a>,
        allocations: FuncValidatorAllocations,
    ) -> Result<FuncValidatorAllocations, Flaw> {
        const BR_TABLE: u8 = 0x0e;
        let start = body.range().start;
        let mut validator = function.into_validator(allocations);
        let mut reader = body.get_binary_reader();
        validator.read_locals(&mut reader)?;
        reader.set_features(FEATURES);
        let (mut nesting, mut branches) = (0, 0);
        while !reader.eof() {
            let at = reader.original_position();
            reader.visit_operator(&mut validator.visitor(at))??;
            nesting = nesting.max(validator.control_stack_height());
            if body.as_bytes().get(at - start) == Some(&BR_TABLE) {
                // One target takes a byte at least, so the instruction's length bounds their number.
                branches = branches.max(reader.original_position() - at);
            }
        }
        reader.finish_expression(&validator.visitor(reader.original_position()))?;
        let locals = u64::from(validator.len_locals());
        self.totals.locals = self.totals.locals.saturating_add(locals);
        self.bodies.size.see(body.as_bytes().len() as u64, start);
        self.bodies.locals.see(locals, start);
        self.bodies.nesting.see(u64::from(nesting), start);
        self.bodies.branches.see(branches as u64, start);
        Ok(validator.into_allocations())
    }
}

/// What a payload does to the level that is open.
enum Step {
    On,
    Into(Level),
    Out,
}

impl Step {
    fn apply(self, levels: &mut Vec<Level>) {
        match self {
            Self::On => {}
            Self::Into(level) => levels.push(level),
            // The end of the whole finds nothing open.
            Self::Out => drop(levels.pop()),
        }
    }
}

fn count<T>(section: &SectionLimited<'_, T>) -> u64 {
    u64::from(section.count())
}

/// The value of `i32.const N`; nothing for an expression that asks a global.
fn constant(expression: &ConstExpr<'_>) -> Option<u32> {
    match expression.get_operators_reader().read() {
        Ok(Operator::I32Const { value }) => Some(value.cast_unsigned()),
        _ => None,
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
