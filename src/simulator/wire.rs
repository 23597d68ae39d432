//! Connections: accepting them, TLS, and ending them in ways that no HTTP library offers.

use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Shared;
use super::answer;
use super::fault::{Close, Step};

/// How many headers a request may have.
const MAX_HEADERS: usize = 1_000;
/// How long the other side may take to notice an orderly end.
const LINGER: Duration = Duration::from_secs(2);

/// One connection, as the answers on it see it.
#[derive(Debug)]
pub(super) struct Wire {
    /// Which connection since the start, from 0.
    pub(super) number: u64,
    requests: AtomicU32,
    ending: Mutex<Option<Vec<Step>>>,
    flushed: Notify,
}

impl Wire {
    pub(super) fn new(number: u64) -> Self {
        Self { number, requests: AtomicU32::new(0), ending: Mutex::new(None), flushed: Notify::new() }
    }

    /// Counts a request; the first is 1.
    pub(super) fn next_request(&self) -> u32 {
        self.requests.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Takes the connection away from HTTP as soon as all that was written is flushed, for these steps.
    pub(super) fn end(&self, steps: Vec<Step>) {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(steps);
    }

    /// The same without waiting for a flush.
    pub(super) fn end_now(&self, steps: Vec<Step>) {
        self.end(steps);
        self.flushed.notify_one();
    }

    /// Whether the simulator itself ends this connection.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn steps(&self) -> Vec<Step> {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
    }
}

/// Serves one connection to its end.
pub(super) async fn serve(shared: Arc<Shared>, wire: Arc<Wire>, tcp: TcpStream, tls: Option<TlsAcceptor>) {
    // Without it a small event would wait for the acknowledgement of the one before.
    let _ = tcp.set_nodelay(true);
    let stream = match tls {
        None => Stream::Plain(tcp),
        Some(acceptor) => match acceptor.accept(tcp).await {
            Ok(stream) => Stream::Tls(Box::new(stream)),
            Err(_) => return,
        },
    };
    let io = TokioIo::new(Flushing { stream, wire: Arc::clone(&wire) });
    let service = service_fn(|request| answer::serve(Arc::clone(&shared), Arc::clone(&wire), request));
    let mut connection =
        http1::Builder::new().timer(TokioTimer::new()).max_headers(MAX_HEADERS).serve_connection(io, service);
    tokio::select! {
        // How it failed is told by the attempts.
        _ = &mut connection => {}
        () = wire.flushed.notified() => {
            let stream = connection.into_parts().io.into_inner().stream;
            run(stream, wire.steps()).await;
        }
    }
}

async fn run(mut stream: Stream, steps: Vec<Step>) {
    for step in steps {
        match step {
            Step::Send(bytes) => {
                if stream.write_all(&bytes).await.is_err() || stream.flush().await.is_err() {
                    return;
                }
            }
            Step::Wait(duration) => tokio::time::sleep(duration).await,
            Step::Close(Close::Rst) => {
                let _ = SockRef::from(stream.tcp()).set_linger(Some(Duration::ZERO));
                return;
            }
            Step::Close(Close::Fin) => {
                let _ = SockRef::from(stream.tcp()).shutdown(Shutdown::Write);
                // Closing with unread bytes would send a reset, so they are read until the other side is done.
                let mut rest = [0; 4096];
                let drain = async { while matches!(stream.read(&mut rest).await, Ok(1..)) {} };
                let _ = tokio::time::timeout(LINGER, drain).await;
                return;
            }
        }
    }
}

/// A connection's bytes, plain or inside TLS.
#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

/// Tells its `Wire` when everything is written out and an end is wished for, so that a cut loses no byte
/// that was to go out before it.
#[derive(Debug)]
struct Flushing {
    stream: Stream,
    wire: Arc<Wire>,
}

impl AsyncRead for Flushing {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Flushing {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_ready() && self.wire.is_ending() {
            self.wire.flushed.notify_one();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
