//! One request and its answer on one connection, as a state machine that its owner polls.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use http::Method;
use http_body::Body;

use super::body::AnswerBody;
use super::conn::Conn;
use super::head::{self, Announced, AnswerHead, Found};
use super::pool::Worker;
use super::upload::{SMALL, Source, Upload, UploadError};
use super::{Answer, Head, Outgoing, SendError};
use crate::http1::{Decoder, Spare};

/// An exchange under way. Dropping it closes the connection.
pub(super) struct Exchange {
    worker: Rc<Worker>,
    conn: Conn,
    /// What of the request is not written yet.
    upload: Option<Box<Upload>>,
    /// Whether the connection may serve again once this is over.
    keep: bool,
}

/// An exchange that waits for the head of its answer.
pub(super) struct Asking {
    /// None once the answer is given.
    exchange: Option<Exchange>,
    /// The start of a head that came in parts.
    part: Vec<u8>,
    /// Bytes of interim answers.
    interim: usize,
    /// Whether the answer has no body whatever its head says.
    bodiless: bool,
}

/// What one read of an answer's body brought.
pub(super) enum Read {
    Bytes(Bytes),
    /// The connection ended in order.
    End,
    /// It broke.
    Cut,
    /// Nothing came for too long.
    Silent,
}

impl Asking {
    /// Writes the request as far as that goes at once.
    pub(super) fn begin<'a, H, B>(
        worker: Rc<Worker>,
        conn: Conn,
        head: Head<'a, H>,
        body: Outgoing<B>,
    ) -> Self
    where
        H: Iterator<Item = (&'a [u8], &'a [u8])>,
        B: Body<Data = Bytes> + Unpin + 'static,
    {
        let bodiless = head.method == Method::HEAD;
        let announced = match &body {
            Outgoing::Empty if expects_body(head.method) => Announced::Length(0),
            Outgoing::Empty => Announced::Nothing,
            Outgoing::Full(bytes) => Announced::Length(bytes.len() as u64),
            Outgoing::Stream(_, Some(length)) => Announced::Length(*length),
            Outgoing::Stream(_, None) => Announced::Chunked,
        };
        let mut exchange = Exchange { worker, conn, upload: None, keep: true };
        let worker = Rc::clone(&exchange.worker);
        let mut out = worker.out.borrow_mut();
        out.clear();
        head::write(&mut out, head, &worker.connector.host_line, announced);
        match body {
            Outgoing::Empty => exchange.write_at_once(&out),
            Outgoing::Full(bytes) if bytes.len() <= SMALL => {
                out.extend_from_slice(&bytes);
                exchange.write_at_once(&out);
            }
            Outgoing::Full(bytes) => exchange.upload = Some(Box::new(Upload::rest(out.clone(), bytes))),
            Outgoing::Stream(body, _) => {
                let source: Box<dyn Source> = Box::new(body);
                exchange.upload = Some(Box::new(Upload::stream(out.clone(), source, announced)));
            }
        }
        Self { exchange: Some(exchange), part: Vec::new(), interim: 0, bodiless }
    }

    /// Waits for the head of the answer.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answer, SendError>> {
        let result = ready!(self.poll_answer(cx));
        if result.is_err() {
            // Closes the connection now, not when the future is dropped.
            self.exchange = None;
        }
        Poll::Ready(result)
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answer, SendError>> {
        let exchange = self.exchange.as_mut().expect("an exchange is polled until it is ready");
        exchange.poll_upload(cx).map_err(|()| SendError::RequestBody)?;
        let worker = Rc::clone(&exchange.worker);
        loop {
            let read = match exchange.conn.io.poll_read(cx, &worker.intake) {
                Poll::Ready(Ok(read)) if read.is_empty() => return Poll::Ready(Err(self.ended(None))),
                Poll::Ready(Ok(read)) => read,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.ended(Some(&error)))),
                // While the caller pauses in its upload, upstream is not late.
                Poll::Pending if exchange.upload.as_ref().is_some_and(|upload| upload.waits_for_body()) => {
                    exchange.conn.timer.rest();
                    return Poll::Pending;
                }
                Poll::Pending => {
                    let late = exchange.conn.timer.has_expired(&worker.ticker, worker.first_byte, cx);
                    return if late { Poll::Ready(Err(SendError::FirstByteTimeout)) } else { Poll::Pending };
                }
            };
            let spare = &mut worker.spare.borrow_mut();
            if let Some(head) = find(spare, &mut self.part, &mut self.interim, read, self.bodiless)
                .map_err(SendError::Garbled)?
            {
                let exchange = self.exchange.take().expect("it was there above");
                return Poll::Ready(Ok(exchange.answer(head)));
            }
        }
    }

    /// Why a connection that ended before the head of the answer did so.
    fn ended(&self, error: Option<&io::Error>) -> SendError {
        let nothing_came = self.part.is_empty() && self.interim == 0;
        let reused = self.exchange.as_ref().is_some_and(|exchange| exchange.conn.reused);
        let tls = error.and_then(io::Error::get_ref).and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            _ if nothing_came && reused => SendError::Stale,
            // With TLS 1.3 a server refuses after the client's part of the handshake is over.
            Some(fault) if nothing_came => SendError::Tls(fault.to_string()),
            _ if nothing_came => SendError::Closed,
            _ => SendError::CutShort,
        }
    }
}

