//! HTTP/1.0, HTTP/1.1 and HTTP/2 as callers speak them.

use crate::support::h2::H2;
use crate::support::hermux::answer;
use crate::support::{End, Hermux, Request, Setup, Upstream, samples, show};

#[test]
fn h2_with_prior_knowledge_works() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    let mut h2 = H2::open(hermux.address());
    let mut asked = h2.send("POST", "/v1/chat/completions?x=1", Some(r#"{"model":"acme/small"}"#));
    let mut exchange = upstream.next();
    assert_eq!(exchange.head.start, "POST /api/v1/chat/completions?x=1 HTTP/1.1");
    assert_eq!(exchange.head.header("host"), Some(upstream.address().to_string().as_str()));
    assert_eq!(exchange.text(), r#"{"model":"acme/small"}"#);
    exchange.json(200, samples::CHAT);
    let head = asked.head().unwrap();
    assert_eq!((head.status().as_u16(), head.version()), (200, http::Version::HTTP_2));
    assert_eq!(head.headers()["x-token-name"], "key-1");
    assert!(!head.headers().contains_key("transfer-encoding") && !head.headers().contains_key("connection"));
    assert_eq!(asked.whole(), samples::CHAT.as_bytes());
}

#[test]
fn streams_of_one_h2_connection_go_side_by_side() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    let mut h2 = H2::open(hermux.address());
    let mut open: Vec<_> = (0..8)
        .map(|_| {
            let asked = h2.send("POST", "/v1/chat/completions", Some("{}"));
            let mut exchange = upstream.next();
            exchange.begin_stream();
            (asked, exchange)
        })
        .collect();
    for (asked, _) in &mut open {
        assert_eq!(asked.head().unwrap().status(), 200);
    }
    for (number, (asked, exchange)) in open.iter_mut().enumerate().rev() {
        let event = format!("data: {number}\n\n");
        exchange.wire.send_chunk(&event);
        assert_eq!(asked.data().unwrap().unwrap(), event);
    }
    for (mut asked, mut exchange) in open {
        exchange.wire.send_last_chunk();
        assert_eq!(asked.whole(), b"");
    }
}

#[test]
fn head_has_the_headers_of_get_and_no_body() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    let mut connection = hermux.connect();
    for _ in 0..2 {
        connection.send(Request::new("HEAD", "/v1/models").bytes());
        let mut exchange = upstream.next();
        assert_eq!(exchange.head.method(), "HEAD");
        exchange
            .wire
            .send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 12345\r\n\r\n");
        let head = connection.answer_to_head();
        assert_eq!((head.status(), head.header("content-length")), (200, Some("12345")));
        exchange.keep();
    }
    // Nothing stands between the answers: the connection still serves.
    connection.send(Request::get("/v1/models").bytes());
    upstream.next().json(200, samples::MODELS);
    assert_eq!(answer(&mut connection).body, samples::MODELS.as_bytes());
}

#[test]
fn answers_without_a_body_have_none() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    let mut connection = hermux.connect();
    for start in ["204 No Content", "304 Not Modified"] {
        connection.send(Request::new("DELETE", "/v1/files/1").bytes());
        let mut exchange = upstream.next();
        exchange.wire.send(format!("HTTP/1.1 {start}\r\netag: \"1\"\r\n\r\n"));
        let head = connection.answer();
        assert_eq!(head.status().to_string(), start[..3]);
        assert!(!head.has("transfer-encoding"), "{}", show(&head.raw));
        assert_eq!(head.header("etag"), Some("\"1\""));
        exchange.keep();
    }
    connection.send(Request::get("/v1/models").bytes());
    upstream.next().json(200, samples::MODELS);
    assert_eq!(answer(&mut connection).status(), 200);
}

#[test]
fn interim_answers_of_upstream_are_not_the_answer() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    let (mut connection, mut exchange) = hermux.open(&Request::chat(false), &upstream);
    exchange.body();
    exchange.wire.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n");
    exchange.wire.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
    let mut head = connection.answer();
    while head.status() < 200 {
        head = connection.answer();
    }
    assert_eq!((head.status(), connection.whole()), (200, b"{}".to_vec()));
}

