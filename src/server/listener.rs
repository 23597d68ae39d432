//! Where connections come from: what the server asks of a listener and of the streams it hands out.

use std::future::{Future, Ready, ready};
use std::io::{self, ErrorKind};
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

/// A socket, or several, on which connections are accepted.
pub trait Listener {
    /// What HTTP is spoken on.
    type Stream: Stream;
    /// A connection that was accepted, until HTTP can be spoken on it: a TLS handshake, say. It has the time of a
    /// request's head, and holds a permit.
    type Opening: Future<Output = io::Result<Self::Stream>> + 'static;

    /// The next connection. Nothing is lost when it is not asked again after `Pending`.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Self::Opening>>;

    /// Stops listening once the iterator is dropped, which hands out the connections that were complete by then. They
    /// are asked for outside of the runtime, which may not have heard of them yet.
    fn close(self) -> impl Iterator<Item = Self::Opening>;
}

/// A connection on which HTTP is spoken.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + 'static {
    /// Has the close that follows look broken off, where the transport can tell that from an end.
    fn break_off(&self);
}

impl Stream for TcpStream {
    fn break_off(&self) {
        let _ = SockRef::from(self).set_linger(Some(Duration::ZERO));
    }
}

impl Listener for TcpListener {
    type Stream = TcpStream;
    type Opening = Ready<io::Result<TcpStream>>;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Self::Opening>> {
        TcpListener::poll_accept(self, cx).map_ok(|(stream, _)| ready(Ok(prepared(stream))))
    }

    fn close(self) -> impl Iterator<Item = Self::Opening> {
        let listener = self.into_std();
        waiting(move || {
            let (stream, _) = listener.as_ref().map_err(io::Error::kind)?.accept()?;
            stream.set_nonblocking(true)?;
            TcpStream::from_std(stream).map(prepared)
        })
    }
}

/// Both only improve what works without them, so a refusal is no error.
fn prepared(stream: TcpStream) -> TcpStream {
    let _ = stream.set_nodelay(true);
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(60));
    let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
    stream
}

#[cfg(unix)]
impl Stream for UnixStream {
    /// The other end of such a socket cannot tell the two apart. Only HTTP/1.0 is left to guess by that.
    fn break_off(&self) {}
}

#[cfg(unix)]
impl Listener for UnixListener {
    type Stream = UnixStream;
    type Opening = Ready<io::Result<UnixStream>>;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Self::Opening>> {
        UnixListener::poll_accept(self, cx).map_ok(|(stream, _)| ready(Ok(stream)))
    }

    fn close(self) -> impl Iterator<Item = Self::Opening> {
        let listener = self.into_std();
        waiting(move || {
            let (stream, _) = listener.as_ref().map_err(io::Error::kind)?.accept()?;
            stream.set_nonblocking(true)?;
            UnixStream::from_std(stream)
        })
    }
}

/// What `accept` hands out until nothing waits any more.
fn waiting<T>(mut accept: impl FnMut() -> io::Result<T>) -> impl Iterator<Item = Ready<io::Result<T>>> {
    std::iter::from_fn(move || {
        loop {
            match accept() {
                Ok(stream) => return Some(ready(Ok(stream))),
                Err(error) if is_the_peers(&error) || error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    })
}

/// The peer left before it was accepted; that is no fault of ours.
pub(super) fn is_the_peers(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset)
}
