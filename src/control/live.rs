//! What `hermux top` looks at: the state, what was counted, and how that grew in the last hour.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::State;
use crate::clock::Time;
use crate::ledger::observe::Counts;

/// How far two samples lie apart, milliseconds.
pub const SAMPLE_MS: i64 = 10_000;

/// So many samples are kept: an hour's, and the one before it.
const SAMPLES: usize = 361;

/// A server at one moment, with what led there.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Live {
    /// The time there, milliseconds since 1970 (UTC).
    pub now_ms: i64,
    /// Keys, requests under way and the waiting room.
    pub state: State,
    /// What was counted since it started.
    pub counts: Counts,
    /// How that grew, the oldest first.
    pub samples: Vec<Sample>,
    /// What those in the waiting room wait for.
    pub awaited: Vec<Awaited>,
    /// How many requests of each caller wait.
    pub callers: Vec<(String, usize)>,
    /// The last errors, the oldest first.
    pub errors: Vec<Failure>,
}

/// What was counted by a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// When, milliseconds since 1970 (UTC).
    pub at_ms: i64,
    /// Requests since the start.
    pub requests: u64,
    /// Tokens since the start, read and written.
    pub tokens: u64,
}

/// Requests that wait for a model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Awaited {
    /// Its name; empty for requests that run none.
    pub model: String,
    /// How many requests.
    pub waiting: usize,
    /// When the first of them may go on; none where that is not known.
    pub until_ms: Option<i64>,
}

/// An error of late.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// When, milliseconds since 1970 (UTC).
    pub at_ms: i64,
    /// The name of the key; none where no attempt was made.
    pub key: Option<String>,
    /// The name of the caller; none where it is not known.
    pub caller: Option<String>,
    /// The model; none where it is not known.
    pub model: Option<String>,
    /// What happened.
    pub what: String,
    /// The status that tells of it.
    pub status: Option<u16>,
}

/// What was counted, looked at every ten seconds for an hour.
#[derive(Debug, Default)]
pub struct History(Mutex<VecDeque<Sample>>);

impl History {
    /// Keeps what was counted by `now`, where the last sample is old enough. To be called every second or so.
    pub fn sample(&self, now: Time, counts: impl FnOnce() -> Counts) {
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back begins anew.
        if samples.back().is_some_and(|last| (0..SAMPLE_MS).contains(&(now.0 - last.at_ms))) {
            return;
        }
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back(Sample::of(now, &counts()));
    }

    /// The samples, the oldest first.
    #[must_use]
    pub fn samples(&self) -> Vec<Sample> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }
}

impl Sample {
    /// What `counts` say at `now`.
    #[must_use]
    pub fn of(now: Time, counts: &Counts) -> Self {
        let tokens = counts.prompt_tokens + counts.completion_tokens;
        Self { at_ms: now.0, requests: counts.requests, tokens }
    }
}

#[cfg(test)]
mod tests {
    use super::{History, SAMPLES};
    use crate::clock::Time;
    use crate::ledger::observe::Counts;

    #[test]
    fn a_sample_is_kept_every_ten_seconds_for_an_hour() {
        let history = History::default();
        for second in 0..4000 {
            let requests = u64::try_from(second).unwrap();
            history.sample(Time(second * 1000), || Counts { requests, ..Counts::default() });
        }
        let samples = history.samples();
        assert_eq!((samples.len(), samples[0].at_ms), (SAMPLES, 390_000));
        assert_eq!(samples[SAMPLES - 1].at_ms - samples[0].at_ms, 3_600_000);
        assert_eq!(samples[1].requests, 400);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_stop_it() {
        let history = History::default();
        for at in [1_000_000, 500_000, 505_000] {
            history.sample(Time(at), Counts::default);
        }
        assert_eq!(history.samples().len(), 2);
    }
}
