//! A stream that holds what it took until it is flushed, as TLS does: an error must not overtake that.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hermux::server::{Limits, Listener, Phase, Stream, serve};
use http::Response;
use http_body::{Body, Frame};
use hyper::service::service_fn;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::support::PATIENCE;

/// Takes any write at once and passes it on when it is flushed.
struct Holding {
    inner: DuplexStream,
    held: VecDeque<u8>,
}

impl Stream for Holding {
    fn break_off(&self) {}
}

impl AsyncRead for Holding {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Holding {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.held.extend(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { inner, held } = &mut *self;
        while !held.is_empty() {
            let written = std::task::ready!(Pin::new(&mut *inner).poll_write(cx, held.as_slices().0))?;
            held.drain(..written);
        }
        Pin::new(inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Hands out one connection.
struct Once(Option<Holding>);

impl Listener for Once {
    type Stream = Holding;
    type Opening = Ready<io::Result<Holding>>;

    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Self::Opening>> {
        self.0.take().map_or(Poll::Pending, |stream| Poll::Ready(Ok(ready(Ok(stream)))))
    }

    fn close(self) -> impl Iterator<Item = Self::Opening> {
        std::iter::empty()
    }
}

/// One frame, then an error.
struct Breaking(Option<Bytes>);

impl Body for Breaking {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(Some(match self.0.take() {
            Some(data) => Ok(Frame::data(data)),
            None => Err(io::Error::other("it broke")),
        }))
    }
}

#[test]
fn an_error_does_not_overtake_what_the_stream_holds() {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
    let read = runtime.block_on(async {
        // Far smaller than the answer, so that most of it is held while nobody reads.
        let (mut caller, inner) = duplex(1024);
        let listener = Once(Some(Holding { inner, held: VecDeque::new() }));
        let service = service_fn(|_| {
            ready(Ok::<_, Infallible>(Response::new(Breaking(Some(Bytes::from(vec![b'x'; 100_000]))))))
        });
        let (_phase, phases) = watch::channel(Phase::Run);
        let permits = Arc::new(Semaphore::new(1));
        spawn_local(serve(listener, permits, service, Limits::default(), phases));
        caller.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut read = Vec::new();
        timeout(PATIENCE, caller.read_to_end(&mut read)).await.unwrap().unwrap();
        read
    });
    assert_eq!(memchr::memchr_iter(b'x', &read).count(), 100_000);
    assert!(!read.ends_with(b"0\r\n\r\n"), "a cut that looks like an end");
}
