//! Watches an answer's body on its way: bytes pass untouched, the entry closes once, the lease returns.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};

use super::attempt::Answered;
use super::headers::{clean_trailers_for_caller, redact};
use super::owned::Resumed;
use crate::keys::pool::Lease;
use crate::ledger::{self, OpenEntry, Outcome};
use crate::openrouter::dialect::{Dialect, Stream, error_event};
use crate::openrouter::sse::Boundary;
use crate::openrouter::usage::UsageTap;
use crate::upstream::{AnswerBody, BodyError};

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
            Self::Tapped(tap) => tap.ended && tap.broken.is_none(),
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
    body: AnswerBody,
    usage: Option<UsageTap>,
    sse: Option<Sse>,
    redactor: Option<Redactor>,
    broken: Option<BodyError>,
    /// They wait until what the redactor held back has gone.
    trailers: Option<Box<HeaderMap>>,
    ended: bool,
    entry: OpenEntry,
    lease: Lease,
    log: Option<Box<LogLine>>,
}

/// A stream of events, as far as it matters where it stands.
#[derive(Debug)]
struct Sse {
    boundary: Boundary,
    dialect: Dialect,
}

/// What a request's log line says beyond the entry.
#[derive(Debug)]
pub(super) struct LogLine {
    pub(super) caller: std::sync::Arc<str>,
    pub(super) model: std::sync::Arc<str>,
    pub(super) path: std::sync::Arc<str>,
}

impl Tap {
    pub(super) fn new(
        answered: Answered,
        inference: bool,
        dialect: Dialect,
        log: Option<LogLine>,
    ) -> (Box<Self>, StatusCode, HeaderMap) {
        let Answered { answer, lease, mut entry } = answered;
        let (status, headers) = (answer.status, answer.headers);
        let is_error = status.as_u16() >= 400;
        entry.report.status = Some(status.as_u16());
        let generation = headers.get("x-generation-id").and_then(|id| id.to_str().ok());
        entry.report.generation = generation.map(Box::from);
        let readable = is_readable(&headers);
        let is_sse = media_type_is(&headers, b"text/event-stream");
        let usage =
            (inference && readable && !is_error && (is_sse || media_type_is(&headers, b"application/json")))
                .then(|| if generation.is_some() { UsageTap::without_generation() } else { UsageTap::new() });
        let tap = Box::new(Self {
            // An event could not be added to a body of announced length.
            sse: (is_sse && readable && !headers.contains_key(CONTENT_LENGTH))
                .then(|| Sse { boundary: Boundary::new(), dialect }),
            redactor: is_error.then(Redactor::default),
            body: answer.body,
            usage,
            broken: None,
            trailers: None,
            ended: false,
            entry,
            lease,
            log: log.map(Box::new),
        });
        (tap, status, headers)
    }

    /// Settles at once where no body follows; call it when the head is ready to go.
    pub(super) fn begin(&mut self) {
        if self.body.is_end_stream() {
            self.settle_whole();
        }
    }

    /// Whether this is an error whose body cannot be searched for the key.
    pub(super) fn hides_what_it_says(&self, headers: &HeaderMap) -> bool {
        self.redactor.is_some() && !self.body.is_end_stream() && !is_readable(headers)
    }

    /// Settles an answer whose body is not passed on.
    pub(super) fn withhold(mut self: Box<Self>) {
        self.settle_whole();
    }

