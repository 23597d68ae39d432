//! Tests of the sums by hour and day, what is asked of them, and what goes when it is old.

use std::sync::atomic::Ordering;

use super::*;
use crate::ledger::query::{By, Figures, Group, Question, Value, figures, since};

const HOUR_MS: i64 = 3_600_000;

pub(super) fn at(day: i32, hour: i64) -> Time {
    Time(Day(TODAY.0 + day).start().0 + hour * HOUR_MS + 1)
}

/// One attempt that left at `at`, waited `waited_ms`, and whose answer had `status` and began after `first_byte_ms`.
pub(super) fn attempt(ledger: &Ledger, key: &str, at: Time, status: u16, first_byte_ms: u64) {
    let mut entry = ledger.entry(Opening { waited: Duration::from_millis(3), ..opening(ledger, key, at) });
    use_some(&mut entry);
    entry.report.status = Some(status);
    entry.report.first_byte = Some(Duration::from_millis(first_byte_ms));
    entry.finish(if status < 400 { Outcome::Complete } else { Outcome::Failed });
}

pub(super) fn ask(directory: &Path, question: &Question) -> Vec<Group> {
    figures(directory, question).unwrap()
}

pub(super) fn by(by: &[By]) -> Question {
    Question { by: by.to_vec(), ..Question::default() }
}

/// What groups are and how many attempts they have.
fn attempts(groups: Vec<Group>) -> Vec<(Vec<Value>, u64)> {
    groups.into_iter().map(|group| (group.is, group.figures.attempts)).collect()
}

fn total(directory: &Path, question: &Question) -> Figures {
    ask(directory, question).pop().map(|group| group.figures).unwrap_or_default()
}

/// Has everything summed and all hours that are over at `now` in their days.
pub(super) fn tidied(directory: &Path, now: Time) {
    let mut store = super::super::store::Store::open(&directory.join("ledger.db")).unwrap().0;
    store.sum_tail().unwrap();
    while store.roll(now).unwrap() {}
}

#[test]
fn figures_are_the_same_from_entries_hours_and_days() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    assert_eq!(ask(directory, &by(&[])), []);
    let ledger = Ledger::open(directory, noon()).unwrap();
    for (day, hour) in [(-2, 0), (-2, 23), (-1, 5), (-1, 5), (0, 1), (0, 11), (0, 12)] {
        attempt(&ledger, "a", at(day, hour), 200, 100);
        attempt(&ledger, "b", at(day, hour), if hour == 5 { 429 } else { 200 }, 900);
    }
    assert!(ledger.close(LONG));

    let check = || {
        let name = |name: &str| Value::Name(name.to_owned());
        let all = total(directory, &by(&[]));
        assert_eq!((all.requests, all.attempts, all.errors, all.waits), (14, 14, 2, 14));
        let millis = |percent| all.first_byte.percentile(percent).unwrap().as_millis();
        assert!((94..=106).contains(&millis(50)) && (846..=954).contains(&millis(95)), "{}", millis(95));
        let days = [(-2, 4), (-1, 4), (0, 6)].map(|(day, n)| (vec![Value::Day(Day(TODAY.0 + day))], n));
        assert_eq!(attempts(ask(directory, &by(&[By::Day]))), days);
        assert_eq!(
            attempts(ask(directory, &by(&[By::Status, By::Key]))),
            [
                (vec![Value::Status(Some(200)), name("a")], 7),
                (vec![Value::Status(Some(200)), name("b")], 5),
                (vec![Value::Status(Some(429)), name("b")], 2),
            ]
        );
        let today = Question { since: Some(TODAY.start()), ..by(&[By::Hour]) };
        let hours = [1, 11, 12].map(|hour| (vec![Value::Hour(Time(at(0, hour).0 - 1))], 2));
        assert_eq!(attempts(ask(directory, &today)), hours);
        // From within one day into another.
        let part = Question { since: Some(at(-2, 1)), until: Some(at(0, 1)), ..by(&[]) };
        assert_eq!(total(directory, &part).attempts, 2 + 4 + 2, "an hour that is touched counts whole");
        let part = Question { until: Some(TODAY.start()), keys: vec!["b".to_owned()], ..part };
        assert_eq!(total(directory, &part).attempts, 1 + 2);
        let refused = Question { statuses: vec![429], ..by(&[]) };
        assert_eq!(total(directory, &refused).errors, 2);
        let nobody = Question { keys: vec!["z".to_owned()], ..by(&[]) };
        assert_eq!(ask(directory, &nobody), []);
        let accounts =
            [("a", "one"), ("b", "one")].map(|(key, account)| (key.to_owned(), account.to_owned()));
        let question = Question { accounts: accounts.into(), ..by(&[By::Account]) };
        assert_eq!(attempts(ask(directory, &question)), [(vec![name("one")], 14)]);
        let cost: i64 =
            ask(directory, &by(&[By::Caller, By::Model])).iter().map(|group| group.figures.cost).sum();
        assert_eq!(cost, all.cost);
        assert!(cost > 0);
    };
    check();
    tidied(directory, at(-1, 6));
    assert_eq!(count(directory, "SELECT count(*) FROM days"), 4, "two keys, each on two days");
    check();
    tidied(directory, at(0, 12));
    check();
    assert_eq!(since(directory).unwrap(), Some(noon().now()));
}

