//! The durable account: an entry is opened before an attempt leaves and closed exactly once.
//!
//! The request path pushes what happens into a bounded backlog (`backlog`); one thread (`writer`) takes it out again, adds
//! it up and writes it (`store`) at most 100 ms after it happened. A database that cannot be written costs the path nothing.

mod backlog;
mod callers;
mod cells;
mod histogram;
mod lock;
mod notes;
pub mod observe;
mod place;
pub mod query;
mod recall;
mod settling;
mod store;
mod sums;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use crate::clock::{Clock, Time};

use backlog::{Closing, Place, Shared};
pub use callers::{CallerUse, LastUse};
pub use histogram::Histogram;
use observe::{Attempt, Counts, Ended, Watch, Watcher};
pub use recall::UsedToday;
use settling::Settled;
pub use settling::{Found, Unsettled};
use store::{FILE, StoreError};
use sums::Settling;
use writer::Writer;

/// What is known of an attempt before it leaves.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The request it belongs to, from [`Ledger::next_request`].
    pub request: u64,
    /// 1 for a request's first attempt, 2 for its second.
    pub number: u32,
    /// When it leaves. Its UTC day is the one on which it counts, also its tokens and cost.
    pub at: Time,
    /// The name of the caller.
    pub caller: Arc<str>,
    /// The name of the key.
    pub key: Arc<str>,
    /// The model asked for; empty where the request names none.
    pub model: Arc<str>,
    /// The path below the API's root, without the query: `/chat/completions`.
    pub path: Arc<str>,
    /// Whether it runs a model, so that an answer without a cost lacks something.
    pub inference: bool,
    /// How long its request waited for a key just before it.
    pub waited: Duration,
    /// The request's attempt before this one; `None` for the first.
    ///
    /// A request stands with the key, and on the day, of its last attempt, so that the requests of all keys add up to the
    /// number of requests: the first attempt counts it there, and each later one moves it on from here.
    pub previous: Option<Previous>,
}

/// Where and when a request's attempt before this one left.
#[derive(Clone, Debug)]
pub struct Previous {
    /// The name of its key.
    pub key: Arc<str>,
    /// When it left.
    pub at: Time,
    /// The status that its entry closed with.
    pub status: Option<u16>,
}

impl Opening {
    /// The attempt that its request moved from.
    fn moved(&self) -> Option<&Previous> {
        self.previous.as_ref().filter(|_| self.number > 1)
    }
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

impl Outcome {
    /// The word for it in logs and reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Complete => "complete",
            Outcome::Failed => "failed",
            Outcome::Cancelled => "cancelled",
        }
    }
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
    /// Of the tokens read, those that were written to a provider's cache.
    pub cache_write_tokens: Option<u64>,
    /// The cost in nano-dollars (1e-9 USD).
    pub cost: Option<i64>,
    /// What a provider took besides, nano-dollars, where the account's own key with it was used.
    pub upstream_cost: Option<i64>,
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
    /// The code of an error that the answer told under a status of success.
    pub code: Option<u16>,
    /// Whether it is known to cost nothing, as errors do.
    pub free: bool,
    /// Tokens and cost.
    pub usage: Usage,
}

/// The longest name of a model, path or generation that is kept, bytes: callers choose them, and entries wait in memory.
const LONGEST_NAME: usize = 256;

/// The ledger of one data directory, or of memory alone. Clones share it.
///
/// When the last one is dropped, what is left is written and the lock given back, in at most two seconds; a server calls
/// [`Ledger::close`] before, which tells whether that went well.
#[derive(Clone, Debug)]
pub struct Ledger(Arc<Handle>);

/// Ends the writer with the last [`Ledger`].
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    /// The database; none in memory.
    file: Option<PathBuf>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.shut(Duration::from_secs(2));
    }
}

impl Ledger {
    /// Opens the ledger in `directory`, which is created where it is missing (mode 0700), takes the directory's lock and
    /// starts the writer. Entries that a process left open when it died are marked as lost; their attempts still count.
    ///
    /// A database that is full, read-only or locked at this moment is no error: entries wait in memory, as later. One
    /// that is corrupt is moved aside, with a warning, and a new one begun.
    pub fn open(directory: &Path, clock: Clock) -> Result<Self, OpenError> {
        let lock = lock::take(directory)?;
        let shared = Arc::new(Shared::new(clock));
        let mut writer = Writer::of_directory(Arc::clone(&shared), directory, lock);
        writer.begin()?;
        Ok(Self::start(shared, writer, Some(directory.join(FILE))))
    }

