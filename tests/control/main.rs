//! A running server can be asked, by its own user: the control socket, and the commands that speak through it.

#![expect(clippy::unwrap_used, reason = "in a test it is an assertion, also in what tests share")]

#[path = "../support/mod.rs"]
mod support;

mod commands;
mod socket;

use std::fmt::Write as _;
use std::process::Output;

use hermux::simulator::{Scenario, Simulator};
use serde_json::Value;
use support::hermux::write_private;
use support::{Hermux, Request, Setup};

/// The keys of the simulator.
const KEYS: [&str; 3] = ["ann", "ben", "cay"];

/// A simulator with [`KEYS`], and a setup whose `tokens.csv` has them, with more columns behind and the same in each row.
fn place(columns: &str, fields: &str) -> (Simulator, Setup) {
    let scenario = Scenario::with_keys(&KEYS);
    let mut csv = format!("name,token{columns}\n");
    for key in scenario.keys() {
        writeln!(csv, "{},{}{fields}", key.name, key.secret).unwrap();
    }
    let simulator = Simulator::start(scenario).unwrap();
    let setup = Setup::url(&simulator.url());
    write_private(&setup.tokens(), &csv);
    (simulator, setup)
}

/// The simulator and a server before it.
fn started() -> (Simulator, Hermux) {
    let (simulator, setup) = place("", "");
    (simulator, setup.start())
}

/// Has `count` requests served, one after the other.
fn chat(hermux: &Hermux, count: usize) {
    let body = r#"{"model":"openai/gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}"#;
    for _ in 0..count {
        assert_eq!(hermux.ask(&Request::post("/api/v1/chat/completions", body)).status(), 200);
    }
}

/// `hermux keys …` with the files of `setup`.
fn keys(setup: &Setup, arguments: &[&str]) -> Output {
    let mut command = setup.command();
    command
        .arg("keys")
        .args(arguments)
        .arg("--tokens")
        .arg(setup.tokens())
        .arg("--data-dir")
        .arg(setup.data());
    command.output().expect("the binary was built")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it ended by itself")
}

fn out(output: &Output) -> &str {
    str::from_utf8(&output.stdout).unwrap()
}

fn told(output: &Output) -> &str {
    str::from_utf8(&output.stderr).unwrap()
}

/// `hermux keys list --json`, which must be well and say nothing else.
fn list(setup: &Setup) -> Value {
    let output = keys(setup, &["list", "--json"]);
    assert_eq!((code(&output), told(&output)), (0, ""));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A field of each key, in order.
fn each<'a>(list: &'a Value, field: &str) -> Vec<&'a Value> {
    list["keys"].as_array().unwrap().iter().map(|key| &key[field]).collect()
}

/// The sum of a number over the keys.
fn sum(list: &Value, field: &str) -> f64 {
    each(list, field).into_iter().map(|number| number.as_f64().unwrap()).sum()
}
