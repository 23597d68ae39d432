//! Plays a script as the body of an answer, and tells the books and the records how far it came.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::Shared;
use super::fault::{Close, Step};
use super::record::Outcome;
use super::script::{End, Script};
use super::wire::Wire;

/// Holds an attempt while it is answered; dropped early, it says that the other side left.
#[derive(Debug)]
pub(super) struct Ticket {
    shared: Arc<Shared>,
    pub(super) wire: Arc<Wire>,
    pub(super) number: usize,
    generation: Option<Charge>,
    finished: bool,
}

/// What a generation will be charged.
#[derive(Clone, Debug)]
pub(super) struct Charge {
    pub(super) id: String,
    /// A stream that breaks off costs what it wrote until then; anything else is made to its end
    /// (`OpenRouter` docs, Streaming page).
    pub(super) streamed: bool,
    /// Tokens of the whole answer.
    pub(super) planned: u64,
    /// Tokens that have gone out.
    pub(super) written: u64,
}

impl Ticket {
    pub(super) fn new(shared: Arc<Shared>, wire: Arc<Wire>, number: usize) -> Self {
        Self { shared, wire, number, generation: None, finished: false }
    }

    /// Charges the generation when this attempt is over.
    pub(super) fn charge(&mut self, charge: Charge) {
        self.generation = Some(charge);
    }

    /// The other side broke off: there is nobody to answer, and the connection ends.
    pub(super) fn leave(&mut self) {
        self.finish(Outcome::CallerLeft);
        self.wire.end_now(vec![Step::Close(Close::Fin)]);
    }

    fn sent(&mut self, bytes: usize, tokens: u64) {
        if let Some(charge) = &mut self.generation {
            charge.written += tokens;
        }
        self.shared.records.change(self.number, |attempt| attempt.sent += bytes as u64);
    }

    fn finish(&mut self, outcome: Outcome) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        if let Some(charge) = self.generation.take() {
            let cancelled = outcome != Outcome::Completed;
            let written = if charge.streamed && cancelled { charge.written } else { charge.planned };
            self.shared.with(|state, now| state.books.settle(&charge.id, written, cancelled, now));
        }
        self.shared.records.change(self.number, |attempt| {
            attempt.outcome = Some(outcome);
            attempt.ended = Some(std::time::Instant::now());
        });
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let ours = self.wire.is_ending() || self.shared.is_stopping();
        self.finish(if ours { Outcome::Cut } else { Outcome::CallerLeft });
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(super) struct ScriptBody {
    script: Script,
    left: Option<u64>,
    // When the next piece is due, once its turn has come.
    due: Option<Pin<Box<Sleep>>>,
    last: Instant,
    ticket: Ticket,
}

impl ScriptBody {
    pub(super) fn new(script: Script, ticket: Ticket) -> Self {
        let left = script.length;
        let mut body = Self { script, left, due: None, last: Instant::now(), ticket };
        // Nobody polls a body that is empty from the start.
        body.finish_at_end();
        body
    }

    fn finish_at_end(&mut self) {
        if self.script.pieces.is_empty() && self.script.end == End::Clean {
            self.ticket.finish(Outcome::Completed);
        }
    }
}

impl Body for ScriptBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let body = self.get_mut();
        let Some(next) = body.script.pieces.front() else {
            return match body.script.end {
                End::Clean => Poll::Ready(None),
                End::Stall => Poll::Pending,
                End::Cut(how) => {
                    body.ticket.wire.end(vec![Step::Close(how)]);
                    Poll::Pending
                }
            };
        };
        if !next.wait.is_zero() {
            // Counted from the piece before, not from when it was asked for, so that a stream keeps its pace.
            let at = body.last + next.wait;
            let due = body.due.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
            if due.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            body.due = None;
            body.last = at;
        }
        let Some(piece) = body.script.pieces.pop_front() else { return Poll::Ready(None) };
        body.left = body.left.map(|left| left.saturating_sub(piece.bytes.len() as u64));
        body.ticket.sent(piece.bytes.len(), piece.tokens);
        body.finish_at_end();
        if body.left == Some(0)
            && let End::Cut(how) = body.script.end
        {
            // hyper does not ask again once the announced length has gone out.
            body.ticket.finish(Outcome::Completed);
            body.ticket.wire.end(vec![Step::Close(how)]);
        }
        Poll::Ready(Some(Ok(Frame::data(piece.bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.script.pieces.is_empty() && self.script.end == End::Clean
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}
