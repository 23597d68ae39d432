//! How requests go out: framing, backpressure, both directions at once, and uploads that break.

use std::io::Write;

use bytes::Bytes;
use hermux::upstream::{BodyError, Connection, Head, Outgoing, SendError};
use http::{HeaderMap, Method};
use http_body_util::BodyExt;

use crate::script::{
    Feed, Peer, Server, answering, ask, feed, get, origin, post_stream, read, run, settings, upstream, whole,
};

const EMPTY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

#[test]
fn heads_say_how_the_body_is_framed() {
    let server = answering(&[EMPTY; 4]);
    let host = server.address.to_string();
    run(async {
        let upstream = server.upstream();
        let headers = [(&b"authorization"[..], &b"Bearer k"[..]), (b"x-odd", b"a;\tb")];
        let head = Head { method: &Method::GET, target: "/api/v1/x?y=%2F", headers: headers.into_iter() };
        upstream.send(head, Outgoing::<Feed>::Empty, Connection::Any).await.unwrap();
        ask::<Feed>(&upstream, &Method::DELETE, Outgoing::Empty, Connection::Any).await.unwrap();
        ask::<Feed>(&upstream, &Method::POST, Outgoing::Empty, Connection::Any).await.unwrap();
        ask::<Feed>(&upstream, &Method::POST, Outgoing::Full(Bytes::new()), Connection::Any).await.unwrap();
    });
    assert_eq!(
        server.join(),
        [
            format!(
                "GET /api/v1/x?y=%2F HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer k\r\nx-odd: a;\tb\r\n\r\n"
            ),
            format!("DELETE /x HTTP/1.1\r\nhost: {host}\r\n\r\n"),
            format!("POST /x HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\n\r\n"),
            format!("POST /x HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\n\r\n"),
        ]
    );
}

#[test]
fn a_small_request_is_one_write_and_a_large_one_arrives_whole() {
    let large: Bytes = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    let expected = large.clone();
    let server = Server::new(move |line| {
        use std::io::Read;
        let mut peer = line.accept();
        let mut first = vec![0; 65_536];
        let read = peer.stream.read(&mut first).unwrap();
        assert!(first[..read].ends_with(&[b'b'; 16_384]), "{read} bytes came first");
        peer.send(EMPTY);
        assert!(peer.head().contains("content-length: 3000000\r\n"));
        assert!(peer.exactly(3_000_000) == expected);
        peer.send(EMPTY);
    });
    run(async {
        let upstream = server.upstream();
        for body in [Bytes::from(vec![b'b'; 16_384]), large] {
            let answer = ask::<Feed>(&upstream, &Method::POST, Outgoing::Full(body), Connection::Any).await;
            assert_eq!(answer.unwrap().status, 200);
        }
    });
    server.join();
}

/// Reads a chunked body as it is on the wire.
fn chunks(peer: &mut Peer) -> Vec<u8> {
    let mut data = Vec::new();
    loop {
        let size = usize::from_str_radix(peer.until("\r\n").trim_end(), 16).unwrap();
        if size == 0 {
            return data;
        }
        data.extend_from_slice(&peer.exactly(size));
        assert_eq!(peer.exactly(2), b"\r\n");
    }
}

#[test]
fn a_body_of_unknown_length_goes_in_chunks_with_its_trailers() {
    let server = Server::new(|line| {
        let mut peer = line.accept();
        assert!(peer.head().ends_with("transfer-encoding: chunked\r\n\r\n"));
        let data = chunks(&mut peer);
        let trailers = peer.until("\r\n\r\n");
        peer.send(EMPTY);
        peer.head();
        peer.send(EMPTY);
        (data, trailers)
    });
    run(async {
        let upstream = server.upstream();
        let (feeder, body) = feed();
        tokio::task::spawn_local(async move {
            feeder.data("small").await;
            feeder.data(Bytes::new()).await;
            feeder.data(vec![b'x'; 100_000]).await;
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", "7".parse().unwrap());
            trailers.insert("content-length", "7".parse().unwrap());
            feeder.trailers(trailers).await;
        });
        post_stream(&upstream, body, None).await.unwrap();
        get(&upstream).await.unwrap();
    });
    let (data, trailers) = server.join();
    assert_eq!(data.len(), 100_005);
    assert_eq!(trailers, "x-sum: 7\r\n\r\n");
}

