//! `hermux stats --reconcile` beside a simulator that bills.

use std::process::Output;
use std::time::Duration;

use serde_json::Value;

use hermux::simulator::{Fault, Key, Scenario, Simulator, Then};

use crate::support::{Connection, Hermux, Request, Setup, eventually};
use crate::{asks, billed, counted, scene};

fn reconcile(hermux: &Hermux, upstream: &str, json: bool) -> Output {
    let setup = hermux.setup();
    let mut command = setup.command();
    command
        .args(["stats", "--reconcile", "--data-dir"])
        .arg(setup.data())
        .arg("--tokens")
        .arg(setup.tokens());
    command.env("HERMUX_UPSTREAM", upstream);
    if json {
        command.arg("--json");
    }
    command.output().unwrap()
}

/// Has the ledger believe that it and all keys were there since 1970.
fn old(setup: &Setup) {
    let database = rusqlite::Connection::open(setup.data().join("ledger.db")).unwrap();
    database.busy_timeout(crate::support::PATIENCE).unwrap();
    database
        .execute_batch(
            "UPDATE state SET since_ms = 1;
             UPDATE notes SET value = '1' || substr(value, instr(value, ' ')) WHERE kind = 'seen';",
        )
        .unwrap();
}

/// Somebody else uses the key `name`; its secret.
fn spend_elsewhere(simulator: &Simulator, name: &str) -> String {
    say_elsewhere(simulator, name, "mine")
}

fn say_elsewhere(simulator: &Simulator, name: &str, text: &str) -> String {
    let secret = Key::new(name).secret;
    let mut thief = Connection::open(simulator.address());
    let stolen: Request = asks("/api/v1/chat/completions", false, text).without("authorization");
    thief.send(stolen.header("Authorization", &format!("Bearer {secret}")).bytes());
    assert_eq!(thief.answer().status(), 200);
    let _ = thief.rest();
    secret
}

#[test]
fn accounts_that_agree_are_equal_and_what_was_spent_elsewhere_names_the_key_and_the_amount() {
    let (simulator, setup) = scene(&["ann", "ben"], |scenario| scenario);
    let hermux = setup.start();
    for _ in 0..6 {
        assert_eq!(hermux.ask(&asks("/v1/chat/completions", false, "hello")).status(), 200);
    }
    let data = hermux.setup().data();
    eventually("both books agree", || (counted(&data) == billed(&simulator)).then_some(()));
    eventually("both keys are known", || {
        (crate::number(&data, "SELECT count(*) FROM notes WHERE kind = 'seen'") == 2).then_some(())
    });
    let early = reconcile(&hermux, &simulator.url(), false);
    let table = String::from_utf8_lossy(&early.stdout).into_owned();
    assert!(early.status.success() && table.contains("too early to tell"), "{table}");

    old(hermux.setup());
    let equal = reconcile(&hermux, &simulator.url(), true);
    let answer: Value = serde_json::from_slice(&equal.stdout).unwrap();
    assert!(equal.status.success(), "{answer}");
    for key in answer["keys"].as_array().unwrap() {
        assert_eq!(key["verdict"], "equal");
        assert_eq!(key["month"]["counted_usd"], key["month"]["told_usd"]);
    }

    let secret = spend_elsewhere(&simulator, "ben");
    let leaked = reconcile(&hermux, &simulator.url(), true);
    assert_eq!(leaked.status.code(), Some(1));
    let answer: Value = serde_json::from_slice(&leaked.stdout).unwrap();
    let verdict = |name: &str| {
        let keys = answer["keys"].as_array().unwrap();
        keys.iter().find(|key| key["name"] == name).unwrap()["verdict"].clone()
    };
    assert_eq!((verdict("ann"), verdict("ben")), ("equal".into(), "spent outside hermux".into()));
    let said = String::from_utf8_lossy(&leaked.stderr).into_owned();
    assert!(said.contains("the key ben may have leaked") && said.contains(" USD"), "{said}");
    assert!(!said.contains(&secret));
}

/// Waits until hermux knows so many keys.
fn known(hermux: &Hermux, keys: i64) {
    let data = hermux.setup().data();
    eventually("all keys are known", || {
        (crate::number(&data, "SELECT count(*) FROM notes WHERE kind = 'seen'") == keys).then_some(())
    });
}

/// What the first key's comparison says, the amount included.
fn verdict(output: &Output) -> (String, Value) {
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let key = &answer["keys"][0];
    (key["verdict"].as_str().unwrap().to_owned(), key["difference_usd"].clone())
}

