//! The subcommands: a match.

mod allow;
mod demo;
mod keys;
mod reconcile;
pub mod serve;
mod stats;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use crate::access::file::FileError as AllowError;
use crate::cli::{AllowCommand, Cli, Command};
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::control::AskError;
use crate::keys::file::FileError as TokensError;
use crate::ledger::OpenError;
use crate::ledger::query::QueryError;
use crate::logging;
use crate::upstream::SetupError;

/// Does what was typed.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let mut config = Config::load(&cli.settings())?;
    if let Command::Demo(args) = &cli.command {
        demo::show_requests(args, &mut config);
    }
    logging::start(&config)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let (mut out, mut told) = (io::stdout(), io::stderr());
    let done = match cli.command {
        Command::Serve(_) => serve::run(&config),
        Command::Demo(args) => demo::run(&args, config, &mut out),
        Command::Keys(command) => keys::run(&command, &config, &Clock::system(), &mut out, &mut told),
        Command::Allow(AllowCommand::Gen(args)) => allow::generate(&args, &config.allow, &mut out, &mut told),
        Command::Stats(args) => stats::run(&args, &config, &Clock::system(), &mut out, &mut told),
    }?;
    out.flush()?;
    Ok(done)
}

/// A command that was used in a way it can't work.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

/// An error's exit code: 2 for usage and configuration, `tokens.csv`, `allow.txt`, certificates and the data
/// directory included, 3 where the ledger could not be read or a running server not be asked, else 1.
/// A closed pipe at the other end of stdout is no error.
#[must_use]
pub fn exit_code(error: &anyhow::Error) -> u8 {
    if is_broken_pipe(error) {
        0
    } else if error.is::<config::Errors>()
        || error.is::<Usage>()
        || error.is::<TokensError>()
        || error.is::<AllowError>()
        || error.is::<SetupError>()
        || error.is::<OpenError>()
    {
        2
    } else if error.is::<QueryError>() || error.is::<AskError>() {
        3
    } else {
        1
    }
}

/// Prints `error` to stderr: each line as an error of its own, save those that begin with `hint: `.
pub fn print(error: &anyhow::Error) {
    if is_broken_pipe(error) {
        return;
    }
    let mut text = String::new();
    for line in format!("{error:#}").lines() {
        let begin = if line.starts_with("hint: ") { "" } else { "error: " };
        text.extend([begin, line, "\n"]);
    }
    // Who closed stderr does not want to know.
    let _ = io::stderr().write_all(text.as_bytes());
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    error.downcast_ref::<io::Error>().is_some_and(broken)
}

/// Whether a person can be asked.
fn interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}
