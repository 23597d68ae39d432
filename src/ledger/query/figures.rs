//! What was used, grouped and filtered as asked: from the sums of days and hours, and from the newest entries.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::Path;

use rusqlite::{Connection, Row};

use super::{Histogram, QueryError, read};
use crate::clock::{Day, Time};
use crate::ledger::store::sum_of;
use crate::ledger::sums::{Cell, FIGURES, Hour, Sum};

/// What figures can be grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum By {
    /// The key.
    Key,
    /// The model that was asked for.
    Model,
    /// The caller.
    Caller,
    /// The UTC day in which the attempt left.
    Day,
    /// The UTC hour in which the attempt left.
    Hour,
    /// The status of the answer.
    Status,
    /// The account of the key, as [`Question::accounts`] names it.
    Account,
}

/// What a group stands for in one of the things it is grouped by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// A key, a model, a caller or an account; empty where it is not known.
    Name(String),
    /// A UTC day.
    Day(Day),
    /// The first moment of a UTC hour.
    Hour(Time),
    /// The status of the answers; none where there was no answer, or none yet.
    Status(Option<u16>),
}

/// What is asked of the ledger.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// What to group by, the first above all; empty gives one group.
    pub by: Vec<By>,
    /// Attempts that left from then on; of sums, whole hours.
    pub since: Option<Time>,
    /// Attempts that left before then; of sums, whole hours.
    pub until: Option<Time>,
    /// Only keys whose names fit one of these patterns, in which `*` stands for any text; empty for all. So with the next two.
    pub keys: Vec<String>,
    /// Only these models.
    pub models: Vec<String>,
    /// Only these callers.
    pub callers: Vec<String>,
    /// Only answers with these statuses; 0 for attempts without an answer.
    pub statuses: Vec<u16>,
    /// The accounts by names of their keys, for [`By::Account`]; a key that is not here is an account of its own.
    pub accounts: HashMap<String, String>,
}

/// What was used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Requests whose last attempt is in the group.
    pub requests: u64,
    /// Attempts that left.
    pub attempts: u64,
    /// Attempts that failed.
    pub errors: u64,
    /// Attempts before which their request waited for a key.
    pub waits: u64,
    /// Attempts whose cost is never known, though they may have cost something.
    pub unsettled: u64,
    /// Tokens read.
    pub prompt_tokens: u64,
    /// Tokens written, reasoning included.
    pub completion_tokens: u64,
    /// Of the tokens written, those of reasoning.
    pub reasoning_tokens: u64,
    /// Of the tokens read, those from a provider's cache.
    pub cached_tokens: u64,
    /// Of the tokens read, those written to a provider's cache.
    pub cache_write_tokens: u64,
    /// The cost in nano-dollars (1e-9 USD).
    pub cost: i64,
    /// What providers took besides, nano-dollars, from the account's own keys with them.
    pub upstream_cost: i64,
    /// The durations from leaving to the first byte of the answer's body.
    pub first_byte: Histogram,
}

/// One line of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What it stands for, in the order of [`Question::by`].
    pub is: Vec<Value>,
    /// What was used.
    pub figures: Figures,
}

/// Answers `question` from the ledger in `directory`, also while another process writes it: the groups in the order of what
/// they stand for. Empty where there is no ledger yet.
///
/// Days that are over are read from their sums: a month costs some milliseconds, however many requests it had.
pub fn figures(directory: &Path, question: &Question) -> Result<Vec<Group>, QueryError> {
    read(directory, 3, |database| grouped(database, question))
}

/// The same of several questions, answered at one moment, in their order.
pub fn answers(directory: &Path, questions: &[Question]) -> Result<Vec<Vec<Group>>, QueryError> {
    let mut answers = read(directory, 3, |database| {
        let transaction = database.unchecked_transaction()?;
        questions.iter().map(|question| answer(&transaction, question)).collect::<Result<Vec<_>, _>>()
    })?;
    // No ledger is one without entries.
    answers.resize_with(questions.len(), Vec::new);
    Ok(answers)
}

