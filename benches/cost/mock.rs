//! A fast upstream: answers rendered beforehand, one thread around epoll, next to no parsing.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use memchr::memmem;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use socket2::{Domain, Socket, Type};

/// The prompt, by which the mock also tells what to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// One JSON answer of 1 kB.
    Json,
    /// One chunk at once, then nothing until [`Mock::play`] lets all open streams run to their end.
    Stream,
}

impl Ask {
    /// The body of the request, 240 bytes.
    pub(crate) fn body(self) -> String {
        let (model, stream) = match self {
            Self::Json => ("bench/json", false),
            Self::Stream => ("bench/stream", true),
        };
        let body = |text: &str| {
            format!(
                r#"{{"model":"{model}","stream":{stream},"messages":[{{"role":"user","content":"{text}"}}]}}"#
            )
        };
        let missing = 240 - body("").len();
        body(&"tell me more ".repeat(20)[..missing])
    }
}

/// How long one stream waits between two of its chunks.
const BETWEEN_CHUNKS: u32 = 25;

const JSON_HEAD: &str = "HTTP/1.1 200 OK\r\n\
    Date: Sun, 22 Nov 2026 12:00:00 GMT\r\n\
    Content-Type: application/json\r\n\
    Connection: keep-alive\r\n\
    X-Generation-Id: gen-1795348800-AbCdEfGhIjKlMnOpQrSt\r\n\
    Access-Control-Allow-Origin: *\r\n\
    Server: cloudflare\r\n\
    CF-RAY: 9a0b1c2d3e4f5a6b-FRA\r\n";

/// What the mock sends, rendered once.
#[derive(Debug)]
struct Answers {
    json: Vec<u8>,
    first: Vec<u8>,
    chunk: Vec<u8>,
    usage: Vec<u8>,
    last: Vec<u8>,
}

impl Answers {
    fn render() -> Self {
        let usage = r#""usage":{"prompt_tokens":57,"completion_tokens":120,"total_tokens":177,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0},"cost":0.000114,"is_byok":false,"cost_details":{"upstream_inference_cost":null}}"#;
        let id = r#""id":"gen-1795348800-AbCdEfGhIjKlMnOpQrSt","provider":"Mock","model":"bench/json","created":1795348800"#;
        let json = |text: &str| {
            format!(
                r#"{{{id},"object":"chat.completion","choices":[{{"logprobs":null,"finish_reason":"stop","native_finish_reason":"stop","index":0,"message":{{"role":"assistant","content":"{text}","refusal":null,"reasoning":null}}}}],"system_fingerprint":null,{usage}}}"#
            )
        };
        let missing = 1_024 - json("").len();
        let json = json(&"some words of an answer ".repeat(50)[..missing]);
        let frame = |data: &str| format!("{:x}\r\ndata: {data}\n\n\r\n", data.len() + 8);
        let delta = |text: &str| {
            format!(
                r#"{{{id},"object":"chat.completion.chunk","choices":[{{"index":0,"delta":{{"role":"assistant","content":"{text}"}},"finish_reason":null,"native_finish_reason":null,"logprobs":null}}],"system_fingerprint":null}}"#
            )
        };
        let chunk = frame(&delta(" and a few words"));
        let head = JSON_HEAD.replace("application/json", "text/event-stream");
        Self {
            json: format!("{JSON_HEAD}Content-Length: {}\r\n\r\n{json}", json.len()).into(),
            first: format!("{head}Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}")
                .into(),
            chunk: chunk.into(),
            usage: frame(&format!(r#"{{{id},"object":"chat.completion.chunk","choices":[],{usage}}}"#))
                .into(),
            last: format!("{}0\r\n\r\n", frame("[DONE]")).into(),
        }
    }
}

/// A running mock; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Mock {
    pub(crate) port: u16,
    orders: Arc<Orders>,
    waker: Waker,
    thread: Option<JoinHandle<io::Result<()>>>,
}

#[derive(Debug, Default)]
struct Orders {
    play: AtomicBool,
    stop: AtomicBool,
}

impl Mock {
    /// Opens a port on loopback; a stream runs over `chunks` chunks, one with usage, and `[DONE]`.
    pub(crate) fn start(chunks: u32) -> io::Result<Self> {
        // A queue that holds all streams: a dropped SYN would cost whoever sent it a second.
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        listener.listen(4_096)?;
        listener.set_nonblocking(true)?;
        let mut listener = TcpListener::from_std(listener.into());
        let port = listener.local_addr()?.port();
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let orders = Arc::new(Orders::default());
        let mut server = Server {
            poll,
            listener,
            orders: Arc::clone(&orders),
            answers: Answers::render(),
            connections: Vec::new(),
            free: Vec::new(),
            streams: Vec::new(),
            chunks,
        };
        let thread = std::thread::Builder::new().name("mock".to_owned()).spawn(move || server.run())?;
        Ok(Self { port, orders, waker, thread: Some(thread) })
    }

