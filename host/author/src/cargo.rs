//! The one place that starts programs: cargo, to build the author's crate, and rustc, to see why that failed.
//!
//! Promises: nothing goes through a shell, every argument is one argument, and no variable of this host (the vault's key
//! is one) is seen by what they start: build scripts and macros are other people's code.

use crate::{AuthorError, BuildRequest};
use serde::Serialize;
use serde_json::Value;
use sophon_types::SkillName;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::str::FromStr;

/// What a skill is compiled for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize)]
pub enum Target {
    /// Imports only what the code uses. The default.
    #[default]
    #[serde(rename = "wasm32-unknown-unknown")]
    Unknown,
    /// With WASI, for code that needs it.
    #[serde(rename = "wasm32-wasip2")]
    Wasip2,
}

impl Target {
    /// The target's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "wasm32-unknown-unknown",
            Self::Wasip2 => "wasm32-wasip2",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Unknown, Self::Wasip2]
            .into_iter()
            .find(|target| target.as_str() == text)
            .ok_or_else(|| format!("{text:?} is not a target for skills: wasm32-unknown-unknown or wasm32-wasip2"))
    }
}

/// Where the compiler's messages go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CompilerMessages {
    /// Into the result or the error.
    #[default]
    Captured,
    /// To this process's stderr, while the compiler runs.
    Inherited,
}

/// What cargo built.
#[derive(Debug)]
pub(crate) struct Artifact {
    pub(crate) path: PathBuf,
    pub(crate) version: Option<String>,
    pub(crate) stderr: String,
}

/// Compiles the crate in the request's folder.
pub(crate) fn compile(request: &BuildRequest, skill: &SkillName) -> Result<Artifact, AuthorError> {
    let cargo_toml = request.dir.join("Cargo.toml");
    let Ok(cargo_toml) = cargo_toml.canonicalize() else {
        return Err(AuthorError::NoCargoToml { dir: request.dir.clone() });
    };
    let output = run_cargo(request, &cargo_toml).map_err(|error| AuthorError::NoCargo {
        program: request.cargo.display().to_string(),
        cause: error.to_string(),
    })?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        if has_target(request) == Some(Installed::No) {
            return Err(AuthorError::NoTarget { skill: skill.clone(), target: request.target.as_str() });
        }
        return Err(AuthorError::Compile { skill: skill.clone(), status: output.status.to_string(), stderr });
    }
    let built =
        find_library(&output.stdout, &cargo_toml).ok_or_else(|| AuthorError::NoArtifact { skill: skill.clone() })?;
    // cargo takes no package name that begins with a digit or is a keyword; `sophon new` puts `skill-` before those.
    let package = built.name.replace('_', "-");
    if package != skill.as_str() && package.strip_prefix("skill-") != Some(skill.as_str()) {
        return Err(AuthorError::NameMismatch { skill: skill.clone(), package });
    }
    Ok(Artifact { path: built.path, version: built.version, stderr })
}

fn run_cargo(request: &BuildRequest, cargo_toml: &Path) -> io::Result<Output> {
    let mut command = command(request.cargo.as_os_str(), environment());
    command
        // cargo looks for its configuration, and rustup for the toolchain, from here upwards.
        .current_dir(&request.dir)
        .args(["build", "--release", "--message-format=json-render-diagnostics", "--target", request.target.as_str()])
        .arg("--manifest-path")
        .arg(cargo_toml)
        .args(&request.cargo_args)
        .stdin(Stdio::null());
    if let Some(dir) = &request.target_dir {
        command.arg("--target-dir").arg(std::path::absolute(dir)?);
    }
    if request.messages == CompilerMessages::Inherited {
        command.stderr(Stdio::inherit());
    }
    command.output()
}

/// What this host calls its own in the environment.
const OWN: &[u8] = b"SOPHON_";
/// The one of them that is for the compiler: whether the skill describes itself.
const DESCRIBE: &str = "SOPHON_DESCRIBE";

/// A program that is not told this host's own variables: of `environment`, the names of those that are set.
#[expect(clippy::disallowed_methods, reason = "the one place of this crate that starts programs")]
fn command(program: &OsStr, environment: impl Iterator<Item = OsString>) -> Command {
    let mut command = Command::new(program);
    for name in environment.filter(|name| name.as_encoded_bytes().starts_with(OWN) && name != DESCRIBE) {
        command.env_remove(name);
    }
    command
}

