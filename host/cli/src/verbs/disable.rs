//! `sophon disable`.

use super::{ask, part};
use crate::arguments::InTenant;
use crate::context::Context;
use crate::error::CliError;
use clap::Args;
use http::Method;
use serde_json::json;
use std::process::ExitCode;

/// Stop a skill's tools from being called.
#[derive(Debug, Args)]
pub(crate) struct Disable {
    /// The skill's name.
    name: String,
    #[command(flatten)]
    tenant: InTenant,
}

impl Disable {
    pub(crate) async fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let path = format!("/v1/skills/{}/disable", part(&self.name));
        ask(context, self.tenant, Method::POST, &path, None).await?;
        context.output().data(&json!({"name": self.name, "disabled": true}), |_value| String::new())?;
        context.output().note(&format!("{} is disabled", self.name));
        Ok(ExitCode::SUCCESS)
    }
}
