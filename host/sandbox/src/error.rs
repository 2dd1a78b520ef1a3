//! What can go wrong before a skill runs, and what became of a run that gave no result.

use serde::{Deserialize, Serialize};
use sophon_types::{Fault, FaultKind, SkillName, Stage};
use std::fmt;
use std::time::Duration;

/// Why a skill cannot be run at all.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The engine could not be set up: the machine lacks something it needs.
    #[error("the WebAssembly engine does not start: {0}")]
    Engine(String),
    /// wasmtime refused to compile the component.
    #[error("{skill}: the component does not compile: {cause}")]
    Compile {
        /// The skill.
        skill: SkillName,
        /// wasmtime's words.
        cause: String,
    },
    /// The component's imports cannot be linked with what its manifest declares.
    #[error("{skill}: the component cannot be linked: {cause}")]
    Link {
        /// The skill.
        skill: SkillName,
        /// wasmtime's words.
        cause: String,
    },
    /// The component needs more instances, memories or tables than one call can have.
    #[error("{skill}: the component needs {what}")]
    TooDemanding {
        /// The skill.
        skill: SkillName,
        /// What it needs and what there is.
        what: String,
    },
    /// Native skills cannot run on this host now.
    #[error("{skill}: native skills cannot run here: {cause}")]
    Containers {
        /// The skill.
        skill: SkillName,
        /// Why.
        cause: crate::Unavailable,
    },
    /// What a skill requires beside itself is not there.
    #[error("{skill}: what it requires cannot be used: {cause}")]
    Requirements {
        /// The skill.
        skill: SkillName,
        /// Why.
        cause: String,
    },
    /// Skills of this runtime run here, and such a one does not.
    #[error("{skill}: skills of the runtime {runtime:?} {what}")]
    Unfit {
        /// The skill.
        skill: SkillName,
        /// The manifest's runtime.
        runtime: String,
        /// What they cannot do.
        what: &'static str,
        /// What would help.
        hint: &'static str,
    },
    /// This kind of skill has no tier on this host.
    #[error(
        "{skill}: the runtime {runtime:?} cannot run here; those that can are wasm, python, csharp, and sandbox in Python"
    )]
    NoTier {
        /// The skill.
        skill: SkillName,
        /// The manifest's runtime.
        runtime: String,
    },
}

impl Fault for SandboxError {
    fn stage(&self) -> Stage {
        match self {
            Self::Compile { .. } => Stage::Compile,
            _ => Stage::Sandbox,
        }
    }

    fn kind(&self) -> FaultKind {
        match self {
            Self::Engine(_) => FaultKind::Internal,
            Self::NoTier { .. } | Self::Unfit { .. } => FaultKind::Denied,
            Self::Containers { .. } | Self::Requirements { .. } => FaultKind::Unavailable,
            _ => FaultKind::Unprocessable,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Engine(_) => "engine_unavailable",
            Self::Compile { .. } => "component_does_not_compile",
            Self::Link { .. } => "component_does_not_link",
            Self::TooDemanding { .. } => "component_too_demanding",
            Self::NoTier { .. } => "runtime_not_available",
            Self::Unfit { .. } => "runtime_unfit",
            Self::Containers { .. } => "gvisor_not_available",
            Self::Requirements { .. } => "requirements_not_available",
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Engine(_) => {
                "run `sophon doctor` to see what this machine offers; fewer calls at the same time ([sandbox] \
                 concurrent_calls) need less address space"
                    .into()
            }
            Self::Compile { .. } => "build it again with `sophon build`".into(),
            Self::Link { .. } => {
                "import only sophon:skill interfaces that the manifest declares; `sophon check` lists them".into()
            }
            Self::TooDemanding { .. } => "compose the skill of fewer modules, memories and tables".into(),
            Self::Containers { cause, .. } => cause.hint().to_owned(),
            Self::Unfit { hint, .. } => (*hint).to_owned(),
            Self::Requirements { .. } => "install the skill again, which fetches what it requires".into(),
            Self::NoTier { .. } => "build the skill as a WebAssembly component (`runtime: \"wasm\"`)".into(),
        })
    }
}

