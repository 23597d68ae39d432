//! What callers used: read from the database, for the bounds of access tokens and for their list.

use std::collections::HashMap;

use rusqlite::Connection;

use super::Ledger;
use super::recall::DISORDER_MS;
use crate::clock::{Day, Time};

/// How many of the newest entries are looked at.
const NEWEST: usize = 200_000;

/// What one caller used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallerUse {
    /// Its requests of models that left in the UTC day.
    pub requests: u64,
    /// The cost of all its requests in the UTC day, nano-dollars (1e-9 USD).
    pub cost: i64,
    /// When those of the last 60 seconds left, the oldest first.
    pub minute: Vec<Time>,
    /// When it was last let in for anything.
    pub last: Option<LastUse>,
}

/// When a caller was last let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastUse {
    /// At this moment.
    At(Time),
    /// Some time on this UTC day: it is too long ago to be among the newest entries.
    On(Day),
}

impl Ledger {
    /// What callers used until `now`, by name, as it is in the database; empty in memory and where that cannot be read, which
    /// is warned of. Whether a path without a model in the request runs one is for `runs_model` to say.
    #[must_use]
    pub fn callers_at(&self, now: Time, runs_model: fn(&str) -> bool) -> HashMap<Box<str>, CallerUse> {
        self.read("use by callers", |database| callers_at(database, now, runs_model, Last::Day))
    }
}

/// How exactly a caller's last use is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    /// By its day, but for those of the last minute or day.
    Day,
    /// To the moment, for which more has to be read.
    Moment,
}

pub(super) fn callers_at(
    database: &Connection,
    now: Time,
    runs_model: fn(&str) -> bool,
    last: Last,
) -> Result<HashMap<Box<str>, CallerUse>, rusqlite::Error> {
    let mut used: HashMap<Box<str>, CallerUse> = HashMap::new();
    let mut statement = database.prepare(
        "SELECT names.name, max(day),
                sum(requests) FILTER (WHERE day = ?1 AND models.name <> ''), sum(cost) FILTER (WHERE day = ?1)
         FROM totals JOIN names ON names.id = caller JOIN names AS models ON models.id = model
         GROUP BY caller",
    )?;
    let Day(today) = now.day();
    let mut rows = statement.query([today])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let requests = row.get::<_, Option<i64>>(2)?.and_then(|count| u64::try_from(count).ok());
        used.insert(
            name.into(),
            CallerUse {
                requests: requests.unwrap_or(0),
                cost: row.get::<_, Option<i64>>(3)?.unwrap_or(0),
                minute: Vec::new(),
                last: Some(LastUse::On(Day(row.get(1)?))),
            },
        );
    }
    // As good as sorted by time, and read from its end (a cross join keeps the order of the tables).
    let mut statement = database.prepare(
        "SELECT at_ms, number, callers.name, models.name, paths.name
         FROM entries CROSS JOIN names AS callers ON callers.id = caller
              CROSS JOIN names AS models ON models.id = model CROSS JOIN names AS paths ON paths.id = path
         ORDER BY entries.id DESC",
    )?;
    let (minute, midnight) = (now.0 - 60_000, now.day().start().0);
    // Only so far back something is counted; before, each caller's last is looked for, as long as one has none.
    let counted = minute.min(midnight) - DISORDER_MS;
    let mut without = if last == Last::Moment { used.len() } else { 0 };
    let mut rows = statement.query([])?;
    for _ in 0..NEWEST {
        let Some(row) = rows.next()? else { break };
        let at: i64 = row.get(0)?;
        if at < counted && without == 0 {
            break;
        }
        let Some(caller) = used.get_mut(row.get_ref(2)?.as_str()?) else { continue };
        if !matches!(caller.last, Some(LastUse::At(_))) {
            caller.last = Some(LastUse::At(Time(at)));
            without = without.saturating_sub(1);
        }
        if at < counted || row.get::<_, i64>(1)? != 1 {
            continue;
        }
        let names_none = row.get_ref(3)?.as_str()?.is_empty();
        if names_none && !runs_model(row.get_ref(4)?.as_str()?) {
            continue;
        }
        // Those that name a model are in the sums.
        caller.requests += u64::from(names_none && at >= midnight);
        if at > minute {
            caller.minute.push(Time(at));
        }
    }
    for caller in used.values_mut() {
        caller.minute.sort_unstable();
    }
    Ok(used)
}
