//! `hermux keys`: the keys in `tokens.csv`, and what is known of them.

mod add;
mod explain;
mod known;
mod list;
mod reset;
mod words;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use crate::cli::KeysCommand;
use crate::clock::Clock;
use crate::config::Config;

/// Does what was typed behind `hermux keys`.
pub(super) fn run(
    command: &KeysCommand,
    config: &Config,
    clock: &Clock,
    out: &mut dyn Write,
    told: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let files = Files { tokens: &config.tokens, data_dir: &config.data_dir };
    match command {
        KeysCommand::Add(args) => add::run(args, files.tokens, told),
        KeysCommand::List(args) => list::run(args, files, clock.now(), out, told),
        KeysCommand::Explain(args) => explain::run(args, files, clock.now(), out, told),
        KeysCommand::Reset(args) => reset::run(args, files, clock, told),
    }
}

/// Where keys and what is known of them are kept.
#[derive(Clone, Copy, Debug)]
struct Files<'a> {
    tokens: &'a Path,
    data_dir: &'a Path,
}
