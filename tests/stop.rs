//! Stopping: what is under way finishes, the rest closes, nothing is lost; and a port that is taken.

mod support;

use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use support::h2::H2;
use support::hermux::{answer, stats};
use support::wire::Got;
use support::{End, Exchange, Hermux, PATIENCE, Request, Setup, Upstream, eventually, samples};

/// Long before the grace time of these tests ends.
const AT_ONCE: Duration = Duration::from_secs(5);

fn chat(exchange: Exchange) {
    exchange.json(200, samples::CHAT);
}

/// Waits until nobody listens any more.
fn wait_until_closed(hermux: &Hermux) {
    eventually("the port is closed", || TcpStream::connect(hermux.address()).is_err().then_some(()));
}

#[test]
fn either_signal_ends_it_and_that_is_a_success() {
    let upstream = Upstream::answering(chat);
    for signal in ["TERM", "INT"] {
        let hermux = Hermux::start(&upstream);
        assert_eq!(hermux.ask(&Request::chat(false)).status(), 200);
        // A connection that idles is closed, not waited for.
        let mut idle = hermux.connect();
        idle.send(Request::chat(false).bytes());
        assert_eq!(answer(&mut idle).status(), 200);
        let mut silent = hermux.connect();
        let mut h2 = H2::open(hermux.address());
        let mut asked = h2.send("POST", "/v1/chat/completions", Some("{}"));
        assert_eq!(asked.head().unwrap().status(), 200);
        asked.whole();
        let start = Instant::now();
        hermux.signal(signal);
        assert_eq!(hermux.wait().code(), Some(0), "{signal}");
        assert!(start.elapsed() < AT_ONCE, "{:?} for idle connections", start.elapsed());
        assert_ne!(idle.fill(), Got::Bytes);
        assert_ne!(silent.fill(), Got::Bytes);
    }
}

#[test]
fn open_streams_finish_and_nothing_new_begins() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    let (mut streaming, mut stream) = hermux.open(&Request::chat(true), &upstream);
    stream.begin_stream();
    streaming.answer();
    let (mut waiting, held) = hermux.open(&Request::chat(false), &upstream);
    let mut h2 = H2::open(hermux.address());
    let mut asked = h2.send("POST", "/v1/chat/completions", Some("{}"));
    let mut over_h2 = upstream.next();
    over_h2.begin_stream();
    assert_eq!(asked.head().unwrap().status(), 200);

    hermux.signal("TERM");
    wait_until_closed(&hermux);
    let (first, second) = samples::CHAT_STREAM.split_at(200);
    for exchange in [&mut stream, &mut over_h2] {
        exchange.wire.send_chunk(first);
        exchange.wire.send_chunk(second);
        exchange.wire.send_last_chunk();
    }
    assert_eq!(streaming.whole(), samples::CHAT_STREAM.as_bytes());
    assert_eq!(asked.whole(), samples::CHAT_STREAM.as_bytes());
    assert!(hermux.running(), "an answer is still due");
    held.json(200, samples::CHAT);
    assert_eq!(answer(&mut waiting).body, samples::CHAT.as_bytes());
    assert_eq!(hermux.wait().code(), Some(0));
    // The connections do not wait for another request.
    streaming.wait_closed();
    waiting.wait_closed();
}

#[test]
fn a_request_that_was_accepted_is_not_lost() {
    let upstream = Upstream::answering(chat);
    let hermux = Hermux::start(&upstream);
    let address = hermux.address();
    // Callers that ask one request a connection until the port is closed. Each connection that was made gets its answer.
    let callers: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(move || {
                let mut served = 0;
                while let Ok(stream) = TcpStream::connect(address) {
                    let mut connection = support::Connection::over(stream);
                    if connection.try_send(Request::chat(false).bytes()).is_err() {
                        return (served, None);
                    }
                    match connection.try_head() {
                        Ok(head) if head.status() == 200 => served += 1,
                        other => return (served, Some(format!("{other:?}"))),
                    }
                }
                (served, None)
            })
        })
        .collect();
    eventually("the callers are busy", || (upstream.requests() > 50).then_some(()));
    hermux.signal("TERM");
    assert_eq!(hermux.wait().code(), Some(0));
    let mut answered = 0;
    for caller in callers {
        let (served, lost) = caller.join().unwrap();
        assert_eq!(lost, None, "a connection that was taken got no answer");
        answered += served;
    }
    assert_eq!(answered, upstream.requests());
}