#[test]
fn trailers_of_an_answer_pass() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    let answer = concat!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n",
        "5\r\nhello\r\n0\r\nx-sum: 7\r\n\r\n",
    );
    let request = Request::get("/v1/files/1/content").header("TE", "trailers").header("Connection", "TE");
    let (mut connection, mut exchange) = hermux.open(&request, &upstream);
    exchange.wire.send(answer);
    connection.answer();
    assert_eq!(connection.whole(), b"hello");
    assert_eq!(connection.trailers, [("x-sum".to_owned(), "7".to_owned())]);
    exchange.keep();

    let mut h2 = H2::open(hermux.address());
    let mut asked = h2.send("GET", "/v1/files/1/content", None);
    let mut exchange = upstream.next();
    exchange.wire.send(answer);
    assert_eq!(asked.head().unwrap().status(), 200);
    assert_eq!(asked.whole(), b"hello");
    assert_eq!(asked.trailers().expect("trailers came")["x-sum"], "7");
}

#[test]
fn an_answer_with_trailers_is_booked_as_complete() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).variable("HERMUX_LOG", "hermux::request=debug").start();
    let request = Request::get("/v1/models").header("TE", "trailers").header("Connection", "TE");
    let (mut connection, mut exchange) = hermux.open(&request, &upstream);
    exchange
        .wire
        .send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 7\r\n\r\n");
    connection.answer();
    assert_eq!(connection.whole(), b"hello");
    // Nobody announced them.
    assert_eq!(connection.trailers, [("x-sum".to_owned(), "7".to_owned())]);
    let line = hermux.wait_for_line("/models");
    assert!(line.contains("outcome=\"complete\"") && line.contains("bytes=5"), "{line}");
}

#[test]
fn trailers_of_a_request_do_no_harm() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    let mut connection = hermux.connect();
    let upload =
        Request::new("POST", "/v1/files").header("Transfer-Encoding", "chunked").header("Trailer", "x-sum");
    connection.send(upload.head());
    connection.send("5\r\nhello\r\n0\r\nx-sum: 7\r\nauthorization: Bearer x\r\n\r\n");
    let mut exchange = upstream.next();
    assert_eq!(exchange.body(), b"hello");
    let stolen = exchange.wire.trailers.iter().any(|(name, _)| name == "authorization");
    assert!(!stolen, "a credential in a trailer left");
    exchange.json(200, "{}");
    assert_eq!(answer(&mut connection).status(), 200);
    connection.send(Request::get("/v1/models").bytes());
    upstream.next().json(200, samples::MODELS);
    assert_eq!(answer(&mut connection).status(), 200);
}

#[test]
fn http_1_0_gets_an_answer_it_can_read() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    let old = |request: Request| show(&request.bytes()).replace("HTTP/1.1", "HTTP/1.0");
    // With and without Host, whole and streamed: never chunked, and the end of the connection is the end.
    for request in [Request::chat(true), Request::chat(true).without("host")] {
        let mut connection = hermux.connect();
        connection.send(old(request));
        let mut exchange = upstream.next();
        exchange.begin_stream();
        exchange.wire.send_chunk("data: {}\n\n");
        exchange.wire.send_last_chunk();
        let answer = answer(&mut connection);
        assert_eq!(answer.status(), 200);
        assert!(!answer.head.has("transfer-encoding"));
        assert_eq!((answer.body.as_slice(), answer.end), (b"data: {}\n\n".as_slice(), End::Complete));
    }
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let upstream = Upstream::answering(|exchange| {
        let target = exchange.head.target().to_owned();
        exchange.json(200, &format!(r#"{{"target":"{target}"}}"#));
    });
    let hermux = Hermux::start(&upstream);
    let mut connection = hermux.connect();
    let requests = (0..10).map(|number| Request::get(&format!("/v1/models?number={number}")).bytes());
    connection.send(requests.collect::<Vec<_>>().concat());
    for number in 0..10 {
        let answer = answer(&mut connection);
        assert_eq!(answer.json()["target"], format!("/api/v1/models?number={number}"));
    }
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let upstream = Upstream::answering(|exchange| exchange.json(200, samples::CHAT));
    let hermux = Hermux::start(&upstream);
    let mut connection = hermux.connect();
    for _ in 0..50 {
        connection.send(Request::chat(false).bytes());
        assert_eq!(answer(&mut connection).status(), 200);
    }
    assert!(upstream.connections() < 10, "upstream's connections are kept: {}", upstream.connections());
    connection.send(Request::chat(false).header("Connection", "close").bytes());
    assert_eq!(answer(&mut connection).status(), 200);
    connection.wait_closed();
}
