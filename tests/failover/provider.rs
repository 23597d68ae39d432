//! A provider's, the edge's or the connection's fault: once more a moment later, and not for ever.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use super::{DOWN, attempts, bad_first, chat, fails_first, start};
use crate::support::hermux::answer;
use crate::support::{Connection, Exchange, Request, Upstream, samples};

/// How an exchange is answered.
type Answering = fn(Exchange);

fn html(mut exchange: Exchange) {
    exchange.body();
    let page = "<!DOCTYPE html><title>Temporarily unavailable | openrouter.ai | Cloudflare</title>";
    let length = page.len();
    exchange.wire.send(format!(
        "HTTP/1.1 524 A Timeout\r\ncontent-type: text/html\r\ncontent-length: {length}\r\n\r\n{page}"
    ));
    exchange.keep();
}

fn reset(mut exchange: Exchange) {
    exchange.body();
    exchange.wire.cut_reset();
}

fn closed(mut exchange: Exchange) {
    exchange.body();
    exchange.wire.cut_fin();
}

#[test]
fn one_failure_the_caller_never_sees() {
    let kinds: [(&str, Answering); 5] = [
        ("502", |exchange| exchange.json(DOWN.0, DOWN.1)),
        ("529", |exchange| {
            exchange.json(529, r#"{"error":{"code":529,"message":"Provider returned error"}}"#);
        }),
        ("html", html),
        ("reset", reset),
        ("closed", closed),
    ];
    for (kind, bad) in kinds {
        let keys = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&keys);
        let upstream = bad_first(1, move |exchange| {
            seen.lock().unwrap().push(exchange.key().to_owned());
            bad(exchange);
        });
        let hermux = start(&upstream, 2);
        let answer = hermux.ask(&chat());
        assert_eq!((answer.status(), answer.body.as_slice()), (200, samples::CHAT.as_bytes()), "{kind}");
        assert_eq!((attempts(&answer), upstream.requests()), (2, 2), "{kind}");
        hermux.stats_when("both attempts in the ledger", |sum| sum.attempts == 2);
        let other = hermux.stats().iter().filter(|key| key.attempts == 1).count();
        assert_eq!(other, 2, "another key was there: {kind}");
    }
}

#[test]
fn the_second_failure_is_passed_on_as_it_came() {
    let upstream = Upstream::answering(|mut exchange| {
        exchange.body();
        let length = DOWN.1.len();
        exchange.wire.send(format!(
            "HTTP/1.1 502 Bad\r\ncontent-type: application/json\r\nx-mine: 1\r\ncontent-length: {length}\r\n\r\n{}",
            DOWN.1
        ));
        exchange.keep();
    });
    let hermux = start(&upstream, 1);
    let answer = hermux.ask(&chat());
    assert_eq!((answer.status(), answer.body.as_slice()), (502, DOWN.1.as_bytes()));
    assert_eq!(answer.head.header("x-mine"), Some("1"));
    assert_eq!(answer.key_name(), "key-1");
    assert_eq!((attempts(&answer), upstream.requests()), (2, 2));
}

#[test]
fn an_error_outlasts_the_silence_behind_it_and_no_request_goes_out_a_fourth_time() {
    let upstream = Upstream::start();
    let hermux = start(&upstream, 3);
    let (mut connection, first) = hermux.open(&chat(), &upstream);
    first.json(DOWN.0, DOWN.1);
    for _ in 0..2 {
        reset(upstream.next());
    }
    let answer = answer(&mut connection);
    assert_eq!((answer.status(), answer.body.as_slice()), (502, DOWN.1.as_bytes()));
    assert_eq!((attempts(&answer), upstream.requests()), (3, 3));
}

