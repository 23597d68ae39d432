//! `hermux config`: which files and values hermux goes by, a first setup, and whether `serve` would start.

mod check;
mod init;
mod show;
mod template;

use std::io::Write;
use std::process::ExitCode;

use crate::cli::ConfigCommand;
use crate::clock::Clock;
use crate::config::{Config, Errors, Surroundings};

/// Does what was typed behind `hermux config`, also with a configuration that is not good.
pub(super) fn run(
    command: &ConfigCommand,
    flags: &[(&str, String)],
    out: &mut dyn Write,
    told: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let around = Surroundings::of_process();
    let resolved = Config::trace(flags, &around);
    match command {
        ConfigCommand::Path(args) => show::paths(&resolved, args.json, out)?,
        ConfigCommand::Show(args) => show::values(&resolved, args.json, out)?,
        ConfigCommand::Init(args) => return init::run(args, flags, &around, &Clock::system(), out, told),
        ConfigCommand::Check(args) => return check::run(resolved, args.json, out),
    }
    out.flush()?;
    if resolved.wrong.is_empty() { Ok(ExitCode::SUCCESS) } else { Err(Errors(resolved.wrong).into()) }
}
