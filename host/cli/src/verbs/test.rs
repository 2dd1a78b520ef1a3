//! `sophon test`.

use crate::context::Context;
use crate::error::CliError;
use crate::output::{columns, plain};
use clap::Args;
use serde_json::json;
use sophon_author::{CaseOutcome, CaseReport, Cases, Subject};
use std::path::PathBuf;
use std::process::ExitCode;

/// Try a skill out on its recorded cases: no network, no credentials, nothing kept.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// A project's folder, a package, or a component with manifest.json beside it.
    #[arg(default_value = ".", value_name = "PATH")]
    path: PathBuf,
    /// A case file, or a folder of them [default: the project's folder `tests`].
    #[arg(long, value_name = "PATH")]
    cases: Option<PathBuf>,
    /// Only cases whose name or tool contains this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

impl Test {
    pub(crate) async fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let cases = Cases { path: self.cases, only: self.only };
        let reports = sophon_author::rehearse(&Subject::at(&self.path)?, &cases, context.entropy()).await?;
        let failed = reports.iter().filter(|report| report.outcome == CaseOutcome::Failed).count();
        let value = json!({"passed": reports.len() - failed, "failed": failed, "cases": reports});
        context.output().data(&value, |_value| shown(&reports))?;
        context.output().note(&format!("{} passed, {failed} failed", reports.len() - failed));
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn shown(reports: &[CaseReport]) -> String {
    let mut rows = Vec::new();
    for report in reports {
        let word = match report.outcome {
            CaseOutcome::Passed => "ok",
            CaseOutcome::Failed => "FAILED",
        };
        let took = format!("{} ms", report.milliseconds);
        rows.push(vec![word.to_owned(), plain(&report.name), plain(&report.tool), took]);
        let more =
            report.problems.iter().chain(report.logs.iter().filter(|_line| report.outcome == CaseOutcome::Failed));
        rows.extend(more.map(|line| vec![String::new(), plain(line).replace('\n', " ")]));
    }
    columns(&rows)
}
