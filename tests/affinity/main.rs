//! What stays with the account that made it, and what hermux answers for all accounts together.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "../support/mod.rs"]
mod support;

mod conversations;
mod generations;
mod pool;
mod resources;
mod videos;

use hermux::simulator::{Scenario, Simulator};
use support::hermux::write_private;
use support::{Hermux, Setup};

/// A simulator that plays `scenario`, and hermux with its keys.
fn start(scenario: Scenario) -> (Simulator, Hermux) {
    let rows = rows(&scenario);
    let simulator = Simulator::start(scenario).unwrap();
    let hermux = with_keys(&simulator, &rows);
    (simulator, hermux)
}

/// A hermux with these rows of keys, which knows nothing of what another one saw.
fn with_keys(simulator: &Simulator, rows: &str) -> Hermux {
    let setup = Setup::url(&simulator.url());
    write_private(&setup.tokens(), &format!("name,token\n{rows}"));
    setup.start()
}

fn rows(scenario: &Scenario) -> String {
    let rows: Vec<_> = scenario.keys().map(|key| format!("{},{}\n", key.name, key.secret)).collect();
    rows.concat()
}

/// The names of the keys that asked for `path`, in order.
fn askers(simulator: &Simulator, path: &str) -> Vec<String> {
    let attempts = simulator.attempts();
    attempts.into_iter().filter(|one| one.path() == path).filter_map(|one| one.key).collect()
}
