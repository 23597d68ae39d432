//! TLS with upstream: trust, truncation, reuse.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use hermux::upstream::{BodyError, Connection, Connector, Origin, Outgoing, SendError, Settings, Upstream};
use http::Method;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::script::{Feed, Peer, Server, ask, feed, get, post_stream, read, run, settings, upstream, whole};

/// A server certificate for `localhost`, signed by itself, as PEM in a file and as a server's configuration.
struct Identity {
    file: tempfile::NamedTempFile,
    config: Arc<ServerConfig>,
}

fn identity() -> Identity {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(issued.cert.pem().as_bytes()).unwrap();
    let key = PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der());
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key.into())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Identity { file, config: Arc::new(config) }
}

type Tls = StreamOwned<ServerConnection, TcpStream>;

fn accept(peer: Peer, config: &Arc<ServerConfig>) -> Tls {
    StreamOwned::new(ServerConnection::new(Arc::clone(config)).unwrap(), peer.stream)
}

/// Reads the head of a request; false when there is none.
fn head(stream: &mut Tls) -> bool {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return false,
        }
    }
    true
}

fn secured<T>(server: &Server<T>, host: &str, identity: Option<&Identity>) -> Settings {
    let mut settings = settings(server.address);
    settings.origin = Origin { tls: true, host: host.to_owned(), port: server.address.port() };
    settings.ca_file = identity.map(|identity| identity.file.path().to_owned());
    settings
}

/// A client that takes `host` to be at the server's address.
fn client<T>(server: &Server<T>, settings: Settings) -> Upstream {
    let address = server.address;
    let connector = Connector::new(settings).unwrap();
    Upstream::new(Arc::new(connector.with_resolver(move |_, _| Box::pin(async move { Ok(vec![address]) }))))
}

/// A server that sends `answer` to each request of one connection, `times` times.
fn serving(identity: &Identity, answer: impl Into<Vec<u8>>, times: usize) -> Server<Option<Vec<u8>>> {
    let config = Arc::clone(&identity.config);
    let answer = answer.into();
    Server::new(move |line| {
        let mut stream = accept(line.accept(), &config);
        for _ in 0..times {
            if !head(&mut stream) {
                break;
            }
            stream.write_all(&answer).unwrap();
        }
        stream.conn.send_close_notify();
        let _ = stream.flush();
        stream.conn.alpn_protocol().map(<[u8]>::to_vec)
    })
}

