//! Tests of the sums of hours by one dimension alone: that they are those of the cells, whatever comes late.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::hours::{ask, at, attempt, by, tidied};
use super::*;
use crate::ledger::Found;
use crate::ledger::query::{By, Figures, Group, QueryError, Question, Value, answers, figures, since};

/// One request of an hour of today, or of yesterday where it is negative.
#[derive(Clone, Debug)]
struct Sent {
    hour: i64,
    key: &'static str,
    caller: &'static str,
    model: &'static str,
    status: u16,
    first_byte_ms: u64,
    end: End,
}

/// How a request ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// Its answer tells all.
    Told,
    /// Its cost is fetched later.
    Left,
    /// It is open when its process dies.
    Lost,
    /// An attempt with the key `b` follows in the next hour.
    Again,
}

fn sent() -> impl Strategy<Value = Sent> {
    let names = (
        prop::sample::select(vec!["a", "b", "bb"]),
        prop::sample::select(vec!["", "ann", "ben"]),
        prop::sample::select(vec!["x", "y:free"]),
    );
    let end = prop::sample::select(vec![End::Told, End::Left, End::Lost, End::Again]);
    let status = prop::sample::select(vec![200, 429, 502]);
    (-3..6_i64, names, status, 0..3_000_u64, end).prop_map(|(hour, names, status, first_byte_ms, end)| {
        let (key, caller, model) = names;
        Sent { hour, key, caller, model, status, first_byte_ms, end }
    })
}

impl Sent {
    /// Sends it; what stays open goes to `open`.
    fn send(&self, ledger: &Ledger, open: &mut Vec<OpenEntry>) {
        let opening = Opening {
            caller: Arc::from(self.caller),
            model: Arc::from(self.model),
            ..opening(ledger, self.key, at(0, self.hour))
        };
        let mut entry = ledger.entry(opening.clone());
        entry.report.status = Some(self.status);
        entry.report.first_byte = Some(Duration::from_millis(self.first_byte_ms));
        match self.end {
            End::Lost => open.push(entry),
            End::Left => {
                entry.report.status = Some(200);
                entry.report.generation = Some("gen".into());
                entry.finish(Outcome::Cancelled);
            }
            End::Told | End::Again => {
                use_some(&mut entry);
                entry.finish(if self.status < 400 { Outcome::Complete } else { Outcome::Failed });
            }
        }
        if matches!(self.end, End::Again) {
            let previous =
                Some(Previous { key: opening.key.clone(), at: opening.at, status: Some(self.status) });
            let next = at(0, self.hour + 1);
            let next = Opening { number: 2, at: next, key: Arc::from("b"), previous, ..opening };
            ledger.entry(next).finish(Outcome::Complete);
        }
    }
}

/// Settles half of the queue, and gives up the other.
fn settle(ledger: &Ledger) {
    assert!(ledger.flush(LONG));
    for (number, entry) in (0..).zip(ledger.unsettled(1_000)) {
        let usage = Usage { prompt_tokens: Some(7), cost: Some(1_000 + number), ..Usage::default() };
        let found = if number % 2 == 0 { Found::Usage(Box::new(usage)) } else { Found::Never };
        ledger.settle(&entry, found);
    }
    assert!(ledger.flush(LONG));
}

/// By time and one thing more at most, of all and of some.
fn questions() -> Vec<Question> {
    let groupings: [&[By]; 11] = [
        &[],
        &[By::Day],
        &[By::Key],
        &[By::Model],
        &[By::Hour],
        &[By::Hour, By::Day],
        &[By::Hour, By::Key],
        &[By::Account, By::Hour],
        &[By::Hour, By::Caller],
        &[By::Day, By::Model, By::Hour],
        &[By::Hour, By::Status],
    ];
    let named = |name: &str| vec![name.to_owned()];
    let restrictions = [
        Question::default(),
        Question { keys: named("b*"), ..Question::default() },
        Question { callers: named("ann"), ..Question::default() },
        Question { models: named("x"), ..Question::default() },
        Question { statuses: vec![0, 429], ..Question::default() },
        Question { since: Some(at(0, -1)), until: Some(at(0, 3)), ..Question::default() },
    ];
    let accounts = [("b".to_owned(), "a".to_owned())];
    let all = restrictions.iter().flat_map(|some| {
        let accounts = accounts.clone();
        groupings.map(move |by| Question {
            by: by.to_vec(),
            accounts: accounts.clone().into(),
            ..some.clone()
        })
    });
    all.collect()
}

