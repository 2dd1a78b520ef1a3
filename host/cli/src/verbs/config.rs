//! `sophon config`.

use crate::config::LogSection;
use crate::context::Context;
use crate::door::{Acting, Door};
use crate::error::CliError;
use clap::{Args, Subcommand};
use http::Method;
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
    /// Have the running gateway read it again: limits hold at once, what waits for the next start is named.
    Reload,
}

impl ConfigVerb {
    pub(crate) async fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        if matches!(self.verb, Verb::Reload) {
            return reload(context).await;
        }
        let config = context.config()?;
        let file = context.home()?.config();
        match self.verb {
            Verb::Reload => {}
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

async fn reload(context: &Context) -> Result<ExitCode, CliError> {
    // What is wrong with the file, the gateway says, and records.
    crate::telemetry::quiet(&LogSection::default())?;
    let door = Door::open(context, Acting::default()).await?;
    if door.is_in_process() {
        door.close().await?;
        return Err(CliError::usage(
            "no gateway runs in this home: the next one reads the configuration anyway",
            "sophon serve",
        ));
    }
    let answer = door.json(Method::POST, "/v1/operator/reload", None).await?.value;
    door.close().await?;
    let listed = |name: &str| answer[name].as_array().into_iter().flatten().filter_map(|key| key.as_str()).collect();
    let (applied, waiting): (Vec<&str>, Vec<&str>) = (listed("applied"), listed("needs_restart"));
    context.output().data(&answer, |_value| applied.iter().map(|key| format!("{key}\n")).collect())?;
    if !waiting.is_empty() {
        context.output().note(&format!("these hold from the next start on: {}", waiting.join(", ")));
    }
    Ok(ExitCode::SUCCESS)
}
