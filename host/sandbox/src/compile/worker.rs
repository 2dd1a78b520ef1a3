//! Compiling in a child process: bounded in CPU, memory and time, without files or network, gone with its parent.

use crate::wasm::compiler_engine;
use landlock::{ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetStatus, Scope};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
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
/// What a Rust program ends with when it panics.
const PANICKED: i32 = 101;

/// How a child came to its end.
enum Ended {
    ByItself(ExitStatus),
    AtTheDeadline,
    /// It wrote more than it may.
    Flooding,
}

impl Worker {
    /// Compiles `component`; says what went wrong in the compiler's words, or which limit ended it.
    pub(super) fn compile(&self, component: &[u8]) -> Result<Vec<u8>, String> {
        let mut child = self.start().map_err(|error| format!("the compiler does not start: {error}"))?;
        let deadline = Instant::now() + self.limits.wall;
        let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let most = self.limits.output;
        let flooding = AtomicBool::new(false);
        let (ended, pipes) = thread::scope(|scope| {
            let pipes = (|| {
                // A child that ends early closes its end (EPIPE); what became of it is in its status.
                let feed = move || input.map(|mut pipe| pipe.write_all(component));
                thread::Builder::new().spawn_scoped(scope, feed)?;
                let receive = || {
                    let code = drain(output, most.saturating_add(1));
                    flooding.store(code.len() as u64 > most, Relaxed);
                    code
                };
                let code = thread::Builder::new().spawn_scoped(scope, receive)?;
                let words = move || listen(errors);
                Ok::<_, io::Error>((code, thread::Builder::new().spawn_scoped(scope, words)?))
            })();
            // The threads above end when the pipes do, so from here on the child must not be left alive.
            let ended = match &pipes {
                Ok(_threads) => supervise(&mut child, deadline, &flooding),
                Err(_no_thread) => end(&mut child).map(|()| Ended::AtTheDeadline),
            };
            (ended, pipes.map(|(code, last_words)| (code.join(), last_words.join())))
        });
        let (code, last_words) = pipes.map_err(|error| format!("no thread for the compiler's output: {error}"))?;
        let broken = |_panic| "the compiler's output could not be read".to_owned();
        let (code, last_words) = (code.map_err(broken)?, last_words.map_err(broken)?);
        match ended.map_err(|error| format!("the compiler cannot be waited for: {error}"))? {
            Ended::AtTheDeadline => Err(format!("compiling takes longer than {} s", self.limits.wall.as_secs_f64())),
            Ended::Flooding => Err(format!("it compiles to more than {most} bytes")),
            // Whatever else it says: a child whose output is no longer read may end by itself over that.
            Ended::ByItself(_status) if code.len() as u64 > most => {
                Err(format!("it compiles to more than {most} bytes"))
            }
            Ended::ByItself(status) if !status.success() => Err(self.explain(status, &last_words)),
            Ended::ByItself(_success) => Ok(code),
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
        let words = String::from_utf8_lossy(last_words);
        let words = words.trim();
        let memory = self.limits.memory >> 20;
        match (status.signal().and_then(Signal::from_named_raw), status.code()) {
            (Some(Signal::XCPU), _) => {
                format!("compiling takes more than {} s of CPU time", self.limits.cpu_seconds)
            }
            // Rust aborts where it gets no memory.
            (Some(Signal::ABORT), _) => too_much_memory(self.limits.memory),
            (Some(Signal::KILL), _) => {
                "the compiler was killed: most likely this machine has too little memory".to_owned()
            }
            (None, Some(PANICKED)) => {
                format!("the compiler broke down, most likely for want of memory ({memory} MiB): {words}")
            }
            (None, _) if !words.is_empty() => words.to_owned(),
            _ => format!("the compiler ended without a word: {status}"),
        }
    }
}

fn too_much_memory(most: u64) -> String {
    format!("compiling takes more than {} MiB of memory", most >> 20)
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

/// The first of what a child has to say. The rest is read as well, so that the child is not ended by a closed pipe.
fn listen(pipe: Option<impl Read>) -> Vec<u8> {
    let Some(mut pipe) = pipe else { return Vec::new() };
    let words = drain(Some(pipe.by_ref()), LAST_WORDS);
    if let Err(error) = io::copy(&mut pipe, &mut io::sink()) {
        tracing::warn!(%error, "the compiler's words broke off");
    }
    words
}

/// Waits for the child, which is gone and reaped on return, whatever became of it.
fn supervise(child: &mut Child, deadline: Instant, flooding: &AtomicBool) -> io::Result<Ended> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(Ended::ByItself(status)),
            Ok(None) if flooding.load(Relaxed) => return end(child).map(|()| Ended::Flooding),
            Ok(None) if Instant::now() >= deadline => return end(child).map(|()| Ended::AtTheDeadline),
            Ok(None) => thread::sleep(GLANCE),
            Err(error) => {
                end(child)?;
                return Err(error);
            }
        }
    }
}

fn end(child: &mut Child) -> io::Result<()> {
    child.kill()?;
    child.wait().map(|_status| ())
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
    input.read_to_end(&mut component).map_err(|error| match error.kind() {
        io::ErrorKind::OutOfMemory => too_much_memory(memory),
        _ => format!("the component cannot be read: {error}"),
    })?;
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
    // With the thread that started it, to be exact: that one waits for it in `Worker::compile`.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| refused("death with its parent", &error))?;
    let limit = |resource, most: u64, hard: u64| {
        // What is stricter already stays, and could not be raised anyhow.
        let within = |wanted: u64, present: Option<u64>| Some(present.map_or(wanted, |present| present.min(wanted)));
        let present = getrlimit(resource);
        let maximum = within(hard, present.maximum);
        let current = within(most, present.current).min(maximum);
        setrlimit(resource, Rlimit { current, maximum }).map_err(|error| refused("a limit", &error))
    };
    // A second apart: the first is a signal of its own (SIGXCPU), by which the host knows what happened.
    limit(Resource::Cpu, cpu_seconds, cpu_seconds.saturating_add(1))?;
    limit(Resource::Data, memory, memory)?;
    limit(Resource::Core, 0, 0)?;
    limit(Resource::Fsize, 0, 0)?;
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
