//! `kill -9` under load: what had happened some time before is in the ledger, once, and is settled after the next start.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hermux::simulator::{Pace, Scenario};
use rusqlite::Connection;

use crate::support::eventually;
use crate::{load, number, scene};

/// Kills hermux so often under load, and looks after each time for what happened more than `margin` before.
fn killed(times: u32, margin: Duration, busy: Duration) {
    let pace = Pace { token: Duration::from_millis(2), ..Pace::default() };
    let (simulator, setup) = scene(&["a", "b", "c"], |scenario| Scenario { pace, ..scenario });
    let data = setup.data();
    let mut hermux = setup.start();
    for round in 0..times {
        let seen = simulator.attempts().len();
        let before = number(&data, "SELECT ifnull(sum(attempts), 0) FROM totals");
        let stop = Arc::new(AtomicBool::new(false));
        let (address, stopping) = (hermux.address(), Arc::clone(&stop));
        let load = thread::spawn(move || load::run(address, 8, usize::MAX, &stopping));
        thread::sleep(busy + Duration::from_millis(u64::from(round) * 37 % 100));
        let kill = Instant::now();
        hermux.signal("KILL");
        hermux.wait();
        stop.store(true, Ordering::Relaxed);
        let whole = load.join().unwrap();

        let database = Connection::open(data.join("ledger.db")).unwrap();
        let mut find = database.prepare("SELECT outcome FROM entries WHERE generation = ?1").unwrap();
        let mut outcomes = |generation: &str| {
            let rows = find.query_map([generation], |row| row.get::<_, Option<i64>>(0)).unwrap();
            rows.collect::<Result<Vec<_>, _>>().unwrap()
        };
        let mut ended = 0;
        for (generation, at) in &whole {
            let found = outcomes(generation);
            assert!(found.len() <= 1, "round {round}: twice: {generation}");
            if *at + margin <= kill {
                ended += 1;
                assert_eq!(found, [Some(0)], "round {round}: {generation} ended {:?} before", kill - *at);
            }
        }
        assert!(ended > 0, "round {round}: nothing ended in time to be looked for");
        // Of earlier rounds what was too young at their kills is missing for good.
        let attempts = simulator.attempts();
        let attempts: Vec<_> =
            attempts[seen..].iter().filter(|attempt| attempt.method == http::Method::POST).collect();
        let left = attempts.iter().filter(|attempt| attempt.arrived + margin <= kill).count();
        let counted = number(&data, "SELECT sum(attempts) FROM totals") - before;
        assert!(
            counted >= i64::try_from(left).unwrap(),
            "round {round}: {left} had left, {counted} are counted"
        );

        hermux = hermux.restart();
        eventually("nothing waits to be settled", || {
            (number(&data, "SELECT count(*) FROM settling") == 0
                && number(&data, "SELECT count(*) FROM entries WHERE outcome IS NULL") == 0)
                .then_some(())
        });
        let mut known = 0;
        for attempt in attempts {
            let Some(generation) = &attempt.generation else { continue };
            let rows =
                number(&data, &format!("SELECT count(*) FROM entries WHERE generation = '{generation}'"));
            assert!(rows <= 1, "round {round}: twice: {generation}");
            // Its head takes a moment to come here.
            if attempt.answered.is_some_and(|answered| answered + 2 * margin <= kill) {
                known += 1;
                let costs = format!("SELECT count(cost) FROM entries WHERE generation = '{generation}'");
                assert_eq!(number(&data, &costs), 1, "round {round}: not settled: {generation}");
            }
        }
        assert!(known > 0);
    }
    let cost = number(&data, "SELECT sum(cost) FROM totals");
    let billed: i64 = simulator.usage().iter().map(|key| key.cost).sum();
    assert!(0 < cost && cost <= billed, "nothing is counted twice: {cost} of {billed}");
}

#[test]
fn two_kills_under_load_lose_nothing_that_was_a_second_old() {
    killed(2, Duration::from_secs(1), Duration::from_secs(4));
}

#[test]
#[ignore = "takes minutes: run by `just slow`"]
fn twenty_kills_under_load_lose_nothing_that_was_100_ms_old() {
    killed(20, Duration::from_millis(100), Duration::from_millis(1_500));
}
