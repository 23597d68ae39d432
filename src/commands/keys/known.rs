//! What is known of the keys where no server runs, and whose keys a server has that does.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use super::Files;
use crate::clock::Time;
use crate::commands::serve::recall::plain;
use crate::control::About;
use crate::keys::Key;
use crate::keys::file;
use crate::keys::pool::KeyPool;
use crate::ledger::query::{self, KeyUse};

/// The kinds of notes in the ledger that a pool takes over.
const KINDS: [&str; 2] = ["account", "key"];

/// The keys of the file; what is odd about it is told.
pub(super) fn keys(tokens: &Path, told: &mut dyn Write) -> anyhow::Result<Vec<Key>> {
    let loaded = file::load(tokens)?;
    for warning in loaded.warnings {
        writeln!(told, "warning: {warning}")?;
    }
    Ok(loaded.keys)
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
