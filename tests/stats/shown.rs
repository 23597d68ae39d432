//! What a file or a pipe gets: tables, JSON, CSV, and what is said where there is nothing.

use std::io::Read;
use std::process::Stdio;

use hermux::clock::Clock;
use serde_json::Value;

use super::{HOUR, attempt, command, first_column, ledger, november, run, stats};
use crate::Attempt;

const ALL: &str = "--since 2026-11-01 --until 2026-11-03";

#[test]
fn tables_are_as_they_were_looked_over() {
    let home = november();
    for by in ["key", "model", "caller", "day", "hour", "status", "account", "day,key", "model,caller"] {
        let text = stats(home.path(), &format!("{ALL} --by {by}"));
        insta::assert_snapshot!(format!("by-{}", by.replace(',', "-")), text);
        assert!(!text.contains('\u{1b}'), "no color in a file");
    }
}

#[test]
fn json_and_csv_are_as_documented() {
    let home = november();
    let json: Value =
        serde_json::from_str(&stats(home.path(), &format!("{ALL} --json --by status"))).unwrap();
    insta::assert_snapshot!("json", serde_json::to_string_pretty(&json).unwrap());
    insta::assert_snapshot!("csv", stats(home.path(), &format!("{ALL} --csv --by hour,model,status")));
}

#[test]
fn json_begins_as_it_always_did_and_costs_are_exact() {
    let home = november();
    let text = stats(home.path(), &format!("{ALL} --json"));
    assert!(
        text.starts_with(
            "{\"keys\":[{\"name\":\"ann\",\"requests\":2,\"attempts\":2,\"prompt_tokens\":2400,\
             \"completion_tokens\":680,\"cost_usd\":0.015414,"
        ),
        "{text}"
    );
    assert!(!text.contains("\"groups\"") && text.contains("\"cost_usd\":3.0864175,"), "{text}");
}

#[test]
fn all_ways_to_group_add_up_to_the_same() {
    let home = november();
    let total = |by: &str| {
        let json: Value =
            serde_json::from_str(&stats(home.path(), &format!("{ALL} --json --by {by}"))).unwrap();
        let groups = json["groups"].as_array().unwrap();
        let sum = |name: &str| groups.iter().map(|group| group[name].as_u64().unwrap()).sum::<u64>();
        for name in ["requests", "attempts", "errors", "waits", "prompt_tokens", "cached_tokens"] {
            assert_eq!(sum(name), json["total"][name].as_u64().unwrap(), "{by} {name}");
        }
        sum("requests")
    };
    for by in
        ["key", "model", "caller", "day", "hour", "status", "account", "hour,day", "key,model,caller,status"]
    {
        assert_eq!(total(by), 7, "{by}");
    }
    // A list and repeated flags are the same, and what is named twice counts once.
    let list = stats(home.path(), &format!("{ALL} --by day,key --csv"));
    assert_eq!(stats(home.path(), &format!("{ALL} --by day --by key --by day --csv")), list);
}

#[test]
fn filters_take_patterns_and_all_of_them_hold() {
    let home = november();
    for (filters, keys) in [
        ("--model openai/*", &["ann", "ben"][..]),
        ("--model *:free", &["cay"]),
        ("--model openai/gpt-4o", &["ben"]),
        ("--caller c*", &["ann", "ben", "cay"]),
        ("--caller bob --model *", &["ben"]),
        ("--key ann --key c*", &["ann", "cay"]),
        ("--key a*n --key ben", &["ann", "ben"]),
        ("--key *'* --key ?*", &[]),
        ("--key a?n", &[]),
        ("--key [ab]*", &[]),
        ("--key ann' --key nobody", &[]),
        ("--key ann --caller bob", &[]),
    ] {
        assert_eq!(first_column(home.path(), &format!("{ALL} {filters}")), keys, "{filters}");
    }
    // The total is that of what is shown.
    let text = stats(home.path(), &format!("{ALL} --model openai/*"));
    assert!(text.starts_with("2026-11-01 to 2026-11-03 (UTC), model openai/*\n"), "{text}");
    assert!(text.lines().last().unwrap().contains("3.0867595"), "{text}");
}