#[test]
fn an_attempt_without_a_cost_explains_what_it_may_have_cost_and_hides_no_leak() {
    let late = |scenario| Scenario { generation_delay: Duration::from_secs(3_600), ..scenario };
    let (simulator, setup) = scene(&["ann"], late);
    let hermux = setup.start();
    known(&hermux, 1);
    old(hermux.setup());
    assert_eq!(hermux.ask(&asks("/v1/chat/completions", false, "hello")).status(), 200);
    let data = hermux.setup().data();
    eventually("both books agree", || (counted(&data) == billed(&simulator)).then_some(()));
    simulator.add_fault(Fault::new(Then::Header("content-encoding".to_owned(), "br".to_owned())).once());
    assert_eq!(hermux.ask(&asks("/v1/chat/completions", false, "hello")).status(), 200);
    eventually("it waits for its cost", || {
        (crate::number(&data, "SELECT count(*) FROM settling") == 1).then_some(())
    });

    let mut stats = hermux.setup().command();
    stats.args(["stats", "--data-dir"]).arg(&data);
    let table = String::from_utf8(stats.output().unwrap().stdout).unwrap();
    assert!(table.ends_with("\nwithout the cost of 1 attempt, which is asked for\n"), "{table}");

    let missed = reconcile(&hermux, &simulator.url(), true);
    assert_eq!((verdict(&missed).0.as_str(), missed.status.code()), ("missed here", Some(1)));
    assert!(!String::from_utf8_lossy(&missed.stderr).contains("leaked"));

    let long = "mine ".repeat(100_000);
    say_elsewhere(&simulator, "ann", &long);
    let leaked = reconcile(&hermux, &simulator.url(), true);
    assert_eq!((verdict(&leaked).0.as_str(), leaked.status.code()), ("spent outside hermux", Some(1)));
    let said = String::from_utf8_lossy(&leaked.stderr).into_owned();
    assert!(said.contains("the key ann may have leaked") && said.contains("told no cost (1)"), "{said}");
}

#[test]
fn on_the_first_day_it_tells_what_was_billed_beyond_what_was_counted() {
    let (simulator, setup) = scene(&["ann"], |scenario| scenario);
    spend_elsewhere(&simulator, "ann");
    let hermux = setup.start();
    known(&hermux, 1);
    let early = reconcile(&hermux, &simulator.url(), true);
    let (verdict, more) = verdict(&early);
    assert_eq!((verdict.as_str(), early.status.code()), ("too early to tell", Some(0)));
    assert!(more.as_f64().unwrap() > 0.0, "{more}");
    let said = String::from_utf8_lossy(&early.stderr).into_owned();
    assert!(said.contains("note: the key ann was billed more than was counted here today (UTC)"), "{said}");
}

#[test]
fn less_billed_than_counted_is_told_once_there_was_time_to_add_it_up() {
    let (simulator, setup) = scene(&["ann"], |scenario| scenario);
    let hermux = setup.start();
    known(&hermux, 1);
    assert_eq!(hermux.ask(&asks("/v1/chat/completions", false, "hello")).status(), 200);
    let data = hermux.setup().data();
    eventually("both books agree", || (counted(&data) == billed(&simulator)).then_some(()));
    let setup = hermux.stop();
    old(&setup);
    let change = |setup: &Setup, sql: &str| {
        let database = rusqlite::Connection::open(setup.data().join("ledger.db")).unwrap();
        database.execute_batch(sql).unwrap();
    };
    // As if a dollar more had been counted, just now and then three hours ago.
    change(&setup, "UPDATE entries SET cost = cost + 1000000000");
    let hermux = setup.start();
    let behind = reconcile(&hermux, &simulator.url(), true);
    assert_eq!((verdict(&behind).0.as_str(), behind.status.code()), ("not told yet", Some(0)));
    let setup = hermux.stop();
    change(&setup, "UPDATE hours SET hour = hour - 3; UPDATE state SET rolled = 0; DELETE FROM days");
    let hermux = setup.start();
    let less = reconcile(&hermux, &simulator.url(), true);
    let (verdict, difference) = verdict(&less);
    assert_eq!((verdict.as_str(), less.status.code()), ("less billed than counted", Some(1)));
    assert_eq!(difference.to_string(), "-1");
    let said = String::from_utf8_lossy(&less.stderr).into_owned();
    assert!(
        said.contains("the key ann was billed less than was counted here") && said.contains(": 1.00 USD"),
        "{said}"
    );
}

#[test]
fn a_key_that_cannot_be_asked_about_is_told_and_ends_with_3() {
    let (simulator, setup) = scene(&["ann"], |scenario| scenario);
    simulator.change_key("ann", |key| key.disabled = true);
    let hermux = setup.start();
    let output = reconcile(&hermux, &simulator.url(), false);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("GET /key told nothing of ann: the key is refused")
    );
}

#[test]
fn a_server_warns_of_a_key_that_spends_elsewhere() {
    let (simulator, setup) = scene(&["ann", "ben"], |scenario| scenario);
    let hermux = setup.start();
    let data = hermux.setup().data();
    eventually("both keys are known", || {
        (crate::number(&data, "SELECT count(*) FROM notes WHERE kind = 'seen'") == 2).then_some(())
    });
    let setup = hermux.stop();
    old(&setup);
    let secret = spend_elsewhere(&simulator, "ben");
    let hermux = setup.start();
    let line = hermux.wait_for_line("may have leaked");
    assert!(line.contains("the key ben ") && line.contains(" USD") && !line.contains(&secret), "{line}");
    assert!(!hermux.lines().iter().any(|line| line.contains("the key ann may have leaked")));
}
