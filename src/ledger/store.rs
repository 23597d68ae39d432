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
use super::cells::{self, Place, add_to_sums, sum_of};
use super::place::{Identity, identity, private_file};
use super::settling;
use super::sums::{Cell, Days, FIGURES, Hour, Settling, Sum, SumKey, Sums};
use super::writer::Batch;
use super::{Opening, Outcome};
use crate::clock::{Day, Time};

/// The name of the database in the data directory.
pub(super) const FILE: &str = "ledger.db";

/// The form of the database that this hermux writes (`PRAGMA user_version`).
pub(super) const FORM: i64 = 4;

/// What makes each form of the one before it, the first of an empty file; each sets `user_version` to its number.
const FORMS: [&str; 4] = [
    include_str!("schema.sql"),
    include_str!("notes.sql"),
    include_str!("hours.sql"),
    include_str!("marginals.sql"),
];

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

/// How many entries are deleted in one go.
const TRIMMED: u32 = 5_000;

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
    /// The first hour that is not in `days` and `marginals`.
    pub(super) rolled: Hour,
}

/// The open database.
pub(super) struct Store {
    connection: Connection,
    path: PathBuf,
    identity: Identity,
    /// Ids of names; as good as committed, because a store whose transaction fails is closed.
    names: KnownIds,
    /// How many notes were written.
    noted: usize,
    /// The first hour that is not in `days` and `marginals`.
    rolled: Hour,
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
        cells::add_functions(&connection)?;
        if form < FORM {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for next in FORMS.iter().skip(usize::try_from(form).unwrap_or(0)) {
                transaction.execute_batch(next)?;
            }
            // Form 4 is what begins with them.
            if form < 4 {
                cells::fill_marginals(&transaction)?;
            }
            transaction.commit()?;
        }
        let path = path.to_owned();
        let mut store =
            Self { connection, path, identity, names: KnownIds::default(), noted: 0, rolled: Hour(0) };
        store.rolled = store.state()?.rolled;
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
        let sql = "SELECT next_request, batch, summed, rolled FROM state";
        Ok(self.connection.query_row(sql, [], |row| {
            let next_request = u64::try_from(row.get::<_, i64>(0)?).unwrap_or(1);
            Ok(State { next_request, batch: row.get(1)?, summed: row.get(2)?, rolled: Hour(row.get(3)?) })
        })?)
    }

    /// Puts down when this database began, unless it says so already.
    pub(super) fn begin(&self, now: Time) -> Result<(), StoreError> {
        self.connection.execute("UPDATE state SET since_ms = ?1 WHERE since_ms = 0", [now.0])?;
        Ok(())
    }

    /// Adds the entries that an earlier process left beyond the sums to them.
    pub(super) fn sum_tail(&mut self) -> Result<(), StoreError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut cells: HashMap<Place, Cell> = HashMap::new();
        {
            let sql = format!(
                "SELECT hour, key, caller, model, status, first_byte_ms, {} FROM tail",
                FIGURES.join(", ")
            );
            let mut statement = transaction.prepare(&sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let place = (Hour(row.get(0)?), [row.get(1)?, row.get(2)?, row.get(3)?], row.get(4)?);
                let cell = cells.entry(place).or_default();
                cell.sum += sum_of(row, 6)?;
                if let Some(millis) = row.get(5)? {
                    cell.first_byte.count(millis);
                }
            }
        }
        let cells = cells.iter().map(|(place, cell)| (*place, cell)).collect();
        add_to_sums(&transaction, self.rolled, cells)?;
        transaction.execute(&format!("UPDATE state SET {SUMMED}"), [])?;
        Ok(transaction.commit()?)
    }

    /// Marks the entries that are open as lost, and queues those whose generation is known; how many there were.
    pub(super) fn mark_lost(&mut self, now: Time) -> Result<usize, StoreError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute(
            "INSERT OR IGNORE INTO settling (entry, tries, due_ms)
             SELECT id, 0, ?1 FROM entries WHERE outcome IS NULL AND generation IS NOT NULL",
            [now.0],
        )?;
        {
            let mut statement = transaction.prepare(
                "SELECT at_ms, key, caller, model FROM entries WHERE outcome IS NULL AND generation IS NULL",
            )?;
            let cell = Cell { sum: Sum { unsettled: 1, ..Sum::default() }, ..Cell::default() };
            let places = statement.query_map([], |row| {
                Ok((Hour::of(Time(row.get(0)?)), [row.get(1)?, row.get(2)?, row.get(3)?], 0))
            })?;
            let cells = places.map(|place| Ok((place?, &cell))).collect::<Result<_, rusqlite::Error>>()?;
            add_to_sums(&transaction, self.rolled, cells)?;
        }
        let lost = transaction.execute(
            "UPDATE entries SET outcome = 3, settled = iif(generation IS NULL, 2, 0) WHERE outcome IS NULL",
            [],
        )?;
        transaction.commit()?;
        Ok(lost)
    }

    /// Adds up the next hour that is over at `now`; whether there may be more.
    pub(super) fn roll(&mut self, now: Time) -> Result<bool, StoreError> {
        let end = Hour::of(now);
        if self.rolled >= end {
            return Ok(false);
        }
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let next: Option<i64> = transaction
            .prepare_cached("SELECT min(hour) FROM hours WHERE hour >= ?1 AND hour < ?2")?
            .query_row((self.rolled.0, end.0), |row| row.get(0))?;
        let rolled = Hour(next.map_or(end.0, |hour| hour + 1));
        if let Some(hour) = next {
            cells::roll(&transaction, Hour(hour))?;
        }
        transaction.prepare_cached("UPDATE state SET rolled = ?1")?.execute([rolled.0])?;
        transaction.commit()?;
        self.rolled = rolled;
        Ok(next.is_some())
    }

    /// Deletes some of the oldest entries that left before `end` and are in the sums; whether there may be more. The newest
    /// stays, so that no id is given twice.
    pub(super) fn trim(&mut self, end: Time) -> Result<bool, StoreError> {
        let old: bool = self.connection.query_row(
            "SELECT ifnull((SELECT at_ms < ?1 FROM entries ORDER BY id LIMIT 1), 0)",
            [end.0],
            |row| row.get(0),
        )?;
        if !old {
            return Ok(false);
        }
        let deleted = self
            .connection
            .prepare_cached(
                "DELETE FROM entries WHERE at_ms < ?1 AND outcome IS NOT NULL AND id IN
                     (SELECT id FROM entries WHERE id <= (SELECT summed FROM state)
                          AND id < (SELECT max(id) FROM entries) ORDER BY id LIMIT ?2)",
            )?
            .execute((end.0, TRIMMED))?;
        self.connection
            .prepare_cached("DELETE FROM settling WHERE entry < (SELECT min(id) FROM entries)")?
            .execute([])?;
        Ok(deleted > 0)
    }

    /// The sums by key from `day` on.
    pub(super) fn days_from(&self, day: Day) -> Result<Days, StoreError> {
        let mut statement = self.connection.prepare(&format!(
            "SELECT day, names.name, {} FROM totals JOIN names ON names.id = totals.key
                 WHERE day >= ?1 GROUP BY day, totals.key",
            FIGURES.map(|figure| format!("sum({figure})")).join(", ")
        ))?;
        let rows = statement.query_map([day.0], |row| {
            Ok(((Day(row.get(0)?), row.get::<_, String>(1)?.into()), sum_of(row, 2)?))
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
        let cells = batch.sums.0.iter().chain(&batch.tail.0).chain(&seed.0);
        write_sums(&transaction, &mut names, self.rolled, cells)?;
        drop(names);
        settling::write(&transaction, self.rolled, &batch.settled)?;
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
        "INSERT INTO entries (request, number, at_ms, caller, key, model, path, waited_ms, generation)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    batch.rows.clear();
    let mut whole = Vec::with_capacity(batch.opened.len());
    // In a loop of their own, so that the processor looks for several at once: with thousands of keys each is far away.
    let ids = batch.opened.iter().map(|opening| names.of(opening)).collect::<Result<Vec<_>, _>>()?;
    for ((opening, end), ids) in batch.opened.iter().zip(&batch.ends).zip(&ids) {
        let row = if let Some(end) = end {
            let closing = &batch.closed[*end as usize];
            if opening.waited.is_zero() && !closing.has_rare() {
                whole.push((opening, ids, closing));
                batch.rows.push(0);
                continue;
            }
            let mut insert = transaction.prepare_cached(&INSERT_RARE)?;
            bind_opening(&mut insert, 0, ids, opening)?;
            bind_closing(&mut insert, OPENING, closing)?;
            bind_rare(&mut insert, COLUMNS, closing)?;
            insert.raw_bind_parameter(COLUMNS + RARE, waited(opening))?;
            insert.raw_execute()?;
            if closing.settling == Some(Settling::Waits) {
                queue(transaction, transaction.last_insert_rowid(), opening, closing)?;
            }
            0
        } else {
            let serial = batch.first + batch.rows.len() as u64;
            let generation = batch.known.get(&serial).map(|generation| &**generation);
            bind_opening(&mut insert_open, 0, ids, opening)?;
            insert_open.raw_bind_parameter(OPENING + 1, waited(opening))?;
            insert_open.raw_bind_parameter(OPENING + 2, generation)?;
            insert_open.raw_execute()?;
            transaction.last_insert_rowid()
        };
        batch.rows.push(row);
    }
    // A statement of several rows costs a quarter less a row.
    let (groups, rest) = whole.as_chunks::<GROUP>();
    insert_whole(transaction, &INSERT_GROUP, groups.iter().map(<[_; GROUP]>::as_slice))?;
    insert_whole(transaction, &INSERT_ONE, rest.chunks(1))?;
    let mut update = transaction.prepare_cached(
        "UPDATE entries SET outcome = ?1, status = ?2, bytes = ?3, first_byte_ms = ?4, duration_ms = ?5,
             generation = ?6, prompt_tokens = ?7, completion_tokens = ?8, reasoning_tokens = ?9, cached_tokens = ?10,
             cost = ?11, cache_write_tokens = ?12, upstream_cost = ?13, code = ?14, settled = ?15
         WHERE id = ?16 AND outcome IS NULL",
    )?;
    for (row, end) in &batch.later {
        let closing = &batch.closed[*end as usize];
        bind_closing(&mut update, 0, closing)?;
        bind_rare(&mut update, 11, closing)?;
        update.raw_bind_parameter(16, row)?;
        if update.raw_execute()? > 0 && closing.settling == Some(Settling::Waits) {
            settling::queue(transaction, *row, batch.at.0 + settling::FIRST_MS)?;
        }
    }
    if !batch.heads.is_empty() {
        let mut update = transaction
            .prepare_cached("UPDATE entries SET generation = ?2 WHERE id = ?1 AND outcome IS NULL")?;
        for (row, generation) in &batch.heads {
            update.execute(params![row, generation])?;
        }
    }
    Ok(())
}

/// Inserts entries that are closed, group by group, by a statement that takes so many.
fn insert_whole<'b>(
    transaction: &Transaction<'_>,
    sql: &str,
    groups: impl ExactSizeIterator<Item = &'b [(&'b Opening, &'b Ids, &'b Closing)]>,
) -> Result<(), rusqlite::Error> {
    if groups.len() == 0 {
        return Ok(());
    }
    // Taken once, for what it is bound to is cleared when it is given back.
    let mut insert = transaction.prepare_cached(sql)?;
    for group in groups {
        for (at, (opening, ids, closing)) in group.iter().enumerate() {
            bind_opening(&mut insert, at * COLUMNS, ids, opening)?;
            bind_closing(&mut insert, at * COLUMNS + OPENING, closing)?;
        }
        insert.raw_execute()?;
    }
    Ok(())
}