/// When the ledger in `directory` began to count; none where there is none.
pub fn since(directory: &Path) -> Result<Option<Time>, QueryError> {
    read(directory, 3, |database| {
        let since = database.query_row("SELECT since_ms FROM state", [], |row| row.get(0))?;
        Ok(Some(since).filter(|since| *since > 0).map(Time))
    })
}

/// The first hour from `since` on in which each key was used, by its name, as far as the sums of hours tell; from the ledger in
/// `directory`.
pub fn first_used(directory: &Path, since: Time) -> Result<HashMap<String, Time>, QueryError> {
    read(directory, 3, |database| {
        let mut statement = database.prepare(
            "SELECT name, min(hour) FROM hours JOIN names ON names.id = key WHERE hour >= ?1 GROUP BY key",
        )?;
        let first = |row: &Row<'_>| Ok((row.get(0)?, Time(row.get::<_, i64>(1)?.saturating_mul(3_600_000))));
        statement.query_map([Hour::of(since).0], first)?.collect()
    })
}

/// Which sums are asked for: `hours` from `from` to `to`, and of them whole days from `days` where those are at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    from: Hour,
    to: Hour,
}

impl Span {
    fn of(question: &Question) -> Self {
        let from = question.since.map_or(Hour(i64::MIN), Hour::of);
        let to = question.until.map_or(Hour(i64::MAX), |until| Hour::of(Time(until.0.saturating_sub(1))));
        Self { from, to: Hour(to.0.saturating_add(1)) }
    }

    /// The days that lie in it whole, and of them those that `rolled` says are in `days`; as first and behind the last.
    fn days(self, rolled: Hour) -> (i64, i64) {
        let first = self.from.0.saturating_add(23).div_euclid(24);
        (first, self.to.0.min(rolled.0).div_euclid(24).max(first))
    }
}

/// Places of the dimensions in a row: hour or day, key, caller, model, status.
const PLACES: usize = 5;

/// A group while it is added up: numbers of what it is grouped by, in the order of [`PLACES`], 0 where it is not.
type Sums = HashMap<[i64; PLACES], Cell, foldhash::fast::RandomState>;

fn grouped(database: &Connection, question: &Question) -> Result<Vec<Group>, rusqlite::Error> {
    // One state of the database for all that is read.
    let transaction = database.unchecked_transaction()?;
    answer(&transaction, question)
}

fn answer(transaction: &Connection, question: &Question) -> Result<Vec<Group>, rusqlite::Error> {
    let filter = Filter::new(question);
    let mut adding = Adding { question, sums: Sums::default() };
    let span = Span::of(question);
    let rolled = transaction.query_row("SELECT rolled FROM state", [], |row| row.get(0).map(Hour))?;
    let wants_hours = question.by.contains(&By::Hour);
    let (first, behind) = if wants_hours { (0, 0) } else { span.days(rolled) };
    if first < behind {
        adding.read(transaction, "days", "day", (first, behind), &filter)?;
        let (first, behind) = (first.saturating_mul(24), behind * 24);
        adding.read(transaction, "hours", "hour", (span.from.0, first), &filter)?;
        adding.read(transaction, "hours", "hour", (behind, span.to.0), &filter)?;
    } else {
        adding.read(transaction, "hours", "hour", (span.from.0, span.to.0), &filter)?;
    }
    adding.read_tail(transaction, span, &filter)?;
    let names = Names::read(transaction, question, &adding.sums)?;
    Ok(adding.groups(&names))
}

/// What restricts the rows beside time, as SQL over key, caller, model and status.
pub(super) struct Filter(pub(super) String);

impl Filter {
    pub(super) fn new(question: &Question) -> Self {
        let mut sql = String::new();
        let filters = [("key", &question.keys), ("caller", &question.callers), ("model", &question.models)];
        for (column, patterns) in filters {
            if patterns.is_empty() {
                continue;
            }
            // There may be thousands of names, but hardly of patterns.
            let (patterns, names): (Vec<_>, Vec<_>) = patterns.iter().partition(|name| name.contains('*'));
            let names: Vec<_> = names.into_iter().map(|name| literal(name)).collect();
            let _ =
                write!(sql, " AND {column} IN (SELECT id FROM names WHERE name IN ({})", names.join(", "));
            for pattern in patterns {
                let _ = write!(sql, " OR name GLOB {}", glob(pattern));
            }
            sql.push(')');
        }
        if !question.statuses.is_empty() {
            let _ = write!(sql, " AND status IN ({})", listed(&question.statuses));
        }
        Self(sql)
    }
}

