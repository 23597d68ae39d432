//! The leave that a caller waits for before it sends a body (RFC 9110 section 10.1.1): given once, when the body is asked for,
//! and never inside of an answer.

use std::convert::Infallible;

use hermux::server::Incoming;
use http::{Request, Response};
use http_body_util::Full;
use hyper::service::service_fn;

use crate::script::{self, Said};
use crate::seen;
use crate::strict::{End, answer};

const WAITS: &[u8] = b"POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";

/// The statuses that are said, each with its `connection`.
fn statuses(said: &Said) -> Vec<(u16, Option<String>)> {
    let mut input = &said.bytes[..];
    let mut all = Vec::new();
    while !input.is_empty() {
        let answer = answer(&mut input, false);
        assert_eq!(answer.end, End::Whole);
        all.push((answer.status, answer.one("connection").map(str::to_owned)));
    }
    all
}

#[test]
fn leave_is_given_once_however_slowly_it_goes() {
    for room in [usize::MAX, 7, 1] {
        let pieces = [WAITS, b"hel", b"lo", WAITS, b"hello"].map(<[u8]>::to_vec).to_vec();
        let talk = seen::ours(pieces, room);
        assert!(talk.seen.iter().all(|seen| seen.body == b"hello" && seen.is_whole()));
        assert_eq!(statuses(&talk.said), [(100, None), (200, None), (100, None), (200, None)]);
    }
}

#[test]
fn who_sends_already_or_knows_no_leave_gets_none() {
    let old = b"POST / HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n".to_vec();
    for pieces in [vec![[WAITS, b"h"].concat(), b"ello".to_vec()], vec![old, b"hello".to_vec()]] {
        let talk = seen::ours(pieces, usize::MAX);
        assert!(talk.seen[0].is_whole());
        assert_eq!(statuses(&talk.said), [(200, None)]);
    }
}

#[test]
fn a_body_that_nobody_wants_gets_no_leave_and_is_no_request() {
    let service = service_fn(async |_: Request<Incoming>| {
        Ok::<_, Infallible>(Response::new(Full::<bytes::Bytes>::default()))
    });
    let said = script::ours(vec![WAITS.to_vec(), b"GET / HTTP/1.1\r\n\r\n".to_vec()], usize::MAX, service);
    assert_eq!(statuses(&said), [(200, Some("close".to_owned()))]);
}

#[test]
fn a_body_that_is_asked_for_beside_the_answer_gets_no_leave_inside_of_it() {
    // The answer is the request's body.
    let service = service_fn(async |request: Request<Incoming>| {
        Ok::<_, Infallible>(Response::new(request.into_body()))
    });
    let said = script::ours(vec![WAITS.to_vec(), b"hel".to_vec(), b"lo".to_vec()], usize::MAX, service);
    let mut input = &said.bytes[..];
    let answer = answer(&mut input, false);
    assert_eq!((answer.status, &answer.body[..], answer.end), (200, &b"hello"[..], End::Whole));
    // Whether a caller without leave sends its body is open, so nothing can follow.
    assert_eq!(answer.one("connection"), Some("close"));
    assert!(input.is_empty());
}
