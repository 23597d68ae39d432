//! Watches an answer's body on its way: bytes pass untouched, the entry closes once, the lease returns.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, StatusCode};
use http_body::{Body, Frame, SizeHint};

use super::allowance::Charge;
use super::attempt::{Answered, Demand, Holder, generation};
use super::failover::learn_late;
use super::headers::{clean_trailers_for_caller, redact};
use super::hold::{Begun, Form};
use super::owned::Resumed;
use super::route::Route;
use super::trouble::Trouble;
use super::{REFUSED, REQUEST, Worker, booked};
use crate::keys::Key;
use crate::ledger::{Outcome, Report};
use crate::openrouter::dialect::{Stream, error_event};
use crate::openrouter::sse::Events;
use crate::openrouter::usage::UsageTap;
use crate::upstream::BodyError;

/// The kind of a fault where an answer ended too early.
const BROKE_OFF: &str = "answer broke off";

/// How much of an error's body is searched for the key.
const SEARCHED: usize = 64 << 10;

/// The body of every answer.
#[derive(Debug)]
pub enum ProxyBody {
    /// An answer that hermux made itself.
    Own(Option<Bytes>),
    /// Upstream's answer. Boxed, since it passes through many hands.
    Tapped(Box<Tap>),
    /// An answer of which the beginning was read already.
    Resumed(Box<Resumed>),
}

impl From<Bytes> for ProxyBody {
    fn from(bytes: Bytes) -> Self {
        Self::Own(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }
}

impl Body for ProxyBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Tapped(tap) => tap.poll_frame(cx),
            Self::Resumed(resumed) => resumed.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.is_none(),
            Self::Tapped(tap) => tap.is_end_stream(),
            Self::Resumed(resumed) => resumed.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Tapped(tap) => tap.size_hint(),
            Self::Resumed(resumed) => resumed.size_hint(),
        }
    }
}

/// The tap on one answer. It cannot fail, holds a bounded amount, and settles exactly once: at the end,
/// at a break, or when it is dropped because the caller left.
#[derive(Debug)]
pub struct Tap {
    worker: Rc<Worker>,
    answered: Box<Answered>,
    ended: bool,
    usage: Option<UsageTap>,
    /// None also where no event could be added, since the length of the body is announced.
    events: Option<Events>,
    redactor: Option<Box<Redactor>>,
    /// Who asked, and for which model.
    asked: (Arc<str>, Arc<str>),
    /// What it counts for its caller; none where nothing is counted.
    pub(super) charge: Option<Charge>,
    log: Option<Box<LogLine>>,
}

/// A request's one log line, with what it says beyond the entry. Dropped untold, it tells that the caller left.
#[derive(Debug)]
pub(super) struct LogLine {
    method: Method,
    caller: Arc<str>,
    model: Arc<str>,
    path: Arc<str>,
    attempts: u32,
    begun: Instant,
    told: bool,
}

impl LogLine {
    pub(super) fn of(demand: &Demand<'_>) -> Self {
        Self::new(demand.method, &demand.caller, &demand.model, Arc::clone(&demand.path))
    }

    pub(super) fn new(method: &Method, caller: &Arc<str>, model: &Arc<str>, path: Arc<str>) -> Self {
        let (caller, model) = (Arc::clone(caller), Arc::clone(model));
        Self { method: method.clone(), caller, model, path, attempts: 0, begun: Instant::now(), told: false }
    }

    /// Tells of a request that hermux answered itself.
    pub(super) fn answered_here(mut self, status: u16) {
        self.told = true;
        let outcome = if status < 400 { Outcome::Complete } else { Outcome::Failed };
        tracing::debug!(
            target: REQUEST,
            method = %self.method,
            caller = &*self.caller,
            path = %self.path,
            status,
            outcome = outcome.as_str(),
            attempts = 0,
            duration_ms = self.duration_ms(),
            "answered for the pool",
        );
    }

    fn duration_ms(&self) -> u64 {
        millis(self.begun.elapsed())
    }

