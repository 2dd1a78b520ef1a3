//! `sophon call`.

use super::{part, query};
use crate::arguments::ForUser;
use crate::context::Context;
use crate::door::{Answer, Door};
use crate::error::{CliError, exit_code_of};
use crate::output::{Format, field};
use clap::Args;
use http::{Method, StatusCode};
use serde_json::{Map, Value};
use sophon_types::{CanonicalJson, FaultKind};
use std::io::Read as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

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
    /// Do not wait for the end of a call that takes long; a gateway has to run.
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
        let called = if self.no_wait && door.is_in_process() {
            // The call would end with this command, with nobody left to ask about it.
            Err(CliError::usage("--no-wait needs a running gateway", "sophon serve"))
        } else {
            call(&door, &self.tool, &body.into(), self.no_wait).await
        };
        let closed = door.close().await;
        let answer = called?;
        closed?;
        show(context, &answer.value)
    }
}

async fn call(door: &Door, tool: &str, body: &Value, no_wait: bool) -> Result<Answer, CliError> {
    let mut answer = door.json(Method::POST, &format!("/v1/tools/{}/call", part(tool)), Some(body)).await?;
    let mut pace = Pace::default();
    while answer.status == StatusCode::ACCEPTED && !no_wait && !waits_for_a_person(&answer.value, door) {
        let id = field(&answer.value, "call_id");
        let path = format!("/v1/calls/{}{}", part(&id), query(&[("wait", Some("30".into()))]));
        let asked = Instant::now();
        answer = door.json(Method::GET, &path, None).await?;
        if answer.status == StatusCode::ACCEPTED {
            tokio::time::sleep(pace.pause(asked.elapsed())).await;
        }
    }
    Ok(answer)
}

/// Whether a person has to decide before it goes on. Of a call that runs within this command nobody else can.
fn waits_for_a_person(answer: &Value, door: &Door) -> bool {
    match field(answer, "status").as_str() {
        "awaiting_approval" => true,
        "parked" => door.is_in_process(),
        _ => false,
    }
}

/// How long to leave a gateway alone that answers without waiting, as one does that is about to stop.
#[derive(Debug)]
struct Pace(Duration);

/// The first pause; each one is twice as long as the one before.
const SHORTEST: Duration = Duration::from_millis(50);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(5);

impl Default for Pace {
    fn default() -> Self {
        Self(SHORTEST)
    }
}

impl Pace {
    /// The pause after an answer that took as long as `took`: none where the gateway did the waiting.
    fn pause(&mut self, took: Duration) -> Duration {
        if took >= self.0 {
            self.0 = SHORTEST;
            return Duration::ZERO;
        }
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST);
        pause
    }
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
            let approval = field(answer, "approval_id");
            if !approval.is_empty() {
                context.output().note(&format!("a person has to decide by {}", field(answer, "expires_at")));
                context.output().note(&format!("hint: sophon approvals show {approval}"));
            }
            if answer["content"].is_null() {
                context.output().note(&format!("{}: {status}", field(answer, "call_id")));
            }
        }
    }
    Ok(ExitCode::from(exit_code(answer)))
}

/// What became of the call, as the exit code of a refusal of the same kind would say it.
fn exit_code(answer: &Value) -> u8 {
    match field(answer, "status").as_str() {
        "succeeded" | "running" => 0,
        "awaiting_approval" | "parked" => exit_code_of(FaultKind::NeedsApproval),
        _ => exit_code_of(serde_json::from_value(answer["error"]["kind"].clone()).unwrap_or(FaultKind::Internal)),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Output;
    use crate::system::Environment;
    use serde_json::json;

    #[test]
    fn a_gateway_that_does_not_wait_is_not_asked_without_a_pause() {
        let mut pace = Pace::default();
        let mut all = Duration::ZERO;
        for _ in 0..20 {
            let pause = pace.pause(Duration::ZERO);
            assert!(pause >= SHORTEST && pause <= LONGEST, "{pause:?}");
            all += pause;
        }
        assert!(all > Duration::from_secs(60), "twenty questions in {all:?}");
        assert_eq!(pace.pause(Duration::from_secs(30)), Duration::ZERO, "the gateway waited");
        assert_eq!(pace.pause(Duration::ZERO), SHORTEST);
    }

    #[test]
    fn the_exit_code_follows_what_became_of_the_call() {
        for (status, kind, code) in [
            ("succeeded", Value::Null, 0),
            ("running", Value::Null, 0),
            ("awaiting_approval", Value::Null, 4),
            ("rejected", json!("denied"), 3),
            ("failed", json!("denied"), 3),
            ("failed", json!("needs-approval"), 4),
            ("failed", json!("upstream"), 1),
            ("failed", json!("of a later version"), 1),
            ("failed", Value::Null, 1),
            ("unknown_outcome", json!("internal"), 1),
        ] {
            assert_eq!(exit_code(&json!({"status": status, "error": {"kind": kind}})), code, "{status} {kind}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn not_waiting_needs_somebody_who_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("home");
        let context = Context::new(Some(root), Environment::default(), Output::new(Format::Json));
        let call = Call {
            tool: "a-skill.tool".into(),
            arguments: "{}".into(),
            idempotency_key: None,
            session: None,
            no_wait: true,
            acting: ForUser::default(),
        };
        let refused = call.run(&context).await.unwrap_err();
        assert_eq!((refused.report().code.as_str(), refused.exit_code()), ("usage", ExitCode::from(2)), "{refused}");
    }
}