/// What a skill says of its own failure; the cases of `tool-error` in the WIT contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ToolErrorKind {
    /// The skill does not know the tool.
    UnknownTool,
    /// The arguments make no sense.
    InvalidArguments,
    /// What was asked for does not exist.
    NotFound,
    /// The host or the other side refused.
    Denied,
    /// The other side failed.
    Unavailable,
    /// Anything else.
    Failed,
}

impl ToolErrorKind {
    /// The case's name in the WIT contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownTool => "unknown-tool",
            Self::InvalidArguments => "invalid-arguments",
            Self::NotFound => "not-found",
            Self::Denied => "denied",
            Self::Unavailable => "unavailable",
            Self::Failed => "failed",
        }
    }
}

/// Why a run gave no result. The texts may hold what the skill wrote: they are untrusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RunFailure {
    /// The tool returned an error.
    Tool {
        /// Which case.
        kind: ToolErrorKind,
        /// The skill's words.
        message: String,
    },
    /// The skill trapped.
    Trap {
        /// wasmtime's name of the trap.
        trap: String,
    },
    /// The fuel is used up.
    OutOfFuel {
        /// The limit.
        fuel: u64,
    },
    /// The wall clock ran out.
    DeadlineExceeded {
        /// The limit.
        wall: Duration,
    },
    /// The skill asked for more memory than it may have, and gave up.
    OutOfMemory {
        /// The limit in bytes, summed over the store.
        memory: usize,
    },
    /// The skill asked for more table elements, handles, host calls, bytes or instances than it may have.
    LimitExceeded {
        /// Which limit, in words.
        what: String,
    },
    /// The result is not JSON or too large.
    BadResult {
        /// What is wrong with it.
        what: String,
    },
    /// The skill ended by itself and not as one that has a result.
    Exited {
        /// `with status 3`, `by signal 9`.
        how: String,
        /// The last line of what it wrote to standard error.
        words: String,
    },
    /// The skill went for the network by itself, past the proxy.
    NoNetwork {
        /// The last line of what it wrote to standard error.
        words: String,
    },
    /// What came out of the sandbox makes no sense, or it broke off.
    Channel {
        /// What came.
        what: String,
    },
    /// The host has no room for one more instance now.
    NoCapacity,
    /// The engine that makes sandboxes, or what it makes them of, is not there any more.
    NoSandbox {
        /// Why.
        cause: String,
    },
    /// The host failed; the text is for the operator.
    Host {
        /// The cause.
        cause: String,
    },
}

impl fmt::Display for RunFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tool { kind, message } => write!(f, "{}: {message}", kind.as_str()),
            Self::Trap { trap } => write!(f, "the skill trapped: {trap}"),
            Self::OutOfFuel { fuel } => write!(f, "the skill used up its {fuel} units of fuel"),
            Self::DeadlineExceeded { wall } => {
                write!(f, "the call took longer than the {} s it may take", wall.as_secs_f64())
            }
            Self::OutOfMemory { memory } => {
                write!(f, "the skill needed more than the {} MiB of memory it may have", memory >> 20)
            }
            Self::LimitExceeded { what } => write!(f, "the skill hit a limit: {what}"),
            Self::BadResult { what } => write!(f, "the skill's result is not usable: {what}"),
            Self::Exited { how, words } if words.is_empty() => write!(f, "the skill ended {how}"),
            Self::Exited { how, words } => write!(f, "the skill ended {how}: {words}"),
            Self::NoNetwork { words } => {
                write!(f, "the skill went for the network by itself, and there is none in its sandbox: {words}")
            }
            Self::Channel { what } => write!(f, "the skill's sandbox is not usable: {what}"),
            Self::NoCapacity => f.write_str("the host runs as many skills as it can"),
            Self::NoSandbox { cause } => write!(f, "native skills cannot run here now: {cause}"),
            Self::Host { .. } => f.write_str("the host could not run the skill"),
        }
    }
}

