//! The body of a request, from whichever protocol it comes.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Why a request's body broke off.
pub type Broken = Box<dyn Error + Send + Sync>;

/// The body of a request: `http_body::Body` with exact `size_hint` and `is_end_stream` where known.
///
/// It is read from the connection as it is asked for, and stays on the connection's thread.
pub struct Incoming(Inner);

enum Inner {
    /// Nothing, or nothing more.
    Empty,
    /// All of it, which came with the head.
    Whole(Bytes),
    /// HTTP/1.1, as it comes.
    Arriving(Rc<dyn Source>),
    /// HTTP/2, as it comes.
    Stream(hyper::body::Incoming),
}

/// A connection that the body of its request is read from.
pub(super) trait Source {
    /// What [`Body::poll_frame`] does.
    fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>>;
    /// What [`Body::is_end_stream`] says.
    fn is_end_stream(&self) -> bool;
    /// How much there is to come, where that is known.
    fn remaining(&self) -> Option<u64>;
}

impl Incoming {
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self(if bytes.is_empty() { Inner::Empty } else { Inner::Whole(bytes) })
    }

    pub(super) fn arriving(source: Rc<dyn Source>) -> Self {
        Self(Inner::Arriving(source))
    }

    pub(super) fn stream(body: hyper::body::Incoming) -> Self {
        Self(if body.is_end_stream() { Inner::Empty } else { Inner::Stream(body) })
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match &mut self.0 {
            Inner::Empty => Poll::Ready(None),
            Inner::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                self.0 = Inner::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Inner::Arriving(source) => source.poll_frame(cx),
            Inner::Stream(body) => Pin::new(body).poll_frame(cx).map_err(Broken::from),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Empty => true,
            Inner::Whole(_) => false,
            Inner::Arriving(source) => source.is_end_stream(),
            Inner::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Empty => SizeHint::with_exact(0),
            Inner::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Inner::Arriving(source) => {
                source.remaining().map_or_else(SizeHint::default, SizeHint::with_exact)
            }
            Inner::Stream(body) => body.size_hint(),
        }
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("size", &self.size_hint()).finish_non_exhaustive()
    }
}
