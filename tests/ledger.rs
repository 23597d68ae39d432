//! The ledger where it meets the system: a process that is killed, a second process, a disk that is full.
//!
//! The other process is this test binary itself: the tests named `child_…` do nothing unless `HERMUX_TEST_DIRECTORY` says
//! where.

use std::env;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use hermux::clock::{Clock, Day};
use hermux::ledger::query::{KeyUse, keys_on};
use hermux::ledger::{Ledger, OpenEntry, OpenError, Opening, Outcome};

/// Far longer than anything here takes; only a failing test waits for it.
const LONG: Duration = Duration::from_secs(120);

/// How a child says that it came to its end: a name that fits no test ends with 0 too.
const PASSED: i32 = 7;

const TODAY: Day = Day(20_000);

fn clock() -> Clock {
    Clock::fixed(TODAY.start())
}

fn entry(ledger: &Ledger, key: &str) -> OpenEntry {
    ledger.entry(Opening {
        request: ledger.next_request(),
        number: 1,
        at: TODAY.start(),
        caller: Arc::from("caller"),
        key: Arc::from(key),
        model: Arc::from("vendor/model"),
        path: Arc::from("/chat/completions"),
        inference: true,
        waited: Duration::ZERO,
        previous: None,
    })
}

fn one(ledger: &Ledger, key: &str) {
    let mut entry = entry(ledger, key);
    entry.report.usage.prompt_tokens = Some(10);
    entry.report.usage.cost = Some(1);
    entry.finish(Outcome::Complete);
}

fn used(directory: &Path, key: &str) -> KeyUse {
    let keys = keys_on(directory, TODAY).expect("the ledger can be read");
    keys.into_iter().find(|row| row.name == key).unwrap_or_default()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < LONG, "never came: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The command that runs the test `name` of this binary in a process of its own, with its output passed through.
fn child(name: &str, directory: &Path) -> Vec<String> {
    let binary = env::current_exe().expect("this binary is somewhere").display().to_string();
    let directory = format!("HERMUX_TEST_DIRECTORY={}", directory.display());
    ["env", &directory, &binary, "--exact", name, "--nocapture"].map(str::to_owned).to_vec()
}

fn start(command: &[String]) -> Reaped {
    let mut process = Command::new(&command[0]);
    process.args(&command[1..]).stdin(Stdio::null()).stdout(Stdio::null());
    Reaped(process.spawn().expect("a process starts"))
}

/// A process that is gone when the test is.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn child_directory() -> Option<PathBuf> {
    env::var_os("HERMUX_TEST_DIRECTORY").map(PathBuf::from)
}

#[test]
fn child_uses_a_ledger_and_hangs() {
    let Some(directory) = child_directory() else { return };
    let ledger = Ledger::open(&directory, clock()).unwrap();
    (0..1_000).for_each(|_| one(&ledger, "a"));
    let _open: Vec<_> = (0..10).map(|_| entry(&ledger, "b")).collect();
    // Killed long before; should its parent die first, it ends by itself.
    thread::sleep(LONG);
}

#[test]
fn killed_without_warning_it_loses_nothing_that_was_written() {
    let directory = tempfile::tempdir().unwrap();
    // `env` becomes the child by exec, so the pid stays.
    let mut child = start(&child("child_uses_a_ledger_and_hangs", directory.path()));
    until("the child's entries are on disk", || used(directory.path(), "b").attempts == 10);

    match Ledger::open(directory.path(), clock()) {
        Err(error @ OpenError::InUse { pid, .. }) => {
            assert_eq!(pid, child.0.id());
            assert!(
                error.to_string().starts_with(&format!("the data directory is in use by process {pid}: "))
            );
        }
        other => panic!("a second process came in: {other:?}"),
    }

    child.0.kill().unwrap();
    child.0.wait().unwrap();
    let ledger = Ledger::open(directory.path(), clock()).unwrap();
    let today = ledger.used_today();
    assert_eq!((today["a"], today["b"]), (1_000, 10));
    assert!(ledger.next_request() > 1_010);
    one(&ledger, "a");
    assert!(ledger.close(LONG));
    let row = used(directory.path(), "a");
    assert_eq!((row.requests, row.attempts, row.prompt_tokens, row.cost), (1_001, 1_001, 10_010, 1_001));
    let database = rusqlite::Connection::open(directory.path().join("ledger.db")).unwrap();
    let outcomes = "SELECT group_concat(outcome || ':' || n) FROM
                    (SELECT outcome, count(*) AS n FROM entries GROUP BY outcome ORDER BY outcome)";
    let outcomes: String = database.query_row(outcomes, [], |row| row.get(0)).unwrap();
    assert_eq!(outcomes, "0:1001,3:10", "complete, and lost");
}

