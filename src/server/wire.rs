//! The bytes of an HTTP/1.1 connection: what was read and is not used yet, what is written and has not gone.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::Frame;
use tokio::io::AsyncWrite;

use super::Stream;
use super::incoming::{Broken, Source};
use super::io::Io;
use crate::clock::Clock;
use crate::http1::{Decoder, Framing, Intake, Spare, alone, gather};

/// What asks a caller to send the body it holds back.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What one worker's connections share. It stays on its thread.
#[derive(Default)]
pub(crate) struct Buffers {
    intake: Intake,
    /// What is written. Taken while an answer is put into it.
    out: Cell<Vec<u8>>,
    /// What of the heads before serves again. Borrowed only while one is read.
    pub(super) spare: RefCell<Spare>,
    date: RefCell<Date>,
}

impl Buffers {
    /// An empty buffer to write into.
    pub(super) fn out(&self) -> Vec<u8> {
        let mut out = self.out.take();
        out.clear();
        out
    }

    /// Takes it back.
    pub(super) fn give_back(&self, out: Vec<u8>) {
        self.out.set(out);
    }

    /// Writes the time of day as a `Date` tells it.
    pub(super) fn write_date(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.date.borrow_mut().now().as_bytes());
    }
}

/// The time of day to the second, as HTTP writes it (RFC 9110 section 5.6.7); put into words once a second.
#[derive(Debug, Default)]
struct Date {
    second: i64,
    text: String,
}

impl Date {
    fn now(&mut self) -> &str {
        let second = Clock::system().now().0.div_euclid(1_000);
        if second != self.second || self.text.is_empty() {
            self.second = second;
            self.text = in_words(second);
        }
        &self.text
    }
}

fn in_words(second: i64) -> String {
    jiff::Timestamp::from_second(second)
        .ok()
        .and_then(|at| jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at).ok())
        .unwrap_or_default()
}

/// One connection's bytes, shared by who serves it and by the body of the request that it is at.
pub(super) struct Wire<I: Stream> {
    io: RefCell<Io<I>>,
    pub(super) buffers: Rc<Buffers>,
    input: RefCell<Input>,
    output: RefCell<Output>,
}

/// What was read and not used.
struct Input {
    rest: Bytes,
    /// The body of the request, until all of it is read.
    body: Decoder,
    leave: Leave,
}

/// The leave to send the body, for which a caller may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    /// It has it, or does not wait.
    Given,
    Awaited,
    /// The answer came first, so that whether the body comes is open.
    Withheld,
}

/// What is written and has not gone: the bytes, then the piece, then the tail.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    at: usize,
    piece: Bytes,
    tail: &'static [u8],
    /// Whether the stream itself, TLS say, holds some of what it took.
    held: bool,
}

impl Output {
    fn is_empty(&self) -> bool {
        !self.is_unwritten() && !self.held
    }

    fn is_unwritten(&self) -> bool {
        self.at < self.bytes.len() || !self.piece.is_empty() || !self.tail.is_empty()
    }
}

impl<I: Stream> Wire<I> {
    pub(super) fn new(io: Io<I>, buffers: Rc<Buffers>) -> Self {
        let input = Input { rest: Bytes::new(), body: Decoder::new(Framing::Length(0)), leave: Leave::Given };
        Self { io: RefCell::new(io), buffers, input: RefCell::new(input), output: RefCell::default() }
    }

    /// Reads once; nothing when the caller is at its end.
    pub(super) fn poll_read(&self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        self.buffers.intake.poll_read(cx, &mut *self.io.borrow_mut())
    }

    /// What was read and not used, of which nothing is left here.
    pub(super) fn take_rest(&self) -> Bytes {
        std::mem::take(&mut self.input.borrow_mut().rest)
    }

    /// Notes what was read behind a head that was used whole.
    pub(super) fn keep_rest(&self, rest: Bytes) {
        self.input.borrow_mut().rest = rest;
    }

    /// A request's body begins, of which `rest` is here.
    pub(super) fn begin_body(&self, framing: Framing, rest: Bytes, expects: bool) {
        // Who sends all the same does not wait.
        let leave = if expects && rest.is_empty() { Leave::Awaited } else { Leave::Given };
        *self.input.borrow_mut() = Input { rest, body: Decoder::new(framing), leave };
    }

    /// An answer begins, inside of which no leave can be given. Says whether the caller has none.
    pub(super) fn withhold_leave(&self) -> bool {
        let leave = &mut self.input.borrow_mut().leave;
        if *leave == Leave::Awaited {
            *leave = Leave::Withheld;
        }
        *leave == Leave::Withheld
    }

    /// Whether all of the request is read.
    pub(super) fn is_read(&self) -> bool {
        self.input.borrow().body.is_done()
    }

    /// Throws away what is here of a request's body that nobody wants, up to `most` bytes.
    pub(super) fn drain(&self, cx: &mut Context<'_>, most: usize) {
        if self.input.borrow().leave != Leave::Given {
            return;
        }
        let mut drained = 0;
        while drained < most && !self.is_read() {
            match self.poll_body(cx) {
                Poll::Ready(Ok(Some(data))) => drained += data.len(),
                Poll::Ready(Ok(None)) => {}
                _ => return,
            }
        }
    }

