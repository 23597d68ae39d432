//! A kept-alive connection may be gone when it is used again: then the request goes out once more, and only then.

use crate::support::hermux::answer;
use crate::support::{Connection, Hermux, Request, Setup, Upstream, samples};

/// A hermux with one worker, so that the second request finds the first one's connection.
fn one_worker(upstream: &Upstream) -> Hermux {
    Setup::new(upstream).flag("--workers", "1").start()
}

/// Serves one request to its end, so that a connection is kept.
fn warm_up(hermux: &Hermux, upstream: &Upstream) -> usize {
    let (mut connection, exchange) = hermux.open(&Request::chat(false), upstream);
    let number = exchange.connection;
    exchange.json(200, samples::CHAT);
    assert_eq!(answer(&mut connection).status(), 200);
    number
}

#[test]
fn a_connection_is_used_again() {
    let upstream = Upstream::start();
    let hermux = one_worker(&upstream);
    let first = warm_up(&hermux, &upstream);
    assert_eq!(warm_up(&hermux, &upstream), first);
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_request_that_died_on_a_reused_connection_is_sent_once_more_on_a_fresh_one() {
    let upstream = Upstream::start();
    let hermux = one_worker(&upstream);
    let large = format!(r#"{{"model":"acme/small","input":"{}"}}"#, "x".repeat(300_000));
    let mut sent = 0;
    for cut in [Connection::cut_fin, Connection::cut_reset] {
        for request in [
            Request::chat(false),
            Request::chat(true),
            Request::get("/v1/models"),
            Request::post("/v1/embeddings", &large),
        ] {
            let kept = warm_up(&hermux, &upstream);
            let (mut connection, mut stale) = hermux.open(&request, &upstream);
            assert_eq!(stale.connection, kept, "the kept connection is used");
            let (target, body) = (stale.head.target().to_owned(), stale.body());
            cut(stale.wire);
            let mut fresh = upstream.next();
            assert_ne!(fresh.connection, kept);
            assert_eq!(fresh.head.target(), target);
            assert!(fresh.body() == body, "the same body goes out again");
            fresh.json(200, samples::CHAT);
            assert_eq!(answer(&mut connection).status(), 200);
            sent += 1;
        }
    }
    // Both times it was sent count as attempts, and as one request.
    let sum = hermux.stats_when("every attempt in the ledger", |sum| sum.attempts == 3 * sent);
    assert_eq!(sum.requests, 2 * sent);
}

#[test]
fn it_is_sent_no_fourth_time() {
    let upstream = Upstream::start();
    let hermux = one_worker(&upstream);
    warm_up(&hermux, &upstream);
    let (mut connection, mut stale) = hermux.open(&Request::chat(false), &upstream);
    stale.body();
    stale.wire.cut_fin();
    // A fresh connection that ends without an answer is worth one more.
    for _ in 0..2 {
        let mut fresh = upstream.next();
        fresh.body();
        fresh.wire.cut_fin();
    }
    assert_eq!(answer(&mut connection).status(), 502);
    assert_eq!(upstream.requests(), 4);
}

#[test]
fn after_the_first_byte_nothing_is_sent_again() {
    let upstream = Upstream::start();
    let hermux = one_worker(&upstream);
    for cut in [Connection::cut_fin, Connection::cut_reset] {
        warm_up(&hermux, &upstream);
        let before = upstream.requests();
        let (mut connection, mut stale) = hermux.open(&Request::chat(false), &upstream);
        stale.body();
        stale.wire.send("HTTP/1.1 200");
        cut(stale.wire);
        assert_eq!(answer(&mut connection).status(), 502);
        assert_eq!(upstream.requests(), before + 1);
    }
}

#[test]
fn an_idle_connection_that_upstream_closed_is_not_used() {
    let upstream = Upstream::start();
    let hermux = one_worker(&upstream);
    for cut in [Connection::cut_fin, Connection::cut_reset] {
        let (mut connection, mut exchange) = hermux.open(&Request::chat(false), &upstream);
        let kept = exchange.connection;
        exchange.body();
        exchange.wire.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
        assert_eq!(answer(&mut connection).status(), 200);
        cut(exchange.wire);
        let (mut connection, exchange) = hermux.open(&Request::chat(false), &upstream);
        assert_ne!(exchange.connection, kept);
        exchange.json(200, "{}");
        assert_eq!(answer(&mut connection).status(), 200);
    }
}

#[test]
fn a_connection_that_upstream_wants_closed_is_not_kept() {
    let upstream = Upstream::start();
    let hermux = one_worker(&upstream);
    for head in [
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        // Bytes that nobody asked for: whatever they are, they are no answer to the next request.
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nstolen",
    ] {
        let (mut connection, mut exchange) = hermux.open(&Request::chat(false), &upstream);
        exchange.body();
        exchange.wire.send(head);
        let answer = answer(&mut connection);
        assert_eq!((answer.status(), answer.body.as_slice()), (200, b"{}".as_slice()));
        exchange.wire.wait_closed();
    }
    let (mut connection, exchange) = hermux.open(&Request::chat(false), &upstream);
    exchange.json(200, samples::CHAT);
    assert_eq!(answer(&mut connection).body, samples::CHAT.as_bytes());
}
