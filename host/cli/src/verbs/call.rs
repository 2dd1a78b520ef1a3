//! `sophon call`.

use super::{part, query};
use crate::arguments::ForUser;
use crate::context::Context;
use crate::door::{Answer, Door};
use crate::error::CliError;
use crate::output::{Format, field};
use clap::Args;
use http::{Method, StatusCode};
use serde_json::{Map, Value};
use sophon_types::CanonicalJson;
use std::io::Read as _;
use std::process::ExitCode;

/// Call a tool and wait for its result.
#[derive(Debug, Args)]
pub(crate) struct Call {
    /// The tool's full name, such as `github-issues.list_issues`.
    tool: String,
    /// The arguments, a JSON object; `-` reads standard input.
    #[arg(default_value = "{}", value_name = "JSON")]
    arguments: String,
    /// The same key with the same tool and arguments is the same call, for 24 hours.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// The session the call belongs to.
    #[arg(long)]
    session: Option<String>,
    /// Do not wait for the end of a call that takes long.
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    acting: ForUser,
}

impl Call {
    pub(crate) async fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let mut body = Map::new();
        body.insert("arguments".into(), arguments(&self.arguments)?);
        for (name, value) in [("idempotency_key", self.idempotency_key), ("session", self.session)] {
            if let Some(value) = value {
                body.insert(name.into(), value.into());
            }
        }
        if self.no_wait {
            body.insert("wait_seconds".into(), 0.into());
        }
        let config = context.config()?;
        crate::telemetry::quiet(&config.log)?;
        let door = Door::open(context, self.acting.into()).await?;
        let called = call(&door, &self.tool, &body.into(), self.no_wait).await;
        let closed = door.close().await;
        let answer = called?;
        closed?;
        show(context, &answer.value)
    }
}

async fn call(door: &Door, tool: &str, body: &Value, no_wait: bool) -> Result<Answer, CliError> {
    let mut answer = door.json(Method::POST, &format!("/v1/tools/{}/call", part(tool)), Some(body)).await?;
    while answer.status == StatusCode::ACCEPTED && !no_wait {
        let id = field(&answer.value, "call_id");
        let path = format!("/v1/calls/{}{}", part(&id), query(&[("wait", Some("30".into()))]));
        answer = door.json(Method::GET, &path, None).await?;
    }
    Ok(answer)
}

fn show(context: &Context, answer: &Value) -> Result<ExitCode, CliError> {
    let status = field(answer, "status");
    match context.output().format() {
        Format::Json => context.output().data(answer, |_value| String::new())?,
        Format::Text => {
            if !answer["content"].is_null() {
                context.output().data(answer, |value| field(value, "content"))?;
            }
            let error = &answer["error"];
            if error.is_object() {
                context.output().note(&format!("{}: {}", field(error, "stage"), field(error, "message")));
                let hint = field(error, "hint");
                if !hint.is_empty() {
                    context.output().note(&format!("hint: {hint}"));
                }
            }
            if answer["content"].is_null() {
                context.output().note(&format!("{}: {status}", field(answer, "call_id")));
            }
        }
    }
    Ok(match status.as_str() {
        "succeeded" | "running" => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// The arguments; refused here already where two readers could read them differently.
fn arguments(text: &str) -> Result<Value, CliError> {
    let mut read = String::new();
    let text = if text == "-" {
        std::io::stdin()
            .lock()
            .read_to_string(&mut read)
            .map_err(|error| CliError::Input { message: error.to_string() })?;
        &read
    } else {
        text
    };
    let wrong = |error| CliError::usage(format!("JSON: {error}"), "sophon call skill.tool '{\"key\": \"value\"}'");
    Ok(CanonicalJson::parse(text.as_bytes()).map_err(wrong)?.into_value())
}
