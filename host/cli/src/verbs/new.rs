//! `sophon new`.

use crate::context::Context;
use crate::error::CliError;
use clap::Args;
use serde_json::json;
use sophon_author::NewOptions;
use std::path::PathBuf;
use std::process::ExitCode;

/// Start a skill: a project that builds.
#[derive(Debug, Args)]
pub(crate) struct New {
    /// The skill's name.
    name: String,
    /// The project's folder [default: a new one of the skill's name].
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Who writes it.
    #[arg(long)]
    author: Option<String>,
    /// What it is for.
    #[arg(long)]
    description: Option<String>,
    /// The folder with the crate sophon-sdk, which is on no registry: skills-sdk of a checkout of Sophon Host.
    #[arg(long, value_name = "FOLDER")]
    sdk: PathBuf,
}

impl New {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let sdk = std::path::absolute(&self.sdk).map_err(|error| CliError::file(&self.sdk, error))?;
        let options = NewOptions { sdk, author: self.author, description: self.description };
        let dir = self.dir.unwrap_or_else(|| self.name.clone().into());
        let created = sophon_author::new(&dir, &self.name, &options)?;
        context.output().data(&json!(created), |_value| created.dir.display().to_string())?;
        context.output().note(&format!("next: sophon build {}", created.dir.display()));
        Ok(ExitCode::SUCCESS)
    }
}
