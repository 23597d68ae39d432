//! What one access token may still use: its terms beside what its caller used, counted exactly. Pure given the time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::terms::Terms;
use crate::clock::{Day, Time};

/// Within so much time no more than `rpm` requests are let in, whenever it begins.
const MINUTE: Duration = Duration::from_secs(60);

/// Up to this much earlier is a matter of two threads that read the clock and come in in the other order; more is a
/// clock that was set back.
const IN_DISORDER: Duration = Duration::from_secs(5);

/// The terms of an access token, with the counts of its caller where they bound these.
#[derive(Debug)]
pub struct Allowance {
    /// What the operator lets it do.
    pub terms: Terms,
    counts: Option<Arc<Counts>>,
}

/// What a caller used; its access tokens share it, and so do those of a changed file.
#[derive(Debug, Default)]
pub(super) struct Counts(Mutex<Used>);

/// What a caller used until now, as plain data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsedUp {
    /// Requests of models in this UTC day.
    pub requests: u64,
    /// What they cost, nano-dollars (1e-9 USD).
    pub cost: i64,
    /// When those of the last 60 seconds were let in, the oldest first.
    pub minute: Vec<Time>,
}

/// The day of counts that have not begun.
const NO_DAY: Day = Day(i32::MIN);

#[derive(Debug)]
struct Used {
    day: Day,
    requests: u64,
    cost: i64,
    /// When requests were let in, the oldest first; no longer than `rpm`.
    recent: VecDeque<Time>,
}

impl Default for Used {
    fn default() -> Self {
        Self { day: NO_DAY, requests: 0, cost: 0, recent: VecDeque::new() }
    }
}

/// Which bound of an access token is reached, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over {
    /// The bound.
    pub bound: Bound,
    /// When the next request may be let in.
    pub until: Time,
}

/// What an access token can have used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// `rpm`.
    Rate,
    /// `daily_requests`.
    Requests,
    /// `daily_cost`.
    Cost,
}

impl Allowance {
    pub(super) fn new(terms: Terms, counts: Option<Arc<Counts>>) -> Self {
        Self { terms, counts }
    }

    pub(super) fn with_counts(&self, counts: Arc<Counts>) -> Self {
        Self { terms: self.terms.clone(), counts: Some(counts) }
    }

    pub(super) fn is_counted(&self) -> bool {
        self.counts.is_some()
    }

    /// Whether one more request would be let in.
    pub fn look(&self, now: Time) -> Result<(), Over> {
        self.counts.as_ref().map_or(Ok(()), |counts| counts.at(now).look(&self.terms, now))
    }

    /// Lets one more request in and counts it, or says why not.
    pub fn take(&self, now: Time) -> Result<(), Over> {
        let Some(counts) = &self.counts else { return Ok(()) };
        let mut used = counts.at(now);
        used.look(&self.terms, now)?;
        used.requests += 1;
        if self.terms.rpm.is_some() {
            used.recent.push_back(now);
        }
        Ok(())
    }

    /// Takes back a request that was let in at `at` and for which nothing was sent.
    pub fn give_back(&self, at: Time) {
        let Some(counts) = &self.counts else { return };
        let mut used = counts.lock();
        if used.day == at.day() {
            used.requests = used.requests.saturating_sub(1);
        }
        if let Some(place) = used.recent.iter().rposition(|recent| *recent == at) {
            used.recent.remove(place);
        }
    }

    /// Adds what a request cost that was let in at `at`, nano-dollars. It counts on the day on which it was let in.
    pub fn spend(&self, cost: i64, at: Time) {
        if let Some(counts) = &self.counts {
            counts.spend(cost, at);
        }
    }

    /// What its caller used, where that is counted.
    #[must_use]
    pub fn used(&self, now: Time) -> Option<UsedUp> {
        let used = self.counts.as_ref()?.at(now);
        Some(UsedUp {
            requests: used.requests,
            cost: used.cost,
            minute: used.recent.iter().copied().collect(),
        })
    }
}

