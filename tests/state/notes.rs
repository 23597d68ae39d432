//! Notes of the ledger in a process that is killed. The other process is this binary itself: the test named `child_…` does
//! nothing unless `HERMUX_TEST_DIRECTORY` says where.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use hermux::clock::Clock;
use hermux::ledger::Ledger;

use crate::support::PATIENCE;

const NOTED: &str = "noted";

#[test]
fn child_takes_notes_and_hangs() {
    let Some(directory) = env::var_os("HERMUX_TEST_DIRECTORY").map(PathBuf::from) else { return };
    let ledger = Ledger::open(&directory, Clock::system()).unwrap();
    for number in 0..1_000 {
        ledger.note("key", &format!("key-{}", number % 10), Some(format!("rests {number}")));
    }
    ledger.note("key", "key-0", None);
    // Past the test harness, which keeps the output of tests.
    std::io::stderr().write_all(format!("{NOTED}\n").as_bytes()).unwrap();
    // Killed long before; should its parent die first, it ends by itself.
    thread::sleep(PATIENCE);
}

#[test]
fn notes_survive_a_kill_100_ms_later() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "notes::child_takes_notes_and_hangs", "--nocapture"])
        .env("HERMUX_TEST_DIRECTORY", directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(said.into_iter().any(|line| line == NOTED), "the child noted nothing");
    // Time is what this tests.
    thread::sleep(Duration::from_millis(100));
    child.kill().unwrap();
    child.wait().unwrap();

    let ledger = Ledger::open(directory.path(), Clock::system()).unwrap();
    let expected: Vec<_> =
        (1..10).map(|number| (format!("key-{number}"), format!("rests {}", 990 + number))).collect();
    assert_eq!(ledger.notes("key"), expected);
}
