//! Notes: small facts that others want to find again after a restart, the latest of each kind and id.

use std::collections::HashSet;

use rusqlite::Transaction;

/// How many changes wait in memory while they cannot be written; then the latest of each kind and id are kept, and of those
/// the newest half of this.
const WAITING: usize = 50_000;

/// How many notes of a kind the database keeps; beyond them the oldest go.
const ROWS: u32 = 200_000;

/// After how many notes written the database is looked through for those that go.
const TRIM_EVERY: usize = 1_000;

/// Something noted or, without a value, to be forgotten.
#[derive(Debug)]
pub(super) struct Note {
    kind: &'static str,
    id: Box<str>,
    value: Option<String>,
}

/// Notes in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Notes(Vec<Note>);

impl Notes {
    pub(super) fn push(&mut self, kind: &'static str, id: &str, value: Option<String>) {
        if self.0.len() >= WAITING {
            self.shrink();
        }
        self.0.push(Note { kind, id: id.into(), value });
    }

    /// Leaves the latest of each kind and id, and of those the newest.
    fn shrink(&mut self) {
        let mut seen = HashSet::new();
        let mut latest: Vec<bool> =
            self.0.iter().rev().map(|note| seen.insert((note.kind, &note.id))).collect();
        latest.reverse();
        let mut surplus = seen.len().saturating_sub(WAITING / 2);
        drop(seen);
        let mut latest = latest.into_iter();
        self.0.retain(|_| {
            let is_latest = latest.next().unwrap_or(true);
            let goes = is_latest && surplus > 0;
            surplus -= usize::from(goes);
            is_latest && !goes
        });
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Writes them into a database that has seen `written` others since it was opened.
    pub(super) fn write(&self, transaction: &Transaction<'_>, written: usize) -> Result<(), rusqlite::Error> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut keep = transaction
            .prepare_cached("INSERT OR REPLACE INTO notes (kind, id, value) VALUES (?1, ?2, ?3)")?;
        let mut forget = transaction.prepare_cached("DELETE FROM notes WHERE kind = ?1 AND id = ?2")?;
        for Note { kind, id, value } in &self.0 {
            match value {
                Some(value) => keep.execute((kind, id, value))?,
                None => forget.execute((kind, id))?,
            };
        }
        // Also once for each database, the first time.
        if written == 0 || written / TRIM_EVERY != (written + self.0.len()) / TRIM_EVERY {
            trim(transaction, ROWS)?;
        }
        Ok(())
    }
}

/// Leaves the newest `rows` of each kind.
fn trim(transaction: &Transaction<'_>, rows: u32) -> Result<(), rusqlite::Error> {
    let kinds: Vec<String> = transaction
        .prepare_cached("SELECT kind FROM notes GROUP BY kind HAVING count(*) > ?1")?
        .query_map([rows], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut delete = transaction.prepare_cached(
        "DELETE FROM notes WHERE kind = ?1 AND seq <=
             (SELECT seq FROM notes WHERE kind = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
    )?;
    for kind in kinds {
        delete.execute((kind, rows))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::{Notes, WAITING, trim};

    fn ids(notes: &Notes) -> Vec<&str> {
        notes.0.iter().map(|note| &*note.id).collect()
    }

    #[test]
    fn of_notes_that_cannot_be_written_the_latest_stay() {
        let mut notes = Notes::default();
        notes.push("a", "first", Some("1".to_owned()));
        (1..WAITING).for_each(|_| notes.push("a", "second", Some("2".to_owned())));
        notes.push("b", "second", None);
        assert_eq!(ids(&notes), ["first", "second", "second"]);
        for number in 0..3 * WAITING {
            notes.push("a", &number.to_string(), None);
        }
        assert!(notes.len() <= WAITING);
        let newest: Vec<_> =
            (3 * WAITING - WAITING / 2..3 * WAITING).map(|number| number.to_string()).collect();
        assert_eq!(ids(&notes)[notes.len() - WAITING / 2..], newest);
    }

    #[test]
    fn the_oldest_notes_of_a_kind_go_first() {
        let mut database = Connection::open_in_memory().unwrap();
        database.execute_batch(include_str!("notes.sql")).unwrap();
        let transaction = database.transaction().unwrap();
        let mut notes = Notes::default();
        for id in ["1", "2", "3", "1"] {
            notes.push("many", id, Some("x".to_owned()));
        }
        notes.push("few", "1", Some("x".to_owned()));
        notes.write(&transaction, 0).unwrap();
        trim(&transaction, 2).unwrap();
        let left: String = transaction
            .query_row("SELECT group_concat(kind || id, ' ' ORDER BY seq) FROM notes", [], |row| row.get(0))
            .unwrap();
        assert_eq!(left, "many3 many1 few1");
    }
}
