//! Which key a request gets: evenly, remembered over every end of the process, and by one process at a time.

mod support;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread;

use support::hermux::{answer, secret};
use support::{Exchange, Hermux, Request, Setup, Upstream, samples};

fn chat(exchange: Exchange) {
    exchange.json(200, samples::CHAT);
}

/// The keys that served `count` requests, one after the other.
fn served(hermux: &Hermux, count: usize) -> Vec<String> {
    let mut names: Vec<String> =
        (0..count).map(|_| hermux.ask(&Request::chat(false)).key_name().to_owned()).collect();
    names.sort();
    names
}

fn names(count: usize) -> Vec<String> {
    let mut names: Vec<String> = (1..=count).map(|number| format!("key-{number}")).collect();
    names.sort();
    names
}

#[test]
fn equal_requests_spread_evenly_over_the_keys_also_at_once() {
    let seen = Arc::new(Mutex::new(HashMap::<String, usize>::new()));
    let counts = Arc::clone(&seen);
    let upstream = Upstream::answering(move |exchange| {
        *counts.lock().unwrap().entry(exchange.key().to_owned()).or_default() += 1;
        exchange.json(200, samples::CHAT);
    });
    let hermux = Setup::new(&upstream).keys(4).start();
    let address = hermux.address();
    let callers: Vec<_> = (0..16)
        .map(|_| {
            thread::spawn(move || {
                let mut connection = support::Connection::open(address);
                let mut names = Vec::new();
                for _ in 0..25 {
                    connection.send(Request::chat(false).bytes());
                    let answer = answer(&mut connection);
                    assert_eq!(answer.status(), 200);
                    names.push(answer.key_name().to_owned());
                }
                names
            })
        })
        .collect();
    let mut named = HashMap::<String, usize>::new();
    for caller in callers {
        for name in caller.join().unwrap() {
            *named.entry(name).or_default() += 1;
        }
    }
    for number in 1..=4 {
        let count = named[&format!("key-{number}")];
        assert!((99..=101).contains(&count), "key-{number} served {count} of 400");
        // The name that the caller reads is the name of the key that went upstream.
        assert_eq!(seen.lock().unwrap()[&secret(number)], count);
    }
    let stats = hermux.stats_when("400 requests in the ledger", |sum| sum.requests == 400);
    assert_eq!(stats.attempts, 400);
    for key in hermux.stats() {
        assert_eq!(key.requests, named[&key.name] as u64, "{}", key.name);
    }
}

#[test]
fn use_counts_from_the_lease_so_that_requests_at_once_get_different_keys() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).keys(3).start();
    let open: Vec<_> = (0..3).map(|_| hermux.open(&Request::chat(false), &upstream)).collect();
    let mut keys: Vec<String> = open.iter().map(|(_, exchange)| exchange.key().to_owned()).collect();
    keys.sort();
    assert_eq!(keys, [secret(1), secret(2), secret(3)]);
    for (mut connection, exchange) in open {
        exchange.json(200, samples::CHAT);
        assert_eq!(answer(&mut connection).status(), 200);
    }
}

#[test]
fn among_keys_used_equally_the_one_with_fewer_in_flight_is_taken() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).keys(2).start();
    let (_held, first) = hermux.open(&Request::chat(false), &upstream);
    let busy = first.key().to_owned();
    assert_ne!(serve_one(&hermux, &upstream), busy, "it is behind");
    for round in 0..8 {
        // Both are used equally, and one of them has a request under way; then that one is behind.
        assert_ne!(serve_one(&hermux, &upstream), busy, "round {round}");
        assert_eq!(serve_one(&hermux, &upstream), busy, "round {round}");
    }
}

#[test]
fn a_caller_that_left_returns_its_lease() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).keys(2).start();
    let (left, mut first) = hermux.open(&Request::chat(false), &upstream);
    let gone = first.key().to_owned();
    left.cut_reset();
    first.wire.wait_closed();
    assert_ne!(serve_one(&hermux, &upstream), gone, "it is behind");
    // Both are used equally before each pair. Were the lease still out, the other key would open every pair;
    // by chance alone it does so once in a million.
    let opened = (0..20).filter(|_| {
        let first = serve_one(&hermux, &upstream);
        assert_ne!(serve_one(&hermux, &upstream), first);
        first == gone
    });
    assert!(opened.count() > 0, "the lease never came back");
}

/// Sends a request, answers it, and returns the key it was sent with.
fn serve_one(hermux: &Hermux, upstream: &Upstream) -> String {
    let (mut connection, exchange) = hermux.open(&Request::chat(false), upstream);
    let key = exchange.key().to_owned();
    exchange.json(200, samples::CHAT);
    assert_eq!(answer(&mut connection).status(), 200);
    key
}

#[test]
fn what_was_used_today_survives_a_restart() {
    let upstream = Upstream::answering(chat);
    let hermux = Setup::new(&upstream).keys(8).start();
    let mut all = served(&hermux, 7);
    let hermux = hermux.stop_and_restart();
    // Seven keys are used once; only by memory can the eighth be the next.
    all.extend(served(&hermux, 1));
    all.sort();
    assert_eq!(all, names(8));
    assert_eq!(served(&hermux, 8), names(8));
}

#[test]
fn what_was_used_today_survives_a_kill() {
    let upstream = Upstream::answering(chat);
    let hermux = Setup::new(&upstream).keys(8).start();
    let mut all = served(&hermux, 7);
    hermux.stats_when("7 attempts in the ledger", |sum| sum.attempts == 7);
    let hermux = hermux.kill_and_restart();
    all.extend(served(&hermux, 1));
    all.sort();
    assert_eq!(all, names(8));
    hermux.stats_when("8 requests in the ledger", |sum| sum.requests == 8);
}

#[test]
fn a_request_under_way_at_a_kill_has_used_its_key() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).keys(2).start();
    let (_connection, exchange) = hermux.open(&Request::chat(true), &upstream);
    let used = exchange.key().to_owned();
    hermux.stats_when("an attempt in the ledger", |sum| sum.attempts == 1);
    let hermux = hermux.kill_and_restart();
    let (mut connection, exchange) = hermux.open(&Request::chat(false), &upstream);
    assert_ne!(exchange.key(), used);
    exchange.json(200, samples::CHAT);
    assert_eq!(answer(&mut connection).status(), 200);
}

#[test]
fn a_second_process_is_told_which_one_holds_the_data_directory() {
    let upstream = Upstream::answering(chat);
    let hermux = Hermux::start(&upstream);
    let (status, said) = hermux.setup().start_in_vain();
    assert!(!status.success());
    assert!(said.contains(&hermux.pid().to_string()), "no {} in: {said}", hermux.pid());
    assert_eq!(hermux.ask(&Request::chat(false)).status(), 200, "the first one goes on");
    // A dead process holds nothing.
    let hermux = hermux.kill_and_restart();
    assert_eq!(hermux.ask(&Request::chat(false)).status(), 200);
}

#[test]
fn without_a_writable_directory_it_serves_and_warns() {
    let upstream = Upstream::answering(chat);
    // No directory can be made below a file, whoever asks.
    let below_a_file = |setup: Setup| {
        let path = setup.tokens().join("data");
        setup.keys(4).flag("--data-dir", path.to_str().expect("a plain path"))
    };
    let hermux = below_a_file(Setup::new(&upstream)).start();
    assert_eq!(served(&hermux, 4), names(4));
    assert!(hermux.lines().iter().any(|line| line.to_lowercase().contains("warn")), "{:?}", hermux.lines());
}
