//! Entries whose figures their answers did not tell: a queue in the database, emptied by whoever asks upstream.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::cells::{Place, add_to_sums};
use super::store::StoreError;
use super::sums::{Cell, Hour, Sum};
use super::{Ledger, Usage};
use crate::clock::Time;

/// How long after its end an entry's figures are first asked for, milliseconds.
pub(super) const FIRST_MS: i64 = 500;

/// An entry in the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsettled {
    /// Its row.
    entry: i64,
    /// When it was due.
    pub due: Time,
    /// How often upstream was asked.
    pub tries: u32,
    /// The name of the key that made it.
    pub key: String,
    /// Who asked for it.
    pub caller: String,
    /// When it left.
    pub at: Time,
    /// `OpenRouter`'s id of the generation.
    pub generation: String,
}

/// What became of an entry in the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Its figures: what they do not tell stays as it was.
    Usage(Box<Usage>),
    /// It is to be asked for again, and has been asked for so often.
    Later {
        /// When.
        due: Time,
        /// How often upstream was asked.
        tries: u32,
    },
    /// It is given up: its cost is never known.
    Never,
}

/// What became of which entry.
#[derive(Debug)]
pub(super) struct Settled {
    pub entry: Unsettled,
    pub found: Found,
}

impl Ledger {
    /// The first of the queue, at most `limit`, in the order in which they are due; empty in memory and where the database
    /// cannot be read.
    #[must_use]
    pub fn unsettled(&self, limit: u32) -> Vec<Unsettled> {
        self.read("queue of costs to be asked for", |database| unsettled(database, limit))
    }
}

fn unsettled(database: &Connection, limit: u32) -> Result<Vec<Unsettled>, rusqlite::Error> {
    let mut statement = database.prepare(
        "SELECT entry, due_ms, tries, keys.name, generation, callers.name, at_ms
         FROM settling JOIN entries ON entries.id = entry JOIN names AS keys ON keys.id = entries.key
              JOIN names AS callers ON callers.id = entries.caller
         WHERE generation IS NOT NULL ORDER BY due_ms LIMIT ?1",
    )?;
    let rows = statement.query_map([limit], |row| {
        Ok(Unsettled {
            entry: row.get(0)?,
            due: Time(row.get(1)?),
            tries: row.get(2)?,
            key: row.get(3)?,
            generation: row.get(4)?,
            caller: row.get(5)?,
            at: Time(row.get(6)?),
        })
    })?;
    rows.collect()
}

/// Puts the row into the queue.
pub(super) fn queue(transaction: &Transaction<'_>, row: i64, due_ms: i64) -> Result<(), rusqlite::Error> {
    transaction
        .prepare_cached("INSERT OR IGNORE INTO settling (entry, tries, due_ms) VALUES (?1, 0, ?2)")?
        .execute((row, due_ms))?;
    Ok(())
}

/// An entry of the queue as it stands in the database: its place in the sums, and the figures it has so far.
struct Row {
    place: Place,
    usage: Usage,
}

/// Writes what became of entries, all of which are in the sums already; `rolled` is the first hour that is not in `days` and
/// `marginals`.
pub(super) fn write(
    transaction: &Transaction<'_>,
    rolled: Hour,
    settled: &[Settled],
) -> Result<(), StoreError> {
    let mut cells = Vec::new();
    for Settled { entry, found } in settled {
        let Some(row) = find(transaction, entry)? else { continue };
        let mut cell = Cell::default();
        match found {
            Found::Later { due, tries } => {
                transaction
                    .prepare_cached("UPDATE settling SET due_ms = ?2, tries = ?3 WHERE entry = ?1")?
                    .execute((entry.entry, due.0, tries))?;
                continue;
            }
            Found::Never => {
                cell.sum.unsettled = 1;
                transaction
                    .prepare_cached("UPDATE entries SET settled = 2 WHERE id = ?1")?
                    .execute([entry.entry])?;
            }
            Found::Usage(usage) => {
                cell.sum = difference(&row.usage, usage);
                update(transaction, entry.entry, usage)?;
            }
        }
        transaction.prepare_cached("DELETE FROM settling WHERE entry = ?1")?.execute([entry.entry])?;
        cells.push((row.place, cell));
    }
    Ok(add_to_sums(transaction, rolled, cells.iter().map(|(place, cell)| (*place, cell)).collect())?)
}

