//! `sophon list`.

use super::ask;
use crate::arguments::InTenant;
use crate::context::Context;
use crate::error::CliError;
use crate::output::table;
use clap::Args;
use http::Method;
use std::process::ExitCode;

/// The installed skills.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    tenant: InTenant,
}

impl List {
    pub(crate) async fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let answer = ask(context, self.tenant, Method::GET, "/v1/skills", None).await?;
        context
            .output()
            .data(&answer, |value| table(&value["skills"], &["name", "version", "trust", "enabled", "tools"]))?;
        Ok(ExitCode::SUCCESS)
    }
}