#[test]
fn a_long_error_passes_whole() {
    let long = format!(r#"{{"error":{{"code":400,"message":"{}"}}}}"#, "x".repeat(300_000));
    let body = long.clone();
    let upstream = bad_first(usize::MAX, move |mut exchange| {
        exchange.body();
        exchange
            .wire
            .send("HTTP/1.1 400 Bad\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n");
        body.as_bytes().chunks(7_000).for_each(|piece| exchange.wire.send_chunk(piece));
        exchange.wire.send_last_chunk();
        exchange.keep();
    });
    let answer = start(&upstream, 2).ask(&chat());
    assert_eq!((answer.status(), attempts(&answer)), (400, 1));
    assert!(answer.body == long.as_bytes());
}

#[test]
fn what_may_not_happen_twice_is_not_sent_twice() {
    for bad in [reset, |exchange: Exchange| exchange.json(DOWN.0, DOWN.1)] {
        let upstream = bad_first(1, bad);
        let hermux = start(&upstream, 2);
        let answer = hermux.ask(&Request::post("/v1/files", "{}"));
        assert_eq!((answer.status(), attempts(&answer), upstream.requests()), (502, 1, 1));
    }
    let upstream = fails_first(1, DOWN);
    let answer = start(&upstream, 2).ask(&Request::get("/v1/models"));
    assert_eq!((answer.status(), attempts(&answer)), (200, 2));
}

#[test]
fn behind_the_first_byte_of_a_head_nothing_is_sent_again() {
    for cut in [Connection::cut_fin, Connection::cut_reset] {
        let upstream = bad_first(1, move |mut exchange| {
            exchange.body();
            exchange.wire.send("HTTP/1.1 200 OK\r\nconte");
            cut(exchange.wire);
        });
        let answer = start(&upstream, 2).ask(&chat());
        assert_eq!((answer.status(), attempts(&answer), upstream.requests()), (502, 1, 1));
    }
}

#[test]
fn an_outage_does_not_multiply_the_load() {
    let upstream = bad_first(usize::MAX, html);
    let hermux = start(&upstream, 4);
    let address = hermux.address();
    let callers: Vec<_> = (0..8)
        .map(|_| {
            thread::spawn(move || {
                let mut connection = Connection::open(address);
                for _ in 0..10 {
                    connection.send(chat().bytes());
                    assert_eq!(answer(&mut connection).status(), 524);
                }
            })
        })
        .collect();
    for caller in callers {
        caller.join().unwrap();
    }
    // A fifth of 80 requests and ten; twice that, should it take longer than one window.
    assert!((81..=80 + 2 * 26).contains(&upstream.requests()), "{}", upstream.requests());
}

#[test]
fn who_is_told_to_come_back_soon_does_so_where_it_may_wait() {
    const SOON: &str = r#"{"error":{"code":503,"message":"Service temporarily unavailable"}}"#;
    for (after, wait, status) in [(1, "5s", 200), (1, "0", 503), (30, "60s", 503)] {
        let upstream = bad_first(1, move |mut exchange| {
            exchange.body();
            let length = SOON.len();
            exchange.wire.send(format!(
                "HTTP/1.1 503 Down\r\ncontent-type: application/json\r\nretry-after: {after}\r\ncontent-length: {length}\r\n\r\n{SOON}"
            ));
            exchange.keep();
        });
        let hermux = start(&upstream, 2);
        let begun = Instant::now();
        let answer = hermux.ask(&Request::chat(false).header("X-HERMUX-Max-Wait", wait));
        assert_eq!((answer.status(), attempts(&answer)), (status, if status == 200 { 2 } else { 1 }));
        // Clocks count milliseconds.
        assert!(status != 200 || begun.elapsed() >= Duration::from_millis(990), "not before");
    }
}

#[test]
fn who_left_together_with_those_that_show_the_model_down_waits_as_they_do() {
    // Down for so long from the first request on that comes when it has proved itself: the first probe fails, and is made
    // by somebody who has an attempt left after it.
    const GOOD: usize = 25;
    const OUTAGE: Duration = Duration::from_secs(3);
    let (asked, since) = (AtomicUsize::new(0), OnceLock::<Instant>::new());
    let upstream = Upstream::answering(move |exchange| {
        let is_good =
            asked.fetch_add(1, Ordering::SeqCst) < GOOD || since.get_or_init(Instant::now).elapsed() > OUTAGE;
        let (status, body) = if is_good { (200, samples::CHAT) } else { DOWN };
        exchange.json(status, body);
    });
    let hermux = start(&upstream, 4);
    for _ in 0..GOOD {
        assert_eq!(hermux.ask(&chat()).status(), 200);
    }
    // More than the budget sends again before the model is known to be down.
    let request = Request::chat(false).header("X-HERMUX-Max-Wait", "30s");
    let mut connections: Vec<_> = (0..30).map(|_| hermux.send(&request)).collect();
    let statuses: Vec<_> = connections.iter_mut().map(|connection| answer(connection).status()).collect();
    assert_eq!(statuses, [200; 30]);
}