    /// A ledger that keeps its sums in memory alone, for when there is no directory to write to.
    #[must_use]
    pub fn in_memory(clock: Clock) -> Self {
        let shared = Arc::new(Shared::new(clock));
        let writer = Writer::of_memory(Arc::clone(&shared));
        Self::start(shared, writer, None)
    }

    fn start(shared: Arc<Shared>, writer: Writer, file: Option<PathBuf>) -> Self {
        let thread = thread::Builder::new().name("ledger".to_owned());
        if let Err(error) = thread.spawn(move || writer.run()) {
            tracing::warn!("the ledger keeps only sums, in memory; its thread cannot start: {error}");
            shared.ended();
        }
        Self(Arc::new(Handle { shared, file }))
    }

    /// A number for a new request: unique in this ledger, also across restarts.
    #[must_use]
    pub fn next_request(&self) -> u64 {
        self.0.shared.next_request.fetch_add(1, Ordering::Relaxed)
    }

    /// Opens an entry: from here on the attempt counts.
    #[must_use]
    pub fn entry(&self, mut opening: Opening) -> OpenEntry {
        shorten(&mut opening.model);
        shorten(&mut opening.path);
        let shared = Arc::clone(&self.0.shared);
        let watched = shared.watcher.get().map(|_| Box::new(Attempt::of(&opening)));
        let started = Instant::now();
        let inference = opening.inference;
        let place = shared.open(opening, started);
        OpenEntry {
            shared,
            started,
            place,
            inference,
            told: false,
            watched,
            report: Report::default(),
            done: false,
        }
    }

    /// Has `watcher` told of each attempt that is opened from now on when it ends. The first one stays for good.
    pub fn watch(&self, watcher: Arc<dyn Watch>) {
        // Nobody asks for two of them.
        let _ = self.0.shared.watcher.set(Watcher(watcher));
    }

    /// What was counted since this ledger was opened, to this moment.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.0.shared.counts()
    }

    /// Attempts by name of the key on the clock's UTC day: those of earlier processes in this directory and all that
    /// [`Ledger::entry`] opened.
    #[must_use]
    pub fn used_today(&self) -> HashMap<Box<str>, u64> {
        self.0.shared.used_today()
    }

    /// Notes a fact of the kind `kind`, which replaces what was noted of the same `id`, or forgets that where there is no
    /// value. For what changes rarely: it is on disk as soon as an entry would be, and none of it waits for that.
    ///
    /// Of each kind the newest 200,000 are kept. An id of more than 256 bytes is not noted.
    pub fn note(&self, kind: &'static str, id: &str, value: Option<String>) {
        if id.len() <= LONGEST_NAME {
            self.0.shared.note(kind, id, value);
        }
    }

    /// Whether what happens is written to a database; false in memory and while the database cannot be written.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.0.shared.writable.load(Ordering::Relaxed)
    }

    /// How long entries are kept; sums stay for ever. 90 days until this is called.
    pub fn keep(&self, entries: Duration) {
        let millis = i64::try_from(entries.as_millis()).unwrap_or(i64::MAX);
        self.0.shared.keep_ms.store(millis, Ordering::Relaxed);
    }

    /// Says that upstream is going to be asked for costs that answers did not tell; until then they are put down as never
    /// known.
    pub fn settles(&self) {
        self.0.shared.settles.store(true, Ordering::Relaxed);
    }

    /// How often something was put into the queue of what is to be settled, in this process.
    #[must_use]
    pub fn unsettled_news(&self) -> u64 {
        self.0.shared.unsettled_news.load(Ordering::Relaxed)
    }

    /// Takes over what upstream told of an entry in the queue; a second time changes nothing.
    pub fn settle(&self, entry: &Unsettled, found: Found) {
        self.0.shared.settle(Settled { entry: entry.clone(), found });
    }

    /// Waits until all that happened so far is written, at most `timeout`; tells whether it is.
    #[must_use]
    pub fn flush(&self, timeout: Duration) -> bool {
        self.0.shared.flush(timeout)
    }

    /// Writes what is left, ends the writer and gives the lock back, in at most `timeout`; tells whether all was written.
    /// What happens afterwards is not written any more.
    #[must_use]
    pub fn close(&self, timeout: Duration) -> bool {
        self.0.shared.shut(timeout)
    }
}