/// Whether a request of this method without a body says so, for servers that insist on a length.
fn expects_body(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::PATCH].contains(method)
}

/// Looks for the head of the answer in what was read and what came before; keeps what is not one yet.
fn find(
    spare: &mut Spare,
    part: &mut Vec<u8>,
    interim: &mut usize,
    read: Bytes,
    bodiless: bool,
) -> Result<Option<AnswerHead>, &'static str> {
    let mut input = read;
    if !part.is_empty() {
        part.extend_from_slice(&input);
        // A head ends with a line: without a new one there is no need to look again.
        if !input.contains(&b'\n') && part.len() < head::MAX_HEAD {
            return Ok(None);
        }
        input = std::mem::take(part).into();
    }
    while !input.is_empty() {
        match head::read(spare, &input, bodiless)? {
            Found::Answer(head) => return Ok(Some(head)),
            Found::Interim(used) => {
                *interim += used;
                input.advance(used);
            }
            Found::Part => {
                part.extend_from_slice(&input);
                break;
            }
        }
        if *interim > head::MAX_HEAD {
            return Err("its interim answers are too long");
        }
    }
    Ok(None)
}

impl Exchange {
    /// Writes a whole request in one go; what does not fit the socket's buffer waits in an upload.
    fn write_at_once(&mut self, bytes: &[u8]) {
        // Nobody needs waking: what cannot be written is tried again with the first poll.
        let cx = &mut Context::from_waker(Waker::noop());
        let written = match self.conn.io.poll_write(cx, bytes) {
            Poll::Ready(Ok(written)) => written,
            Poll::Ready(Err(_)) => return self.give_up_writing(),
            Poll::Pending => 0,
        };
        let flushed = match self.conn.io.poll_flush(cx) {
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(_)) => return self.give_up_writing(),
            Poll::Pending => false,
        };
        if written < bytes.len() || !flushed {
            self.upload = Some(Box::new(Upload::rest(bytes[written..].to_vec(), Bytes::new())));
        }
    }

    /// The connection takes no more, but an answer may have come before it broke.
    fn give_up_writing(&mut self) {
        self.upload = None;
        self.keep = false;
    }

    /// Goes on writing. An error says that the request's body failed: then no answer counts.
    pub(super) fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), ()> {
        let Some(upload) = &mut self.upload else { return Ok(()) };
        let mut progress = false;
        match upload.poll(cx, &mut self.conn.io, &mut progress) {
            Poll::Ready(Ok(())) => self.upload = None,
            Poll::Ready(Err(UploadError::Connection)) => self.give_up_writing(),
            Poll::Ready(Err(UploadError::Body)) => return Err(()),
            Poll::Pending => {}
        }
        if progress {
            self.conn.timer.rest();
        }
        Ok(())
    }

    /// Reads once, while the body of the answer is under way.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Read> {
        let read = match self.conn.io.poll_read(cx, &self.worker.intake) {
            Poll::Ready(Ok(read)) if read.is_empty() => Read::End,
            Poll::Ready(Ok(read)) => {
                self.conn.timer.rest();
                Read::Bytes(read)
            }
            Poll::Ready(Err(_)) => Read::Cut,
            Poll::Pending => {
                if !self.conn.timer.has_expired(&self.worker.ticker, self.worker.silence, cx) {
                    return Poll::Pending;
                }
                Read::Silent
            }
        };
        Poll::Ready(read)
    }

    /// The answer with this head.
    fn answer(mut self, head: AnswerHead) -> Answer {
        self.keep &= head.keep_alive;
        self.conn.timer.rest();
        let AnswerHead { status, headers, framing, rest, .. } = head;
        Answer { status, headers, body: AnswerBody::new(self, Decoder::new(framing), &rest) }
    }

    /// The answer is complete, with or without something behind it: keeps the connection if it may be kept.
    pub(super) fn finish(self, left_over: bool) {
        let sent = self.upload.as_ref().is_none_or(|upload| upload.is_sent());
        if self.keep && sent && !left_over {
            self.worker.give_back(self.conn);
        }
    }
}