/// Queues a row that was written whole.
fn queue(
    transaction: &Transaction<'_>,
    row: i64,
    opening: &Opening,
    closing: &Closing,
) -> Result<(), rusqlite::Error> {
    let ended = opening.at.after(Duration::from_millis(closing.duration_ms.into()));
    settling::queue(transaction, row, ended.0 + settling::FIRST_MS)
}

/// The columns of an entry that are known when it opens.
const OPENING: usize = 7;
/// All of its columns but the id, and those that few have: they are named apart, since each costs to write.
const COLUMNS: usize = 18;
/// The columns of [`bind_rare`] and the time waited.
const RARE: usize = 5;
/// How many entries one statement inserts.
const GROUP: usize = 16;

static INSERT_ONE: LazyLock<String> = LazyLock::new(|| insert(1));
static INSERT_GROUP: LazyLock<String> = LazyLock::new(|| insert(GROUP));
static INSERT_RARE: LazyLock<String> = LazyLock::new(|| {
    let marks = ["?"; COLUMNS + RARE].join(", ");
    let rare = "cache_write_tokens, upstream_cost, code, settled, waited_ms";
    format!("INSERT INTO entries ({COMMON}, {rare}) VALUES ({marks})")
});

const COMMON: &str =
    "request, number, at_ms, caller, key, model, path, outcome, status, bytes, first_byte_ms, duration_ms,
    generation, prompt_tokens, completion_tokens, reasoning_tokens, cached_tokens, cost";

