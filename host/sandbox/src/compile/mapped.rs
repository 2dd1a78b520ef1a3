//! The one place with unsafe code: mapping compiled code that this host made.
//!
//! The code lies in an anonymous file that is sealed before it is looked at: whatever process might have opened it,
//! nobody can change it between the check and its last use.

#![expect(unsafe_code, reason = "mapping compiled code is what a WebAssembly host does; see `map`")]

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use wasmtime::Engine;
use wasmtime::component::Component;

/// Compiled code in memory that can no longer be changed.
pub(super) struct Sealed(File);

impl Sealed {
    /// Copies `code` into a sealed anonymous file.
    pub(super) fn new(code: &[u8]) -> std::io::Result<Self> {
        let fd = memfd_create("sophon-code", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let mut file = File::from(fd);
        file.write_all(code)?;
        fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        Ok(Self(file))
    }

    /// What is in it now, and so for ever.
    pub(super) fn content(&mut self) -> std::io::Result<Vec<u8>> {
        let mut content = Vec::new();
        self.0.seek(SeekFrom::Start(0))?;
        self.0.read_to_end(&mut content)?;
        Ok(content)
    }

    /// Maps it as a component.
    ///
    /// The caller vouches that the content came out of [`Engine::precompile_component`] of this host: just now, or
    /// before and under a MAC that only this host can make, checked over [`Sealed::content`].
    pub(super) fn map(&self, engine: &Engine) -> Result<Component, String> {
        let path = format!("/proc/self/fd/{}", self.0.as_raw_fd());
        // SAFETY: `Component::deserialize_file` asks for two things. The file holds what `precompile_component` made:
        // the callers are `component` below (bytes of this host's own compiler) and the cache (bytes under its MAC).
        // The file does not change while it is mapped: it is sealed against writing, growing and shrinking.
        let component = unsafe { Component::deserialize_file(engine, path) };
        component.map_err(|error| format!("{error:#}"))
    }
}

/// Maps code that the host's own compiler has just made.
pub(super) fn component(engine: &Engine, code: &[u8]) -> Result<Component, String> {
    let sealed = Sealed::new(code).map_err(|error| format!("no memory for the compiled code: {error}"))?;
    sealed.map(engine)
}
