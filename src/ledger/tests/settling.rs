//! Tests of the queue of costs that answers did not tell.

use super::*;
use crate::ledger::query::{Figures, Question, figures};
use crate::ledger::{Found, Unsettled};

/// An entry that its caller left, with some tokens known and no cost.
fn left(ledger: &Ledger, generation: &str) {
    let mut entry = entry(ledger, "a");
    entry.report.status = Some(200);
    entry.report.usage.prompt_tokens = Some(10);
    entry.report.generation = Some(generation.into());
    entry.finish(Outcome::Cancelled);
}

fn settling(directory: &Path) -> Ledger {
    let ledger = Ledger::open(directory, noon()).unwrap();
    ledger.settles();
    ledger
}

fn total(directory: &Path) -> Figures {
    figures(directory, &Question::default()).unwrap().pop().unwrap().figures
}

fn found() -> Found {
    Found::Usage(Box::new(Usage {
        prompt_tokens: Some(12),
        completion_tokens: Some(5),
        cost: Some(700),
        upstream_cost: Some(3),
        ..Usage::default()
    }))
}

fn queue(ledger: &Ledger) -> Vec<Unsettled> {
    assert!(ledger.flush(LONG));
    ledger.unsettled(100)
}

#[test]
fn a_cost_that_is_told_late_is_counted_once() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = settling(directory.path());
    let news = ledger.unsettled_news();
    left(&ledger, "gen-1");
    one(&ledger, "a");
    let waiting = queue(&ledger);
    assert!(ledger.unsettled_news() > news);
    let [entry] = waiting.as_slice() else { panic!("{waiting:?}") };
    assert_eq!((entry.key.as_str(), entry.generation.as_str(), entry.tries), ("a", "gen-1", 0));
    assert_eq!((entry.caller.as_str(), entry.at), ("caller", noon().now()));
    assert_eq!(entry.due.since(noon().now()), Duration::from_millis(500));
    (0..3).for_each(|_| ledger.settle(entry, found()));
    assert!(queue(&ledger).is_empty());
    ledger.settle(entry, found());
    ledger.settle(entry, Found::Never);
    assert!(ledger.close(LONG));
    let sum = total(directory.path());
    assert_eq!((sum.prompt_tokens, sum.completion_tokens), (10 + 12, 3 + 5));
    assert_eq!((sum.cost, sum.upstream_cost, sum.unsettled), (701, 3, 0));
    let row = "SELECT prompt_tokens || ' ' || cost || ' ' || settled FROM entries WHERE generation = 'gen-1'";
    assert_eq!(
        database(directory.path()).query_row(row, [], |row| row.get::<_, String>(0)).unwrap(),
        "12 700 1"
    );
}

#[test]
fn the_queue_outlives_the_process_with_its_tries() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = settling(directory.path());
    left(&ledger, "gen-1");
    left(&ledger, "gen-2");
    let entries = queue(&ledger);
    ledger.settle(&entries[0], Found::Later { due: Time(noon().now().0 + 60_000), tries: 3 });
    assert!(ledger.close(LONG));
    let ledger = settling(directory.path());
    let waiting = queue(&ledger);
    let shown: Vec<_> = waiting.iter().map(|entry| (entry.generation.as_str(), entry.tries)).collect();
    assert_eq!(shown, [("gen-2", 0), ("gen-1", 3)], "in the order in which they are due");
    for entry in &waiting {
        ledger.settle(entry, Found::Never);
    }
    assert!(queue(&ledger).is_empty());
    assert_eq!((total(directory.path()).unsettled, total(directory.path()).cost), (2, 0));
}

#[test]
fn an_open_entry_whose_generation_is_known_is_queued_when_its_process_died() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = settling(directory.path());
    let mut told = entry(&ledger, "a");
    told.report.generation = Some("gen-1".into());
    assert!(ledger.flush(LONG));
    told.waits();
    told.waits();
    let untold = entry(&ledger, "b");
    let mut same_batch = entry(&ledger, "a");
    same_batch.report.generation = Some("gen-2".into());
    same_batch.waits();
    let mut over = entry(&ledger, "a");
    over.report.generation = Some("gen-3".into());
    over.waits();
    over.report.usage.cost = Some(5);
    over.finish(Outcome::Complete);
    // What is not written when the process goes is what a kill leaves open.
    assert!(ledger.close(LONG));
    drop((told, untold, same_batch));
    let ledger = settling(directory.path());
    let mut waiting: Vec<_> = queue(&ledger).into_iter().map(|entry| entry.generation).collect();
    waiting.sort();
    assert_eq!(waiting, ["gen-1", "gen-2"]);
    assert_eq!(total(directory.path()).unsettled, 1, "of the other nothing can be asked");
    assert_eq!(count(directory.path(), "SELECT count(*) FROM entries WHERE outcome = 3"), 3);
}

#[test]
fn what_costs_nothing_or_told_its_cost_is_not_queued() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = settling(directory.path());
    let end = |status: Option<u16>, generation: bool, outcome: Outcome, change: fn(&mut OpenEntry)| {
        let mut entry = entry(&ledger, "a");
        entry.report.status = status;
        entry.report.generation = generation.then(|| "gen-1".into());
        change(&mut entry);
        entry.finish(outcome);
    };
    end(Some(200), true, Outcome::Complete, |entry| entry.report.usage.cost = Some(0));
    end(Some(429), true, Outcome::Failed, |_| ());
    end(Some(200), false, Outcome::Failed, |_| ());
    end(Some(200), true, Outcome::Failed, |entry| entry.report.free = true);
    end(None, false, Outcome::Failed, |_| ());
    ledger
        .entry(Opening { inference: false, ..opening(&ledger, "a", noon().now()) })
        .finish(Outcome::Complete);
    assert_eq!(queue(&ledger), []);
    assert_eq!(total(directory.path()).unsettled, 0);
    // Left before the head: it may have been billed, and nobody can tell.
    end(None, false, Outcome::Cancelled, |_| ());
    end(Some(200), false, Outcome::Complete, |_| ());
    assert_eq!(queue(&ledger), []);
    assert_eq!(total(directory.path()).unsettled, 2);
}

#[test]
fn a_ledger_that_was_replaced_takes_nothing_for_another_entry() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = settling(directory.path());
    left(&ledger, "gen-1");
    let entry = queue(&ledger).remove(0);
    fs::remove_file(directory.path().join("ledger.db")).unwrap();
    left(&ledger, "gen-2");
    assert_eq!(queue(&ledger)[0].generation, "gen-2");
    ledger.settle(&entry, found());
    assert_eq!(queue(&ledger).len(), 1);
    assert!(ledger.close(LONG));
    assert_eq!(total(directory.path()).cost, 0);
}