/// Inserts so many entries that are closed.
fn insert(rows: usize) -> String {
    let row = format!("({})", ["?"; COLUMNS].join(", "));
    format!("INSERT INTO entries ({COMMON}) VALUES {}", vec![row; rows].join(", "))
}

/// Binds the columns of `opening` to the parameters behind the first `before`.
fn bind_opening(
    statement: &mut Statement<'_>,
    before: usize,
    ids: &Ids,
    opening: &Opening,
) -> Result<(), rusqlite::Error> {
    statement.raw_bind_parameter(before + 1, integer(opening.request))?;
    statement.raw_bind_parameter(before + 2, opening.number)?;
    statement.raw_bind_parameter(before + 3, opening.at.0)?;
    statement.raw_bind_parameter(before + 4, ids.caller)?;
    statement.raw_bind_parameter(before + 5, ids.key)?;
    statement.raw_bind_parameter(before + 6, ids.model)?;
    statement.raw_bind_parameter(before + 7, ids.path)
}

/// How long it waited, milliseconds; none where it did not.
fn waited(opening: &Opening) -> Option<u32> {
    Some(u32::try_from(opening.waited.as_millis()).unwrap_or(u32::MAX)).filter(|millis| *millis > 0)
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

/// Binds the columns of `closing` that few have to the parameters behind the first `before`.
fn bind_rare(statement: &mut Statement<'_>, before: usize, closing: &Closing) -> Result<(), rusqlite::Error> {
    statement.raw_bind_parameter(before + 1, closing.cache_write)?;
    statement.raw_bind_parameter(before + 2, closing.upstream_cost)?;
    statement.raw_bind_parameter(before + 3, closing.code)?;
    let settled = closing.settling.map(|settling| match settling {
        Settling::Waits => 0,
        Settling::Never => 2,
    });
    statement.raw_bind_parameter(before + 4, settled)
}

fn write_sums<'a>(
    transaction: &Transaction<'_>,
    names: &mut Names<'_>,
    rolled: Hour,
    sums: impl Iterator<Item = (&'a SumKey, &'a Cell)>,
) -> Result<(), StoreError> {
    let mut rows = Vec::new();
    for (key, cell) in sums.filter(|(_, cell)| !cell.is_empty()) {
        let ids = [names.id(&key.key)?, names.id(&key.caller)?, names.id(&key.model)?];
        rows.push(((key.hour, ids, key.status), cell));
    }
    Ok(add_to_sums(transaction, rolled, rows)?)
}

