//! `hermux keys reset`: ends cooldowns, in the running server, else in what the next one begins with.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::anyhow;

use super::{Files, known};
use crate::cli::KeysResetArgs;
use crate::clock::Clock;
use crate::commands::Usage;
use crate::control::client;
use crate::keys::file::Row;
use crate::ledger::Ledger;

/// How long the ledger may take to write what is forgotten.
const FLUSH: Duration = Duration::from_secs(10);

/// Ends the cooldowns of the key that was named and its account, or of all.
pub(super) fn run(
    args: &KeysResetArgs,
    files: Files<'_>,
    clock: &Clock,
    told: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let name = args.name.as_deref().map(str::trim);
    let ended = match client::reset(files.data_dir, name)? {
        Some((server, ended)) => {
            known::warn_of_other_file(&server, files.tokens, told)?;
            ended
        }
        None => at_rest(name, files, clock, told)?,
    };
    match (ended, name) {
        (Some(0), Some(name)) => writeln!(told, "nothing rested: {name}")?,
        (Some(0), None) => writeln!(told, "nothing rested")?,
        (Some(1), _) => writeln!(told, "ended the cooldowns of 1 key")?,
        (Some(ended), _) => writeln!(told, "ended the cooldowns of {ended} keys")?,
        (None, name) => {
            let name = name.unwrap_or_default();
            let hint = "hint: `hermux keys list` shows their names";
            return Err(Usage(format!("no such key: {name}\n{hint}")).into());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the pool that the next server would begin with, resets it, and keeps what changed.
fn at_rest(
    name: Option<&str>,
    files: Files<'_>,
    clock: &Clock,
    told: &mut dyn Write,
) -> anyhow::Result<Option<usize>> {
    // What rests is bound to the key itself: of a row without one nothing is known, and nothing is changed.
    let keys = known::keys(files, told)?.into_iter();
    let is_lost = |(row, key): &(Row, Option<_>)| key.is_none() && Some(row.name.as_str()) == name;
    if let Some((row, _)) = keys.clone().find(is_lost) {
        return Err(anyhow!("the cooldowns of a key can't be ended without the key: {}", row.name));
    }
    let keys = keys.filter_map(|(_, key)| key).collect();
    // Where nothing was ever kept there is nothing to forget; to look is not to make a directory.
    let kept = files.data_dir.exists();
    let ledger = kept.then(|| Ledger::open(files.data_dir, clock.clone())).transpose()?;
    let now = clock.now();
    let (pool, _) = known::pool(files, keys, now)?;
    let ended = pool.reset(name, now);
    if let Some(ledger) = ledger {
        loop {
            let facts = pool.take_facts();
            if facts.is_empty() {
                break;
            }
            for fact in facts {
                ledger.note(fact.kind, &fact.id, fact.value);
            }
        }
        if !ledger.close(FLUSH) {
            return Err(anyhow!("the ledger could not be written: {}", files.data_dir.display()));
        }
    }
    Ok(ended)
}
