//! Scripted servers on threads, and short forms of what tests ask of the client.

use std::future::Future;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use hermux::upstream::{
    Answer, AnswerBody, BodyError, Connection, Connector, Head, Origin, Outgoing, SendError, Settings,
    Upstream,
};
use http::{HeaderMap, Method};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::sync::mpsc;

/// No test and no server waits longer for anything.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Runs a test as a worker runs: on a local runtime.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .unwrap();
    runtime.block_on(async { tokio::time::timeout(LIMIT, test).await.expect("the test takes too long") })
}

/// A server on a port of its own.
pub(crate) struct Server<T> {
    pub(crate) address: SocketAddr,
    script: JoinHandle<T>,
}

impl<T: Send + 'static> Server<T> {
    /// Runs `script` with a listener.
    pub(crate) fn new(script: impl FnOnce(Line) -> T + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        Self { address, script: std::thread::spawn(move || script(Line { listener })) }
    }

    /// What the script returned; its panics are the test's.
    pub(crate) fn join(self) -> T {
        self.script.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    pub(crate) fn upstream(&self) -> Upstream {
        upstream(settings(self.address))
    }
}

/// Answers each request on one connection with the next of `answers`, then closes it in order.
pub(crate) fn answering(answers: &[&str]) -> Server<Vec<String>> {
    let answers: Vec<String> = answers.iter().map(|&answer| answer.to_owned()).collect();
    Server::new(move |line| {
        let mut peer = line.accept();
        let mut heads = Vec::new();
        for answer in answers {
            heads.push(peer.head());
            peer.send(&answer);
        }
        heads
    })
}

/// What a script listens on.
pub(crate) struct Line {
    listener: TcpListener,
}

impl Line {
    pub(crate) fn accept(&self) -> Peer {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        Peer { stream }
    }
}

/// A connection as a script sees it.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
}

impl Peer {
    /// Reads the head of a request, byte by byte so that nothing behind it is taken.
    pub(crate) fn head(&mut self) -> String {
        self.until("\r\n\r\n")
    }

    /// Reads up to and including `end`.
    pub(crate) fn until(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            read.extend_from_slice(&self.exactly(1));
        }
        String::from_utf8(read).unwrap()
    }

    pub(crate) fn exactly(&mut self, count: usize) -> Vec<u8> {
        let mut read = vec![0; count];
        self.stream.read_exact(&mut read).unwrap();
        read
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    /// Reads to the end of the connection, whichever way it ends.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return all,
                Ok(read) => all.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return all,
                Err(error) => panic!("the connection did not end: {error}"),
            }
        }
    }

    /// Ends the connection by RST.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

pub(crate) fn origin(address: SocketAddr) -> Origin {
    Origin { tls: false, host: address.ip().to_string(), port: address.port() }
}

pub(crate) fn settings(address: SocketAddr) -> Settings {
    Settings {
        origin: origin(address),
        connect_timeout: LIMIT,
        first_byte_timeout: LIMIT,
        idle_timeout: LIMIT,
        ca_file: None,
        proxy: None,
    }
}

pub(crate) fn upstream(settings: Settings) -> Upstream {
    Upstream::new(Arc::new(Connector::new(settings).unwrap()))
}

/// A request without headers.
pub(crate) async fn ask<B>(
    upstream: &Upstream,
    method: &Method,
    body: Outgoing<B>,
    connection: Connection,
) -> Result<Answer, SendError>
where
    B: Body<Data = Bytes> + Unpin + 'static,
{
    let head = Head { method, target: "/x", headers: std::iter::empty() };
    upstream.send(head, body, connection).await
}

pub(crate) async fn get(upstream: &Upstream) -> Result<Answer, SendError> {
    ask::<Feed>(upstream, &Method::GET, Outgoing::Empty, Connection::Any).await
}

pub(crate) async fn post_stream(
    upstream: &Upstream,
    body: Feed,
    length: Option<u64>,
) -> Result<Answer, SendError> {
    ask(upstream, &Method::POST, Outgoing::Stream(body, length), Connection::Any).await
}

/// A body's data, its trailers, and how it broke.
pub(crate) async fn read(mut body: AnswerBody) -> (Vec<u8>, Option<HeaderMap>, Option<BodyError>) {
    let mut data = Vec::new();
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        match frame.map(Frame::into_data) {
            Ok(Ok(some)) => data.extend_from_slice(&some),
            Ok(Err(frame)) => trailers = frame.into_trailers().ok(),
            Err(error) => return (data, trailers, Some(error)),
        }
    }
    (data, trailers, None)
}

/// All of a body that has to be whole.
pub(crate) async fn whole(body: AnswerBody) -> String {
    let (data, _, error) = read(body).await;
    assert!(error.is_none(), "{error:?} after {}", data.escape_ascii());
    String::from_utf8(data).unwrap()
}

/// A request's body that a test feeds.
pub(crate) struct Feed(mpsc::Receiver<Result<Frame<Bytes>, ()>>);

/// What a test feeds a body with.
#[derive(Clone)]
pub(crate) struct Feeder(mpsc::Sender<Result<Frame<Bytes>, ()>>);

pub(crate) fn feed() -> (Feeder, Feed) {
    let (sender, receiver) = mpsc::channel(1);
    (Feeder(sender), Feed(receiver))
}

impl Feeder {
    pub(crate) async fn data(&self, data: impl Into<Bytes>) {
        self.0.send(Ok(Frame::data(data.into()))).await.expect("the body is still read");
    }

    pub(crate) async fn trailers(&self, trailers: HeaderMap) {
        self.0.send(Ok(Frame::trailers(trailers))).await.expect("the body is still read");
    }

    pub(crate) async fn fail(&self) {
        self.0.send(Err(())).await.expect("the body is still read");
    }

    /// Feeds zeros until nobody reads them any more.
    pub(crate) async fn zeros(&self) {
        while self.0.send(Ok(Frame::data(Bytes::from_static(&[0; 8192])))).await.is_ok() {}
    }
}

impl Body for Feed {
    type Data = Bytes;
    type Error = ();

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ()>>> {
        self.get_mut().0.poll_recv(cx)
    }
}
