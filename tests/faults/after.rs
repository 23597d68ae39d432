//! Behind the first byte: the caller's body breaks as upstream's did, and never looks complete.

use serde_json::Value;

use crate::support::h2::H2;
use crate::support::wire::Got;
use crate::support::{Connection, End, Exchange, Hermux, Request, Setup, Upstream, find, samples, show};

/// The two ways in which upstream disappears.
const CUTS: [fn(Connection); 2] = [Connection::cut_fin, Connection::cut_reset];

/// A route, a stream of its dialect, and whether an event is the error of this dialect.
type Dialect = (&'static str, &'static str, fn(&str, &Value) -> bool);

const DIALECTS: [Dialect; 3] = [
    ("/v1/chat/completions", samples::CHAT_STREAM, |_, data| data["error"]["message"].is_string()),
    ("/v1/messages", samples::MESSAGES_STREAM, |event, data| {
        event == "error"
            && data["type"] == "error"
            && data["error"]["type"].is_string()
            && data["error"]["message"].is_string()
    }),
    ("/v1/responses", samples::RESPONSES_STREAM, |_, data| {
        data["type"] == "error" && (data["message"].is_string() || data["error"]["message"].is_string())
    }),
];

/// The type and the data of the one event in `bytes`.
fn the_event(bytes: &[u8]) -> (String, Value) {
    let text = std::str::from_utf8(bytes).expect("an event is text");
    let event = text.strip_suffix("\n\n").unwrap_or_else(|| panic!("not one whole event: {text}"));
    assert!(!event.contains("\n\n"), "more than one event: {text}");
    let field = |name: &str| {
        let mut lines = event.lines().filter_map(|line| line.strip_prefix(name));
        let value = lines.next().map(|value| value.trim_start().to_owned());
        assert!(lines.next().is_none(), "{name} twice: {text}");
        value
    };
    let data = field("data:").unwrap_or_else(|| panic!("no data: {text}"));
    let data = serde_json::from_str(&data).unwrap_or_else(|_| panic!("not JSON: {data}"));
    (field("event:").unwrap_or_default(), data)
}

/// Opens a stream that got as far as `sent`, seen by the caller.
fn stream_up_to(hermux: &Hermux, upstream: &Upstream, path: &str, sent: &str) -> (Connection, Exchange) {
    let (mut connection, mut exchange) = hermux.open(&Request::post(path, r#"{"stream":true}"#), upstream);
    exchange.begin_stream();
    assert_eq!(connection.answer().status(), 200);
    if !sent.is_empty() {
        exchange.wire.send_chunk(sent);
        assert_eq!(connection.bytes(sent.len()), sent.as_bytes());
    }
    (connection, exchange)
}

/// Each event boundary inside `stream`, the one at its beginning included, its end not.
fn boundaries(stream: &str) -> Vec<usize> {
    let inside = stream.match_indices("\n\n").map(|(at, _)| at + 2).filter(|at| *at < stream.len());
    std::iter::once(0).chain(inside).collect()
}

#[test]
fn at_an_event_boundary_an_error_event_goes_first() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).holding_nothing().start();
    for (path, stream, is_error) in DIALECTS {
        for at in boundaries(stream) {
            for cut in CUTS {
                let (mut connection, exchange) = stream_up_to(&hermux, &upstream, path, &stream[..at]);
                cut(exchange.wire);
                let (rest, end) = connection.rest();
                assert_ne!(end, End::Complete, "{path} at {at} looks complete");
                let (event, data) = the_event(&rest);
                assert!(is_error(&event, &data), "{path} at {at}: {}", show(&rest));
                assert!(find(&rest, b"[DONE]").is_none());
            }
        }
    }
}

#[test]
fn a_crlf_stream_has_its_boundaries_too() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).holding_nothing().start();
    for sent in ["data: {}\r\n\r\n", ": comment\r\n\r\n", "data: {}\r\r"] {
        let (mut connection, exchange) = stream_up_to(&hermux, &upstream, "/v1/chat/completions", sent);
        exchange.wire.cut_fin();
        let (rest, end) = connection.rest();
        assert_ne!(end, End::Complete);
        the_event(&rest);
    }
}

