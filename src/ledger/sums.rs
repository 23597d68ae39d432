//! What was used, added up by day, key, caller and model.

use std::collections::HashMap;
use std::ops::{AddAssign, SubAssign};
use std::sync::Arc;

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
    /// What counts as soon as the attempt leaves.
    pub(super) fn opened(opening: &Opening) -> Self {
        Self { requests: i64::from(takes_request(opening)), attempts: 1, ..Self::default() }
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

/// Whether the request stands with this attempt's key from now on.
fn takes_request(opening: &Opening) -> bool {
    opening.number == 1 || opening.previous.is_some()
}

/// The key and day that the request stood with until now.
fn leaves(opening: &Opening) -> Option<&Previous> {
    opening.previous.as_ref().filter(|_| opening.number > 1)
}

/// Sums by day, key, caller and model.
#[derive(Debug, Default)]
pub(super) struct Sums(pub(super) HashMap<SumKey, Sum>);

impl Sums {
    pub(super) fn add(&mut self, key: SumKey, sum: Sum) {
        *self.0.entry(key).or_default() += sum;
    }

    /// Counts an attempt that leaves.
    pub(super) fn open(&mut self, opening: &Opening) {
        self.add(SumKey::of(opening), Sum::opened(opening));
        if let Some(previous) = leaves(opening) {
            let stood =
                SumKey { day: previous.at.day(), key: Arc::clone(&previous.key), ..SumKey::of(opening) };
            self.add(stood, Sum { requests: -1, ..Sum::default() });
        }
    }
}

/// Sums by day and key alone: small enough to stay in memory.
#[derive(Debug, Default)]
pub(super) struct Days(pub(super) HashMap<(Day, Arc<str>), Sum>);

impl Days {
    pub(super) fn add(&mut self, sums: &Sums) {
        for (key, sum) in &sums.0 {
            *self.0.entry((key.day, Arc::clone(&key.key))).or_default() += *sum;
        }
    }
}
