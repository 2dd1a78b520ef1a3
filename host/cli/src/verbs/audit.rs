//! `sophon audit`.

use super::{ask, query};
use crate::arguments::InTenant;
use crate::context::Context;
use crate::door::{Acting, Door};
use crate::error::CliError;
use crate::home::write_private;
use crate::output::{Format, columns, field, plain};
use clap::{Args, Subcommand};
use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use sophon_audit::verify_export;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// The audit log. Without a tenant: of the whole home.
#[derive(Debug, Args)]
pub(crate) struct Audit {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The newest records.
    Tail {
        /// How many.
        #[arg(short = 'n', long, default_value_t = 20)]
        lines: u32,
        /// Go on with every record that follows, until the gateway stops.
        #[arg(short, long)]
        follow: bool,
        #[command(flatten)]
        tenant: InTenant,
    },
    /// Records that match.
    Query(Box<QueryArguments>),
    /// Check the chain and its signed checkpoints; or an export, without the home.
    Verify {
        /// An export to check instead.
        #[arg(long)]
        file: Option<PathBuf>,
        /// The key (64 hexadecimal digits) that signed the export's checkpoints, as `audit verify` shows it.
        #[arg(long, requires = "file", value_name = "KEY")]
        public_key: Option<String>,
    },
    /// Write the log as JSON lines, to be kept outside the home; or the records that match as CSV.
    Export {
        /// jsonl, which proves itself, or csv.
        #[arg(long, default_value = "jsonl")]
        format: String,
        /// Of csv: only records of this action.
        #[arg(long)]
        action: Option<String>,
        /// Of csv: only records not earlier than this.
        #[arg(long)]
        since: Option<String>,
        /// Of csv: only records earlier than this.
        #[arg(long)]
        until: Option<String>,
        /// A new file [default: standard output].
        #[arg(long)]
        out: Option<PathBuf>,
        #[command(flatten)]
        tenant: InTenant,
    },
}

#[derive(Debug, Args)]
struct QueryArguments {
    /// The user.
    #[arg(long)]
    user: Option<String>,
    /// The action's code, such as call.outcome.
    #[arg(long)]
    action: Option<String>,
    /// The tool's full name.
    #[arg(long)]
    tool: Option<String>,
    /// intent, ok, denied, failed or unknown.
    #[arg(long)]
    outcome: Option<String>,
    /// The correlation id.
    #[arg(long)]
    correlation: Option<String>,
    /// The call's id.
    #[arg(long)]
    call: Option<String>,
    /// The id of the key that was shown.
    #[arg(long)]
    key: Option<String>,
    /// The skill.
    #[arg(long)]
    skill: Option<String>,
    /// none, low, medium, high or critical.
    #[arg(long)]
    risk: Option<String>,
    /// The code of a denial or failure.
    #[arg(long)]
    code: Option<String>,
    /// Any other field, such as detail.cause=restart.
    #[arg(long, value_name = "NAME=VALUE")]
    field: Option<String>,
    /// Not earlier than this: 2026-01-31 or 2026-01-31T09:00:00Z.
    #[arg(long)]
    since: Option<String>,
    /// Earlier than this.
    #[arg(long)]
    until: Option<String>,
    /// Continue behind this: `next` of the page before.
    #[arg(long)]
    after: Option<u64>,
    /// How many, at most 1000.
    #[arg(long, default_value_t = 100)]
    limit: u32,
    #[command(flatten)]
    tenant: InTenant,
}

impl Audit {
    pub(crate) async fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        match self.verb {
            Verb::Tail { lines, follow: true, tenant } => follow(context, lines, tenant).await,
            Verb::Tail { lines, follow: false, tenant } => tail(context, lines, tenant).await,
            Verb::Query(arguments) => arguments.run(context).await,
            Verb::Verify { file: Some(file), public_key } => verify_file(context, file, public_key.as_deref()),
            Verb::Verify { file: None, .. } => verify(context).await,
            Verb::Export { format, action, since, until, out, tenant } => {
                let path = query(&[("format", Some(format)), ("action", action), ("since", since), ("until", until)]);
                export(context, &format!("/v1/audit/export{path}"), out, tenant).await
            }
        }
    }
}

async fn tail(context: &Context, lines: u32, tenant: InTenant) -> Result<ExitCode, CliError> {
    let path = format!("/v1/audit?order=newest&limit={lines}");
    let mut answer = ask(context, tenant, Method::GET, &path, None).await?;
    if let Some(entries) = answer["entries"].as_array_mut() {
        entries.reverse();
    }
    context.output().data(&json!({"entries": answer["entries"]}), shown)?;
    Ok(ExitCode::SUCCESS)
}

/// How often a log that is followed is asked for more.
const AGAIN: Duration = Duration::from_millis(500);

async fn follow(context: &Context, lines: u32, tenant: InTenant) -> Result<ExitCode, CliError> {
    crate::telemetry::quiet(&context.config()?.log)?;
    let door = Door::open(context, tenant.into()).await?;
    if door.is_in_process() {
        door.close().await?;
        return Err(CliError::usage("no gateway runs in this home, so nothing follows", "sophon audit tail"));
    }
    let newest = door.json(Method::GET, &format!("/v1/audit?order=newest&limit={}", lines.max(1)), None).await?.value;
    let mut entries = newest["entries"].as_array().cloned().unwrap_or_default();
    entries.reverse();
    let mut after = entries.last().and_then(|entry| entry["position"].as_u64()).unwrap_or(0);
    loop {
        for entry in &entries {
            match context.output().format() {
                Format::Json => context.output().bytes(format!("{entry}\n").as_bytes())?,
                Format::Text => context.output().bytes(shown(&json!({"entries": [entry]})).as_bytes())?,
            }
        }
        tokio::time::sleep(AGAIN).await;
        let path = format!("/v1/audit?order=oldest&limit=1000&after={after}");
        let page = match door.json(Method::GET, &path, None).await {
            Ok(page) => page.value,
            // It has stopped: there is nothing to follow any more.
            Err(CliError::Gateway { .. }) => return Ok(ExitCode::SUCCESS),
            Err(error) => return Err(error),
        };
        entries = page["entries"].as_array().cloned().unwrap_or_default();
        after = entries.last().and_then(|entry| entry["position"].as_u64()).unwrap_or(after);
    }
}

