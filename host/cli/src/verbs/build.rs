//! `sophon build`.

use crate::context::Context;
use crate::error::CliError;
use crate::output::Format;
use clap::{Args, ValueEnum};
use serde_json::json;
use sophon_author::{BuildRequest, CompilerMessages, Target};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// Build a skill into a package.
#[derive(Debug, Args)]
pub(crate) struct Build {
    #[command(flatten)]
    how: HowToBuild,
    /// Where the package goes [default: the project's folder].
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// A project and how it is compiled.
#[derive(Debug, Args)]
pub(crate) struct HowToBuild {
    /// The project's folder.
    #[arg(default_value = ".", value_name = "FOLDER")]
    dir: PathBuf,
    /// A component that other tools built, instead of cargo.
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
    /// What the code is compiled for.
    #[arg(long, value_enum, default_value_t)]
    target: TargetName,
    /// cargo's target folder.
    #[arg(long, value_name = "FOLDER")]
    target_dir: Option<PathBuf>,
    /// More arguments for `cargo build`.
    #[arg(last = true, value_name = "CARGO ARGUMENTS")]
    cargo_args: Vec<OsString>,
}

/// What code is compiled for.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum TargetName {
    /// Imports only what the code uses.
    #[default]
    #[value(name = "wasm32-unknown-unknown")]
    Unknown,
    /// With WASI.
    #[value(name = "wasm32-wasip2")]
    Wasip2,
}

impl HowToBuild {
    pub(crate) fn request(self, context: &Context) -> BuildRequest {
        BuildRequest {
            target_dir: self.target_dir,
            component: self.component,
            target: match self.target {
                TargetName::Unknown => Target::Unknown,
                TargetName::Wasip2 => Target::Wasip2,
            },
            cargo_args: self.cargo_args,
            // What the compiler says is for people; a program gets it in the result.
            messages: match context.output().format() {
                Format::Text => CompilerMessages::Inherited,
                Format::Json => CompilerMessages::Captured,
            },
            ..BuildRequest::new(self.dir)
        }
    }
}

impl Build {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let request = BuildRequest { out: self.out, ..self.how.request(context) };
        let built = sophon_author::build(&request)?;
        context.output().data(&json!(built), |_value| built.package.display().to_string())?;
        for warning in &built.warnings {
            context.output().note(&format!("warning: {warning}"));
        }
        context.output().note(&format!("{}, {} bytes, {} tools", built.digest, built.size, built.tools.len()));
        Ok(ExitCode::SUCCESS)
    }
}
