//! `sophon remove`.

use super::{ask, part};
use crate::arguments::InTenant;
use crate::context::Context;
use crate::error::CliError;
use clap::Args;
use http::Method;
use serde_json::json;
use std::process::ExitCode;

/// Remove a skill; what it kept goes with it.
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The skill's name.
    name: String,
    #[command(flatten)]
    tenant: InTenant,
}

impl Remove {
    pub(crate) async fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let path = format!("/v1/skills/{}", part(&self.name));
        ask(context, self.tenant, Method::DELETE, &path, None).await?;
        context.output().data(&json!({"name": self.name, "removed": true}), |_value| String::new())?;
        context.output().note(&format!("{} is removed", self.name));
        Ok(ExitCode::SUCCESS)
    }
}
