//! `sophon enable`.

use super::{ask, part};
use crate::arguments::InTenant;
use crate::context::Context;
use crate::error::CliError;
use clap::Args;
use http::Method;
use serde_json::json;
use std::process::ExitCode;

/// Let a skill's tools be called.
#[derive(Debug, Args)]
pub(crate) struct Enable {
    /// The skill's name.
    name: String,
    #[command(flatten)]
    tenant: InTenant,
}

impl Enable {
    pub(crate) async fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let path = format!("/v1/skills/{}/enable", part(&self.name));
        ask(context, self.tenant, Method::POST, &path, None).await?;
        context.output().data(&json!({"name": self.name, "enabled": true}), |_value| String::new())?;
        context.output().note(&format!("{} is enabled", self.name));
        Ok(ExitCode::SUCCESS)
    }
}
