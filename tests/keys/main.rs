//! `hermux keys`: adding, checking and editing keys, and keys that live elsewhere than in `tokens.csv`.

#![expect(clippy::unwrap_used, reason = "in a test it is an assertion, also in what tests share")]
#![expect(clippy::print_stdout, reason = "a test that can't be done here says so")]

#[path = "../support/mod.rs"]
mod support;

mod add;
mod check;
mod edit;
mod places;
mod terminal;

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use hermux::simulator::{Key, Scenario, Simulator};
use support::Setup;
use support::hermux::write_private;

/// The keys of the simulator.
const KEYS: [&str; 3] = ["ann", "ben", "cay"];

/// An upstream where nobody listens.
const NOWHERE: &str = "http://127.0.0.1:1/api/v1";

/// The secret of the simulator's key `name`.
fn secret(name: &str) -> String {
    Key::new(name).secret
}

/// `tokens.csv` with the simulator's keys `names`.
fn csv(names: &[&str]) -> String {
    names.iter().fold("name,token\n".to_owned(), |mut csv, name| {
        writeln!(csv, "{name},{}", secret(name)).unwrap();
        csv
    })
}

/// A simulator of `scenario`, and a setup with `csv` before it.
fn place(scenario: Scenario, csv: &str) -> (Simulator, Setup) {
    let simulator = Simulator::start(scenario).unwrap();
    let setup = alone(&simulator.url(), csv);
    (simulator, setup)
}

/// A setup with `csv` before `upstream`.
fn alone(upstream: &str, csv: &str) -> Setup {
    let setup = Setup::url(upstream).variable("HERMUX_UPSTREAM", upstream);
    write_private(&setup.tokens(), csv);
    setup
}

/// What `tokens.csv` holds.
fn text(setup: &Setup) -> String {
    fs::read_to_string(setup.tokens()).unwrap()
}

/// `hermux keys …` with the files of `setup`.
fn command(setup: &Setup, arguments: &[&str]) -> Command {
    let mut command = setup.command();
    command.arg("keys").args(arguments);
    command.arg("--tokens").arg(setup.tokens()).arg("--data-dir").arg(setup.data());
    command
}

/// The same, without a terminal and with `input` on standard input, run to its end: exit code, stdout, stderr.
fn keys_with(setup: &Setup, arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut child = command(setup, arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Who ends before having read it is right to do so where nothing is to be read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    parts(&child.wait_with_output().unwrap())
}

fn keys(setup: &Setup, arguments: &[&str]) -> (i32, String, String) {
    keys_with(setup, arguments, "")
}

fn parts(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| str::from_utf8(bytes).unwrap().to_owned();
    let parts = (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr));
    for name in KEYS {
        assert!(!parts.1.contains(&secret(name)[..20]) && !parts.2.contains(&secret(name)[..20]));
    }
    parts
}

/// The names of the files beside `tokens.csv` that a finished edit must not leave.
fn left_behind(setup: &Setup) -> Vec<String> {
    let entries = fs::read_dir(setup.directory()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(".tokens")).collect()
}
