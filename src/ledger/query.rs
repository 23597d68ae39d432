//! What is read back from the ledger by another process: the reports behind `stats`.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::store::{FILE, FORM};
use crate::clock::Day;

/// What one key was used for on one day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyUse {
    /// The key's name.
    pub name: String,
    /// Requests whose last attempt used it.
    pub requests: u64,
    /// Attempts that left with it.
    pub attempts: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Tokens read.
    pub prompt_tokens: u64,
    /// Tokens written, reasoning included.
    pub completion_tokens: u64,
    /// Of the tokens written, those of reasoning.
    pub reasoning_tokens: u64,
    /// Of the tokens read, those from a provider's cache.
    pub cached_tokens: u64,
    /// The cost in nano-dollars (1e-9 USD).
    pub cost: i64,
}

/// Why the ledger cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The database cannot be opened or read.
    #[error("the ledger cannot be read ({reason}): {file}")]
    Unreadable {
        /// The database.
        file: String,
        /// What `SQLite` says.
        reason: rusqlite::Error,
    },
    /// The database was written by a newer hermux.
    #[error(
        "the ledger is of a newer hermux (form {found}, this one knows {FORM}): {file}\nhint: use the newer hermux"
    )]
    Newer {
        /// The form found.
        found: i64,
        /// The database.
        file: String,
    },
}

/// The keys used on `day`, by name, from the ledger in `directory`, also while another process writes it. Empty where there
/// is none yet.
pub fn keys_on(directory: &Path, day: Day) -> Result<Vec<KeyUse>, QueryError> {
    let path = directory.join(FILE);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let file = || path.display().to_string();
    match read(&path, day) {
        Ok(Ok(keys)) => Ok(keys),
        Ok(Err(found)) => Err(QueryError::Newer { found, file: file() }),
        Err(reason) => Err(QueryError::Unreadable { file: file(), reason }),
    }
}

/// What was noted of one `kind` of thing, as id and value, from the ledger in `directory`, also while another process writes it.
pub fn notes(_directory: &Path, _kind: &str) -> Result<Vec<(String, String)>, QueryError> {
    Ok(Vec::new())
}

/// The rows, or the form where it is not known.
fn read(path: &Path, day: Day) -> Result<Result<Vec<KeyUse>, i64>, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(1))?;
    let form: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if form == 0 {
        return Ok(Ok(Vec::new()));
    }
    if form > FORM {
        return Ok(Err(form));
    }
    let mut statement = connection.prepare(
        "SELECT names.name, sum(requests), sum(attempts), sum(failed), sum(prompt_tokens), sum(completion_tokens),
                sum(reasoning_tokens), sum(cached_tokens), sum(cost)
         FROM totals JOIN names ON names.id = totals.key WHERE day = ?1 GROUP BY totals.key ORDER BY names.name",
    )?;
    let rows = statement.query_map([day.0], |row| {
        let count = |column| row.get(column).map(|count: i64| u64::try_from(count).unwrap_or(0));
        Ok(KeyUse {
            name: row.get(0)?,
            requests: count(1)?,
            attempts: count(2)?,
            failed: count(3)?,
            prompt_tokens: count(4)?,
            completion_tokens: count(5)?,
            reasoning_tokens: count(6)?,
            cached_tokens: count(7)?,
            cost: row.get(8)?,
        })
    })?;
    rows.collect::<Result<_, _>>().map(Ok)
}
