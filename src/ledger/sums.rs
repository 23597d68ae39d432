//! What was used, added up by hour, key, caller, model and status.

use std::collections::HashMap;
use std::ops::{AddAssign, SubAssign};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::backlog::Closing;
use super::histogram::Histogram;
use super::{Opening, Outcome, Previous};
use crate::clock::{Day, Time};

/// A UTC hour, counted from 1970-01-01T00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Hour(pub(super) i64);

impl Hour {
    pub(super) fn of(at: Time) -> Self {
        Self(at.0.div_euclid(3_600_000))
    }

    pub(super) fn day(self) -> Day {
        Day(i32::try_from(self.0.div_euclid(24)).unwrap_or(i32::MAX))
    }
}

/// What a sum stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct SumKey {
    /// The UTC hour in which the attempt left.
    pub hour: Hour,
    pub key: Arc<str>,
    pub caller: Arc<str>,
    pub model: Arc<str>,
    /// Of the answer; 0 while there is none.
    pub status: u16,
}

impl SumKey {
    /// That of an attempt whose answer has `status`.
    pub(super) fn of(opening: &Opening, status: Option<u16>) -> Self {
        Self {
            hour: Hour::of(opening.at),
            key: Arc::clone(&opening.key),
            caller: Arc::clone(&opening.caller),
            model: Arc::clone(&opening.model),
            status: status.unwrap_or(0),
        }
    }
}

/// A sum of attempts. `requests` may be negative in a difference: a request moved to another key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub requests: i64,
    pub attempts: i64,
    pub failed: i64,
    pub waits: i64,
    pub unsettled: i64,
    pub prompt: i64,
    pub completion: i64,
    pub reasoning: i64,
    pub cached: i64,
    pub cache_write: i64,
    pub cost: i64,
    pub upstream_cost: i64,
}

/// The columns of a sum in the database, in the order of [`Sum::figures`].
pub(super) const FIGURES: [&str; 12] = [
    "requests",
    "attempts",
    "failed",
    "waits",
    "unsettled",
    "prompt_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "cost",
    "upstream_cost",
];

impl Sum {
    /// What counts as soon as the attempt leaves, its request with the first.
    pub(super) fn opened(opening: &Opening) -> Self {
        Self {
            requests: i64::from(opening.number == 1),
            attempts: 1,
            waits: i64::from(opening.waited.as_millis() > 0),
            ..Self::default()
        }
    }

    /// What counts when it ends.
    pub(super) fn closed(closing: &Closing) -> Self {
        let tokens = |count: Option<u32>| count.map_or(0, i64::from);
        Self {
            failed: i64::from(closing.outcome == Outcome::Failed),
            unsettled: i64::from(closing.settling == Some(Settling::Never)),
            prompt: tokens(closing.prompt),
            completion: tokens(closing.completion),
            reasoning: tokens(closing.reasoning),
            cached: tokens(closing.cached),
            cache_write: tokens(closing.cache_write),
            cost: closing.cost.unwrap_or(0),
            upstream_cost: closing.upstream_cost.unwrap_or(0),
            ..Self::default()
        }
    }

    /// A request that moved here from another key.
    pub(super) fn moved() -> Self {
        Self { requests: 1, ..Self::default() }
    }

    /// As [`FIGURES`] names them.
    pub(super) fn figures(&self) -> [i64; FIGURES.len()] {
        [
            self.requests,
            self.attempts,
            self.failed,
            self.waits,
            self.unsettled,
            self.prompt,
            self.completion,
            self.reasoning,
            self.cached,
            self.cache_write,
            self.cost,
            self.upstream_cost,
        ]
    }

    /// The reverse of [`Sum::figures`].
    pub(super) fn of_figures(figures: [i64; FIGURES.len()]) -> Self {
        let [
            requests,
            attempts,
            failed,
            waits,
            unsettled,
            prompt,
            completion,
            reasoning,
            cached,
            cache_write,
            cost,
            upstream_cost,
        ] = figures;
        Self {
            requests,
            attempts,
            failed,
            waits,
            unsettled,
            prompt,
            completion,
            reasoning,
            cached,
            cache_write,
            cost,
            upstream_cost,
        }
    }