    pub(super) fn lease(&self) -> &Lease {
        &self.lease
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(trailers) = self.trailers.take() {
            self.settle_whole();
            return Poll::Ready(Some(Ok(Frame::trailers(*trailers))));
        }
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        loop {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        let data = self.see(data);
                        // hyper drops a body of known length without asking for its end, so this is it.
                        if self.body.is_end_stream() {
                            self.settle_whole();
                        } else if data.is_empty() {
                            continue;
                        }
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                    Err(other) => {
                        let Ok(mut trailers) = other.into_trailers() else { continue };
                        clean_trailers_for_caller(&mut trailers, self.lease.key());
                        let held = self.redactor.take().map(|redactor| redactor.held).unwrap_or_default();
                        if !held.is_empty() {
                            self.trailers = Some(Box::new(trailers));
                            return Poll::Ready(Some(Ok(Frame::data(held.freeze()))));
                        }
                        // hyper does not ask for what would come behind the trailers, either.
                        self.settle_whole();
                        return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                    }
                },
                None => {
                    self.settle_whole();
                    let held = self.redactor.take().map(|redactor| redactor.held).unwrap_or_default();
                    return Poll::Ready((!held.is_empty()).then(|| Ok(Frame::data(held.freeze()))));
                }
                Some(Err(error)) => return Poll::Ready(Some(self.break_off(error))),
            }
        }
    }

    /// Looks at data that passes; what comes back is the same but for keys in errors.
    fn see(&mut self, data: Bytes) -> Bytes {
        let report = &mut self.entry.report;
        if report.bytes == 0 && report.first_byte.is_none() {
            let elapsed = self.entry.elapsed();
            self.entry.report.first_byte = Some(elapsed);
        }
        self.entry.report.bytes += data.len() as u64;
        if let Some(usage) = &mut self.usage {
            usage.feed(&data);
        }
        if let Some(sse) = &mut self.sse {
            sse.boundary.feed(&data);
        }
        match &mut self.redactor {
            Some(redactor) => {
                redactor.pass(data, self.lease.key().expose().as_bytes(), self.body.is_end_stream())
            }
            None => data,
        }
    }

    /// A cut stream stays cut; between two events there is room to say so.
    fn break_off(&mut self, error: BodyError) -> Result<Frame<Bytes>, BodyError> {
        // The caller broke its own upload off while the answer came already.
        if matches!(error, BodyError::RequestBody) {
            self.settle(Outcome::Cancelled);
            return Err(error);
        }
        let message = format!("hermux: {error}");
        let event = self.sse.as_ref().filter(|sse| sse.boundary.at_event_boundary()).map(|sse| {
            let id = self.entry.report.generation.as_deref().unwrap_or_default();
            error_event(sse.dialect, 502, &message, &Stream { id, ..Stream::default() })
        });
        self.settle(Outcome::Failed);
        tracing::warn!(key = %self.lease.key().name(), "an answer broke off: {error}");
        match event {
            Some(event) => {
                self.broken = Some(error);
                Ok(Frame::data(event))
            }
            None => Err(error),
        }
    }

    fn settle_whole(&mut self) {
        let failed = self.entry.report.status.is_some_and(|status| status >= 400);
        self.settle(if failed { Outcome::Failed } else { Outcome::Complete });
    }

    fn settle(&mut self, outcome: Outcome) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        if let Some(tap) = self.usage.take() {
            let usage = tap.usage();
            let report = &mut self.entry.report;
            report.usage = ledger::Usage {
                prompt_tokens: usage.prompt_tokens,
                completion_tokens: usage.completion_tokens,
                reasoning_tokens: usage.reasoning_tokens,
                cached_tokens: usage.cached_tokens,
                cost: usage.cost,
            };
            if report.generation.is_none() {
                report.generation = tap.generation().map(Box::from);
            }
        }
        if let Some(log) = self.log.take() {
            let report = &self.entry.report;
            tracing::debug!(
                target: "hermux::request",
                caller = %log.caller,
                key = %self.lease.key().name(),
                // As the caller wrote it, so not as it is.
                model = ?log.model,
                status = report.status,
                outcome = outcome.as_str(),
                bytes = report.bytes,
                ms = u64::try_from(self.entry.elapsed().as_millis()).unwrap_or(u64::MAX),
                "{}",
                log.path,
            );
        }
        self.entry.finish(outcome);
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.redactor.as_ref().map_or(0, |redactor| redactor.held.len() as u64);
        match self.body.size_hint().exact() {
            Some(left) => SizeHint::with_exact(left + held),
            None => SizeHint::default(),
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.settle(Outcome::Cancelled);
    }
}

/// Whether the body is as it says, not compressed.
fn is_readable(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

fn media_type_is(headers: &HeaderMap, wanted: &[u8]) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| {
        let media_type = value.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default();
        media_type.trim_ascii().eq_ignore_ascii_case(wanted)
    })
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