impl QueryArguments {
    async fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let values = [
            ("user", self.user),
            ("action", self.action),
            ("tool", self.tool),
            ("outcome", self.outcome),
            ("correlation", self.correlation),
            ("call", self.call),
            ("key", self.key),
            ("skill", self.skill),
            ("risk", self.risk),
            ("code", self.code),
            ("field", self.field),
            ("since", self.since),
            ("until", self.until),
            ("after", self.after.map(|after| after.to_string())),
            ("limit", Some(self.limit.to_string())),
        ];
        let answer = ask(context, self.tenant, Method::GET, &format!("/v1/audit{}", query(&values)), None).await?;
        context.output().data(&answer, shown)?;
        if let Some(next) = answer["next"].as_u64() {
            context.output().note(&format!("more: --after {next}"));
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn verify(context: &Context) -> Result<ExitCode, CliError> {
    let answer = ask(context, Acting::default(), Method::GET, "/v1/audit/verify", None).await?;
    verdict(context, &answer)
}

fn verify_file(context: &Context, file: PathBuf, public_key: Option<&str>) -> Result<ExitCode, CliError> {
    let key = match public_key {
        Some(text) => Some(*crate::home::parse_key(text).ok_or_else(|| {
            CliError::usage("--public-key is not a key of 64 hexadecimal digits", "sophon audit verify --json")
        })?),
        None => None,
    };
    let opened = File::open(&file).map_err(|error| CliError::file(&file, error))?;
    let found = verify_export(BufReader::new(opened), key.as_ref())?;
    let answer = json!({
        "intact": found.is_intact(), "records": found.records, "writers": found.writers,
        "checkpoints": found.checkpoints, "unsigned": found.unsigned.iter().map(|end| end.rows).sum::<u64>(), "problems": found.problems, "unlisted": found.unlisted,
        "withheld": found.withheld, "dropped": found.dropped.iter().map(|dropped| dropped.rows).sum::<u64>(),
    });
    verdict(context, &answer)
}

fn verdict(context: &Context, answer: &Value) -> Result<ExitCode, CliError> {
    context.output().data(answer, |value| {
        let mut text = format!(
            "{} records, {} checkpoints, {} records not signed yet: {}\n",
            value["records"],
            value["checkpoints"],
            value["unsigned"],
            if value["intact"] == true { "intact" } else { "NOT INTACT" }
        );
        if value["dropped"].as_u64().is_some_and(|rows| rows > 0) {
            text.push_str(&format!(
                "of {} records retention has dropped the content, as the log itself says\n",
                value["dropped"]
            ));
        }
        for problem in value["problems"].as_array().into_iter().flatten() {
            text.push_str(&format!("{} {}: {}\n", field(problem, "writer"), problem["seq"], field(problem, "what")));
        }
        text
    })?;
    Ok(if answer["intact"] == true { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn export(context: &Context, log: &str, out: Option<PathBuf>, tenant: InTenant) -> Result<ExitCode, CliError> {
    let config = context.config()?;
    crate::telemetry::quiet(&config.log)?;
    let mut file = match &out {
        Some(path) => {
            // Made new and private first: the log is nobody else's, and an older export is not overwritten.
            write_private(path, b"").map_err(|error| CliError::file(path, error))?;
            Some(OpenOptions::new().append(true).open(path).map_err(|error| CliError::file(path, error))?)
        }
        None => None,
    };
    let door = Door::open(context, tenant.into()).await?;
    let exported = stream(context, &door, log, file.as_mut()).await;
    let closed = door.close().await;
    exported?;
    closed?;
    if let (Some(file), Some(path)) = (file, &out) {
        file.sync_all().map_err(|error| CliError::file(path, error))?;
        context.output().note(&format!("{}: written", path.display()));
    }
    Ok(ExitCode::SUCCESS)
}

async fn stream(context: &Context, door: &Door, path: &str, mut file: Option<&mut File>) -> Result<(), CliError> {
    let mut body = door.send(Method::GET, path, None).await?.into_body();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| CliError::Gateway { message: format!("the export ended early: {error}") })?;
        let Ok(bytes) = frame.into_data() else { continue };
        match file.as_mut() {
            Some(file) => file.write_all(&bytes).map_err(CliError::Output)?,
            None => context.output().bytes(&bytes)?,
        }
    }
    Ok(())
}

/// One line a record.
fn shown(answer: &Value) -> String {
    let rows: Vec<Vec<String>> = answer["entries"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| {
            let record = &entry["record"];
            let subject = ["tool", "skill"].iter().map(|name| field(record, name)).find(|text| !text.is_empty());
            vec![
                entry["position"].to_string(),
                field(record, "time"),
                field(record, "action"),
                [field(record, "outcome"), field(record, "code")].join(" ").trim().to_owned(),
                [field(record, "tenant"), field(record, "user")].join("/"),
                subject.unwrap_or_default(),
                plain(&field(record, "call")),
            ]
        })
        .collect();
    columns(&rows)
}
