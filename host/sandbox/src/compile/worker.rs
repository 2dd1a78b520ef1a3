//! Compiling in a child process: bounded in CPU, memory and time, without files or network, gone with its parent.
//!
//! The child is hostile from the first byte of its component on: nobody waits longer for it, or for what it may have
//! started, than its limits say.

use super::pipes::{drain, feed, listen};
use crate::wasm::compiler_engine;
use landlock::{ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetStatus, Scope};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getrlimit, kill_process_group,
    set_parent_process_death_signal, setrlimit, waitid,
};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed, Ordering::SeqCst};
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
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    ByItself,
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
        let (flooding, gone) = (AtomicBool::new(false), AtomicBool::new(false));
        let (ended, pipes) = thread::scope(|scope| {
            let pipes = (|| {
                let (gone, flooding) = (&gone, &flooding);
                thread::Builder::new().spawn_scoped(scope, move || feed(input, component, gone))?;
                let receive = move || {
                    let code = drain(output, most.saturating_add(1), gone);
                    flooding.store(code.len() as u64 > most, Relaxed);
                    code
                };
                let code = thread::Builder::new().spawn_scoped(scope, receive)?;
                let words = move || listen(errors, LAST_WORDS, gone);
                Ok::<_, io::Error>((code, thread::Builder::new().spawn_scoped(scope, words)?))
            })();
            let ended = match &pipes {
                Ok(_threads) => watch(&child, deadline, &flooding),
                Err(_no_thread) => Ok(Ended::AtTheDeadline),
            };
            // The threads above end when the pipes do or the child is gone, so it must not be left alive.
            let status = end(&mut child);
            gone.store(true, SeqCst);
            let ended = ended.and_then(|ended| status.map(|status| (ended, status)));
            (ended, pipes.map(|(code, last_words)| (code.join(), last_words.join())))
        });
        let (code, last_words) = pipes.map_err(|error| format!("no thread for the compiler's output: {error}"))?;
        let broken = |_panic| "the compiler's output could not be read".to_owned();
        let (code, last_words) = (code.map_err(broken)?, last_words.map_err(broken)?);
        match ended.map_err(|error| format!("the compiler cannot be waited for: {error}"))? {
            (Ended::AtTheDeadline, _) => {
                Err(format!("compiling takes longer than {} s", self.limits.wall.as_secs_f64()))
            }
            (Ended::Flooding, _) => Err(format!("it compiles to more than {most} bytes")),
            // Whatever else it says: a child whose output is no longer read may end by itself over that.
            (Ended::ByItself, _) if code.len() as u64 > most => Err(format!("it compiles to more than {most} bytes")),
            (Ended::ByItself, status) if !status.success() => Err(self.explain(status, &last_words)),
            (Ended::ByItself, _success) => Ok(code),
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
            // So that what it starts can be ended with it.
            .process_group(0)
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

/// Waits until the child has ended, or is to be. It is not reaped: its number, and its group's, stay its own.
fn watch(child: &Child, deadline: Instant, flooding: &AtomicBool) -> io::Result<Ended> {
    let number = Pid::from_child(child);
    loop {
        match waitid(WaitId::Pid(number), WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT)? {
            Some(_ended) => return Ok(Ended::ByItself),
            None if flooding.load(Relaxed) => return Ok(Ended::Flooding),
            None if Instant::now() >= deadline => return Ok(Ended::AtTheDeadline),
            None => thread::sleep(GLANCE),
        }
    }
}

/// Ends the child where it has not ended yet, with all that it started in its group, and reaps it.
fn end(child: &mut Child) -> io::Result<ExitStatus> {
    let group = kill_process_group(Pid::from_child(child), Signal::KILL);
    // By its number too: it may have left its group, which is gone then.
    child.kill()?;
    let status = child.wait()?;
    match group {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => tracing::warn!(%error, "what the compiler started could not be ended"),
    }
    Ok(status)
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
    drop_capabilities().map_err(|error| refused("its capabilities", &error))?;
    // Best effort: an older kernel has less of Landlock or none. The limits hold everywhere.
    let abi = ABI::V6;
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(abi)))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(abi)))
        .and_then(Ruleset::create)
        .and_then(landlock::RulesetCreated::restrict_self);
    match ruleset.map(|status| status.ruleset) {
        Ok(RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced | RulesetStatus::NotEnforced) => {}
        Err(error) => return Err(refused("landlock", &error)),
    }
    // No descriptor is opened from here on: no file, no pipe and no socket, of whatever kind. Last, for the rules above
    // are handed over by one.
    limit(Resource::Nofile, 0, 0)
}

/// So that root cannot raise its limits again.
fn drop_capabilities() -> rustix::io::Result<()> {
    let none = CapabilitySet::empty();
    let present = capabilities(None)?;
    // Who has none needs no leave to drop them, which a service manager may not give.
    if present.effective.is_empty() && present.permitted.is_empty() && present.inheritable.is_empty() {
        return Ok(());
    }
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
}
