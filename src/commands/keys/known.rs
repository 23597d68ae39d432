//! What is known of the keys where no server runs, and whose keys a server has that does.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use super::Files;
use crate::clock::Time;
use crate::commands::serve::recall::plain;
use crate::control::About;
use crate::keys::Key;
use crate::keys::file::{self, FileError, Listed, Row};
use crate::keys::pool::KeyPool;
use crate::ledger::query::{self, KeyUse};

/// The kinds of notes in the ledger that a pool takes over.
const KINDS: [&str; 2] = ["account", "key"];

/// The rows of the file; none where there is no file yet.
pub(super) fn rows(tokens: &Path) -> Result<Vec<Row>, FileError> {
    match file::list(tokens) {
        Err(FileError::Missing(_)) => Ok(Vec::new()),
        listed => Ok(listed?.rows),
    }
}

/// The rows of the file, each with its key; a row that gives none here is told, since a server may find it all the same:
/// its environment, user and place differ. What else is odd is told too.
pub(super) fn keys(files: Files<'_>, told: &mut dyn Write) -> anyhow::Result<Vec<(Row, Option<Key>)>> {
    let Listed { rows, warnings } = file::list(files.tokens)?;
    if rows.is_empty() {
        return Err(FileError::Empty(files.tokens.to_owned()).into());
    }
    for warning in warnings {
        writeln!(told, "warning: {warning}")?;
    }
    let mut keys = Vec::with_capacity(rows.len());
    for (row, key) in rows.iter().zip(file::resolve(files.tokens, &rows, files.commands)) {
        let warning = match &key {
            Ok(key) => file::odd_warning(files.tokens, row.line, key),
            Err(problem) => {
                let path = files.tokens.display();
                Some(format!("{path}:{}: {problem}\nhint: {}", row.line, problem.hint()))
            }
        };
        if let Some(warning) = warning {
            writeln!(told, "warning: {warning}")?;
        }
        keys.push(key.ok());
    }
    Ok(rows.into_iter().zip(keys).collect())
}

/// A pool of `keys` as the next server would begin with it, and today's use of the keys; reads only.
pub(super) fn pool(files: Files<'_>, keys: Vec<Key>, now: Time) -> anyhow::Result<(KeyPool, Vec<KeyUse>)> {
    let used = query::keys_on(files.data_dir, now.day())?;
    let counts = query::used_at(files.data_dir, now)?.into_iter();
    let pool = KeyPool::resume(keys, &counts.map(|(name, used)| (name, plain(used))).collect(), now);
    let mut facts = Vec::new();
    for kind in KINDS {
        let notes = query::notes(files.data_dir, kind)?;
        facts.extend(notes.into_iter().map(|(id, value)| (kind.to_owned(), id, value)));
    }
    pool.restore(&facts, now);
    Ok((pool, used))
}

/// Says so when `server` has its keys from another file than the one that was named.
pub(super) fn warn_of_other_file(server: &About, named: &Path, told: &mut dyn Write) -> io::Result<()> {
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if real(named) == real(&server.tokens) {
        return Ok(());
    }
    writeln!(
        told,
        "warning: these are the keys of the running server, which reads them from: {}\n\
         hint: another server's data directory is named with --data-dir",
        server.tokens.display()
    )
}
