//! A request on its way out, when it does not leave in one write.

use std::io::{self, Write};
use std::mem;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http_body::{Body, Frame};

use super::conn::Io;
use super::head::Announced;
use crate::http1::write_field;

/// Up to this size bytes are copied together and written at once; larger pieces are written from where they are.
pub(super) const SMALL: usize = 16 * 1024;

/// Where a body comes from; why it failed is its owner's matter.
pub(super) trait Source {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ()>>>;
    fn is_at_end(&self) -> bool;
}

impl<B: Body<Data = Bytes> + Unpin> Source for B {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ()>>> {
        std::pin::Pin::new(self).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(drop)))
    }

    fn is_at_end(&self) -> bool {
        self.is_end_stream()
    }
}

/// Why a request did not go out.
#[derive(Debug)]
pub(super) enum UploadError {
    /// Its body failed, or is not of the length announced.
    Body,
    /// The connection does not take it.
    Connection,
}

impl From<io::Error> for UploadError {
    fn from(_: io::Error) -> Self {
        Self::Connection
    }
}

/// What is left of a request: written bytes first, then the piece, then what the body yields.
pub(super) struct Upload {
    written: Vec<u8>,
    at: usize,
    piece: Bytes,
    /// Whether the piece is a chunk, whose end is still to be written.
    in_chunk: bool,
    body: Option<Box<dyn Source>>,
    framing: Announced,
}

impl Upload {
    /// The rest of a request that is all here.
    pub(super) fn rest(written: Vec<u8>, piece: Bytes) -> Self {
        Self { written, at: 0, piece, in_chunk: false, body: None, framing: Announced::Nothing }
    }

    /// A request whose head is `written` and whose body is still to come.
    pub(super) fn stream(written: Vec<u8>, body: Box<dyn Source>, framing: Announced) -> Self {
        Self { written, at: 0, piece: Bytes::new(), in_chunk: false, body: Some(body), framing }
    }

    /// Whether all that was announced is written, even if the body has not said yet that it is at its end.
    pub(super) fn is_sent(&self) -> bool {
        self.is_drained() && (self.body.is_none() || self.framing == Announced::Length(0))
    }

    /// Whether it is the body's turn: everything it yielded so far is written.
    pub(super) fn waits_for_body(&self) -> bool {
        self.is_drained() && self.body.is_some()
    }

    fn is_drained(&self) -> bool {
        self.at == self.written.len() && self.piece.is_empty() && !self.in_chunk
    }

    /// Writes as much as goes. `progress` is set when any of it went.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut Io,
        progress: &mut bool,
    ) -> Poll<Result<(), UploadError>> {
        loop {
            let waiting = self.poll_fill(cx)?.is_pending();
            while self.at < self.written.len() {
                let bytes = &self.written[self.at..];
                let taken = if self.piece.is_empty() {
                    ready!(io.poll_write(cx, bytes))?
                } else {
                    ready!(io.poll_write_both(cx, bytes, &self.piece))?
                };
                let of_written = taken.min(bytes.len());
                self.at += of_written;
                self.piece.advance(taken - of_written);
                *progress = true;
            }
            while !self.piece.is_empty() {
                let written = ready!(io.poll_write(cx, &self.piece))?;
                self.piece.advance(written);
                *progress = true;
            }
            self.written.clear();
            self.at = 0;
            if mem::take(&mut self.in_chunk) {
                self.written.extend_from_slice(b"\r\n");
                continue;
            }
            if waiting || self.body.is_none() {
                ready!(io.poll_flush(cx))?;
                return if waiting { Poll::Pending } else { Poll::Ready(Ok(())) };
            }
        }
    }

    /// Takes from the body what is there, until there is enough to write. Pending when only the body can go on.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UploadError>> {
        while self.piece.is_empty() && self.written.len() < SMALL {
            let Some(body) = self.body.as_mut() else { break };
            match ready!(body.poll_next(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.add(data)?,
                    Err(frame) => self.finish(frame.into_trailers().ok().as_ref())?,
                },
                Some(Err(())) => return Poll::Ready(Err(UploadError::Body)),
                None => self.finish(None)?,
            }
            if self.framing == Announced::Length(0) && self.body.as_ref().is_some_and(|body| body.is_at_end())
            {
                self.body = None;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn add(&mut self, data: Bytes) -> Result<(), UploadError> {
        if data.is_empty() {
            // An empty chunk would be the last one.
            return Ok(());
        }
        let small = self.written.len() + data.len() <= SMALL;
        let size = data.len();
        if let Announced::Length(left) = &mut self.framing {
            *left = left.checked_sub(size as u64).ok_or(UploadError::Body)?;
        } else {
            write!(self.written, "{size:x}\r\n")?;
        }
        if small {
            self.written.extend_from_slice(&data);
            if self.framing == Announced::Chunked {
                self.written.extend_from_slice(b"\r\n");
            }
        } else {
            self.piece = data;
            self.in_chunk = self.framing == Announced::Chunked;
        }
        Ok(())
    }

    /// The body is at its end.
    fn finish(&mut self, trailers: Option<&http::HeaderMap>) -> Result<(), UploadError> {
        self.body = None;
        match self.framing {
            Announced::Length(0) => Ok(()),
            Announced::Chunked => {
                self.written.extend_from_slice(b"0\r\n");
                for (name, value) in trailers.into_iter().flatten() {
                    // Framing is not the body's to say, not even behind it.
                    if name != CONTENT_LENGTH && name != TRANSFER_ENCODING {
                        write_field(&mut self.written, name.as_str().as_bytes(), value.as_bytes());
                    }
                }
                self.written.extend_from_slice(b"\r\n");
                Ok(())
            }
            Announced::Nothing | Announced::Length(_) => Err(UploadError::Body),
        }
    }
}
