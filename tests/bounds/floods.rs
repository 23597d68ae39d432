//! HTTP/2 floods: streams without number, resets, header blocks without an end. Raw frames, as no library sends them.

use crate::support::h2::H2;
use crate::support::{Connection, Hermux, Request, Setup, Upstream, samples, show};

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame is short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A connection on which both sides have said hello.
fn greet(hermux: &Hermux) -> Connection {
    let mut connection = hermux.connect();
    connection.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    connection.send(frame(SETTINGS, 0, 0, &[]));
    connection
}

/// `GET /v1/models` without a token, in HPACK: static table entries and literals without indexing (RFC 7541).
fn header_block() -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x04, 10];
    block.extend(b"/v1/models");
    block.extend([0x01, 9]);
    block.extend(b"localhost");
    block
}

/// Sends until the other side closes; fails when it takes everything.
fn flood(connection: &mut Connection, what: &str, frames: impl Iterator<Item = Vec<u8>>) {
    let mut writer = connection.writer();
    let mut batch = Vec::new();
    let mut sent = 0;
    for frame in frames {
        batch.extend(frame);
        if batch.len() > 64 * 1024 {
            sent += batch.len();
            if writer.try_send(&batch).is_err() {
                return;
            }
            batch.clear();
        }
    }
    panic!("{what}: all of {sent} bytes were taken");
}

fn assert_still_serving(hermux: &Hermux, upstream: &Upstream) {
    let mut connection = hermux.send(&Request::get("/v1/models"));
    upstream.next().json(200, samples::MODELS);
    assert_eq!(connection.answer().status(), 200);
}

#[test]
fn the_number_of_streams_is_bounded() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    let mut connection = greet(&hermux);
    while connection.unread().len() < 9 {
        connection.fill();
    }
    let length = usize::from(connection.unread()[1]) * 256 + usize::from(connection.unread()[2]);
    assert_eq!(connection.unread()[3], SETTINGS, "{}", show(connection.unread()));
    while connection.unread().len() < 9 + length {
        connection.fill();
    }
    // SETTINGS_MAX_CONCURRENT_STREAMS is 3.
    let settings = connection.unread()[9..9 + length].chunks(6);
    let most = settings
        .filter(|setting| setting[..2] == [0, 3])
        .map(|setting| u32::from_be_bytes(setting[2..].try_into().expect("4 bytes")))
        .next();
    assert!(most.is_some_and(|most| (10..=1_000).contains(&most)), "at most {most:?} streams");
    assert_still_serving(&hermux, &upstream);
}

#[test]
fn a_header_block_that_does_not_end_ends_the_connection() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    let before = hermux.resident_bytes();
    let mut connection = greet(&hermux);
    connection.send(frame(HEADERS, END_STREAM, 1, &header_block()));
    // A literal header again and again: 100 MB of it, and empty frames, which cost the sender least.
    let filler = [&[0x00, 1, b'x', 127, 0x81, 0x3f][..], &[b'y'; 8_192]].concat();
    let blocks = std::iter::repeat_with(|| frame(CONTINUATION, 0, 1, &filler)).take(12_500);
    flood(&mut connection, "continuation", blocks);
    let mut connection = greet(&hermux);
    connection.send(frame(HEADERS, END_STREAM, 1, &header_block()));
    flood(
        &mut connection,
        "empty continuation",
        std::iter::repeat_with(|| frame(CONTINUATION, 0, 1, &[])).take(5_000_000),
    );
    let grown = hermux.resident_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes are kept");
    assert_still_serving(&hermux, &upstream);
}

#[test]
fn resets_without_number_do_no_harm() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).start();
    let before = hermux.resident_bytes();
    let connection = greet(&hermux);
    let mut writer = connection.writer();
    let mut batch = Vec::new();
    for stream in (1..100_000).step_by(2) {
        batch.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, &header_block()));
        batch.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        if batch.len() > 64 * 1024 {
            // The connection may be cut off, and must not be a burden if it is not.
            if writer.try_send(&batch).is_err() {
                break;
            }
            batch.clear();
        }
    }
    assert_still_serving(&hermux, &upstream);
    let grown = hermux.resident_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes are kept");
}

#[test]
fn pings_that_nobody_reads_the_answers_of_are_not_kept() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    let before = hermux.resident_bytes();
    let connection = greet(&hermux);
    let mut writer = connection.writer();
    writer
        .stream()
        .set_write_timeout(Some(std::time::Duration::from_millis(500)))
        .expect("a TCP socket takes options");
    let pings = frame(PING, 0, 0, &[0; 8]).repeat(4_000);
    // Either it stops reading or it ends the connection.
    let taken = (0..4_000).take_while(|_| writer.try_send(&pings).is_ok()).count();
    assert!(taken < 4_000, "answers to {taken} batches are owed and all were taken");
    let grown = hermux.resident_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes are kept");
    assert_still_serving(&hermux, &upstream);
}

#[test]
fn an_h2_connection_cannot_exhaust_the_pool_by_leaving() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    let mut h2 = H2::open(hermux.address());
    for _ in 0..50 {
        let asked = h2.send("POST", "/v1/chat/completions", Some("{}"));
        let mut exchange = upstream.next();
        asked.cancel();
        exchange.wire.wait_closed();
    }
    assert_still_serving(&hermux, &upstream);
}
