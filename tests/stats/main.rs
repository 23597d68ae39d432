//! `hermux stats` on a ledger that was prepared: what is shown of it, in a file and on terminals.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]
#![allow(clippy::print_stdout, reason = "a test that was passed over says so")]

mod live;
mod shown;
#[cfg(target_os = "linux")]
mod terminal;

#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hermux::clock::{Clock, Time};
use hermux::ledger::{Ledger, OpenError, Opening, Outcome};
use support::PATIENCE;
use tempfile::TempDir;

/// 2026-11-01T00:00:00Z.
const FIRST: Time = Time(1_793_491_200_000);

const HOUR: i64 = 3_600_000;

/// One attempt.
struct Attempt {
    at: Time,
    names: [&'static str; 3],
    tokens: [u64; 3],
    cost: i64,
    first_byte: u64,
    status: u16,
    waited: bool,
}

/// An attempt that went well, so many hours after [`FIRST`].
fn attempt(hours: i64, key: &'static str, caller: &'static str, model: &'static str, cost: i64) -> Attempt {
    Attempt {
        at: Time(FIRST.0 + hours * HOUR),
        names: [key, caller, model],
        tokens: [1_200, 340, 1_000],
        cost,
        first_byte: 400,
        status: 200,
        waited: false,
    }
}

/// Opens the ledger in `directory`. A child that another test has just forked holds the lock of one that was closed a moment
/// ago until it runs its own program.
fn open(directory: &Path, clock: &Clock) -> Ledger {
    let begun = Instant::now();
    loop {
        match Ledger::open(directory, clock.clone()) {
            Err(OpenError::InUse { pid, .. }) if pid == std::process::id() && begun.elapsed() < PATIENCE => {
                std::thread::yield_now();
            }
            opened => return opened.unwrap(),
        }
    }
}

/// A ledger with these attempts, each a request of its own.
fn ledger(attempts: &[Attempt]) -> TempDir {
    let directory = TempDir::new().unwrap();
    for attempt in attempts {
        let clock = Clock::fixed(attempt.at);
        let ledger = open(&directory.path().join("data"), &clock);
        let [key, caller, model] = attempt.names.map(Arc::from);
        let mut entry = ledger.entry(Opening {
            request: ledger.next_request(),
            number: 1,
            at: attempt.at,
            caller,
            key,
            model,
            path: Arc::from("/chat/completions"),
            inference: true,
            waited: Duration::from_millis(u64::from(attempt.waited) * 20),
            previous: None,
        });
        entry.report.status = Some(attempt.status);
        entry.report.first_byte = Some(Duration::from_millis(attempt.first_byte));
        if attempt.status == 200 {
            let usage = &mut entry.report.usage;
            let [prompt, completion, cached] = attempt.tokens.map(Some);
            (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens) =
                (prompt, completion, cached);
            usage.cost = Some(attempt.cost);
        }
        entry.finish(if attempt.status == 200 { Outcome::Complete } else { Outcome::Failed });
        assert!(ledger.close(Duration::from_secs(60)));
    }
    directory
}

/// Some of everything, on the first three days of November 2026.
fn november() -> TempDir {
    ledger(&[
        attempt(1, "ann", "ci", "openai/gpt-4o-mini", 114_000),
        attempt(2, "ann", "ci", "anthropic/claude-sonnet-4.5", 15_300_000),
        Attempt {
            waited: true,
            first_byte: 12_000,
            ..attempt(2, "ben", "bob", "openai/gpt-4o-mini", 228_000)
        },
        Attempt { status: 429, ..attempt(26, "ben", "bob", "openai/gpt-4o-mini", 0) },
        Attempt { tokens: [1_234_567, 40, 0], ..attempt(27, "ben", "ci", "openai/gpt-4o", 3_086_417_500) },
        attempt(50, "cay", "ci", "qwen/qwen3:free", 0),
        attempt(51, "cay", "", "", 0),
    ])
}

fn command(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hermux"));
    command.env_clear().env("HOME", home).current_dir(home).arg("stats");
    command.arg("--data-dir").arg(home.join("data"));
    command
}

fn run(home: &Path, words: &str) -> Output {
    command(home).args(words.split_whitespace()).output().unwrap()
}

/// What `hermux stats` prints, where it ends well.
fn stats(home: &Path, words: &str) -> String {
    let output = run(home, words);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && told.is_empty(), "{words}: {told}");
    String::from_utf8(output.stdout).unwrap()
}

/// The names in the first column.
fn first_column(home: &Path, words: &str) -> Vec<String> {
    let lines = stats(home, &format!("{words} --csv"));
    lines.lines().skip(1).map(|line| line.split(',').next().unwrap().to_owned()).collect()
}
