//! The `sophon` command, run as a script would.

use super::home::Home;
use super::process::{command, sophon};
use serde_json::Value;
use std::ffi::OsStr;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// A command line to be.
pub(crate) struct Cli {
    command: Command,
    stdin: Vec<u8>,
}

/// What a command said and how it ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Cli {
    pub(crate) fn new<A: AsRef<OsStr>>(home: &Home, words: impl IntoIterator<Item = A>) -> Self {
        let mut command = command(sophon());
        command.env("SOPHON_HOME", home.path()).args(words);
        Self { command, stdin: Vec::new() }
    }

    pub(crate) fn stdin(mut self, text: &str) -> Self {
        self.stdin = text.as_bytes().to_vec();
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn folder(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    pub(crate) fn run(mut self) -> Finished {
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("sophon starts");
        // A command that reads no input may be gone before it is written.
        drop(child.stdin.take().expect("its input").write_all(&self.stdin));
        let output = child.wait_with_output().expect("sophon ends");
        Finished {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Starts it, and kills it with -9 after a while, where it still runs.
    pub(crate) fn killed_after(mut self, pause: Duration) {
        let quiet = self.command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = quiet.spawn().expect("sophon starts");
        std::thread::sleep(pause);
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
    }

    /// Runs it and checks its exit code.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Finished {
        let line = format!("{:?}", self.command);
        let finished = self.run();
        assert_eq!(finished.code, code, "{line}\nstdout: {}\nstderr: {}", finished.stdout, finished.stderr);
        finished
    }
}

impl Finished {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {:?}", self.stdout))
    }
}