const CELL: [By; 5] = [By::Hour, By::Key, By::Caller, By::Model, By::Status];

/// The answer to `question`, added up from `cells`, groups by each of [`CELL`].
fn added_up(cells: &[Group], question: &Question) -> Vec<Group> {
    let mut groups: BTreeMap<Vec<Value>, Figures> = BTreeMap::new();
    for Group { is: cell, figures } in cells {
        let [Value::Hour(hour), key, caller, model, status] = cell.as_slice() else { panic!("{cell:?}") };
        let fits = |patterns: &[String], name: &Value| {
            let Value::Name(name) = name else { panic!("{name:?}") };
            let is_it = |pattern: &String| match pattern.strip_suffix('*') {
                Some(front) => name.starts_with(front),
                None => name == pattern,
            };
            patterns.is_empty() || patterns.iter().any(is_it)
        };
        let Value::Status(number) = status else { panic!("{status:?}") };
        let statuses = &question.statuses;
        let is_asked_for = question.since.is_none_or(|since| since.0 < hour.0 + 3_600_000)
            && question.until.is_none_or(|until| until > *hour)
            && fits(&question.keys, key)
            && fits(&question.callers, caller)
            && fits(&question.models, model)
            && (statuses.is_empty() || statuses.contains(&number.unwrap_or_default()));
        if !is_asked_for {
            continue;
        }
        let value = |by: &By| match (by, key) {
            (By::Hour, _) => Value::Hour(*hour),
            (By::Day, _) => Value::Day(hour.day()),
            (By::Caller, _) => caller.clone(),
            (By::Model, _) => model.clone(),
            (By::Status, _) => status.clone(),
            (By::Account, Value::Name(name)) => {
                Value::Name(question.accounts.get(name).unwrap_or(name).clone())
            }
            (By::Key | By::Account, _) => key.clone(),
        };
        groups.entry(question.by.iter().map(value).collect()).or_default().add(figures);
    }
    groups.into_iter().map(|(is, figures)| Group { is, figures }).collect()
}

