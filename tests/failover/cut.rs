//! A stream that ends in order, but without its last event, was cut: the caller must not take it for whole.

use crate::support::hermux::answer;
use crate::support::{End, Hermux, Request, Upstream, samples, show};

/// A route, a stream of its dialect, where its content begins, and what tells its end.
const STREAMS: [(&str, &str, &str, &str); 3] = [
    ("/v1/chat/completions", samples::CHAT_STREAM, "\"content\":\"Hello\"", "\"finish_reason\":\"stop\""),
    ("/v1/messages", samples::MESSAGES_STREAM, "content_block_start", "event: message_delta"),
    ("/v1/responses", samples::RESPONSES_STREAM, "response.output_text.delta", "event: response.completed"),
];

#[test]
fn a_clean_end_without_the_last_event_is_a_cut() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    for (path, stream, content, last) in STREAMS {
        let (content, last) = (stream.find(content).unwrap(), stream.find(last).unwrap());
        let boundaries = stream.match_indices("\n\n").map(|(at, _)| at + 2);
        for at in boundaries {
            for at_once in [true, false] {
                let (mut connection, mut exchange) =
                    hermux.open(&Request::post(path, r#"{"model":"acme/small","stream":true}"#), &upstream);
                let sent = &stream[..at];
                exchange.begin_stream();
                if at_once {
                    exchange.wire.send(format!("{:x}\r\n{sent}\r\n0\r\n\r\n", sent.len()));
                } else {
                    sent.as_bytes().chunks(50).for_each(|piece| exchange.wire.send_chunk(piece));
                    exchange.wire.send_last_chunk();
                }
                exchange.keep();
                let answer = answer(&mut connection);
                assert!(answer.body.starts_with(sent.as_bytes()));
                let rest = show(&answer.body[at..]);
                if at > content && at <= last {
                    assert_ne!(answer.end, End::Complete, "{path} at {at} looks complete");
                    assert!(rest.contains("\"error\"") && rest.contains("before the last event"), "{rest}");
                    assert!(rest.ends_with("\n\n") && !rest.contains("[DONE]"), "{rest}");
                } else {
                    assert_eq!((answer.end, rest.as_str()), (End::Complete, ""), "{path} at {at}");
                }
            }
        }
    }
}

#[test]
fn inside_an_event_there_is_no_room_to_say_so() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    let (mut connection, mut exchange) = hermux.open(&Request::chat(true), &upstream);
    exchange.begin_stream();
    let sent = &samples::CHAT_STREAM[..samples::CHAT_STREAM.find(" there.").unwrap()];
    exchange.wire.send_chunk(sent);
    exchange.wire.send_last_chunk();
    let answer = answer(&mut connection);
    assert_ne!(answer.end, End::Complete);
    assert_eq!(show(&answer.body), sent);
}

#[test]
fn a_form_that_is_not_known_is_left_alone() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    for (path, stream) in [
        ("/v1/images", "data: {\"type\":\"image_generation.partial_image\",\"b64_json\":\"xx\"}\n\n"),
        ("/v1/chat/completions", "data: {}\n\n"),
        ("/v1/chat/completions", "data: {\"error\":null}\n\n"),
    ] {
        let (mut connection, mut exchange) = hermux.open(&Request::post(path, "{}"), &upstream);
        exchange.begin_stream();
        exchange.wire.send_chunk(stream);
        exchange.wire.send_last_chunk();
        exchange.keep();
        let answer = answer(&mut connection);
        assert_eq!((answer.end, answer.body.as_slice()), (End::Complete, stream.as_bytes()));
    }
}
