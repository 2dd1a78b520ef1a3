//! `sophon sign`.

use crate::context::Context;
use crate::error::CliError;
use clap::Args;
use serde_json::json;
use sophon_skill::SigningIdentity;
use std::path::PathBuf;
use std::process::ExitCode;
use zeroize::Zeroizing;

/// Sign a package with an identity of this home.
#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// The package.
    file: PathBuf,
    /// The identity's name, as `sophon key identity` made it.
    #[arg(long)]
    identity: String,
}

impl Sign {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let path = context.home()?.identity(&self.identity)?;
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let message = format!("this home has no identity {}", self.identity);
                return Err(CliError::usage(message, format!("sophon key identity {}", self.identity)));
            }
            Err(error) => return Err(CliError::file(path, error)),
        };
        let identity = SigningIdentity::from_text(&text).map_err(|error| CliError::of(&error))?;
        let signed = sophon_author::sign(&self.file, &identity)?;
        context.output().data(&json!(signed), |_value| signed.envelope.display().to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}
