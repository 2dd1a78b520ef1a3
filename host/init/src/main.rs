//! The first process in a native skill's sandbox.
//!
//! Speaks frames with the host over its standard input and output, starts one command, carries its output, forwards
//! the connections that programs make to the loopback proxy, and reaps what is left behind. One thread: it needs no
//! process of its own when the skill has used up all there are. It ends, and the sandbox with it, when the host hangs
//! up. It holds no secret and decides nothing: every limit and every rule is kept outside.

mod command;
mod connections;
mod serve;

use std::process::ExitCode;

fn main() -> ExitCode {
    match serve::serve() {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody reads a message: the channel is what has failed.
        Err(_broken) => ExitCode::FAILURE,
    }
}
