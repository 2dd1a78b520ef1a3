//! `sophon test`.

use super::build::messages;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{columns, plain};
use crate::worker::compilation;
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
        let subject = Subject::at(&self.path)?.with_messages(messages(context));
        // Whoever built it: what is tried out may be anybody's package.
        let reports = sophon_author::rehearse(&subject, &cases, compilation()?, context.entropy()).await?;
        let failed = reports.iter().filter(|report| report.outcome == CaseOutcome::Failed).count();
        let value = json!({"passed": reports.len() - failed, "failed": failed, "cases": reports});
        context.output().data(&value, |_value| shown(&reports))?;
        context.output().note(&format!("{} passed, {failed} failed", reports.len() - failed));
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// A line a case, and below a case that failed what was wrong with it and what the skill logged.
fn shown(reports: &[CaseReport]) -> String {
    let row = |report: &CaseReport| {
        let word = match report.outcome {
            CaseOutcome::Passed => "ok",
            CaseOutcome::Failed => "FAILED",
        };
        let took = format!("{} ms", report.milliseconds);
        vec![word.to_owned(), line(&report.name), line(&report.tool), took]
    };
    let rows = columns(&reports.iter().map(row).collect::<Vec<_>>());
    let mut text = String::new();
    for (row, report) in rows.lines().zip(reports) {
        text.push_str(row);
        text.push('\n');
        for problem in &report.problems {
            text.push_str(&format!("    {}\n", plain(problem).replace('\n', "\n      ")));
        }
        let logged = report.logs.iter().filter(|_line| report.outcome == CaseOutcome::Failed);
        logged.for_each(|log| text.push_str(&format!("    log: {}\n", line(log))));
    }
    text
}

/// A text as one line.
fn line(text: &str) -> String {
    plain(text).replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn a_case_is_a_line_and_its_problems_stand_below_it() {
        let report = |name: &str, outcome, problems: &[&str]| CaseReport {
            name: name.into(),
            file: PathBuf::new(),
            tool: "hello".into(),
            outcome,
            problems: problems.iter().map(|&problem| problem.to_owned()).collect(),
            expected: Value::Null,
            actual: None,
            milliseconds: 3,
            fuel: 0,
            memory: 0,
            logs: vec!["info: two\nlines\u{1b}[2J".into()],
        };
        let long = "http: GET api.example.com/ is not in permissions.network\nhint: put it there";
        let reports = [report("a#1", CaseOutcome::Passed, &[]), report("longer", CaseOutcome::Failed, &[long, "more"])];
        let wanted = "ok      a#1     hello  3 ms\n\
                      FAILED  longer  hello  3 ms\n    \
                          http: GET api.example.com/ is not in permissions.network\n      hint: put it there\n    \
                          more\n    log: info: two lines[2J\n";
        assert_eq!(shown(&reports), wanted);
    }
}