/// `pattern`, in which `*` alone is special, as a literal for GLOB.
fn glob(pattern: &str) -> String {
    // A set of one character stands for it.
    literal(&pattern.replace('[', "[[]").replace('?', "[?]"))
}

/// `text` as a literal. A zero byte would end what `SQLite` reads, and no name has one.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\0', "\u{fffd}").replace('\'', "''"))
}

fn listed(numbers: &[impl ToString]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Rows being added up.
struct Adding<'a> {
    question: &'a Question,
    sums: Sums,
}

impl Adding<'_> {
    /// Adds the rows of a table of sums whose `time` lies from the first to before the second of `span`.
    fn read(
        &mut self,
        database: &Connection,
        table: &str,
        time: &str,
        span: (i64, i64),
        filter: &Filter,
    ) -> Result<(), rusqlite::Error> {
        if span.0 >= span.1 {
            return Ok(());
        }
        let mut statement = database.prepare(&format!(
            "SELECT {time}, key, caller, model, status, first_byte, {}
             FROM {table} WHERE {time} >= ?1 AND {time} < ?2{}",
            FIGURES.join(", "),
            filter.0
        ))?;
        let mut rows = statement.query([span.0, span.1])?;
        while let Some(row) = rows.next()? {
            let cell = self.cell(row, if table == "days" { 24 } else { 1 })?;
            cell.sum += sum_of(row, PLACES + 1)?;
            if let Some(bytes) = row.get_ref(PLACES)?.as_blob_or_null()? {
                cell.first_byte.merge_encoded(bytes);
            }
        }
        Ok(())
    }

    /// Adds the entries that are not in the sums yet.
    fn read_tail(
        &mut self,
        database: &Connection,
        span: Span,
        filter: &Filter,
    ) -> Result<(), rusqlite::Error> {
        let mut statement = database.prepare(&format!(
            "SELECT hour, key, caller, model, status, first_byte_ms, {}
             FROM tail WHERE hour >= ?1 AND hour < ?2{}",
            FIGURES.join(", "),
            filter.0
        ))?;
        let mut rows = statement.query([span.from.0, span.to.0])?;
        while let Some(row) = rows.next()? {
            let cell = self.cell(row, 1)?;
            cell.sum += sum_of(row, PLACES + 1)?;
            if let Some(millis) = row.get(PLACES)? {
                cell.first_byte.count(millis);
            }
        }
        Ok(())
    }

    /// The group of a row whose time is so many hours long.
    fn cell(&mut self, row: &Row<'_>, hours: i64) -> Result<&mut Cell, rusqlite::Error> {
        let mut group = [0; PLACES];
        for by in &self.question.by {
            let (place, divided) = match by {
                By::Hour => (0, 1),
                // An hour of its own tells the day, too.
                By::Day if self.question.by.contains(&By::Hour) => (0, 1),
                By::Day => (0, 24 / hours),
                By::Key | By::Account => (1, 1),
                By::Caller => (2, 1),
                By::Model => (3, 1),
                By::Status => (4, 1),
            };
            group[place] = row.get::<_, i64>(place)?.div_euclid(divided);
        }
        Ok(self.sums.entry(group).or_default())
    }

    fn groups(self, names: &Names) -> Vec<Group> {
        let mut groups: BTreeMap<Vec<Value>, Cell> = BTreeMap::new();
        for (group, cell) in self.sums {
            let sum = groups
                .entry(self.question.by.iter().map(|by| names.value(self.question, *by, group)).collect());
            let sum = sum.or_default();
            sum.sum += cell.sum;
            sum.first_byte.merge(&cell.first_byte);
        }
        let used = groups.into_iter().filter(|(_, cell)| !cell.is_empty());
        used.map(|(is, cell)| Group { is, figures: Figures::of(cell) }).collect()
    }
}

/// The names that occur, by their ids.
struct Names(HashMap<i64, String>);