impl Counts {
    pub(super) fn spend(&self, cost: i64, at: Time) {
        let mut used = self.lock();
        if used.day == NO_DAY {
            // Nothing came in since the start: this is of a request that another process let in.
            used.day = at.day();
        }
        if used.day == at.day() {
            used.cost = used.cost.saturating_add(cost);
        }
    }

    /// Begins with what was used before `now`.
    pub(super) fn restore(&self, before: &UsedUp, now: Time) {
        *self.lock() = Used {
            day: now.day(),
            requests: before.requests,
            cost: before.cost,
            recent: before.minute.iter().copied().collect(),
        };
    }

    fn at(&self, now: Time) -> MutexGuard<'_, Used> {
        let mut used = self.lock();
        let began = used.day.start();
        if now.day() != used.day && (now >= began || began.since(now) > IN_DISORDER) {
            (used.day, used.requests, used.cost) = (now.day(), 0, 0);
        }
        used
    }

    fn lock(&self) -> MutexGuard<'_, Used> {
        // Nothing is done under the lock that could be left half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Used {
    fn look(&mut self, terms: &Terms, now: Time) -> Result<(), Over> {
        let tomorrow = self.day.next().start();
        if terms.daily_cost.is_some_and(|most| self.cost >= most) {
            return Err(Over { bound: Bound::Cost, until: tomorrow });
        }
        if terms.daily_requests.is_some_and(|most| self.requests >= most) {
            return Err(Over { bound: Bound::Requests, until: tomorrow });
        }
        let Some(rate) = terms.rpm else { return Ok(()) };
        // What lies ahead was noted before the clock was set back.
        let is_over = |at: Time| now.since(at) >= MINUTE || at > now.after(IN_DISORDER);
        while self.recent.front().is_some_and(|at| is_over(*at)) {
            self.recent.pop_front();
        }
        let rate = rate as usize;
        // Of more than that, after a lower `rpm`, the first has to end that leaves room.
        match self.recent.len().checked_sub(rate).and_then(|place| self.recent.get(place)) {
            Some(at) => Err(Over { bound: Bound::Rate, until: at.after(MINUTE) }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use proptest::prelude::*;

    use super::{Allowance, Bound, Counts, Over, UsedUp};
    use crate::access::terms::Terms;
    use crate::clock::{Day, Time};

    const NOON: Time = Time(1_700_000_000_000 - 1_700_000_000_000 % 86_400_000 + 43_200_000);

    fn allowance(terms: Terms) -> Allowance {
        Allowance::new(terms, Some(Arc::default()))
    }

    fn later(seconds: i64) -> Time {
        Time(NOON.0 + 1000 * seconds)
    }

    #[test]
    fn a_rate_holds_in_every_window_and_says_when_the_next_may_come() {
        let rate = allowance(Terms { rpm: Some(2), ..Terms::default() });
        assert_eq!((rate.take(NOON), rate.take(later(20))), (Ok(()), Ok(())));
        let over = Err(Over { bound: Bound::Rate, until: later(60) });
        assert_eq!((rate.look(later(21)), rate.take(later(59))), (over, over));
        assert_eq!(rate.take(later(60)), Ok(()));
        assert_eq!(rate.take(later(60)), Err(Over { bound: Bound::Rate, until: later(80) }));
        rate.give_back(later(60));
        assert_eq!(rate.take(later(61)), Ok(()), "what nothing was sent for is given back");
    }

    #[test]
    fn a_day_ends_at_midnight_and_what_was_let_in_before_costs_its_own_day() {
        let terms = Terms { daily_requests: Some(2), daily_cost: Some(10), ..Terms::default() };
        let (day, midnight) = (allowance(terms), NOON.day().next().start());
        day.take(NOON).unwrap();
        day.spend(9, NOON);
        day.take(NOON).unwrap();
        assert_eq!(day.take(NOON), Err(Over { bound: Bound::Requests, until: midnight }));
        day.spend(1, NOON);
        assert_eq!(day.take(NOON), Err(Over { bound: Bound::Cost, until: midnight }));
        day.take(midnight).unwrap();
        day.spend(50, NOON);
        assert_eq!(day.look(midnight), Ok(()));
        assert_eq!(
            day.take(Time(midnight.0 - 1)),
            Ok(()),
            "a thread that read the clock before does not turn it back"
        );
        assert_eq!(day.used(midnight).unwrap().requests, 2);
    }

    #[test]
    fn what_is_told_late_counts_on_its_day_also_where_nothing_was_taken_yet() {
        let terms = || Terms { daily_cost: Some(10), ..Terms::default() };
        let counts = Arc::new(Counts::default());
        let fresh = Allowance::new(terms(), Some(Arc::clone(&counts)));
        counts.spend(4, NOON);
        counts.spend(5, later(1));
        assert_eq!(fresh.used(later(2)).unwrap().cost, 9);
        // Of the day before nothing is left on the next.
        let counts = Arc::new(Counts::default());
        let fresh = Allowance::new(terms(), Some(Arc::clone(&counts)));
        counts.spend(50, NOON);
        assert_eq!(fresh.take(NOON.day().next().start()), Ok(()));
        assert_eq!(fresh.used(NOON.day().next().start()).unwrap().cost, 0);
        // What was taken over is added to, on its day alone.
        counts.restore(&UsedUp { cost: 3, ..UsedUp::default() }, later(0));
        counts.spend(2, NOON);
        counts.spend(50, Time(NOON.0 - 86_400_000));
        assert_eq!(fresh.used(later(1)).unwrap().cost, 5);
    }

    #[test]
    fn what_was_used_before_the_start_counts() {
        let (counts, minute) = (Counts::default(), vec![later(-30), later(-10)]);
        counts.restore(&UsedUp { requests: 7, cost: 3, minute }, NOON);
        let terms = Terms { rpm: Some(2), daily_requests: Some(8), ..Terms::default() };
        let allowance = Allowance::new(terms, Some(Arc::new(counts)));
        assert_eq!(allowance.take(NOON), Err(Over { bound: Bound::Rate, until: later(30) }));
        assert_eq!(allowance.take(later(30)), Ok(()));
        assert_eq!(allowance.take(later(55)).unwrap_err().bound, Bound::Requests);
    }

    #[test]
    fn threads_at_once_get_exactly_what_there_is() {
        let both = Terms { rpm: Some(100), daily_requests: Some(100), ..Terms::default() };
        let allowance = allowance(both);
        let taken: usize = thread::scope(|scope| {
            let take = || (0..50).filter(|_| allowance.take(NOON).is_ok()).count();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(take)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, 100);
    }

    proptest! {
        #[test]
        fn no_window_of_a_minute_holds_more_than_the_rate(
            rate in 1_u32..6, steps in prop::collection::vec(0_i64..40_000, 1..60),
        ) {
            let allowance = allowance(Terms { rpm: Some(rate), ..Terms::default() });
            let (mut now, mut taken) = (Day(20_000).start(), Vec::new());
            for step in steps {
                now = Time(now.0 + step);
                match allowance.take(now) {
                    Ok(()) => taken.push(now),
                    // It is said exactly when: not a moment before.
                    Err(Over { until, .. }) => {
                        prop_assert!(until > now);
                        prop_assert!(allowance.look(Time(until.0 - 1)).is_err());
                        prop_assert!(allowance.look(until).is_ok());
                        now = until;
                    }
                }
            }
            for (at, first) in taken.iter().enumerate() {
                let within = taken[at..].iter().filter(|other| other.0 - first.0 < 60_000).count();
                prop_assert!(within <= rate as usize);
            }
        }
    }
}