#[test]
fn child_fills_its_disk() {
    let Some(directory) = child_directory() else { return };
    let mount = |options: &str| {
        let status = Command::new("mount").args(["-o", options]).arg(&directory).status().unwrap();
        assert!(status.success(), "mount -o {options}");
    };
    let data = directory.join("data");
    let ledger = Ledger::open(&data, clock()).unwrap();
    let mut attempts = 0;
    until("the disk is full", || {
        for _ in 0..1_000 {
            one(&ledger, "a");
            attempts += 1;
        }
        !ledger.is_writable()
    });
    let open: Vec<_> = (0..55_000).map(|_| entry(&ledger, "b")).collect();
    assert_eq!((ledger.used_today()["a"], ledger.used_today()["b"]), (attempts, 55_000));
    drop(open);
    (0..1_000).for_each(|_| one(&ledger, "a"));
    attempts += 1_000;
    assert!(!ledger.flush(Duration::from_millis(1)), "2 MiB do not hold 55,000 entries");
    mount("remount,size=64m");
    assert!(ledger.flush(LONG), "there is room again");
    assert!(ledger.is_writable());

    assert!(ledger.close(LONG));
    let (a, b) = (used(&data, "a"), used(&data, "b"));
    assert_eq!((a.requests, a.attempts, a.prompt_tokens), (attempts, attempts, attempts * 10));
    assert_eq!(a.cost, i64::try_from(attempts).unwrap());
    assert_eq!((b.requests, b.attempts, b.cost), (55_000, 55_000, 0));

    // A reader leaves a `-wal` and a `-shm`, a writer that closes does not: the disk is as a server leaves it.
    rusqlite::Connection::open(data.join("ledger.db"))
        .unwrap()
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    assert!(!data.join("ledger.db-wal").exists() && !data.join("ledger.db-shm").exists());
    mount("remount,ro");
    let error = Ledger::open(&data, clock()).unwrap_err();
    assert!(matches!(error, OpenError::Unwritable { .. }), "{error}");
    assert_eq!(used(&data, "b").attempts, 55_000, "a read-only disk can be read");
    process::exit(PASSED);
}

#[test]
fn a_disk_of_two_mebibytes_fills_and_no_count_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let mount = format!("mount -t tmpfs -o size=2m tmpfs '{}'", directory.path().display());
    // A namespace of its own: the mount ends with the process.
    let unshare = |script: &str| ["unshare", "-rm", "sh", "-c", script].map(str::to_owned).to_vec();
    let possible = start(&unshare(&mount)).0.wait().is_ok_and(|status| status.success());
    if !possible {
        // Past the test harness, which shows no output of a test that passes.
        let text = "SKIPPED a_disk_of_two_mebibytes_fills_and_no_count_is_lost: `unshare -rm` cannot mount a tmpfs here\n";
        io::stderr().write_all(text.as_bytes()).unwrap();
        return;
    }
    let run = child("child_fills_its_disk", directory.path());
    let quoted: Vec<_> = run.iter().map(|word| format!("'{word}'")).collect();
    let status = start(&unshare(&format!("{mount} && exec {}", quoted.join(" ")))).0.wait().unwrap();
    assert_eq!(status.code(), Some(PASSED), "see the child's output above");
}
