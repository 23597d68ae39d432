//! The database file: opened, checked, begun anew; a batch in one transaction.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rusqlite::{
    CachedStatement, Connection, ErrorCode, OpenFlags, Statement, Transaction, TransactionBehavior, params,
};

use super::backlog::Closing;
use super::place::{Identity, identity, private_file};
use super::sums::{Days, Sum, SumKey, Sums};
use super::writer::Batch;
use super::{Opening, Outcome};
use crate::clock::{Day, Time};

/// The name of the database in the data directory.
pub(super) const FILE: &str = "ledger.db";

/// The form of the database that this hermux writes (`PRAGMA user_version`).
pub(super) const FORM: i64 = 2;

/// What makes each form of the one before it, the first of an empty file; each sets `user_version` to its number.
const FORMS: [&str; 2] = [include_str!("schema.sql"), include_str!("notes.sql")];

/// How many names are remembered with their ids. Callers choose names of models, so it is bounded.
const NAMES_LIMIT: usize = 50_000;

/// Why the database cannot be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    #[error("{0}")]
    Database(#[from] rusqlite::Error),
    #[error("{0}")]
    File(#[from] io::Error),
    #[error("it is of a newer hermux (form {0}, this one knows {FORM})")]
    Newer(i64),
}

impl StoreError {
    /// Whether the file is no database, or a broken one.
    pub(super) fn is_corrupt(&self) -> bool {
        let Self::Database(error) = self else { return false };
        matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
    }
}

/// Adds a row to the sum that is there.
const ADD: &str = "ON CONFLICT DO UPDATE SET
     requests = requests + excluded.requests,
     attempts = attempts + excluded.attempts,
     failed = failed + excluded.failed,
     prompt_tokens = prompt_tokens + excluded.prompt_tokens,
     completion_tokens = completion_tokens + excluded.completion_tokens,
     reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens,
     cached_tokens = cached_tokens + excluded.cached_tokens,
     cost = cost + excluded.cost";

/// Says that every entry is in the sums.
const SUMMED: &str = "summed = max(summed, (SELECT ifnull(max(id), 0) FROM entries))";

/// What a database says of itself.
pub(super) struct State {
    /// The next number of a request.
    pub(super) next_request: u64,
    /// The number of the last batch committed.
    pub(super) batch: i64,
    /// The last entry that is in the sums.
    pub(super) summed: i64,
}

/// The open database.
pub(super) struct Store {
    connection: Connection,
    path: PathBuf,
    identity: Identity,
    /// Ids of names; as good as committed, because a store whose transaction fails is closed.
    names: Ids,
    /// How many notes were written.
    noted: usize,
}

impl Store {
    /// Opens the database at `path`, creating it (mode 0600) where there is none; true when it has just begun.
    pub(super) fn open(path: &Path) -> Result<(Self, bool), StoreError> {
        // An existing file is never opened here: closing it again would give up SQLite's locks of this process.
        match private_file().write(true).create_new(true).open(path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
        let identity = identity(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(Duration::from_millis(500))?;
        connection.set_prepared_statement_cache_capacity(32);
        let form: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if form > FORM {
            return Err(StoreError::Newer(form));
        }
        connection.execute_batch("PRAGMA synchronous = NORMAL; PRAGMA journal_mode = WAL;")?;
        if form < FORM {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for next in FORMS.iter().skip(usize::try_from(form).unwrap_or(0)) {
                transaction.execute_batch(next)?;
            }
            transaction.commit()?;
        }
        let store = Self { connection, path: path.to_owned(), identity, names: Ids::default(), noted: 0 };
        Ok((store, form == 0))
    }

    /// Which file this is.
    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    /// Whether the path still leads to this file: `SQLite` goes on writing into one that was removed.
    pub(super) fn is_in_place(&self) -> bool {
        identity(&self.path).is_ok_and(|identity| identity == self.identity)
    }

    /// What the database says of itself.
    pub(super) fn state(&self) -> Result<State, StoreError> {
        let sql = "SELECT next_request, batch, summed FROM state";
        Ok(self.connection.query_row(sql, [], |row| {
            let next_request = u64::try_from(row.get::<_, i64>(0)?).unwrap_or(1);
            Ok(State { next_request, batch: row.get(1)?, summed: row.get(2)? })
        })?)
    }

    /// Adds the entries that an earlier process left beyond the sums to them.
    pub(super) fn sum_tail(&mut self) -> Result<(), StoreError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let sql = format!(
            "INSERT INTO sums SELECT day, key, caller, model, sum(requests), sum(attempts), sum(failed),
                 sum(prompt_tokens), sum(completion_tokens), sum(reasoning_tokens), sum(cached_tokens), sum(cost)
             FROM tail WHERE true GROUP BY day, key, caller, model {ADD}"
        );
        transaction.execute(&sql, [])?;
        transaction.execute(&format!("UPDATE state SET {SUMMED}"), [])?;
        Ok(transaction.commit()?)
    }

    /// Marks the entries that are open as lost; how many there were.
    pub(super) fn mark_lost(&self) -> Result<usize, StoreError> {
        Ok(self.connection.execute("UPDATE entries SET outcome = 3 WHERE outcome IS NULL", [])?)
    }

    /// The sums by key from `day` on.
    pub(super) fn days_from(&self, day: Day) -> Result<Days, StoreError> {
        let mut statement = self.connection.prepare(
            "SELECT day, names.name, sum(requests), sum(attempts), sum(failed), sum(prompt_tokens),
                    sum(completion_tokens), sum(reasoning_tokens), sum(cached_tokens), sum(cost)
             FROM sums JOIN names ON names.id = sums.key WHERE day >= ?1 GROUP BY day, sums.key",
        )?;
        let rows = statement.query_map([day.0], |row| {
            let key = (Day(row.get(0)?), row.get::<_, String>(1)?.into());
            let sum = Sum {
                requests: row.get(2)?,
                attempts: row.get(3)?,
                failed: row.get(4)?,
                prompt: row.get(5)?,
                completion: row.get(6)?,
                reasoning: row.get(7)?,
                cached: row.get(8)?,
                cost: row.get(9)?,
            };
            Ok((key, sum))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Lets the database grow to `pages` at most; 0 for no limit.
    #[cfg(test)]
    pub(super) fn limit(&self, pages: u32) -> Result<(), StoreError> {
        let pages = if pages == 0 { u32::MAX - 1 } else { pages };
        Ok(self.connection.execute_batch(&format!("PRAGMA max_page_count = {pages}"))?)
    }

    /// Writes `batch` as number `number`, and `seed` on top of its sums, in one transaction. The rows of what it opens
    /// stand in `batch.rows` also when this fails: a commit may have reached the file and still be reported as failed.
    pub(super) fn write(
        &mut self,
        batch: &mut Batch,
        seed: &Sums,
        next_request: u64,
        number: i64,
    ) -> Result<(), StoreError> {
        if self.names.len() > NAMES_LIMIT {
            self.names.clear();
        }
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut names = Names::new(&transaction, &mut self.names)?;
        write_entries(&transaction, &mut names, batch)?;
        write_sums(&transaction, &mut names, batch.sums.0.iter().chain(&batch.tail.0).chain(&seed.0))?;
        drop(names);
        batch.notes.write(&transaction, self.noted)?;
        self.noted += batch.notes.len();
        transaction
            .prepare_cached("UPDATE state SET next_request = ?1, batch = ?2")?
            .execute(params![integer(next_request), number])?;
        if batch.sums_tail {
            transaction.prepare_cached(&format!("UPDATE state SET {SUMMED}"))?.execute([])?;
        }
        Ok(transaction.commit()?)
    }
}

fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn write_entries(
    transaction: &Transaction<'_>,
    names: &mut Names<'_>,
    batch: &mut Batch,
) -> Result<(), StoreError> {
    let mut insert_open = transaction.prepare_cached(
        "INSERT INTO entries (request, number, at_ms, caller, key, model, path) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    batch.rows.clear();
    let mut whole = Vec::with_capacity(batch.opened.len());
    for (opening, end) in batch.opened.iter().zip(&batch.ends) {
        let row = if let Some(end) = end {
            whole.push((opening, &batch.closed[*end as usize]));
            0
        } else {
            bind_opening(&mut insert_open, 0, names, opening)?;
            insert_open.raw_execute()?;
            transaction.last_insert_rowid()
        };
        batch.rows.push(row);
    }
    // A statement of several rows costs a quarter less a row.
    let (groups, rest) = whole.as_chunks::<GROUP>();
    for group in groups.iter().map(<[_; GROUP]>::as_slice).chain(rest.chunks(1)) {
        let mut insert =
            transaction.prepare_cached(if group.len() == 1 { &INSERT_ONE } else { &INSERT_GROUP })?;
        for (at, (opening, closing)) in group.iter().enumerate() {
            bind_opening(&mut insert, at * COLUMNS, names, opening)?;
            bind_closing(&mut insert, at * COLUMNS + OPENING, closing)?;
        }
        insert.raw_execute()?;
    }
    let mut update = transaction.prepare_cached(
        "UPDATE entries SET outcome = ?1, status = ?2, bytes = ?3, first_byte_ms = ?4, duration_ms = ?5,
             generation = ?6, prompt_tokens = ?7, completion_tokens = ?8, reasoning_tokens = ?9, cached_tokens = ?10,
             cost = ?11
         WHERE id = ?12 AND outcome IS NULL",
    )?;
    for (row, end) in &batch.later {
        bind_closing(&mut update, 0, &batch.closed[*end as usize])?;
        update.raw_bind_parameter(12, row)?;
        update.raw_execute()?;
    }
    Ok(())
}

/// The columns of an entry that are known when it opens.
const OPENING: usize = 7;
/// All of its columns but the id.
const COLUMNS: usize = 18;
/// How many entries one statement inserts.
const GROUP: usize = 8;

static INSERT_ONE: LazyLock<String> = LazyLock::new(|| insert(1));
static INSERT_GROUP: LazyLock<String> = LazyLock::new(|| insert(GROUP));

/// Inserts so many entries that are closed.
fn insert(rows: usize) -> String {
    let row = format!("({})", ["?"; COLUMNS].join(", "));
    format!(
        "INSERT INTO entries (request, number, at_ms, caller, key, model, path, outcome, status, bytes, first_byte_ms,
             duration_ms, generation, prompt_tokens, completion_tokens, reasoning_tokens, cached_tokens, cost)
         VALUES {}",
        vec![row; rows].join(", ")
    )
}

/// Binds the columns of `opening` to the parameters behind the first `before`.
fn bind_opening(
    statement: &mut Statement<'_>,
    before: usize,
    names: &mut Names<'_>,
    opening: &Opening,
) -> Result<(), rusqlite::Error> {
    statement.raw_bind_parameter(before + 1, integer(opening.request))?;
    statement.raw_bind_parameter(before + 2, opening.number)?;
    statement.raw_bind_parameter(before + 3, opening.at.0)?;
    statement.raw_bind_parameter(before + 4, names.id(&opening.caller)?)?;
    statement.raw_bind_parameter(before + 5, names.id(&opening.key)?)?;
    statement.raw_bind_parameter(before + 6, names.id(&opening.model)?)?;
    statement.raw_bind_parameter(before + 7, names.id(&opening.path)?)
}

/// Binds the columns of `closing` to the parameters behind the first `before`.
fn bind_closing(
    statement: &mut Statement<'_>,
    before: usize,
    closing: &Closing,
) -> Result<(), rusqlite::Error> {
    let outcome = match closing.outcome {
        Outcome::Complete => 0,
        Outcome::Failed => 1,
        Outcome::Cancelled => 2,
    };
    statement.raw_bind_parameter(before + 1, outcome)?;
    statement.raw_bind_parameter(before + 2, closing.status)?;
    statement.raw_bind_parameter(before + 3, integer(closing.bytes))?;
    statement.raw_bind_parameter(before + 4, closing.first_byte_ms)?;
    statement.raw_bind_parameter(before + 5, closing.duration_ms)?;
    statement.raw_bind_parameter(before + 6, closing.generation.as_deref())?;
    statement.raw_bind_parameter(before + 7, closing.prompt)?;
    statement.raw_bind_parameter(before + 8, closing.completion)?;
    statement.raw_bind_parameter(before + 9, closing.reasoning)?;
    statement.raw_bind_parameter(before + 10, closing.cached)?;
    statement.raw_bind_parameter(before + 11, closing.cost)
}

fn write_sums<'a>(
    transaction: &Transaction<'_>,
    names: &mut Names<'_>,
    sums: impl Iterator<Item = (&'a SumKey, &'a Sum)>,
) -> Result<(), StoreError> {
    let mut add = transaction.prepare_cached(&format!(
        "INSERT INTO sums VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) {ADD}"
    ))?;
    let mut rows = Vec::new();
    for (key, sum) in sums {
        rows.push((key.day.0, names.id(&key.key)?, names.id(&key.caller)?, names.id(&key.model)?, sum));
    }
    // Neighbours in the table one after another.
    rows.sort_unstable_by_key(|&(day, key, caller, model, _)| (day, key, caller, model));
    for (day, key, caller, model, sum) in rows {
        add.execute(params![
            day,
            key,
            caller,
            model,
            sum.requests,
            sum.attempts,
            sum.failed,
            sum.prompt,
            sum.completion,
            sum.reasoning,
            sum.cached,
            sum.cost
        ])?;
    }
    Ok(())
}

/// Ids of names. Each attempt looks up four, so the hash is a quick one.
type Ids = HashMap<Arc<str>, i64, foldhash::fast::RandomState>;

/// Gives names their ids.
struct Names<'a> {
    known: &'a mut Ids,
    find: CachedStatement<'a>,
    add: CachedStatement<'a>,
}

impl<'a> Names<'a> {
    fn new(transaction: &'a Transaction<'_>, known: &'a mut Ids) -> Result<Self, rusqlite::Error> {
        let find = transaction.prepare_cached("SELECT id FROM names WHERE name = ?1")?;
        let add = transaction.prepare_cached("INSERT INTO names (name) VALUES (?1)")?;
        Ok(Self { known, find, add })
    }

    fn id(&mut self, name: &Arc<str>) -> Result<i64, rusqlite::Error> {
        if let Some(id) = self.known.get(name) {
            return Ok(*id);
        }
        let id = match self.find.query_row([name], |row| row.get(0)) {
            Err(rusqlite::Error::QueryReturnedNoRows) => self.add.insert([name])?,
            found => found?,
        };
        self.known.insert(Arc::clone(name), id);
        Ok(id)
    }
}

/// Moves a corrupt database and its companions to `….corrupt-<time>`, so that a person can look at it; returns where.
pub(super) fn set_aside(path: &Path, at: Time) -> io::Result<PathBuf> {
    let stamp = jiff::Timestamp::from_millisecond(at.0)
        .map_or_else(|_| at.0.to_string(), |at| at.strftime("%Y%m%dT%H%M%SZ").to_string());
    let with = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let name = |n| if n == 0 { format!(".corrupt-{stamp}") } else { format!(".corrupt-{stamp}-{n}") };
    let Some(end) = (0..1_000).map(name).find(|end| !with(end).exists()) else {
        return Err(io::ErrorKind::AlreadyExists.into());
    };
    for companion in ["-wal", "-shm"] {
        match fs::rename(with(companion), with(&format!("{end}{companion}"))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(path, with(&end))?;
    Ok(with(&end))
}
