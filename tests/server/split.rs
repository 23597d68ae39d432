//! What the server reads does not depend on how it comes.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use hermux::server::Incoming;
use http::{Request as Asked, Response};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::script;
use crate::seen::{are_alike, ours};
use crate::streams::{Request, mutated, mutation, request, split};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn however_a_stream_is_split_the_same_is_read(
        requests in prop::collection::vec(request(), 1..5), mutations in prop::collection::vec(mutation(), 0..3),
        cuts in prop::collection::vec(any::<Index>(), 0..10), room in prop_oneof![Just(usize::MAX), Just(7)],
    ) {
        let stream = mutated(requests.iter().flat_map(Request::bytes).collect(), &mutations);
        let whole = ours(vec![stream.clone()], usize::MAX);
        for pieces in [split(&stream, &cuts), stream.chunks(1).map(<[u8]>::to_vec).collect()] {
            let talk = ours(pieces, room);
            prop_assert!(are_alike(&whole, &talk), "{}: {:?} but {:?}", stream.escape_ascii(), whole, talk);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn however_a_large_body_is_split_all_of_it_is_read(
        size in 30_000_usize..200_000, chunk in 1_usize..70_000, is_chunked in any::<bool>(),
        cuts in prop::collection::vec(any::<Index>(), 0..10),
    ) {
        let body: Vec<u8> = (0..size).map(|n| n.to_le_bytes()[0]).collect();
        let mut stream = b"POST / HTTP/1.1\r\n".to_vec();
        if is_chunked {
            stream.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
            for piece in body.chunks(chunk.max(size / 1_000)) {
                stream.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                stream.extend_from_slice(piece);
                stream.extend_from_slice(b"\r\n");
            }
            stream.extend_from_slice(b"0\r\n\r\n");
        } else {
            stream.extend_from_slice(format!("content-length: {size}\r\n\r\n").as_bytes());
            stream.extend_from_slice(&body);
        }
        stream.extend_from_slice(b"GET /next HTTP/1.1\r\n\r\n");
        let talk = ours(split(&stream, &cuts), usize::MAX);
        prop_assert_eq!(talk.seen.len(), 2);
        prop_assert!(talk.seen[0].is_whole() && talk.seen[0].body == body);
        prop_assert_eq!(talk.seen[1].target.path(), "/next");
    }
}

#[test]
fn who_reads_on_in_a_body_beyond_its_answer_reads_nothing_of_the_next_one() {
    let read = Rc::new(RefCell::new(Vec::new()));
    let all = Rc::clone(&read);
    let service = service_fn(move |request: Asked<Incoming>| {
        let all = Rc::clone(&all);
        tokio::task::spawn_local(async move {
            let body = request.into_body().collect().await.unwrap();
            all.borrow_mut().push(body.to_bytes());
        });
        async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) }
    });
    let request =
        |data| format!("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{data}\r\n0\r\n\r\n");
    script::ours(vec![(request("a") + &request("b")).into_bytes()], usize::MAX, service);
    // When it will be done is not known, so that no other request can be taken.
    assert_eq!(*read.borrow(), ["a"]);
}
