//! The last answer of a connection arrives whole, whatever still comes from the caller.

use std::thread;
use std::time::Duration;

use crate::support::{End, Exchange, Request, Setup, Upstream};

/// Time in which whoever can go on does.
const MEANWHILE: Duration = Duration::from_millis(300);

/// Answers with `length` bytes, beside the test.
fn answer(mut exchange: Exchange, length: usize) {
    exchange.body();
    thread::spawn(move || {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ncontent-length";
        exchange.wire.send(format!("{head}: {length}\r\n\r\n"));
        exchange.wire.send(vec![b'x'; length]);
        exchange.keep();
    });
}

#[test]
fn an_empty_line_behind_a_body_does_not_take_the_answer() {
    // The sockets take all of it, and the server closes before it is read.
    const LENGTH: usize = 1 << 20;
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).start();
    let mut connection = hermux.connect();
    connection.send(Request::chat(false).header("Connection", "close").bytes());
    answer(upstream.next(), LENGTH);
    thread::sleep(MEANWHILE);
    connection.send("\r\n");
    thread::sleep(MEANWHILE);
    assert_eq!(connection.answer().status(), 200);
    let (body, end) = connection.rest();
    assert_eq!((body.len(), end), (LENGTH, End::Complete));
}

#[test]
fn what_comes_behind_the_last_request_does_not_take_the_answer() {
    // More than the sockets hold; their share waits there when the server closes.
    const LENGTH: usize = 24 << 20;
    const READ: usize = LENGTH - (3 << 20);
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).start();
    let mut connection = hermux.connect();
    connection.send(Request::get("/v1/models").header("Connection", "close").bytes());
    answer(upstream.next(), LENGTH);
    thread::sleep(MEANWHILE);
    connection.send(Request::get("/v1/models").bytes());
    assert_eq!(connection.answer().status(), 200);
    let read = connection.bytes_at_least(READ).len();
    thread::sleep(MEANWHILE);
    let (rest, end) = connection.rest();
    assert_eq!((read + rest.len(), end), (LENGTH, End::Complete));
}