    /// Whether the caller left. What it sent ahead instead is kept, and then the question is not asked again.
    pub(super) fn poll_left(&self, cx: &mut Context<'_>) -> Poll<()> {
        {
            let input = self.input.borrow();
            // The body's reader will notice.
            if !input.body.is_done() || !input.rest.is_empty() {
                return Poll::Pending;
            }
        }
        match ready!(self.poll_read(cx)) {
            Ok(ahead) if !ahead.is_empty() => {
                self.keep_rest(alone(ahead));
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    /// Sends these, of which nothing may be waiting: what does not go at once waits for [`Wire::poll_sent`].
    pub(super) fn send(
        &self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        piece: Bytes,
        tail: &'static [u8],
    ) -> io::Result<()> {
        let mut output = self.output.borrow_mut();
        debug_assert!(output.is_empty(), "one after the other");
        let mut at = 0;
        if piece.is_empty() && tail.is_empty() {
            let mut io = self.io.borrow_mut();
            while at < bytes.len() {
                match Pin::new(&mut *io).poll_write(cx, &bytes[at..]) {
                    Poll::Ready(written) => at += some(written?)?,
                    Poll::Pending => break,
                }
            }
            if at == bytes.len() && Pin::new(&mut *io).poll_flush(cx)?.is_ready() {
                return Ok(());
            }
        }
        *output = Output { bytes: bytes[at..].to_vec(), at: 0, piece, tail, held: false };
        self.poll_output(cx, &mut output).map(|_| ())
    }

    /// Puts these behind a leave that has not gone yet. Says whether there is one.
    pub(super) fn send_behind(&self, bytes: &[u8]) -> bool {
        let mut output = self.output.borrow_mut();
        let waits = !output.is_empty();
        if waits {
            debug_assert!(output.piece.is_empty() && output.tail.is_empty(), "a leave is short");
            output.bytes.extend_from_slice(bytes);
        }
        waits
    }

    /// Whether everything that was sent has gone.
    pub(super) fn poll_sent(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut output = self.output.borrow_mut();
        if output.is_empty() {
            return Poll::Ready(Ok(()));
        }
        match self.poll_output(cx, &mut output) {
            Ok(true) => Poll::Ready(Ok(())),
            Ok(false) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Writes what goes. True when nothing is left.
    fn poll_output(&self, cx: &mut Context<'_>, output: &mut Output) -> io::Result<bool> {
        let mut io = self.io.borrow_mut();
        while output.is_unwritten() {
            let parts = [
                IoSlice::new(&output.bytes[output.at..]),
                IoSlice::new(&output.piece),
                IoSlice::new(output.tail),
            ];
            let written = match Pin::new(&mut *io).poll_write_vectored(cx, &parts) {
                Poll::Ready(written) => some(written?)?,
                Poll::Pending => return Ok(false),
            };
            let of_bytes = written.min(output.bytes.len() - output.at);
            let of_piece = (written - of_bytes).min(output.piece.len());
            output.at += of_bytes;
            output.piece.advance(of_piece);
            output.tail = &output.tail[written - of_bytes - of_piece..];
        }
        let held = Pin::new(&mut *io).poll_flush(cx)?.is_pending();
        *output = Output { held, ..Output::default() };
        Ok(!held)
    }

    /// Ends the connection so that the last answer is not lost.
    pub(super) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io.borrow_mut()).poll_shutdown(cx)
    }

    /// Reads on in the request's body: some data of it, or none of it in what came.
    fn poll_body(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        let rest = self.take_rest();
        let mut input = self.input.borrow_mut();
        if let Some(fault) = input.body.fault() {
            return Poll::Ready(Err(fault.into()));
        }
        let read = if rest.is_empty() { ready!(self.poll_read(cx))? } else { rest };
        if read.is_empty() {
            return Poll::Ready(Err(io::Error::from(ErrorKind::UnexpectedEof).into()));
        }
        let (data, used) = gather(&mut input.body, &read, |run| read.slice(run));
        input.rest = read.slice(used..);
        Poll::Ready(Ok(data))
    }
}

impl<I: Stream> Source for Wire<I> {
    fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            {
                let mut input = self.input.borrow_mut();
                if input.body.is_done() {
                    return Poll::Ready(
                        input.body.take_trailers().map(|trailers| Ok(Frame::trailers(trailers))),
                    );
                }
                if input.leave == Leave::Awaited {
                    input.leave = Leave::Given;
                    self.send(cx, CONTINUE, Bytes::new(), b"")?;
                }
            }
            if let Some(data) = ready!(self.poll_body(cx))? {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let input = self.input.borrow();
        input.body.is_done() && !input.body.has_trailers()
    }

    fn remaining(&self) -> Option<u64> {
        self.input.borrow().body.remaining()
    }
}

/// A write that takes nothing would be tried for ever.
fn some(written: usize) -> io::Result<usize> {
    if written == 0 { Err(ErrorKind::WriteZero.into()) } else { Ok(written) }
}
