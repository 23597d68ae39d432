//! Several listeners of several kinds as one: TCP, TLS over it, Unix sockets. Plain TCP alone goes without.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};
use tokio_rustls::server::TlsStream;

use super::listen::Socket;
use super::tls::{self, InForce};
use crate::server::{Listener, Stream};

/// What a worker accepts on.
pub(super) enum Entrance {
    /// One socket and no TLS: the way that has to cost nothing.
    Plain(TcpListener),
    /// Anything else.
    Doors(Doors),
}

impl Entrance {
    /// Has the runtime listen on `sockets`, and on those of TCP speak TLS where there is some.
    pub(super) fn open(sockets: Vec<Socket>, tls: Option<&InForce>) -> io::Result<Self> {
        let mut doors = Vec::new();
        for socket in sockets {
            doors.push(match socket {
                Socket::Tcp(listener) => Door::Tcp(TcpListener::from_std(listener)?, tls.cloned()),
                #[cfg(unix)]
                Socket::Unix(listener) => Door::Unix(UnixListener::from_std(listener)?),
            });
        }
        Ok(match (doors.pop(), doors.is_empty()) {
            (Some(Door::Tcp(listener, None)), true) => Self::Plain(listener),
            (last, _) => {
                doors.extend(last);
                Self::Doors(Doors { doors, next: 0 })
            }
        })
    }
}

/// Several listeners.
pub(super) struct Doors {
    doors: Vec<Door>,
    /// Who is asked first, so that a busy one does not keep the others from being asked.
    next: usize,
}

enum Door {
    Tcp(TcpListener, Option<InForce>),
    #[cfg(unix)]
    Unix(UnixListener),
}

type Opening = Pin<Box<dyn Future<Output = io::Result<Line>>>>;

impl Door {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Opening>> {
        match self {
            Self::Tcp(listener, tls) => {
                let tls = tls.as_ref();
                Listener::poll_accept(listener, cx).map_ok(|stream| over_tcp(stream, tls.cloned()))
            }
            #[cfg(unix)]
            Self::Unix(listener) => Listener::poll_accept(listener, cx).map_ok(over_unix),
        }
    }

    fn close(self) -> Box<dyn Iterator<Item = Opening>> {
        match self {
            Self::Tcp(listener, tls) => {
                Box::new(listener.close().map(move |stream| over_tcp(stream, tls.clone())))
            }
            #[cfg(unix)]
            Self::Unix(listener) => Box::new(listener.close().map(over_unix)),
        }
    }
}

fn over_tcp(stream: impl Future<Output = io::Result<TcpStream>> + 'static, tls: Option<InForce>) -> Opening {
    Box::pin(async move {
        let stream = stream.await?;
        Ok(match tls {
            None => Line::Tcp(stream),
            Some(in_force) => Line::Tls(Box::new(tls::handshake(stream, in_force).await?)),
        })
    })
}

#[cfg(unix)]
fn over_unix(stream: impl Future<Output = io::Result<UnixStream>> + 'static) -> Opening {
    Box::pin(async move { stream.await.map(Line::Unix) })
}

impl Listener for Doors {
    type Stream = Line;
    type Opening = Opening;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Opening>> {
        let count = self.doors.len();
        for at in (self.next..count).chain(0..self.next) {
            if let Poll::Ready(accepted) = self.doors[at].poll_accept(cx) {
                self.next = (at + 1) % count;
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    }

    fn close(self) -> impl Iterator<Item = Opening> {
        self.doors.into_iter().flat_map(Door::close)
    }
}

/// A connection of one of the kinds.
pub(super) enum Line {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    #[cfg(unix)]
    Unix(UnixStream),
}

/// Does the same with whichever stream it is.
macro_rules! each {
    ($line:expr, $stream:ident => $does:expr) => {
        match $line {
            Line::Tcp($stream) => $does,
            Line::Tls($stream) => $does,
            #[cfg(unix)]
            Line::Unix($stream) => $does,
        }
    };
}

impl Stream for Line {
    fn break_off(&self) {
        match self {
            Self::Tcp(stream) => stream.break_off(),
            // Without a close_notify the end is none (RFC 8446 section 6.1); a reset could take what is on its way.
            Self::Tls(_) => {}
            #[cfg(unix)]
            Self::Unix(stream) => stream.break_off(),
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(&mut *self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(&mut *self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(&mut *self, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(&mut *self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(&mut *self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
