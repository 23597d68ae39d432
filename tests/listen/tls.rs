//! TLS for callers: both protocols, certificates that change, bounds, the end.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio_rustls::TlsConnector;

use crate::chat;
use crate::line::Line;
use crate::support::h2::H2;
use crate::support::hermux::write_private;
use crate::support::wire::Got;
use crate::support::{Connection, Hermux, PATIENCE, Request, Setup, TOKEN, Upstream, eventually, samples};

/// A certificate for `localhost`, signed by itself, and its key, as PEM.
struct Identity {
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    key_pem: String,
}

fn identity() -> Identity {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    Identity {
        certificate: issued.cert.der().clone(),
        certificate_pem: issued.cert.pem(),
        key_pem: issued.signing_key.serialize_pem(),
    }
}

fn files(folder: &Path) -> (PathBuf, PathBuf) {
    (folder.join("cert.pem"), folder.join("key.pem"))
}

/// Puts the files of `identity` in place, each by a rename.
fn install(identity: &Identity, folder: &Path) {
    let (certificate, key) = files(folder);
    for (path, text) in [(certificate, &identity.certificate_pem), (key, &identity.key_pem)] {
        let new = path.with_extension("new");
        write_private(&new, text);
        std::fs::rename(new, path).unwrap();
    }
}

/// `setup` with TLS by `identity`.
fn secured(setup: Setup, identity: &Identity) -> Setup {
    install(identity, setup.directory());
    let (certificate, key) = files(setup.directory());
    setup.flag("--tls-cert", &certificate.display().to_string()).flag("--tls-key", &key.display().to_string())
}

fn started(upstream: &Upstream) -> (Hermux, Identity) {
    let identity = identity();
    (secured(Setup::new(upstream), &identity).start(), identity)
}

