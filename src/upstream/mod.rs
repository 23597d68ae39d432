//! The HTTP client towards `OpenRouter`: connections, TLS, timeouts. It knows bytes, not meaning.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body::Body;

/// Where upstream is and how long to wait for it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Scheme, host and port; nothing of a request can change it.
    pub origin: Origin,
    /// For resolving, connecting and the TLS handshake together.
    pub connect_timeout: Duration,
    /// From the last byte of the request (or of its upload's progress) to the head of the answer.
    pub first_byte_timeout: Duration,
    /// Between two bytes of an answer.
    pub idle_timeout: Duration,
    /// More roots to trust, as PEM, besides the system's.
    pub ca_file: Option<PathBuf>,
    /// An HTTP proxy to go through by CONNECT: its host and port.
    pub proxy: Option<Origin>,
}

/// Scheme, host and port of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Whether to speak TLS.
    pub tls: bool,
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// What all workers share: settings, TLS configuration, resolved addresses.
#[derive(Debug)]
pub struct Connector {
    settings: Settings,
}

impl Connector {
    /// Prepares TLS (system roots, bundled ones when there are none, plus `ca_file`); opens nothing.
    pub fn new(settings: Settings) -> Result<Self, SetupError> {
        Ok(Self { settings })
    }
}

/// Why TLS could not be prepared; names the file and the cure.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SetupError(pub String);

/// One worker's connections to upstream. Clones share them; it stays on its thread.
#[derive(Clone, Debug)]
pub struct Upstream {
    connector: Rc<Arc<Connector>>,
}

/// Whether a kept-alive connection may serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// A kept-alive one where there is one, else a new one.
    Any,
    /// A new one.
    Fresh,
}

/// The head of a request. `target` is path and query as they go on the wire. `headers` have no
/// hop-by-hop fields, no Host and no Content-Length: framing is this module's.
#[derive(Clone, Debug)]
pub struct Head<'a, H> {
    /// The method.
    pub method: &'a Method,
    /// Path and query.
    pub target: &'a str,
    /// Name and value of each header, in order.
    pub headers: H,
}

/// The body of a request.
#[derive(Debug)]
pub enum Outgoing<B> {
    /// None at all: no Content-Length is sent.
    Empty,
    /// All of it.
    Full(Bytes),
    /// As it comes, with backpressure; framed by its length where that is known, else chunked.
    Stream(B, Option<u64>),
}

/// An answer, as soon as its head is here.
#[derive(Debug)]
pub struct Answer {
    /// The status; the reason phrase is not kept.
    pub status: StatusCode,
    /// All headers as they came.
    pub headers: HeaderMap,
    /// The body; dropping it before its end closes the connection and so cancels the exchange.
    pub body: AnswerBody,
}

/// The body of an answer: `http_body::Body` with exact `size_hint` and `is_end_stream` where known.
#[derive(Debug)]
pub struct AnswerBody {}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        std::task::Poll::Ready(None)
    }
}

/// Why the body of an answer broke off.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The connection ended before the body did.
    #[error("upstream closed the connection in the middle of its answer")]
    Cut,
    /// No byte for `idle_timeout`.
    #[error("upstream fell silent in the middle of its answer")]
    Silent,
    /// Not HTTP.
    #[error("upstream's answer is not valid HTTP: {0}")]
    Garbled(&'static str),
}

/// Why there is no answer. The texts are for callers and logs: no secrets, no addresses of ours.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// A reused connection died before any byte of an answer: worth one more try on a fresh one.
    #[error("upstream closed a kept-alive connection")]
    Stale,
    /// The name did not resolve.
    #[error("upstream's name could not be resolved")]
    Resolve,
    /// No address took the connection.
    #[error("upstream refused the connection")]
    Connect,
    /// The TLS handshake failed.
    #[error("TLS with upstream failed: {0}")]
    Tls(String),
    /// The configured proxy refused or failed.
    #[error("the upstream proxy failed: {0}")]
    Proxy(String),
    /// Connecting took longer than `connect_timeout`.
    #[error("connecting to upstream took too long")]
    ConnectTimeout,
    /// No head of an answer within `first_byte_timeout`.
    #[error("upstream did not answer in time")]
    FirstByteTimeout,
    /// The connection ended before the head was complete.
    #[error("upstream closed the connection without an answer")]
    Closed,
    /// Not HTTP, or more of it than is bounded.
    #[error("upstream's answer is not valid HTTP: {0}")]
    Garbled(&'static str),
    /// The request's own body failed: the caller broke off.
    #[error("the request's body broke off")]
    RequestBody,
}

impl Upstream {
    /// A worker's own connections.
    #[must_use]
    pub fn new(connector: Arc<Connector>) -> Self {
        Self { connector: Rc::new(connector) }
    }

    /// Sends one request and waits for the head of its answer. Dropping the future cancels it.
    pub async fn send<'a, H, B>(
        &self,
        head: Head<'a, H>,
        body: Outgoing<B>,
        connection: Connection,
    ) -> Result<Answer, SendError>
    where
        H: Iterator<Item = (&'a [u8], &'a [u8])>,
        B: Body<Data = Bytes> + Unpin + 'static,
    {
        let _ = (head.method, body, connection, &self.connector.settings);
        Err(SendError::Connect)
    }
}
