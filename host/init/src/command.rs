//! The one command of a sandbox: gathered frame by frame, started, fed, listened to, reaped.

use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions, getpid, kill_process_group, prlimit, wait};
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};

/// What the host has said of the command so far.
#[derive(Default)]
pub(crate) struct Recipe {
    words: Vec<String>,
    environment: Vec<(String, String)>,
}

/// A command that was started.
pub(crate) struct Running {
    pid: u32,
    /// Where its input goes; nothing once that has ended.
    pub(crate) input: Option<OwnedFd>,
    pub(crate) pending: VecDeque<u8>,
    /// Close the input once `pending` is written.
    pub(crate) input_ends: bool,
    pub(crate) output: Option<OwnedFd>,
    pub(crate) errors: Option<OwnedFd>,
    /// 0 and the code, or 1 and the signal.
    pub(crate) ended: Option<(u8, i32)>,
}

impl Recipe {
    pub(crate) fn word(&mut self, word: &[u8]) {
        self.words.push(String::from_utf8_lossy(word).into_owned());
    }

    pub(crate) fn variable(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        if let Some((name, value)) = line.split_once('=') {
            self.environment.push((name.to_owned(), value.to_owned()));
        }
    }

    /// Starts the command with exactly the environment that the host gave, and limits the files that it may write: its own,
    /// not those of this process, which has the skill's code to write still. No code of the skill runs before that.
    #[expect(clippy::disallowed_methods, reason = "the one command of a sandbox is started, inside it")]
    pub(crate) fn start(&self, file_size: &[u8]) -> io::Result<Running> {
        let (program, arguments) =
            self.words.split_first().ok_or_else(|| io::Error::other("the host named no program"))?;
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let most = file_size.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
        let whose = Pid::from_child(&child);
        prlimit(Some(whose), Resource::Fsize, Rlimit { current: most, maximum: most })?;
        let pid = child.id();
        let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        Ok(Running {
            pid,
            input: input.map(OwnedFd::from),
            pending: VecDeque::new(),
            input_ends: false,
            output: output.map(OwnedFd::from),
            errors: errors.map(OwnedFd::from),
            ended: None,
        })
    }
}

/// Writes a file that the host sends: its path, a zero byte, its content. Folders are made on the way.
pub(crate) fn write_file(payload: &[u8]) -> io::Result<()> {
    let cut = payload.iter().position(|byte| *byte == 0).ok_or_else(|| io::Error::other("a file without a path"))?;
    let path = std::str::from_utf8(&payload[..cut]).map_err(io::Error::other)?;
    let path = Path::new(path);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    File::create(path)?.write_all(&payload[cut + 1..])
}

/// Reaps whoever has ended; notes the command's own end.
pub(crate) fn reap(running: Option<&mut Running>) {
    let mut command = running;
    // Everything orphaned in the sandbox becomes a child of its first process.
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if let Some(command) = command.as_deref_mut()
            && u32::try_from(pid.as_raw_nonzero().get()).is_ok_and(|pid| pid == command.pid)
        {
            command.ended = match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Some((0, code)),
                (None, Some(signal)) => Some((1, signal)),
                (None, None) => command.ended,
            };
        }
    }
}

/// Stops what else runs in the sandbox, for good: a sandbox that is busy making processes has no time to count them. Who is made
/// at this very moment may go on; the stopped keep their places, so the count is as it was.
pub(crate) fn halt() {
    // "Everyone" is everyone in the sandbox only to its first process.
    if getpid() == Pid::INIT {
        let _nobody_else = kill_process_group(Pid::INIT, Signal::STOP);
    }
}

/// How many processes there are in the sandbox.
pub(crate) fn census() -> u32 {
    let Ok(entries) = fs::read_dir("/proc") else { return 0 };
    let is_process = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    let count = entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_process)).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}
