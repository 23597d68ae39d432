//! What ten million requests cost the ledger: CPU and bytes an entry, and how long a month's figures take to read.
//!
//! `cargo bench --bench ledger -- [REQUESTS]`, 10,000,000 unless told otherwise; needs a gigabyte or two in the directory for
//! temporary files.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that cannot go on says so by its panic"
)]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "figures for people, and small numbers"
)]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hermux::clock::{Clock, Day, Time};
use hermux::ledger::query::{By, Question, figures};
use hermux::ledger::{Ledger, Opening, Outcome, Usage};

const DAYS: i64 = 30;
const FIRST: Day = Day(20_000);

fn main() {
    let requests =
        std::env::args().skip(1).find_map(|text| text.replace('_', "").parse().ok()).unwrap_or(10_000_000);
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), requests);
    let data = directory.path();
    let bytes: u64 = ["ledger.db", "ledger.db-wal"]
        .iter()
        .filter_map(|name| fs::metadata(data.join(name)).ok())
        .map(|file| file.len())
        .sum();
    println!("size: {:.1} MB, {:.1} bytes an entry", bytes as f64 / 1e6, bytes as f64 / requests as f64);
    let database = rusqlite::Connection::open(data.join("ledger.db")).unwrap();
    let rows = |table: &str| -> i64 {
        database.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    };
    println!(
        "rows: {} entries, {} hours, {} days, {} hours by one dimension",
        rows("entries"),
        rows("hours"),
        rows("days"),
        rows("marginals")
    );
    read(data, requests);
}

/// Numbers without a pattern, the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn write(directory: &Path, requests: u64) {
    let clock = Clock::fixed(FIRST.start());
    let ledger = Ledger::open(directory, clock.clone()).unwrap();
    ledger.keep(Duration::from_secs(365 * 86_400));
    let names = |kind: &str, count: usize| -> Vec<Arc<str>> {
        (0..count).map(|number| Arc::from(format!("{kind}-{number:02}"))).collect()
    };
    let (keys, callers, models) = (names("key", 10), names("caller", 6), names("vendor/model", 8));
    let path: Arc<str> = Arc::from("/chat/completions");
    let mut random = Random(1);
    let span = u128::try_from(DAYS * 86_400_000).unwrap();
    let start = Instant::now();
    for number in 0..requests {
        let at =
            Time(FIRST.start().0 + i64::try_from(u128::from(number) * span / u128::from(requests)).unwrap());
        clock.set(at);
        let mut entry = ledger.entry(Opening {
            request: ledger.next_request(),
            number: 1,
            at,
            caller: Arc::clone(&callers[random.below(6) as usize]),
            key: Arc::clone(&keys[random.below(10) as usize]),
            model: Arc::clone(&models[random.below(8) as usize]),
            path: Arc::clone(&path),
            inference: true,
            waited: Duration::ZERO,
            previous: None,
        });
        let fails = random.below(100) < 3;
        entry.report.status = Some(if fails { 429 } else { 200 });
        entry.report.bytes = 500 + random.below(20_000);
        entry.report.first_byte = Some(Duration::from_millis(150 + random.below(2_000)));
        if !fails {
            entry.report.generation = Some(format!("gen-{}-{number:020}", at.0 / 1_000).into());
            entry.report.usage = Usage {
                prompt_tokens: Some(random.below(8_000)),
                completion_tokens: Some(random.below(1_000)),
                reasoning_tokens: Some(random.below(300)),
                cached_tokens: Some(random.below(4_000)),
                cache_write_tokens: None,
                cost: Some(i64::try_from(random.below(50_000_000)).unwrap()),
                upstream_cost: None,
            };
        }
        entry.finish(if fails { Outcome::Failed } else { Outcome::Complete });
        if number % 4_000 == 3_999 {
            assert!(ledger.flush(Duration::from_secs(60)));
        }
    }
    let took = start.elapsed();
    let cpu = thread_cpu("ledger");
    clock.set(FIRST.start().after(Duration::from_secs(u64::try_from(DAYS).unwrap() * 86_400)));
    println!(
        "{requests} requests written in {:.0} s, the writer's CPU {:.2} µs an entry",
        took.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / requests as f64
    );
    assert!(ledger.close(Duration::from_secs(60)));
    drop(ledger);
    // Here a month takes a minute; else its hours go into their days one by one, as they end.
    let start = Instant::now();
    let ledger = Ledger::open(directory, clock.clone()).unwrap();
    let database = rusqlite::Connection::open(directory.join("ledger.db")).unwrap();
    let end = clock.now().0 / 3_600_000;
    while database.query_row("SELECT rolled FROM state", [], |row| row.get::<_, i64>(0)).unwrap() < end {
        assert!(start.elapsed() < Duration::from_secs(600), "the hours are not added to their days");
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("opened and its hours added to their days in {:.0} s", start.elapsed().as_secs_f64());
    assert!(ledger.close(Duration::from_secs(60)));
}

fn read(directory: &Path, requests: u64) {
    for (what, by) in [
        ("all", vec![]),
        ("by key", vec![By::Key]),
        ("by model", vec![By::Model]),
        ("by caller", vec![By::Caller]),
        ("by day", vec![By::Day]),
        ("by status", vec![By::Status]),
        ("by day, key and model", vec![By::Day, By::Key, By::Model]),
        ("by hour", vec![By::Hour]),
        ("by hour and key", vec![By::Hour, By::Key]),
        ("by hour, key and model", vec![By::Hour, By::Key, By::Model]),
    ] {
        assert_eq!(ask(directory, what, Question { by, ..Question::default() }), requests);
    }
    let of_one = |what, by| {
        ask(directory, what, Question { by, keys: vec!["key-03".to_owned()], ..Question::default() })
    };
    assert_eq!(of_one("of one key", vec![]), of_one("by hour of one key", vec![By::Hour]));
}

/// Asks for a month of `question` and tells how long that takes at best; how many attempts the answer has.
fn ask(directory: &Path, what: &str, question: Question) -> u64 {
    let until = Some(Time(FIRST.start().0 + DAYS * 86_400_000));
    let question = Question { since: Some(FIRST.start()), until, ..question };
    let answers = (0..5).map(|_| {
        let start = Instant::now();
        let groups = figures(directory, &question).unwrap();
        (start.elapsed(), groups)
    });
    let (best, groups) = answers.min_by_key(|(took, _)| *took).unwrap();
    println!("a month {what}: {:.1} ms, {} groups", best.as_secs_f64() * 1e3, groups.len());
    groups.iter().map(|group| group.figures.attempts).sum()
}

/// CPU time of the threads of this process called `name`, from Linux' scheduler; zero elsewhere.
fn thread_cpu(name: &str) -> Duration {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return Duration::ZERO };
    let mut nanos = 0;
    for task in tasks.flatten() {
        let comm = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        let stat = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        if comm.trim() == name {
            nanos += stat.split(' ').next().and_then(|field| field.parse().ok()).unwrap_or(0);
        }
    }
    Duration::from_nanos(nanos)
}
