//! The HTTP client towards `OpenRouter`: connections, TLS, timeouts. It knows bytes, not meaning.
//!
//! A worker has one [`Upstream`]; all of it stays on the worker's thread, so nothing here is locked or handed
//! to another task. One request on a kept-alive connection costs one write and, where the answer is small, one
//! read; a caller that goes away drops the future or the body, and with it the connection.
//!
//! Bounds: an answer's head has at most 64 KiB and 100 fields, its trailers 16 KiB and 100 fields, the
//! extensions of a chunk 4 KiB.

mod body;
mod conn;
mod dial;
mod exchange;
mod head;
mod pool;
mod timer;
mod tls;
mod upload;

use std::fmt;
use std::future::poll_fn;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body::Body;

pub use body::AnswerBody;
pub use dial::Resolving;
pub use tls::provider;

/// How long a connection rests before it is closed: below the 60 s after which many servers close theirs.
const IDLE_LIMIT: Duration = Duration::from_secs(55);

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

impl Origin {
    /// The host as it stands in a URL.
    fn host_in_url(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }

    /// Host and port.
    fn authority_with_port(&self) -> String {
        format!("{}:{}", self.host_in_url(), self.port)
    }

    /// Host, and port unless it is the scheme's own.
    fn authority(&self) -> String {
        if self.port == if self.tls { 443 } else { 80 } {
            self.host_in_url()
        } else {
            self.authority_with_port()
        }
    }

    fn check(&self) -> Result<(), SetupError> {
        let fine = |c: char| c.is_ascii_graphic() && !"/?#@[]\\".contains(c);
        if !self.host.is_empty() && self.host.chars().all(fine) {
            return Ok(());
        }
        Err(SetupError(format!("this is neither a host name nor an IP address: {:?}", self.host)))
    }
}

/// What all workers share: settings, TLS configuration, resolved addresses.
pub struct Connector {
    settings: Settings,
    resolver: dial::Resolver,
    tls: Option<dial::Tls>,
    /// What follows the target in each request.
    host_line: Vec<u8>,
    idle_limit: Duration,
    tick: Duration,
}

impl Connector {
    /// Prepares TLS (system roots or those `SSL_CERT_FILE` and `SSL_CERT_DIR` name, bundled ones when there are
    /// none, plus `ca_file`); opens nothing.
    pub fn new(settings: Settings) -> Result<Self, SetupError> {
        settings.origin.check()?;
        if let Some(proxy) = &settings.proxy {
            proxy.check()?;
            if proxy.tls {
                return Err(SetupError(format!(
                    "a proxy is spoken to without TLS: {}\nhint: inside the tunnel upstream's own TLS is untouched",
                    proxy.host
                )));
            }
        }
        let origin = &settings.origin;
        let ca_file = settings.ca_file.as_deref();
        let tls = if origin.tls { Some(dial::Tls::new(origin, ca_file)?) } else { None };
        if let (None, Some(path)) = (&tls, ca_file) {
            // Of no use here, but what is wrong with it would show only when upstream is another one.
            tls::check_file(path)?;
        }
        Ok(Self {
            host_line: format!(" HTTP/1.1\r\nhost: {}\r\n", origin.authority()).into_bytes(),
            tls,
            resolver: dial::Resolver::system(),
            idle_limit: IDLE_LIMIT,
            tick: Self::tick(&settings, IDLE_LIMIT),
            settings,
        })
    }

    /// The TLS configuration of its connections, for another client that asks the same upstream; one that trusts nobody
    /// where upstream is spoken to without TLS.
    pub fn tls_config(&self) -> Result<rustls::ClientConfig, SetupError> {
        self.tls.as_ref().map_or_else(tls::nobody, |tls| Ok(tls.config().clone()))
    }

    fn tick(settings: &Settings, idle_limit: Duration) -> Duration {
        timer::tick_for(settings.first_byte_timeout.min(settings.idle_timeout).min(idle_limit))
    }

    /// Asks `resolve` for the addresses of a host and port instead of the system. Its answers are kept for 10 s.
    #[must_use]
    pub fn with_resolver(mut self, resolve: impl Fn(&str, u16) -> Resolving + Send + Sync + 'static) -> Self {
        self.resolver = dial::Resolver::new(resolve);
        self
    }

