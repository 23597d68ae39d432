//! The ledger beside the simulator's own books: what was cut, left, retried and killed is in both to the last digit.
//!
//! The ignored tests are too slow for every day: `just slow` runs them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by its panic")]

#[path = "../support/mod.rs"]
mod support;

mod kill;
mod load;
mod memory;
mod mixed;
mod reconcile;
mod scripted;
mod settle;

use std::collections::BTreeMap;
use std::path::Path;

use hermux::ledger::query::{By, Figures, Question, Value, figures};
use hermux::simulator::{Key, Scenario, Simulator};

use support::hermux::write_private;
use support::{Request, Setup};

/// A simulator with keys of these names, each of an account of its own, and hermux's files for it.
fn scene(names: &[&str], change: impl FnOnce(Scenario) -> Scenario) -> (Simulator, Setup) {
    let simulator = Simulator::start(change(Scenario::with_keys(names))).unwrap();
    let setup = Setup::url(&simulator.url());
    let row = |name: &&str| format!("{name},{}\n", Key::new(name).secret);
    write_private(&setup.tokens(), &format!("name,token\n{}", names.iter().map(row).collect::<String>()));
    (simulator, setup.polling())
}

/// A request of a dialect: its path, and its body with or without a stream.
fn asks(path: &str, stream: bool, text: &str) -> Request {
    let body = match path {
        "/v1/embeddings" => format!(r#"{{"model":"openai/text-embedding-3-small","input":"{text}"}}"#),
        "/v1/responses" => format!(r#"{{"model":"openai/gpt-4o-mini","stream":{stream},"input":"{text}"}}"#),
        "/v1/completions" => {
            format!(r#"{{"model":"openai/gpt-4o-mini","stream":{stream},"prompt":"{text}"}}"#)
        }
        _ => format!(
            r#"{{"model":"anthropic/claude-sonnet-4.5","stream":{stream},"max_tokens":200,
                "messages":[{{"role":"user","content":"{text}"}}]}}"#
        ),
    };
    Request::post(path, &body)
}

/// What the ledger in `data` counted of each key.
fn by_key(data: &Path) -> BTreeMap<String, Figures> {
    let groups = figures(data, &Question { by: vec![By::Key], ..Question::default() }).unwrap();
    groups
        .into_iter()
        .map(|group| match group.is.into_iter().next() {
            Some(Value::Name(name)) => (name, group.figures),
            other => panic!("not a key: {other:?}"),
        })
        .collect()
}

/// Prompt tokens, cached ones, completion tokens and cost, by key.
type Bill = BTreeMap<String, (u64, u64, u64, i64)>;

/// What the ledger in `data` says was billed.
fn counted(data: &Path) -> Bill {
    let row = |(name, it): (String, Figures)| {
        (name, (it.prompt_tokens, it.cached_tokens, it.completion_tokens, it.cost))
    };
    by_key(data).into_iter().map(row).collect()
}

/// What the simulator billed.
fn billed(simulator: &Simulator) -> Bill {
    let row = |it: hermux::simulator::KeyUsage| {
        (it.key, (it.prompt_tokens, it.cached_tokens, it.completion_tokens, it.cost))
    };
    simulator.usage().into_iter().map(row).filter(|(_, bill)| *bill != (0, 0, 0, 0)).collect()
}

/// One number out of the database in `data`.
fn number(data: &Path, sql: &str) -> i64 {
    rusqlite::Connection::open(data.join("ledger.db")).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}
