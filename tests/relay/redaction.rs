//! A key that upstream echoes never reaches the caller.

use crate::support::hermux::{answer, secret};
use crate::support::{End, Hermux, Request, Upstream, find, show};

/// What is left of `bytes` when nothing of the key may be: same length, same bytes around it.
fn assert_redacted(got: &[u8], sent: &[u8], what: &str) {
    let key = secret(1);
    assert_eq!(got.len(), sent.len(), "{what}: {}", show(got));
    assert!(find(got, key.as_bytes()).is_none(), "{what}: the key reached the caller");
    let mut at = 0;
    while let Some(start) = find(&sent[at..], key.as_bytes()) {
        assert!(got[at..at + start] == sent[at..at + start], "{what}: altered before a key");
        let shown = &got[at + start..at + start + key.len()];
        assert!(find(shown, &key.as_bytes()[20..30]).is_none(), "{what}: part of the key reached the caller");
        at += start + key.len();
    }
    assert!(got[at..] == sent[at..], "{what}: altered behind the keys");
}

#[test]
fn a_key_in_an_error_body_is_redacted_at_equal_length() {
    let upstream = Upstream::start();
    let key = secret(1);
    let json = format!(r#"{{"error":{{"code":400,"message":"no such key: {key}"}}}}"#);
    let all_over = format!("{key}{key} {key}\n{}{key}", "x".repeat(10_000));
    let filled = format!("{}{key}", "y".repeat(60_000));
    for status in [400, 403, 404, 429, 500, 502, 599] {
        for (body, what) in [(&json, "json"), (&all_over, "all over"), (&filled, "far in")] {
            // Each time anew, since a key rests after some of them.
            let hermux = Hermux::start(&upstream);
            // What may not happen twice is not sent twice, whatever the error.
            let request = Request::post("/v1/files", "{}").header("X-HERMUX-Max-Wait", "0");
            let (mut connection, exchange) = hermux.open(&request, &upstream);
            exchange.json(status, body);
            let answer = answer(&mut connection);
            assert_eq!(answer.status(), status);
            assert_eq!(answer.end, End::Complete);
            assert_redacted(&answer.body, body.as_bytes(), what);
        }
    }
}

#[test]
fn a_key_in_an_error_body_is_redacted_wherever_it_is_split() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    let body = format!(r#"{{"error":{{"code":400,"message":"no such key: {}, sorry"}}}}"#, secret(1));
    let body = body.as_bytes();
    let start = find(body, secret(1).as_bytes()).expect("it stands there");
    let mut connection = hermux.connect();
    for cut in start - 1..=start + secret(1).len() + 1 {
        connection.send(Request::chat(false).bytes());
        let mut exchange = upstream.next();
        exchange.body();
        exchange.wire.send("HTTP/1.1 400 Bad Request\r\ntransfer-encoding: chunked\r\n\r\n");
        exchange.wire.send_chunk(&body[..cut]);
        exchange.wire.send_chunk(&body[cut..]);
        exchange.wire.send_last_chunk();
        assert_eq!(connection.answer().status(), 400);
        assert_redacted(&connection.whole(), body, &format!("split at {cut}"));
        exchange.keep();
    }
}

#[test]
fn a_key_in_an_error_inside_a_200_is_redacted() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    let body = format!(r#"{{"error":{{"code":400,"message":"no such thing: {}"}}}}"#, secret(1));
    let (mut connection, exchange) = hermux.open(&Request::chat(false), &upstream);
    exchange.json(200, &body);
    assert_redacted(&answer(&mut connection).body, body.as_bytes(), "inside a 200");
}

#[test]
fn an_error_of_the_key_itself_stays_here() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    let (mut connection, exchange) = hermux.open(&Request::chat(false), &upstream);
    exchange.json(401, &format!(r#"{{"error":{{"code":401,"message":"no such key: {}"}}}}"#, secret(1)));
    let answer = answer(&mut connection);
    assert_eq!(answer.status(), 403);
    assert!(find(&answer.body, secret(1).as_bytes()).is_none(), "the key reached the caller");
}

#[test]
fn a_key_in_single_bytes_is_redacted() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    // A false start right before the key.
    let body = format!("sk-or-v1-sk-or-v1-{}{}sk-or-v1-000", secret(1), secret(1));
    let (mut connection, mut exchange) = hermux.open(&Request::chat(false), &upstream);
    exchange.body();
    exchange.wire.send("HTTP/1.1 400 Bad Request\r\ntransfer-encoding: chunked\r\n\r\n");
    for byte in body.bytes() {
        exchange.wire.send_chunk([byte]);
    }
    exchange.wire.send_last_chunk();
    let answer = answer(&mut connection);
    assert_redacted(&answer.body, body.as_bytes(), "single bytes");
}

#[test]
fn a_key_in_a_header_is_redacted_at_any_status() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    let key = secret(1);
    for status in [200, 302, 403, 500] {
        let (mut connection, mut exchange) = hermux.open(&Request::post("/v1/files", "{}"), &upstream);
        exchange.body();
        let value = format!("a {key} b Bearer {key}");
        exchange.wire.send(format!(
            "HTTP/1.1 {status} Status\r\nx-debug: {value}\r\nlocation: /?key={key}\r\nx-plain: p\r\ncontent-length: 0\r\n\r\n"
        ));
        let head = answer(&mut connection).head;
        assert!(find(&head.raw, key.as_bytes()).is_none(), "{status}: the key reached the caller");
        // Nobody asks that the header be kept; where it is, its length is.
        if let Some(shown) = head.header("x-debug") {
            assert_redacted(shown.as_bytes(), value.as_bytes(), "header");
        }
        assert_eq!(head.header("x-plain"), Some("p"));
        exchange.keep();
    }
}

