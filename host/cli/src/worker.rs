//! This program as the host's compiler, and as the executor inside a sandbox: no verbs, nothing for people, started by the
//! host alone.

use crate::error::CliError;
use sophon_sandbox::{Compilation, CompileLimits, Worker, compile_worker, component_worker};
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

/// The first argument that makes this program the compiler.
const COMPILE_WORKER: &str = "compile-worker";

/// Components are compiled by a child of this same program.
pub(crate) fn compilation() -> Result<Compilation, CliError> {
    let program = std::env::current_exe().map_err(|error| CliError::Start { message: error.to_string() })?;
    let arguments = vec![COMPILE_WORKER.into()];
    Ok(Compilation::Worker(Worker { program, arguments, limits: CompileLimits::default() }))
}

/// The only argument that makes this program the executor inside a sandbox.
pub(crate) const COMPONENT_WORKER: &str = "component-worker";

/// Compiles, or runs a component, where the command line says so; before anything else of this program has happened.
pub(crate) fn run(words: &[OsString]) -> Option<ExitCode> {
    if let [_program, word] = words
        && word == COMPONENT_WORKER
    {
        return Some(component());
    }
    let [_program, word, cpu_seconds, memory] = words else { return None };
    if word != COMPILE_WORKER {
        return None;
    }
    let number = |text: &OsString| text.to_str().and_then(|text| text.parse().ok());
    let (cpu_seconds, memory) = (number(cpu_seconds)?, number(memory)?);
    Some(ended(compile_worker(cpu_seconds, memory, io::stdin().lock(), io::stdout().lock())))
}

fn component() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let ran = match &runtime {
        Ok(runtime) => runtime.block_on(component_worker(tokio::io::stdin(), tokio::io::stdout())),
        Err(error) => Err(error.to_string()),
    };
    let code = ended(ran);
    // A thread that still reads from the host must not hold the process.
    if let Ok(runtime) = runtime {
        runtime.shutdown_background();
    }
    code
}

fn ended(came: Result<(), String>) -> ExitCode {
    match came {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // Where even this cannot be said, the exit code still says it.
            if let Err(_closed) = writeln!(io::stderr(), "{message}") {}
            ExitCode::FAILURE
        }
    }
}
