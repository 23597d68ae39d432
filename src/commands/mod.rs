//! The subcommands: a match.

mod allow;
mod ask;
mod complete;
mod config;
mod demo;
mod keys;
mod reconcile;
pub mod serve;
mod stats;
mod table;
mod terminal;
#[cfg(feature = "tui")]
mod top;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Context;
use tracing::level_filters::LevelFilter;

use crate::access::file::FileError as AllowError;
use crate::cli::{Cli, Command};
use crate::clock::Clock;
use crate::config::{Config, Errors};
use crate::control::AskError;
use crate::keys::file::FileError as TokensError;
use crate::ledger::OpenError;
use crate::ledger::query::QueryError;
use crate::logging;
use crate::proxy::REQUEST;
use crate::upstream::SetupError;

pub use complete::{answered, completion};

/// Does what was typed.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    terminal::look(cli.global.color);
    let (mut out, mut told) = (io::stdout(), io::stderr());
    match &cli.command {
        Command::Config(command) => return config::run(command, &cli.settings(), &mut out, &mut told),
        Command::Completions(args) => {
            out.write_all(&completion(args.shell))?;
            out.flush()?;
            return Ok(ExitCode::SUCCESS);
        }
        _ => {}
    }
    let mut config = Config::load(&cli.settings())?;
    if let Command::Demo(args) = &cli.command {
        demo::show_requests(args, &mut config);
    }
    if config.access_log {
        config.log = std::mem::take(&mut config.log).with_target(REQUEST, LevelFilter::DEBUG);
    }
    logging::start(&config, terminal::colors_on_stderr())?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let done = match cli.command {
        Command::Serve(_) => serve::run(&config),
        Command::Demo(args) => demo::run(&args, config, &mut out),
        Command::Keys(command) => keys::run(&command, &config, &Clock::system(), &mut out, &mut told),
        Command::Allow(command) => allow::run(&command, &config, &Clock::system(), &mut out, &mut told),
        Command::Stats(args) => stats::run(&args, &config, &Clock::system(), &mut out, &mut told),
        #[cfg(feature = "tui")]
        Command::Top => top::run(&config.data_dir),
        Command::Config(_) | Command::Completions(_) => unreachable!("they were done before"),
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
    } else if error.is::<Errors>()
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
        if !line.starts_with("hint: ") {
            text.extend([&terminal::error("error:"), " "]);
        }
        text.extend([line, "\n"]);
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

/// Whether a person says yes to `question`; nothing and an end of input are a no.
fn agreed(question: &str) -> anyhow::Result<bool> {
    if !interactive() {
        return Err(Usage(format!("no terminal to ask: {question}\nhint: --yes does it unasked")).into());
    }
    let answer = asked_line(&format!("{question} [y/N]"))?;
    Ok(matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// What a person answers to `question`; an end of input is an empty answer.
fn asked_line(question: &str) -> anyhow::Result<String> {
    let answer = dialoguer::Input::<String>::new().with_prompt(question).allow_empty(true).interact();
    Ok(answer.context("can't ask")?.trim().to_owned())
}