#[test]
fn a_request_that_came_behind_another_is_not_lost() {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    let (mut connection, mut stream) = hermux.open(&Request::chat(true), &upstream);
    stream.begin_stream();
    // It says that the connection stays.
    assert!(!connection.answer().has("connection"));
    connection.send([Request::get("/health").bytes(), Request::get("/health").bytes()].concat());
    hermux.signal("TERM");
    wait_until_closed(&hermux);
    // Until the connections know of it, too.
    std::thread::sleep(Duration::from_millis(500));
    stream.wire.send_chunk(samples::CHAT_STREAM);
    stream.wire.send_last_chunk();
    assert_eq!(connection.whole(), samples::CHAT_STREAM.as_bytes());
    let head = connection.answer();
    assert_eq!((head.status(), head.header("connection")), (200, Some("close")));
    assert_eq!(connection.whole(), b"ok\n");
    assert_eq!(connection.fill(), Got::Fin, "and no more after that was said");
    assert_eq!(hermux.wait().code(), Some(0));
}

#[test]
fn what_outlasts_the_grace_time_is_cut_visibly() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).flag("--grace", "1s").start();
    let (mut streaming, mut stream) = hermux.open(&Request::chat(true), &upstream);
    stream.begin_stream();
    streaming.answer();
    stream.wire.send_chunk("data: {}\n\ndata: half");
    assert_eq!(streaming.bytes(20), b"data: {}\n\ndata: half");
    let mut h2 = H2::open(hermux.address());
    let mut asked = h2.send("POST", "/v1/chat/completions", Some("{}"));
    let mut over_h2 = upstream.next();
    over_h2.begin_stream();
    assert_eq!(asked.head().unwrap().status(), 200);

    hermux.signal("TERM");
    let (rest, end) = streaming.rest();
    assert_eq!(rest, b"");
    assert_ne!(end, End::Complete, "a cut that looks like an end");
    let end = loop {
        match asked.data() {
            Some(Ok(_)) => {}
            other => break other,
        }
    };
    assert!(end.is_some(), "a cut that looks like an end on h2");
    assert_eq!(hermux.wait().code(), Some(0));
    stream.wire.wait_closed();
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let upstream = Upstream::start();
    for signal in ["TERM", "INT"] {
        let hermux = Setup::new(&upstream).flag("--grace", "10m").start();
        let (mut streaming, mut stream) = hermux.open(&Request::chat(true), &upstream);
        stream.begin_stream();
        streaming.answer();
        hermux.signal(signal);
        wait_until_closed(&hermux);
        assert!(hermux.running());
        let start = Instant::now();
        hermux.signal(signal);
        hermux.wait();
        assert!(start.elapsed() < AT_ONCE, "{:?} after the second signal", start.elapsed());
        assert_ne!(streaming.rest().1, End::Complete);
    }
}

#[test]
fn the_ledger_is_complete_when_it_has_ended() {
    let upstream = Upstream::answering(chat);
    let hermux = Hermux::start(&upstream);
    let mut connection = hermux.connect();
    for _ in 0..100 {
        connection.send(Request::chat(false).bytes());
        assert_eq!(answer(&mut connection).status(), 200);
    }
    hermux.signal("TERM");
    assert_eq!(hermux.wait().code(), Some(0));
    let keys = stats(hermux.setup());
    assert_eq!(keys.len(), 1, "{keys:?}");
    assert_eq!((keys[0].requests, keys[0].attempts), (100, 100));
    assert_eq!((keys[0].prompt_tokens, keys[0].completion_tokens), (900, 400));
}

