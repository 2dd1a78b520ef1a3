//! `sophon install`.

use super::ask;
use crate::arguments::InTenant;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{field, is_interactive, plain};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use clap::Args;
use http::Method;
use serde_json::{Map, Value, json};
use sophon_skill::{Report, Severity, StreamGrant, StreamWish, Verdict, Wish};
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
    /// The package (`.sophon-skill`), or the folder of a skill that needs no building.
    #[arg(value_name = "FILE|FOLDER")]
    pub(crate) file: PathBuf,
    /// Its signature [default: the file FILE.dsse.json, where there is one].
    #[arg(long, value_name = "FILE")]
    pub(crate) signature: Option<PathBuf>,
    /// Grant a host: `[http://|https://]host[:port][=service]`.
    #[arg(long = "allow-host", value_name = "HOST")]
    pub(crate) allow_hosts: Vec<String>,
    /// Grant a connection that is no HTTP, of those that the manifest asks for: PROTOCOL://HOST:PORT. Nobody reads what goes
    /// over it.
    #[arg(long = "dangerously-allow-stream", value_name = "PROTOCOL://HOST:PORT")]
    pub(crate) allow_streams: Vec<String>,
    /// Grant none of the hosts that the skill's source names.
    #[arg(long, conflicts_with = "allow_hosts")]
    pub(crate) no_hosts: bool,
    /// Accept what an update adds to or changes of what was agreed to when the skill was installed.
    #[arg(long)]
    pub(crate) accept_changes: bool,
    /// Set a setting that the manifest declares.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub(crate) settings: Vec<(String, String)>,
}

/// A package as it lies on the disk.
pub(crate) struct Read {
    pub(crate) archive: Bytes,
    pub(crate) envelope: Option<Value>,
}

impl Install {
    pub(crate) async fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let read = self.package.read()?;
        let report = analysed(&read.archive);
        note_warnings(context, report.as_ref());
        let mut body = self.package.body(context, read, Vec::new())?;
        body.insert("dangerously_allow_unsigned".into(), self.dangerously_allow_unsigned.into());
        let answer = ask(context, self.tenant, Method::POST, "/v1/skills", Some(&body.into())).await?;
        shown(context, &answer)?;
        note_positions(context, report.as_ref());
        Ok(ExitCode::SUCCESS)
    }
}

impl Package {
    pub(crate) fn read(&self) -> Result<Read, CliError> {
        Ok(Read { archive: self.archive()?, envelope: self.envelope()? })
    }

    /// The body of the request that installs it; `streams` are granted already, so nobody is asked about them.
    pub(crate) fn body(
        &self,
        context: &Context,
        read: Read,
        streams: Vec<StreamGrant>,
    ) -> Result<Map<String, Value>, CliError> {
        let Read { archive, envelope } = read;
        let mut allow_hosts = self.allow_hosts.clone();
        let asked = !self.no_hosts && allow_hosts.is_empty() && is_interactive();
        let proposed = if asked { proposed(&archive) } else { Vec::new() };
        if !proposed.is_empty() {
            allow_hosts = chosen(context, &proposed)?;
        }
        let mut allow_streams = self.allow_streams.clone();
        if allow_streams.is_empty() && is_interactive() {
            let mut wished = wished_streams(&archive);
            wished.retain(|wish| !streams.iter().any(|granted| wish.admits(granted)));
            allow_streams = chosen_streams(context, &wished)?;
        }
        let kept = streams.iter().map(ToString::to_string);
        let kept: Vec<String> = kept.filter(|granted| !allow_streams.contains(granted)).collect();
        allow_streams.extend(kept);
        let settings: Map<String, Value> =
            self.settings.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
        let mut body = Map::new();
        body.insert("package".into(), STANDARD.encode(archive).into());
        body.insert("allow_hosts".into(), json!(allow_hosts));
        body.insert("dangerously_allow_streams".into(), json!(allow_streams));
        body.insert("hosts_chosen".into(), (self.no_hosts || !proposed.is_empty()).into());
        body.insert("settings".into(), settings.into());
        body.insert("accept_changes".into(), self.accept_changes.into());
        if let Some(envelope) = envelope {
            body.insert("signature".into(), envelope);
        }
        Ok(body)
    }