#[test]
fn a_body_of_known_length_goes_as_it_is() {
    let server = Server::new(|line| {
        let mut peer = line.accept();
        assert!(peer.head().ends_with("content-length: 100005\r\n\r\n"));
        let data = peer.exactly(100_005);
        peer.send(EMPTY);
        assert!(peer.head().ends_with("content-length: 0\r\n\r\n"));
        peer.send(EMPTY);
        data
    });
    run(async {
        let upstream = server.upstream();
        let (feeder, body) = feed();
        // The body's end is never said: with the last byte announced the request is complete.
        let held = feeder.clone();
        tokio::task::spawn_local(async move {
            feeder.data("small").await;
            feeder.data(vec![b'x'; 100_000]).await;
        });
        post_stream(&upstream, body, Some(100_005)).await.unwrap();
        drop(held);
        let (_feeder, body) = feed();
        post_stream(&upstream, body, Some(0)).await.unwrap();
    });
    assert!(server.join().starts_with(b"smallxx"));
}

#[test]
fn an_upload_that_breaks_never_arrives_as_complete() {
    for (length, pieces) in [(None, 2), (Some(10), 2), (Some(15), 3)] {
        let server = Server::new(|line| line.accept().rest());
        let error = run(async {
            let upstream = server.upstream();
            let (feeder, body) = feed();
            tokio::task::spawn_local(async move {
                for _ in 1..pieces {
                    feeder.data("piece").await;
                }
                feeder.fail().await;
            });
            post_stream(&upstream, body, length).await.err()
        });
        assert!(matches!(error, Some(SendError::RequestBody)), "{error:?}");
        let arrived = String::from_utf8(server.join()).unwrap();
        let body = arrived.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        assert!(!body.ends_with("0\r\n\r\n") && body.matches("piece").count() < pieces, "{arrived}");
    }
}

#[test]
fn a_body_longer_or_shorter_than_announced_breaks_the_upload() {
    for pieces in [1, 3] {
        let server = Server::new(|line| line.accept().rest());
        let error = run(async {
            let upstream = server.upstream();
            let (feeder, body) = feed();
            tokio::task::spawn_local(async move {
                for _ in 0..pieces {
                    feeder.data("piece").await;
                }
            });
            post_stream(&upstream, body, Some(10)).await.err()
        });
        assert!(matches!(error, Some(SendError::RequestBody)), "{error:?}");
        let arrived = String::from_utf8(server.join()).unwrap();
        let body = arrived.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        assert!(body.len() <= 10, "{arrived}");
    }
}

#[test]
fn an_upload_that_breaks_breaks_the_answer_under_way() {
    let server = Server::new(|line| {
        let mut peer = line.accept();
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n");
        peer.rest()
    });
    run(async {
        let upstream = server.upstream();
        let (feeder, body) = feed();
        let answer = post_stream(&upstream, body, None).await.unwrap();
        tokio::task::spawn_local(async move { feeder.fail().await });
        assert!(matches!(read(answer.body).await.2, Some(BodyError::RequestBody)));
    });
    assert_eq!(server.join(), b"");
}

#[test]
fn an_early_answer_is_given_while_the_upload_still_runs() {
    let server = Server::new(|line| {
        let mut peer = line.accept();
        peer.head();
        peer.send("HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig");
        peer.rest();
    });
    run(async {
        let upstream = server.upstream();
        let (feeder, body) = feed();
        let feeding = tokio::task::spawn_local(async move { feeder.zeros().await });
        let answer = post_stream(&upstream, body, None).await.unwrap();
        assert_eq!(answer.status, 413);
        assert_eq!(whole(answer.body).await, "big");
        // The body is let go, and the connection, which is in the middle of a request, does not stay.
        feeding.await.unwrap();
        assert_eq!(upstream.idle_connections(), 0);
    });
    server.join();
}