    /// Lets the streams that are open now run to their end.
    pub(crate) fn play(&self) -> io::Result<()> {
        self.orders.play.store(true, Ordering::SeqCst);
        self.waker.wake()
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.orders.stop.store(true, Ordering::SeqCst);
        if self.waker.wake().is_ok()
            && let Some(thread) = self.thread.take()
        {
            // Its failure has shown itself at the other end of the connections.
            let _ = thread.join();
        }
    }
}

const GONE: usize = usize::MAX;
const LISTENER: Token = Token(usize::MAX - 1);
const WAKE: Token = Token(usize::MAX - 2);

struct Server {
    poll: Poll,
    listener: TcpListener,
    orders: Arc<Orders>,
    answers: Answers,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// The connections that wait in the middle of a stream; [`GONE`] where one was closed, so that the turns
    /// of the others stay as they are.
    streams: Vec<usize>,
    chunks: u32,
}

struct Connection {
    socket: TcpStream,
    /// The beginning of a request whose rest is still to come.
    begun: Vec<u8>,
}

/// The streams on their way: when they began to run, and how many steps are done. Each millisecond one
/// step: one stream in [`BETWEEN_CHUNKS`] gets its next chunk, so that they never run in one burst.
struct Playing {
    since: Instant,
    steps: u32,
}

impl Server {
    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1_024);
        let mut scratch = vec![0; 64 << 10];
        let mut playing: Option<Playing> = None;
        loop {
            let wait = playing.as_ref().map(|playing| {
                let next = playing.since + Duration::from_millis(u64::from(playing.steps));
                next.saturating_duration_since(Instant::now())
            });
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            if self.orders.stop.load(Ordering::SeqCst) {
                return Ok(());
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    WAKE => {}
                    Token(at) => self.serve(at, &mut scratch),
                }
            }
            if playing.is_none() && self.orders.play.swap(false, Ordering::SeqCst) {
                self.streams.retain(|&stream| stream != GONE);
                playing = Some(Playing { since: Instant::now(), steps: 0 });
            }
            if let Some(at) = &mut playing {
                while at.since + Duration::from_millis(u64::from(at.steps)) <= Instant::now() {
                    self.step(at.steps);
                    at.steps += 1;
                }
                if at.steps >= (self.chunks + 2) * BETWEEN_CHUNKS {
                    self.streams.clear();
                    playing = None;
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            socket.set_nodelay(true)?;
            let at = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            self.poll.registry().register(&mut socket, Token(at), Interest::READABLE)?;
            self.connections[at] = Some(Connection { socket, begun: Vec::new() });
        }
    }

    /// Reads what came and answers each whole request in it; closes a connection that ended or failed.
    fn serve(&mut self, at: usize, scratch: &mut [u8]) {
        let Some(connection) = &mut self.connections[at] else { return };
        let open = loop {
            match connection.socket.read(scratch) {
                Ok(0) => break false,
                Ok(count) => {
                    connection.begun.extend_from_slice(&scratch[..count]);
                    while let Some(length) = whole_request(&connection.begun) {
                        let stream = memmem::find(&connection.begun[..length], b"bench/stream").is_some();
                        connection.begun.drain(..length);
                        let answer = if stream { &self.answers.first } else { &self.answers.json };
                        if connection.socket.write(answer).ok() != Some(answer.len()) {
                            break;
                        }
                        if stream {
                            self.streams.push(at);
                        }
                    }
                    // A short read emptied the socket; what comes later makes a new event.
                    if count < scratch.len() {
                        break true;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break true,
                Err(_) => break false,
            }
        };
        if !open {
            self.close(at);
        }
    }

    fn step(&mut self, step: u32) {
        let turn = (step % BETWEEN_CHUNKS) as usize;
        let answer = match step / BETWEEN_CHUNKS {
            round if round < self.chunks => &self.answers.chunk,
            round if round == self.chunks => &self.answers.usage,
            round if round == self.chunks + 1 => &self.answers.last,
            _ => return,
        };
        let mut failed = Vec::new();
        for &at in self.streams.iter().skip(turn).step_by(BETWEEN_CHUNKS as usize) {
            let Some(Some(connection)) = self.connections.get_mut(at) else { continue };
            if connection.socket.write(answer).ok() != Some(answer.len()) {
                failed.push(at);
            }
        }
        for at in failed {
            self.close(at);
        }
    }

    fn close(&mut self, at: usize) {
        if self.connections[at].take().is_some() {
            for stream in self.streams.iter_mut().filter(|stream| **stream == at) {
                *stream = GONE;
            }
            self.free.push(at);
        }
    }
}

/// The length of the request at the front of `bytes`, once all of it is there.
fn whole_request(bytes: &[u8]) -> Option<usize> {
    let head = memmem::find(bytes, b"\r\n\r\n")? + 4;
    match length_of(&bytes[..head]) {
        Some(length) => (bytes.len() >= head + length).then_some(head + length),
        None if memmem::find(&bytes[..head], b"hunked").is_some() => {
            memmem::find(&bytes[head - 2..], b"\r\n0\r\n\r\n").map(|at| head - 2 + at + 7)
        }
        None => Some(head),
    }
}

/// The value of `Content-Length` in a head.
pub(crate) fn length_of(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    let line = head
        .split(|&byte| byte == b'\n')
        .find(|line| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)))?;
    std::str::from_utf8(&line[NAME.len()..]).ok()?.trim().parse().ok()
}
