//! `sophon schedules`.

use super::{ask, part, query};
use crate::arguments::ForUser;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{field, table};
use clap::{Args, Subcommand};
use http::Method;
use serde_json::json;
use sophon_types::CanonicalJson;
use std::process::ExitCode;

/// Calls that come round.
#[derive(Debug, Args)]
pub(crate) struct Schedules {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The schedules, the oldest first, without their arguments.
    List {
        /// At most so many (100; at most 500).
        #[arg(long, value_name = "COUNT")]
        limit: Option<u32>,
        /// Continue behind this: `next` of the page before.
        #[arg(long, value_name = "NEXT")]
        after: Option<String>,
        #[command(flatten)]
        acting: ForUser,
    },
    /// One of them, with its arguments.
    Show {
        /// Its id.
        id: String,
        #[command(flatten)]
        acting: ForUser,
    },
    /// Call a tool whenever a cron pattern says so. The gateway has to run then.
    Add {
        /// The tool's full name.
        tool: String,
        /// The arguments of every call, a JSON object.
        #[arg(value_name = "JSON")]
        arguments: String,
        /// Minute, hour, day of month, month, day of week: '0 9 * * MON-FRI'.
        #[arg(long)]
        cron: String,
        /// The time zone, such as Europe/Zurich.
        #[arg(long, default_value = "UTC")]
        time_zone: String,
        /// Up to so many seconds later, so that not everything fires together.
        #[arg(long, value_name = "SECONDS", default_value_t = 0)]
        jitter: u64,
        /// What becomes of firings while the gateway did not run: skip, or once for all of them.
        #[arg(long, default_value = "skip")]
        missed: String,
        #[command(flatten)]
        acting: ForUser,
    },
    /// Remove one.
    Remove {
        /// Its id.
        id: String,
        #[command(flatten)]
        acting: ForUser,
    },
}

/// What is shown of a schedule.
const FIELDS: [&str; 8] =
    ["schedule_id", "tool", "user", "cron", "time_zone", "next_at", "last_fire_at", "last_outcome"];

impl Schedules {
    pub(crate) async fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        match self.verb {
            Verb::List { limit, after, acting } => {
                let asked = query(&[("limit", limit.map(|limit| limit.to_string())), ("after", after)]);
                let answer = ask(context, acting, Method::GET, &format!("/v1/schedules{asked}"), None).await?;
                context.output().data(&answer, |value| table(&value["schedules"], &FIELDS))?;
                if let Some(next) = answer["next"].as_str() {
                    context.output().note(&format!("there are more: --after {next}"));
                }
                if let Some(count) = answer["unreadable"].as_u64().filter(|count| *count > 0) {
                    context
                        .output()
                        .note(&format!("{count} more cannot be read, and do not fire: see the gateway's log"));
                }
            }
            Verb::Show { id, acting } => {
                let answer = ask(context, acting, Method::GET, &format!("/v1/schedules/{}", part(&id)), None).await?;
                context.output().data(&answer, |value| {
                    format!("{}arguments: {}\n", table(&json!([value]), &FIELDS), value["arguments"])
                })?;
            }
            Verb::Add { tool, arguments, cron, time_zone, jitter, missed, acting } => {
                let wrong = |error| {
                    CliError::usage(format!("JSON: {error}"), "give a JSON object, such as '{\"key\": \"value\"}'")
                };
                let arguments = CanonicalJson::parse(arguments.as_bytes()).map_err(wrong)?.into_value();
                let body = json!({
                    "tool": tool, "arguments": arguments, "cron": cron, "time_zone": time_zone,
                    "jitter_seconds": jitter, "missed": missed,
                });
                let answer = ask(context, acting, Method::POST, "/v1/schedules", Some(&body)).await?;
                context.output().data(&answer, |value| {
                    format!("{}: next at {}\n", field(value, "schedule_id"), field(value, "next_at"))
                })?;
            }
            Verb::Remove { id, acting } => {
                ask(context, acting, Method::DELETE, &format!("/v1/schedules/{}", part(&id)), None).await?;
                context.output().note(&format!("{id}: removed"));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
