//! What the client makes of answers, good and bad.

use std::time::Duration;

use hermux::upstream::{BodyError, Connection, Outgoing, SendError};
use http::Method;
use http_body::Body;
use http_body_util::BodyExt;

use crate::script::{Feed, Server, answering, ask, feed, get, read, run, settings, upstream, whole};

/// What comes of one answer, after which the server closes the connection in order.
fn outcome(answer: &str) -> Result<(u16, String, Option<BodyError>), SendError> {
    let server = answering(&[answer]);
    let result = run(async {
        let answer = get(&server.upstream()).await?;
        let status = answer.status.as_u16();
        let (data, _, error) = read(answer.body).await;
        Ok((status, String::from_utf8(data).unwrap(), error))
    });
    server.join();
    result
}

fn body(answer: &str) -> String {
    let (_, body, error) = outcome(answer).unwrap();
    assert!(error.is_none(), "{answer:?}: {error:?}");
    body
}

#[test]
fn bodies_are_framed_by_length_chunks_or_close() {
    assert_eq!(body("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"), "hello");
    assert_eq!(
        body("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
        "hello"
    );
    assert_eq!(body("HTTP/1.1 200 OK\r\n\r\nhello"), "hello");
    assert_eq!(body("HTTP/1.0 200 OK\r\n\r\nhello"), "hello");
    assert_eq!(body("HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello"), "hello");
    assert_eq!(body("HTTP/1.1 204 No Content\r\n\r\n"), "");
    assert_eq!(body("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"), "");
    assert_eq!(body("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), "");
}

#[test]
fn an_answer_to_head_has_no_body() {
    let server = answering(&["HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"; 2]);
    run(async {
        let upstream = server.upstream();
        for _ in 0..2 {
            let answer =
                ask::<Feed>(&upstream, &Method::HEAD, Outgoing::Empty, Connection::Any).await.unwrap();
            assert_eq!(answer.headers["content-length"], "5");
            assert!(answer.body.is_end_stream());
            assert_eq!(whole(answer.body).await, "");
        }
    });
    server.join();
}

#[test]
fn interim_answers_are_skipped() {
    let (status, body, _) = outcome(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 201 Made\r\ncontent-length: 2\r\n\r\nok",
    )
    .unwrap();
    assert_eq!((status, body.as_str()), (201, "ok"));
}

#[test]
fn a_redirect_is_just_an_answer() {
    let (status, body, _) =
        outcome("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 2\r\n\r\nno")
            .unwrap();
    assert_eq!((status, body.as_str()), (302, "no"));
}

#[test]
fn garbage_is_told_from_silence() {
    for garbage in [
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
        "SSH-2.0-OpenSSH\r\n",
        &format!("HTTP/1.1 200 OK\r\n{}", "a: b\r\n".repeat(101)),
        &format!("HTTP/1.1 200 OK\r\na: {}", "b".repeat(70_000)),
        &"HTTP/1.1 100 Continue\r\n\r\n".repeat(4_000),
    ] {
        let result = outcome(garbage);
        assert!(matches!(result, Err(SendError::Garbled(_))), "{garbage:.60}: {result:?}");
    }
    assert!(matches!(outcome(""), Err(SendError::Closed)));
    assert!(matches!(outcome("HTTP/1.1 200 OK\r\ncontent-le"), Err(SendError::CutShort)));
    assert!(matches!(outcome("HTTP/1.1 100 Continue\r\n\r\n"), Err(SendError::CutShort)));
}

#[test]
fn a_body_that_ends_early_is_cut() {
    for cut in [
        "content-length: 6\r\n\r\nhello",
        "transfer-encoding: chunked\r\n\r\n5\r\nhello",
        "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r",
    ] {
        let (_, body, error) = outcome(&format!("HTTP/1.1 200 OK\r\n{cut}")).unwrap();
        assert_eq!(body, "hello", "{cut:?}");
        assert!(matches!(error, Some(BodyError::Cut)), "{cut:?}: {error:?}");
    }
}

#[test]
fn a_broken_chunk_garbles_the_body_after_its_data() {
    let (_, body, error) =
        outcome("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nworld\r\n").unwrap();
    assert_eq!(body, "hello");
    assert!(matches!(error, Some(BodyError::Garbled(_))), "{error:?}");
}

#[test]
fn a_reset_cuts_every_body() {
    for head in ["content-length: 9\r\n\r\n", "transfer-encoding: chunked\r\n\r\n5\r\n", "\r\n"] {
        let (seen, signal) = std::sync::mpsc::channel();
        let server = Server::new(move |line| {
            let mut peer = line.accept();
            peer.head();
            peer.send(&format!("HTTP/1.1 200 OK\r\n{head}hello"));
            // A reset may overtake data that was not read yet.
            signal.recv().unwrap();
            peer.reset();
        });
        run(async {
            let mut body = get(&server.upstream()).await.unwrap().body;
            let mut data = Vec::new();
            while data.len() < 5 {
                data.extend_from_slice(&body.frame().await.unwrap().unwrap().into_data().unwrap());
            }
            seen.send(()).unwrap();
            let (more, _, error) = read(body).await;
            assert_eq!((more.len(), data.as_slice()), (0, &b"hello"[..]));
            assert!(matches!(error, Some(BodyError::Cut)), "{head:?}: {error:?}");
        });
        server.join();
    }
}

#[test]
fn an_answer_reads_alike_however_it_is_split() {
    let answer = "HTTP/1.1 103 X\r\na: b\r\n\r\nHTTP/1.1 200 OK\r\nx-a: 1\r\nTransfer-Encoding: chunked\r\n\r\n\
                  5;e=1\r\nhello\r\n001\r\n!\r\n0\r\nx-t: 2\r\n\r\n";
    let cuts: Vec<usize> = (1..answer.len()).collect();
    let server = Server::new({
        let cuts = cuts.clone();
        move |line| {
            let mut peer = line.accept();
            for cut in cuts {
                peer.head();
                peer.send(&answer[..cut]);
                // Not needed for the test to hold, but likely to make two reads of it.
                std::thread::sleep(Duration::from_millis(1));
                peer.send(&answer[cut..]);
            }
            peer.head();
            for byte in answer.split_inclusive(|_| true) {
                peer.send(byte);
            }
        }
    });
    run(async {
        let upstream = server.upstream();
        for cut in cuts.iter().chain([&0]) {
            let answer = get(&upstream).await.unwrap();
            assert_eq!(answer.headers["x-a"], "1", "cut at {cut}");
            let (data, trailers, error) = read(answer.body).await;
            assert!(error.is_none(), "cut at {cut}: {error:?}");
            assert_eq!(data, b"hello!", "cut at {cut}");
            assert_eq!(trailers.unwrap()["x-t"], "2", "cut at {cut}");
        }
    });
    server.join();
}

#[test]
fn the_end_and_the_size_of_a_body_are_known_where_they_can_be() {
    let (go, signal) = std::sync::mpsc::channel();
    let server = Server::new(move |line| {
        let mut peer = line.accept();
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n");
        for part in ["hello", "world"] {
            signal.recv().unwrap();
            peer.send(part);
        }
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        signal.recv().unwrap();
        peer.send("5\r\nhello\r\n0\r\n\r\n");
    });
    run(async {
        let upstream = server.upstream();
        let mut body = get(&upstream).await.unwrap().body;
        assert_eq!(body.size_hint().exact(), Some(10));
        go.send(()).unwrap();
        body.frame().await.unwrap().unwrap();
        assert_eq!(body.size_hint().exact(), Some(5));
        assert!(!body.is_end_stream());
        go.send(()).unwrap();
        body.frame().await.unwrap().unwrap();
        assert!(body.is_end_stream());
        assert_eq!(upstream.idle_connections(), 1, "the connection is back before the body is polled again");

        let mut body = get(&upstream).await.unwrap().body;
        assert_eq!(body.size_hint().exact(), None);
        go.send(()).unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "hello");
        assert!(body.is_end_stream());
    });
    server.join();
}

#[test]
fn a_silent_upstream_is_given_up_after_its_timeouts() {
    let server = Server::new(|line| {
        let mut peer = line.accept();
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello");
        peer.rest();
        let mut peer = line.accept();
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\n");
        peer.rest();
    });
    let mut settings = settings(server.address);
    settings.first_byte_timeout = Duration::from_millis(200);
    settings.idle_timeout = Duration::from_millis(200);
    run(async {
        let upstream = upstream(settings);
        let start = std::time::Instant::now();
        let (data, _, error) = read(get(&upstream).await.unwrap().body).await;
        assert_eq!(data, b"hello");
        assert!(matches!(error, Some(BodyError::Silent)), "{error:?}");
        assert!(start.elapsed() >= Duration::from_millis(200));
        let start = std::time::Instant::now();
        let error = get(&upstream).await.err();
        assert!(matches!(error, Some(SendError::FirstByteTimeout)), "{error:?}");
        assert!(start.elapsed() >= Duration::from_millis(200));
    });
    server.join();
}

#[test]
fn a_reader_who_takes_time_does_not_make_upstream_silent() {
    let (done, signal) = std::sync::mpsc::channel();
    let server = Server::new(move |line| {
        let mut peer = line.accept();
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello");
        signal.recv().unwrap();
        peer.send("world");
    });
    let mut settings = settings(server.address);
    settings.idle_timeout = Duration::from_millis(500);
    run(async {
        let mut body = get(&upstream(settings)).await.unwrap().body;
        body.frame().await.unwrap().unwrap();
        // Longer than the timeout, in which nobody asks for more.
        tokio::time::sleep(Duration::from_millis(1200)).await;
        let next = body.frame();
        done.send(()).unwrap();
        assert_eq!(next.await.unwrap().unwrap().into_data().unwrap(), "world");
    });
    server.join();
}

#[test]
fn upload_progress_puts_the_first_byte_timeout_off() {
    let server = Server::new(|line| {
        let mut peer = line.accept();
        peer.until("0\r\n\r\n");
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    });
    let mut settings = settings(server.address);
    settings.first_byte_timeout = Duration::from_secs(1);
    run(async {
        let (feeder, body) = feed();
        let feeding = tokio::task::spawn_local(async move {
            for _ in 0..10 {
                feeder.data("piece").await;
                tokio::time::sleep(Duration::from_millis(150)).await;
            }
        });
        let answer = crate::script::post_stream(&upstream(settings), body, None).await.unwrap();
        assert_eq!(answer.status, 200);
        feeding.await.unwrap();
    });
    server.join();
}

#[test]
fn debug_shows_no_values() {
    let server = answering(&["HTTP/1.1 200 OK\r\nx-secret: sk-or-v1-abc\r\ncontent-length: 3\r\n\r\nabc"]);
    run(async {
        let answer = get(&server.upstream()).await.unwrap();
        let shown = format!("{answer:?}");
        assert!(shown.contains("x-secret") && !shown.contains("abc"), "{shown}");
    });
    server.join();
    let headers = [(&b"authorization"[..], &b"Bearer abc"[..])];
    let head = hermux::upstream::Head { method: &Method::GET, target: "/x", headers: headers.into_iter() };
    assert!(!format!("{head:?}").contains("66") && !format!("{head:?}").contains("abc"), "{head:?}");
    let full: Outgoing<Feed> = Outgoing::Full("abc".into());
    assert_eq!(format!("{full:?}"), "Full(3 bytes)");
}