#[test]
fn a_ca_file_is_trusted_and_connections_are_kept() {
    let identity = identity();
    let large = "x".repeat(300_000);
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{large}", large.len());
    let server = serving(&identity, answer, 3);
    run(async {
        let upstream = client(&server, secured(&server, "localhost", Some(&identity)));
        for _ in 0..3 {
            assert!(whole(get(&upstream).await.unwrap().body).await == large);
            assert_eq!(upstream.idle_connections(), 1);
        }
    });
    assert_eq!(server.join().unwrap(), b"http/1.1");
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused() {
    let (identity, other) = (identity(), identity());
    let server = serving(&identity, "", 1);
    let error = run(async { get(&client(&server, secured(&server, "localhost", Some(&other)))).await.err() });
    assert!(matches!(error, Some(SendError::Tls(_))), "{error:?}");
    server.join();
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let identity = identity();
    for host in ["elsewhere.test", "127.0.0.1"] {
        let server = serving(&identity, "", 1);
        let error = run(async { get(&client(&server, secured(&server, host, Some(&identity)))).await.err() });
        assert!(matches!(error, Some(SendError::Tls(_))), "{error:?}");
        server.join();
    }
}

#[test]
fn a_server_without_tls_is_a_tls_fault() {
    let identity = identity();
    let server = Server::new(|line| drop(line.accept()));
    let error = run(async { get(&upstream(secured(&server, "127.0.0.1", Some(&identity)))).await.err() });
    assert!(matches!(error, Some(SendError::Tls(_))), "{error:?}");
    server.join();
}

#[test]
fn a_body_until_close_needs_a_close_notify() {
    let identity = identity();
    for orderly in [true, false] {
        let config = Arc::clone(&identity.config);
        let server = Server::new(move |line| {
            let mut stream = accept(line.accept(), &config);
            assert!(head(&mut stream));
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhello").unwrap();
            if orderly {
                stream.conn.send_close_notify();
                stream.flush().unwrap();
            }
        });
        run(async {
            let upstream = client(&server, secured(&server, "localhost", Some(&identity)));
            let (data, _, error) = read(get(&upstream).await.unwrap().body).await;
            assert_eq!(data, b"hello");
            assert_eq!(matches!(error, Some(BodyError::Cut)), !orderly, "{error:?}");
            assert_eq!(error.is_none(), orderly);
        });
        server.join();
    }
}

#[test]
fn a_kept_connection_that_ends_without_close_notify_is_stale() {
    let identity = identity();
    let config = Arc::clone(&identity.config);
    let server = Server::new(move |line| {
        let mut stream = accept(line.accept(), &config);
        assert!(head(&mut stream));
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
        assert!(head(&mut stream));
    });
    run(async {
        let upstream = client(&server, secured(&server, "localhost", Some(&identity)));
        assert_eq!(whole(get(&upstream).await.unwrap().body).await, "ok");
        let error = get(&upstream).await.err();
        assert!(matches!(error, Some(SendError::Stale)), "{error:?}");
    });
    server.join();
}

#[test]
fn tls_goes_through_a_proxy() {
    let identity = identity();
    let config = Arc::clone(&identity.config);
    let proxy = Server::new(move |line| {
        let mut peer = line.accept();
        let asked = peer.head();
        peer.send("HTTP/1.1 200 OK\r\n\r\n");
        let mut stream = accept(peer, &config);
        assert!(head(&mut stream));
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
        asked
    });
    run(async {
        let mut settings = secured(&proxy, "localhost", Some(&identity));
        settings.origin.port = 443;
        settings.proxy = Some(crate::script::origin(proxy.address));
        assert_eq!(whole(get(&upstream(settings)).await.unwrap().body).await, "ok");
    });
    assert_eq!(proxy.join(), "CONNECT localhost:443 HTTP/1.1\r\nhost: localhost:443\r\n\r\n");
}

#[test]
fn large_uploads_go_through_tls() {
    const LARGE: usize = 3_000_000;
    let identity = identity();
    let config = Arc::clone(&identity.config);
    let server = Server::new(move |line| {
        let mut stream = accept(line.accept(), &config);
        let mut body = vec![0; LARGE];
        for _ in 0..2 {
            assert!(head(&mut stream));
            stream.read_exact(&mut body).unwrap();
            assert!(body.iter().enumerate().all(|(n, &byte)| byte == n.to_le_bytes()[0]));
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
        }
    });
    run(async {
        let upstream = client(&server, secured(&server, "localhost", Some(&identity)));
        let large: Bytes = (0..LARGE).map(|n| n.to_le_bytes()[0]).collect();
        let full = Outgoing::<Feed>::Full(large.clone());
        let answer = ask(&upstream, &Method::POST, full, Connection::Any).await.unwrap();
        assert_eq!(whole(answer.body).await, "ok");
        let (feeder, body) = feed();
        tokio::task::spawn_local(async move {
            // Pieces on both sides of what is copied together.
            let mut left = large;
            for size in [1, 256, 16_384, 16_385, 300_000].into_iter().cycle() {
                if left.is_empty() {
                    break;
                }
                feeder.data(left.split_to(size.min(left.len()))).await;
            }
        });
        let answer = post_stream(&upstream, body, Some(LARGE as u64)).await.unwrap();
        assert_eq!(whole(answer.body).await, "ok");
        assert_eq!(upstream.idle_connections(), 1);
    });
    server.join();
}

/// Run by the test below in a process of its own, with `SSL_CERT_FILE` set.
#[test]
#[ignore = "needs SSL_CERT_FILE, which another test sets for it"]
fn with_ssl_cert_file() {
    let address = std::env::var("TEST_ADDRESS").unwrap().parse().unwrap();
    let mut settings = settings(address);
    settings.origin = Origin { tls: true, host: "localhost".to_owned(), port: address.port() };
    let body = run(async { whole(get(&upstream(settings)).await.unwrap().body).await });
    assert_eq!(body, "ok");
}

#[test]
fn ssl_cert_file_is_obeyed() {
    let identity = identity();
    let test = |address: String, file: &std::path::Path| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tls::with_ssl_cert_file", "--ignored"])
            .env("TEST_ADDRESS", address)
            .env("SSL_CERT_FILE", file)
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap()
    };
    let server = serving(&identity, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 1);
    let output = test(server.address.to_string(), identity.file.path());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    server.join();

    let missing = identity.file.path().with_extension("missing");
    let output = test("127.0.0.1:1".to_owned(), &missing);
    assert!(!output.status.success());
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no certificate is where the variable says: SSL_CERT_FILE"), "{said}");
}
