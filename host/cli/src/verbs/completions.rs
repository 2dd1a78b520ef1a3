//! `sophon completions`.

use crate::arguments::Arguments;
use crate::context::Context;
use crate::error::CliError;
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use std::process::ExitCode;

/// Write the completions of a shell.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Which shell.
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "sophon", &mut script);
        context.output().bytes(&script)?;
        Ok(ExitCode::SUCCESS)
    }
}