#[test]
fn a_stream_cut_by_the_stop_is_in_the_ledger() {
    let upstream = Upstream::start();
    let hermux = Setup::new(&upstream).flag("--grace", "1s").start();
    let (mut streaming, mut stream) = hermux.open(&Request::chat(true), &upstream);
    stream.begin_stream();
    let usage_end = samples::CHAT_STREAM.find("data: [DONE]").expect("it stands there");
    stream.wire.send_chunk(&samples::CHAT_STREAM[..usage_end]);
    streaming.answer();
    streaming.bytes(usage_end);
    hermux.signal("TERM");
    assert_eq!(hermux.wait().code(), Some(0));
    let keys = stats(hermux.setup());
    assert_eq!((keys[0].requests, keys[0].prompt_tokens, keys[0].completion_tokens), (1, 9, 4));
}

#[test]
fn the_service_manager_is_told() {
    let upstream = Upstream::answering(chat);
    let setup = Setup::new(&upstream);
    let path = setup.directory().join("notify");
    let socket = UnixDatagram::bind(&path).expect("the path is free");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket takes options");
    let hermux = setup.variable("NOTIFY_SOCKET", path.to_str().expect("a plain path")).start();
    let wait_for = |wanted: &str| {
        let mut buffer = [0; 4096];
        loop {
            let length = socket.recv(&mut buffer).unwrap_or_else(|_| panic!("{wanted} never came"));
            if String::from_utf8_lossy(&buffer[..length]).lines().any(|line| line == wanted) {
                return;
            }
        }
    };
    wait_for("READY=1");
    assert_eq!(hermux.ask(&Request::chat(false)).status(), 200);
    hermux.signal("TERM");
    wait_for("STOPPING=1");
    assert_eq!(hermux.wait().code(), Some(0));
}

#[test]
fn a_taken_port_is_an_error_whoever_has_it() {
    let upstream = Upstream::answering(chat);
    let hermux = Hermux::start(&upstream);
    assert_eq!(hermux.ask(&Request::chat(false)).status(), 200);
    let other = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    for port in [hermux.address().port(), other.local_addr().expect("it is bound").port()] {
        let (status, said) = Setup::new(&upstream).port(port).start_in_vain();
        assert!(!status.success());
        assert!(said.contains(&port.to_string()), "{said}");
        assert!(!said.contains("ready:"), "{said}");
    }
    assert_eq!(hermux.ask(&Request::chat(false)).status(), 200, "the first one goes on");
}

#[test]
fn a_port_is_free_again_after_a_stop() {
    let upstream = Upstream::answering(chat);
    let hermux = Hermux::start(&upstream);
    let port = hermux.address().port();
    let mut kept = hermux.connect();
    kept.send(Request::chat(false).bytes());
    assert_eq!(answer(&mut kept).status(), 200);
    hermux.signal("TERM");
    assert_eq!(hermux.wait().code(), Some(0));
    // Also while connections of the first one linger in the system.
    let next = Setup::new(&upstream).port(port).start();
    assert_eq!(next.ask(&Request::chat(false)).status(), 200);
}

#[test]
fn what_waits_in_the_backlog_when_the_stop_comes_is_served() {
    let upstream = Upstream::never_called();
    let hermux = Hermux::start(&upstream);
    // While it sleeps, the kernel completes more connections than one turn of its accepting takes.
    hermux.signal("STOP");
    let mut waiting: Vec<_> = (0..300)
        .map(|_| {
            let mut connection = hermux.connect();
            connection.send(Request::get("/health").bytes());
            connection
        })
        .collect();
    hermux.signal("TERM");
    hermux.signal("CONT");
    for connection in &mut waiting {
        assert_eq!(answer(connection).status(), 200);
    }
    assert_eq!(hermux.wait().code(), Some(0));
}

#[test]
fn an_idle_http2_connection_does_not_use_up_the_grace_time() {
    let upstream = Upstream::never_called();
    let hermux = Setup::new(&upstream).flag("--grace", "60s").start();
    let mut silent = hermux.connect();
    silent.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00");
    // Its settings are here, so it is served; it never acknowledges anything.
    assert_eq!(silent.fill(), Got::Bytes);
    let asked = Instant::now();
    hermux.signal("TERM");
    assert_eq!(hermux.wait().code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", asked.elapsed());
}