    fn archive(&self) -> Result<Bytes, CliError> {
        if self.file.is_dir() {
            let package = sophon_author::pack_folder(&self.file).map_err(|error| CliError::of(&error))?;
            return Ok(package.bytes().clone());
        }
        Ok(std::fs::read(&self.file).map_err(|error| CliError::file(&self.file, error))?.into())
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

/// The hosts that a person has to choose among, with where the source names them; none where the manifest says it all,
/// and none where the package cannot be read, of which the host says more.
fn proposed(archive: &Bytes) -> Vec<Wish> {
    let Ok(package) = sophon_skill::Package::read(archive.clone()) else { return Vec::new() };
    if package.manifest().leaves_hosts_open() { package.analyse().hosts } else { Vec::new() }
}

/// Asks for each host; one of a family is typed.
fn chosen(context: &Context, proposed: &[Wish]) -> Result<Vec<String>, CliError> {
    let output = context.output();
    output.note("The skill asks for the network. Its source names these hosts; it reaches those that you grant.");
    let mut hosts = Vec::new();
    for wish in proposed {
        let shown = wish.grant().unwrap_or_else(|| wish.host.to_string());
        let question = match wish.grant() {
            Some(_) => format!("{shown} ({}): grant it? [y/N]", wish.place),
            None => format!("{shown} ({}): your host there, or nothing", wish.place),
        };
        let answer = crate::output::asked(&question)?;
        match wish.grant() {
            Some(host) if matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes") => hosts.push(host),
            None if !answer.is_empty() => hosts.push(answer),
            _ => {}
        }
    }
    Ok(hosts)
}

/// The connections that are no HTTP and that the manifest asks for.
pub(crate) fn wished_streams(archive: &Bytes) -> Vec<StreamWish> {
    let read = sophon_skill::Package::read(archive.clone());
    read.map(|package| package.manifest().permissions.streams.clone()).unwrap_or_default()
}

/// Asks for each connection that is no HTTP; what the manifest leaves open is typed.
fn chosen_streams(context: &Context, wished: &[StreamWish]) -> Result<Vec<String>, CliError> {
    if !wished.is_empty() {
        context.output().note(
            "DANGEROUS: the skill asks for connections that are no HTTP. Nobody reads what goes over them, no rule about \
             methods or paths holds, and no secret is kept from it there.",
        );
    }
    let mut granted = Vec::new();
    for wish in wished {
        let question = match wish.grant() {
            Some(_) => format!("{wish}: grant it? [y/N]"),
            None => format!("{wish}: PROTOCOL://HOST:PORT to grant, or nothing"),
        };
        let answer = crate::output::asked(&question)?;
        match wish.grant() {
            Some(grant) if matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes") => {
                granted.push(grant.to_string())
            }
            None if !answer.is_empty() => granted.push(answer),
            _ => {}
        }
    }
    Ok(granted)
}

/// What the analysis says of a package; nothing where it cannot be read, of which the host says more.
pub(crate) fn analysed(archive: &Bytes) -> Option<Report> {
    sophon_skill::Package::read(archive.clone()).ok().map(|package| package.analyse())
}

/// Tells what a person should look at before the package is installed. What the host refuses it says itself.
pub(crate) fn note_warnings(context: &Context, report: Option<&Report>) {
    let Some(report) = report.filter(|report| report.verdict == Verdict::Review) else { return };
    let output = context.output();
    output.note("The analysis admits it, and a person should look at this first:");
    for found in report.findings.iter().filter(|found| found.severity == Severity::Warning) {
        output.note(&format!("  {} {}: {}", found.rule, plain(&found.place), found.message));
    }
}

/// Tells where the source puts secrets of the connection, besides header fields that are made for credentials: whoever
/// connects the account says whether they may stand there.
pub(crate) fn note_positions(context: &Context, report: Option<&Report>) {
    let positions = report.map(|report| report.positions.as_slice()).unwrap_or_default();
    let Some(first) = positions.first() else { return };
    let output = context.output();
    output.note(
        "Its source puts secrets of the connection into these places. They may stand there when a person says so:",
    );
    for found in positions {
        output.note(&format!("  --place {}={} ({})", found.field, found.position, found.place));
    }
    output.note(&format!("hint: sophon credential set {}", first.service));
}

/// Where the signature of a package lies.
pub(crate) fn beside(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(".dsse.json");
    path.into()
}

/// Shows an installed skill.
pub(crate) fn shown(context: &Context, answer: &Value) -> Result<(), CliError> {
    context.output().data(answer, |value| format!("{} {}", field(value, "name"), field(value, "version")))?;
    for (what, name) in [
        ("tools", "tools"),
        ("may reach", "network"),
        ("granted", "allow_hosts"),
        ("asks for, no HTTP", "streams"),
        ("granted, read by nobody", "allow_streams"),
        ("uses", "credentials"),
        ("requires", "requirements"),
        ("analysis", "verdict"),
    ] {
        let words = field(answer, name);
        if !words.is_empty() {
            context.output().note(&format!("  {what}: {words}"));
        }
    }
    context.output().note(&format!("  trust: {}", field(answer, "trust")));
    Ok(())
}

pub(crate) fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}
