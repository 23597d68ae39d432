//! What goes wrong: which request it hits, and what happens to that one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::errors::Denial;
use super::record::Attempt;
use crate::clock::Time;

/// A rule: when a request matches, that happens.
///
/// Rules are looked through in order; the first that matches and acts decides alone.
#[derive(Clone)]
pub struct Fault {
    path: Option<String>,
    model: Option<String>,
    key: Option<String>,
    reused: bool,
    test: Option<Test>,
    skip: usize,
    times: Option<usize>,
    span: Option<(Time, Time)>,
    share: Option<(u64, u64)>,
    stage: Stage,
    then: Vec<Then>,
}

/// How far a request has come when a rule may strike it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its head is here.
    Head,
    /// All of it is here.
    Whole,
    /// Account and quota have let it through, and counted it.
    Provider,
}

type Test = Arc<dyn Fn(&Attempt) -> bool + Send + Sync>;

/// What happens to a request.
#[derive(Clone, Debug)]
pub enum Then {
    /// This answer instead of the real one, byte for byte.
    Answer(Canned),
    /// One of `OpenRouter`'s errors, in the dialect of the path.
    Deny(Denial),
    /// Status 200, and this JSON in place of the content: the only `data:` of a stream, or the body.
    ErrorInside(String),
    /// The same error as the only event of a stream under status 200, in the dialect's form, or as the body.
    DenyInside(Denial),
    /// A stream breaks off after so much with an error chunk in the dialect's form, then ends.
    ErrorAfter(After, Denial),
    /// The head waits so long; the rest is as usual.
    DelayHead(Duration),
    /// No answer, ever; the connection stays open.
    Stall,
    /// The answer falls silent after so much of it; the connection stays open.
    StallAfter(After),
    /// The connection ends after so much of the answer's body.
    Cut(After, Close),
    /// The body ends cleanly after so much of it, as if that had been all.
    EndAfter(After),
    /// The body goes out in pieces of at most so many bytes, each flushed on its own.
    Split(usize),
    /// One more header on the answer.
    Header(String, String),
    /// No HTTP: these steps on the bare connection (inside TLS where there is TLS).
    Wire(Vec<Step>),
}

impl Then {
    /// This status and JSON body.
    #[must_use]
    pub fn answer(status: u16, body: impl Into<Bytes>) -> Self {
        Self::Answer(Canned::json(status, body))
    }

    /// The connection ends without a byte of an answer.
    #[must_use]
    pub fn close(how: Close) -> Self {
        Self::Wire(vec![Step::Close(how)])
    }

    /// Whether nothing of the real answer goes out.
    pub(super) fn replaces(&self) -> bool {
        matches!(
            self,
            Self::Answer(_)
                | Self::Deny(_)
                | Self::ErrorInside(_)
                | Self::DenyInside(_)
                | Self::Stall
                | Self::Wire(_)
        )
    }

    /// `bytes` instead of an answer, then the end of the connection.
    #[must_use]
    pub fn garbage(bytes: impl Into<Bytes>) -> Self {
        Self::Wire(vec![Step::Send(bytes.into()), Step::Close(Close::Fin)])
    }
}

/// How much of an answer's body still goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// So many bytes.
    Bytes(usize),
    /// So many events of a stream; comments don't count.
    Events(usize),
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// An orderly end of the TCP connection, without TLS's own good-bye.
    Fin,
    /// A reset.
    Rst,
}

/// A step on a bare connection.
#[derive(Clone, Debug)]
pub enum Step {
    /// These bytes, flushed.
    Send(Bytes),
    /// So long nothing.
    Wait(Duration),
    /// The end; what follows is not reached.
    Close(Close),
}

/// A whole answer, ready to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canned {
    /// The status.
    pub status: u16,
    /// Its own headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl Canned {
    /// A JSON body under this status.
    #[must_use]
    pub fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: body.into(),
        }
    }
}

impl Fault {
    /// Hits every request, until narrowed down.
    #[must_use]
    pub fn new(then: Then) -> Self {
        Self {
            path: None,
            model: None,
            key: None,
            reused: false,
            test: None,
            skip: 0,
            times: None,
            span: None,
            share: None,
            stage: Stage::Whole,
            then: vec![then],
        }
    }

    /// Further on, that happens too: delays first, then the answer is changed in order.
    #[must_use]
    pub fn and(mut self, then: Then) -> Self {
        self.then.push(then);
        self
    }

    /// Only requests whose path, without the query, ends so.
    #[must_use]
    pub fn on_path(mut self, ending: &str) -> Self {
        self.path = Some(ending.to_owned());
        self
    }