/// A client that trusts `identity` alone.
fn client(identity: &Identity, protocols: &[&str]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(identity.certificate.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(hermux::upstream::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    config
}

type Secured = StreamOwned<ClientConnection, TcpStream>;

/// Connects and shakes hands, or says why that failed.
fn try_connect(address: SocketAddr, config: ClientConfig) -> std::io::Result<Line<Secured>> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut tls = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut tcp = TcpStream::connect(address)?;
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    while tls.is_handshaking() {
        tls.complete_io(&mut tcp)?;
    }
    Ok(Line::over(StreamOwned::new(tls, tcp)))
}

fn connect(hermux: &Hermux, identity: &Identity) -> Line<Secured> {
    try_connect(hermux.address(), client(identity, &["http/1.1"])).unwrap()
}

fn h2(hermux: &Hermux, identity: &Identity) -> H2 {
    let (address, config) = (hermux.address(), client(identity, &["h2", "http/1.1"]));
    H2::over(async move {
        let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        tls
    })
}

#[test]
fn each_protocol_is_spoken_with_who_asks_for_it() {
    let upstream = Upstream::answering(chat);
    let (hermux, identity) = started(&upstream);
    assert!(hermux.wait_for_line("ready: ").contains("ready: https://127.0.0.1:"));
    for protocols in [&["http/1.1"][..], &[]] {
        let mut caller = try_connect(hermux.address(), client(&identity, protocols)).unwrap();
        for _ in 0..2 {
            caller.send(Request::chat(false).bytes());
            let (head, body) = caller.answer();
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            assert_eq!(body, samples::CHAT);
        }
        let chosen = caller.stream.conn.alpn_protocol();
        assert_eq!(chosen, protocols.first().map(|protocol| protocol.as_bytes()));
    }
    let mut h2 = h2(&hermux, &identity);
    for _ in 0..2 {
        let mut asked = h2.send("POST", "/v1/chat/completions", Some("{}"));
        assert_eq!(asked.head().unwrap().status(), 200);
        assert_eq!(asked.whole(), samples::CHAT.as_bytes());
    }
}

#[test]
fn a_caller_that_says_goodbye_is_answered() {
    let upstream = Upstream::answering(chat);
    let (hermux, identity) = started(&upstream);
    let mut caller = connect(&hermux, &identity);
    caller.send(Request::chat(false).bytes());
    assert!(caller.answer().0.starts_with("HTTP/1.1 200"));
    caller.stream.conn.send_close_notify();
    caller.stream.flush().unwrap();
    // An end without a word would be an error.
    assert_eq!(caller.stream.read(&mut [0]).unwrap(), 0);
}

#[test]
fn pages_limits_and_tls_go_together_over_http_2() {
    let upstream = Upstream::answering(chat);
    let identity = identity();
    let setup = secured(Setup::new(&upstream), &identity).flag("--cors", "https://app.example");
    write_private(&setup.allow(), &format!("{TOKEN} name=tester rpm=21 models=acme/*\n"));
    let hermux = setup.start();
    let mut h2 = h2(&hermux, &identity);
    let asked: Vec<_> = (0..40)
        .map(|number| {
            // Each second one is refused for its model, which counts for nothing.
            let model = if number % 2 == 0 { "acme/small" } else { "evil/large" };
            h2.send("POST", "/v1/chat/completions", Some(&format!(r#"{{"model":"{model}"}}"#)))
        })
        .collect();
    let mut statuses = Vec::new();
    for mut asked in asked {
        let head = asked.head().unwrap();
        assert_eq!(head.headers()["vary"], "Origin");
        assert!(!head.headers().contains_key("access-control-allow-origin"), "it is of no page");
        asked.whole();
        statuses.push(head.status().as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [vec![200; 20], vec![403; 20]].concat());
    for status in [200, 429] {
        let mut asked = h2.send("POST", "/v1/chat/completions", Some(r#"{"model":"acme/small"}"#));
        assert_eq!(asked.head().unwrap().status(), status);
    }
    assert_eq!(upstream.requests(), 21);

    let mut page = connect(&hermux, &identity);
    let preflight = Request::new("OPTIONS", "/v1/chat/completions").without("authorization");
    let preflight = preflight.header("Access-Control-Request-Method", "POST");
    page.send(preflight.header("Origin", "https://app.example").bytes());
    assert!(page.until("\r\n\r\n").starts_with("HTTP/1.1 204"), "a preflight costs nothing");
    page.send(Request::chat(false).header("Origin", "https://app.example").bytes());
    let (head, _) = page.answer();
    assert!(
        head.contains(" 429 ") && head.contains("access-control-allow-origin: https://app.example"),
        "{head}"
    );
}

#[test]
fn addresses_of_videos_lead_back_over_tls() {
    let upstream = Upstream::answering(|exchange| {
        exchange.json(200, r#"{"id":"job-1","polling_url":"https://openrouter.ai/api/v1/videos/job-1"}"#);
    });
    let (hermux, identity) = started(&upstream);
    let polling_url = |body: &[u8]| {
        let told: serde_json::Value = serde_json::from_slice(body).unwrap();
        told["polling_url"].as_str().unwrap().to_owned()
    };
    let ask = |request: Request| {
        let mut caller = connect(&hermux, &identity);
        caller.send(request.bytes());
        polling_url(caller.answer().1.as_bytes())
    };
    // Whoever follows it sends the access token there.
    let own = ask(Request::post("/v1/videos", "{}"));
    assert!(own.starts_with("https://") && own.ends_with("/api/v1/videos/job-1"), "{own}");
    let before = ask(Request::post("/v1/videos", "{}").header("X-Forwarded-Proto", "http"));
    assert!(before.starts_with("http://"), "callers of what stands before hermux speak to that: {before}");

    let mut h2 = h2(&hermux, &identity);
    let mut asked = h2.send("GET", "/v1/videos/job-1", None);
    assert_eq!(asked.head().unwrap().status(), 200);
    assert_eq!(polling_url(&asked.whole()), "https://localhost/api/v1/videos/job-1");
}

#[test]
fn all_that_was_written_arrives_before_a_cut_and_the_cut_is_seen() {
    let upstream = Upstream::start();
    let (hermux, identity) = started(&upstream);
    let large = "x".repeat(3 << 20);
    // HTTP/1.0 tells the end of an answer by closing alone.
    for version in ["HTTP/1.1", "HTTP/1.0"] {
        let mut caller = connect(&hermux, &identity);
        let request = String::from_utf8(Request::chat(true).bytes()).unwrap();
        caller.send(request.replace("HTTP/1.1", version));
        let mut exchange = upstream.next();
        exchange.body();
        exchange.wire.send(
            "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ntransfer-encoding: chunked\r\n\r\n",
        );
        // Far more than all buffers on the way hold, while the caller reads nothing.
        let mut writer = exchange.wire.writer();
        let sent = large.clone();
        let cut = std::thread::spawn(move || {
            writer.send_chunk(sent);
            drop(writer);
            exchange.wire.cut_fin();
        });
        caller.until("\r\n\r\n");
        let (rest, end) = caller.rest();
        cut.join().unwrap();
        let came = memchr::memchr_iter(b'x', &rest).count();
        assert_eq!(came, large.len(), "{version}");
        assert!(!rest.ends_with(b"0\r\n\r\n"), "a cut that looks like an end");
        if version == "HTTP/1.0" {
            assert!(end.is_err(), "a cut that looks like an end");
        }
    }
}

#[test]
fn a_caller_that_leaves_cancels_upstream() {
    let upstream = Upstream::start();
    let (hermux, identity) = started(&upstream);
    let mut caller = connect(&hermux, &identity);
    caller.send(Request::chat(true).bytes());
    let mut exchange = upstream.next();
    exchange.begin_stream();
    exchange.wire.send_chunk("data: one\n\n");
    caller.until("data: one\n\n");
    caller.stream.conn.send_close_notify();
    caller.stream.flush().unwrap();
    drop(caller);
    exchange.wire.wait_closed();
    hermux.stats_when("the cancelled stream", |sum| sum.attempts == 1);
}

#[test]
fn large_bodies_pass_both_ways() {
    let upstream = Upstream::answering(|mut exchange| {
        let body = exchange.text();
        exchange.wire.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
        exchange.keep();
    });
    let (hermux, identity) = started(&upstream);
    let large = format!(r#"{{"model":"acme/small","padding":"{}"}}"#, "y".repeat(5 << 20));
    let mut caller = connect(&hermux, &identity);
    caller.send(Request::post("/v1/chat/completions", &large).bytes());
    assert!(caller.answer().1 == large);
    let mut h2 = h2(&hermux, &identity);
    let small = &large[large.len() - 50_000..];
    let mut asked = h2.send("POST", "/v1/chat/completions", Some(small));
    assert_eq!(asked.head().unwrap().status(), 200);
    assert!(asked.whole() == small.as_bytes());
}

#[test]
fn a_new_certificate_is_shown_while_streams_go_on() {
    let upstream = Upstream::start();
    let (hermux, first) = started(&upstream);
    let mut streaming = connect(&hermux, &first);
    streaming.send(Request::chat(true).bytes());
    let mut exchange = upstream.next();
    exchange.begin_stream();
    exchange.wire.send_chunk("data: one\n\n");
    streaming.until("data: one\n\n");

    let second = identity();
    let folder = hermux.setup().directory();
    install(&second, folder);
    eventually("the new certificate is shown", || {
        try_connect(hermux.address(), client(&second, &[])).ok().map(drop)
    });
    assert!(try_connect(hermux.address(), client(&first, &[])).is_err(), "the old one is not shown any more");
    exchange.wire.send_chunk("data: two\n\n");
    exchange.wire.send_last_chunk();
    streaming.until("data: two\n\n\r\n0\r\n\r\n");

    // SIGHUP has it read, also where nothing changed.
    let reloads = || hermux.lines().iter().filter(|line| line.contains("reloaded the certificate: ")).count();
    let before = reloads();
    hermux.signal("HUP");
    eventually("it was read again", || (reloads() > before).then_some(()));
    connect(&hermux, &second);
}

#[test]
fn a_broken_pair_leaves_the_last_good_one_in_force() {
    let upstream = Upstream::never_called();
    let (hermux, good) = started(&upstream);
    let (certificate, key) = files(hermux.setup().directory());
    write_private(&key, &identity().key_pem);
    let said = hermux.wait_for_line("the last good certificate stays in force: ");
    assert!(said.contains("is not that of the certificate") && said.contains("key.pem"), "{said}");
    connect(&hermux, &good);
    std::fs::remove_file(&certificate).unwrap();
    hermux.wait_for_line("the certificate can't be read");
    connect(&hermux, &good);
    let new = identity();
    install(&new, hermux.setup().directory());
    eventually("a good pair is taken", || try_connect(hermux.address(), client(&new, &[])).ok().map(drop));
}

#[test]
fn a_handshake_has_the_time_of_a_head_and_holds_a_permit() {
    let upstream = Upstream::never_called();
    let identity = identity();
    let setup = Setup::new(&upstream).flag("--header-timeout", "2s").flag("--max-connections", "2");
    let hermux = secured(setup, &identity).start();
    let mut silent = hermux.connect();
    let mut slow = hermux.connect();
    // The beginning of a handshake record that promises more.
    slow.send([0x16, 3, 1, 1, 0, 1]);
    // Both permits are held, so that the next one waits until they are cut.
    let mut waiting = Connection::open(hermux.address());
    waiting.send([0x15]);
    assert_eq!(waiting.fill_within(Duration::from_millis(500)), None, "one too many was accepted");
    assert_ne!(silent.fill(), Got::Bytes);
    slow.wait_closed();
    assert_eq!(waiting.fill(), Got::Bytes, "its turn came");
    drop(waiting);
    let mut caller = connect(&hermux, &identity);
    caller.send(Request::get("/health").bytes());
    assert!(caller.answer().0.starts_with("HTTP/1.1 200"));
    // After the handshake the head's time runs as ever.
    caller.send("GET /health HTTP/1.1\r\n");
    assert_eq!(caller.rest().0, b"");
}

#[test]
fn the_end_waits_for_streams_and_closes_the_rest() {
    let upstream = Upstream::start();
    let (hermux, identity) = started(&upstream);
    let mut idle = connect(&hermux, &identity);
    idle.send(Request::get("/health").bytes());
    idle.answer();
    let mut shaking = hermux.connect();
    shaking.send([0x16, 3, 1]);
    let mut streaming = connect(&hermux, &identity);
    streaming.send(Request::chat(true).bytes());
    let mut over_h1 = upstream.next();
    let mut h2 = h2(&hermux, &identity);
    let mut asked = h2.send("POST", "/v1/chat/completions", Some("{}"));
    let mut over_h2 = upstream.next();
    for exchange in [&mut over_h1, &mut over_h2] {
        exchange.begin_stream();
        exchange.wire.send_chunk("data: one\n\n");
    }
    streaming.until("data: one\n\n");
    assert_eq!(asked.head().unwrap().status(), 200);

    hermux.signal("TERM");
    assert!(idle.rest().1.is_ok(), "closed as TLS wants it");
    shaking.wait_closed();
    eventually("the port is closed", || TcpStream::connect(hermux.address()).is_err().then_some(()));
    for exchange in [&mut over_h1, &mut over_h2] {
        exchange.wire.send_chunk("data: two\n\n");
        exchange.wire.send_last_chunk();
    }
    streaming.until("data: two\n\n\r\n0\r\n\r\n");
    assert!(streaming.rest().1.is_ok(), "closed as TLS wants it");
    assert_eq!(asked.whole(), b"data: one\n\ndata: two\n\n");
    assert_eq!(hermux.wait().code(), Some(0));
}

#[test]
fn what_outlasts_the_grace_time_is_cut_visibly() {
    let upstream = Upstream::start();
    let identity = identity();
    let hermux = secured(Setup::new(&upstream).flag("--grace", "1s"), &identity).start();
    let mut streaming = connect(&hermux, &identity);
    streaming.send(Request::chat(true).bytes());
    let mut exchange = upstream.next();
    exchange.begin_stream();
    exchange.wire.send_chunk("data: one\n\n");
    streaming.until("data: one\n\n");
    hermux.signal("TERM");
    let (rest, end) = streaming.rest();
    assert!(end.is_err() && !rest.ends_with(b"0\r\n\r\n"), "a cut that looks like an end");
    assert_eq!(hermux.wait().code(), Some(0));
    exchange.wire.wait_closed();
}

#[test]
fn who_speaks_plain_http_is_told_so() {
    let upstream = Upstream::never_called();
    let (hermux, _) = started(&upstream);
    let answer = hermux.ask(&Request::chat(false));
    assert_eq!(answer.status(), 400);
    assert!(String::from_utf8_lossy(&answer.body).contains("https://"));
}

#[test]
fn what_is_wrong_with_the_files_is_told_before_the_port_opens() {
    let upstream = Upstream::never_called();
    let (good, other) = (identity(), identity());
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (certificate, key, told, named) in [
        (Some(good.certificate_pem.as_str()), Some(other.key_pem.as_str()), "is not that of", "key.pem"),
        (Some(&good.certificate_pem), Some(encrypted), "no private key that can be read", "key.pem"),
        (Some(&good.certificate_pem), Some(&good.certificate_pem), "no private key", "key.pem"),
        (Some(&good.certificate_pem), None, "can't be read (no such file)", "key.pem"),
        (Some(broken), Some(&good.key_pem), "the certificate is broken", "cert.pem"),
        (Some("text"), Some(&good.key_pem), "has no certificate", "cert.pem"),
        (None, Some(&good.key_pem), "can't be read", "cert.pem"),
    ] {
        let setup = secured(Setup::new(&upstream), &good);
        let paths = files(setup.directory());
        for (path, text) in [(&paths.0, certificate), (&paths.1, key)] {
            match text {
                Some(text) => write_private(path, text),
                None => std::fs::remove_file(path).unwrap(),
            }
        }
        let (status, said) = setup.start_in_vain();
        assert_eq!(status.code(), Some(2), "{said}");
        assert!(said.contains(told) && said.contains(named) && said.contains("\nhint: "), "{told}: {said}");
        assert!(!said.contains("ready: ") && !said.contains("BEGIN PRIVATE"), "{said}");
    }
}

#[test]
fn one_file_without_the_other_is_an_error() {
    let upstream = Upstream::never_called();
    for (given, missing) in [("--tls-cert", "--tls-key"), ("--tls-key", "--tls-cert")] {
        let (status, said) = Setup::new(&upstream).flag(given, "a.pem").start_in_vain();
        assert_eq!(status.code(), Some(2), "{said}");
        assert!(said.starts_with(&format!("error: {given}: ")) && said.contains(missing), "{said}");
    }
}

#[test]
fn tokens_in_the_clear_and_a_key_that_others_can_read_are_warned_of() {
    const CLEAR: &str = "access tokens travel in the clear";
    let upstream = Upstream::never_called();
    let warned = |hermux: &Hermux| hermux.lines().iter().any(|line| line.contains(CLEAR));
    let everywhere = || Setup::new(&upstream).flag("--address", "0.0.0.0");
    assert!(warned(&everywhere().start()));
    assert!(!warned(&Hermux::start(&upstream)), "nobody else hears it on loopback");
    let identity = identity();
    let setup = secured(everywhere(), &identity);
    let key = files(setup.directory()).1;
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let hermux = setup.start();
    assert!(!warned(&hermux));
    let said = hermux.wait_for_line("others can read the secrets");
    assert!(said.contains("key.pem"), "{said}");
}
