//! Slow callers: the head, the pause between requests, the body; and streams that may take as long as they like.

use std::thread;
use std::time::Duration;

use crate::support::hermux::answer;
use crate::support::wire::Got;
use crate::support::{Connection, End, Hermux, Request, Setup, Upstream, samples};

/// Reads until the connection closes; whatever is said before must be a refusal.
fn assert_turned_away(connection: &mut Connection, what: &str) {
    match connection.try_head() {
        Ok(head) => {
            assert_eq!(head.status(), 408, "{what}");
            connection.wait_closed();
        }
        Err(ended) => assert_ne!(ended, Got::Bytes, "{what}"),
    }
}

#[test]
fn a_head_that_does_not_end_is_not_waited_for() {
    let upstream = Upstream::never_called();
    let hermux = Setup::new(&upstream).flag("--header-timeout", "1s").start();
    for begun in ["G", "GET /v1/models HTTP/1.1\r\n", "GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX: "] {
        let mut connection = hermux.connect();
        connection.send(begun);
        assert_turned_away(&mut connection, begun);
    }
}

#[test]
fn dripping_the_head_does_not_prolong_it() {
    let upstream = Upstream::never_called();
    let hermux = Setup::new(&upstream).flag("--header-timeout", "1s").start();
    let mut connection = hermux.connect();
    let mut writer = connection.writer();
    let dripping = thread::spawn(move || {
        // Ten bytes a second for longer than a test waits, were it never cut off.
        let mut drip = "GET /v1/models HTTP/1.1\r\nX-Long: ".bytes().chain(std::iter::repeat_n(b'x', 300));
        drip.all(|byte| {
            thread::sleep(Duration::from_millis(100));
            writer.try_send([byte]).is_ok()
        })
    });
    assert_turned_away(&mut connection, "a dripping head");
    drop(connection);
    assert!(!dripping.join().unwrap(), "it could drip to its end");
}

#[test]
fn the_next_head_on_a_connection_has_the_same_time() {
    let upstream = Upstream::answering(|exchange| exchange.json(200, samples::MODELS));
    let hermux = Setup::new(&upstream).flag("--header-timeout", "1s").start();
    let mut connection = hermux.connect();
    connection.send(Request::get("/v1/models").bytes());
    assert_eq!(answer(&mut connection).status(), 200);
    connection.send("GET /v1/mod");
    assert_turned_away(&mut connection, "the second head");
}

#[test]
fn an_idle_connection_is_closed_in_time_and_not_before() {
    let upstream = Upstream::answering(|exchange| exchange.json(200, samples::MODELS));
    let hermux =
        Setup::new(&upstream).flag("--keep-alive-timeout", "2s").flag("--header-timeout", "1s").start();
    let mut connection = hermux.connect();
    connection.send(Request::get("/v1/models").bytes());
    assert_eq!(answer(&mut connection).status(), 200);
    // The time for a head runs from its first byte: idling past it is fine.
    assert_eq!(connection.fill_within(Duration::from_millis(1_300)), None, "closed too soon");
    connection.send(Request::get("/v1/models").bytes());
    assert_eq!(answer(&mut connection).status(), 200);
    assert_eq!(connection.fill(), Got::Fin);
}

#[test]
fn a_connection_that_never_says_anything_is_closed() {
    let upstream = Upstream::never_called();
    let hermux =
        Setup::new(&upstream).flag("--keep-alive-timeout", "1s").flag("--header-timeout", "1s").start();
    let mut connection = hermux.connect();
    assert_turned_away(&mut connection, "a silent connection");
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).flag("--body-timeout", "1s").start();
    for path in ["/v1/chat/completions", "/v1/files"] {
        let mut connection = hermux.connect();
        connection.send(Request::new("POST", path).header("Content-Length", "1000").head());
        connection.send("{");
        assert_turned_away(&mut connection, path);
        // What went upstream, if anything did, is not complete.
        let (mut marker, mut exchange) = hermux.open(&Request::get("/v1/models"), &upstream);
        while exchange.head.target() != "/api/v1/models" {
            assert_ne!(exchange.wire.rest().1, End::Complete, "{path}");
            exchange = upstream.next();
        }
        exchange.json(200, "{}");
        assert_eq!(answer(&mut marker).status(), 200);
    }
}