#[test]
fn a_key_in_a_trailer_is_redacted() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    let key = secret(1);
    let request = Request::chat(true).header("TE", "trailers").header("Connection", "TE");
    let (mut connection, mut exchange) = hermux.open(&request, &upstream);
    exchange.body();
    exchange.wire.send("HTTP/1.1 200 OK\r\ntrailer: x-debug\r\ntransfer-encoding: chunked\r\n\r\n");
    exchange.wire.send(format!("2\r\n{{}}\r\n0\r\nx-debug: {key}\r\n\r\n"));
    connection.answer();
    assert_eq!(connection.whole(), b"{}");
    for (name, value) in &connection.trailers {
        assert!(!value.contains(&key), "the key reached the caller in {name}");
    }
}

#[test]
fn an_answer_that_is_no_error_is_not_touched() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    // A model may say what it likes, and other keys than the one used are not known to it.
    let body = format!(r#"{{"choices":[{{"message":{{"content":"sk-or-v1-abc {}"}}}}]}}"#, secret(2));
    for status in [200, 400] {
        let (mut connection, exchange) = hermux.open(&Request::chat(false), &upstream);
        exchange.json(status, &body);
        assert_eq!(answer(&mut connection).body, body.as_bytes());
    }
}

#[test]
fn an_error_that_cannot_be_searched_is_withheld() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    let request = Request::get("/v1/files/1").header("Accept-Encoding", "gzip");
    let (mut connection, mut exchange) = hermux.open(&request, &upstream);
    // Not really compressed: what counts is that it says so.
    let body = format!("squeezed {}", secret(1));
    exchange.wire.send(format!(
        "HTTP/1.1 403 Forbidden\r\ncontent-encoding: gzip\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ));
    let answer = answer(&mut connection);
    assert_eq!((answer.status(), answer.key_name()), (403, "key-1"));
    assert!(!answer.head.has("content-encoding"), "{}", show(&answer.head.raw));
    assert!(find(&answer.body, secret(1).as_bytes()).is_none(), "the key reached the caller");
    assert_eq!(answer.json()["error"]["code"], 403);
}

#[test]
fn what_was_held_back_of_an_error_goes_before_its_trailers() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    let request = Request::chat(false).header("TE", "trailers").header("Connection", "TE");
    let (mut connection, mut exchange) = hermux.open(&request, &upstream);
    exchange.body();
    // Its last byte may be the beginning of a key.
    exchange.wire.send(concat!(
        "HTTP/1.1 400 Bad Request\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n",
        "7\r\nno keys\r\n0\r\nx-sum: 7\r\n\r\n",
    ));
    assert_eq!(connection.answer().status(), 400);
    assert_eq!(connection.whole(), b"no keys");
    assert_eq!(connection.trailers, [("x-sum".to_owned(), "7".to_owned())]);
}
