//! An upload that the caller cuts never arrives upstream as complete.

use crate::support::h2::H2;
use crate::support::hermux::answer;
use crate::support::{Connection, End, Hermux, Request, Setup, Upstream, show};

const MEGABYTE: usize = 1 << 20;

/// Everything that reached upstream until the marker did, which is sent when the cut is over: nothing of it is complete.
fn assert_nothing_complete(hermux: &Hermux, upstream: &Upstream, what: &str) {
    let (mut marker, mut exchange) = hermux.open(&Request::get("/v1/models?marker"), upstream);
    while exchange.head.target() != "/api/v1/models?marker" {
        let (bytes, end) = exchange.wire.rest();
        assert_ne!(end, End::Complete, "{what} arrived as complete: {}", show(&bytes));
        exchange = upstream.next();
    }
    exchange.json(200, "{}");
    assert_eq!(answer(&mut marker).status(), 200);
}

#[test]
fn over_http_1() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    for path in ["/v1/chat/completions", "/v1/files"] {
        for cut in [Connection::cut_fin, Connection::cut_reset] {
            for size in [0, 100, 4 * MEGABYTE] {
                let upload = Request::new("POST", path).header("Content-Type", "application/json");
                let begun = vec![b' '; size];

                let mut by_length = hermux.connect();
                by_length.send(upload.clone().header("Content-Length", &(size + 1).to_string()).head());
                by_length.try_send(&begun).expect("an upload is read");
                cut(by_length);

                let mut chunked = hermux.connect();
                chunked.send(upload.header("Transfer-Encoding", "chunked").head());
                if size > 0 {
                    chunked.send_chunk(&begun);
                }
                cut(chunked);
                assert_nothing_complete(&hermux, &upstream, &format!("{size} bytes to {path}"));
            }
        }
    }
}

#[test]
fn in_the_middle_of_a_chunk() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    for sent in [
        "5",
        "5\r\n",
        "5\r\nhel",
        "5\r\nhello",
        "5\r\nhello\r\n0",
        "5\r\nhello\r\n0\r\n",
        "5\r\nhello\r\n0\r\nx: y\r\n",
    ] {
        let mut connection = hermux.connect();
        connection.send(Request::new("POST", "/v1/files").header("Transfer-Encoding", "chunked").head());
        connection.send(sent);
        connection.cut_fin();
        assert_nothing_complete(&hermux, &upstream, sent);
    }
}

#[test]
fn while_upstream_reads_it() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    for cut in [Connection::cut_fin, Connection::cut_reset] {
        let mut connection = hermux.connect();
        let length = 256 * MEGABYTE;
        connection
            .send(Request::new("POST", "/v1/files").header("Content-Length", &length.to_string()).head());
        let mut writer = connection.writer();
        let writing = std::thread::spawn(move || writer.try_send(vec![0; 128 * MEGABYTE]));
        // More than is ever kept: it must be on its way while it comes in.
        let mut exchange = upstream.next();
        exchange.wire.bytes_at_least(64 * MEGABYTE);
        cut(connection);
        assert_ne!(exchange.wire.rest().1, End::Complete);
        drop(writing.join());
    }
}

#[test]
fn over_h2() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    let mut h2 = H2::open(hermux.address());
    for path in ["/v1/chat/completions", "/v1/files"] {
        h2.begin_upload(path, &[b' '; 1000]).cancel();
        assert_nothing_complete(&hermux, &upstream, path);
    }
}

#[test]
fn after_upstream_began_to_answer_it_is_no_complete_exchange() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).variable("HERMUX_LOG", "hermux::request=debug").start();
    let length = 64 * MEGABYTE;
    let request = Request::new("POST", "/v1/files").header("Content-Length", &length.to_string());
    let mut connection = hermux.connect();
    connection.send(request.head());
    connection.send(vec![0; MEGABYTE]);
    let mut writer = connection.writer();
    let writing = std::thread::spawn(move || writer.try_send(vec![0; length / 2]));
    let mut exchange = upstream.next();
    exchange.wire.bytes_at_least(MEGABYTE);
    exchange.wire.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n");
    connection.answer();
    assert_eq!(connection.bytes(5), b"hello");
    let mut answering = exchange.wire.writer();
    let reading = std::thread::spawn(move || exchange.wire.rest().1);
    writing.join().unwrap().expect("the upload goes on beside the answer");

    // The caller says no more, and would read the rest of the answer.
    connection.finish_sending();
    assert_ne!(reading.join().unwrap(), End::Complete, "the upload arrived as complete");
    answering.try_send("0\r\n\r\n").ok();
    assert_ne!(connection.rest().1, End::Complete, "the answer to half an upload ended well");
    let line = hermux.wait_for_line("/files");
    assert!(line.contains("outcome=\"cancelled\"") && line.contains("bytes=5"), "{line}");
    let sum = hermux.stats_when("one attempt", |sum| sum.attempts == 1);
    assert_eq!(sum.requests, 1);
    // Nothing hangs: neither a connection upstream that could be used again, nor the server at its end.
    let (mut next, exchange) = hermux.open(&Request::get("/v1/models"), &upstream);
    assert_eq!(exchange.connection, 2);
    exchange.json(200, "{}");
    assert_eq!(answer(&mut next).status(), 200);
    drop(next);
    hermux.stop();
}