#[test]
fn a_slow_body_is_fine_as_long_as_it_comes() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream)
        .flag("--body-timeout", "1s")
        .flag("--first-byte-timeout", "1s")
        .flag("--header-timeout", "1s")
        .start();
    let mut connection = hermux.connect();
    connection.send(Request::new("POST", "/v1/files").header("Content-Length", "8").head());
    for byte in b"12345678" {
        thread::sleep(Duration::from_millis(300));
        connection.send([*byte]);
    }
    let mut exchange = upstream.next();
    assert_eq!(exchange.body(), b"12345678");
    exchange.json(200, "{}");
    assert_eq!(answer(&mut connection).status(), 200);
}

#[test]
fn a_stream_may_take_longer_than_every_timeout() {
    let upstream = Upstream::start();
    let timeouts = [
        "--header-timeout",
        "--keep-alive-timeout",
        "--body-timeout",
        "--connect-timeout",
        "--first-byte-timeout",
        "--idle-timeout",
    ];
    let setup = Setup::new(&upstream).holding_nothing();
    let hermux = timeouts.iter().fold(setup, |setup, flag| setup.flag(flag, "1s")).start();
    let (mut connection, mut exchange) = hermux.open(&Request::chat(true), &upstream);
    exchange.begin_stream();
    connection.answer();
    for _ in 0..8 {
        thread::sleep(Duration::from_millis(300));
        exchange.wire.send_chunk(": still here\n\n");
        assert_eq!(connection.bytes(14), b": still here\n\n");
    }
    exchange.wire.send_last_chunk();
    assert_eq!(connection.rest(), (Vec::new(), End::Complete));
}

#[test]
fn the_defaults_are_longer_than_a_test() {
    // A head, an idle connection and a body that pause for a second are nothing unusual.
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    let mut connection = hermux.connect();
    let request = Request::chat(false).bytes();
    let (head, rest) = request.split_at(30);
    connection.send(head);
    assert_eq!(connection.fill_within(Duration::from_secs(1)), None);
    connection.send(&rest[..rest.len() - 5]);
    assert_eq!(connection.fill_within(Duration::from_secs(1)), None);
    connection.send(&rest[rest.len() - 5..]);
    upstream.next().json(200, "{}");
    assert_eq!(answer(&mut connection).status(), 200);
    assert_eq!(connection.fill_within(Duration::from_secs(1)), None);
}

#[test]
fn an_idle_http2_connection_that_acknowledges_nothing_ends() {
    let upstream = Upstream::never_called();
    let hermux =
        Setup::new(&upstream).flag("--keep-alive-timeout", "1s").flag("--header-timeout", "1s").start();
    let mut connection = hermux.connect();
    // The preface and empty settings, and never a word again, not even to a ping.
    connection.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00");
    connection.drain();
}

#[test]
fn a_caller_that_pipelines_and_reads_nothing_ends() {
    let upstream = Upstream::never_called();
    let hermux = Setup::new(&upstream)
        .flag("--keep-alive-timeout", "1s")
        .flag("--header-timeout", "1s")
        .flag("--max-connections", "1")
        .start();
    let mut greedy = hermux.connect();
    greedy.stream().set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    // Until its answers fill every buffer on the way and nothing more is taken.
    let request = Request::get("/health").bytes().repeat(1_000);
    while greedy.try_send(&request).is_ok() {}
    // Its place is free again: with it, nobody else could be served.
    let mut other = hermux.connect();
    other.send(Request::get("/health").bytes());
    assert_eq!(answer(&mut other).status(), 200);
}

#[test]
fn upstream_is_not_late_while_the_caller_pauses_in_its_upload() {
    let upstream = Upstream::start();
    let hermux =
        Setup::new(&upstream).flag("--first-byte-timeout", "500ms").flag("--replay-size", "8KiB").start();
    let body = vec![b' '; 20 << 10];
    let request = Request::new("POST", "/v1/chat/completions")
        .header("Content-Type", "application/json")
        .header("Content-Length", &(body.len() + 1).to_string());
    let mut connection = hermux.connect();
    connection.send(request.head());
    connection.send(&body);
    let exchange = upstream.next();
    thread::sleep(Duration::from_millis(1_500));
    connection.send(" ");
    exchange.json(200, samples::CHAT);
    assert_eq!(answer(&mut connection).status(), 200);
}