#[test]
fn times_bound_what_is_shown() {
    let home = november();
    for (times, days) in [
        ("--since 2026-11-02", &["2026-11-02", "2026-11-03"][..]),
        ("--until 2026-11-02", &["2026-11-01", "2026-11-02"]),
        ("--since 2026-11-02 --until 2026-11-02", &["2026-11-02"]),
        ("--since 2026-11-01T02:00:00Z --until 2026-11-02T03:00:00+01:00", &["2026-11-01"]),
        ("--since 2026-11-01T03:00:00Z --until 2026-11-02T03:00:00Z", &["2026-11-02"]),
    ] {
        assert_eq!(first_column(home.path(), &format!("{times} --by day")), days, "{times}");
    }
    let now = Clock::system().now();
    let near = |hours: i64| Attempt {
        at: hermux::clock::Time(now.0 - hours * HOUR),
        ..attempt(0, "ann", "ci", "m", 1)
    };
    let home = ledger(&[near(24), near(2), near(0)]);
    for (times, attempts) in
        [("--since 30m", 1), ("--since 3h", 2), ("--since 2d", 3), ("--since 7d --until 20h", 1)]
    {
        let json: Value = serde_json::from_str(&stats(home.path(), &format!("{times} --json"))).unwrap();
        assert_eq!(json["total"]["attempts"], attempts, "{times}");
    }
    assert_eq!(first_column(home.path(), "--since yesterday --until yesterday --by day").len(), 1);
    assert!(stats(home.path(), "").starts_with("today, "));
}

#[test]
fn where_nothing_is_found_it_says_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let text = stats(home.path(), "");
    assert!(text.starts_with("nothing was used yet, by the ledger in "), "{text}");
    assert!(text.ends_with("\nhint: start the proxy with: hermux serve\n"), "{text}");
    let json: Value = serde_json::from_str(&stats(home.path(), "--json")).unwrap();
    for part in ["keys", "models", "callers", "days"] {
        assert_eq!(json[part], Value::Array(Vec::new()), "{part}");
    }
    assert_eq!(json["total"]["requests"], 0);
    assert!(first_column(home.path(), "").is_empty());
    assert!(!home.path().join("data").exists(), "asking creates nothing");

    let home = november();
    for (words, hint) in [
        (
            "--since 2027-01-01",
            "it was used from 2026-11-01 to 2026-11-03; show all with: hermux stats --since 2026-11-01",
        ),
        (
            "--since today --until today",
            "it was last used on 2026-11-03; show that day with: hermux stats --since 2026-11-03",
        ),
    ] {
        let text = stats(home.path(), words);
        assert!(
            text.starts_with("nothing was used, ") && text.ends_with(&format!("\nhint: {hint}\n")),
            "{text}"
        );
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_a_cure() {
    let home = november();
    for (words, said) in [
        ("--since 7", "error: --since is no time: 7\nhint: write today, yesterday, 7d, 2026-11-01 or "),
        ("--until soon", "error: --until is no time: soon\nhint: "),
        ("--since today --until yesterday", "error: nothing lies between --since and --until"),
        ("--by color", "error: invalid value 'color' for '--by <WHAT>'"),
        ("--json --csv", "error: the argument '--json' cannot be used with '--csv'"),
        ("--reconcile --by key", "error: the argument '--reconcile' cannot be used with"),
        ("--watch --json", "error: the argument '--watch [<SECONDS>]' cannot be used with '--json'"),
        ("--watch 0", "error: invalid value '0' for '--watch [<SECONDS>]'"),
        ("--watch", "error: --watch goes with a terminal only\nhint: "),
        ("--watch 5", "error: --watch goes with a terminal only\nhint: "),
    ] {
        let output = run(home.path(), words);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{words}: {told}");
        assert!(told.starts_with(said), "{words}: {told}");
    }
}

#[test]
fn a_reader_that_went_away_is_no_failure() {
    let home = november();
    for form in ["", "--json", "--csv"] {
        let mut command = command(home.path());
        command.args(ALL.split(' ')).args(form.split_whitespace());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut told = String::new();
        child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
        assert!(child.wait().unwrap().success() && told.is_empty(), "{form}: {told}");
    }
}

#[test]
fn a_name_that_a_caller_chose_harms_neither_terminal_nor_columns() {
    let home = ledger(&[attempt(1, "ann", "ci", "=1+1,\"\u{1b}[2J\n", 1)]);
    let table = stats(home.path(), &format!("{ALL} --by model"));
    assert!(!table.contains('\u{1b}') && table.contains("=1+1,\"\u{fffd}[2J\u{fffd}"), "{table}");
    let lines = stats(home.path(), &format!("{ALL} --by model --csv"));
    assert!(lines.contains("\n\"=1+1,\"\"\u{1b}[2J\n\","), "{lines}");
}

#[test]
fn a_ledger_of_an_older_form_is_not_taken_for_an_empty_one() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("data")).unwrap();
    let database = rusqlite::Connection::open(home.path().join("data/ledger.db")).unwrap();
    database.execute_batch(include_str!("../../src/ledger/schema.sql")).unwrap();
    database.execute_batch(include_str!("../../src/ledger/notes.sql")).unwrap();
    drop(database);
    for words in ["", "--json", "--csv"] {
        let output = run(home.path(), words);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(3), &b""[..]), "{said}");
        assert!(
            said.contains("of an older hermux (form 2,") && said.contains("\nhint: hermux serve brings"),
            "{said}"
        );
    }
}
