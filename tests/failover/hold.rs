//! An error that comes with status 200, before any content, is an error like any other.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::{FREE_MINUTE, attempts, bad_first, chat, start};
use crate::support::hermux::{answer, secret};
use crate::support::{End, Exchange, Hermux, Request, Setup, Upstream, eventually, samples};

const COMMENT: &str = ": OPENROUTER PROCESSING\n\n";

/// Begins a stream, sends `pieces` one chunk each, and ends it.
fn stream(exchange: Exchange, pieces: &[&str]) {
    let mut exchange = exchange;
    exchange.begin_stream();
    for piece in pieces {
        exchange.wire.send_chunk(piece);
    }
    exchange.wire.send_last_chunk();
    exchange.keep();
}

fn error_event() -> String {
    format!("data: {}\n\n", FREE_MINUTE.1)
}

#[test]
fn an_error_as_the_first_event_goes_to_the_next_key() {
    for (path, good) in [
        ("/v1/chat/completions", samples::CHAT_STREAM),
        ("/v1/messages", samples::MESSAGES_STREAM),
        ("/v1/responses", samples::RESPONSES_STREAM),
    ] {
        let upstream = Upstream::start();
        let hermux = start(&upstream, 2);
        let mut connection = hermux.send(&Request::post(path, r#"{"model":"acme/small","stream":true}"#));
        let error = error_event();
        // However it was cut.
        let (left, right) = error.split_at(error.len() / 2);
        stream(upstream.next(), &[COMMENT, left, right]);
        stream(upstream.next(), &[COMMENT, good]);
        let answer = answer(&mut connection);
        assert_eq!((answer.status(), attempts(&answer), answer.end), (200, 2, End::Complete));
        assert_eq!(String::from_utf8(answer.body).unwrap(), format!("{COMMENT}{good}"));
    }
}

#[test]
fn an_error_behind_blank_lines_of_json_goes_to_the_next_key() {
    let upstream = bad_first(1, |mut exchange| {
        exchange.body();
        exchange
            .wire
            .send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n");
        let (left, right) = FREE_MINUTE.1.split_at(60);
        for piece in [" \n\n", "\n", left, right] {
            exchange.wire.send_chunk(piece);
        }
        exchange.wire.send_last_chunk();
        exchange.keep();
    });
    let answer = start(&upstream, 2).ask(&chat());
    assert_eq!((answer.body.as_slice(), attempts(&answer)), (samples::CHAT.as_bytes(), 2));
}

#[test]
fn an_error_behind_a_ping_goes_to_the_next_key() {
    let ping = "event: ping\ndata: {\"type\": \"ping\"}\n\n";
    let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"Rate limit exceeded: free-models-per-min. \"}}\n\n";
    let upstream = Upstream::start();
    let hermux = start(&upstream, 2);
    let mut connection =
        hermux.send(&Request::post("/v1/messages", r#"{"model":"acme/small:free","stream":true}"#));
    stream(upstream.next(), &[ping, ping, error]);
    stream(upstream.next(), &[ping, samples::MESSAGES_STREAM]);
    let answer = answer(&mut connection);
    assert_eq!((answer.status(), attempts(&answer), answer.end), (200, 2, End::Complete));
    assert_eq!(String::from_utf8(answer.body).unwrap(), format!("{ping}{}", samples::MESSAGES_STREAM));
}

#[test]
fn an_error_behind_other_members_of_json_goes_to_the_next_key() {
    const NO_CREDITS: &str = r#""error":{"message":"Insufficient credits. Add more","code":402,"metadata":{"limit_source":"openrouter_credits"}}"#;
    for (path, bad) in [
        ("/v1/chat/completions", format!(r#"{{"id":"gen-1",{NO_CREDITS}}}"#)),
        ("/v1/chat/completions", format!(r#"{{"user_id":"user_1", {NO_CREDITS}}}"#)),
        ("/v1/responses", format!(r#"{{"id":"r","status":"failed","output":[],{NO_CREDITS},"usage":null}}"#)),
    ] {
        let upstream = Upstream::start();
        let hermux = start(&upstream, 2);
        let mut connection = hermux.send(&Request::post(path, r#"{"model":"acme/small"}"#));
        upstream.next().json(200, &bad);
        upstream.next().json(200, samples::CHAT);
        let answer = answer(&mut connection);
        assert_eq!((answer.body.as_slice(), attempts(&answer)), (samples::CHAT.as_bytes(), 2), "{bad}");
        let mut connection = hermux.send(&Request::post(path, r#"{"model":"acme/small"}"#));
        upstream
            .next()
            .json(200, r#"{"id":"r","status":"completed","error":null,"output":[{"error":{"code":1}}]}"#);
        assert_eq!(attempts(&self::answer(&mut connection)), 1, "that account rests, and this is no error");
    }
}

#[test]
fn an_error_that_nothing_cures_is_passed_on_as_it_came() {
    let event = "data: {\"error\":{\"message\":\"acme/x is not a valid model ID\",\"code\":400}}\n\n";
    let upstream = Upstream::answering(move |exchange| stream(exchange, &[COMMENT, event]));
    let hermux = start(&upstream, 2);
    let answer = hermux.ask(&Request::chat(true));
    assert_eq!((answer.status(), attempts(&answer), answer.end), (200, 1, End::Complete));
    assert_eq!(String::from_utf8(answer.body).unwrap(), format!("{COMMENT}{event}"));
}

/// Comments are let go after a while, and what comes behind them passes as it comes.
#[test]
fn what_only_keeps_alive_is_held_for_a_while_and_then_let_go() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    let (mut connection, mut exchange) = hermux.open(&Request::chat(true), &upstream);
    exchange.begin_stream();
    exchange.wire.send_chunk(COMMENT);
    assert_eq!(connection.answer().status(), 200);
    assert_eq!(connection.bytes(COMMENT.len()), COMMENT.as_bytes());
    // Too late for another key.
    let error = error_event();
    exchange.wire.send_chunk(&error);
    assert_eq!(connection.bytes(error.len()), error.as_bytes());
    exchange.wire.send_last_chunk();
    assert_eq!(connection.rest(), (Vec::new(), End::Complete));
    assert_eq!(upstream.requests(), 1);
}

#[test]
fn what_shows_content_is_not_held() {
    let upstream = Upstream::start();
    let hermux = start(&upstream, 1);
    for (path, kind, begin) in [
        ("/v1/chat/completions", "text/event-stream", "data: {\"id\":\"gen-1\",\"choices\":[{\"delta\""),
        (
            "/v1/messages",
            "text/event-stream",
            "event: message_start\ndata: {\"type\":\"message_start\",\"mess",
        ),
        ("/v1/chat/completions", "text/event-stream", "data: {}\n\n"),
        ("/v1/chat/completions", "application/json", "{\"id\":\"gen-1\""),
        ("/v1/audio/speech", "audio/mpeg", ""),
        ("/v1/tools/search", "application/json", ""),
    ] {
        let (mut connection, mut exchange) = hermux.open(&Request::post(path, "{}"), &upstream);
        exchange.body();
        exchange
            .wire
            .send(format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n"));
        if !begin.is_empty() {
            exchange.wire.send_chunk(begin);
        }
        // The rest never comes, and would be waited for longer than this takes.
        let begun = std::time::Instant::now();
        assert_eq!(connection.answer().status(), 200);
        assert_eq!(connection.bytes(begin.len()), begin.as_bytes());
        assert!(begun.elapsed().as_millis() < 900, "{path} {kind}: held back");
    }
}

#[test]
fn an_error_that_comes_too_late_is_passed_on_and_booked_and_its_key_rests() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keys = Arc::clone(&seen);
    let upstream = bad_first(1, move |mut exchange: Exchange| {
        exchange.body();
        keys.lock().unwrap().push(exchange.key().to_owned());
        exchange
            .wire
            .send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n");
        for piece in ["\n", &FREE_MINUTE.1[..9], &FREE_MINUTE.1[9..]] {
            exchange.wire.send_chunk(piece);
            // Time is what this tests.
            thread::sleep(Duration::from_millis(50));
        }
        exchange.wire.send_last_chunk();
        exchange.keep();
    });
    let hermux = Setup::new(&upstream).keys(2).holding_nothing();
    let hermux = hermux.variable("HERMUX_LOG", "hermux=debug").start();
    let free = Request::post("/v1/chat/completions", r#"{"model":"acme/small:free"}"#);
    let late = hermux.ask(&free);
    assert_eq!((late.status(), attempts(&late)), (200, 1));
    assert_eq!(late.body, format!("\n{}", FREE_MINUTE.1).into_bytes());
    let bad = seen.lock().unwrap()[0].clone();
    hermux.wait_for_line(r#"outcome="failed""#);
    for _ in 0..4 {
        let name = hermux.ask(&free).key_name().to_owned();
        assert_eq!(name == "key-1", bad == secret(2), "its account's free models rest");
    }
}

/// How many attempts that began well are booked as failed with this code.
fn failed_with(hermux: &Hermux, code: u16) -> i64 {
    let ledger = rusqlite::Connection::open(hermux.setup().data().join("ledger.db")).unwrap();
    let sql = "SELECT count(*) FROM entries WHERE outcome = 1 AND status = 200 AND code = ?1";
    ledger.query_row(sql, [code], |row| row.get(0)).unwrap()
}

/// A stream up to its first event with data.
fn begun(stream: &str) -> &str {
    let data = stream.find("data: ").unwrap();
    &stream[..data + stream[data..].find("\n\n").unwrap() + 2]
}

const FREE_DAY: &str = r#"{"error":{"message":"Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day","code":429,"metadata":{"headers":{"X-RateLimit-Limit":"50","X-RateLimit-Remaining":"0"}}}}"#;

#[test]
fn an_error_amid_a_stream_is_booked_and_rests_what_it_says() {
    let free = Request::post("/v1/chat/completions", r#"{"model":"acme/small:free","stream":true}"#);
    let error = format!("data: {FREE_DAY}\n\n");
    let begun = begun(samples::CHAT_STREAM);
    // As a later event, behind comments that were let go, cut amid its text, and left by a caller who read it.
    for (pieces, leaves) in [
        (vec![begun, &error], false),
        (vec![COMMENT, &error], false),
        (vec![begun, &error[..40], &error[40..]], false),
        (vec![begun, &error], true),
    ] {
        let upstream = Upstream::start();
        let hermux = Setup::new(&upstream).keys(2).holding_nothing().start();
        let (mut connection, mut exchange) = hermux.open(&free, &upstream);
        let bad = exchange.key().to_owned();
        exchange.begin_stream();
        assert_eq!(connection.answer().status(), 200);
        for piece in &pieces {
            exchange.wire.send_chunk(piece);
            assert_eq!(connection.bytes(piece.len()), piece.as_bytes());
        }
        if leaves {
            drop(connection);
            exchange.wire.wait_closed();
        } else {
            exchange.wire.send_last_chunk();
            exchange.keep();
            assert_eq!(connection.rest(), (Vec::new(), End::Complete));
            eventually("it is booked", || (failed_with(&hermux, 429) == 1).then_some(()));
        }
        for _ in 0..4 {
            let (mut connection, exchange) = hermux.open(&free, &upstream);
            assert_ne!(exchange.key(), bad, "its account's free models rest");
            exchange.json(200, samples::CHAT);
            answer(&mut connection);
        }
    }
}

#[test]
fn an_error_without_a_number_is_booked_with_the_status_it_stands_for() {
    let typed = |kind: &str| {
        format!(
            "event: error\ndata: {{\"type\":\"error\",\"error\":{{\"type\":\"{kind}\",\"message\":\"x\"}}}}\n\n"
        )
    };
    let chat = |code: &str| {
        format!(
            "data: {{\"id\":\"gen-1\",\"provider\":\"Acme\",\"error\":{{\"code\":\"{code}\",\"message\":\"x\"}},\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"\"}},\"finish_reason\":\"error\"}}]}}\n\n"
        )
    };
    let failed = "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":\"server_error\",\"message\":\"x\"}}}\n\n";
    for (path, stream, error, code) in [
        ("/v1/chat/completions", samples::CHAT_STREAM, chat("server_error"), 500),
        ("/v1/chat/completions", samples::CHAT_STREAM, chat("rate_limit_exceeded"), 429),
        ("/v1/messages", samples::MESSAGES_STREAM, typed("overloaded_error"), 529),
        ("/v1/responses", samples::RESPONSES_STREAM, failed.to_owned(), 500),
        ("/v1/responses", samples::RESPONSES_STREAM, typed("rate_limit_exceeded"), 429),
    ] {
        let upstream = Upstream::start();
        let hermux = Hermux::start(&upstream);
        let (mut connection, exchange) =
            hermux.open(&Request::post(path, r#"{"model":"acme/small","stream":true}"#), &upstream);
        self::stream(exchange, &[begun(stream), &error]);
        assert_eq!(answer(&mut connection).end, End::Complete);
        eventually("it is booked", || (failed_with(&hermux, code) == 1).then_some(()));
    }
}

#[test]
fn an_error_in_the_rest_of_a_json_answer_is_booked_and_rests_what_it_says() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).keys(2).start();
    let free = Request::post("/v1/chat/completions", r#"{"model":"acme/small:free"}"#);
    let (mut connection, mut exchange) = hermux.open(&free, &upstream);
    let bad = exchange.key().to_owned();
    exchange.body();
    exchange
        .wire
        .send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n");
    let begun = r#"{"id":"gen-1","object":"chat.completion","#;
    exchange.wire.send_chunk(begun);
    assert_eq!(connection.answer().status(), 200);
    assert_eq!(connection.bytes(begun.len()), begun.as_bytes());
    exchange.wire.send_chunk(&FREE_DAY[1..]);
    exchange.wire.send_last_chunk();
    exchange.keep();
    assert_eq!(connection.rest().1, End::Complete);
    eventually("it is booked", || (failed_with(&hermux, 429) == 1).then_some(()));
    for _ in 0..4 {
        let (mut connection, exchange) = hermux.open(&free, &upstream);
        assert_ne!(exchange.key(), bad, "its account's free models rest");
        exchange.json(200, samples::CHAT);
        answer(&mut connection);
    }
}

#[test]
fn the_same_unidentified_error_late_from_all_keys_rests_none_of_them() {
    let upstream = Upstream::start();
    let hermux = start(&upstream, 2);
    let error = "data: {\"error\":{\"code\":429,\"message\":\"slow down\"}}\n\n";
    for booked in 1..=2 {
        let (mut connection, exchange) = hermux.open(&Request::chat(true), &upstream);
        stream(exchange, &[begun(samples::CHAT_STREAM), error]);
        assert_eq!(answer(&mut connection).end, End::Complete);
        eventually("it is booked", || (failed_with(&hermux, 429) == booked).then_some(()));
    }
    let (mut connection, exchange) = hermux.open(&chat(), &upstream);
    exchange.json(200, samples::CHAT);
    assert_eq!(answer(&mut connection).status(), 200);
}
