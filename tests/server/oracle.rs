//! hyper as the oracle: what its server refuses ours refuses, and what both serve they read alike.

use proptest::prelude::*;
use proptest::sample::Index;

use crate::seen::{End, hypers, judge, ours};
use crate::streams::{Request, Sent, mutated, mutation, request, split};

/// How many requests our server and hyper's serve of `stream`. They must agree but for what is refused on purpose.
fn served(stream: &[u8]) -> (usize, usize) {
    let (ours, hypers) = (ours(vec![stream.to_vec()], usize::MAX), hypers(vec![stream.to_vec()]));
    let what = stream.escape_ascii();
    judge(stream, &ours, &hypers).unwrap_or_else(|why| panic!("{what}: {why}"));
    let count = |seen: &[crate::seen::Seen]| seen.iter().filter(|seen| seen.is_whole()).count();
    (count(&ours.seen), count(&hypers.seen))
}

#[test]
fn what_hyper_serves_and_we_refuse_has_one_of_these_reasons() {
    for refused in [
        // A length besides a coding, whichever comes first.
        &b"POST / HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"[..],
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
        // More than one coding, or `chunked` more than once.
        b"POST / HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        // Control characters in an extension, more digits than a size has, LF for CRLF in a trailer.
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1;a\0\r\nx\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n00000000000000001\r\nx\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\na: b\n\r\n\r\n",
    ] {
        assert_eq!(served(refused), (0, 1), "{}", refused.escape_ascii());
    }
    // And these neither serves.
    for refused in [
        &b"POST / HTTP/1.1\r\ncontent-length: +5\r\n\r\nhello"[..],
        b"POST / HTTP/1.1\r\ncontent-length: 5, 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 18446744073709551615\r\n\r\nhello",
        // Nor what follows a body that ends in what is no trailer.
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n folded\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    ] {
        assert_eq!(served(refused), (0, 0), "{}", refused.escape_ascii());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn requests_as_they_should_be_are_served_whole(
        requests in prop::collection::vec(request(), 1..5), cuts in prop::collection::vec(any::<Index>(), 0..6),
    ) {
        let stream = requests.iter().flat_map(Request::bytes).collect::<Vec<_>>();
        let pieces = split(&stream, &cuts);
        let (ours, hypers) = (ours(pieces.clone(), usize::MAX), hypers(pieces));
        if let Err(why) = judge(&stream, &ours, &hypers) {
            prop_assert!(false, "{}", why);
        }
        let last = requests.iter().position(|request| !request.stays()).map_or(requests.len(), |last| last + 1);
        prop_assert_eq!(ours.seen.len(), last);
        for (seen, sent) in ours.seen.iter().zip(&requests) {
            prop_assert_eq!(format!("{} {} {:?}", seen.method, seen.target, seen.version), &sent.line[..]);
            prop_assert_eq!(&seen.body, &sent.data());
            let trailers = match &sent.body {
                Sent::Chunks(_, trailers) if !trailers.is_empty() => Some(trailers.len()),
                _ => None,
            };
            let End::Whole(seen) = &seen.end else { panic!("it is not served whole: {seen:?}") };
            prop_assert_eq!(seen.as_ref().map(Vec::len), trailers);
        }
    }

    #[test]
    fn whatever_comes_our_server_reads_what_hypers_does_or_less(
        requests in prop::collection::vec(request(), 1..5), mutations in prop::collection::vec(mutation(), 1..4),
        cuts in prop::collection::vec(any::<Index>(), 0..6),
    ) {
        let stream = mutated(requests.iter().flat_map(Request::bytes).collect(), &mutations);
        let pieces = split(&stream, &cuts);
        if let Err(why) = judge(&stream, &ours(pieces.clone(), usize::MAX), &hypers(pieces)) {
            prop_assert!(false, "{}: {}", stream.escape_ascii(), why);
        }
    }
}
