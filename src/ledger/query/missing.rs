//! What the ledger does not know yet, or never will: costs that answers did not tell.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::Row;

use super::figures::Filter;
use super::{QueryError, Question, read};

/// How many of the newest entries are searched for the dearest ones.
const SEARCHED: u32 = 1_000_000;

/// How many attempts that `question` asks for, whatever it groups by, wait for their cost to be fetched, in the ledger in
/// `directory`. Those of an hour that is only touched count by their own time.
pub fn queued(directory: &Path, question: &Question) -> Result<u64, QueryError> {
    read(directory, 3, |database| {
        let sql = format!(
            "SELECT count(*) FROM settling JOIN entries ON entries.id = entry WHERE at_ms >= ?1 AND at_ms < ?2{}",
            Filter::new(question).0
        );
        let since = question.since.map_or(i64::MIN, |since| since.0);
        let until = question.until.map_or(i64::MAX, |until| until.0);
        let count: i64 = database.query_row(&sql, [since, until], |row| row.get(0))?;
        Ok(u64::try_from(count).unwrap_or(0))
    })
}

/// Attempts by names of key and model whose cost is still to be fetched, from the ledger in `directory`.
pub fn queued_by_key(directory: &Path) -> Result<HashMap<String, HashMap<String, u64>>, QueryError> {
    read(directory, 3, |database| {
        let mut statement = database.prepare(
            "SELECT keys.name, models.name, count(*) FROM settling JOIN entries ON entries.id = entry
                 JOIN names AS keys ON keys.id = key JOIN names AS models ON models.id = model
             GROUP BY key, model",
        )?;
        let mut rows = statement.query([])?;
        let mut queued: HashMap<String, HashMap<String, u64>> = HashMap::new();
        while let Some(row) = rows.next()? {
            let count = u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0);
            queued.entry(row.get(0)?).or_default().insert(row.get(1)?, count);
        }
        Ok(queued)
    })
}

/// What the dearest attempt of each model cost, nano-dollars, by its name: of the newest million entries of the ledger in
/// `directory`, and of those that told a cost.
pub fn dearest(directory: &Path) -> Result<HashMap<String, i64>, QueryError> {
    read(directory, 3, |database| {
        let mut statement = database.prepare(
            "SELECT name, dearest FROM
                 (SELECT model, max(cost) AS dearest FROM entries
                  WHERE id > (SELECT max(id) FROM entries) - ?1 AND cost > 0 GROUP BY model)
             JOIN names ON names.id = model",
        )?;
        let dearest = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        statement.query_map([SEARCHED], dearest)?.collect()
    })
}
