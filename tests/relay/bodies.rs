//! Bodies of every kind and size, byte for byte, with backpressure.

use std::io::{ErrorKind, Write};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::support::hermux::answer;
use crate::support::{Connection, End, PATIENCE, Request, Setup, Upstream, samples};

/// Every byte value, and no period that a buffer's size could hide.
fn binary(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from((at * 7 + at / 251) % 256).expect("below 256")).collect()
}

#[test]
fn a_stream_passes_in_all_three_dialects_piece_by_piece() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).holding_nothing().start();
    for (path, stream) in [
        ("/v1/chat/completions", samples::CHAT_STREAM),
        ("/v1/messages", samples::MESSAGES_STREAM),
        ("/v1/responses", samples::RESPONSES_STREAM),
        // Whatever an upstream may write: other line ends, no blank behind the colon, fields of its own, no last blank line.
        (
            "/v1/chat/completions",
            ":\r\n\r\nid: 7\r\nretry:9\r\ndata:{}\r\n\r\n\r\n\r\ndata\n\n\rdata: \u{feff}\n\ndata: x",
        ),
    ] {
        let (mut connection, mut exchange) =
            hermux.open(&Request::post(path, r#"{"stream":true}"#), &upstream);
        exchange.begin_stream();
        let head = connection.answer();
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        for piece in stream.as_bytes().chunks(37) {
            exchange.wire.send_chunk(piece);
            // Each piece arrives before the next one is sent: nothing is held back.
            assert_eq!(connection.bytes(piece.len()), piece);
        }
        exchange.wire.send_last_chunk();
        assert_eq!(connection.rest(), (Vec::new(), End::Complete));
        exchange.keep();
    }
}

#[test]
fn a_stream_cut_at_every_byte_boundary_passes_unaltered_and_its_usage_is_found() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).holding_nothing().start();
    let stream = samples::CHAT_STREAM.as_bytes();
    let mut connection = hermux.connect();
    for cut in 1..stream.len() {
        connection.send(Request::chat(true).bytes());
        let mut exchange = upstream.next();
        exchange.begin_stream();
        connection.answer();
        exchange.wire.send_chunk(&stream[..cut]);
        assert_eq!(connection.bytes(cut), &stream[..cut]);
        exchange.wire.send_chunk(&stream[cut..]);
        exchange.wire.send_last_chunk();
        assert_eq!(connection.whole(), &stream[cut..], "cut at {cut}");
        exchange.keep();
    }
    let requests = stream.len() as u64 - 1;
    let sum = hermux.stats_when("every usage in the ledger", |sum| sum.completion_tokens == 4 * requests);
    assert_eq!((sum.requests, sum.prompt_tokens), (requests, 9 * requests));
}

#[test]
fn a_stream_in_single_bytes_passes_unaltered() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).holding_nothing().start();
    let (mut connection, mut exchange) = hermux.open(&Request::chat(true), &upstream);
    exchange.begin_stream();
    for byte in samples::CHAT_STREAM.as_bytes() {
        exchange.wire.send_chunk([*byte]);
    }
    exchange.wire.send_last_chunk();
    connection.answer();
    assert_eq!(String::from_utf8(connection.whole()).unwrap(), samples::CHAT_STREAM);
    let sum = hermux.stats_when("the request in the ledger", |sum| sum.completion_tokens > 0);
    assert_eq!((sum.prompt_tokens, sum.completion_tokens), (9, 4));
}

#[test]
fn answers_of_every_kind_pass_byte_for_byte() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).holding_nothing().start();
    let blank_lines = format!("\n\n   \n\n{}\n", samples::CHAT);
    for (kind, encoding, body) in [
        ("audio/mpeg", None, binary(100_000)),
        ("video/mp4", None, binary(1)),
        ("application/octet-stream", None, Vec::new()),
        // Not really gzip: nobody on the way may look inside.
        ("application/json", Some("gzip"), binary(5_000)),
        ("text/event-stream", Some("br"), binary(5_000)),
        // Blank lines that kept a slow answer alive.
        ("application/json", None, blank_lines.into_bytes()),
        ("application/rss+xml; charset=utf-8", None, "<rss>é</rss>".as_bytes().to_vec()),
        ("application/json", None, b"{not json, \xff\xfe".to_vec()),
    ] {
        for chunked in [false, true] {
            let (mut connection, mut exchange) = hermux.open(&Request::chat(false), &upstream);
            exchange.body();
            let encoding =
                encoding.map(|coding| format!("content-encoding: {coding}\r\n")).unwrap_or_default();
            let framing = if chunked {
                "transfer-encoding: chunked".to_owned()
            } else {
                format!("content-length: {}", body.len())
            };
            exchange
                .wire
                .send(format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n{encoding}{framing}\r\n\r\n"));
            if chunked {
                body.chunks(999).for_each(|piece| exchange.wire.send_chunk(piece));
                exchange.wire.send_last_chunk();
            } else {
                exchange.wire.send(&body);
            }
            let answer = answer(&mut connection);
            assert_eq!(answer.end, End::Complete);
            assert!(answer.body == body, "{kind}, chunked: {chunked}");
            assert_eq!(answer.head.header("content-type"), Some(kind));
            assert_eq!(answer.head.has("content-encoding"), !encoding.is_empty());
            if !chunked {
                assert_eq!(answer.head.header("content-length"), Some(body.len().to_string().as_str()));
            }
            exchange.keep();
        }
    }
}

