//! The binary: complete or parse, run, print the error, exit code; nothing else.

use std::process::ExitCode;

use hermux::{cli, commands};

fn main() -> ExitCode {
    if commands::answered() {
        return ExitCode::SUCCESS;
    }
    commands::run(cli::parse()).unwrap_or_else(|error| {
        commands::print(&error);
        commands::exit_code(&error).into()
    })
}
