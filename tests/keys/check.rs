//! `keys check`: what `OpenRouter` says of each key, and what that makes of the exit code.

use std::process::Stdio;

use hermux::simulator::{Account, Close, Fault, Key, Scenario, Then};
use serde_json::{Value, json};

use crate::support::PATIENCE;
use crate::{KEYS, NOWHERE, alone, command, csv, keys, place, secret};

fn words(line: &str) -> Vec<&str> {
    line.split("  ").map(str::trim).filter(|word| !word.is_empty()).collect()
}

#[test]
fn a_table_tells_all_and_all_good_is_0() {
    let mut scenario = Scenario::with_keys(&["ann"]);
    scenario.accounts[0] = scenario.accounts[0].clone().key(Key::new("ben").limit(2_500_000_000, None));
    scenario.accounts.push(Account::new("cay").credits(0).free_left(38).key(Key::new("cay")));
    let (simulator, setup) = place(scenario, &csv(&KEYS));
    let (code, out, told) = keys(&setup, &["check"]);
    assert_eq!((code, told.as_str()), (0, ""), "no progress is shown where no terminal is");
    let expected = [
        "name  valid  tier  free left today  usage USD  limit left USD  expires  shared with  note",
        "ann   yes    paid             1000       0.00               -  -        ben",
        "ben   yes    paid             1000       0.00            2.50  -        ann",
        "cay   yes    free               38       0.00               -  -        -",
        "",
    ];
    assert_eq!(out, expected.join("\n"));
    assert_eq!(
        simulator.count(|attempt| attempt.path().to_owned()).into_iter().collect::<Vec<_>>(),
        [("/api/v1/key".into(), 3)]
    );
}

#[test]
fn a_bad_key_is_1_and_says_why() {
    let mut scenario = Scenario::default();
    scenario.accounts[0].keys[0].disabled = true;
    scenario.accounts[1].keys[0].management = true;
    let rows = csv(&KEYS) + "dot,env:NOT_SET\n";
    let (_simulator, setup) = place(scenario, &rows);
    let (code, out, _) = keys(&setup, &["check"]);
    assert_eq!(code, 1);
    let lines: Vec<_> = out.lines().skip(1).map(words).collect();
    let refused = "OpenRouter refuses it: it is mistyped, disabled, expired or deleted";
    assert_eq!(lines[0], ["ann", "no", "-", "-", "-", "-", "-", "-", refused]);
    assert_eq!(lines[1][..2], ["ben", "no"]);
    assert_eq!(lines[1].last(), Some(&"it is a management key, which serves no requests"));
    assert_eq!(lines[2][..2], ["cay", "yes"]);
    assert_eq!(lines[3].last(), Some(&"no key for `dot`: the variable is not set: NOT_SET"));
    // Who asks about the good one alone hears of no other.
    assert_eq!(keys(&setup, &["check", "cay"]).0, 0);
    assert_eq!(keys(&setup, &["check", "cay", "dot"]).0, 1);
}

#[test]
fn who_cannot_ask_ends_with_3_unless_a_key_is_known_to_be_bad() {
    let setup = alone(NOWHERE, &csv(&["ann", "ben"]));
    let (code, out, _) = keys(&setup, &["check"]);
    assert_eq!(code, 3);
    assert!(
        out.lines()
            .skip(1)
            .all(|line| line.contains('?') && line.contains("OpenRouter could not be asked: "))
    );

    let mut scenario = Scenario::default().fault(Fault::new(Then::answer(500, "{}")).with_key("ben"));
    let (_simulator, setup) = place(scenario.clone(), &csv(&KEYS));
    let (code, out, _) = keys(&setup, &["check"]);
    assert!(code == 3 && out.contains("could not be asked: status 500"), "{out}");
    scenario.accounts[0].keys[0].disabled = true;
    let (_simulator, setup) = place(scenario, &csv(&KEYS));
    assert_eq!(keys(&setup, &["check"]).0, 1);
}

#[test]
fn json_has_its_exact_shape_and_the_names_of_the_manual() {
    let mut scenario = Scenario::with_keys(&["ann"]);
    scenario.accounts[0].organization = Some("org_1".to_owned());
    scenario.accounts[0] = scenario.accounts[0].clone().key(Key::new("ben"));
    scenario.accounts[0].keys[0] =
        Key::new("ann").limit(1_250_000_000, Some(hermux::simulator::Reset::Weekly));
    scenario.accounts[0].keys[0].expires = Some(hermux::clock::Time(4_102_444_800_000));
    let rows = format!(
        "name,token,enabled\nann,{},no\nben,{},\ncay,{},\n",
        secret("ann"),
        secret("ben"),
        secret("cay")
    );
    let (_simulator, setup) = place(scenario, &rows);
    let (code, out, told) = keys(&setup, &["check", "--json"]);
    assert_eq!((code, told.as_str()), (1, ""));
    let found: Value = serde_json::from_str(&out).unwrap();
    let key = secret("ann");
    let label = format!("{}...{}", &key[..12], &key[key.len() - 3..]);
    assert_eq!(
        found["keys"][0],
        json!({"name": "ann", "kept_in": "file", "enabled": false, "valid": true, "reason": null, "label": label,
            "tier": "paid", "free_day_left": 1000, "free_day_limit": 1000, "usage_usd": 0, "limit_usd": 1.25,
            "limit_left_usd": 1.25, "limit_resets": "weekly", "expires": "2100-01-01T00:00:00Z", "account": "org_1",
            "shared_with": ["ben"]})
    );
    assert_eq!(found["keys"][1]["shared_with"], json!(["ann"]));
    let cay = &found["keys"][2];
    assert_eq!(
        (&cay["valid"], &cay["account"], &cay["shared_with"]),
        (&json!(false), &Value::Null, &json!([]))
    );
    let help = keys(&setup, &["check", "--help"]).1;
    for name in cay.as_object().unwrap().keys() {
        assert!(help.contains(name), "{name}");
    }
}

#[test]
fn keys_are_asked_about_side_by_side_and_each_has_its_time() {
    let names: Vec<String> = (0..8).map(|n| format!("k{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let scenario = Scenario::with_keys(&names).fault(Fault::new(Then::Stall).on_path("/api/v1/key"));
    let (simulator, setup) = place(scenario, &csv(&names));
    let mut child = command(&setup, &["check", "--timeout", "1h"]).stdout(Stdio::piped()).spawn().unwrap();
    let all = simulator.wait_for(|attempts| attempts.len() == 8, PATIENCE);
    simulator.drop_connections(Close::Rst);
    assert!(all, "eight questions were to be open at once");
    assert_eq!(child.wait().unwrap().code(), Some(3));

    let (code, out, _) = keys(&setup, &["check", "--timeout", "50ms"]);
    assert_eq!(code, 3);
    assert_eq!(out.matches("could not be asked").count(), 8, "{out}");
}

#[test]
fn names_that_are_not_there_and_an_empty_file_exit_with_2() {
    let setup = alone(NOWHERE, &csv(&["ann"]));
    let (code, _, told) = keys(&setup, &["check", "ann", "eve"]);
    assert!(code == 2 && told.contains("no such key: eve\nhint: "), "{told}");
    crate::write_private(&setup.tokens(), "name,token\n");
    assert_eq!(keys(&setup, &["check"]).0, 2);
}