    fn combine(&mut self, other: Self, with: impl Fn(i64, i64) -> i64) {
        let (mine, theirs) = (self.figures(), other.figures());
        *self = Self::of_figures(std::array::from_fn(|at| with(mine[at], theirs[at])));
    }
}

impl AddAssign for Sum {
    fn add_assign(&mut self, other: Self) {
        self.combine(other, i64::saturating_add);
    }
}

impl SubAssign for Sum {
    fn sub_assign(&mut self, other: Self) {
        self.combine(other, i64::saturating_sub);
    }
}

/// How an entry without a cost gets one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settling {
    /// Upstream is asked for it.
    Waits,
    /// It cannot be known.
    Never,
}

/// A sum with the durations until the first byte.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    pub sum: Sum,
    pub first_byte: Histogram,
}

impl Cell {
    /// Whether it changes nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.sum == Sum::default() && self.first_byte.is_empty()
    }
}

impl AddAssign<&Self> for Cell {
    fn add_assign(&mut self, other: &Self) {
        self.sum += other.sum;
        self.first_byte.merge(&other.first_byte);
    }
}

/// Sums by hour, key, caller, model and status. Each attempt looks one up, so its hash is a quick one.
#[derive(Debug, Default)]
pub(super) struct Sums(pub(super) HashMap<SumKey, Cell, RandomState>);

impl Sums {
    pub(super) fn add(&mut self, key: SumKey, sum: Sum) {
        self.0.entry(key).or_default().sum += sum;
    }

    /// The same with the duration until the first byte, where there was one.
    pub(super) fn add_closed(&mut self, key: SumKey, sum: Sum, closing: &Closing) {
        let cell = self.0.entry(key).or_default();
        cell.sum += sum;
        if let Some(millis) = closing.first_byte_ms {
            cell.first_byte.count(millis);
        }
    }

    /// Ends an attempt: what counted when it left moves from no status to that of its answer.
    pub(super) fn close(&mut self, key: SumKey, opened: Sum, closing: &Closing) {
        let mut sum = Sum::closed(closing);
        if closing.status.is_some() {
            let mut left = Sum::default();
            left -= opened;
            self.add(key.clone(), left);
            sum += opened;
        }
        self.add_closed(SumKey { status: closing.status.unwrap_or(0), ..key }, sum, closing);
    }

    /// Moves a request that stands with a later attempt from no status to that of its answer.
    pub(super) fn settle_moved(&mut self, key: &SumKey, status: Option<u16>) {
        if let Some(status) = status {
            self.add(key.clone(), Sum { requests: -1, ..Sum::default() });
            self.add(SumKey { status, ..key.clone() }, Sum::moved());
        }
    }

    /// Moves the request of a later attempt to that attempt's key, whose answer has `status`.
    pub(super) fn move_request(&mut self, opening: &Opening, status: Option<u16>) {
        let Some(Previous { key, at, status: before }) = opening.moved() else { return };
        let to = SumKey::of(opening, status);
        let from =
            SumKey { hour: Hour::of(*at), key: Arc::clone(key), status: before.unwrap_or(0), ..to.clone() };
        self.add(from, Sum { requests: -1, ..Sum::default() });
        self.add(to, Sum::moved());
    }
}

/// Sums by day and key alone.
pub(super) type Days = HashMap<(Day, Arc<str>), Sum>;

/// What is known without asking the database.
#[derive(Debug, Default)]
pub(super) struct Totals {
    /// By day and key alone, small enough to stay: all that is in the database's sums or goes there with the batch under way.
    pub(super) days: Days,
    /// Of entries that are not in the database's sums yet.
    pub(super) tail: Sums,
}

impl Totals {
    pub(super) fn add(&mut self, sums: &Sums) {
        for (key, cell) in &sums.0 {
            *self.days.entry((key.hour.day(), Arc::clone(&key.key))).or_default() += cell.sum;
        }
    }

    /// Takes out the tail, which goes into the database's sums.
    pub(super) fn take_tail(&mut self) -> Sums {
        let tail = std::mem::take(&mut self.tail);
        self.add(&tail);
        tail
    }
}