/// Cuts `name` to [`LONGEST_NAME`].
fn shorten(name: &mut Arc<str>) {
    if name.len() > LONGEST_NAME {
        let end = (0..=LONGEST_NAME).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
        *name = Arc::from(&name[..end]);
    }
}

/// Why a ledger cannot be opened; the text names the directory and the cure.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process uses the data directory.
    #[error(
        "the data directory is in use by {}: {directory}\n\
         hint: stop that process, or give this one a directory of its own with --data-dir",
        holder(*.pid)
    )]
    InUse {
        /// The process that holds the lock; 0 where it could not be learned.
        pid: u32,
        /// The data directory.
        directory: String,
    },
    /// The directory cannot be made, or nothing can be written in it. [`Ledger::in_memory`] still counts.
    #[error(
        "the data directory cannot be written ({reason}): {directory}\n\
         hint: choose another one with --data-dir"
    )]
    Unwritable {
        /// The data directory.
        directory: String,
        /// What the system says.
        reason: io::Error,
    },
    /// The database was written by a newer hermux.
    #[error(
        "the ledger is of a newer hermux (form {found}, this one knows {known}): {file}\n\
         hint: use the newer hermux, or another directory with --data-dir"
    )]
    Newer {
        /// The form found.
        found: i64,
        /// The newest form this hermux knows.
        known: i64,
        /// The database.
        file: String,
    },
}

fn holder(pid: u32) -> String {
    if pid == 0 { "another process".to_owned() } else { format!("process {pid}") }
}

/// The open entry of one attempt. It closes exactly once: by [`OpenEntry::finish`], or as
/// [`Outcome::Cancelled`] when dropped.
#[derive(Debug)]
pub struct OpenEntry {
    shared: Arc<Shared>,
    started: Instant,
    place: Place,
    inference: bool,
    /// Whether the ledger knows the generation already.
    told: bool,
    /// What a watcher is to be told; none where there is none.
    watched: Option<Box<Attempt>>,
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

    /// Has the ledger know the generation before the end of an answer that takes its time, so that its cost can be asked
    /// for also if this process dies; a second call changes nothing.
    pub fn waits(&mut self) {
        if self.told || self.report.free || !self.inference {
            return;
        }
        let Some(generation) = self.report.generation.as_ref().filter(|id| id.len() <= LONGEST_NAME) else {
            return;
        };
        self.told = true;
        self.shared.head(&self.place, generation.clone());
    }

    /// How its cost is to be found, where the answer did not say it.
    fn settling(&self, outcome: Outcome) -> Option<Settling> {
        let report = &self.report;
        if !self.inference || report.free || report.usage.cost.is_some() {
            return None;
        }
        let known = report.generation.is_some() && self.shared.settles.load(Ordering::Relaxed);
        match (report.status, outcome) {
            // An error, or nothing was sent or heard of it.
            (Some(400..), _) | (None, Outcome::Failed | Outcome::Complete) => None,
            // A failure without a generation broke off before there was anything to pay.
            (_, Outcome::Failed) if report.generation.is_none() => None,
            _ if known => Some(Settling::Waits),
            _ => Some(Settling::Never),
        }
    }

    /// Closes the entry, taking the generation out of the report; a second call changes nothing.
    pub fn finish(&mut self, outcome: Outcome) {
        if self.done {
            return;
        }
        self.done = true;
        if self.report.generation.as_ref().is_some_and(|generation| generation.len() > LONGEST_NAME) {
            self.report.generation = None;
        }
        let now = Instant::now();
        if let (Some(attempt), Some(Watcher(watcher))) = (&self.watched, self.shared.watcher.get()) {
            let duration = now.duration_since(self.started);
            watcher.ended(&Ended { attempt, outcome, report: &self.report, duration });
        }
        let settling = self.settling(outcome);
        let closing = Closing::new(outcome, &mut self.report, now.duration_since(self.started), settling);
        self.shared.close(&self.place, closing, now);
    }
}

impl Drop for OpenEntry {
    fn drop(&mut self) {
        self.finish(Outcome::Cancelled);
    }
}
