//! The request body: kept whole up to a bound so that it can be read and sent again, streamed beyond it.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::{Sleep, sleep, timeout};

use super::headers::clean_trailers_for_upstream;
use super::refusal::Refusal;
use crate::http1::alone;
use crate::upstream::Outgoing;

/// Bodies up to this size are not counted among what is kept, bytes: a connection's own buffers take as much.
const UNCOUNTED: usize = 16 << 10;

/// How much of all requests' bodies is kept so that it can be sent again.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept(Arc<AtomicUsize>);

/// How much may be kept of one body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keep<'a> {
    /// Of this one, bytes.
    pub(super) most: usize,
    /// Of all of them, bytes.
    pub(super) total: usize,
    pub(super) kept: &'a Kept,
}

/// What one body takes of it; given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    kept: Kept,
    bytes: usize,
}

impl Share {
    /// Makes it `bytes` large, unless that is more than `total` with all others.
    fn grow(&mut self, bytes: usize, total: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let before = self.kept.0.fetch_add(more, Ordering::Relaxed);
        self.bytes += more;
        before.saturating_add(more) <= total
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.kept.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A request's body as far as hermux took it in.
#[derive(Debug)]
pub(super) enum RequestBody {
    /// There is none.
    Empty,
    /// All of it; it can be sent any number of times.
    Whole {
        bytes: Bytes,
        /// What it takes of all that is kept.
        _share: Option<Share>,
    },
    /// Too large to keep: it can be sent once, as it comes; then nothing is left.
    Passing(Option<Box<Passing>>),
}

impl RequestBody {
    /// Takes in as much of `incoming` as may be kept; a caller that sends nothing for `patience` is given up.
    pub(super) async fn take<B>(
        mut incoming: B,
        keep: Keep<'_>,
        patience: Duration,
        access_token: &[u8],
    ) -> Result<Self, Refusal>
    where
        B: Body<Data = Bytes> + Unpin + 'static,
    {
        if incoming.is_end_stream() {
            return Ok(Self::Empty);
        }
        let length = incoming.size_hint().exact();
        let mut pieces = VecDeque::new();
        let mut kept = 0;
        let mut trailers = None;
        let mut share: Option<Share> = None;
        let mut too_large = length.is_some_and(|length| length > keep.most as u64);
        while !too_large && kept <= keep.most {
            let frame = match next_frame(&mut incoming, patience).await? {
                Some(frame) => frame,
                None if trailers.is_none() => {
                    return Ok(Self::Whole { bytes: join(pieces, kept), _share: share });
                }
                None => break,
            };
            match frame.into_data() {
                Ok(piece) => {
                    kept += piece.len();
                    if kept > UNCOUNTED {
                        let empty = || Share { kept: keep.kept.clone(), bytes: 0 };
                        too_large = !share.get_or_insert_with(empty).grow(kept, keep.total);
                    }
                    let is_last = incoming.is_end_stream() && !too_large;
                    // Mostly it comes in one piece.
                    if is_last && pieces.is_empty() {
                        return Ok(Self::Whole { bytes: piece, _share: share });
                    }
                    keep_piece(&mut pieces, piece);
                    if is_last {
                        return Ok(Self::Whole { bytes: join(pieces, kept), _share: share });
                    }
                }
                Err(other) => trailers = other.into_trailers().ok(),
            }
        }
        Ok(Self::Passing(Some(Box::new(Passing {
            length,
            pieces,
            share,
            trailers,
            rest: Box::new(incoming.map_err(|_| BrokenOff)),
            access_token: access_token.into(),
            patience,
            silence: None,
        }))))
    }

    /// What is known of it: all of it, or its beginning.
    pub(super) fn beginning(&self) -> &[u8] {
        match self {
            Self::Empty => &[],
            Self::Whole { bytes, .. } => bytes,
            Self::Passing(passing) => {
                passing.as_ref().and_then(|passing| passing.pieces.front()).map_or(&[], |piece| piece)
            }
        }
    }

    /// The body for one attempt; `None` when it was sent already and cannot be sent again.
    pub(super) fn outgoing(&mut self) -> Option<Outgoing<Box<Passing>>> {
        match self {
            Self::Empty => Some(Outgoing::Empty),
            Self::Whole { bytes, .. } => Some(Outgoing::Full(bytes.clone())),
            Self::Passing(passing) => passing.take().map(|passing| {
                let length = passing.length;
                Outgoing::Stream(passing, length)
            }),
        }
    }

    /// Whether it can be sent more than once.
    pub(super) fn is_whole(&self) -> bool {
        !matches!(self, Self::Passing(_))
    }
}

/// The next frame of a body, which may be long in coming, but not for ever. Mostly it is there already, and no timer is
/// needed.
async fn next_frame<B>(incoming: &mut B, patience: Duration) -> Result<Option<Frame<Bytes>>, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut frame = incoming.frame();
    let came = match poll_fn(|cx| Poll::Ready(Pin::new(&mut frame).poll(cx))).await {
        Poll::Ready(came) => came,
        Poll::Pending => timeout(patience, frame).await.map_err(|_| Refusal::BodyTimeout)?,
    };
    came.transpose().map_err(|_| Refusal::BodyBroken)
}

/// Appends `piece`; small ones are put together, for each costs far more memory than its bytes. What is counted as kept are
/// its bytes, so it must not hold much more: what others sent meanwhile, say.
fn keep_piece(pieces: &mut VecDeque<Bytes>, piece: Bytes) {
    const SMALL: usize = 4 << 10;
    match pieces.back_mut() {
        Some(last) if piece.len() < SMALL && last.len() < 2 * SMALL => {
            let mut joined = std::mem::take(last).try_into_mut().unwrap_or_else(|last| {
                let mut copy = BytesMut::with_capacity(3 * SMALL);
                copy.extend_from_slice(&last);
                copy
            });
            joined.extend_from_slice(&piece);
            *last = joined.freeze();
        }
        _ => pieces.push_back(alone(piece)),
    }
}

fn join(mut pieces: VecDeque<Bytes>, length: usize) -> Bytes {
    match pieces.len() {
        0 => Bytes::new(),
        1 => pieces.pop_front().unwrap_or_default(),
        _ => {
            let mut whole = BytesMut::with_capacity(length);
            for piece in pieces {
                whole.extend_from_slice(&piece);
            }
            whole.freeze()
        }
    }
}

/// A body on its way: what was taken in already, then the rest as the caller sends it.
pub(super) struct Passing {
    length: Option<u64>,
    pieces: VecDeque<Bytes>,
    /// What the pieces take.
    share: Option<Share>,
    trailers: Option<HeaderMap>,
    rest: Box<dyn Body<Data = Bytes, Error = BrokenOff> + Unpin>,
    access_token: Box<[u8]>,
    patience: Duration,
    /// Runs while the caller is silent.
    silence: Option<Pin<Box<Sleep>>>,
}

impl fmt::Debug for Passing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passing").field("length", &self.length).finish_non_exhaustive()
    }
}

