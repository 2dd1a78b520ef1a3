//! `sophon disconnect`.

use super::credential::owner;
use super::{ask, part};
use crate::arguments::ForUser;
use crate::context::Context;
use crate::error::CliError;
use clap::Args;
use http::Method;
use serde_json::json;
use std::process::ExitCode;

/// Forget an account; tokens that a provider gave are given back to it.
#[derive(Debug, Args)]
pub(crate) struct Disconnect {
    /// The service.
    service: String,
    #[command(flatten)]
    acting: ForUser,
}

impl Disconnect {
    pub(crate) async fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let path = format!("/v1/credentials/{}?owner={}", part(&self.service), owner(&self.acting));
        ask(context, self.acting, Method::DELETE, &path, None).await?;
        let output = context.output();
        output.data(&json!({"service": self.service, "disconnected": true}), |_value| String::new())?;
        output.note(&format!("{} is disconnected", self.service));
        Ok(ExitCode::SUCCESS)
    }
}
