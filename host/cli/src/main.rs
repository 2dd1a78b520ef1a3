//! The `sophon` command. One file a verb under `verbs`; a verb says what to ask and how to show the answer, and the
//! gateway does the rest: over HTTP where one runs in the home, in this process where none does.
//!
//! Standard output is data, standard error is everything else. Exit codes: 0 ok, 1 failed, 2 usage, 3 denied by policy,
//! 4 needs approval, 5 not trusted.

mod arguments;
mod callback;
mod config;
mod context;
mod door;
mod error;
mod home;
mod house;
mod identity;
mod output;
mod secret_input;
mod sinks;
mod system;
mod telemetry;
mod verbs;
mod worker;

use crate::arguments::{Arguments, Verb};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Format, Output};
use crate::system::Environment;
use clap::Parser as _;
use clap::error::ErrorKind;
use std::ffi::OsString;
use std::process::ExitCode;

/// A call makes some hundreds of small allocations on one thread and frees them on another, which is what mimalloc is made
/// for: with the system's allocator a tenth of a call's time went into it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    if let Some(done) = worker::run(&words) {
        return done;
    }
    let arguments = match Arguments::try_parse_from(&words) {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error, &words),
    };
    let format = if arguments.json { Format::Json } else { Format::Text };
    let output = Output::new(format);
    let context = Context::new(arguments.home, Environment::read(), output);
    // Before there is a second thread: the kernel confines this one and those that it starts.
    if let Verb::Serve(serve) = &arguments.verb {
        serve.confine(&context);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let error = CliError::Start { message: error.to_string() };
            output.error(&error);
            return error.exit_code();
        }
    };
    let done = runtime.block_on(arguments.verb.run(&context));
    // What had to be finished is finished; whatever still runs must not hold the process.
    runtime.shutdown_background();
    match done {
        Ok(code) => code,
        Err(error) => {
            output.error(&error);
            error.exit_code()
        }
    }
}

/// Help and version are data; anything else that clap has to say is an error of usage, as JSON where that was asked for.
fn refuse(error: &clap::Error, words: &[OsString]) -> ExitCode {
    let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let json = words.iter().take_while(|word| *word != "--").any(|word| word == "--json");
    if json && !asked_for {
        let text = error.to_string();
        let said: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:")).collect();
        let message = said.join(" ").trim().trim_start_matches("error: ").to_owned();
        let error = CliError::usage(message, "sophon help");
        Output::new(Format::Json).error(&error);
        return error.exit_code();
    }
    if let Err(_closed) = error.print() {}
    ExitCode::from(if asked_for { 0 } else { 2 })
}
