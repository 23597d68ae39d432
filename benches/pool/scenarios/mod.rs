//! The scenarios that prove the pool: each plays, asks the simulator what it saw, and sets its bars.

mod affinity;
mod fair;
mod faults;
mod keys;
mod limits;

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use hermux::clock::Clock;
use hermux::simulator::{Account, Cause, Class, Key};

use crate::report::Report;
use crate::rig::Rig;

/// How large a scenario is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// As the bar is set, real minutes included.
    Full,
    /// In seconds, for tests; what needs a minute is played without it where that proves the same.
    Quick,
}

/// A scenario by name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    /// What it is, for the help.
    pub(crate) about: &'static str,
    /// Whether it can't be played without real minutes.
    pub(crate) minutes: bool,
    pub(crate) play: fn(Size) -> io::Result<Report>,
}

/// All of them; those that take minutes first, since they run beside the others.
pub(crate) const ALL: [Scene; 11] = [
    Scene {
        name: "minute",
        about: "3 free accounts at 20 a minute, 100 requests in bursts, patience 120 s",
        minutes: true,
        play: limits::minute,
    },
    Scene {
        name: "skew",
        about: "the same with upstream's clock behind, so that windows turn late",
        minutes: true,
        play: limits::skew,
    },
    Scene {
        name: "day",
        about: "5 accounts with 12 to 50 requests left today, more offered than the sum",
        minutes: false,
        play: limits::day,
    },
    Scene {
        name: "fair",
        about: "a caller with 100 waiting requests, and another's single one",
        minutes: false,
        play: fair::fair,
    },
    Scene {
        name: "mixed",
        about: "10 keys, 3 invalid, 2 without credits, 1 over its cap, 2 of one account; free and paid",
        minutes: false,
        play: keys::mixed,
    },
    Scene {
        name: "outage",
        about: "one model down for 20 s, 20 callers, another model beside it",
        minutes: false,
        play: faults::outage,
    },
    Scene { name: "flaky", about: "5 % 502 and 503, 2 % resets", minutes: false, play: faults::flaky },
    Scene { name: "kill", about: "kill -9 in the middle, under load", minutes: false, play: keys::kill },
    Scene {
        name: "affinity",
        about: "12 conversations of 8 turns, 6 keys; 60 generations looked up after kill -9",
        minutes: false,
        play: affinity::affinity,
    },
    Scene {
        name: "turn",
        about: "the UTC day turns with everything exhausted",
        minutes: false,
        play: limits::turn,
    },
    Scene {
        name: "reload",
        about: "a key added to tokens.csv, and one removed",
        minutes: false,
        play: keys::reload,
    },
];

const FREE: &str = "deepseek/deepseek-chat:free";
const PAID: &str = "openai/gpt-4o-mini";
const OTHER_PAID: &str = "deepseek/deepseek-chat";

/// An account with one key of the same name that never bought credits.
fn free_account(name: &str) -> Account {
    Account::new(name).credits(0).key(Key::new(name))
}

/// An account with one key of the same name and 100 dollars.
fn account(name: &str) -> Account {
    Account::new(name).key(Key::new(name))
}

/// Attempts that were refused for `cause`, by account.
fn refused_for(rig: &Rig, cause: Cause) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for attempt in rig.simulator.attempts() {
        if attempt.cause == Some(cause) {
            *counts.entry(attempt.account.unwrap_or_default()).or_default() += 1;
        }
    }
    counts
}

/// Attempts at free models, by account, that upstream counted.
fn free_by_account(rig: &Rig) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for attempt in rig.simulator.attempts() {
        if attempt.class == Class::Free
            && !matches!(attempt.cause, Some(Cause::Key | Cause::Cap | Cause::Credits))
        {
            *counts.entry(attempt.account.unwrap_or_default()).or_default() += 1;
        }
    }
    counts
}

/// Waits past midnight (UTC) where less than `span` of the day is left.
fn away_from_midnight(span: Duration) {
    let now = Clock::system().now();
    let left = now.day().next().start().since(now);
    if left < span {
        std::thread::sleep(left + Duration::from_secs(1));
    }
}

/// Waits for the next whole minute where what takes `span` would not end before it.
fn away_from_a_turn(span: Duration) {
    let now = Clock::system().now();
    let left = Duration::from_millis(60_000 - now.0.rem_euclid(60_000).unsigned_abs());
    if left < span {
        std::thread::sleep(left + Duration::from_millis(100));
    }
}
