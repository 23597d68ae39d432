//! `hermux stats --reconcile` beside a simulator that bills.

use std::process::Output;

use serde_json::Value;

use hermux::simulator::{Key, Simulator};

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
    let secret = Key::new(name).secret;
    let mut thief = Connection::open(simulator.address());
    let stolen: Request = asks("/api/v1/chat/completions", false, "mine").without("authorization");
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