/// Ids of names. Each attempt looks up four, so the hash is a quick one.
type KnownIds = HashMap<Arc<str>, i64, foldhash::fast::RandomState>;

/// The ids of the names that an opening holds.
#[derive(Clone, Copy)]
struct Ids {
    caller: i64,
    key: i64,
    model: i64,
    path: i64,
}

/// Gives names their ids.
struct Names<'a> {
    known: &'a mut KnownIds,
    /// The last caller, model and path.
    last: [Option<(Arc<str>, i64)>; 3],
    find: CachedStatement<'a>,
    add: CachedStatement<'a>,
}

impl<'a> Names<'a> {
    fn new(transaction: &'a Transaction<'_>, known: &'a mut KnownIds) -> Result<Self, rusqlite::Error> {
        let find = transaction.prepare_cached("SELECT id FROM names WHERE name = ?1")?;
        let add = transaction.prepare_cached("INSERT INTO names (name) VALUES (?1)")?;
        Ok(Self { known, last: [const { None }; 3], find, add })
    }

    fn of(&mut self, opening: &Opening) -> Result<Ids, rusqlite::Error> {
        Ok(Ids {
            caller: self.usual(0, &opening.caller)?,
            key: self.id(&opening.key)?,
            model: self.usual(1, &opening.model)?,
            path: self.usual(2, &opening.path)?,
        })
    }

    /// The id of a name that most entries around have, too; `which` of those it is.
    fn usual(&mut self, which: usize, name: &Arc<str>) -> Result<i64, rusqlite::Error> {
        match &self.last[which] {
            Some((last, id)) if Arc::ptr_eq(last, name) => Ok(*id),
            _ => {
                let id = self.id(name)?;
                self.last[which] = Some((Arc::clone(name), id));
                Ok(id)
            }
        }
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