/// The row in the queue; none where it is settled, or another one of that number in another file.
fn find(transaction: &Transaction<'_>, entry: &Unsettled) -> Result<Option<Row>, rusqlite::Error> {
    let mut find = transaction.prepare_cached(
        "SELECT at_ms, key, caller, model, ifnull(status, 0), prompt_tokens, completion_tokens, reasoning_tokens,
                cached_tokens, cache_write_tokens, cost, upstream_cost
         FROM settling JOIN entries ON entries.id = entry WHERE entry = ?1 AND generation = ?2",
    )?;
    find.query_row(params![entry.entry, entry.generation], |row| {
        let tokens = |at| -> Result<Option<u64>, rusqlite::Error> {
            Ok(row.get::<_, Option<i64>>(at)?.and_then(|count| u64::try_from(count).ok()))
        };
        Ok(Row {
            place: (Hour::of(Time(row.get(0)?)), [row.get(1)?, row.get(2)?, row.get(3)?], row.get(4)?),
            usage: Usage {
                prompt_tokens: tokens(5)?,
                completion_tokens: tokens(6)?,
                reasoning_tokens: tokens(7)?,
                cached_tokens: tokens(8)?,
                cache_write_tokens: tokens(9)?,
                cost: row.get(10)?,
                upstream_cost: row.get(11)?,
            },
        })
    })
    .optional()
}

fn integer(count: Option<u64>) -> Option<i64> {
    count.map(|count| i64::try_from(count).unwrap_or(i64::MAX))
}

/// What the sums lack when `now` takes the place of `before`.
fn difference(before: &Usage, now: &Usage) -> Sum {
    let tokens = |now: Option<u64>, before: Option<u64>| {
        integer(now).map_or(0, |now| now.saturating_sub(integer(before).unwrap_or(0)))
    };
    let nanos =
        |now: Option<i64>, before: Option<i64>| now.map_or(0, |now| now.saturating_sub(before.unwrap_or(0)));
    Sum {
        prompt: tokens(now.prompt_tokens, before.prompt_tokens),
        completion: tokens(now.completion_tokens, before.completion_tokens),
        reasoning: tokens(now.reasoning_tokens, before.reasoning_tokens),
        cached: tokens(now.cached_tokens, before.cached_tokens),
        cache_write: tokens(now.cache_write_tokens, before.cache_write_tokens),
        cost: nanos(now.cost, before.cost),
        upstream_cost: nanos(now.upstream_cost, before.upstream_cost),
        ..Sum::default()
    }
}

fn update(transaction: &Transaction<'_>, row: i64, usage: &Usage) -> Result<(), rusqlite::Error> {
    let mut update = transaction.prepare_cached(
        "UPDATE entries SET settled = 1, prompt_tokens = ifnull(?2, prompt_tokens),
             completion_tokens = ifnull(?3, completion_tokens), reasoning_tokens = ifnull(?4, reasoning_tokens),
             cached_tokens = ifnull(?5, cached_tokens), cache_write_tokens = ifnull(?6, cache_write_tokens),
             cost = ifnull(?7, cost), upstream_cost = ifnull(?8, upstream_cost)
         WHERE id = ?1",
    )?;
    update.execute(params![
        row,
        integer(usage.prompt_tokens),
        integer(usage.completion_tokens),
        integer(usage.reasoning_tokens),
        integer(usage.cached_tokens),
        integer(usage.cache_write_tokens),
        usage.cost,
        usage.upstream_cost
    ])?;
    Ok(())
}
