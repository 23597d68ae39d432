//! Before the first byte: 502 or 504 in the dialect of the route, with a sentence and no secrets.

use std::net::TcpListener;

use crate::support::hermux::{Answer, answer, secret};
use crate::support::{Connection, Exchange, Hermux, Request, Setup, TOKEN, Upstream, show};

/// Checks an answer that hermux made itself for a route of the chat dialect.
fn assert_refusal(answer: &Answer, statuses: &[u16], what: &str) {
    assert!(statuses.contains(&answer.status()), "{what}: {} {}", answer.status(), show(&answer.body));
    assert_eq!(answer.head.header("content-type"), Some("application/json"), "{what}");
    let json = answer.json();
    assert_eq!(json["error"]["code"], answer.status(), "{what}: {json}");
    assert_sentence(json["error"]["message"].as_str(), what);
    assert_no_secrets(answer, what);
}

/// The same for one of the messages dialect.
fn assert_message_refusal(answer: &Answer, statuses: &[u16], what: &str) {
    assert!(statuses.contains(&answer.status()), "{what}: {} {}", answer.status(), show(&answer.body));
    let json = answer.json();
    assert_eq!(json["type"], "error", "{what}: {json}");
    assert!(json["error"]["type"].is_string(), "{what}: {json}");
    assert_sentence(json["error"]["message"].as_str(), what);
    assert_no_secrets(answer, what);
}

fn assert_sentence(message: Option<&str>, what: &str) {
    assert!(message.is_some_and(|message| message.contains(' ')), "{what}: no sentence: {message:?}");
}

fn assert_no_secrets(answer: &Answer, what: &str) {
    let said = format!("{}{}", show(&answer.head.raw), show(&answer.body));
    assert!(!said.contains(&secret(1)) && !said.contains(TOKEN), "{what}: a secret in the answer");
}

/// Asks in both dialects with nobody at the other end who could answer well.
fn assert_both_refused(hermux: &Hermux, statuses: &[u16], what: &str) {
    assert_refusal(&hermux.ask(&Request::chat(true)), statuses, what);
    assert_message_refusal(&hermux.ask(&Request::post("/v1/messages", "{}")), statuses, what);
}

#[test]
fn a_refused_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    let hermux = Setup::url(&format!("http://{closed}/api/v1")).start();
    assert_both_refused(&hermux, &[502], "refused");
}

#[test]
fn a_name_that_does_not_resolve() {
    let hermux = Setup::url("http://upstream.invalid/api/v1").flag("--connect-timeout", "3s").start();
    // Where no name server answers, the look-up takes too long instead.
    assert_both_refused(&hermux, &[502, 504], "dns");
}

#[test]
fn a_peer_that_does_not_speak_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
                .ok();
        }
    });
    let hermux = Setup::url(&format!("https://{address}/api/v1")).start();
    assert_both_refused(&hermux, &[502], "tls");
}

#[test]
fn silence_before_the_handshake_ends() {
    // It accepts and says nothing: neither plain HTTP nor a TLS handshake gets on.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let hermux = Setup::url(&format!("https://{address}/api/v1")).flag("--connect-timeout", "1s").start();
    assert_both_refused(&hermux, &[504], "silent handshake");
}

#[test]
fn silence_before_the_head_ends() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).flag("--first-byte-timeout", "1s").start();
    for sent in ["", "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"] {
        let (mut connection, mut exchange) = hermux.open(&Request::chat(true), &upstream);
        exchange.body();
        exchange.wire.send(sent);
        assert_refusal(&answer(&mut connection), &[504], sent);
        // Nobody waits for it any longer.
        exchange.wire.wait_closed();
    }
    let (mut connection, _exchange) = hermux.open(&Request::post("/v1/messages", "{}"), &upstream);
    assert_message_refusal(&answer(&mut connection), &[504], "messages");
}

#[test]
fn a_break_before_the_first_byte() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    for cut in [Connection::cut_fin, Connection::cut_reset] {
        for sent in ["", "HTTP/1.1 2", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n"] {
            let (mut connection, mut exchange) = hermux.open(&Request::chat(true), &upstream);
            exchange.body();
            exchange.wire.send(sent);
            cut(exchange.wire);
            // Where no byte of an answer was seen, it is sent once more.
            if sent.is_empty() {
                let mut again = upstream.next();
                again.body();
                cut(again.wire);
            }
            assert_refusal(&answer(&mut connection), &[502], sent);
        }
    }
    assert_eq!(upstream.requests(), 8);
}

#[test]
fn garbage_instead_of_a_head() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    let endless = format!("HTTP/1.1 200 OK\r\n{}", "x-fill: 0123456789\r\n".repeat(100_000));
    let long_line = format!("HTTP/1.1 200 OK\r\nx-fill: {}", "y".repeat(2_000_000));
    for garbage in [
        "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n\r\n",
        "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\r\n\r\n",
        "HTTP/9.9 200 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nab",
        endless.as_str(),
        long_line.as_str(),
    ] {
        let (mut connection, mut exchange) = hermux.open(&Request::chat(false), &upstream);
        exchange.body();
        // A connection that is dropped as soon as the garbage is recognized may not take all of it.
        exchange.wire.try_send(garbage).ok();
        let what = &garbage[..garbage.len().min(60)];
        assert_refusal(&answer(&mut connection), &[502], what);
        exchange.wire.wait_closed();
    }
}

#[test]
fn a_refusal_leaves_the_callers_connection_open() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    let mut connection = hermux.connect();
    for _ in 0..3 {
        connection.send(Request::chat(false).bytes());
        for _ in 0..2 {
            let mut exchange = upstream.next();
            exchange.body();
            exchange.wire.cut_fin();
        }
        assert_refusal(&answer(&mut connection), &[502], "cut");
    }
    connection.send(Request::chat(false).bytes());
    upstream.next().json(200, "{}");
    assert_eq!(answer(&mut connection).status(), 200);
}

#[test]
fn an_error_answer_of_upstream_is_passed_on_and_no_fault() {
    let upstream = Upstream::answering(|exchange: Exchange| {
        exchange.json(503, r#"{"error":{"code":503,"message":"Service temporarily unavailable"}}"#);
    });
    let hermux = Hermux::start(&upstream);
    let answer = hermux.ask(&Request::chat(false));
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.json()["error"]["message"], "Service temporarily unavailable");
}
