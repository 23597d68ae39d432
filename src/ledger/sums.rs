//! What was used, added up by day, key, caller and model.

use std::collections::HashMap;
use std::ops::{AddAssign, SubAssign};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::backlog::Closing;
use super::{Opening, Outcome, Previous};
use crate::clock::Day;

/// What a sum stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct SumKey {
    /// The UTC day on which the attempt left.
    pub day: Day,
    pub key: Arc<str>,
    pub caller: Arc<str>,
    pub model: Arc<str>,
}

impl SumKey {
    pub(super) fn of(opening: &Opening) -> Self {
        Self {
            day: opening.at.day(),
            key: Arc::clone(&opening.key),
            caller: Arc::clone(&opening.caller),
            model: Arc::clone(&opening.model),
        }
    }
}

/// A sum of attempts. `requests` may be negative in a difference: a request moved to another key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub requests: i64,
    pub attempts: i64,
    pub failed: i64,
    pub prompt: i64,
    pub completion: i64,
    pub reasoning: i64,
    pub cached: i64,
    pub cost: i64,
}

impl Sum {
    /// What counts as soon as the attempt leaves, its request with the first.
    pub(super) fn opened(opening: &Opening) -> Self {
        Self { requests: i64::from(opening.number == 1), attempts: 1, ..Self::default() }
    }

    /// What counts when it ends.
    pub(super) fn closed(closing: &Closing) -> Self {
        let tokens = |count: Option<u32>| count.map_or(0, i64::from);
        Self {
            failed: i64::from(closing.outcome == Outcome::Failed),
            prompt: tokens(closing.prompt),
            completion: tokens(closing.completion),
            reasoning: tokens(closing.reasoning),
            cached: tokens(closing.cached),
            cost: closing.cost.unwrap_or(0),
            ..Self::default()
        }
    }

    fn combine(&mut self, other: Self, with: fn(i64, i64) -> i64) {
        self.requests = with(self.requests, other.requests);
        self.attempts = with(self.attempts, other.attempts);
        self.failed = with(self.failed, other.failed);
        self.prompt = with(self.prompt, other.prompt);
        self.completion = with(self.completion, other.completion);
        self.reasoning = with(self.reasoning, other.reasoning);
        self.cached = with(self.cached, other.cached);
        self.cost = with(self.cost, other.cost);
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

/// Sums by day, key, caller and model. Each attempt looks one up, so its hash is a quick one.
#[derive(Debug, Default)]
pub(super) struct Sums(pub(super) HashMap<SumKey, Sum, RandomState>);

impl Sums {
    pub(super) fn add(&mut self, key: SumKey, sum: Sum) {
        *self.0.entry(key).or_default() += sum;
    }

    /// Moves the request of a later attempt to that attempt's key.
    pub(super) fn move_request(&mut self, opening: &Opening) {
        let Some(Previous { key, at }) = opening.previous.as_ref().filter(|_| opening.number > 1) else {
            return;
        };
        let to = SumKey::of(opening);
        let from = SumKey { day: at.day(), key: Arc::clone(key), ..to.clone() };
        self.add(from, Sum { requests: -1, ..Sum::default() });
        self.add(to, Sum { requests: 1, ..Sum::default() });
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
        for (key, sum) in &sums.0 {
            *self.days.entry((key.day, Arc::clone(&key.key))).or_default() += *sum;
        }
    }

    /// Takes out the tail, which goes into the database's sums.
    pub(super) fn take_tail(&mut self) -> Sums {
        let tail = std::mem::take(&mut self.tail);
        self.add(&tail);
        tail
    }
}
