//! A scripted upstream over raw TCP: the test reads each request and writes each byte of the answer itself,
//! so that it can pause, split, stall, cut and garble wherever it likes.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::PATIENCE;
use super::wire::{Connection, Head};

/// One request that reached upstream, and the connection to answer it on. Dropping it closes the connection.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// The request's head.
    pub(crate) head: Head,
    /// The connection: the request's body can be read from it, the answer is written to it.
    pub(crate) wire: Connection,
    /// Which connection this is, counted from 1.
    pub(crate) connection: usize,
    shared: Arc<Shared>,
}

impl Exchange {
    /// The request's body, which must be complete.
    pub(crate) fn body(&mut self) -> Vec<u8> {
        self.wire.whole()
    }

    /// The request's body as text.
    pub(crate) fn text(&mut self) -> String {
        String::from_utf8(self.body()).expect("the request's body is text")
    }

    /// The key that the request carries, without `Bearer `.
    pub(crate) fn key(&self) -> &str {
        let value = self.head.header("authorization").expect("every request upstream carries a key");
        value.strip_prefix("Bearer ").expect("a key goes as a bearer")
    }

    /// Answers with JSON and keeps the connection for the next request.
    pub(crate) fn json(mut self, status: u16, body: &str) {
        self.body();
        let length = body.len();
        self.wire.send(format!(
            "HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        ));
        self.keep();
    }

    /// Reads the request's body, then begins an event stream: the head of a chunked answer.
    pub(crate) fn begin_stream(&mut self) {
        self.body();
        self.wire
            .send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
    }

    /// Waits for the next request on this connection, which comes out of [`Upstream::next`].
    pub(crate) fn keep(self) {
        let Self { wire, connection, shared, .. } = self;
        thread::spawn(move || shared.wait_for_request(wire, connection));
    }
}

#[derive(Debug)]
struct Shared {
    arrivals: Sender<Exchange>,
    requests: AtomicUsize,
    connections: AtomicUsize,
    closed: AtomicUsize,
    stopped: AtomicBool,
}

impl Shared {
    fn wait_for_request(self: Arc<Self>, mut wire: Connection, connection: usize) {
        // A kept connection may idle for longer than a test waits: only what ends the test ends this wait.
        let mut first = [0];
        wire.stream().set_read_timeout(None).expect("a TCP socket takes options");
        let waiting = !wire.unread().is_empty() || wire.stream().peek(&mut first).is_ok_and(|read| read > 0);
        match waiting.then(|| wire.try_request()) {
            Some(Ok(head)) => {
                self.requests.fetch_add(1, Ordering::SeqCst);
                let arrivals = self.arrivals.clone();
                // The test may be over; then nobody wants it.
                arrivals.send(Exchange { head, wire, connection, shared: self }).ok();
            }
            _ => {
                self.closed.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}

/// What upstream must have seen when the test ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Something,
    Nothing,
}

/// The scripted upstream. It fails the test when it was never called, or was called though it must not be.
#[derive(Debug)]
pub(crate) struct Upstream {
    address: SocketAddr,
    arrivals: Mutex<Receiver<Exchange>>,
    shared: Arc<Shared>,
    expected: Expected,
}

impl Upstream {
    /// An upstream that the test answers by hand, request by request.
    pub(crate) fn start() -> Self {
        Self::listen(TcpListener::bind("127.0.0.1:0").expect("loopback has a free port"), Expected::Something)
    }

    /// An upstream on `listener`.
    pub(crate) fn on(listener: TcpListener) -> Self {
        Self::listen(listener, Expected::Something)
    }

    /// An upstream that no request may reach. One that does is answered with 599, so that the test sees which it was.
    pub(crate) fn never_called() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        Self::listen(listener, Expected::Nothing).answer(|exchange| exchange.json(599, "{}"))
    }

    /// An upstream that answers each request by `answer`, in a thread of its own.
    pub(crate) fn answering(answer: impl Fn(Exchange) + Send + Sync + 'static) -> Self {
        Self::start().answer(answer)
    }

    /// From now on each request is answered by `answer`, in a thread of its own.
    pub(crate) fn answer(mut self, answer: impl Fn(Exchange) + Send + Sync + 'static) -> Self {
        let arrivals = std::mem::replace(&mut self.arrivals, Mutex::new(mpsc::channel().1));
        let answer = Arc::new(answer);
        thread::spawn(move || {
            let arrivals = arrivals.into_inner().expect("nobody else holds it");
            while let Ok(exchange) = arrivals.recv() {
                let answer = Arc::clone(&answer);
                thread::spawn(move || answer(exchange));
            }
        });
        self
    }

    fn listen(listener: TcpListener, expected: Expected) -> Self {
        let (arrivals, receiver) = mpsc::channel();
        let shared = Arc::new(Shared {
            arrivals,
            requests: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            closed: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        });
        let address = listener.local_addr().expect("it is bound");
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepting.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let connection = accepting.connections.fetch_add(1, Ordering::SeqCst) + 1;
                let shared = Arc::clone(&accepting);
                thread::spawn(move || shared.wait_for_request(Connection::over(stream), connection));
            }
        });
        Self { address, arrivals: Mutex::new(receiver), shared, expected }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What `--upstream` takes.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/api/v1", self.address)
    }

    /// The next request, on whichever connection. Fails the test when none comes.
    pub(crate) fn next(&self) -> Exchange {
        self.next_within(PATIENCE).unwrap_or_else(|| panic!("upstream was not called in {PATIENCE:?}"))
    }

    /// The next request, when one comes within `patience`.
    pub(crate) fn next_within(&self, patience: Duration) -> Option<Exchange> {
        match self.arrivals.lock().expect("no test panics while it waits").recv_timeout(patience) {
            Ok(exchange) => Some(exchange),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("this upstream answers by itself"),
        }
    }

    /// How many requests came so far.
    pub(crate) fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// How many connections were opened so far.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How many connections were closed while they waited for a request.
    pub(crate) fn closed_while_idle(&self) -> usize {
        self.shared.closed.load(Ordering::SeqCst)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        TcpStream::connect(self.address).ok();
        if !thread::panicking() {
            let called = self.requests() > 0;
            assert_eq!(called, self.expected == Expected::Something, "whether upstream was called");
        }
    }
}
