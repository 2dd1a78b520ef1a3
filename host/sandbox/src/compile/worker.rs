//! Compiling in a child process: bounded in CPU, memory and time, without files or network, gone with its parent.

use crate::wasm::compiler_engine;
use landlock::{ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetStatus, Scope};
use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// What compiling one component may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// CPU time of the child, in seconds.
    pub cpu_seconds: u64,
    /// Memory of the child (private and writable), in bytes.
    pub memory: u64,
    /// From start to end.
    pub wall: Duration,
    /// Bytes of compiled code.
    pub output: u64,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self { cpu_seconds: 60, memory: 2 << 30, wall: Duration::from_secs(90), output: 256 << 20 }
    }
}

/// The program that compiles: it calls [`compile_worker`] and nothing else.
#[derive(Debug, Clone)]
pub struct Worker {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// What one component may cost.
    pub limits: CompileLimits,
}

/// How often a child that has not ended is looked at.
const GLANCE: Duration = Duration::from_millis(2);
/// Bytes of a child's last words that are kept.
const LAST_WORDS: u64 = 8 << 10;

impl Worker {
    /// Compiles `component`; says what went wrong in the compiler's words, or which limit ended it.
    pub(super) fn compile(&self, component: &[u8]) -> Result<Vec<u8>, String> {
        let mut child = self.start().map_err(|error| format!("the compiler does not start: {error}"))?;
        let deadline = Instant::now() + self.limits.wall;
        let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (code, last_words, ended) = std::thread::scope(|scope| {
            scope.spawn(move || {
                // A child that ends early closes its end; what became of it is in its status.
                input.map(|mut pipe| pipe.write_all(component))
            });
            let code = scope.spawn(move || drain(output, self.limits.output.saturating_add(1)));
            let last_words = scope.spawn(move || drain(errors, LAST_WORDS));
            let ended = wait(&mut child, deadline);
            (code.join(), last_words.join(), ended)
        });
        let broken = |_panic| "the compiler's output could not be read".to_owned();
        let (code, last_words) = (code.map_err(broken)?, last_words.map_err(broken)?);
        match ended.map_err(|error| format!("the compiler cannot be waited for: {error}"))? {
            None => Err(format!("compiling takes longer than {} s", self.limits.wall.as_secs())),
            Some(status) if !status.success() => Err(self.explain(status, &last_words)),
            Some(_success) if code.len() as u64 > self.limits.output => {
                Err(format!("it compiles to more than {} MiB", self.limits.output >> 20))
            }
            Some(_success) => Ok(code),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that starts the compiler")]
    fn start(&self) -> io::Result<Child> {
        Command::new(&self.program)
            .args(&self.arguments)
            .arg(self.limits.cpu_seconds.to_string())
            .arg(self.limits.memory.to_string())
            // Nothing of the host's environment is the compiler's business, and a key may be in it.
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    }

    fn explain(&self, status: ExitStatus, last_words: &[u8]) -> String {
        use std::os::unix::process::ExitStatusExt;
        if let Some(signal) = status.signal() {
            return if signal == Signal::XCPU.as_raw() || signal == Signal::KILL.as_raw() {
                format!("compiling takes more than {} s of CPU time", self.limits.cpu_seconds)
            } else {
                format!(
                    "the compiler was ended by signal {signal}: most likely it needed more than {} MiB",
                    self.limits.memory >> 20
                )
            };
        }
        String::from_utf8_lossy(last_words).trim().to_owned()
    }
}

fn drain(pipe: Option<impl Read>, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe
        && let Err(error) = pipe.take(most).read_to_end(&mut bytes)
    {
        tracing::warn!(%error, "the compiler's output broke off");
    }
    bytes
}

/// The child's status, or nothing where it had to be killed at the deadline.
fn wait(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(GLANCE);
    }
}

/// What the child does: locks itself up, reads a component from `input`, writes compiled code to `output`.
///
/// `cpu_seconds` and `memory` are the last two arguments that [`Worker`] gives its program.
///
/// # Errors
/// The words for standard error; the program then exits with a failure.
pub fn compile_worker(
    cpu_seconds: u64,
    memory: u64,
    mut input: impl Read,
    mut output: impl Write,
) -> Result<(), String> {
    lock_up(cpu_seconds, memory)?;
    let mut component = Vec::new();
    input.read_to_end(&mut component).map_err(|error| format!("the component cannot be read: {error}"))?;
    let engine = compiler_engine().map_err(|error| error.to_string())?;
    let code = engine.precompile_component(&component).map_err(|error| format!("{error:#}"))?;
    output
        .write_all(&code)
        .and_then(|()| output.flush())
        .map_err(|error| format!("the code cannot be written: {error}"))
}

/// Limits that the kernel enforces, before a byte of the component is read.
fn lock_up(cpu_seconds: u64, memory: u64) -> Result<(), String> {
    let refused =
        |what: &str, error: &dyn std::fmt::Display| format!("the compiler cannot lock itself up: {what}: {error}");
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| refused("death with its parent", &error))?;
    let limit = |resource, most: u64| {
        let both = Rlimit { current: Some(most), maximum: Some(most) };
        setrlimit(resource, both).map_err(|error| refused("a limit", &error))
    };
    limit(Resource::Cpu, cpu_seconds)?;
    limit(Resource::Data, memory)?;
    limit(Resource::Core, 0)?;
    limit(Resource::Fsize, 0)?;
    // Best effort: an older kernel has less of Landlock or none. The limits above hold everywhere.
    let abi = ABI::V6;
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(abi)))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(abi)))
        .and_then(Ruleset::create)
        .and_then(landlock::RulesetCreated::restrict_self);
    match ruleset.map(|status| status.ruleset) {
        Ok(RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced | RulesetStatus::NotEnforced) => Ok(()),
        Err(error) => Err(refused("landlock", &error)),
    }
}
