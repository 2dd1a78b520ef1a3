//! `sophon build`.

use crate::arguments::InTenant;
use crate::context::Context;
use crate::error::CliError;
use crate::identity::{self, LOCAL, Made};
use crate::output::{Format, field};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use sophon_author::{BuildRequest, CompilerMessages, Target};
use sophon_skill::SigningIdentity;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Build a skill into a package, and sign it with an identity that this home trusts.
#[derive(Debug, Args)]
pub(crate) struct Build {
    #[command(flatten)]
    how: HowToBuild,
    /// Where the package goes [default: the project's folder].
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Who signs: an identity of this home [default: local, which is made where it is missing].
    #[arg(long, value_name = "NAME", conflicts_with = "unsigned")]
    identity: Option<String>,
    /// Leave the signature out; no home is needed then.
    #[arg(long)]
    unsigned: bool,
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
            messages: messages(context),
            ..BuildRequest::new(self.dir)
        }
    }
}

/// What the compiler says is for people; a program gets it in the result or the error.
pub(crate) fn messages(context: &Context) -> CompilerMessages {
    match context.output().format() {
        Format::Text => CompilerMessages::Inherited,
        Format::Json => CompilerMessages::Captured,
    }
}

/// Who signs.
enum Signer {
    Nobody,
    /// An identity that is there.
    Ready(Box<SigningIdentity>),
    /// The home's own, which is made with the first package.
    ToBeMade,
}

impl Build {
    pub(crate) async fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        // Whoever cannot sign is told before the compiler takes its time.
        let signer = self.signer(context)?;
        let request = BuildRequest { out: self.out, ..self.how.request(context) };
        let mut built = sophon_author::build(&request)?;
        let signature = match signer {
            Signer::Nobody => None,
            Signer::Ready(identity) => Some(sign(&built.package, &identity, None)?),
            Signer::ToBeMade => Some(sign_first(context, &built.package).await?),
        };
        if let (None, Some(envelope)) = (&signature, &built.stale_signature) {
            let envelope = envelope.display();
            built.warnings.push(format!("{envelope} signs another build: remove it, or build without --unsigned"));
        }
        let mut value = json!(built);
        value["signature"] = signature.clone().unwrap_or_default();
        let output = context.output();
        output.data(&value, |_value| built.package.display().to_string())?;
        for warning in &built.warnings {
            output.note(&format!("warning: {warning}"));
        }
        output.note(&format!("{}, {} bytes, {} tools", built.digest, built.size, built.tools.len()));
        match signature {
            Some(signature) => told(context, &signature),
            None => output.note("not signed"),
        }
        Ok(ExitCode::SUCCESS)
    }

    fn signer(&self, context: &Context) -> Result<Signer, CliError> {
        Ok(match &self.identity {
            _ if self.unsigned => Signer::Nobody,
            Some(name) => Signer::Ready(Box::new(identity::named(context, name)?)),
            None => identity::read(context, LOCAL)?.map_or(Signer::ToBeMade, |local| Signer::Ready(Box::new(local))),
        })
    }
}

/// Signs with the home's own identity, which was not there when the build began.
async fn sign_first(context: &Context, package: &Path) -> Result<Value, CliError> {
    match identity::make(context, LOCAL, InTenant::default()).await? {
        Some(made) => sign(package, &made.identity, Some(&made)),
        // Another build was faster.
        None => sign(package, &identity::named(context, LOCAL)?, None),
    }
}

fn sign(package: &Path, identity: &SigningIdentity, made: Option<&Made>) -> Result<Value, CliError> {
    let signed = sophon_author::sign(package, identity)?;
    Ok(json!({
        "identity": signed.signer,
        "public_key": signed.public_key,
        "fingerprint": signed.fingerprint,
        "envelope": signed.envelope,
        "made": made.map(|made| &made.file),
    }))
}

fn told(context: &Context, signature: &Value) {
    let name = field(signature, "identity");
    if !signature["made"].is_null() {
        let file = field(signature, "made");
        context.output().note(&format!(
            "made the signing identity {name} ({file}): this home trusts what it signs as local-dev, no other home does"
        ));
    }
    context.output().note(&format!("signed by {name}"));
}
