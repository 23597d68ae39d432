//! The tests' own ends of the wire, against each other: they must tell a cut from an end, or nothing else proves anything.

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::support::wire::Got;
use crate::support::{Connection, End, Request, Upstream};

/// A caller's connection that leads straight to the scripted upstream.
fn ask(upstream: &Upstream) -> Connection {
    let mut connection = Connection::open(upstream.address());
    connection.send(Request::chat(true).bytes());
    connection
}

#[test]
fn a_body_ends_as_it_was_ended() {
    let upstream = Upstream::start();
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let length = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
    let open = "HTTP/1.1 200 OK\r\n\r\n";
    for (head, body, reset, end) in [
        (chunked, "5\r\nhello\r\n0\r\n\r\n", false, End::Complete),
        (chunked, "5\r\nhello\r\n", false, End::Fin),
        (chunked, "5\r\nhello\r\n", true, End::Reset),
        (chunked, "6\r\nhello", false, End::Fin),
        (chunked, "5\r\nhello\r\n0\r\n", false, End::Fin),
        (length, "hello", false, End::Complete),
        (length, "hell", false, End::Fin),
        (length, "hell", true, End::Reset),
        (open, "hello", false, End::Complete),
        (open, "hello", true, End::Reset),
    ] {
        let mut caller = ask(&upstream);
        let mut exchange = upstream.next();
        assert!(exchange.text().contains("acme/small"));
        exchange.wire.send(head);
        assert_eq!(caller.answer().status(), 200);
        exchange.wire.send(body);
        // A reset may overtake bytes that were not read yet.
        let text = if body.contains("hello") { "hello" } else { "hell" };
        assert_eq!(caller.bytes(text.len()), text.as_bytes());
        if reset {
            exchange.wire.cut_reset();
        } else {
            exchange.wire.cut_fin();
        }
        assert_eq!(caller.rest(), (Vec::new(), end), "{head}{body}");
    }
}

#[test]
fn a_kept_connection_brings_the_next_request() {
    let upstream = Upstream::start();
    let mut caller = Connection::open(upstream.address());
    for round in 1..=3 {
        caller.send(Request::get("/v1/models").header("x-round", &round.to_string()).bytes());
        let exchange = upstream.next();
        assert_eq!(exchange.connection, 1);
        assert_eq!(exchange.head.header("x-round"), Some(round.to_string().as_str()));
        exchange.json(200, "{}");
        assert_eq!(caller.answer().status(), 200);
        assert_eq!(caller.whole(), b"{}");
    }
    assert_eq!((upstream.requests(), upstream.connections()), (3, 1));
}

#[test]
fn trailers_and_a_cut_upload_are_seen() {
    let upstream = Upstream::start();
    let mut caller = Connection::open(upstream.address());
    let upload = Request::new("POST", "/v1/files").header("Transfer-Encoding", "chunked");
    caller.send(upload.head());
    caller.send("4;x=y\r\nabcd\r\n0\r\nX-Sum: 7\r\n\r\n");
    let mut exchange = upstream.next();
    assert_eq!(exchange.body(), b"abcd");
    assert_eq!(exchange.wire.trailers, [("x-sum".to_owned(), "7".to_owned())]);

    let mut caller = Connection::open(upstream.address());
    caller.send(upload.head());
    caller.send("4\r\nabcd\r\n");
    let mut exchange = upstream.next();
    caller.cut_fin();
    assert_eq!(exchange.wire.rest(), (b"abcd".to_vec(), End::Fin));
}

#[test]
fn a_peer_that_closed_is_noticed() {
    let upstream = Upstream::start();
    let mut caller = ask(&upstream);
    let exchange = upstream.next();
    exchange.wire.cut_reset();
    assert_eq!(caller.fill(), Got::Reset);
    let error = loop {
        match caller.try_send("more") {
            Ok(()) => {}
            Err(error) => break error.kind(),
        }
    };
    assert!(matches!(error, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
}

#[test]
fn an_upstream_complains_when_it_was_not_called_or_should_not_have_been() {
    let idle = Upstream::start();
    assert!(catch_unwind(AssertUnwindSafe(|| drop(idle))).is_err());
    let shy = Upstream::never_called();
    assert_eq!(ask(&shy).answer().status(), 599);
    assert!(catch_unwind(AssertUnwindSafe(|| drop(shy))).is_err());
}
