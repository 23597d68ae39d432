//! The body of an answer, decoded as it arrives.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::BodyError;
use super::exchange::{Exchange, Read};
use crate::http1::{Decoder, gather};

/// The body of an answer: `http_body::Body` with exact `size_hint` and `is_end_stream` where known.
///
/// A frame is what one read brought. The exchange ends with the last of them: then the connection is kept for
/// another request, or closed where it may not be kept. Dropping the body before closes the connection.
pub struct AnswerBody {
    /// None once the answer is complete or broken.
    exchange: Option<Exchange>,
    decoder: Decoder,
    /// Data that is decoded but not given yet.
    data: Option<Bytes>,
    /// How it broke, to be told after the data.
    error: Option<BodyError>,
}

impl AnswerBody {
    /// The body of an answer whose first bytes are `rest`.
    pub(super) fn new(exchange: Exchange, decoder: Decoder, rest: &Bytes) -> Self {
        let mut body = Self { exchange: Some(exchange), decoder, data: None, error: None };
        let (data, used) = gather(&mut body.decoder, rest, |run| rest.slice(run));
        body.settle(data, rest.len() > used);
        body
    }

    /// Takes in what was decoded and ends the exchange if that was its end.
    fn settle(&mut self, data: Option<Bytes>, left_over: bool) {
        self.data = data;
        if self.decoder.is_done() {
            if let Some(exchange) = self.exchange.take() {
                exchange.finish(left_over);
            }
        } else if let Some(fault) = self.decoder.fault() {
            self.fail(BodyError::Garbled(fault));
        }
    }

    /// Closes the connection.
    fn fail(&mut self, error: BodyError) {
        self.exchange = None;
        self.error = Some(error);
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            if let Some(data) = this.data.take() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            if let Some(error) = this.error.take() {
                return Poll::Ready(Some(Err(error)));
            }
            let Some(exchange) = &mut this.exchange else {
                return Poll::Ready(
                    this.decoder.take_trailers().map(|trailers| Ok(Frame::trailers(trailers))),
                );
            };
            if exchange.poll_upload(cx).is_err() {
                this.fail(BodyError::RequestBody);
                continue;
            }
            match ready!(exchange.poll_read(cx)) {
                Read::Bytes(bytes) => {
                    let (data, used) = gather(&mut this.decoder, &bytes, |run| bytes.slice(run));
                    this.settle(data, bytes.len() > used);
                }
                Read::End if this.decoder.end() => this.settle(None, true),
                Read::End | Read::Cut => this.fail(BodyError::Cut),
                Read::Silent => this.fail(BodyError::Silent),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.exchange.is_none() && self.data.is_none() && self.error.is_none() && !self.decoder.has_trailers()
    }

    fn size_hint(&self) -> SizeHint {
        let here = self.data.as_ref().map_or(0, |data| data.len() as u64);
        // A known length would make the server leave out the trailers.
        if let Some(remaining) = self.decoder.remaining()
            && !self.decoder.has_trailers()
        {
            return SizeHint::with_exact(here.saturating_add(remaining));
        }
        let mut hint = SizeHint::new();
        hint.set_lower(here);
        hint
    }
}

impl fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerBody")
            .field("complete", &self.decoder.is_done())
            .field("remaining", &self.decoder.remaining())
            .finish_non_exhaustive()
    }
}