/// The names of the variables that are set; no value is looked at.
fn environment() -> impl Iterator<Item = OsString> {
    std::env::vars_os().map(|(name, _value)| name)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Installed {
    Yes,
    No,
}

/// Whether rustc has a standard library for the target; nothing where rustc does not say.
fn has_target(request: &BuildRequest) -> Option<Installed> {
    // A cargo that was named by its path has its rustc beside it.
    let rustc = request.cargo.parent().map(|dir| dir.join("rustc")).filter(|path| path.is_file());
    let rustc = rustc.unwrap_or_else(|| "rustc".into());
    let mut command = command(rustc.as_os_str(), environment());
    command.current_dir(&request.dir).args(["--print", "target-libdir", "--target", request.target.as_str()]);
    let output = command.stdin(Stdio::null()).output().ok().filter(|output| output.status.success())?;
    let dir = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim_end());
    let found = std::fs::read_dir(dir).is_ok_and(|entries| {
        entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
    });
    Some(if found { Installed::Yes } else { Installed::No })
}

#[derive(Debug, PartialEq, Eq)]
struct Library {
    name: String,
    path: PathBuf,
    version: Option<String>,
}

/// The `cdylib` of the package at `cargo_toml` among cargo's messages (one JSON object a line).
fn find_library(stdout: &[u8], cargo_toml: &Path) -> Option<Library> {
    let text = String::from_utf8_lossy(stdout);
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    messages.filter_map(|message| library(&message, cargo_toml)).next_back()
}

fn library(message: &Value, cargo_toml: &Path) -> Option<Library> {
    if message["reason"] != "compiler-artifact" || Path::new(message["manifest_path"].as_str()?) != cargo_toml {
        return None;
    }
    if !message["target"]["kind"].as_array()?.iter().any(|kind| kind == "cdylib") {
        return None;
    }
    let files = message["filenames"].as_array()?.iter().filter_map(Value::as_str);
    let path = files.map(PathBuf::from).find(|path| path.extension().is_some_and(|extension| extension == "wasm"))?;
    // `path+file:///home/ada/weather#0.1.0`, or `…#weather@0.1.0` where the folder has another name.
    let id = message["package_id"].as_str().and_then(|id| id.rsplit_once('#')).map(|(_, after)| after);
    let version = id.map(|id| id.rsplit_once('@').map_or(id, |(_, version)| version).to_owned());
    Some(Library { name: message["target"]["name"].as_str()?.to_owned(), path, version })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_library_among_cargos_messages() {
        let message = |manifest: &str, kind: &str, file: &str, id: &str| {
            serde_json::json!({
                "reason": "compiler-artifact", "manifest_path": manifest, "package_id": id,
                "target": { "name": "weather", "kind": [kind] }, "filenames": [file],
            })
            .to_string()
        };
        let own = "/w/Cargo.toml";
        let lines = [
            message("/dep/Cargo.toml", "cdylib", "/t/dep.wasm", "registry+x#dep@1.0.0"),
            message(own, "bin", "/t/bin.wasm", "path+file:///w#weather@0.2.0"),
            "not json".to_owned(),
            message(own, "cdylib", "/t/weather.wasm", "path+file:///w#weather@0.2.0"),
            "{\"reason\":\"build-finished\",\"success\":true}".to_owned(),
        ];
        let found = find_library(lines.join("\n").as_bytes(), Path::new(own)).unwrap();
        assert_eq!((found.name.as_str(), found.path.as_path()), ("weather", Path::new("/t/weather.wasm")));
        assert_eq!(found.version.as_deref(), Some("0.2.0"));
        let short = message(own, "cdylib", "/t/weather.wasm", "path+file:///home/weather#0.3.0");
        assert_eq!(find_library(short.as_bytes(), Path::new(own)).unwrap().version.as_deref(), Some("0.3.0"));
        assert_eq!(find_library(lines[..3].join("\n").as_bytes(), Path::new(own)), None);
    }

    #[test]
    fn other_peoples_code_does_not_see_this_hosts_variables() {
        let set = ["PATH", "SOPHON_VAULT_KEY", "SOPHON_VAULT_PASSPHRASE", "SOPHON__LOG__LEVEL", "SOPHON_DESCRIBE"];
        let command = command(OsStr::new("cargo"), set.iter().map(OsString::from));
        let removed: Vec<_> =
            command.get_envs().filter(|(_name, value)| value.is_none()).map(|(name, _)| name).collect();
        assert_eq!(removed, ["SOPHON_VAULT_KEY", "SOPHON_VAULT_PASSPHRASE", "SOPHON__LOG__LEVEL"]);
        assert!(environment().any(|name| name == "PATH"), "what is set is looked at");
    }
}
