//! `sophon connect`.

use super::credential::owner;
use super::{ask, part};
use crate::arguments::ForUser;
use crate::callback::Listener;
use crate::context::Context;
use crate::error::CliError;
use clap::Args;
use http::Method;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

/// Connect an account by OAuth: open the address that is shown in a browser on this machine, and this command finishes
/// what the provider answers. Nothing secret is typed or shown.
#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// The service; `[oauth.SERVICE]` in sophon.toml names its provider.
    service: String,
    /// Decide on another device: shows an address and a code.
    #[arg(long, conflicts_with = "gateway")]
    device: bool,
    /// Only show the address; the browser comes back to the running gateway.
    #[arg(long)]
    gateway: bool,
    /// Ask for this scope only; may be given more than once [default: all that are configured].
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    #[command(flatten)]
    acting: ForUser,
}

impl Connect {
    pub(crate) async fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let output = context.output();
        let connected = if self.device {
            self.on_another_device(context).await?
        } else if self.gateway {
            let started = self.start(context, json!({})).await?;
            output.data(&started, |value| value["authorization_url"].as_str().unwrap_or_default().to_owned())?;
            return Ok(ExitCode::SUCCESS);
        } else {
            self.in_a_browser(context).await?
        };
        output.data(&connected, |_value| String::new())?;
        output.note(&format!("{} is connected", self.service));
        Ok(ExitCode::SUCCESS)
    }

    async fn in_a_browser(&self, context: &Context) -> Result<Value, CliError> {
        let listener = Listener::open(&self.service).await?;
        let started = self.start(context, json!({"redirect": listener.redirect()})).await?;
        let url = started["authorization_url"].as_str().unwrap_or_default();
        context.output().tell(&started, &format!("open this address in a browser on this machine:\n\n{url}\n"));
        let answer = listener.answer_to(url).await?;
        self.post(context, "finish", &answer).await
    }

    async fn on_another_device(&self, context: &Context) -> Result<Value, CliError> {
        let started = self.start(context, json!({"flow": "device"})).await?;
        let text = |name: &str| started[name].as_str().unwrap_or_default();
        let shown = json!({
            "user_code": started["user_code"], "verification_uri": started["verification_uri"],
            "verification_uri_complete": started["verification_uri_complete"], "expires_at": started["expires_at"],
        });
        let words = format!(
            "open this address on any device and enter the code {}:\n\n{}\n",
            text("user_code"),
            text("verification_uri")
        );
        context.output().tell(&shown, &words);
        let question = json!({"device": started["device"]});
        let mut pause = started["interval_seconds"].as_u64().unwrap_or(5);
        loop {
            // The provider says how often it may be asked, and the host holds to it whoever asks.
            tokio::time::sleep(Duration::from_secs(pause.clamp(1, 60))).await;
            let answer = match self.post(context, "poll", &question).await {
                // It may come back until the code expires, which the host knows (RFC 8628, 3.5).
                Err(CliError::Refused { report, .. }) if report.code == "oauth_unreachable" => {
                    context.output().note(&report.message);
                    pause = pause.saturating_mul(2);
                    continue;
                }
                answer => answer?,
            };
            match answer["interval_seconds"].as_u64() {
                Some(interval) => pause = interval,
                None => return Ok(answer),
            }
        }
    }

    async fn start(&self, context: &Context, mut body: Value) -> Result<Value, CliError> {
        body["owner"] = owner(&self.acting).into();
        if !self.scopes.is_empty() {
            body["scopes"] = json!(self.scopes);
        }
        self.post(context, "start", &body).await
    }

    async fn post(&self, context: &Context, step: &str, body: &Value) -> Result<Value, CliError> {
        let path = format!("/v1/oauth/{}/{step}", part(&self.service));
        ask(context, self.acting.clone(), Method::POST, &path, Some(body)).await
    }
}