/// Asks all questions, and adds the answers up from cells as well.
fn compare(directory: &Path) {
    let (questions, cells) = (questions(), ask(directory, &by(&CELL)));
    for (answer, question) in answers(directory, &questions).unwrap().into_iter().zip(&questions) {
        assert_eq!(answer, added_up(&cells, question), "{question:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn by_one_dimension_hours_are_their_cells_added_up(
        before in prop::collection::vec(sent(), 1..40),
        late in prop::collection::vec(sent(), 0..20),
        rolled in -2..7_i64,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let clock = Clock::fixed(at(0, rolled));
        let send = |all: &[Sent]| {
            let ledger = Ledger::open(directory, clock.clone()).unwrap();
            ledger.settles();
            let mut open = Vec::new();
            for sent in all {
                sent.send(&ledger, &mut open);
            }
            assert!(ledger.flush(LONG));
            (ledger, open)
        };
        let (ledger, open) = send(&before);
        assert!(ledger.close(LONG));
        drop(open);
        tidied(directory, at(0, rolled));
        compare(directory);

        let (ledger, mut open) = send(&late);
        compare(directory);
        settle(&ledger);
        compare(directory);
        // Settling adds the tail to the sums, so these are all that the next to open it finds there.
        for sent in &late {
            sent.send(&ledger, &mut open);
        }
        assert!(ledger.close(LONG));
        drop(open);
        for hour in [rolled, 8] {
            tidied(directory, at(0, hour));
            compare(directory);
        }
    }
}

/// All that is in `marginals`.
fn marginals(directory: &Path) -> Vec<String> {
    let database = database(directory);
    let mut statement = database
        .prepare(
            "SELECT concat_ws(' ', dimension, hour, id, requests, attempts, failed, waits, unsettled, prompt_tokens,
                completion_tokens, reasoning_tokens, cached_tokens, cache_write_tokens, cost, upstream_cost,
                hex(first_byte)) FROM marginals",
        )
        .unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

/// Two keys and two statuses in each of two hours that are over, and in one that runs.
fn three_hours(directory: &Path) {
    let ledger = Ledger::open(directory, noon()).unwrap();
    for hour in [10, 11, 12] {
        attempt(&ledger, "a", at(0, hour), 200, 100);
        attempt(&ledger, "b", at(0, hour), 429, 900);
    }
    assert!(ledger.close(LONG));
}

#[test]
fn nothing_is_written_by_one_dimension_while_the_hour_runs() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    three_hours(directory);
    tidied(directory, at(0, 10));
    assert_eq!(count(directory, "SELECT count(*) FROM hours"), 6, "they are in the sums");
    assert_eq!(marginals(directory), [""; 0]);
    tidied(directory, noon().now());
    // All, two keys, a caller, a model and two statuses.
    assert_eq!(marginals(directory).len(), 2 * (1 + 2 + 1 + 1 + 2));
    let running = format!("SELECT count(*) FROM marginals WHERE hour >= {}", noon().now().0 / 3_600_000);
    assert_eq!(count(directory, &running), 0);
}

#[test]
fn hours_that_are_over_are_read_without_their_cells() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    three_hours(directory);
    tidied(directory, noon().now());
    let mut before = Vec::new();
    for question in questions().into_iter().filter(|question| question.by.contains(&By::Hour)) {
        // Grouped by one dimension and restricted to another, it is a question to the cells.
        let by: Vec<_> = question.by.iter().filter(|by| !matches!(by, By::Hour | By::Day)).collect();
        let restricted = [
            (!question.keys.is_empty()).then_some([By::Key, By::Account]),
            (!question.callers.is_empty()).then_some([By::Caller; 2]),
            (!question.models.is_empty()).then_some([By::Model; 2]),
            (!question.statuses.is_empty()).then_some([By::Status; 2]),
        ];
        let mut restricted = restricted.iter().flatten();
        if restricted.all(|these| by.iter().all(|by| these.contains(by))) {
            before.push((ask(directory, &question), question));
        }
    }
    assert!(before.len() > 20, "{}", before.len());
    database(directory).execute("DELETE FROM hours WHERE hour < (SELECT rolled FROM state)", []).unwrap();
    for (answer, question) in before {
        assert_eq!(ask(directory, &question), answer, "{question:?}");
    }
}

#[test]
fn a_database_of_form_3_is_brought_up_and_answers_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    three_hours(directory);
    tidied(directory, noon().now());
    let (before, answer) = (marginals(directory), ask(directory, &by(&[By::Hour])));
    assert_eq!((before.len(), answer.len()), (14, 3));
    database(directory).execute_batch("DROP TABLE marginals; PRAGMA user_version = 3").unwrap();
    let is_older = |error: &QueryError| matches!(error, QueryError::Older { found: 3, .. });
    assert!(figures(directory, &by(&[By::Hour])).is_err_and(|error| is_older(&error)));
    let told = since(directory).is_err_and(|error| is_older(&error));
    assert!(told, "figures and when they begin are told together or not at all");
    for _ in 0..2 {
        assert!(Ledger::open(directory, noon()).unwrap().close(LONG));
        assert_eq!(count(directory, "PRAGMA user_version"), 4);
        assert_eq!(marginals(directory), before);
        assert_eq!(ask(directory, &by(&[By::Hour])), answer);
    }
}
