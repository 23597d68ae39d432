//! One connection in memory: what is read of it comes in given pieces, what is written to it is kept, and the caller ends it
//! when nothing goes on any more.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::error::Error;
use std::future::{Future, Ready, ready};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use hermux::server::{Incoming, Limits, Listener, Phase, Stream, serve};
use http::{Request, Response};
use http_body::Body;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Builder;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

/// Has one connection to give.
pub(crate) struct One<S>(pub(crate) Option<S>);

impl<S: Stream> Listener for One<S> {
    type Stream = S;
    type Opening = Ready<io::Result<S>>;

    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Self::Opening>> {
        self.0.take().map_or(Poll::Pending, |stream| Poll::Ready(Ok(ready(Ok(stream)))))
    }

    fn close(self) -> impl Iterator<Item = Self::Opening> {
        self.0.into_iter().map(|stream| ready(Ok(stream)))
    }
}

/// What a caller got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) bytes: Vec<u8>,
    /// Whether the connection was ended in order.
    pub(crate) is_shut: bool,
    /// Whether it was to look broken off.
    pub(crate) is_broken_off: bool,
}

/// The caller's side of a connection.
#[derive(Default)]
struct Caller {
    pieces: VecDeque<Vec<u8>>,
    /// Whether the next piece is here.
    has_come: bool,
    /// Whether nothing comes behind the pieces.
    has_ended: bool,
    reader: Option<Waker>,
    /// Bytes that a write takes at most; every other write has to wait.
    room: usize,
    was_full: bool,
    said: Said,
    /// How often it was asked for something, and may be at most.
    asked: usize,
    most: usize,
}

impl Caller {
    fn new(pieces: Vec<Vec<u8>>, room: usize) -> Self {
        let pieces: VecDeque<_> = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
        Self { pieces, room, most: usize::MAX, ..Self::default() }
    }

    /// A server that asks on and on where nothing changes would never be done.
    fn ask(&mut self) {
        self.asked += 1;
        assert!(self.asked < self.most, "the connection is asked {} times", self.asked);
    }

    fn write(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.ask();
        if self.room < usize::MAX {
            self.was_full = !self.was_full;
            if self.was_full {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        let before = self.said.bytes.len();
        for buf in bufs {
            let left = self.room - (self.said.bytes.len() - before);
            self.said.bytes.extend_from_slice(&buf[..buf.len().min(left)]);
        }
        Poll::Ready(Ok(self.said.bytes.len() - before))
    }
}

/// The server's side of it.
pub(crate) struct Script {
    caller: Rc<RefCell<Caller>>,
    gone: Rc<Notify>,
}

impl Drop for Script {
    fn drop(&mut self) {
        self.gone.notify_one();
    }
}

impl Stream for Script {
    fn break_off(&self) {
        self.caller.borrow_mut().said.is_broken_off = true;
    }
}

impl AsyncRead for Script {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let caller = &mut *self.caller.borrow_mut();
        caller.ask();
        let Some(piece) = caller.pieces.front_mut() else {
            if caller.has_ended {
                return Poll::Ready(Ok(()));
            }
            caller.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        // Each piece comes after the one before was looked at.
        if !std::mem::replace(&mut caller.has_come, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let length = piece.len().min(buf.remaining());
        buf.put_slice(&piece[..length]);
        piece.drain(..length);
        if piece.is_empty() {
            caller.pieces.pop_front();
            caller.has_come = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.caller.borrow_mut().write(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.caller.borrow_mut().write(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.caller.borrow_mut().said.is_shut = true;
        Poll::Ready(Ok(()))
    }
}

/// Has `server` serve a connection that brings these pieces and takes up to `room` bytes at once.
fn converse<F: Future<Output = ()> + 'static>(
    pieces: Vec<Vec<u8>>,
    room: usize,
    server: impl FnOnce(Script) -> F,
) -> Said {
    let mut caller = Caller::new(pieces, room);
    // A piece is asked for twice, and what is written is far less than what is read where the room is small.
    let bytes: usize = caller.pieces.iter().map(Vec::len).sum();
    caller.most = 200_000 + 20 * bytes;
    let (caller, gone) = (Rc::new(RefCell::new(caller)), Rc::new(Notify::new()));
    let script = Script { caller: Rc::clone(&caller), gone: Rc::clone(&gone) };
    // The clock stands still while anything goes on.
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let server = tokio::task::spawn_local(server(script));
        sleep(Duration::from_millis(1)).await;
        let is_over = Rc::strong_count(&caller) == 1;
        let reader = {
            let mut caller = caller.borrow_mut();
            let is_read = caller.pieces.is_empty() || caller.said.is_shut;
            assert!(is_read || is_over, "it stays and reads no more");
            caller.has_ended = true;
            caller.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
        timeout(Duration::from_secs(60), gone.notified())
            .await
            .expect("the connection ends when the caller does");
        server.abort();
        if let Err(error) = server.await
            && let Ok(panic) = error.try_into_panic()
        {
            std::panic::resume_unwind(panic);
        }
    });
    let caller = caller.borrow();
    assert!(caller.asked < caller.most, "it did not stop asking");
    caller.said.clone()
}

/// What our server says by `service`.
pub(crate) fn ours<S, B>(pieces: Vec<Vec<u8>>, room: usize, service: S) -> Said
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + 'static,
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    converse(pieces, room, async move |script| {
        // Nothing is late here: whoever waits for more than a minute hangs.
        let hour = Duration::from_secs(3600);
        let limits = Limits { header_timeout: hour, keep_alive_timeout: hour, ..Limits::default() };
        let (_phase, phase) = watch::channel(Phase::Run);
        serve(One(Some(script)), Arc::new(Semaphore::new(1)), service, limits, phase).await;
    })
}

/// What hyper's server says by `service`.
pub(crate) fn hypers<S, B>(pieces: Vec<Vec<u8>>, service: S) -> Said
where
    S: Service<Request<hyper::body::Incoming>, Response = Response<B>, Error = Infallible> + 'static,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    converse(pieces, usize::MAX, async move |script| {
        // An error is how it ends where it refuses something.
        let _ =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(script), service).await;
    })
}
