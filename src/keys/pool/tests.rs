//! What the pool promises, each promise on a small pool of its own.

mod accounts;
mod choice;
mod memory;
mod model;
mod properties;
mod rests;
mod views;

use std::collections::HashMap;
use std::sync::Arc;

use super::{KeyPool, Lease};
use crate::clock::Time;
use crate::keys::need::{Bind, Class, Exhausted, Need, Rest, Runs, Told, Tried, Used, Why};
use crate::keys::{Key, KeyName, Terms};
use crate::secret::Secret;

/// 2023-11-15T12:00:00Z.
const NOON: Time = Time(1_700_049_600_000);
const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const MIDNIGHT: Time = Time(NOON.0 + 12 * HOUR);

/// A moment so many milliseconds after noon.
fn noon(later: i64) -> Time {
    Time(NOON.0 + later)
}

fn name(name: &str) -> KeyName {
    KeyName::parse(name).unwrap()
}

fn key(text: &str) -> Key {
    Key::new(name(text), &Secret::new(format!("sk-or-v1-{text}")))
}

fn key_with(text: &str, change: impl FnOnce(&mut Terms)) -> Key {
    let mut terms = Terms::default();
    change(&mut terms);
    key(text).with_terms(terms)
}

fn keys(names: &[&str]) -> Vec<Key> {
    names.iter().copied().map(key).collect()
}

fn pool(names: &[&str]) -> KeyPool {
    KeyPool::resume(keys(names), &HashMap::new(), NOON)
}

/// A pool of which some keys were used today, attempts by name.
fn pool_used(names: &[&str], used: &[(&str, u64)]) -> KeyPool {
    let used: HashMap<_, _> = used.iter().map(|(name, count)| (Box::from(*name), *count)).collect();
    KeyPool::new(keys(names), &used, NOON.day())
}

fn ask(class: Class, tried: &Tried) -> Need<'_> {
    let model = match class {
        Class::Free => "some/model:free",
        Class::Paid => "some/model",
        Class::Other => "",
    };
    let runs = if class == Class::Other { Runs::Nothing } else { Runs::Named(&[]) };
    Need { model, runs, class, bind: Bind::Free, keys: None, tried }
}

fn try_lend(pool: &KeyPool, class: Class, now: Time) -> Result<Lease, Exhausted> {
    pool.lease(&ask(class, &Tried::default()), now)
}

fn lend(pool: &KeyPool, class: Class, now: Time) -> Lease {
    try_lend(pool, class, now).unwrap()
}

/// Lends a certain key.
fn lend_key(pool: &KeyPool, key: &str, class: Class, now: Time) -> Lease {
    let (tried, key) = (Tried::default(), name(key));
    let lease = pool.lease(&Need { bind: Bind::Only(&key), ..ask(class, &tried) }, now).unwrap();
    assert_eq!(lease.key().name(), &key);
    lease
}

/// Benches a certain key, and tells whether that makes it an outage.
fn bench(pool: &KeyPool, key: &str, class: Class, rest: Rest, now: Time) -> bool {
    lend_key(pool, key, class, now).bench(rest, now);
    is_outage(pool, class, rest, now)
}

/// Whether a fault that was just met is an outage.
fn is_outage(pool: &KeyPool, class: Class, rest: Rest, now: Time) -> bool {
    matches!(rest, Rest::Unidentified(_)) && pool.is_outage(&ask(class, &Tried::default()), now)
}

/// Who served so many requests, one after the other.
fn lend_many(pool: &KeyPool, class: Class, count: usize, now: Time) -> HashMap<String, usize> {
    let mut by_name = HashMap::new();
    for _ in 0..count {
        *by_name.entry(lend(pool, class, now).key().name().to_string()).or_default() += 1;
    }
    by_name
}

/// When the pool comes back, and what holds the keys.
fn held(pool: &KeyPool, class: Class, now: Time) -> (Option<Time>, Vec<(Why, usize)>) {
    let exhausted = try_lend(pool, class, now).expect_err("no key can serve");
    (exhausted.until, exhausted.why)
}

fn owned_by(account: &str) -> Told {
    Told { account: Some(account.into()), ..Told::default() }
}

/// A `Used` with so many free attempts today.
fn free_today(count: u64) -> Used {
    Used { attempts: count, free_today: count, ..Used::default() }
}