    /// Closes connections at rest after `limit` instead of 55 s.
    #[must_use]
    pub fn with_idle_limit(mut self, limit: Duration) -> Self {
        self.idle_limit = limit;
        self.tick = Self::tick(&self.settings, limit);
        self
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Why upstream could not be prepared; names what is wrong and, where there is one, the cure.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SetupError(pub String);

/// One worker's connections to upstream. Clones share them; it stays on its thread, and that thread runs a
/// `tokio::runtime::LocalRuntime` or a `LocalSet`.
#[derive(Clone)]
pub struct Upstream {
    worker: Rc<pool::Worker>,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("idle_connections", &self.idle_connections()).finish_non_exhaustive()
    }
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
/// hop-by-hop fields, no Host and no Content-Length: framing is this module's. Target, names and values are
/// written as they are and must be valid there, as those of `http`'s types are.
#[derive(Clone)]
pub struct Head<'a, H> {
    /// The method.
    pub method: &'a Method,
    /// Path and query.
    pub target: &'a str,
    /// Name and value of each header, in order.
    pub headers: H,
}

impl<H> fmt::Debug for Head<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head")
            .field("method", self.method)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// The body of a request.
pub enum Outgoing<B> {
    /// None at all: no Content-Length is sent, except the 0 that POST, PUT and PATCH are expected to have.
    Empty,
    /// All of it.
    Full(Bytes),
    /// As it comes, with backpressure; framed by its length where that is known, else chunked. A body that
    /// fails, or is not as long as announced, closes the connection: it never arrives as complete.
    Stream(B, Option<u64>),
}

impl<B> fmt::Debug for Outgoing<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Full(bytes) => write!(f, "Full({} bytes)", bytes.len()),
            Self::Stream(_, Some(length)) => write!(f, "Stream({length} bytes)"),
            Self::Stream(_, None) => f.write_str("Stream"),
        }
    }
}

/// An answer, as soon as its head is here. Interim answers (1xx) are not told.
pub struct Answer {
    /// The status; the reason phrase is not kept.
    pub status: StatusCode,
    /// All headers as they came.
    pub headers: HeaderMap,
    /// The body; dropping it before its end closes the connection and so cancels the exchange.
    pub body: AnswerBody,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.keys().collect();
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("headers", &names)
            .field("body", &self.body)
            .finish()
    }
}

/// Why the body of an answer broke off.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The connection ended before the body did.
    #[error("upstream closed the connection in the middle of its answer")]
    Cut,
    /// The request's own body failed while its answer came already: the caller broke off.
    #[error("the request's body broke off")]
    RequestBody,
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
    /// The connection ended before any byte of an answer.
    #[error("upstream closed the connection without an answer")]
    Closed,
    /// The connection ended in the head of the answer, or behind an interim one.
    #[error("upstream closed the connection at the beginning of its answer")]
    CutShort,
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
        Self { worker: Rc::new(pool::Worker::new(connector)) }
    }

    /// Upstream's host, and its port where that is not the scheme's own.
    #[must_use]
    pub fn authority(&self) -> String {
        self.worker.connector.settings.origin.authority()
    }

    /// How many kept-alive connections are at rest.
    #[must_use]
    pub fn idle_connections(&self) -> usize {
        self.worker.idle()
    }

    /// Takes a map of headers that is of no more use, so that an answer's head can be read into it.
    pub fn spare(&self, headers: HeaderMap) {
        self.worker.spare.borrow_mut().keep(headers);
    }

    /// Sends one request and waits for the head of its answer. Dropping the future cancels it.
    ///
    /// A streamed body is sent on while the answer is read, also after this has returned: the answer's body
    /// drives both.
    ///
    /// # Panics
    ///
    /// When it has to open a connection outside of a `LocalRuntime` or `LocalSet`.
    #[expect(clippy::manual_async_fn, reason = "an async fn would hold each argument twice")]
    pub fn send<'a, H, B>(
        &self,
        head: Head<'a, H>,
        body: Outgoing<B>,
        connection: Connection,
    ) -> impl Future<Output = Result<Answer, SendError>>
    where
        H: Iterator<Item = (&'a [u8], &'a [u8])>,
        B: Body<Data = Bytes> + Unpin + 'static,
    {
        async move {
            let conn = self.worker.connection(connection).await?;
            let mut asking = exchange::Asking::begin(Rc::clone(&self.worker), conn, head, body);
            poll_fn(|cx| asking.poll(cx)).await
        }
    }
}
