//! What can go wrong at the command line, and the exit code that says so.

use sophon_types::{Fault, FaultKind, FaultReport, Stage};
use std::path::PathBuf;
use std::process::ExitCode;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CliError {
    /// The command line is wrong.
    #[error("{message}")]
    Usage {
        /// What is wrong with it.
        message: String,
        /// What would be right.
        hint: Option<String>,
    },
    /// Neither `SOPHON_HOME` nor `HOME` is set.
    #[error("there is no home folder: neither SOPHON_HOME nor HOME is set")]
    NoHome,
    /// A file or folder could not be used.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A key file can be read by others than its owner.
    #[error("{}: others than its owner can read it (mode {mode:o})", path.display())]
    KeyFileOpen {
        /// Which.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A key file does not hold a key.
    #[error("{}: not a key of this host", path.display())]
    KeyFileInvalid {
        /// Which.
        path: PathBuf,
    },
    /// A key file is not there, although something in the home was made with the key.
    #[error("{}: the key is missing, and this home was used with it", path.display())]
    KeyFileMissing {
        /// Which.
        path: PathBuf,
    },
    /// The database is not there or empty, although the home has been in use.
    #[error("{}: the database is missing or empty, and this home has been in use", path.display())]
    DatabaseLost {
        /// Where it was.
        path: PathBuf,
    },
    /// The key that the environment has to hold is not there or not a key.
    #[error("the environment variable {variable} does not hold what [vault] key asks for")]
    KeyVariable {
        /// Which.
        variable: &'static str,
    },
    /// The configuration is wrong.
    #[error("{place}: {message}")]
    Config {
        /// File and line, or the environment variable.
        place: String,
        /// What is wrong.
        message: String,
        /// What would be right.
        hint: String,
    },
    /// Another process has the home open and is not a gateway that can be spoken to.
    #[error("{}: another process has this home open", home.display())]
    HomeBusy {
        /// Which home.
        home: PathBuf,
    },
    /// A gateway runs in this home already.
    #[error("{}: a gateway runs in this home already", home.display())]
    AlreadyServing {
        /// Which home.
        home: PathBuf,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which.
        address: std::net::SocketAddr,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The gateway of the home did not answer as it should.
    #[error("the gateway of this home: {message}")]
    Gateway {
        /// What went wrong.
        message: String,
    },
    /// Standard input is not what the command takes.
    #[error("standard input: {message}")]
    Input {
        /// What is wrong.
        message: String,
    },
    /// Output could not be written.
    #[error("standard output: {0}")]
    Output(std::io::Error),
    /// The process could not be set up.
    #[error("cannot start: {message}")]
    Start {
        /// Why.
        message: String,
    },
    /// A lower floor, or the gateway, refused.
    #[error("{}", report.message)]
    Refused {
        /// What it says.
        report: FaultReport,
        /// What the log knows the request by.
        correlation: Option<String>,
    },
}

impl CliError {
    /// What a fault of a lower floor says of itself.
    pub(crate) fn of(fault: &dyn Fault) -> Self {
        Self::Refused { report: FaultReport::of(fault), correlation: None }
    }

    pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), hint: Some(hint.into()) }
    }

    pub(crate) fn file(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::File { path: path.into(), source }
    }

    /// The error as data.
    pub(crate) fn report(&self) -> FaultReport {
        match self {
            Self::Refused { report, .. } => report.clone(),
            own => FaultReport::of(own),
        }
    }

    /// 0 ok, 1 failed, 2 usage, 3 denied by policy, 4 needs approval, 5 not trusted.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Usage { .. } => 2,
            other => exit_code_of(other.report().kind),
        })
    }
}

/// The exit code for a kind of failure that is not one of usage.
pub(crate) fn exit_code_of(kind: FaultKind) -> u8 {
    match kind {
        FaultKind::Denied => 3,
        FaultKind::NeedsApproval => 4,
        FaultKind::Untrusted => 5,
        _ => 1,
    }
}

impl Fault for CliError {
    fn stage(&self) -> Stage {
        match self {
            Self::Refused { report, .. } => report.stage,
            Self::Config { .. } => Stage::Config,
            Self::NoHome
            | Self::KeyFileOpen { .. }
            | Self::KeyFileInvalid { .. }
            | Self::KeyFileMissing { .. }
            | Self::DatabaseLost { .. }
            | Self::KeyVariable { .. }
            | Self::HomeBusy { .. }
            | Self::AlreadyServing { .. } => Stage::Home,
            Self::Usage { .. }
            | Self::File { .. }
            | Self::Listen { .. }
            | Self::Gateway { .. }
            | Self::Input { .. }
            | Self::Output(_)
            | Self::Start { .. } => Stage::Client,
        }
    }