#[test]
fn inside_an_event_the_body_just_breaks() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).holding_nothing().start();
    for (path, stream, _) in DIALECTS {
        let boundaries = boundaries(stream);
        // A few places in each event: within a field's name, within its data, behind a line.
        let inside = (1..stream.len() - 1).filter(|at| !boundaries.contains(at)).step_by(29);
        for (round, at) in inside.enumerate() {
            let (mut connection, exchange) = stream_up_to(&hermux, &upstream, path, &stream[..at]);
            CUTS[round % 2](exchange.wire);
            let (rest, end) = connection.rest();
            assert_ne!(end, End::Complete, "{path} at {at} looks complete");
            assert_eq!(rest, b"", "{path} at {at}: {}", show(&rest));
        }
    }
}

#[test]
fn a_cut_inside_a_chunk_is_a_cut() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).holding_nothing().start();
    for behind in ["", "\r", "\r\n", "\r\n0", "\r\n0\r\n", "\r\n0\r\nx: y\r\n", "\r\n5", "\r\n5\r\nda"] {
        let (mut connection, mut exchange) = stream_up_to(&hermux, &upstream, "/v1/chat/completions", "");
        exchange.wire.send(format!("9\r\ndata: 1\n\n{behind}"));
        exchange.wire.cut_fin();
        let (rest, end) = connection.rest();
        assert!(rest.starts_with(b"data: 1\n\n"), "{behind:?}: {}", show(&rest));
        assert_ne!(end, End::Complete, "{behind:?}");
    }
}

#[test]
fn garbage_in_the_framing_breaks_the_body() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).holding_nothing().start();
    for garbage in
        ["zz\r\nabc", "-1\r\nabc", "fffffffffffffffff\r\nabc", "1\r\nabc\r\n", "\r\n\r\n", "5 5\r\nhello"]
    {
        let (mut connection, mut exchange) =
            stream_up_to(&hermux, &upstream, "/v1/chat/completions", ": hi\n\n");
        exchange.wire.send(garbage);
        assert_ne!(connection.rest().1, End::Complete, "{garbage:?}");
        exchange.wire.wait_closed();
    }
}

#[test]
fn an_answer_that_is_no_stream_just_breaks() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).holding_nothing().start();
    for head in [
        "content-type: application/json\r\ncontent-length: 1000",
        "content-type: audio/mpeg\r\ntransfer-encoding: chunked",
    ] {
        for cut in CUTS {
            let (mut connection, mut exchange) = hermux.open(&Request::chat(false), &upstream);
            exchange.body();
            exchange.wire.send(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n"));
            connection.answer();
            let sent = if head.contains("chunked") { "5\r\nhello\r\n" } else { "hello" };
            exchange.wire.send(sent);
            assert_eq!(connection.bytes(5), b"hello");
            cut(exchange.wire);
            let (rest, end) = connection.rest();
            assert_eq!(rest, b"");
            assert_ne!(end, End::Complete, "{head}");
        }
    }
}

#[test]
fn a_stream_of_known_length_breaks_without_exceeding_it() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).holding_nothing().start();
    let (mut connection, mut exchange) = hermux.open(&Request::chat(true), &upstream);
    exchange.body();
    exchange
        .wire
        .send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 20\r\n\r\ndata: {}\n\n");
    connection.answer();
    assert_eq!(connection.bytes(10), b"data: {}\n\n");
    exchange.wire.cut_fin();
    let (rest, end) = connection.rest();
    assert_ne!(end, End::Complete, "padded to its length: {}", show(&rest));
}

#[test]
fn an_encoded_stream_gets_no_event_that_nobody_could_read() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).holding_nothing().start();
    let (mut connection, mut exchange) = hermux.open(&Request::chat(true), &upstream);
    exchange.body();
    exchange.wire.send(concat!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip\r\n",
        "transfer-encoding: chunked\r\n\r\n4\r\n\x1f\x0b\n\n\r\n",
    ));
    connection.answer();
    connection.bytes(4);
    exchange.wire.cut_fin();
    let (rest, end) = connection.rest();
    assert_ne!(end, End::Complete);
    assert_eq!(rest, b"", "plain text in an encoded stream");
}

