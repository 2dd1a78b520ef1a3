//! `sophon doctor`: what is wrong with this home, and the line that mends it. Changes nothing.

use crate::context::Context;
use crate::door::greet;
use crate::error::CliError;
use crate::home::Home;
use crate::house::{House, containers_for_doctor};
use crate::output::columns;
use clap::Args;
use serde::Serialize;
use serde_json::json;
use sophon_gateway::RunFile;
use sophon_sandbox::{Confinement, EngineFacts, Unavailable, landlock_here};
use sophon_types::{Fault, FaultReport};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::ExitCode;

/// Say what is wrong with this home and how to mend it.
#[derive(Debug, Args)]
pub(crate) struct Doctor {}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    status: Status,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Warning,
    Failed,
}

impl Doctor {
    pub(crate) async fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let mut checks = vec![check("program", Status::Ok, concat!("sophon ", env!("CARGO_PKG_VERSION")), None)];
        let home = context.home()?;
        if home.root().is_dir() {
            look(context, &home, &mut checks).await;
        } else {
            let message = format!("{}: not made yet", home.root().display());
            checks.push(check("home", Status::Warning, message, Some("sophon serve")));
        }
        let healthy = checks.iter().all(|check| check.status != Status::Failed);
        let value = json!({"healthy": healthy, "home": home.root(), "checks": checks});
        context.output().data(&value, |_value| shown(&checks))?;
        Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

async fn look(context: &Context, home: &Home, checks: &mut Vec<Check>) {
    checks.push(private("home", home.root(), 0o700));
    for name in ["kek", "audit-signing", "audit-hash"] {
        let path = home.key_file(name);
        if path.exists() {
            checks.push(private("key file", &path, 0o600));
        }
    }
    match context.config() {
        Ok(config) => {
            checks.push(check("configuration", Status::Ok, format!("{}: valid", home.config().display()), None));
            if !config.gateway.listen.ip().is_loopback() {
                let message = format!("[gateway] listen = {}: others can reach it", config.gateway.listen);
                checks.push(check("gateway address", Status::Warning, message, Some("put a proxy with TLS before it")));
            }
        }
        Err(error) => {
            checks.push(fault("configuration", &error));
            return;
        }
    }
    checks.push(landlock());
    checks.push(native(context).await);
    match home.lock() {
        Ok(Some(lock)) => {
            checks.push(check("gateway", Status::Ok, "not running", None));
            match House::open(context, lock).await {
                Ok(house) => parts(house, checks).await,
                Err(error) => checks.push(fault("parts", &error)),
            }
        }
        Ok(None) => checks.push(running(context, home).await),
        Err(error) => checks.push(fault("lock", &error)),
    }
}

/// What the kernel holds the gateway to its files with.
fn landlock() -> Check {
    let found = landlock_here();
    match found {
        Confinement::Full { .. } => check("landlock", Status::Ok, found.to_string(), None),
        Confinement::Partial { .. } | Confinement::None => {
            let hint = "use a kernel of 6.12 or later with Landlock among its security modules";
            check("landlock", Status::Warning, found.to_string(), Some(hint))
        }
    }
}

/// Whether native skills can run, tried out: the engine is asked, and a sandbox is started and thrown away.
async fn native(context: &Context) -> Check {
    const NAME: &str = "native skills";
    let runtime = match containers_for_doctor(context) {
        Ok(runtime) => runtime,
        Err(error) => return fault(NAME, &error),
    };
    let checked = match runtime.open().await {
        Ok(facts) => {
            let EngineFacts { version, cgroups, platform, kernel, .. } = facts.engine;
            let platform = platform.unwrap_or_else(|| "its usual platform".into());
            let images = match (facts.csharp, facts.dotnet) {
                (true, Some(version)) => format!("there are images for Python and C# (.NET {version})"),
                (true, None) => "there are images for Python and C#".into(),
                (false, _) => {
                    "there is an image for Python, none for C# (scripts/build-images --dotnet makes it)".into()
                }
            };
            let message = format!(
                "gVisor answers in the engine {version} (runtime {}, {platform}, cgroups {cgroups}, kernel {kernel}); {images}",
                facts.runtime,
            );
            check(NAME, Status::Ok, message, None)
        }
        Err(cause @ Unavailable::Off) => check(NAME, Status::Warning, format!("refused: {cause}"), Some(cause.hint())),
        Err(cause) => check(NAME, Status::Failed, format!("refused: {cause}"), Some(cause.hint())),
    };
    runtime.close().await;
    checked
}

/// The parts of a home that no gateway has open.
async fn parts(house: House, checks: &mut Vec<Check>) {
    match house.store().ready().await {
        Ok(()) => checks.push(check("database", Status::Ok, "can be read and written", None)),
        Err(error) => checks.push(fault("database", &error)),
    }
    match house.audit().verify().await {
        Ok(found) if found.is_intact() => {
            let message = format!("{} records, {} checkpoints: intact", found.records, found.checkpoints);
            checks.push(check("audit log", Status::Ok, message, None));
        }
        Ok(found) => {
            let message = format!("{} places are not as they were written", found.problems.len());
            checks.push(check("audit log", Status::Failed, message, Some("sophon audit verify")));
        }
        Err(error) => checks.push(fault("audit log", &error)),
    }
    checks.push(check("vault", Status::Ok, "opens with its key", None));
    if let Err(error) = house.close().await {
        checks.push(fault("closing", &error));
    }
}

/// Whoever has the home open: its gateway, if it can prove that it is.
async fn running(context: &Context, home: &Home) -> Check {
    let hint = Some("wait until it has finished");
    let run = match RunFile::read(&home.run_file()) {
        Ok(Some(run)) => run,
        Ok(None) => {
            let message = "another process has the home open and cannot be spoken to";
            return check("gateway", Status::Warning, message, hint);
        }
        Err(error) => return fault("gateway", &error),
    };
    match greet(&run, context.entropy()).await {
        Ok(_proven) => check("gateway", Status::Ok, format!("running at {} (process {})", run.address, run.pid), None),
        Err(error) => {
            let message = format!("another process has the home open; {}", error.report().message);
            check("gateway", Status::Warning, message, hint)
        }
    }
}

fn private(name: &'static str, path: &Path, wanted: u32) -> Check {
    match fs::metadata(path) {
        Ok(metadata) => {
            let mode = metadata.permissions().mode() & 0o777;
            if mode & 0o077 == 0 {
                return check(name, Status::Ok, format!("{}: its owner's alone", path.display()), None);
            }
            let hint = format!("chmod {wanted:o} {}", path.display());
            check(name, Status::Failed, format!("{}: others can read it (mode {mode:o})", path.display()), Some(&hint))
        }
        Err(error) => check(name, Status::Failed, format!("{}: {error}", path.display()), None),
    }
}

fn check(name: &'static str, status: Status, message: impl Into<String>, hint: Option<&str>) -> Check {
    Check { name, status, message: message.into(), hint: hint.map(str::to_owned) }
}

fn fault(name: &'static str, fault: &dyn Fault) -> Check {
    let report = FaultReport::of(fault);
    Check { name, status: Status::Failed, message: report.message, hint: report.hint }
}

fn shown(checks: &[Check]) -> String {
    let word = |status| match status {
        Status::Ok => "ok",
        Status::Warning => "warning",
        Status::Failed => "FAILED",
    };
    let mut rows = Vec::new();
    for check in checks {
        rows.push(vec![word(check.status).to_owned(), check.name.to_owned(), check.message.clone()]);
        if let Some(hint) = &check.hint {
            rows.push(vec![String::new(), String::new(), format!("hint: {hint}")]);
        }
    }
    columns(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::door::tests::{Stranger, home_with_a_run};

    #[tokio::test]
    async fn a_stranger_on_the_gateways_port_is_not_the_gateway() {
        let stranger = Stranger::listen().await;
        let (_folder, context, _lock, token) = home_with_a_run(stranger.address);
        let found = running(&context, &context.home().unwrap()).await;
        assert_eq!(found.status, Status::Warning, "{}", found.message);
        assert!(!found.message.contains("running at"), "{}", found.message);
        assert!(!stranger.heard().contains(&token));
    }
}