#[test]
fn requests_of_every_kind_pass_byte_for_byte() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).holding_nothing().start();
    let form = [
        b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n".as_slice(),
        &binary(70_000),
        b"\r\n--b--\r\n",
    ]
    .concat();
    for (path, kind, body) in [
        ("/v1/audio/transcriptions", "multipart/form-data; boundary=b", form.clone()),
        ("/v1/files", "multipart/form-data; boundary=b", form),
        (
            "/v1/chat/completions",
            "application/json",
            b" \n{\"b\" : 1, \"a\":1.00 ,\"model\": \"acme\\/small\"}\n".to_vec(),
        ),
        ("/v1/chat/completions", "application/json", b"{not json, \xff\xfe".to_vec()),
        ("/v1/batches", "application/json", binary(300_000)),
        ("/v1/chat/completions", "application/json", binary(300_000)),
    ] {
        for chunked in [false, true] {
            let request = Request::new("POST", path).header("Content-Type", kind);
            let mut connection = hermux.connect();
            if chunked {
                connection.send(request.header("Transfer-Encoding", "chunked").head());
                body.chunks(7_001).for_each(|piece| connection.send_chunk(piece));
                connection.send_last_chunk();
            } else {
                connection.send(request.body(&body).bytes());
            }
            let mut exchange = upstream.next();
            assert_eq!(exchange.head.header("content-type"), Some(kind));
            assert!(exchange.body() == body, "{path}, chunked: {chunked}");
            exchange.json(200, "{}");
            assert_eq!(answer(&mut connection).status(), 200);
        }
    }
}

#[test]
fn a_request_without_a_body_has_none_upstream() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).holding_nothing().start();
    for (method, length) in [("GET", false), ("DELETE", false), ("POST", true)] {
        let request = Request::new(method, "/v1/files/1");
        let request = if length { request.body("") } else { request };
        let (mut connection, mut exchange) = hermux.open(&request, &upstream);
        assert!(!exchange.head.has("transfer-encoding"), "{method}");
        assert!(exchange.head.header("content-length").is_none_or(|length| length == "0"), "{method}");
        assert_eq!(exchange.body(), b"");
        exchange.json(200, "{}");
        assert_eq!(answer(&mut connection).status(), 200, "{method}");
    }
}

const MEGABYTE: usize = 1 << 20;
const LARGE: usize = 64 * MEGABYTE;

/// A block of a large body. Its length is prime, so that no buffer on the way has a multiple of it.
fn block() -> Arc<Vec<u8>> {
    Arc::new(binary(1_048_573))
}

/// Writes blocks until `total` bytes are out.
fn write_large(connection: &mut Connection, total: usize) {
    let block = block();
    let mut left = total;
    while left > 0 {
        let piece = &block[..left.min(block.len())];
        connection.send(piece);
        left -= piece.len();
    }
}

/// Reads the rest of a body made of blocks, comparing each byte, and returns its length.
fn read_large(connection: &mut Connection) -> usize {
    let block = block();
    let mut length = 0;
    loop {
        match connection.piece() {
            Ok(piece) => {
                let mut rest = piece.as_slice();
                while !rest.is_empty() {
                    let expected = &block[length % block.len()..];
                    let (now, later) = rest.split_at(rest.len().min(expected.len()));
                    assert!(now == &expected[..now.len()], "an altered byte behind {length}");
                    length += now.len();
                    rest = later;
                }
            }
            Err(end) => {
                assert_eq!(end, End::Complete, "cut after {length}");
                return length;
            }
        }
    }
}

#[test]
fn a_large_upload_passes() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).holding_nothing().start();
    for path in ["/v1/files", "/v1/chat/completions"] {
        let request = Request::new("POST", path).header("Content-Length", &LARGE.to_string());
        let mut connection = hermux.connect();
        connection.send(request.head());
        let mut writer = connection.writer();
        let writing = thread::spawn(move || write_large(&mut writer, LARGE));
        let mut exchange = upstream.next();
        assert_eq!(exchange.head.header("content-length"), Some(LARGE.to_string().as_str()));
        assert_eq!(read_large(&mut exchange.wire), LARGE);
        writing.join().unwrap();
        exchange.json(200, "{}");
        assert_eq!(answer(&mut connection).status(), 200, "{path}");
    }
}