impl Names {
    fn read(database: &Connection, question: &Question, sums: &Sums) -> Result<Self, rusqlite::Error> {
        let has_name = |by: &By| matches!(by, By::Key | By::Account | By::Caller | By::Model);
        let mut names = HashMap::new();
        if question.by.iter().any(has_name) {
            let mut find = database.prepare("SELECT name FROM names WHERE id = ?1")?;
            for id in sums.keys().flat_map(|group| &group[1..4]) {
                if *id != 0 && !names.contains_key(id) {
                    names.insert(*id, find.query_row([id], |row| row.get(0))?);
                }
            }
        }
        Ok(Self(names))
    }

    fn value(&self, question: &Question, by: By, group: [i64; PLACES]) -> Value {
        let name = |place: usize| self.0.get(&group[place]).cloned().unwrap_or_default();
        match by {
            By::Key => Value::Name(name(1)),
            By::Caller => Value::Name(name(2)),
            By::Model => Value::Name(name(3)),
            By::Account => {
                let key = name(1);
                Value::Name(question.accounts.get(&key).cloned().unwrap_or(key))
            }
            By::Hour => Value::Hour(Time(group[0].saturating_mul(3_600_000))),
            By::Day if question.by.contains(&By::Hour) => Value::Day(Hour(group[0]).day()),
            By::Day => Value::Day(Day(i32::try_from(group[0]).unwrap_or(i32::MAX))),
            By::Status => Value::Status(u16::try_from(group[4]).ok().filter(|status| *status != 0)),
        }
    }
}

impl Figures {
    fn of(Cell { sum, first_byte }: Cell) -> Self {
        let Sum {
            requests,
            attempts,
            failed,
            waits,
            unsettled,
            prompt,
            completion,
            reasoning,
            cached,
            cache_write,
            cost,
            upstream_cost,
        } = sum;
        let count = |count: i64| u64::try_from(count).unwrap_or(0);
        Self {
            requests: count(requests),
            attempts: count(attempts),
            errors: count(failed),
            waits: count(waits),
            unsettled: count(unsettled),
            prompt_tokens: count(prompt),
            completion_tokens: count(completion),
            reasoning_tokens: count(reasoning),
            cached_tokens: count(cached),
            cache_write_tokens: count(cache_write),
            cost,
            upstream_cost,
            first_byte,
        }
    }

    /// Adds `other`, for totals of groups.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.attempts += other.attempts;
        self.errors += other.errors;
        self.waits += other.waits;
        self.unsettled += other.unsettled;
        self.prompt_tokens += other.prompt_tokens;
        self.completion_tokens += other.completion_tokens;
        self.reasoning_tokens += other.reasoning_tokens;
        self.cached_tokens += other.cached_tokens;
        self.cache_write_tokens += other.cache_write_tokens;
        self.cost = self.cost.saturating_add(other.cost);
        self.upstream_cost = self.upstream_cost.saturating_add(other.upstream_cost);
        self.first_byte.merge(&other.first_byte);
    }
}

#[cfg(test)]
mod tests {
    use super::{Hour, Question, Span};
    use crate::clock::{Day, Time};

    #[test]
    fn whole_days_are_read_from_days_and_the_rest_from_hours() {
        let at = |day: i32, hour: i64| Some(Time(Day(day).start().0 + hour * 3_600_000));
        let span = |since, until| Span::of(&Question { since, until, ..Question::default() });
        let rolled = Hour(100 * 24 + 5);
        for (since, until, days) in [
            (None, None, (i64::MIN.saturating_add(23).div_euclid(24), 100)),
            (at(90, 0), at(95, 0), (90, 95)),
            (at(90, 1), at(95, 23), (91, 95)),
            (at(99, 0), at(101, 0), (99, 100)),
            (at(90, 1), at(90, 23), (91, 91)),
            (at(100, 0), None, (100, 100)),
        ] {
            assert_eq!(span(since, until).days(rolled), days, "{since:?} {until:?}");
        }
        let part = span(Some(Time(1)), Some(Time(3_600_001)));
        assert_eq!(part, Span { from: Hour(0), to: Hour(2) }, "hours that are only touched count whole");
    }
}
