//! `sophon inspect`.

use crate::context::Context;
use crate::error::CliError;
use crate::output::{field, table};
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

/// Show what is in a package. Nothing of it runs, and nothing of it is verified.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The package.
    file: PathBuf,
}

impl Inspect {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let inspection = sophon_author::inspect(&self.file)?;
        context.output().data(&json!(inspection), shown)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn shown(value: &Value) -> String {
    let mut text = String::new();
    for (name, content) in value.as_object().into_iter().flatten() {
        match content {
            Value::Null => {}
            Value::Array(items) if items.first().is_some_and(Value::is_object) => {
                let fields: Vec<&str> =
                    items[0].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
                text.push_str(&format!("{name}:\n{}", table(content, &fields)));
            }
            _ => text.push_str(&format!("{name}: {}\n", field(value, name))),
        }
    }
    text
}