#[test]
fn a_large_download_passes() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).holding_nothing().start();
    let (mut connection, mut exchange) =
        hermux.open(&Request::get("/v1/videos/1/content?index=0"), &upstream);
    exchange
        .wire
        .send(format!("HTTP/1.1 200 OK\r\ncontent-type: video/mp4\r\ncontent-length: {LARGE}\r\n\r\n"));
    let writing = thread::spawn(move || write_large(&mut exchange.wire, LARGE));
    connection.answer();
    assert_eq!(read_large(&mut connection), LARGE);
    writing.join().unwrap();
}

/// More than all the buffers of four sockets hold, however the system sizes them.
const HUGE: usize = 512 * MEGABYTE;

/// Writes blocks without an end in sight, until nothing is taken for a while.
fn write_until_stalled(connection: &Connection) {
    let block = block();
    let mut written = 0;
    let mut stream = connection.stream();
    stream.set_write_timeout(Some(Duration::from_millis(700))).expect("a TCP socket takes options");
    loop {
        match stream.write(&block) {
            Ok(count) => written += count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                stream.set_write_timeout(Some(PATIENCE)).expect("a TCP socket takes options");
                return;
            }
            Err(error) => panic!("the connection broke: {error}"),
        }
        assert!(written < HUGE / 2, "nobody reads, yet everything was taken");
    }
}

#[test]
fn a_caller_that_does_not_read_stops_upstream() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).holding_nothing().start();
    let (mut connection, mut exchange) = hermux.open(&Request::get("/v1/videos/1/content"), &upstream);
    exchange.wire.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {HUGE}\r\n\r\n"));
    connection.answer();
    let before = hermux.resident_bytes();
    write_until_stalled(&exchange.wire);
    let grown = hermux.resident_bytes().saturating_sub(before);
    assert!(grown < 8 * MEGABYTE as u64, "what was not read is kept in memory: {grown} bytes");
    // Another caller is not held up by it.
    let (mut other, another) = hermux.open(&Request::get("/v1/models"), &upstream);
    another.json(200, samples::MODELS);
    assert_eq!(answer(&mut other).status(), 200);
}

#[test]
fn an_upstream_that_does_not_read_stops_the_caller() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).start();
    let mut connection = hermux.connect();
    connection.send(Request::new("POST", "/v1/files").header("Content-Length", &HUGE.to_string()).head());
    let before = hermux.resident_bytes();
    write_until_stalled(&connection);
    let grown = hermux.resident_bytes().saturating_sub(before);
    // What is kept so that it can be sent again is bounded, too.
    assert!(grown < 64 * MEGABYTE as u64, "what was not read is kept in memory: {grown} bytes");
    let exchange = upstream.next();
    assert_eq!(exchange.head.target(), "/api/v1/files");
}

#[test]
fn an_answer_that_comes_before_the_upload_is_over_reaches_the_caller() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).holding_nothing().start();
    let mut connection = hermux.connect();
    connection.send(Request::new("POST", "/v1/files").header("Content-Length", &HUGE.to_string()).head());
    let mut writer = connection.writer();
    // It writes until it is cut off, as a client does that reads only afterwards.
    let writing = thread::spawn(move || {
        let block = block();
        while writer.try_send(block.as_slice()).is_ok() {}
    });
    let mut exchange = upstream.next();
    exchange.wire.bytes_at_least(MEGABYTE);
    let refusal = r#"{"error":{"code":413,"message":"Request payload too large"}}"#;
    let length = refusal.len();
    exchange.wire.send(format!(
        "HTTP/1.1 413 Payload Too Large\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{refusal}"
    ));
    let head = connection.answer();
    assert_eq!(head.status(), 413);
    assert_eq!(connection.bytes(length), refusal.as_bytes());
    drop(connection);
    drop(hermux);
    writing.join().unwrap();
}

#[test]
fn a_body_in_single_bytes_is_kept_in_about_its_size() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).start();
    let mut connection = hermux.connect();
    let before = hermux.resident_bytes();
    connection
        .send(Request::new("POST", "/v1/chat/completions").header("Transfer-Encoding", "chunked").head());
    let chunks = b"1\r\nx\r\n".repeat(100_000);
    for _ in 0..10 {
        connection.send(&chunks);
    }
    connection.send("0\r\n\r\n");
    let mut exchange = upstream.next();
    assert_eq!(exchange.body().len(), 1_000_000);
    // All of it is kept to be sent again, a megabyte.
    let grown = peak_bytes(hermux.pid()).saturating_sub(before);
    assert!(grown < 16 * MEGABYTE as u64, "a megabyte takes {grown} bytes");
    exchange.json(200, samples::CHAT);
    assert_eq!(answer(&mut connection).status(), 200);
}

/// The most memory a process ever had.
fn peak_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("Linux tells it");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") * 1024
}
