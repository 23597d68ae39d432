//! How many requests may be sent again after a failure, so that an outage does not multiply the load.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Time;

/// How far back requests and retries count.
const WINDOW: Duration = Duration::from_secs(10);

/// Retries that every window has, however few requests there were.
const FREE: u64 = 10;

/// One retry for so many requests.
const PER_RETRY: u64 = 5;

/// The retries of one process: a fifth of the requests of the last ten seconds, and ten.
///
/// Requests cost it nothing: they are numbered in order anyway, so their number is the difference of two
/// numbers, of which only failures take note.
#[derive(Debug, Default)]
pub(super) struct Budget(Mutex<VecDeque<Second>>);

/// A second in which something failed.
#[derive(Clone, Copy, Debug)]
struct Second {
    at: i64,
    /// The highest number of a request when it began.
    request: u64,
    retries: u64,
}

impl Budget {
    /// Whether `request`, by its number, may be sent again now; if so, that is counted.
    pub(super) fn take(&self, request: u64, now: Time) -> bool {
        // Each change is complete before anything can panic.
        let mut seconds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = now.0.div_euclid(1000);
        let begins = now.0.saturating_sub(millis(WINDOW)).div_euclid(1000);
        // What stays in front is the last second before the window, or its first.
        while seconds.get(1).is_some_and(|second| second.at <= begins) {
            seconds.pop_front();
        }
        let request = seconds.back().map_or(request, |last| last.request.max(request));
        let requests = seconds.front().map_or(0, |first| {
            let since = request - first.request;
            // After a time without failures only the average is known.
            let window = millis(WINDOW) / 1000;
            let seconds = at.saturating_sub(first.at).max(window);
            u64::try_from(i128::from(since) * i128::from(window) / i128::from(seconds)).unwrap_or(since)
        });
        let taken: u64 =
            seconds.iter().filter(|second| second.at > begins).map(|second| second.retries).sum();
        let may = taken < FREE + requests / PER_RETRY;
        let retries = u64::from(may);
        match seconds.back_mut() {
            // A clock that was set back adds to the last second it told.
            Some(last) if last.at >= at => last.retries += retries,
            _ => seconds.push_back(Second { at, request, retries }),
        }
        may
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::Budget;
    use crate::clock::Time;

    /// How many of `wanted` retries are granted at this moment.
    fn granted(budget: &Budget, request: u64, at: i64, wanted: usize) -> usize {
        (0..wanted).filter(|_| budget.take(request, Time(at))).count()
    }

    #[test]
    fn without_requests_each_window_has_ten() {
        let budget = Budget::default();
        assert_eq!(granted(&budget, 1, 5_000, 50), 10);
        assert_eq!(granted(&budget, 2, 14_000, 50), 0);
        assert_eq!(granted(&budget, 3, 16_000, 50), 10);
    }

    #[test]
    fn a_fifth_of_the_last_requests_may_be_sent_again() {
        let budget = Budget::default();
        assert_eq!(granted(&budget, 1_000, 0, 1), 1);
        assert_eq!(granted(&budget, 2_000, 9_000, 1_000), 10 + 200 - 1);
        // Those of the first window no longer count, nor do its requests.
        assert_eq!(granted(&budget, 2_500, 19_500, 1_000), 10 + 500 / 5);
    }

    #[test]
    fn after_a_quiet_time_the_average_counts() {
        let budget = Budget::default();
        assert_eq!(granted(&budget, 0, 0, 1), 1);
        assert_eq!(granted(&budget, 100_000, 1_000_000, 10_000), 10 + 1_000 / 5);
    }

    #[test]
    fn a_clock_set_back_and_an_old_number_grant_no_more() {
        let budget = Budget::default();
        assert_eq!(granted(&budget, 500, 100_000, 50), 10);
        assert_eq!(granted(&budget, 1, 40_000, 50), 0);
        assert_eq!(granted(&budget, 1, i64::MIN, 50), 0);
    }
}
