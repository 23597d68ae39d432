//! What a process that starts takes over from those before it: read from the database, beside the writer.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::Ledger;
use crate::clock::{Day, Time};

/// How many of the newest entries are looked at for those of a minute, and for generations.
const OF_A_MINUTE: usize = 200_000;
const OF_GENERATIONS: i64 = 1_000_000;

/// By how much entries may stand out of the order of their times, milliseconds.
pub(super) const DISORDER_MS: i64 = 5_000;

/// What one key was used for today.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsedToday {
    /// Attempts in the UTC day.
    pub attempts: u64,
    /// Attempts on free models (`:free`, and the router over them, `openrouter/free`) in the UTC day.
    pub free_today: u64,
    /// Attempts on free models in the current whole minute.
    pub free_minute: u64,
    /// The cost of all attempts in the UTC day, nano-dollars (1e-9 USD).
    pub cost: i64,
}

/// Each of these is empty in memory and where the database cannot be read, which is warned of.
impl Ledger {
    /// The notes of a kind, id and value, the oldest first, as they are in the database: for the start, before anything
    /// new is noted.
    #[must_use]
    pub fn notes(&self, kind: &str) -> Vec<(String, String)> {
        self.read("notes", |database| notes(database, kind))
    }

    /// What keys were used for on the UTC day and in the minute of `now`, by name, as it is in the database: for the start.
    #[must_use]
    pub fn used_at(&self, now: Time) -> HashMap<Box<str>, UsedToday> {
        self.read("use of today", |database| used_at(database, now))
    }

    /// The newest generations, at most `limit`, the oldest of them first: `OpenRouter`'s id and the name of the key. Reads
    /// for a while where there are many.
    #[must_use]
    pub fn generations(&self, limit: u32) -> Vec<(String, String)> {
        self.read("generations", |database| generations(database, limit))
    }

    pub(super) fn read<T: Default>(
        &self,
        what: &str,
        read: impl Fn(&Connection) -> Result<T, rusqlite::Error>,
    ) -> T {
        let Some(file) = &self.0.file else { return T::default() };
        open(file).and_then(|database| read(&database)).unwrap_or_else(|error| {
            tracing::warn!("what the ledger remembers could not be read, its {what}: {error}");
            T::default()
        })
    }
}

fn open(file: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(file, flags)?;
    database.busy_timeout(Duration::from_secs(1))?;
    Ok(database)
}

pub(super) fn notes(database: &Connection, kind: &str) -> Result<Vec<(String, String)>, rusqlite::Error> {
    let mut statement = database.prepare("SELECT id, value FROM notes WHERE kind = ?1 ORDER BY seq")?;
    statement.query_map([kind], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

pub(super) fn used_at(
    database: &Connection,
    now: Time,
) -> Result<HashMap<Box<str>, UsedToday>, rusqlite::Error> {
    let mut used: HashMap<Box<str>, UsedToday> = HashMap::new();
    let Day(day) = now.day();
    let mut statement = database.prepare(
        "SELECT keys.name, sum(attempts),
             sum(attempts) FILTER (WHERE models.name LIKE '%:free' OR models.name = 'openrouter/free'), sum(cost)
         FROM totals JOIN names AS keys ON keys.id = key JOIN names AS models ON models.id = model
         WHERE day = ?1 GROUP BY key",
    )?;
    let mut rows = statement.query([day])?;
    while let Some(row) = rows.next()? {
        let count = |column| -> Result<u64, rusqlite::Error> {
            let count: Option<i64> = row.get(column)?;
            Ok(u64::try_from(count.unwrap_or(0)).unwrap_or(0))
        };
        let name: String = row.get(0)?;
        let (attempts, free_today) = (count(1)?, count(2)?);
        used.insert(name.into(), UsedToday { attempts, free_today, free_minute: 0, cost: row.get(3)? });
    }
    let minute = now.0 - now.0.rem_euclid(60_000);
    let mut statement = database.prepare(
        "SELECT at_ms, keys.name, models.name LIKE '%:free' OR models.name = 'openrouter/free'
         FROM entries CROSS JOIN names AS keys ON keys.id = key CROSS JOIN names AS models ON models.id = model
         ORDER BY entries.id DESC",
    )?;
    // There is no index over times: the table is as good as sorted by them, and read from its end (a cross join keeps the
    // order of the tables, so that nothing is sorted first).
    let mut rows = statement.query([])?;
    for _ in 0..OF_A_MINUTE {
        let Some(row) = rows.next()? else { break };
        let at: i64 = row.get(0)?;
        if at < minute - DISORDER_MS {
            break;
        }
        if at >= minute && row.get(2)? {
            let name: String = row.get(1)?;
            used.entry(name.into()).or_default().free_minute += 1;
        }
    }
    Ok(used)
}

fn generations(database: &Connection, limit: u32) -> Result<Vec<(String, String)>, rusqlite::Error> {
    let mut statement = database.prepare(
        "SELECT generation, names.name FROM
             (SELECT id, generation, key FROM entries
              WHERE generation IS NOT NULL AND id > (SELECT max(id) FROM entries) - ?2 ORDER BY id DESC LIMIT ?1)
             AS newest JOIN names ON names.id = key ORDER BY newest.id",
    )?;
    statement.query_map((limit, OF_GENERATIONS), |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}