    /// Only requests for this model.
    #[must_use]
    pub fn on_model(mut self, model: &str) -> Self {
        self.model = Some(model.to_owned());
        self
    }

    /// Only requests with the key of this name.
    #[must_use]
    pub fn with_key(mut self, name: &str) -> Self {
        self.key = Some(name.to_owned());
        self
    }

    /// Only requests on a connection that has carried one before.
    #[must_use]
    pub fn on_reused_connection(mut self) -> Self {
        self.reused = true;
        self
    }

    /// Only requests for which `test` holds.
    #[must_use]
    pub fn matching(mut self, test: impl Fn(&Attempt) -> bool + Send + Sync + 'static) -> Self {
        self.test = Some(Arc::new(test));
        self
    }

    /// Spares the first `count` matching requests.
    #[must_use]
    pub fn after(mut self, count: usize) -> Self {
        self.skip = count;
        self
    }

    /// Hits at most `count` requests.
    #[must_use]
    pub fn times(mut self, count: usize) -> Self {
        self.times = Some(count);
        self
    }

    /// Hits one request.
    #[must_use]
    pub fn once(self) -> Self {
        self.times(1)
    }

    /// Strikes as soon as the head of a request is here, so that nothing of its body is read and its model is
    /// not known.
    #[must_use]
    pub fn before_body(mut self) -> Self {
        self.stage = Stage::Head;
        self
    }

    /// Strikes requests for inference that account and quota let through: they are counted, as those are that a
    /// provider fails.
    #[must_use]
    pub fn of_the_provider(mut self) -> Self {
        self.stage = Stage::Provider;
        self
    }

    /// Only requests that arrive from `from` until before `until`, by the simulator's clock.
    #[must_use]
    pub fn between(mut self, from: Time, until: Time) -> Self {
        self.span = Some((from, until));
        self
    }

    /// Hits about `share` of a thousand matching requests, chosen by chance; the same `seed` chooses the same ones.
    #[must_use]
    pub fn of_a_thousand(mut self, share: u64, seed: u64) -> Self {
        self.share = Some((share, seed));
        self
    }

    fn matches(&self, attempt: &Attempt) -> bool {
        let is = |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        self.path.as_ref().is_none_or(|ending| attempt.path().ends_with(ending.as_str()))
            && is(&self.model, &attempt.model)
            && is(&self.key, &attempt.key)
            && (!self.reused || attempt.nth_on_connection > 1)
            && self.span.is_none_or(|(from, until)| (from..until).contains(&attempt.at))
            && self.test.as_ref().is_none_or(|test| test(attempt))
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault").field("then", &self.then).finish_non_exhaustive()
    }
}

/// The rules in force, with what they have done so far.
#[derive(Debug, Default)]
pub(super) struct Faults {
    rules: Vec<(Fault, usize)>,
}

impl Faults {
    pub(super) fn new(faults: Vec<Fault>) -> Self {
        Self { rules: faults.into_iter().map(|fault| (fault, 0)).collect() }
    }

    pub(super) fn add(&mut self, fault: Fault) {
        self.rules.push((fault, 0));
    }

    pub(super) fn clear(&mut self) {
        self.rules.clear();
    }

    /// What happens to `attempt`; nothing where all goes well.
    pub(super) fn strike(&mut self, attempt: &Attempt, stage: Stage) -> Vec<Then> {
        for (fault, seen) in &mut self.rules {
            if fault.stage != stage || !fault.matches(attempt) {
                continue;
            }
            *seen += 1;
            let last = fault.times.map_or(usize::MAX, |times| fault.skip.saturating_add(times));
            let chosen = fault.share.is_none_or(|(share, seed)| drawn(seed, *seen as u64) < share);
            if *seen > fault.skip && *seen <= last && chosen {
                return fault.then.clone();
            }
        }
        Vec::new()
    }
}

/// A number below 1000 for the request `nth`, spread evenly (the finalizer of `SplitMix64`).
fn drawn(seed: u64, nth: u64) -> u64 {
    let mut mixed = seed.wrapping_add(nth.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) % 1_000
}

#[cfg(test)]
mod tests {
    use super::drawn;

    #[test]
    fn chance_keeps_to_its_share_and_its_seed() {
        for seed in [0, 1, 7] {
            let hit = (0..20_000).filter(|nth| drawn(seed, *nth) < 50).count();
            assert!((900..1_100).contains(&hit), "{hit}");
        }
        let draw = |seed| (0..8).map(|nth| drawn(seed, nth)).collect::<Vec<_>>();
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
    }
}
