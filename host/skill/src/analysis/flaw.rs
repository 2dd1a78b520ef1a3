//! Why bytes cannot be read as a component at all.

use super::facts::MAX_COMPONENT;
use crate::text::quote;
use sophon_types::{Fault, FaultKind, Stage};

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

impl From<wasmparser::Error> for Flaw {
    fn from(error: wasmparser::Error) -> Self {
        Self::at(error.offset(), error.message())
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
