//! `hermux keys`: the keys in `tokens.csv`, and what is known of them.

mod add;
mod check;
mod edit;
mod explain;
mod known;
mod list;
mod many;
mod reset;
pub(super) mod words;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::cli::KeysCommand;
use crate::clock::{Clock, Time};
use crate::commands::ask::PATIENCE;
use crate::config::Config;
use crate::control::client;
use crate::keys::KeyName;
use crate::keys::reference::Commands;
use crate::keys::state::KeyState;
use crate::secret::Secret;

/// Does what was typed behind `hermux keys`.
pub(super) fn run(
    command: &KeysCommand,
    config: &Config,
    clock: &Clock,
    out: &mut dyn Write,
    told: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let files = files(config);
    match command {
        KeysCommand::Add(args) => add::run(args, files, config, clock, told),
        KeysCommand::List(args) => list::run(args, files, clock.now(), out, told),
        KeysCommand::Check(args) => check::run(args, files, config, clock, out, told),
        KeysCommand::Explain(args) => explain::run(args, files, clock.now(), out, told),
        KeysCommand::Remove(args) => edit::remove(args, files.tokens, told),
        KeysCommand::Rename(args) => edit::rename(args, files.tokens, told),
        KeysCommand::Enable(args) => edit::enable(args, true, files.tokens, told),
        KeysCommand::Disable(args) => edit::enable(args, false, files.tokens, told),
        KeysCommand::Reset(args) => reset::run(args, files, clock, told),
    }
}

/// Adds the first key, which somebody was asked for, after `OpenRouter` was asked about it.
pub(super) fn add_first(
    name: &KeyName,
    key: &Secret,
    config: &Config,
    clock: &Clock,
    told: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let files = files(config);
    add::put(name, key, Some(PATIENCE), (known::rows(files.tokens)?, files), config, clock, told)
}

/// Whether the file has any keys.
pub(super) fn are_there(config: &Config) -> anyhow::Result<bool> {
    Ok(!known::rows(&config.tokens)?.is_empty())
}

/// The keys as far as they are known: by the running server, else by the files; empty where neither tells. No command runs
/// for that.
pub(super) fn states(config: &Config, now: Time) -> Vec<KeyState> {
    let files = Files { commands: Commands::Refused, ..files(config) };
    if let Ok(Some((_, state))) = client::state(files.data_dir) {
        return state.pool.keys;
    }
    let Ok(rows) = known::keys(files, &mut io::sink()) else { return Vec::new() };
    let keys = rows.into_iter().filter_map(|(_, key)| key).collect();
    known::pool(files, keys, now).map(|(pool, _)| pool.state(now).keys).unwrap_or_default()
}

fn files(config: &Config) -> Files<'_> {
    let commands = Commands::allowed_if(config.allow_commands);
    Files { tokens: &config.tokens, data_dir: &config.data_dir, commands }
}

/// Where keys and what is known of them are kept, and whether commands may tell keys.
#[derive(Clone, Copy, Debug)]
struct Files<'a> {
    tokens: &'a Path,
    data_dir: &'a Path,
    commands: Commands,
}