    fn kind(&self) -> FaultKind {
        match self {
            Self::Refused { report, .. } => report.kind,
            Self::Usage { .. }
            | Self::NoHome
            | Self::Config { .. }
            | Self::Input { .. }
            | Self::KeyFileInvalid { .. }
            | Self::KeyFileMissing { .. }
            | Self::DatabaseLost { .. }
            | Self::KeyVariable { .. } => FaultKind::Invalid,
            Self::File { source, .. } if source.kind() == std::io::ErrorKind::NotFound => FaultKind::NotFound,
            Self::File { .. } | Self::KeyFileOpen { .. } | Self::Output(_) => FaultKind::Invalid,
            Self::HomeBusy { .. } | Self::AlreadyServing { .. } => FaultKind::Conflict,
            Self::Listen { .. } | Self::Gateway { .. } | Self::Start { .. } => FaultKind::Unavailable,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Usage { .. } => "usage",
            Self::NoHome => "no_home",
            Self::File { .. } => "file_unusable",
            Self::KeyFileOpen { .. } => "key_file_readable_by_others",
            Self::KeyFileInvalid { .. } => "key_file_invalid",
            Self::KeyFileMissing { .. } => "key_file_missing",
            Self::DatabaseLost { .. } => "database_lost",
            Self::KeyVariable { .. } => "key_variable_invalid",
            Self::Config { .. } => "config_invalid",
            Self::HomeBusy { .. } => "home_busy",
            Self::AlreadyServing { .. } => "already_serving",
            Self::Listen { .. } => "listen_failed",
            Self::Gateway { .. } => "gateway_unreachable",
            Self::Input { .. } => "input_invalid",
            Self::Output(_) => "output_failed",
            Self::Start { .. } => "start_failed",
            Self::Refused { .. } => "refused",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Refused { report, .. } => report.hint.clone(),
            Self::Usage { hint, .. } => hint.clone(),
            Self::Config { hint, .. } => Some(hint.clone()),
            Self::NoHome => Some("export SOPHON_HOME=$PWD/sophon-home".into()),
            Self::File { path, source } => Some(match source.kind() {
                std::io::ErrorKind::ReadOnlyFilesystem => {
                    format!("{} is on a read-only file system: mount it so that it can be written", path.display())
                }
                std::io::ErrorKind::StorageFull => format!("free space on the disk that holds {}", path.display()),
                _ => format!("ls -ld {}", path.display()),
            }),
            Self::KeyFileOpen { path, .. } => Some(format!("chmod 600 {}", path.display())),
            Self::KeyFileInvalid { .. } | Self::KeyFileMissing { .. } => {
                Some("restore it from a backup: without it what it protects cannot be read".into())
            }
            Self::DatabaseLost { .. } => {
                Some("restore it from a backup, or set SOPHON_HOME to another folder to begin anew".into())
            }
            Self::KeyVariable { variable } => Some(format!(
                "export {variable}=... before starting, or set [vault] key = \"file\" in sophon.toml for a new home"
            )),
            Self::HomeBusy { .. } => Some("wait until the other sophon command has finished".into()),
            Self::AlreadyServing { .. } => Some("stop it first, or set SOPHON_HOME to another folder".into()),
            Self::Listen { .. } => Some("choose another one: sophon serve --listen 127.0.0.1:0".into()),
            Self::Gateway { .. } => Some("sophon doctor".into()),
            Self::Input { .. } | Self::Output(_) | Self::Start { .. } => None,
        }
    }
}

/// Every fault of a lower floor is an error of the command line.
macro_rules! faults {
    ($($error:ty),* $(,)?) => {$(
        impl From<$error> for CliError {
            fn from(fault: $error) -> Self {
                Self::of(&fault)
            }
        }
    )*};
}

faults! {
    sophon_audit::AuditError,
    sophon_author::AuthorError,
    sophon_gateway::GatewayError,
    sophon_store::StoreError,
    sophon_vault::VaultError,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_the_documented_ones() {
        let refused = |kind| {
            let report = FaultReport { stage: Stage::Gate, kind, code: "x".into(), message: "x".into(), hint: None };
            CliError::Refused { report, correlation: None }.exit_code()
        };
        assert_eq!(refused(FaultKind::Denied), ExitCode::from(3));
        assert_eq!(refused(FaultKind::NeedsApproval), ExitCode::from(4));
        assert_eq!(refused(FaultKind::Untrusted), ExitCode::from(5));
        assert_eq!(refused(FaultKind::Invalid), ExitCode::from(1));
        assert_eq!(CliError::usage("x", "y").exit_code(), ExitCode::from(2));
        assert_eq!(CliError::NoHome.exit_code(), ExitCode::from(1));
    }
}
