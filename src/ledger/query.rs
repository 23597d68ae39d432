//! What is read back from the ledger by another process: the reports behind `stats`.

mod figures;
mod missing;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

pub use super::Histogram;
use super::callers;
use super::recall;
use super::store::{FILE, FORM};
use super::{CallerUse, UsedToday};
use crate::clock::{Day, Time};

pub use figures::{By, Figures, Group, Question, Value, answers, figures, first_used, since};
pub use missing::{dearest, queued, queued_by_key};

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
    /// The database was written by an older hermux, and no server of this one has opened it.
    #[error(
        "the ledger is of an older hermux (form {found}, this one reads {FORM}), and all of it is kept: {file}\n\
         hint: hermux serve brings it to the new form when it starts"
    )]
    Older {
        /// The form found.
        found: i64,
        /// The database.
        file: String,
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
    read(directory, 1, |database| keys(database, day))
}

/// What was noted of one `kind` of thing, as id and value, the oldest first, from the ledger in `directory`, also while
/// another process writes it.
pub fn notes(directory: &Path, kind: &str) -> Result<Vec<(String, String)>, QueryError> {
    match read(directory, 2, |database| recall::notes(database, kind)) {
        // Before that form nothing was noted.
        Err(QueryError::Older { .. }) => Ok(Vec::new()),
        found => found,
    }
}

/// What keys were used for on the UTC day and in the minute of `now`, by name, from the ledger in `directory`, also while
/// another process writes it.
pub fn used_at(directory: &Path, now: Time) -> Result<HashMap<Box<str>, UsedToday>, QueryError> {
    read(directory, 1, |database| recall::used_at(database, now))
}

/// What callers used until `now`, by name, from the ledger in `directory`, also while another process writes it. Whether a
/// path without a model in the request runs one is for `runs_model` to say.
pub fn callers_at(
    directory: &Path,
    now: Time,
    runs_model: fn(&str) -> bool,
) -> Result<HashMap<Box<str>, CallerUse>, QueryError> {
    read(directory, 1, |database| callers::callers_at(database, now, runs_model, callers::Last::Moment))
}

/// What `find` finds in the database of `directory`; nothing where there is none, or an empty one. It reads forms from
/// `since` on.
fn read<T: Default>(
    directory: &Path,
    since: i64,
    find: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>,
) -> Result<T, QueryError> {
    let path = directory.join(FILE);
    if !path.exists() {
        return Ok(T::default());
    }
    let file = || path.display().to_string();
    let found = open(&path).and_then(|(database, form)| {
        let known = (since..=FORM).contains(&form);
        Ok((form, if known { find(&database)? } else { T::default() }))
    });
    match found {
        Ok((found, _)) if found > FORM => Err(QueryError::Newer { found, file: file() }),
        Ok((found, _)) if (1..since).contains(&found) => Err(QueryError::Older { found, file: file() }),
        Ok((_, found)) => Ok(found),
        Err(reason) => Err(QueryError::Unreadable { file: file(), reason }),
    }
}

/// The database and its form.
fn open(path: &Path) -> Result<(Connection, i64), rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let begin = |database: Connection| {
        database.busy_timeout(Duration::from_secs(1))?;
        let form = database.pragma_query_value(None, "user_version", |row| row.get(0))?;
        Ok((database, form))
    };
    match Connection::open_with_flags(path, flags).and_then(begin) {
        // Readers, too, want a `-shm` beside it, and here nothing can be written. While somebody writes, there is a `-wal`.
        Err(error) if is_unwritable(&error) && !companion(path, "-wal").exists() => {
            let flags = flags | OpenFlags::SQLITE_OPEN_URI;
            Connection::open_with_flags(immutable(path), flags).and_then(begin)
        }
        opened => opened,
    }
}

fn is_unwritable(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
}

/// The file that `SQLite` keeps beside the database at `path` under the same name with `end`.
fn companion(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// The database at `path` as a URI that has `SQLite` believe that nobody changes it, so that it needs nothing beside it.
fn immutable(path: &Path) -> PathBuf {
    let mut uri = Vec::from(b"file:");
    for &byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'?' | b'#' | b'%' => uri.extend(format!("%{byte:02X}").bytes()),
            _ => uri.push(byte),
        }
    }
    uri.extend(b"?immutable=1");
    String::from_utf8_lossy(&uri).into_owned().into()
}

fn keys(database: &Connection, day: Day) -> Result<Vec<KeyUse>, rusqlite::Error> {
    let mut statement = database.prepare(
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
    rows.collect()
}