impl Passing {
    fn cleaned(&self, mut trailers: HeaderMap) -> Frame<Bytes> {
        clean_trailers_for_upstream(&mut trailers, &self.access_token);
        Frame::trailers(trailers)
    }
}

/// The caller's body broke off or stopped coming.
#[derive(Debug, thiserror::Error)]
#[error("the request's body broke off")]
pub(super) struct BrokenOff;

impl Body for Passing {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        if let Some(piece) = self.pieces.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        self.share = None;
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(self.cleaned(trailers))));
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.rest).poll_frame(cx) {
            self.silence = None;
            let cleaned = |frame: Frame<Bytes>| match frame.into_trailers() {
                Ok(trailers) => self.cleaned(trailers),
                Err(data) => data,
            };
            return Poll::Ready(frame.map(|frame| frame.map(cleaned)));
        }
        let patience = self.patience;
        let silence = self.silence.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(silence.as_mut().poll(cx));
        Poll::Ready(Some(Err(BrokenOff)))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.trailers.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::atomic::Ordering;

    use bytes::Bytes;

    use super::{Kept, Share, join, keep_piece};

    #[test]
    fn kept_pieces_do_not_hold_what_they_were_parts_of() {
        for length in [1, 4 << 10, 10 << 10] {
            let mut pieces = VecDeque::new();
            let mut whole = Vec::new();
            for number in 0..20 {
                let chunk = Bytes::from(vec![number; 32 << 10]);
                keep_piece(&mut pieces, chunk.slice(..length));
                whole.extend_from_slice(&chunk[..length]);
                assert!(chunk.try_into_mut().is_ok(), "piece {number} of {length} bytes");
            }
            assert_eq!(join(pieces, whole.len()), whole);
        }
    }

    #[test]
    fn what_is_kept_counts_until_it_is_dropped() {
        let kept = Kept::default();
        let share = || Share { kept: kept.clone(), bytes: 0 };
        let (mut first, mut second) = (share(), share());
        assert!(first.grow(60, 100) && first.grow(90, 100));
        assert!(!second.grow(20, 100), "together they are too large");
        assert!(first.grow(90, 110));
        drop(first);
        assert!(second.grow(100, 100));
        drop(second);
        assert_eq!(kept.0.load(Ordering::Relaxed), 0);
    }
}
