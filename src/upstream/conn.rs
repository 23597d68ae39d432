//! One connection to upstream, plain or TLS.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::timer::Timer;
use crate::http1::Intake;

/// A socket, perhaps with TLS on it. Dropping it closes the connection.
#[derive(Debug)]
pub(super) enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection as a worker keeps it.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) io: Io,
    pub(super) timer: Rc<Timer>,
    /// Whether it has served a request before.
    pub(super) reused: bool,
    /// The tick from which on it serves no further request.
    pub(super) retire: u64,
    /// While idle: the tick at which it is closed.
    pub(super) expire: u64,
}

impl Io {
    /// Reads what is there; nothing means an orderly end (with TLS: `close_notify`).
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, intake: &Intake) -> Poll<io::Result<Bytes>> {
        match self {
            Self::Plain(stream) => intake.poll_read(cx, stream),
            Self::Tls(stream) => intake.poll_read(cx, &mut **stream),
        }
    }

    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = match self {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        };
        some(written)
    }

    /// Writes of both, the first one first.
    pub(super) fn poll_write_both(
        &mut self,
        cx: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        let both = [IoSlice::new(first), IoSlice::new(second)];
        let written = match self {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, &both),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, &both),
        };
        some(written)
    }

    /// Writes out what TLS still holds back; a plain socket holds nothing.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    /// Whether an idle connection is still open, and silent as it has to be. Without a system call while the
    /// poller has reported nothing.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        let mut into = ReadBuf::new(&mut byte);
        let cx = &mut Context::from_waker(Waker::noop());
        let read = match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, &mut into),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, &mut into),
        };
        read.is_pending()
    }
}

/// A write that takes nothing would be tried for ever.
fn some(written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
    match written {
        Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        other => other,
    }
}