#[test]
fn what_comes_late_is_added_to_an_hour_and_its_day() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(directory.path(), noon()).unwrap();
    let mut late = ledger.entry(opening(&ledger, "a", at(-1, 3)));
    assert!(ledger.flush(LONG));
    drop(std::mem::replace(&mut late, ledger.entry(opening(&ledger, "a", at(-1, 3)))));
    assert!(ledger.close(LONG));
    drop(late);
    tidied(directory.path(), noon().now());
    let ledger = Ledger::open(directory.path(), noon()).unwrap();
    attempt(&ledger, "a", at(-1, 3), 200, 5);
    assert!(ledger.close(LONG));
    tidied(directory.path(), noon().now());
    let hours = "SELECT sum(attempts) || ' ' || sum(cost) FROM hours";
    let text =
        |sql: &str| database(directory.path()).query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(text(hours), text(&hours.replace("hours", "days")));
    assert_eq!(total(directory.path(), &by(&[])).attempts, 3);
}

#[test]
fn entries_that_are_too_old_go_and_their_sums_stay() {
    let directory = tempfile::tempdir().unwrap();
    let clock = noon();
    let ledger = Ledger::open(directory.path(), clock.clone()).unwrap();
    ledger.keep(Duration::from_secs(2 * 86_400));
    for day in -3..=0 {
        (0..1_000).for_each(|_| attempt(&ledger, "a", at(day, 3), 200, 5));
    }
    assert!(ledger.flush(LONG));
    until("two days' entries are gone and two days are summed", || {
        let rows = count(directory.path(), "SELECT count(*) FROM entries");
        rows == 2_000 && count(directory.path(), "SELECT count(*) FROM days") == 4
    });
    assert_eq!(total(directory.path(), &by(&[])).attempts, 4_000);
    let newest = count(directory.path(), "SELECT max(id) FROM entries");
    clock.set(at(30, 0));
    assert!(ledger.close(LONG));
    let mut store = super::super::store::Store::open(&directory.path().join("ledger.db")).unwrap().0;
    store.sum_tail().unwrap();
    while store.trim(clock.now()).unwrap() {}
    assert_eq!(count(directory.path(), "SELECT min(id) FROM entries"), newest, "no id is given twice");
    assert_eq!(total(directory.path(), &by(&[])).attempts, 4_000);
}

#[test]
fn an_attempt_moves_from_no_status_to_its_answers() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(directory.path(), noon()).unwrap();
    let now = noon().now();
    let mut first = entry(&ledger, "a");
    assert!(ledger.flush(LONG));
    first.report.status = Some(429);
    first.finish(Outcome::Failed);
    let previous = Some(Previous { key: Arc::from("a"), at: now, status: Some(429) });
    let mut second = ledger.entry(Opening { number: 2, previous, ..opening(&ledger, "b", now) });
    assert!(ledger.flush(LONG));
    let groups = |directory: &Path| {
        let rows = ask(directory, &by(&[By::Key, By::Status])).into_iter();
        rows.map(|Group { is, figures }| (is[1].clone(), figures.requests, figures.attempts))
            .collect::<Vec<_>>()
    };
    assert_eq!(groups(directory.path()), [(Value::Status(Some(429)), 0, 1), (Value::Status(None), 1, 1)]);
    second.report.status = Some(200);
    second.finish(Outcome::Complete);
    assert!(ledger.flush(LONG));
    let all = [(Value::Status(Some(429)), 0, 1), (Value::Status(Some(200)), 1, 1)];
    assert_eq!(groups(directory.path()), all);
    assert_eq!(ledger.0.shared.spilled(), 0);
    assert!(ledger.0.shared.writable.load(Ordering::Relaxed) && ledger.close(LONG));
    tidied(directory.path(), at(1, 0));
    assert_eq!(groups(directory.path()), all);
}
