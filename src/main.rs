//! The binary: parse, run, print the error, exit code; nothing else.

use std::process::ExitCode;

use clap::Parser;
use hermux::{cli, commands};

fn main() -> ExitCode {
    commands::run(cli::Cli::parse()).unwrap_or_else(|error| {
        commands::print(&error);
        commands::exit_code(&error).into()
    })
}
