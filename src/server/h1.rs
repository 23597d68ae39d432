//! HTTP/1.1 as a server speaks it (RFC 9112): one connection, one request after the other.

use std::convert::Infallible;
use std::future::Future;
use std::io::{self, Write};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRAILER, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::{Body, Frame};
use hyper::service::Service;

use super::Stream;
use super::connection::{Answering, Connection, Counted};
use super::head::{self, Found, Malformed, RequestHead, Says, may_end};
use super::incoming::Incoming;
use super::io::Io;
use super::state::{InFlight, State};
use super::wire::{Buffers, Wire};
use crate::http1::{Framing, write_field};

/// Up to this size data is put together and written at once; larger pieces are written from where they are.
const SMALL: usize = 16 << 10;

/// Of a body that nobody wanted so much is read, where it is here already, so that the connection can go on, bytes.
const DRAINED: usize = 64 << 10;

/// One connection.
pub(super) struct Http1<I, S, B>
where
    I: Stream,
    S: Service<Request<Incoming>>,
{
    wire: Rc<Wire<I>>,
    counted: Counted<S>,
    stage: Stage<S::Future, B>,
    /// The largest head, bytes.
    most: usize,
    /// The start of a head that came in parts.
    part: Vec<u8>,
    /// Whether it ends after the request that it is at.
    finishing: bool,
    /// Whether it has served a request. One that has not is given the time to send its first.
    served: bool,
}

/// Where a connection is.
enum Stage<F, B> {
    /// At the head of a request.
    Head,
    /// Waiting for the service.
    Answering { answering: Answering<F>, asked: Asked },
    /// Sending an answer's body.
    Body(Sending<B>),
    /// Ending behind what is sent.
    Closing,
    /// Ending because the answer broke.
    Breaking,
}

/// What of a request matters to its answer.
#[derive(Clone, Copy, Debug)]
struct Asked {
    version: Version,
    is_head: bool,
    keep_alive: bool,
}

/// An answer under way.
struct Sending<B> {
    body: B,
    _in_flight: InFlight,
    framing: Framing,
    keep_alive: bool,
}

/// What filling a buffer with an answer came to.
enum Filled {
    /// The body has more to come.
    Some,
    /// The body waits.
    Waits,
    /// That was all of it.
    All,
    /// It broke.
    Broken,
}

/// A piece of data that is written from where it is, and what follows it.
#[derive(Default)]
struct Piece {
    data: Bytes,
    tail: &'static [u8],
}

/// What a step of a connection came to.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The next stage is up.
    Next,
    /// The connection is over.
    Over,
}

