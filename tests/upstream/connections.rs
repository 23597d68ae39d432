//! Which connections are opened, kept, closed; addresses and proxies.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hermux::upstream::{Connection, Connector, Head, Origin, Outgoing, SendError, Upstream};
use http::Method;
use http_body_util::BodyExt;

use crate::script::{
    Feed, Line, Server, answering, ask, feed, get, post_stream, run, settings, upstream, whole,
};

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

async fn hello(upstream: &Upstream) {
    assert_eq!(whole(get(upstream).await.unwrap().body).await, "hello");
}

/// Many requests of the usual size, to be counted and timed from outside: `strace -f` shows one `sendto` and
/// one `recvfrom` a request on the client's thread.
#[test]
#[ignore = "a measurement, not a test"]
fn ten_thousand_requests() {
    let server = Server::new(|line| {
        use std::io::{Read, Write};
        let mut peer = line.accept();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ndate: Sun, 22 Nov 2026 15:51:00 GMT\r\ncontent-type: application/json\r\n\
             x-generation-id: gen-1\r\ncf-ray: 8f0\r\ncontent-length: 1024\r\n\r\n{}",
            "j".repeat(1024)
        );
        let mut buffer = [0; 4096];
        while peer.stream.read(&mut buffer).unwrap() > 0 {
            peer.stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    run(async {
        let upstream = server.upstream();
        let body = Bytes::from(vec![b'p'; 240]);
        let headers = [
            (&b"authorization"[..], &b"Bearer sk-or-v1-0123456789abcdef"[..]),
            (b"content-type", b"application/json"),
            (b"user-agent", b"test"),
            (b"accept", b"*/*"),
        ];
        for _ in 0..10_000 {
            let head = Head {
                method: &Method::POST,
                target: "/api/v1/chat/completions",
                headers: headers.into_iter(),
            };
            let answer =
                upstream.send(head, Outgoing::<Feed>::Full(body.clone()), Connection::Any).await.unwrap();
            assert_eq!(whole(answer.body).await.len(), 1024);
        }
    });
    server.join();
}

/// Waits until as many connections are at rest.
async fn until_idle(upstream: &Upstream, count: usize) {
    while upstream.idle_connections() != count {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn one_connection_serves_one_request_after_the_other() {
    let server = answering(&[HELLO; 3]);
    run(async {
        let upstream = server.upstream();
        for _ in 0..3 {
            hello(&upstream).await;
        }
        assert_eq!(upstream.idle_connections(), 1);
    });
    server.join();
}

#[test]
fn a_fresh_connection_is_a_new_one_and_the_last_one_used_is_taken_first() {
    let server = Server::new(|line| {
        let mut first = line.accept();
        first.head();
        first.send(HELLO);
        let mut second = line.accept();
        for _ in 0..2 {
            second.head();
            second.send(HELLO);
        }
    });
    run(async {
        let upstream = server.upstream();
        hello(&upstream).await;
        let answer = ask::<Feed>(&upstream, &Method::GET, Outgoing::Empty, Connection::Fresh).await.unwrap();
        assert_eq!(whole(answer.body).await, "hello");
        assert_eq!(upstream.idle_connections(), 2);
        hello(&upstream).await;
    });
    server.join();
}

#[test]
fn connections_that_may_not_be_kept_are_closed() {
    for answer in [
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        // Something is left over.
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello!",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ] {
        let server = Server::new(move |line| {
            let mut peer = line.accept();
            peer.head();
            peer.send(answer);
            // Only the client ends this one.
            peer.rest()
        });
        run(async {
            let upstream = server.upstream();
            hello(&upstream).await;
            assert_eq!(upstream.idle_connections(), 0, "{answer:?}");
        });
        assert_eq!(server.join(), b"");
    }
}

/// A server that answers once, then does something to the connection at rest, then serves on a second one.
fn at_rest(unrest: impl FnOnce(crate::script::Peer) -> Option<crate::script::Peer> + Send + 'static) {
    let server = Server::new(move |line| {
        let mut peer = line.accept();
        peer.head();
        peer.send(HELLO);
        let _kept = unrest(peer);
        let mut peer = line.accept();
        peer.head();
        peer.send(HELLO);
    });
    let mut settings = settings(server.address);
    settings.idle_timeout = Duration::from_millis(200);
    run(async {
        let upstream = upstream(settings);
        hello(&upstream).await;
        until_idle(&upstream, 0).await;
        hello(&upstream).await;
    });
    server.join();
}

#[test]
fn a_connection_closed_at_rest_is_dropped() {
    at_rest(|peer| {
        drop(peer);
        None
    });
}

#[test]
fn a_connection_reset_at_rest_is_dropped() {
    at_rest(|peer| {
        peer.reset();
        None
    });
}

#[test]
fn a_connection_that_speaks_unasked_is_dropped() {
    at_rest(|mut peer| {
        peer.send("HTTP/1.1 408 Request Timeout\r\n\r\n");
        Some(peer)
    });
}

#[test]
fn a_connection_rests_for_a_limited_time() {
    let server = Server::new(|line| {
        let mut peer = line.accept();
        peer.head();
        peer.send(HELLO);
        peer.rest();
    });
    run(async {
        let connector = Connector::new(settings(server.address)).unwrap();
        let upstream = Upstream::new(Arc::new(connector.with_idle_limit(Duration::from_millis(100))));
        hello(&upstream).await;
        assert_eq!(upstream.idle_connections(), 1);
        until_idle(&upstream, 0).await;
    });
    server.join();
}

#[test]
fn a_reused_connection_that_dies_without_an_answer_is_stale() {
    for reset in [false, true] {
        let server = Server::new(move |line| {
            let mut peer = line.accept();
            peer.head();
            peer.send(HELLO);
            peer.head();
            if reset {
                peer.reset();
            } else {
                drop(peer);
            }
            let mut peer = line.accept();
            peer.head();
            peer.send(HELLO);
        });
        run(async {
            let upstream = server.upstream();
            hello(&upstream).await;
            let error = get(&upstream).await.err();
            assert!(matches!(error, Some(SendError::Stale)), "{error:?}");
            let answer = ask::<Feed>(&upstream, &Method::GET, Outgoing::Empty, Connection::Fresh).await;
            assert_eq!(whole(answer.unwrap().body).await, "hello");
        });
        server.join();
    }
}

#[test]
fn a_large_request_on_a_connection_that_dies_is_stale() {
    let server = Server::new(|line| {
        let mut peer = line.accept();
        peer.head();
        peer.send(HELLO);
        peer.head();
    });
    run(async {
        let upstream = server.upstream();
        hello(&upstream).await;
        let large = Outgoing::Full(Bytes::from(vec![0; 8_000_000]));
        let error = ask::<Feed>(&upstream, &Method::POST, large, Connection::Any).await.err();
        assert!(matches!(error, Some(SendError::Stale)), "{error:?}");
    });
    server.join();
}

#[test]
fn a_byte_of_an_answer_or_a_new_connection_is_not_stale() {
    let server = Server::new(|line| {
        let mut peer = line.accept();
        peer.head();
        peer.send(HELLO);
        peer.head();
        peer.send("H");
        drop(peer);
        line.accept().head();
    });
    run(async {
        let upstream = server.upstream();
        hello(&upstream).await;
        let error = get(&upstream).await.err();
        assert!(matches!(error, Some(SendError::CutShort)), "{error:?}");
        let error = get(&upstream).await.err();
        assert!(matches!(error, Some(SendError::Closed)), "{error:?}");
    });
    server.join();
}

#[test]
fn dropping_a_request_closes_its_connection() {
    let (asked, signal) = tokio::sync::oneshot::channel();
    let server = Server::new(move |line| {
        let mut peer = line.accept();
        peer.head();
        asked.send(()).unwrap();
        peer.rest()
    });
    let upstream = server.upstream();
    run(async {
        tokio::select! {
            _ = get(&upstream) => panic!("there is no answer"),
            asked = signal => asked.unwrap(),
        }
        // The client still lives; that the server sees the end is the drop's doing.
        tokio::task::spawn_blocking(move || assert_eq!(server.join(), b"")).await.unwrap();
    });
}

#[test]
fn dropping_a_body_closes_its_connection() {
    let server = Server::new(|line| {
        let mut peer = line.accept();
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n");
        peer.rest()
    });
    let upstream = server.upstream();
    run(async {
        let mut body = get(&upstream).await.unwrap().body;
        body.frame().await.unwrap().unwrap();
        drop(body);
        tokio::task::spawn_blocking(move || assert_eq!(server.join(), b"")).await.unwrap();
        assert_eq!(upstream.idle_connections(), 0);
    });
}

#[test]
fn dropping_a_request_in_the_middle_of_its_upload_closes_its_connection() {
    let server = Server::new(|line| {
        let mut peer = line.accept();
        peer.head();
        peer.rest()
    });
    let upstream = server.upstream();
    let arrived = run(async {
        let (feeder, body) = feed();
        tokio::select! {
            _ = post_stream(&upstream, body, None) => panic!("there is no answer"),
            () = async { for _ in 0..3 { feeder.data("piece").await } } => {}
        }
        tokio::task::spawn_blocking(move || server.join()).await.unwrap()
    });
    assert!(!arrived.ends_with(b"0\r\n\r\n"));
}

/// A port on which nobody listens.
fn nobody() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A client of `some.name` whose addresses are `found`, and how often they were asked for.
fn named(found: Vec<SocketAddr>, connect_timeout: Duration) -> (Upstream, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let mut settings = settings(nobody());
    settings.origin = Origin { tls: false, host: "some.name".to_owned(), port: 80 };
    settings.connect_timeout = connect_timeout;
    let connector = Connector::new(settings).unwrap().with_resolver(move |host, port| {
        assert_eq!((host, port), ("some.name", 80));
        count.fetch_add(1, Ordering::Relaxed);
        let found = found.clone();
        Box::pin(async move { Ok(found) })
    });
    (Upstream::new(Arc::new(connector)), asked)
}

#[test]
fn every_address_is_tried() {
    let server = answering(&[HELLO]);
    let host = run(async {
        let (upstream, _) = named(vec![nobody(), nobody(), server.address], Duration::from_secs(5));
        hello(&upstream).await;
        server.join().remove(0)
    });
    assert!(host.contains("\r\nhost: some.name\r\n"), "{host}");
}

#[test]
fn an_address_that_says_nothing_does_not_hold_up_the_next() {
    // A listener whose backlog is full lets connections wait.
    let deaf = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    deaf.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    deaf.listen(0).unwrap();
    let address = deaf.local_addr().unwrap().as_socket().unwrap();
    let _full = std::net::TcpStream::connect(address).unwrap();
    let server = answering(&[HELLO]);
    run(async {
        let (upstream, _) = named(vec![address, server.address], Duration::from_secs(10));
        let start = std::time::Instant::now();
        hello(&upstream).await;
        assert!(start.elapsed() < Duration::from_secs(5));
        let (upstream, _) = named(vec![address], Duration::from_millis(200));
        assert!(matches!(get(&upstream).await.err(), Some(SendError::ConnectTimeout)));
    });
    server.join();
}

#[test]
fn addresses_are_kept_for_a_while_and_forgotten_when_none_takes_a_connection() {
    let server = Server::new(|line: Line| {
        for _ in 0..3 {
            let mut peer = line.accept();
            peer.head();
            peer.send(HELLO);
        }
    });
    run(async {
        let (upstream, asked) = named(vec![server.address], Duration::from_secs(5));
        for _ in 0..3 {
            let answer =
                ask::<Feed>(&upstream, &Method::GET, Outgoing::Empty, Connection::Fresh).await.unwrap();
            assert_eq!(whole(answer.body).await, "hello");
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        server.join();

        let (upstream, asked) = named(vec![nobody()], Duration::from_secs(5));
        for _ in 0..2 {
            assert!(matches!(get(&upstream).await.err(), Some(SendError::Connect)));
        }
        assert_eq!(asked.load(Ordering::Relaxed), 2);

        let (upstream, _) = named(Vec::new(), Duration::from_secs(5));
        assert!(matches!(get(&upstream).await.err(), Some(SendError::Resolve)));
    });
}

#[test]
fn connecting_has_a_time_limit_that_includes_the_name() {
    let mut settings = settings(nobody());
    settings.origin.host = "some.name".to_owned();
    settings.connect_timeout = Duration::from_millis(200);
    let connector = Connector::new(settings).unwrap().with_resolver(|_, _| Box::pin(std::future::pending()));
    run(async {
        let upstream = Upstream::new(Arc::new(connector));
        assert!(matches!(get(&upstream).await.err(), Some(SendError::ConnectTimeout)));
    });
}

#[test]
fn a_proxy_is_asked_for_a_tunnel() {
    let proxy = answering(&["HTTP/1.1 200 Connection established\r\nx: y\r\n\r\n", HELLO]);
    let mut settings = settings(nobody());
    settings.origin = Origin { tls: false, host: "some.name".to_owned(), port: 80 };
    settings.proxy = Some(crate::script::origin(proxy.address));
    run(async { hello(&upstream(settings)).await });
    assert_eq!(
        proxy.join(),
        [
            "CONNECT some.name:80 HTTP/1.1\r\nhost: some.name:80\r\n\r\n",
            "GET /x HTTP/1.1\r\nhost: some.name\r\n\r\n"
        ]
    );
}

#[test]
fn a_proxy_that_refuses_says_why() {
    for (answer, reason) in [
        ("HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n", "status 407"),
        ("HTTP/1.1 200 OK\r\n\r\nmore", "more than an answer"),
        ("220 smtp\r\n", "not valid HTTP"),
        ("HTTP/1.1 200", "closed the connection"),
    ] {
        let proxy = answering(&[answer]);
        let mut settings = settings(nobody());
        settings.proxy = Some(crate::script::origin(proxy.address));
        let error = run(async { get(&upstream(settings)).await.err() });
        assert!(matches!(&error, Some(SendError::Proxy(text)) if text.contains(reason)), "{error:?}");
        proxy.join();
    }
    let mut settings = settings(nobody());
    settings.proxy = Some(crate::script::origin(nobody()));
    let error = run(async { get(&upstream(settings)).await.err() });
    assert!(matches!(error, Some(SendError::Proxy(_))), "{error:?}");
}

#[test]
fn an_origin_that_is_no_host_is_refused() {
    for host in ["", "a b", "a/b", "a\r\nb", "user@host", "[::1]"] {
        let mut settings = settings(nobody());
        settings.origin.host = host.to_owned();
        assert!(Connector::new(settings).is_err(), "{host:?}");
    }
    let mut settings = settings(nobody());
    settings.proxy = Some(Origin { tls: true, host: "proxy".to_owned(), port: 443 });
    assert!(Connector::new(settings).unwrap_err().0.contains("without TLS"));
}