impl std::error::Error for RunFailure {}

impl Fault for RunFailure {
    fn stage(&self) -> Stage {
        Stage::Sandbox
    }

    fn kind(&self) -> FaultKind {
        match self {
            Self::Tool { kind: ToolErrorKind::InvalidArguments | ToolErrorKind::UnknownTool, .. } => FaultKind::Invalid,
            Self::Tool { kind: ToolErrorKind::NotFound, .. } => FaultKind::NotFound,
            Self::Tool { kind: ToolErrorKind::Denied, .. } => FaultKind::Denied,
            Self::DeadlineExceeded { .. } => FaultKind::Timeout,
            Self::NoCapacity | Self::NoSandbox { .. } => FaultKind::Unavailable,
            Self::NoNetwork { .. } => FaultKind::Denied,
            Self::Host { .. } => FaultKind::Internal,
            _ => FaultKind::Upstream,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Tool { kind, .. } => match kind {
                ToolErrorKind::UnknownTool => "tool_unknown_to_skill",
                ToolErrorKind::InvalidArguments => "tool_invalid_arguments",
                ToolErrorKind::NotFound => "tool_not_found",
                ToolErrorKind::Denied => "tool_denied",
                ToolErrorKind::Unavailable => "tool_unavailable",
                ToolErrorKind::Failed => "tool_failed",
            },
            Self::Trap { .. } => "trap",
            Self::OutOfFuel { .. } => "out_of_fuel",
            Self::DeadlineExceeded { .. } => "deadline_exceeded",
            Self::OutOfMemory { .. } => "out_of_memory",
            Self::LimitExceeded { .. } => "limit_exceeded",
            Self::BadResult { .. } => "bad_result",
            Self::Exited { .. } => "skill_exited",
            Self::NoNetwork { .. } => "sockets_not_allowed",
            Self::Channel { .. } => "sandbox_broken",
            Self::NoCapacity => "no_capacity",
            Self::NoSandbox { .. } => "gvisor_not_available",
            Self::Host { .. } => "internal",
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::OutOfFuel { .. } => {
                "ask for less at once; the skill's manifest chooses sandbox.preset (`minimal` has the most fuel) and may \
                 lower it with permissions.maxCpuSeconds, and [sandbox] fuel caps what a preset gives"
                    .into()
            }
            Self::DeadlineExceeded { .. } => {
                "ask for less at once; the skill's manifest sets sandbox.timeoutSeconds (at most 300), and [sandbox] \
                 timeout_seconds caps what it gets"
                    .into()
            }
            Self::OutOfMemory { .. } => {
                "ask for less at once; the skill's manifest sets permissions.maxMemoryMb (at most 256 are given), and \
                 [sandbox] memory_mb caps what it gets"
                    .into()
            }
            Self::NoNetwork { .. } => {
                "a native skill reaches HTTP and HTTPS through the proxy that its environment names (HTTP_PROXY), and \
                 nothing else; most HTTP libraries use it by themselves"
                    .into()
            }
            Self::Trap { .. } | Self::BadResult { .. } | Self::Exited { .. } | Self::Channel { .. } => {
                "this is a fault of the skill: tell its author, with the call's id".into()
            }
            Self::LimitExceeded { .. } => "ask for less at once".into(),
            Self::NoSandbox { .. } => "`sophon doctor` says what is missing; the engine has to run again".into(),
            Self::NoCapacity => "try again in a moment; [sandbox] concurrent_calls is how many run at once".into(),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;
    use sophon_skill::{Manifest, Preset};

    /// The keys of the host's `[sandbox]` section; reading it is the command's.
    const SANDBOX: [&str; 5] = ["fuel", "memory_mb", "timeout_seconds", "http_requests", "concurrent_calls"];

    fn hints() -> Vec<String> {
        let skill: SkillName = "probe".parse().unwrap();
        let (text, wall) = (String::new, Duration::from_secs(1));
        let before = [
            SandboxError::Engine(text()),
            SandboxError::Compile { skill: skill.clone(), cause: text() },
            SandboxError::Link { skill: skill.clone(), cause: text() },
            SandboxError::TooDemanding { skill: skill.clone(), what: text() },
            SandboxError::NoTier { skill: skill.clone(), runtime: text() },
            SandboxError::Unfit { skill: skill.clone(), runtime: text(), what: "", hint: "" },
            SandboxError::Requirements { skill: skill.clone(), cause: text() },
            SandboxError::Containers { skill, cause: crate::Unavailable::Off },
        ];
        let after = [
            RunFailure::Tool { kind: ToolErrorKind::Failed, message: text() },
            RunFailure::Trap { trap: text() },
            RunFailure::OutOfFuel { fuel: 1 },
            RunFailure::DeadlineExceeded { wall },
            RunFailure::OutOfMemory { memory: 1 },
            RunFailure::LimitExceeded { what: text() },
            RunFailure::BadResult { what: text() },
            RunFailure::Exited { how: text(), words: text() },
            RunFailure::NoNetwork { words: text() },
            RunFailure::Channel { what: text() },
            RunFailure::NoCapacity,
            RunFailure::NoSandbox { cause: text() },
            RunFailure::Host { cause: text() },
        ];
        before.iter().filter_map(Fault::hint).chain(after.iter().filter_map(Fault::hint)).collect()
    }

    /// The words of a hint, without what stands around them.
    fn words(hint: &str) -> impl Iterator<Item = &str> {
        hint.split_whitespace().map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()))
    }