impl<I, S, B> Http1<I, S, B>
where
    I: Stream,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes> + Unpin,
{
    pub(super) fn new(io: Io<I>, buffers: Rc<Buffers>, counted: Counted<S>, most: usize) -> Self {
        Self {
            wire: Rc::new(Wire::new(io, buffers)),
            counted,
            stage: Stage::Head,
            most,
            part: Vec::new(),
            finishing: false,
            served: false,
        }
    }

    fn state(&self) -> &State {
        self.counted.state()
    }

    /// Reads on until a head is whole, and has the service answer it.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Step>> {
        ready!(self.wire.poll_sent(cx))?;
        loop {
            let mut read = self.wire.take_rest();
            if read.is_empty() {
                let Poll::Ready(came) = self.wire.poll_read(cx) else {
                    if self.finishing && self.served && self.part.is_empty() {
                        self.stage = Stage::Closing;
                        return Poll::Ready(Ok(Step::Next));
                    }
                    return Poll::Pending;
                };
                read = came?;
                // The caller left, mostly where it may: over TLS it waits for a word in return.
                if read.is_empty() {
                    self.stage = Stage::Closing;
                    return Poll::Ready(Ok(Step::Next));
                }
            } else {
                // What came ahead of its turn has its time from now on.
                self.state().bytes_arrived();
            }
            match self.look(read) {
                Ok(Found::Part) => {}
                Ok(Found::Request(head)) => {
                    self.begin(head);
                    return Poll::Ready(Ok(Step::Next));
                }
                Err(malformed) => return Poll::Ready(self.refuse(malformed, cx)),
            }
        }
    }

    /// Looks for a head in what was read and what came before; keeps what is not one yet.
    fn look(&mut self, mut read: Bytes) -> Result<Found, Malformed> {
        if !self.part.is_empty() {
            let new = self.part.len().saturating_sub(3);
            self.part.extend_from_slice(&read);
            // Read again only when it may be whole: a head that drips in would cost more with each drop.
            if !may_end(&self.part[new..]) && self.part.len() < self.most {
                return Ok(Found::Part);
            }
            read = std::mem::take(&mut self.part).into();
        }
        let found = head::read(&mut self.wire.buffers.spare.borrow_mut(), &read, self.most)?;
        if let Found::Part = found {
            self.part.extend_from_slice(&read);
        }
        Ok(found)
    }

    fn begin(&mut self, head: RequestHead) {
        let RequestHead { request, framing, keep_alive, expects, mut rest } = head;
        let asked =
            Asked { version: request.version(), is_head: *request.method() == Method::HEAD, keep_alive };
        let here = match framing {
            Framing::Length(length) => usize::try_from(length).ok().filter(|length| *length <= rest.len()),
            _ => None,
        };
        let body = if let Some(length) = here {
            let body = rest.split_to(length);
            self.wire.keep_rest(rest);
            Incoming::whole(body)
        } else {
            self.wire.begin_body(framing, rest, expects);
            Incoming::arriving(Rc::clone(&self.wire) as _)
        };
        self.state().request_began(framing != Framing::Length(0), asked.version);
        self.served = true;
        let answering = self.counted.answer(request.map(|()| body));
        self.stage = Stage::Answering { answering, asked };
    }

    /// Answers what is no request, and ends.
    #[cold]
    fn refuse(&mut self, malformed: Malformed, cx: &mut Context<'_>) -> io::Result<Step> {
        let Malformed(status) = malformed;
        tracing::debug!("a caller's request cannot be read: {status}");
        self.state().leaves_unread();
        // As OpenRouter words its errors, whatever route was meant.
        let body = format!(
            r#"{{"error":{{"code":{},"message":"hermux: {}"}}}}"#,
            status.as_u16(),
            malformed.sentence()
        );
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let framing = Some(Framing::Length(body.len() as u64));
        let says = Says { version: Version::HTTP_11, framing, keep_alive: false };
        let mut out = self.wire.buffers.out();
        head::write(&mut out, status, &headers, says, |out| self.wire.buffers.write_date(out));
        out.extend_from_slice(body.as_bytes());
        self.stage = Stage::Closing;
        let sent = self.wire.send(cx, &out, Bytes::new(), b"");
        self.wire.buffers.give_back(out);
        sent.map(|()| Step::Next)
    }

    fn poll_answering(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Step>> {
        let Stage::Answering { answering, asked } = &mut self.stage else {
            return Poll::Ready(Ok(Step::Next));
        };
        let asked = *asked;
        let Poll::Ready((answer, in_flight)) = Pin::new(answering).poll(cx) else {
            let _ = self.wire.poll_sent(cx)?;
            return self.wire.poll_left(cx).map(|()| Ok(Step::Over));
        };
        let mut out = self.wire.buffers.out();
        let sending = self.head(answer, in_flight, asked, &mut out, cx);
        self.stage = Stage::Body(sending);
        if self.wire.send_behind(&out) {
            out.clear();
        }
        let polled = self.poll_body(cx, &mut out);
        self.wire.buffers.give_back(out);
        polled
    }

    /// Writes an answer's head.
    fn head(
        &mut self,
        answer: Response<B>,
        in_flight: InFlight,
        asked: Asked,
        out: &mut Vec<u8>,
        cx: &mut Context<'_>,
    ) -> Sending<B> {
        let (mut parts, body) = answer.into_parts();
        let status = parts.status;
        // Nobody wants the rest of the request any more; where there is still a reader, it goes on beside the answer.
        let is_wanted = Rc::strong_count(&self.wire) > 1;
        if !is_wanted {
            self.wire.drain(cx, DRAINED);
        }
        let may_come = is_wanted && !self.wire.withhold_leave();
        let mut keep_alive = asked.keep_alive && !self.finishing && (may_come || self.wire.is_read());
        let told = || parts.headers.get(CONTENT_LENGTH).and_then(|told| told.to_str().ok()?.parse().ok());
        let framing = match status {
            // Has no length (RFC 9110 section 8.6).
            StatusCode::NO_CONTENT => None,
            // Tells that of the body it does not have.
            StatusCode::NOT_MODIFIED => told().map(Framing::Length),
            _ => match body.size_hint().exact().filter(|exact| *exact > 0 || !asked.is_head).or_else(told) {
                Some(length) => Some(Framing::Length(length)),
                None if asked.is_head => None,
                None if asked.version == Version::HTTP_10 => Some(Framing::UntilClose),
                None => Some(Framing::Chunked),
            },
        };
        let bodiless = asked.is_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        keep_alive &= framing != Some(Framing::UntilClose);
        let says = Says { version: asked.version, framing, keep_alive };
        head::write(out, status, &parts.headers, says, |out| self.wire.buffers.write_date(out));
        self.wire.buffers.spare.borrow_mut().keep(std::mem::take(&mut parts.headers));
        let framing = framing.filter(|_| !bodiless).unwrap_or(Framing::Length(0));
        Sending { body, _in_flight: in_flight, framing, keep_alive }
    }

    /// Sends what there is of an answer, behind what stands in `out`.
    fn poll_body(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<io::Result<Step>> {
        loop {
            let Stage::Body(sending) = &mut self.stage else { return Poll::Ready(Ok(Step::Next)) };
            if self.wire.poll_sent(cx)?.is_pending() {
                return Poll::Pending;
            }
            let mut piece = Piece::default();
            let filled = sending.fill(cx, out, &mut piece);
            let keep_alive = sending.keep_alive;
            match filled {
                Filled::Some | Filled::Waits => {}
                // Before the caller can see the end, the service knows of it.
                Filled::All => self.stage = Stage::Head,
                Filled::Broken => {
                    self.state().answer_broke();
                    self.stage = Stage::Breaking;
                }
            }
            if !out.is_empty() || !piece.data.is_empty() {
                self.wire.send(cx, out, piece.data, piece.tail)?;
                out.clear();
            }
            match filled {
                Filled::Waits => return self.wire.poll_left(cx).map(|()| Ok(Step::Over)),
                Filled::All => {
                    // Who still holds the request's body would come to read the next one's.
                    let is_held = Rc::strong_count(&self.wire) > 1;
                    if !is_held {
                        // The caller may still be at its request.
                        self.wire.drain(cx, DRAINED);
                    }
                    // Told to finish, it still serves what came meanwhile: the caller was promised so.
                    if !keep_alive || is_held || !self.wire.is_read() {
                        self.stage = Stage::Closing;
                    }
                }
                Filled::Some | Filled::Broken => {}
            }
        }
    }

    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Step>> {
        match &self.stage {
            Stage::Head => self.poll_head(cx),
            Stage::Answering { .. } => self.poll_answering(cx),
            Stage::Body(_) => {
                let mut out = self.wire.buffers.out();
                let polled = self.poll_body(cx, &mut out);
                self.wire.buffers.give_back(out);
                polled
            }
            Stage::Closing => {
                ready!(self.wire.poll_sent(cx))?;
                self.wire.poll_shutdown(cx).map_ok(|()| Step::Over)
            }
            Stage::Breaking => {
                ready!(self.wire.poll_sent(cx))?;
                // Ending without a word resets it.
                if self.state().must_reset() {
                    return Poll::Ready(Ok(Step::Over));
                }
                self.stage = Stage::Closing;
                Poll::Ready(Ok(Step::Next))
            }
        }
    }
}

impl<B> Sending<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    /// Takes of the body what is there, up to about [`SMALL`], and puts it behind what stands in `out`.
    fn fill(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>, piece: &mut Piece) -> Filled {
        loop {
            if self.framing == Framing::Length(0) || self.body.is_end_stream() {
                return self.end(None, out, piece);
            }
            if !piece.data.is_empty() || out.len() >= SMALL {
                return Filled::Some;
            }
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return Filled::Waits,
                Poll::Ready(None) => return self.end(None, out, piece),
                Poll::Ready(Some(Err(_))) => return Filled::Broken,
                Poll::Ready(Some(Ok(frame))) => frame,
            };
            match frame.into_data().map_err(Frame::into_trailers) {
                // An empty chunk would be the last one.
                Ok(data) if data.is_empty() => {}
                Ok(data) => {
                    if self.put(data, out, piece).is_none() {
                        return Filled::Broken;
                    }
                }
                Err(trailers) => return self.end(trailers.ok().as_ref(), out, piece),
            }
        }
    }

    /// Puts data behind what stands in `out`; nothing when it is more than was announced.
    fn put(&mut self, data: Bytes, out: &mut Vec<u8>, piece: &mut Piece) -> Option<()> {
        let is_chunk = match &mut self.framing {
            Framing::Length(left) => {
                *left = left.checked_sub(data.len() as u64)?;
                false
            }
            Framing::Chunked => {
                // Writing to memory does not fail.
                let _ = write!(out, "{:x}\r\n", data.len());
                true
            }
            Framing::UntilClose => false,
        };
        if out.len() + data.len() <= SMALL {
            out.extend_from_slice(&data);
            out.extend_from_slice(if is_chunk { b"\r\n" } else { b"" });
        } else {
            *piece = Piece { data, tail: if is_chunk { b"\r\n" } else { b"" } };
        }
        Some(())
    }

    /// The body is at its end, which may be too early.
    fn end(&mut self, trailers: Option<&HeaderMap>, out: &mut Vec<u8>, piece: &mut Piece) -> Filled {
        match self.framing {
            Framing::Length(0) | Framing::UntilClose => {}
            Framing::Length(_) => return Filled::Broken,
            Framing::Chunked if piece.data.is_empty() => {
                out.extend_from_slice(b"0\r\n");
                for (name, value) in trailers.into_iter().flatten() {
                    // Framing is not for trailers to tell (RFC 9110 section 6.5.1).
                    if *name != CONTENT_LENGTH && *name != TRANSFER_ENCODING && *name != TRAILER {
                        write_field(out, name.as_str().as_bytes(), value.as_bytes());
                    }
                }
                out.extend_from_slice(b"\r\n");
            }
            Framing::Chunked => piece.tail = b"\r\n0\r\n\r\n",
        }
        Filled::All
    }
}

impl<I, S, B> Unpin for Http1<I, S, B>
where
    I: Stream,
    S: Service<Request<Incoming>>,
{
}

impl<I, S, B> Future for Http1<I, S, B>
where
    I: Stream,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes> + Unpin,
{
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Step::Next = ready!(self.poll_step(cx))? {}
        Poll::Ready(Ok(()))
    }
}

impl<I, S, B> Connection for Http1<I, S, B>
where
    I: Stream,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes> + Unpin,
{
    type Fault = io::Error;

    fn finish(mut self: Pin<&mut Self>) {
        self.finishing = true;
    }
}