    pub(super) fn refused(mut self, status: u16, attempts: u32, why: &str) {
        self.told = true;
        tracing::debug!(
            target: REQUEST,
            method = %self.method,
            caller = &*self.caller,
            model = &*self.model,
            path = %self.path,
            status,
            outcome = REFUSED,
            attempts,
            duration_ms = self.duration_ms(),
            "refused: {why}",
        );
    }

    fn ended(mut self, key: &Key, outcome: Outcome, report: &Report) {
        self.told = true;
        let Report { status, bytes, first_byte, usage, .. } = report;
        tracing::debug!(
            target: REQUEST,
            method = %self.method,
            caller = &*self.caller,
            key = %key.name(),
            // As the caller wrote it, so it is escaped.
            model = &*self.model,
            path = %self.path,
            status,
            outcome = outcome.as_str(),
            attempts = self.attempts,
            bytes,
            first_byte_ms = first_byte.map(millis),
            duration_ms = self.duration_ms(),
            prompt_tokens = usage.prompt_tokens,
            completion_tokens = usage.completion_tokens,
            cost_nanodollars = usage.cost,
            "{}",
            outcome.as_str(),
        );
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        if !self.told {
            tracing::debug!(
                target: REQUEST,
                method = %self.method,
                caller = &*self.caller,
                model = &*self.model,
                path = %self.path,
                outcome = Outcome::Cancelled.as_str(),
                duration_ms = self.duration_ms(),
                "the caller left before there was an answer",
            );
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Tap {
    pub(super) fn new(
        worker: Rc<Worker>,
        mut answered: Box<Answered>,
        route: &Route<'_>,
        asked: (Arc<str>, Arc<str>),
        mut log: Option<Box<LogLine>>,
    ) -> (Box<Self>, StatusCode, HeaderMap) {
        let Route { inference, dialect, makes, .. } = *route;
        let Answered { reply, entry, failed, attempts, .. } = &mut *answered;
        if let Some(log) = &mut log {
            log.attempts = *attempts;
        }
        let (status, headers, form) = (reply.status, std::mem::take(&mut reply.headers), reply.form);
        *failed |= status.as_u16() >= 400;
        let is_error = *failed;
        entry.report.status = Some(status.as_u16());
        // Of an answer that went well it is told already.
        if is_error {
            entry.report.generation = generation(&headers);
        }
        entry.report.free = is_error;
        let is_told = entry.report.generation.is_some();
        let make = match makes {
            _ if is_told => UsageTap::without_generation,
            Some(_) => UsageTap::of_job,
            None => UsageTap::new,
        };
        let is_read = inference && !is_error && matches!(form, Form::Events | Form::Json);
        let usage = is_read.then(|| make(dialect));
        let is_open = form == Form::Events && !headers.contains_key(CONTENT_LENGTH);
        let tap = Box::new(Self {
            worker,
            answered,
            ended: false,
            usage,
            events: is_open.then(|| Events::new(dialect)),
            redactor: is_error.then(Box::default),
            asked,
            charge: None,
            log,
        });
        (tap, status, headers)
    }

    /// Settles at once where no body follows; call it when the head is ready to go.
    pub(super) fn begin(&mut self) {
        if self.answered.reply.body.is_end_stream() {
            self.settle_whole();
        }
    }

    /// Whether this is an error whose body cannot be searched for the key.
    pub(super) fn hides_what_it_says(&self) -> bool {
        self.redactor.is_some()
            && !self.answered.reply.body.is_end_stream()
            && self.answered.reply.form == Form::Encoded
    }

    /// Settles an answer whose body is not passed on.
    pub(super) fn withhold(mut self: Box<Self>) {
        self.settle_whole();
    }

    pub(super) fn key(&self) -> &Key {
        self.answered.holder.key()
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            let Poll::Ready(frame) = self.answered.reply.body.poll_frame(cx) else {
                self.take_generation();
                self.answered.entry.waits();
                return Poll::Pending;
            };
            // What comes behind the end was put there by the tap itself.
            if self.ended {
                return Poll::Ready(frame);
            }
            match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        let data = self.see(data);
                        // A body of known length is dropped without being asked for its end, so this is it.
                        if self.answered.reply.body.is_end_stream() {
                            self.end_with(|_| ());
                        } else if data.is_empty() {
                            continue;
                        }
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                    Err(other) => {
                        let Ok(mut trailers) = other.into_trailers() else { continue };
                        clean_trailers_for_caller(&mut trailers, self.answered.holder.key());
                        // Nor is it asked for what would come behind the trailers.
                        self.end_with(|body| body.end_with(trailers));
                    }
                },
                None => self.end_with(|_| ()),
                Some(Err(error)) => {
                    let why = error.to_string();
                    self.break_off(error, &why);
                }
            }
            // What was held back goes before whatever else is left.
            if let Some(redactor) = self.redactor.take().filter(|redactor| !redactor.held.is_empty()) {
                return Poll::Ready(Some(Ok(Frame::data(redactor.held.freeze()))));
            }
        }
    }

