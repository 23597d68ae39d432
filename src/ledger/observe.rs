//! What is told of attempts while they happen: to a watcher, where there is one, and as counts to whoever asks.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::backlog::Closing;
use super::{Opening, Outcome, Report};

/// What this process counted since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Requests of which an attempt left.
    pub requests: u64,
    /// Attempts that left.
    pub attempts: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Tokens read.
    pub prompt_tokens: u64,
    /// Tokens written.
    pub completion_tokens: u64,
    /// Nano-dollars (1e-9 USD).
    pub cost: i64,
}

impl Counts {
    pub(super) fn ended(&mut self, closing: &Closing) {
        let tokens = |count: Option<u32>| count.map_or(0, u64::from);
        self.failed += u64::from(closing.outcome == Outcome::Failed);
        self.prompt_tokens += tokens(closing.prompt);
        self.completion_tokens += tokens(closing.completion);
        self.cost = self.cost.saturating_add(closing.cost.unwrap_or(0));
    }
}

/// An attempt that ended.
#[derive(Debug)]
pub struct Ended<'a> {
    /// Whose it was.
    pub attempt: &'a Attempt,
    /// How it ended.
    pub outcome: Outcome,
    /// What was learned of it.
    pub report: &'a Report,
    /// From leaving to its end.
    pub duration: Duration,
}

/// Which attempt it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// 1 for a request's first.
    pub number: u32,
    /// The name of the key.
    pub key: Arc<str>,
    /// The name of the caller.
    pub caller: Arc<str>,
    /// The model asked for; empty where the request names none.
    pub model: Arc<str>,
}

impl Attempt {
    pub(super) fn of(opening: &Opening) -> Self {
        Self {
            number: opening.number,
            key: Arc::clone(&opening.key),
            caller: Arc::clone(&opening.caller),
            model: Arc::clone(&opening.model),
        }
    }
}

/// Is told of each attempt that ends, on the thread on which it does; so it must be quick and must not wait.
pub trait Watch: Send + Sync {
    /// An attempt ended.
    fn ended(&self, ended: &Ended<'_>);
}

/// A watcher that is told from now on.
#[derive(Clone)]
pub(super) struct Watcher(pub(super) Arc<dyn Watch>);

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watcher")
    }
}
