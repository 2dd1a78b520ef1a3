//! `sophon check`.

use super::build::messages;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{columns, field, plain};
use clap::Args;
use serde_json::{Value, json};
use sophon_author::Subject;
use sophon_skill::Verdict;
use std::path::PathBuf;
use std::process::ExitCode;

/// Say what the host thinks of a project, a package or a component.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// A project's folder, a package, or a component with manifest.json beside it.
    #[arg(default_value = ".", value_name = "PATH")]
    path: PathBuf,
    /// The package of an older version: the report also says what this one asks for beyond it (rule SA022), to which whoever
    /// updates has to agree again.
    #[arg(long, value_name = "PACKAGE")]
    since: Option<PathBuf>,
    /// Write the report as SARIF 2.1.0, which code hosts and editors show beside the code.
    #[arg(long)]
    sarif: bool,
}

impl Check {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let checked =
            sophon_author::check(&Subject::at(&self.path)?.with_messages(messages(context)), self.since.as_deref())?;
        if self.sarif {
            context.output().json(&checked.report.to_sarif(&checked.entrypoint))?;
        } else {
            context.output().data(&json!(checked), |value| findings(&value["report"]))?;
        }
        for warning in &checked.warnings {
            context.output().note(&format!("warning: {warning}"));
        }
        let verdict = match checked.report.verdict {
            Verdict::Admit => "is admitted by the analysis",
            Verdict::Review => "is admitted by the analysis; a person should look at it first",
            Verdict::Reject => "is not accepted",
        };
        context.output().note(&format!("{} {} {verdict}", checked.skill, checked.version));
        Ok(if checked.report.verdict == Verdict::Reject { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// One line a finding, and its advice.
pub(crate) fn findings(report: &Value) -> String {
    let mut rows = Vec::new();
    for finding in report["findings"].as_array().into_iter().flatten() {
        let place = plain(&field(finding, "place"));
        rows.push(vec![field(finding, "severity"), field(finding, "rule"), place, field(finding, "message")]);
        rows.push(vec![String::new(), String::new(), String::new(), format!("hint: {}", field(finding, "advice"))]);
    }
    columns(&rows)
}