    /// Looks at data that passes; what comes back is the same but for keys in errors.
    fn see(&mut self, data: Bytes) -> Bytes {
        let report = &mut self.answered.entry.report;
        if report.bytes == 0 && report.first_byte.is_none() {
            let elapsed = self.answered.entry.elapsed();
            self.answered.entry.report.first_byte = Some(elapsed);
        }
        let is_whole = self.answered.entry.report.bytes == 0 && self.answered.reply.body.is_end_stream();
        self.answered.entry.report.bytes += data.len() as u64;
        match &mut self.usage {
            Some(usage) if is_whole => usage.feed_whole(&data),
            Some(usage) => usage.feed(&data),
            None => {}
        }
        if let Some(events) = &mut self.events {
            events.feed(&data);
        }
        match &mut self.redactor {
            Some(redactor) => redactor.pass(
                data,
                self.answered.holder.key().expose().as_bytes(),
                self.answered.reply.body.is_end_stream(),
            ),
            None => data,
        }
    }

    /// The body came to its end, behind which `what` follows. A stream that did not tell its own end was cut all the same.
    fn end_with(&mut self, what: impl FnOnce(&mut Begun)) {
        if self.events.as_ref().is_some_and(Events::is_cut) {
            self.break_off(BodyError::Cut, "upstream ended its answer before the last event");
        } else {
            self.settle_whole();
            what(&mut self.answered.reply.body);
        }
    }

    /// A cut stream stays cut; between two events there is room to say so.
    fn break_off(&mut self, error: BodyError, why: &str) {
        let mut event = Bytes::new();
        // The caller broke its own upload off while the answer came already.
        if matches!(error, BodyError::RequestBody) {
            self.settle(Outcome::Cancelled);
        } else {
            if let Some(events) = self.events.as_ref().filter(|events| events.at_event_boundary()) {
                let id = self.answered.entry.report.generation.as_deref().unwrap_or_default();
                let stream = Stream { id, ..Stream::default() };
                event = error_event(events.dialect(), 502, &format!("hermux: {why}"), &stream);
            }
            self.settle(Outcome::Failed);
            let shared = &self.worker.shared;
            let (at, what) = (shared.clock.now(), why.to_owned());
            let status = self.answered.entry.report.status;
            let (caller, model) = self.asked.clone();
            let trouble = Trouble { at, key: None, caller: Some(caller), model: Some(model), what, status };
            shared.troubles.met(BROKE_OFF, self.answered.holder.key().name().shared(), trouble);
            tracing::warn!(key = %self.answered.holder.key().name(), "an answer broke off: {why}");
        }
        // It may be the beginning of the key.
        self.redactor = None;
        self.answered.reply.body.break_with(event, error);
    }

    /// Takes over the generation that the body told, where the head did not.
    fn take_generation(&mut self) {
        if self.answered.entry.report.generation.is_none()
            && let Some(generation) = self.usage.as_ref().and_then(UsageTap::generation)
        {
            self.worker.shared.affinity.own_generation(generation, self.answered.holder.key().name());
            self.answered.entry.report.generation = Some(Box::from(generation));
        }
    }

    fn settle_whole(&mut self) {
        let told = self.usage.as_ref().is_some_and(|usage| usage.error().is_some())
            || self.events.as_ref().is_some_and(Events::has_failed);
        self.settle(if self.answered.failed || told { Outcome::Failed } else { Outcome::Complete });
    }

