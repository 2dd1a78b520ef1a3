//! This program as the host's compiler: no verb, nothing for people, started by the host alone.

use sophon_sandbox::compile_worker;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

/// The first argument that makes this program the compiler.
pub(crate) const COMPILE_WORKER: &str = "compile-worker";

/// Compiles, where the command line says so; before anything else of this program has happened.
pub(crate) fn run(words: &[OsString]) -> Option<ExitCode> {
    let [_program, word, cpu_seconds, memory] = words else { return None };
    if word != COMPILE_WORKER {
        return None;
    }
    let number = |text: &OsString| text.to_str().and_then(|text| text.parse().ok());
    let (cpu_seconds, memory) = (number(cpu_seconds)?, number(memory)?);
    match compile_worker(cpu_seconds, memory, io::stdin().lock(), io::stdout().lock()) {
        Ok(()) => Some(ExitCode::SUCCESS),
        Err(message) => {
            // Where even this cannot be said, the exit code still says it.
            if let Err(_closed) = writeln!(io::stderr(), "{message}") {}
            Some(ExitCode::FAILURE)
        }
    }
}
