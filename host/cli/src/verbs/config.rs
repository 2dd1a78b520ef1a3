//! `sophon config`.

use crate::context::Context;
use crate::error::CliError;
use clap::{Args, Subcommand};
use serde_json::json;
use std::process::ExitCode;

/// The configuration.
#[derive(Debug, Args)]
pub(crate) struct ConfigVerb {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Print every section and key with the value in use (as `sophon.toml` has it).
    Show,
    /// Check `sophon.toml` and the variables that go over it.
    Check,
}

impl ConfigVerb {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let config = context.config()?;
        let file = context.home()?.config();
        match self.verb {
            Verb::Show => {
                let unprintable = |message: String| CliError::Start { message };
                let text = toml::to_string(&config).map_err(|error| unprintable(error.to_string()))?;
                let value = serde_json::to_value(&config).map_err(|error| unprintable(error.to_string()))?;
                context.output().data(&value, |_value| text)?;
            }
            Verb::Check => {
                context.output().data(&json!({"file": file, "valid": true}), |_value| String::new())?;
                context.output().note(&format!("{}: valid", file.display()));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
