//! The request body: kept whole up to a bound so that it can be read and sent again, streamed beyond it.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep, timeout};

use super::headers::clean_trailers_for_upstream;
use super::refusal::Refusal;
use crate::upstream::Outgoing;

/// A request's body as far as hermux took it in.
#[derive(Debug)]
pub(super) enum RequestBody {
    /// There is none.
    Empty,
    /// All of it; it can be sent any number of times.
    Whole(Bytes),
    /// Too large to keep: it can be sent once, as it comes; then nothing is left.
    Passing(Option<Box<Passing>>),
}

impl RequestBody {
    /// Takes in up to `keep` bytes of `incoming`; a caller that sends nothing for `patience` is given up.
    pub(super) async fn take(
        mut incoming: Incoming,
        keep: usize,
        patience: Duration,
        access_token: &[u8],
    ) -> Result<Self, Refusal> {
        if incoming.is_end_stream() {
            return Ok(Self::Empty);
        }
        let length = incoming.size_hint().exact();
        let mut pieces = VecDeque::new();
        let mut kept = 0;
        let mut trailers = None;
        let too_large = length.is_some_and(|length| length > keep as u64);
        while !too_large && kept <= keep {
            let frame = match timeout(patience, incoming.frame()).await {
                Err(_) => return Err(Refusal::BodyTimeout),
                Ok(Some(Err(_))) => return Err(Refusal::BodyBroken),
                Ok(Some(Ok(frame))) => frame,
                Ok(None) if trailers.is_none() => return Ok(Self::Whole(join(pieces, kept))),
                Ok(None) => break,
            };
            match frame.into_data() {
                Ok(piece) => {
                    kept += piece.len();
                    keep_piece(&mut pieces, piece);
                    if incoming.is_end_stream() {
                        return Ok(Self::Whole(join(pieces, kept)));
                    }
                }
                Err(other) => trailers = other.into_trailers().ok(),
            }
        }
        Ok(Self::Passing(Some(Box::new(Passing {
            length,
            pieces,
            trailers,
            rest: incoming,
            access_token: access_token.into(),
            patience,
            silence: None,
        }))))
    }

    /// What is known of it: all of it, or its beginning.
    pub(super) fn beginning(&self) -> &[u8] {
        match self {
            Self::Empty => &[],
            Self::Whole(body) => body,
            Self::Passing(passing) => {
                passing.as_ref().and_then(|passing| passing.pieces.front()).map_or(&[], |piece| piece)
            }
        }
    }

    /// The body for one attempt; `None` when it was sent already and cannot be sent again.
    pub(super) fn outgoing(&mut self) -> Option<Outgoing<Box<Passing>>> {
        match self {
            Self::Empty => Some(Outgoing::Empty),
            Self::Whole(body) => Some(Outgoing::Full(body.clone())),
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

/// Appends `piece`; small ones are put together, for each costs far more memory than its bytes.
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
        _ => pieces.push_back(piece),
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
#[derive(Debug)]
pub(super) struct Passing {
    length: Option<u64>,
    pieces: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
    rest: Incoming,
    access_token: Box<[u8]>,
    patience: Duration,
    /// Runs while the caller is silent.
    silence: Option<Pin<Box<Sleep>>>,
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
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(self.cleaned(trailers))));
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.rest).poll_frame(cx) {
            self.silence = None;
            return Poll::Ready(frame.map(|frame| match frame {
                Ok(frame) => Ok(match frame.into_trailers() {
                    Ok(trailers) => self.cleaned(trailers),
                    Err(data) => data,
                }),
                Err(_) => Err(BrokenOff),
            }));
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
