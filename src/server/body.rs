//! The body of an answer on its way out over HTTP/2: counted as open until its end, broken only after what went
//! before it has left.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::state::InFlight;
use crate::http1::alone;

/// How often an error yields before it is handed on, so that the connection, which runs in a task of its own, can flush.
const YIELDS: u8 = 2;

/// A body whose error never overtakes the data handed on before it, and whose data holds little more than itself.
///
/// Of a caller that does not read, hyper holds what is handed on, piece by piece, up to 400 KiB a stream: as parts of the
/// memory they were read into, pieces of some hundred bytes would keep all that the worker has read since.
///
/// hyper resets the stream as soon as it meets an error, with whatever it still had buffered; so the error waits until the
/// socket took everything.
#[derive(Debug)]
pub(super) struct Delivered<B: Body> {
    inner: B,
    broken: Option<(B::Error, u8)>,
    in_flight: InFlight,
}

impl<B: Body> Delivered<B> {
    pub(super) fn new(inner: B, in_flight: InFlight) -> Self {
        Self { inner, broken: None, in_flight }
    }
}

// The error is only moved, never pinned.
impl<B: Body + Unpin> Unpin for Delivered<B> {}

impl<B: Body<Data = Bytes> + Unpin> Body for Delivered<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        if this.broken.is_none() {
            match Pin::new(&mut this.inner).poll_frame(cx) {
                Poll::Ready(Some(Err(error))) => this.broken = Some((error, YIELDS)),
                Poll::Ready(Some(Ok(frame))) => return Poll::Ready(Some(Ok(frame.map_data(alone)))),
                other => return other,
            }
        }
        ready!(this.in_flight.state().poll_flushed(cx));
        if let Some((_, yields)) = &mut this.broken
            && *yields > 0
        {
            *yields -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(this.broken.take().map(|(error, _)| Err(error)))
    }

    fn is_end_stream(&self) -> bool {
        self.broken.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use bytes::Bytes;
    use http::Version;
    use http_body_util::{BodyExt, Full};

    use super::super::state::{InFlight, State};
    use super::Delivered;

    #[test]
    fn a_small_piece_does_not_hold_what_it_was_a_part_of() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let read = Bytes::from(vec![7; 32 << 10]);
        let state = Rc::new(State::new(0, Rc::default()));
        state.request_began(false, Version::HTTP_2);
        let mut body = Delivered::new(Full::new(read.slice(..100)), InFlight(state));
        let frame = runtime.block_on(body.frame()).unwrap().unwrap();
        assert_eq!(*frame.data_ref().unwrap(), read[..100]);
        assert!(read.try_into_mut().is_ok());
    }
}
