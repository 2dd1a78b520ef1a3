//! The compiler as a program of its own: what a host starts for each component.
//!
//! The arguments are the limits, the component comes on standard input and the code goes to standard output. The tests
//! of this crate start it; so can an embedder that has no program of its own to start.

use sophon_sandbox::compile_worker;
use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let done = match numbers[..] {
        [cpu_seconds, memory] => compile_worker(cpu_seconds, memory, io::stdin().lock(), io::stdout().lock()),
        _ => Err("the arguments are seconds of CPU time and bytes of memory".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // Where even this cannot be said, the exit code still says it.
            if let Err(_closed) = writeln!(io::stderr(), "{message}") {}
            ExitCode::FAILURE
        }
    }
}