#[test]
fn silence_in_the_middle_of_an_answer_breaks_it() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).holding_nothing().flag("--idle-timeout", "1s").start();
    let (mut connection, mut exchange) =
        stream_up_to(&hermux, &upstream, "/v1/chat/completions", "data: {}\n\n");
    let (rest, end) = connection.rest();
    assert_ne!(end, End::Complete);
    assert!(the_event(&rest).1["error"]["message"].is_string());
    exchange.wire.wait_closed();
}

#[test]
fn on_h2_the_stream_is_reset() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).holding_nothing().start();
    let mut h2 = H2::open(hermux.address());
    for cut in CUTS {
        let mut asked = h2.send("POST", "/v1/chat/completions", Some(r#"{"stream":true}"#));
        let mut exchange = upstream.next();
        exchange.begin_stream();
        assert_eq!(asked.head().unwrap().status(), 200);
        exchange.wire.send_chunk("data: {}\n\n");
        assert_eq!(asked.data().unwrap().unwrap(), "data: {}\n\n");
        cut(exchange.wire);
        let mut rest = Vec::new();
        let error = loop {
            match asked.data() {
                Some(Ok(data)) => rest.extend(data),
                Some(Err(error)) => break error,
                None => panic!("a clean end after: {}", show(&rest)),
            }
        };
        assert!(error.is_reset(), "{error}");
        assert!(the_event(&rest).1["error"]["message"].is_string(), "{}", show(&rest));
    }
    // The other streams of the connection live on.
    let mut next = h2.send("GET", "/v1/models", None);
    upstream.next().json(200, samples::MODELS);
    assert_eq!(next.head().unwrap().status(), 200);
    assert_eq!(next.whole(), samples::MODELS.as_bytes());
}

#[test]
fn what_had_arrived_before_the_cut_is_booked() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).holding_nothing().start();
    let usage_end = samples::CHAT_STREAM.find("data: [DONE]").expect("it stands there");
    let sent = &samples::CHAT_STREAM[..usage_end];
    let (mut connection, exchange) = stream_up_to(&hermux, &upstream, "/v1/chat/completions", sent);
    exchange.wire.cut_fin();
    assert_ne!(connection.rest().1, End::Complete);
    let sum = hermux.stats_when("the attempt in the ledger", |sum| sum.completion_tokens > 0);
    assert_eq!((sum.requests, sum.attempts, sum.prompt_tokens, sum.completion_tokens), (1, 1, 9, 4));
}

#[test]
fn an_http_1_0_caller_can_tell_a_cut_from_the_end() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).holding_nothing().start();
    for cut in CUTS {
        let request = String::from_utf8(Request::get("/v1/models").bytes()).unwrap();
        let mut connection = hermux.connect();
        connection.send(request.replace("HTTP/1.1", "HTTP/1.0"));
        let mut exchange = upstream.next();
        exchange.wire.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n");
        let head = connection.answer_to_head();
        assert_eq!(head.status(), 200);
        while find(connection.unread(), b"hello").is_none() {
            assert_eq!(connection.fill(), Got::Bytes);
        }
        cut(exchange.wire);
        // Its body ends with the connection: only a reset says that it did not end.
        loop {
            match connection.fill() {
                Got::Bytes => {}
                ended => {
                    assert_eq!(ended, Got::Reset);
                    break;
                }
            }
        }
    }
}

#[test]
fn who_leaves_at_the_last_event_had_all_of_it() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).switch("-v").start();
    for (sent, outcome) in [
        (samples::CHAT_STREAM, "complete"),
        (&samples::CHAT_STREAM[..samples::CHAT_STREAM.len() - "data: [DONE]\n\n".len()], "cancelled"),
    ] {
        let (connection, mut exchange) = stream_up_to(&hermux, &upstream, "/v1/chat/completions", sent);
        // The last chunk, which ends the body, never comes.
        connection.cut_reset();
        exchange.wire.wait_closed();
        hermux.wait_for_line(&format!("outcome=\"{outcome}\""));
    }
}
