//! Requests whose framing can be read in two ways: refused, or read in one way and the connection closed.

use std::sync::{Arc, Mutex};

use crate::support::hermux::answer;
use crate::support::{Hermux, Request, Setup, TOKEN, Upstream, find, show};

/// Head lines of a POST whose framing is ambiguous, and its body. `SMUGGLED` stands for a whole request for
/// `/v1/smuggled` that some reader might see.
const AMBIGUOUS: &[(&str, &str)] = &[
    // Length and coding.
    ("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nSMUGGLED"),
    ("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", "0\r\n\r\nSMUGGLED"),
    ("Content-Length: 5\r\ntransfer-encoding:chunked\r\n", "0\r\n\r\nSMUGGLED"),
    // Repeated and odd lengths.
    ("Content-Length: 0\r\nContent-Length: 5\r\n", "SMUGGLED"),
    ("Content-Length: 5\r\nContent-Length: 0\r\n", "aaaaaSMUGGLED"),
    ("Content-Length: 5, 5\r\n", "aaaaaSMUGGLED"),
    ("Content-Length: 0, 5\r\n", "SMUGGLED"),
    ("Content-Length: +5\r\n", "aaaaaSMUGGLED"),
    ("Content-Length: -5\r\n", "SMUGGLED"),
    ("Content-Length: 0x5\r\n", "SMUGGLED"),
    ("Content-Length: 5 5\r\n", "aaaaaSMUGGLED"),
    ("Content-Length: five\r\n", "SMUGGLED"),
    ("Content-Length: \r\n", "SMUGGLED"),
    ("Content-Length: 5;\r\n", "aaaaaSMUGGLED"),
    ("Content-Length: 18446744073709551621\r\n", "aaaaaSMUGGLED"),
    ("Content-Length : 5\r\n", "SMUGGLED"),
    ("Content_Length: 5\r\nContent-Length : 0\r\n", "SMUGGLED"),
    // Odd codings.
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\nSMUGGLED"),
    ("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nSMUGGLED"),
    ("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\nSMUGGLED"),
    ("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\nSMUGGLED"),
    ("Transfer-Encoding: identity\r\n", "SMUGGLED"),
    ("Transfer-Encoding: gzip\r\n", "SMUGGLED"),
    ("Transfer-Encoding: xchunked\r\n", "0\r\n\r\nSMUGGLED"),
    ("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\nSMUGGLED"),
    ("Transfer-Encoding: chunked;x\r\n", "0\r\n\r\nSMUGGLED"),
    ("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\nSMUGGLED"),
    ("Transfer-Encoding : chunked\r\n", "0\r\n\r\nSMUGGLED"),
    ("Transfer-Encoding\t: chunked\r\n", "0\r\n\r\nSMUGGLED"),
    (" Transfer-Encoding: chunked\r\n", "0\r\n\r\nSMUGGLED"),
    // Lines that some fold and others do not; bytes that some stop at.
    ("Content-Length:\r\n 5\r\n", "aaaaaSMUGGLED"),
    ("X: y\r\n Content-Length: 5\r\n", "SMUGGLED"),
    ("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\nSMUGGLED"),
    ("X: y\r\n\tTransfer-Encoding: chunked\r\n", "0\r\n\r\nSMUGGLED"),
    ("X: y\0z\r\nContent-Length: 0\r\n", "SMUGGLED"),
    ("X\0: y\r\nContent-Length: 0\r\n", "SMUGGLED"),
    ("X: y\rContent-Length: 5\r\n", "SMUGGLED"),
    ("X: y\r\rContent-Length: 5\r\n", "SMUGGLED"),
    ("Content-Length: 5\rX: y\r\n", "aaaaaSMUGGLED"),
    ("X: y\r\nContent-Length: 0\r\n\r", "SMUGGLED"),
    ("NoColon\r\nContent-Length: 0\r\n", "SMUGGLED"),
    (": nameless\r\nContent-Length: 0\r\n", "SMUGGLED"),
    // Chunks that do not add up.
    ("Transfer-Encoding: chunked\r\n", "x\r\nSMUGGLED"),
    ("Transfer-Encoding: chunked\r\n", "-1\r\nSMUGGLED"),
    ("Transfer-Encoding: chunked\r\n", "0x1\r\na\r\n0\r\n\r\nSMUGGLED"),
    ("Transfer-Encoding: chunked\r\n", "+1\r\na\r\n0\r\n\r\nSMUGGLED"),
    ("Transfer-Encoding: chunked\r\n", "10000000000000001\r\na\r\n0\r\n\r\nSMUGGLED"),
    ("Transfer-Encoding: chunked\r\n", "1\r\nab\r\n0\r\n\r\nSMUGGLED"),
    ("Transfer-Encoding: chunked\r\n", "\r\n0\r\n\r\nSMUGGLED"),
    ("Transfer-Encoding: chunked\r\n", "1 1\r\na\r\n0\r\n\r\nSMUGGLED"),
    ("Transfer-Encoding: chunked\r\n", "1;\ra\r\n0\r\n\r\nSMUGGLED"),
];

