//! `sophon install`.

use super::ask;
use crate::arguments::InTenant;
use crate::context::Context;
use crate::error::CliError;
use crate::output::field;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use http::Method;
use serde_json::{Map, Value, json};
use sophon_types::CanonicalJson;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Install a package.
#[derive(Debug, Args)]
pub(crate) struct Install {
    #[command(flatten)]
    pub(crate) package: Package,
    /// Let in a package that nobody trusted has signed. Recorded in the audit log.
    #[arg(long)]
    pub(crate) dangerously_allow_unsigned: bool,
    #[command(flatten)]
    pub(crate) tenant: InTenant,
}

/// A package and what is granted to it.
#[derive(Debug, Args)]
pub(crate) struct Package {
    /// The package (`.sophon-skill`).
    pub(crate) file: PathBuf,
    /// Its signature [default: the file FILE.dsse.json, where there is one].
    #[arg(long, value_name = "FILE")]
    pub(crate) signature: Option<PathBuf>,
    /// Grant a host: `[http://|https://]host[:port][=service]`.
    #[arg(long = "allow-host", value_name = "HOST")]
    pub(crate) allow_hosts: Vec<String>,
    /// Accept what an update adds to or changes of what was agreed to when the skill was installed.
    #[arg(long)]
    pub(crate) accept_changes: bool,
    /// Set a setting that the manifest declares.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub(crate) settings: Vec<(String, String)>,
}

impl Install {
    pub(crate) async fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let mut body = self.package.body()?;
        body.insert("dangerously_allow_unsigned".into(), self.dangerously_allow_unsigned.into());
        let answer = ask(context, self.tenant, Method::POST, "/v1/skills", Some(&body.into())).await?;
        shown(context, &answer)
    }
}

impl Package {
    /// The body of the request that installs it.
    pub(crate) fn body(&self) -> Result<Map<String, Value>, CliError> {
        let archive = std::fs::read(&self.file).map_err(|error| CliError::file(&self.file, error))?;
        let settings: Map<String, Value> =
            self.settings.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
        let mut body = Map::new();
        body.insert("package".into(), STANDARD.encode(archive).into());
        body.insert("allow_hosts".into(), json!(self.allow_hosts));
        body.insert("settings".into(), settings.into());
        body.insert("accept_changes".into(), self.accept_changes.into());
        if let Some(envelope) = self.envelope()? {
            body.insert("signature".into(), envelope);
        }
        Ok(body)
    }

    fn envelope(&self) -> Result<Option<Value>, CliError> {
        let path = self.signature.clone().unwrap_or_else(|| beside(&self.file));
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if self.signature.is_none() && error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(CliError::file(path, error)),
        };
        // Strict: of a key that stands twice one reader would see the first and another the last.
        match CanonicalJson::parse(text.as_bytes()) {
            Ok(envelope) => Ok(Some(envelope.into_value())),
            Err(error) => Err(CliError::file(path, io::Error::new(io::ErrorKind::InvalidData, error))),
        }
    }
}

/// Where the signature of a package lies.
pub(crate) fn beside(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(".dsse.json");
    path.into()
}

/// Shows an installed skill.
pub(crate) fn shown(context: &Context, answer: &Value) -> Result<ExitCode, CliError> {
    context.output().data(answer, |value| format!("{} {}", field(value, "name"), field(value, "version")))?;
    for (what, name) in
        [("tools", "tools"), ("may reach", "network"), ("granted", "allow_hosts"), ("uses", "credentials")]
    {
        let words = field(answer, name);
        if !words.is_empty() {
            context.output().note(&format!("  {what}: {words}"));
        }
    }
    context.output().note(&format!("  trust: {}", field(answer, "trust")));
    Ok(ExitCode::SUCCESS)
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}
