//! Mixed requests with cuts, leaves, retries and errors: both books agree to the last digit.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use hermux::simulator::{After, Close, Fault, Pace, Scenario, Then, errors};

use crate::{billed, by_key, counted, load, number, scene};

/// Faults of each kind for some of a thousand requests.
fn troubled(scenario: Scenario) -> Scenario {
    let faults = [
        Fault::new(Then::Cut(After::Events(3), Close::Rst)).of_a_thousand(40, 1),
        Fault::new(Then::EndAfter(After::Events(2))).of_a_thousand(20, 2),
        Fault::new(Then::ErrorAfter(After::Events(2), errors::plain(502))).of_a_thousand(30, 3),
        Fault::new(Then::Deny(errors::plain(502))).of_a_thousand(40, 4),
        Fault::new(Then::DenyInside(errors::plain(429))).of_a_thousand(20, 5),
        Fault::new(Then::Split(7)).of_a_thousand(100, 6),
    ];
    let pace = Pace { token: Duration::from_millis(1), ..Pace::default() };
    let scenario = Scenario { pace, generation_delay: Duration::from_millis(300), ..scenario };
    faults.into_iter().fold(scenario, |scenario, fault| {
        let inference = |attempt: &hermux::simulator::Attempt| attempt.method == http::Method::POST;
        scenario.fault(fault.matching(inference))
    })
}

fn agree_after(requests: usize, callers: usize, patience: Duration) {
    let (simulator, setup) = scene(&["a", "b", "c", "d"], troubled);
    let hermux = setup.start();
    load::run(hermux.address(), callers, requests, &Arc::new(AtomicBool::new(false)));
    let data = hermux.setup().data();
    let start = Instant::now();
    while counted(&data) != billed(&simulator) {
        assert!(start.elapsed() < patience, "{:#?}\n{:#?}", counted(&data), billed(&simulator));
        std::thread::sleep(Duration::from_millis(50));
    }
    let figures = by_key(&data);
    let sum = |of: fn(&hermux::ledger::query::Figures) -> u64| figures.values().map(of).sum::<u64>();
    assert_eq!(sum(|it| it.requests), requests as u64);
    assert!(
        sum(|it| it.errors) > 0 && sum(|it| it.attempts) > requests as u64,
        "some failed and were retried"
    );
    assert_eq!(sum(|it| it.unsettled), 0);
    // What was sent on a connection that was dead already is counted and never came anywhere.
    let unheard = number(&data, "SELECT count(*) FROM entries WHERE outcome = 1 AND status IS NULL");
    let inference =
        simulator.attempts().into_iter().filter(|attempt| attempt.method == http::Method::POST).count();
    assert_eq!(
        sum(|it| it.attempts),
        inference as u64 + unheard.unsigned_abs(),
        "every attempt is counted once"
    );
}

#[test]
fn three_hundred_mixed_requests_are_in_both_books() {
    agree_after(300, 16, Duration::from_secs(60));
}

#[test]
#[ignore = "takes minutes: run by `just slow`"]
fn ten_thousand_mixed_requests_are_in_both_books() {
    agree_after(10_000, 64, Duration::from_secs(700));
}
