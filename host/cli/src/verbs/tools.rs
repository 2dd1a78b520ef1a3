//! `sophon tools`.

use super::ask;
use crate::arguments::InTenant;
use crate::context::Context;
use crate::error::CliError;
use crate::output::table;
use clap::Args;
use http::Method;
use std::process::ExitCode;

/// The tools.
#[derive(Debug, Args)]
pub(crate) struct Tools {
    #[command(flatten)]
    tenant: InTenant,
}

impl Tools {
    pub(crate) async fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let answer = ask(context, self.tenant, Method::GET, "/v1/tools", None).await?;
        context.output().data(&answer, |value| table(&value["tools"], &["name", "version", "risk", "description"]))?;
        Ok(ExitCode::SUCCESS)
    }
}