#[test]
fn an_answer_before_a_reset_is_given() {
    let server = Server::new(|line| {
        for _ in 0..20 {
            let mut peer = line.accept();
            peer.head();
            peer.send("HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig");
            // Unread data turns the end of the connection into a reset.
            peer.exactly(1);
        }
    });
    run(async {
        let upstream = server.upstream();
        let large = Bytes::from(vec![0; 8_000_000]);
        for streamed in [true, false].into_iter().cycle().take(20) {
            let answer = if streamed {
                let (feeder, body) = feed();
                tokio::task::spawn_local(async move { feeder.zeros().await });
                post_stream(&upstream, body, None).await
            } else {
                ask::<Feed>(&upstream, &Method::POST, Outgoing::Full(large.clone()), Connection::Any).await
            }
            .unwrap();
            assert_eq!(answer.status, 413);
            assert_eq!(whole(answer.body).await, "big");
        }
    });
    server.join();
}

#[test]
fn both_directions_run_in_step() {
    let server = Server::new(|line| {
        let mut peer = line.accept();
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        for n in 0..20 {
            let chunk = format!("3\r\n{n:03}\r\n");
            assert_eq!(peer.until(&chunk), chunk);
            peer.send(&chunk);
        }
        peer.until("0\r\n\r\n");
        peer.send("0\r\n\r\n");
        peer.head();
        peer.send(EMPTY);
    });
    run(async {
        let upstream = server.upstream();
        let (feeder, body) = feed();
        let mut body = post_stream(&upstream, body, None).await.unwrap().body;
        for n in 0..20 {
            feeder.data(format!("{n:03}")).await;
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), format!("{n:03}"));
        }
        drop(feeder);
        assert!(body.frame().await.is_none());
        get(&upstream).await.unwrap();
    });
    server.join();
}

#[test]
fn a_large_answer_before_a_large_upload_does_not_jam() {
    const LARGE: usize = 8_000_000;
    let server = Server::new(|line| {
        let mut peer = line.accept();
        peer.head();
        peer.send(&format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n"));
        peer.stream.write_all(&vec![1; LARGE]).unwrap();
        // Where the answer is complete before the request, the request is not waited for.
        peer.rest();
    });
    run(async {
        let upstream = server.upstream();
        let large = Outgoing::Full(Bytes::from(vec![0; LARGE]));
        let answer = ask::<Feed>(&upstream, &Method::POST, large, Connection::Any).await.unwrap();
        let (data, _, error) = read(answer.body).await;
        assert!(error.is_none(), "{error:?}");
        assert_eq!(data.len(), LARGE);
    });
    server.join();
}

#[test]
fn backpressure_holds_the_body_back() {
    let (stop, signal) = std::sync::mpsc::channel();
    let server = Server::new(move |line| {
        let mut peer = line.accept();
        peer.head();
        signal.recv().unwrap();
        peer.rest();
    });
    run(async {
        let upstream = server.upstream();
        let (feeder, body) = feed();
        let sending = tokio::task::spawn_local(async move { post_stream(&upstream, body, None).await });
        // The sockets' buffers take some megabytes, but not for ever.
        let megabyte = Bytes::from(vec![0; 1_000_000]);
        let mut taken = 0;
        let patience = std::time::Duration::from_millis(300);
        while tokio::time::timeout(patience, feeder.data(megabyte.clone())).await.is_ok() {
            taken += 1;
            assert!(taken < 100, "nobody reads, yet {taken} MB went out");
        }
        sending.abort();
        stop.send(()).unwrap();
    });
    server.join();
}

#[test]
fn ipv6_hosts_stand_in_brackets() {
    let Ok(listener) = std::net::TcpListener::bind("[::1]:0") else { return };
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let mut peer = Peer { stream: listener.accept().unwrap().0 };
        let head = peer.head();
        peer.send(EMPTY);
        head
    });
    run(async {
        let mut settings = settings(address);
        settings.origin = origin(address);
        get(&upstream(settings)).await.unwrap();
    });
    assert!(server.join().unwrap().contains(&format!("\r\nhost: [::1]:{}\r\n", address.port())));
}
