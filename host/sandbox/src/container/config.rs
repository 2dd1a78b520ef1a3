//! Where the engine is, and how much of the machine native skills may have.

use super::ImageKind;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// How native skills are run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerConfig {
    /// The engine's address, `unix:///run/…/docker.sock`. Without one native skills are refused.
    pub engine: Option<String>,
    /// The name that the engine knows gVisor by.
    pub runtime: String,
    /// Whose sandboxes these are: one value for each home, so that two homes may share an engine.
    pub owner: String,
    /// Images in place of those that `scripts/build-images` makes: `python`, `csharp`, `base`.
    pub images: BTreeMap<String, String>,
    /// Sandboxes at one time, waiting ones included.
    pub concurrent: usize,
    /// MiB that all of them together may be allowed.
    pub memory_mb: usize,
    /// Sandboxes that are kept ready for each kind of skill (image and preset).
    pub warm: usize,
    /// The folder in which what skills require lies while they are in use. Without one they are refused.
    pub requirements: Option<PathBuf>,
}

impl Default for ContainerConfig {
    fn default() -> Self {
        Self {
            engine: None,
            runtime: "runsc".into(),
            owner: "nobody".into(),
            images: BTreeMap::new(),
            concurrent: 8,
            memory_mb: 4096,
            warm: 2,
            requirements: None,
        }
    }
}

impl ContainerConfig {
    pub(super) fn image(&self, kind: ImageKind) -> &str {
        self.images.get(kind.as_str()).map_or(kind.made_here(), String::as_str)
    }
}
