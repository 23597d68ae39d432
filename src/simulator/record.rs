//! What arrived and what became of it: the attempts, for tests to look at and to wait for.

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method};

use super::errors::Cause;
use crate::clock::Time;

const MINUTE_MS: i64 = 60_000;

/// One request that arrived.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Which one since the start, from 0.
    pub number: usize,
    /// Which connection brought it, from 0.
    pub connection: u64,
    /// Which request on its connection, from 1.
    pub nth_on_connection: u32,
    /// When its head was here.
    pub arrived: Instant,
    /// The same by the simulator's clock.
    pub at: Time,
    /// The method.
    pub method: Method,
    /// Path and query as they came.
    pub target: String,
    /// The name of the key it came with, where that is known.
    pub key: Option<String>,
    /// The id of that key's account.
    pub account: Option<String>,
    /// Which of an account's quotas it draws on.
    pub class: Class,
    /// All its headers; `Debug` shows no credentials.
    pub headers: HeaderMap,
    /// The beginning of its body, up to `keep_body`.
    pub body: Bytes,
    /// How many bytes of the body arrived.
    pub body_len: u64,
    /// The SHA-256 of the whole body, once it is complete.
    pub body_sha256: Option<[u8; 32]>,
    /// Whether the body arrived to its end.
    pub body_complete: bool,
    /// What followed a chunked body.
    pub trailers: Option<HeaderMap>,
    /// The model it asks for.
    pub model: Option<String>,
    /// Whether it asks for a stream.
    pub stream: bool,
    /// The status it was answered with.
    pub status: Option<u16>,
    /// What the answer told of the key or its account, where it refused the request for that.
    pub cause: Option<Cause>,
    /// When the head of the answer was ready.
    pub answered: Option<Instant>,
    /// `X-Generation-Id` of the answer.
    pub generation: Option<String>,
    /// How many bytes of the answer's body were handed to the connection.
    pub sent: u64,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// When it ended.
    pub ended: Option<Instant>,
}

impl Attempt {
    /// The path without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The credential it came with, without `Bearer`.
    #[must_use]
    pub fn credential(&self) -> Option<&str> {
        credential(&self.headers)
    }
}

/// Which of an account's quotas a request draws on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Runs a model that ends in `:free`.
    Free,
    /// Runs another model.
    Paid,
    /// Runs none, or none is known.
    #[default]
    Other,
}

/// The attempts among `all`, oldest first, that were refused for a reason that an earlier answer had told and
/// that still held: the same key refused or capped, the same account without credits or with a used-up window.
pub(super) fn wasted(all: &[Attempt]) -> Vec<Attempt> {
    let mut told: HashMap<(Cause, &str, Option<Class>, i64), Instant> = HashMap::new();
    let mut wasted = Vec::new();
    for attempt in all {
        let (Some(key), Some(account)) = (attempt.key.as_deref(), attempt.account.as_deref()) else {
            continue;
        };
        let Some(cause) = attempt.cause else {
            if attempt.status.is_some_and(|status| status < 300) {
                // What serves again was mended.
                told.retain(|(_, subject, class, _), _| {
                    *subject != key && (*subject != account || *class != Some(attempt.class))
                });
            }
            continue;
        };
        let (subject, class, window) = match cause {
            Cause::Key | Cause::Cap => (key, None, 0),
            // An account without credits may still serve free models.
            Cause::Credits => (account, Some(attempt.class), 0),
            Cause::FreeMinute => (account, None, attempt.at.0.div_euclid(MINUTE_MS)),
            Cause::FreeDay => (account, None, i64::from(attempt.at.day().0)),
            // What the next request costs, and what is in flight then, can't be known.
            Cause::TooDear | Cause::InFlight => continue,
        };
        let Some(answered) = attempt.answered else { continue };
        let first = told.entry((cause, subject, class, window)).or_insert(answered);
        if *first < attempt.arrived {
            wasted.push(attempt.clone());
        }
        *first = answered.min(*first);
    }
    wasted
}

/// The bearer of `headers`, else their `x-api-key`, which `OpenRouter` takes as well (docs, API keys page).
pub(super) fn credential(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| value.strip_prefix("Bearer ").or(value.strip_prefix("bearer ")));
    bearer.or_else(|| headers.get("x-api-key").and_then(|value| value.to_str().ok()))
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The whole answer was handed to the connection.
    Completed,
    /// The other side left before that.
    CallerLeft,
    /// The simulator ended the connection, as it was told to.
    Cut,
}

/// So many attempts under way are remembered beyond the limit: faults go by what is remembered of an attempt.
const UNDER_WAY: usize = 1_000;

/// All attempts, the newest `limit` of them, and those before that wait for their answer.
#[derive(Debug)]
pub(super) struct Records {
    kept: Mutex<Kept>,
    changed: Condvar,
}

#[derive(Debug)]
struct Kept {
    limit: usize,
    // The number of the oldest attempt in the list.
    first: usize,
    list: VecDeque<Attempt>,
}

impl Records {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            kept: Mutex::new(Kept { limit: limit.max(1), first: 0, list: VecDeque::new() }),
            changed: Condvar::new(),
        }
    }

    // A test's own predicate may panic under the lock; what is kept stays whole all the same.
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an attempt and gives it its number.
    pub(super) fn add(&self, mut attempt: Attempt) -> usize {
        let mut kept = self.lock();
        let is_over = |attempt: &Attempt| attempt.answered.is_some() || attempt.outcome.is_some();
        while kept.list.len() >= kept.limit
            && (kept.list.len() >= kept.limit + UNDER_WAY || kept.list.front().is_some_and(is_over))
        {
            kept.list.pop_front();
            kept.first += 1;
        }
        let number = kept.first + kept.list.len();
        attempt.number = number;
        kept.list.push_back(attempt);
        drop(kept);
        self.changed.notify_all();
        number
    }

    /// Changes an attempt, where it is still remembered.
    pub(super) fn change(&self, number: usize, change: impl FnOnce(&mut Attempt)) {
        let mut kept = self.lock();
        let first = kept.first;
        if let Some(attempt) = number.checked_sub(first).and_then(|index| kept.list.get_mut(index)) {
            change(attempt);
            drop(kept);
            self.changed.notify_all();
        }
    }

    pub(super) fn get(&self, number: usize) -> Option<Attempt> {
        let kept = self.lock();
        number.checked_sub(kept.first).and_then(|index| kept.list.get(index)).cloned()
    }

    pub(super) fn all(&self) -> Vec<Attempt> {
        self.lock().list.iter().cloned().collect()
    }

    /// Those that an earlier answer could have spared.
    pub(super) fn wasted(&self) -> Vec<Attempt> {
        wasted(self.lock().list.make_contiguous())
    }

    /// Waits until `holds` of the attempts; false when `timeout` passed first.
    pub(super) fn wait_for(&self, mut holds: impl FnMut(&[Attempt]) -> bool, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut kept = self.lock();
        loop {
            if holds(kept.list.make_contiguous()) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            (kept, _) = self.changed.wait_timeout(kept, left).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
