//! A caller who leaves ends the exchange upstream at once, in each of its phases.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::h2::H2;
use crate::support::{Connection, Exchange, Hermux, Request, Upstream, samples};

/// Long before any timeout ends the exchange, whose shortest is minutes.
const PROMPTLY: Duration = Duration::from_secs(5);

/// The two ways in which a caller disappears.
const WAYS: [fn(Connection); 2] = [Connection::cut_fin, Connection::cut_reset];

fn assert_closed_promptly(exchange: &mut Exchange, since: Instant) {
    exchange.wire.wait_closed();
    assert!(since.elapsed() < PROMPTLY, "upstream was kept for {:?}", since.elapsed());
}

#[test]
fn while_it_waits_for_the_head() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    for leave in WAYS {
        for stream in [false, true] {
            let (connection, mut exchange) = hermux.open(&Request::chat(stream), &upstream);
            exchange.body();
            let left = Instant::now();
            leave(connection);
            assert_closed_promptly(&mut exchange, left);
        }
    }
}

#[test]
fn in_a_gap_of_the_stream() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    for leave in WAYS {
        let (mut connection, mut exchange) = hermux.open(&Request::chat(true), &upstream);
        exchange.begin_stream();
        connection.answer();
        exchange.wire.send_chunk("data: {}\n\n");
        assert_eq!(connection.bytes(10), b"data: {}\n\n");
        let left = Instant::now();
        leave(connection);
        assert_closed_promptly(&mut exchange, left);
    }
}

#[test]
fn in_the_middle_of_the_stream() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    for leave in WAYS {
        let (mut connection, mut exchange) = hermux.open(&Request::chat(true), &upstream);
        exchange.begin_stream();
        connection.answer();
        let mut writer = exchange.wire.writer();
        let chunk = format!("1000\r\n{}\r\n", ":".repeat(4096));
        let writing = thread::spawn(move || while writer.try_send(&chunk).is_ok() {});
        connection.bytes_at_least(1 << 20);
        let left = Instant::now();
        leave(connection);
        writing.join().unwrap();
        assert!(left.elapsed() < PROMPTLY, "upstream was kept for {:?}", left.elapsed());
    }
}

#[test]
fn when_an_h2_stream_is_reset() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    let mut h2 = H2::open(hermux.address());
    // Before the head.
    let waiting = h2.send("POST", "/v1/chat/completions", Some("{}"));
    let mut exchange = upstream.next();
    let left = Instant::now();
    waiting.cancel();
    assert_closed_promptly(&mut exchange, left);
    // In the stream.
    let mut streaming = h2.send("POST", "/v1/chat/completions", Some("{}"));
    let mut exchange = upstream.next();
    exchange.begin_stream();
    assert_eq!(streaming.head().unwrap().status(), 200);
    exchange.wire.send_chunk("data: {}\n\n");
    assert_eq!(streaming.data().unwrap().unwrap(), "data: {}\n\n");
    let left = Instant::now();
    streaming.cancel();
    assert_closed_promptly(&mut exchange, left);
    // The connection goes on.
    let mut next = h2.send("GET", "/v1/models", None);
    upstream.next().json(200, samples::MODELS);
    assert_eq!(next.head().unwrap().status(), 200);
    assert_eq!(next.whole(), samples::MODELS.as_bytes());
}

#[test]
fn nothing_is_left_behind() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    for _ in 0..20 {
        let (connection, mut exchange) = hermux.open(&Request::chat(true), &upstream);
        exchange.begin_stream();
        connection.cut_reset();
        exchange.wire.wait_closed();
    }
    // Each attempt is booked, though none came to its end.
    let sum = hermux.stats_when("20 attempts", |sum| sum.attempts == 20);
    assert_eq!(sum.requests, 20);
}
