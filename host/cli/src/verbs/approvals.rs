//! `sophon approvals`.

use super::{ask, listed, part, query};
use crate::arguments::{ForUser, OfPage};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{columns, field, plain, table};
use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Map, Value, json};
use sophon_types::CanonicalJson;
use std::process::ExitCode;

/// Questions that wait for a person, and the answers.
#[derive(Debug, Args)]
pub(crate) struct Approvals {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The questions, the newest first.
    List {
        /// pending, approved, rejected, expired, cancelled, or all.
        #[arg(long, default_value = "pending")]
        status: String,
        #[command(flatten)]
        acting: ForUser,
    },
    /// One question: what would happen, with which arguments, and why it asks.
    Show {
        /// Its id.
        id: String,
        #[command(flatten)]
        acting: ForUser,
    },
    /// Say yes: exactly what was shown happens, once.
    Approve {
        /// Its id.
        id: String,
        /// The arguments as you have changed them, a JSON object with all of them.
        #[arg(long, value_name = "JSON")]
        arguments: Option<String>,
        /// Let calls of the same tool in the same session pass as well.
        #[arg(long)]
        session: bool,
        #[command(flatten)]
        acting: ForUser,
    },
    /// Say no.
    Reject {
        /// Its id.
        id: String,
        /// Why; the agent reads it.
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        acting: ForUser,
    },
    /// What was allowed in advance, the newest first.
    Grants {
        #[command(flatten)]
        page: OfPage,
        #[command(flatten)]
        acting: ForUser,
    },
    /// The agents' sessions that have not ended, the newest first.
    Sessions {
        /// Those only in which more passes by itself than usual.
        #[arg(long)]
        raised: bool,
        #[command(flatten)]
        page: OfPage,
        #[command(flatten)]
        acting: ForUser,
    },
    /// End an agent's session, with what was allowed in it.
    EndSession {
        /// The session's id.
        id: String,
        #[command(flatten)]
        acting: ForUser,
    },
    /// Allow calls of one tool in advance, whose arguments fit a pattern, for a time.
    Grant {
        /// The tool's full name.
        tool: String,
        /// Which arguments: an object; a text with * fits what it fits, a member that is not named is not covered.
        #[arg(value_name = "JSON")]
        arguments: String,
        /// The highest risk that is covered: low, medium or high.
        #[arg(long, default_value = "high")]
        risk: String,
        /// For how many minutes.
        #[arg(long, default_value_t = 60)]
        minutes: u64,
        #[command(flatten)]
        acting: ForUser,
    },
    /// Take back what was allowed in advance.
    Revoke {
        /// The grant's id.
        id: String,
        #[command(flatten)]
        acting: ForUser,
    },
}

impl Approvals {
    pub(crate) async fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        match self.verb {
            Verb::List { status, acting } => {
                let status = (status != "all").then_some(status);
                let path = format!("/v1/approvals{}", query(&[("status", status)]));
                let answer = ask(context, acting, Method::GET, &path, None).await?;
                context.output().data(&answer, |value| {
                    table(&value["approvals"], &["approval_id", "status", "risk", "tool", "user", "expires_at"])
                })?;
            }
            Verb::Show { id, acting } => {
                let answer = ask(context, acting, Method::GET, &format!("/v1/approvals/{}", part(&id)), None).await?;
                context.output().data(&answer, card)?;
            }
            Verb::Approve { id, arguments, session, acting } => {
                let mut body = Map::new();
                if let Some(text) = arguments {
                    body.insert("arguments".into(), object(&text)?);
                }
                if session {
                    body.insert("scope".into(), "session".into());
                }
                decide(context, acting, &id, "approve", body.into()).await?;
            }
            Verb::Reject { id, reason, acting } => {
                decide(context, acting, &id, "reject", json!({ "reason": reason })).await?;
            }
            Verb::Grants { page, acting } => {
                let fields = ["grant_id", "tool", "user", "risk", "arguments", "expires_at", "revoked_at", "uses"];
                listed(context, acting, ("/v1/grants", "grants"), (vec![], page), &fields).await?;
            }
            Verb::Sessions { raised, page, acting } => {
                let only = vec![("raised", raised.then(|| "true".to_owned()))];
                let fields = [
                    "session_id",
                    "user",
                    "key_id",
                    "auto_approve_ceiling",
                    "ceiling_until",
                    "raised_by",
                    "expires_at",
                ];
                listed(context, acting, ("/v1/sessions", "sessions"), (only, page), &fields).await?;
            }
            Verb::EndSession { id, acting } => {
                ask(context, acting, Method::DELETE, &format!("/v1/sessions/{}", part(&id)), None).await?;
                context.output().note(&format!("{id}: ended"));
            }
            Verb::Grant { tool, arguments, risk, minutes, acting } => {
                let body = json!({
                    "tool": tool, "arguments": object(&arguments)?, "risk": risk,
                    "expires_in": minutes.saturating_mul(60), "user": acting.user,
                });
                let answer = ask(context, acting, Method::POST, "/v1/grants", Some(&body)).await?;
                context.output().data(&answer, |value| format!("{}\n", field(value, "grant_id")))?;
            }
            Verb::Revoke { id, acting } => {
                ask(context, acting, Method::DELETE, &format!("/v1/grants/{}", part(&id)), None).await?;
                context.output().note(&format!("{id}: taken back"));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn decide(context: &Context, acting: ForUser, id: &str, verb: &str, body: Value) -> Result<(), CliError> {
    let path = format!("/v1/approvals/{}/{verb}", part(id));
    let answer = ask(context, acting, Method::POST, &path, Some(&body)).await?;
    context.output().data(&answer, |value| {
        let second = if value["second_person_needed"] == true { ", a second person has to approve it too" } else { "" };
        format!("{}: {}{second}\n", field(value, "approval_id"), field(value, "status"))
    })
}

fn object(text: &str) -> Result<Value, CliError> {
    let wrong = |message: String| CliError::usage(message, "give a JSON object, such as '{\"key\": \"value\"}'");
    let value = CanonicalJson::parse(text.as_bytes()).map_err(|error| wrong(format!("JSON: {error}")))?.into_value();
    if value.is_object() { Ok(value) } else { Err(wrong("not an object".into())) }
}

/// A question as a person reads it.
fn card(value: &Value) -> String {
    let mut rows = Vec::new();
    let mut row = |name: &str, text: String| {
        if !text.is_empty() {
            rows.push(vec![name.to_owned(), plain(&text)]);
        }
    };
    for name in ["approval_id", "kind", "status", "tool", "version", "risk", "user", "expires_at", "decided_by"] {
        row(name, field(value, name));
    }
    for reason in value["reasons"].as_array().into_iter().flatten() {
        row("because", format!("{} ({})", field(reason, "why"), field(reason, "risk")));
    }
    let effect = &value["effect"];
    if effect.is_object() {
        row("request", format!("{} {}", field(effect, "method"), field(effect, "url")));
    }
    row("arguments", field(value, "arguments_canonical"));
    row("from a connection", field(value, "connection_defaults"));
    for (name, places) in [("changed", "changed_since_last_time"), ("edited", "edited")] {
        for change in value[places].as_array().into_iter().flatten() {
            row(name, format!("{}: {} -> {}", field(change, "path"), change["before"], change["after"]));
        }
    }
    let editable = value["editable"] == true && value["status"] == "pending";
    row("editable", if editable { "yes, with --arguments".into() } else { String::new() });
    columns(&rows)
}
