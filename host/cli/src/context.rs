//! What every command stands on.

use crate::config::{self, Config};
use crate::error::CliError;
use crate::home::Home;
use crate::output::Output;
use crate::system::{Environment, SystemClock, SystemEntropy};
use sophon_sandbox::Confinement;
use sophon_types::{Clock, Entropy};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// The home, the environment and the ways to speak.
#[derive(Debug)]
pub(crate) struct Context {
    home: Option<PathBuf>,
    environment: Environment,
    output: Output,
    confinement: OnceLock<Result<Confinement, String>>,
}

impl Context {
    /// `home` is what the command line says; the environment knows the rest.
    pub(crate) fn new(home: Option<PathBuf>, environment: Environment, output: Output) -> Self {
        Self { home: home.or_else(|| environment.home()), environment, output, confinement: OnceLock::new() }
    }

    pub(crate) fn home(&self) -> Result<Home, CliError> {
        let root = self.home.clone().ok_or(CliError::NoHome)?;
        std::path::absolute(&root).map(Home::at).map_err(|error| CliError::file(root, error))
    }

    pub(crate) fn config(&self) -> Result<Config, CliError> {
        config::load(&self.home()?.config(), &self.environment)
    }

    /// Keeps what came of confining this process, which happens before anything can be logged.
    pub(crate) fn confined(&self, came: Result<Confinement, String>) {
        // There is one process to confine, once.
        if self.confinement.set(came).is_err() {}
    }

    /// What came of confining this process; nothing where it was not to be.
    pub(crate) fn confinement(&self) -> Option<&Result<Confinement, String>> {
        self.confinement.get()
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }

    pub(crate) fn output(&self) -> Output {
        self.output
    }

    pub(crate) fn entropy(&self) -> &'static dyn Entropy {
        &SystemEntropy
    }

    pub(crate) fn shared_entropy(&self) -> Arc<dyn Entropy> {
        Arc::new(SystemEntropy)
    }

    pub(crate) fn shared_clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock)
    }
}