#[test]
fn what_can_be_read_twice_is_read_once_at_most_and_ends_the_connection() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let upstream = Upstream::answering(move |mut exchange| {
        log.lock().unwrap().push(exchange.head.target().to_owned());
        // An ambiguous upload may be passed on and then break.
        exchange.wire.rest();
        exchange.json(200, "{}");
    });
    // Some readings wait for more of the body: where the caller goes on sending, this ends them.
    let hermux = Setup::new(&upstream).flag("--body-timeout", "1s").flag("--header-timeout", "1s").start();
    assert_eq!(hermux.ask(&Request::get("/v1/first")).status(), 200);
    for goes_on in [true, false] {
        let connections: Vec<_> = AMBIGUOUS
            .iter()
            .map(|(headers, body)| {
                let mut connection = hermux.connect();
                let head = format!(
                    "POST /v1/files HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n{headers}\r\n"
                );
                let smuggled = show(&Request::get("/v1/smuggled").bytes());
                connection.try_send(format!("{head}{}", body.replace("SMUGGLED", &smuggled))).ok();
                if !goes_on {
                    connection.finish_sending();
                }
                connection
            })
            .collect();
        for ((headers, body), mut connection) in AMBIGUOUS.iter().zip(connections) {
            let what = format!("{headers:?} {body:?}, goes on: {goes_on}");
            let said = connection.drain();
            let answers = memchr::memmem::find_iter(&said, b"HTTP/1.1 ").count();
            assert!(answers <= 1, "{what}: {answers} answers: {}", show(&said));
            let seen = seen.lock().unwrap().clone();
            assert!(
                !seen.iter().any(|target| target.contains("smuggled")),
                "{what}: it arrived upstream: {seen:?}"
            );
            if answers == 1 && find(&said, b"HTTP/1.1 2").is_none() {
                let status: u16 = show(&said[9..12]).parse().expect("a status");
                assert!((400..500).contains(&status) || status == 501, "{what}: {status}");
            }
        }
    }
    assert_eq!(hermux.ask(&Request::get("/v1/last")).status(), 200, "it goes on");
}

#[test]
fn a_length_told_twice_alike_is_one_length() {
    // RFC 9110, section 8.6: it may be taken for one; whoever reads it otherwise refuses it. Upstream is told it once.
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    let mut connection = hermux.connect();
    connection.send(format!(
        "POST /v1/files HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 5\r\n\
         Content-Length: 5\r\n\r\nhello"
    ));
    connection.send(Request::get("/v1/next").bytes());
    let mut exchange = upstream.next();
    let lengths = exchange.head.all("content-length");
    assert_eq!(lengths, ["5"]);
    assert_eq!(exchange.body(), b"hello");
    exchange.json(200, "{}");
    assert_eq!(answer(&mut connection).status(), 200);
    let exchange = upstream.next();
    assert_eq!(exchange.head.target(), "/api/v1/next");
    exchange.json(200, "{}");
    assert_eq!(answer(&mut connection).status(), 200);
}

#[test]
fn a_refused_request_leaves_its_body_unread_as_a_request() {
    let upstream = Upstream::never_called();
    let hermux = Hermux::start(&upstream);
    // What stands in the place of the body is never taken for a request, whether all of it comes or not.
    let follower = Request::get("/v1/smuggled").bytes();
    for length in [follower.len(), follower.len() + 5] {
        let refused = Request::new("POST", "/v1/chat/completions").without("authorization");
        let mut connection = hermux.connect();
        connection.send(refused.header("Content-Length", &length.to_string()).head());
        connection.try_send(&follower).ok();
        assert_eq!(answer(&mut connection).status(), 401);
        connection.finish_sending();
        let said = connection.drain();
        assert!(find(&said, b"HTTP/1.1 ").is_none(), "{}", show(&said));
    }
}

#[test]
fn line_ends_and_blanks_that_have_one_reading_are_fine() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    for request in [
        // An empty line before a request (RFC 9112, section 2.2), blanks around a value, chunk extensions, case.
        format!(
            "\r\nPOST /v1/files HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: 5\r\n\r\nhello"
        ),
        format!(
            "POST /v1/files HTTP/1.1\r\nhost:a\r\nauthorization:\t Bearer {TOKEN} \t\r\ncontent-length:  5  \r\n\r\nhello"
        ),
        format!(
            "POST /v1/files HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {TOKEN}\r\ntransfer-encoding: Chunked\r\n\r\n\
             2;a=b;c=\"d\"\r\nhe\r\n003\r\nllo\r\n00\r\n\r\n"
        ),
    ] {
        let mut connection = hermux.connect();
        connection.send(&request);
        let mut exchange = upstream.next();
        assert_eq!(exchange.body(), b"hello", "{request}");
        exchange.json(200, "{}");
        assert_eq!(answer(&mut connection).status(), 200);
    }
}