    #[test]
    fn hints_name_keys_of_the_configuration_that_exist() {
        let hints = hints();
        let mut named = Vec::new();
        for hint in &hints {
            let mut words = words(hint).peekable();
            while let Some(word) = words.next() {
                if word == "sandbox" {
                    named.push(words.peek().copied().unwrap_or_default());
                }
                let key = word.contains('_');
                assert!(
                    !key || SANDBOX.contains(&word) || word == "HTTP_PROXY",
                    "{word:?} is no key of [sandbox]: {hint}"
                );
            }
        }
        assert!(named.iter().all(|key| SANDBOX.contains(key)) && named.len() >= 4, "{named:?}");
    }

    #[test]
    fn hints_name_keys_of_the_manifest_that_it_reads() {
        let most = Limits::of(Preset::Minimal);
        assert_eq!((most.wall.as_secs(), most.memory >> 20), (300, 256), "the hints say so");
        let dotted: std::collections::BTreeSet<String> = hints()
            .iter()
            .flat_map(|hint| words(hint).filter(|word| word.contains('.')).map(str::to_owned).collect::<Vec<_>>())
            .collect();
        assert!(dotted.len() >= 4, "{dotted:?}");
        for key in dotted {
            let (section, name) = key.split_once('.').unwrap();
            let value = if name == "preset" { "\"minimal\"" } else { "1" };
            let manifest = |name: &str| {
                let text = format!(
                    r#"{{"name": "probe", "version": "1.0.0", "author": "A", "license": "Apache-2.0",
                        "description": "d", "category": "utility", "runtime": "wasm", "entrypoint": "skill.wasm",
                        "tools": [{{"name": "go", "description": "d", "riskLevel": "none",
                                    "parameters": {{"type": "object"}}}}],
                        "{section}": {{"{name}": {value}}}}}"#
                );
                Manifest::parse(text.as_bytes())
            };
            assert!(manifest(name).is_ok(), "{key}: {:?}", manifest(name).err());
            assert!(manifest(&format!("{name}x")).is_err(), "unknown keys pass, so this proves nothing");
        }
    }
}
