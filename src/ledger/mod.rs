//! The durable account: an entry is opened before an attempt leaves and closed exactly once.

pub mod query;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock::{Clock, Time};

/// What is known of an attempt before it leaves.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The request it belongs to, from [`Ledger::next_request`].
    pub request: u64,
    /// 1 for a request's first attempt, 2 for its second.
    pub number: u32,
    /// When it leaves.
    pub at: Time,
    /// The name of the caller.
    pub caller: Arc<str>,
    /// The name of the key.
    pub key: Arc<str>,
    /// The model asked for; empty where the request names none.
    pub model: Arc<str>,
    /// The path below the API's root, without the query: `/chat/completions`.
    pub path: Arc<str>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The answer came to its end.
    Complete,
    /// Upstream failed or broke off, or the answer says so.
    Failed,
    /// The caller left first.
    Cancelled,
}

/// What an answer says was used; nothing where it does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens read.
    pub prompt_tokens: Option<u64>,
    /// Tokens written, reasoning included.
    pub completion_tokens: Option<u64>,
    /// Of the tokens written, those of reasoning.
    pub reasoning_tokens: Option<u64>,
    /// Of the tokens read, those from a provider's cache.
    pub cached_tokens: Option<u64>,
    /// The cost in nano-dollars (1e-9 USD).
    pub cost: Option<i64>,
}

/// What is learned of an attempt while its answer passes.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The status of the answer, once there is one.
    pub status: Option<u16>,
    /// Bytes of the answer's body that passed.
    pub bytes: u64,
    /// From leaving to the first byte of the answer's body.
    pub first_byte: Option<Duration>,
    /// `OpenRouter`'s id of the generation, `gen-…`.
    pub generation: Option<Box<str>>,
    /// Tokens and cost.
    pub usage: Usage,
}

/// The ledger of one data directory, or of memory alone. Clones share it.
#[derive(Clone, Debug)]
pub struct Ledger {
    clock: Clock,
}

impl Ledger {
    /// Opens the ledger in `directory` and starts its writer.
    pub fn open(directory: &Path, clock: Clock) -> Result<Self, OpenError> {
        let _ = directory;
        Ok(Self { clock })
    }

    /// A ledger that keeps its counts in memory, for when there is no directory to write to.
    #[must_use]
    pub fn in_memory(clock: Clock) -> Self {
        Self { clock }
    }

    /// A number for a new request: unique in this ledger, also across restarts.
    #[must_use]
    pub fn next_request(&self) -> u64 {
        0
    }

    /// Opens an entry: from here on the attempt counts.
    #[must_use]
    pub fn entry(&self, opening: Opening) -> OpenEntry {
        let _ = (&self.clock, opening);
        OpenEntry { started: Instant::now(), report: Report::default(), done: false }
    }
}

/// Why a ledger cannot be opened; the text names the directory and the cure.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process uses the data directory.
    #[error("the data directory is in use by process {pid}: {directory}")]
    InUse {
        /// The process that holds the lock.
        pid: u32,
        /// The data directory.
        directory: String,
    },
}

/// The open entry of one attempt. It closes exactly once: by [`OpenEntry::finish`], or as
/// [`Outcome::Cancelled`] when dropped.
#[derive(Debug)]
pub struct OpenEntry {
    started: Instant,
    /// Filled in while the answer passes; written when the entry closes.
    pub report: Report,
    done: bool,
}

impl OpenEntry {
    /// How long ago the attempt left.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Closes the entry; a second call changes nothing.
    pub fn finish(&mut self, outcome: Outcome) {
        let _ = outcome;
        self.done = true;
    }
}

impl Drop for OpenEntry {
    fn drop(&mut self) {
        if !self.done {
            self.finish(Outcome::Cancelled);
        }
    }
}