    /// Learns from an error that came too late to try another key.
    fn learn(&mut self) {
        let Holder::Lease(lease) = &self.answered.holder else { return };
        let told = self.usage.as_ref().and_then(UsageTap::error);
        let told = told.as_deref().or_else(|| self.events.as_ref()?.error());
        if let Some(error) = told {
            self.answered.entry.report.code = learn_late(&self.worker.shared, lease, &self.asked, error);
        }
    }

    fn settle(&mut self, outcome: Outcome) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        if !self.answered.failed {
            self.learn();
        }
        self.take_generation();
        if let Some(tap) = self.usage.take() {
            let usage = tap.usage();
            self.answered.entry.report.usage = booked(&usage);
            let shared = &self.worker.shared;
            if let (Some(cost @ 1..), Holder::Lease(lease)) = (usage.cost, &self.answered.holder) {
                lease.spent(cost, shared.clock.now());
            }
            if let (Some(cost @ 1..), Some(charge)) = (usage.cost, &self.charge) {
                charge.costs(cost);
            }
        }
        if let Some(log) = self.log.take() {
            log.ended(self.answered.holder.key(), outcome, &self.answered.entry.report);
        }
        self.answered.entry.finish(outcome);
    }

    fn is_end_stream(&self) -> bool {
        self.ended && self.answered.reply.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.redactor.as_ref().map_or(0, |redactor| redactor.held.len() as u64);
        // An announced length would leave no room for the event that tells of a cut.
        match self.answered.reply.body.exact_size().filter(|_| self.events.is_none()) {
            Some(left) => SizeHint::with_exact(left + held),
            None => SizeHint::default(),
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        // Many callers close the connection at the last event, before the body's own end is there.
        if !self.ended && self.events.as_ref().is_some_and(Events::has_ended) {
            self.settle_whole();
        } else {
            self.settle(Outcome::Cancelled);
        }
    }
}

/// Keeps the key out of an error's body: it searches the first 64 KiB, and holds back no more than the
/// beginning of what may be the key.
#[derive(Debug, Default)]
struct Redactor {
    held: BytesMut,
    seen: usize,
}

impl Redactor {
    fn pass(&mut self, data: Bytes, secret: &[u8], is_last: bool) -> Bytes {
        if self.seen >= SEARCHED && self.held.is_empty() {
            return data;
        }
        self.seen += data.len();
        let mut joined = std::mem::take(&mut self.held);
        joined.extend_from_slice(&data);
        redact(&mut joined, secret);
        if !is_last && self.seen < SEARCHED {
            let begins = (1..secret.len().min(joined.len() + 1))
                .rev()
                .find(|&length| joined.ends_with(&secret[..length]));
            self.held = joined.split_off(joined.len() - begins.unwrap_or(0));
        }
        joined.freeze()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::Redactor;

    #[test]
    fn a_key_split_anywhere_is_redacted_at_equal_length() {
        let body = b"{\"error\":\"no such key: sk-or-v1-sk-or-v1-x, sk-or-v1-x\"}";
        let clean = b"{\"error\":\"no such key: sk-or-v1-**********, **********\"}";
        for first in 0..body.len() {
            for second in first..body.len() {
                let mut redactor = Redactor::default();
                let mut out = Vec::new();
                let pieces = [&body[..first], &body[first..second], &body[second..]];
                for (at, piece) in pieces.into_iter().enumerate() {
                    out.extend(redactor.pass(Bytes::from(piece), b"sk-or-v1-x", at == 2));
                }
                assert_eq!(out, clean, "split at {first} and {second}");
            }
        }
    }

    #[test]
    fn nothing_is_held_back_that_cannot_become_the_key() {
        let mut redactor = Redactor::default();
        assert_eq!(redactor.pass(Bytes::from_static(b"an error sk-o"), b"sk-or-v1-x", false), "an error ");
        assert_eq!(redactor.pass(Bytes::from_static(b"k!"), b"sk-or-v1-x", false), "sk-ok!");
    }
}
