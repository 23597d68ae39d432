//! What the request path hands to the writer: a bounded backlog behind one short lock.

use std::collections::HashMap;
use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::notes::Notes;
use super::observe::{Counts, Watcher};
use super::settling::Settled;
use super::sums::{Settling, Sum, SumKey, Sums, Totals};
use super::{Opening, Outcome, Report};
use crate::clock::Clock;

/// How many entries are kept while they cannot be written; beyond them only sums are.
pub(super) const LIMIT: usize = 50_000;

/// How many different sums are kept while they cannot be written. Callers choose the model's name, so beyond this the
/// models of a key and caller are one.
const SUMS_LIMIT: usize = 20_000;

/// How long a batch gathers: long enough that a quick attempt opens and closes in one, short enough that all is on disk
/// 100 ms after it happened.
const GATHER: Duration = Duration::from_millis(50);

/// How long entries are kept unless something else is asked for: 90 days.
const KEEP_MS: i64 = 90 * 86_400_000;

/// How many settled entries wait at most while they cannot be written; the others stay in the queue.
const SETTLED_LIMIT: usize = 10_000;

/// What the end of an attempt adds. Kept small: it is moved under the lock.
#[derive(Debug)]
pub(super) struct Closing {
    pub serial: u64,
    pub outcome: Outcome,
    pub status: Option<u16>,
    pub bytes: u64,
    pub duration_ms: u32,
    pub first_byte_ms: Option<u32>,
    pub prompt: Option<u32>,
    pub completion: Option<u32>,
    pub reasoning: Option<u32>,
    pub cached: Option<u32>,
    pub cache_write: Option<u32>,
    pub code: Option<u16>,
    pub settling: Option<Settling>,
    pub cost: Option<i64>,
    pub upstream_cost: Option<i64>,
    pub generation: Option<Box<str>>,
}

impl Closing {
    /// Whether it has one of the columns that few have.
    pub(super) fn has_rare(&self) -> bool {
        self.cache_write.is_some()
            || self.upstream_cost.is_some()
            || self.code.is_some()
            || self.settling.is_some()
    }
}

/// The generation of an attempt that is still open.
#[derive(Debug)]
pub(super) struct Known {
    pub serial: u64,
    pub generation: Box<str>,
}

impl Closing {
    /// Takes the generation out of `report` and copies the rest.
    pub(super) fn new(
        outcome: Outcome,
        report: &mut Report,
        duration: Duration,
        settling: Option<Settling>,
    ) -> Self {
        let millis = |duration: Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
        let tokens = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        Self {
            serial: 0,
            outcome,
            status: report.status,
            bytes: report.bytes,
            duration_ms: millis(duration),
            first_byte_ms: report.first_byte.map(millis),
            prompt: report.usage.prompt_tokens.map(tokens),
            completion: report.usage.completion_tokens.map(tokens),
            reasoning: report.usage.reasoning_tokens.map(tokens),
            cached: report.usage.cached_tokens.map(tokens),
            // Mostly told as none.
            cache_write: report.usage.cache_write_tokens.map(tokens).filter(|count| *count > 0),
            code: report.code,
            settling,
            cost: report.usage.cost,
            upstream_cost: report.usage.upstream_cost.filter(|cost| *cost != 0),
            generation: report.generation.take(),
        }
    }
}

/// Where an open entry stands.
#[derive(Debug)]
pub(super) enum Place {
    /// It has a row, or will have one; the number is unique in this process.
    Entry(u64),
    /// The backlog was full: it is counted in this sum alone, with what counted when it left.
    Sum(Box<(SumKey, Sum)>),
}

/// What the request path, the writer and the readers share.
pub(super) struct Shared {
    pub clock: Clock,
    pub next_request: AtomicU64,
    pub writable: AtomicBool,
    /// How long entries are kept, milliseconds.
    pub keep_ms: AtomicI64,
    /// Whether upstream is asked for costs that answers did not tell.
    pub settles: AtomicBool,
    /// How often something was put into the queue of what is to be settled.
    pub unsettled_news: AtomicU64,
    /// Who else is told of attempts that end.
    pub watcher: OnceLock<Watcher>,
    /// The largest the database may grow, pages; 0 for no limit. Tests fill a disk with it.
    #[cfg(test)]
    pub max_pages: std::sync::atomic::AtomicU32,
    /// What the writer has taken so far. Locked before the backlog where both are needed.
    totals: Mutex<Totals>,
    backlog: Mutex<Backlog>,
    /// Wakes the writer.
    wake: Condvar,
    /// Wakes those who wait for the writer.
    settled: Condvar,
}

#[derive(Default)]
struct Backlog {
    /// The serial of `opened[0]`; the others follow it without a gap.
    first: u64,
    opened: Vec<Opening>,
    closed: Vec<Closing>,
    /// What found no place in `opened`.
    sums: Sums,
    /// How many attempts went into `sums` alone.
    spilled: u64,
    notes: Notes,
    known: Vec<Known>,
    settled: Vec<Settled>,
    counts: Counts,
    /// How many openings the writer holds that are not written yet.
    held: usize,
    /// When the oldest of what stands here came.
    since: Option<Instant>,
    /// How many batches the writer took, and how many of them it is done with.
    taken: u64,
    done: u64,
    /// Somebody waits: write now.
    urgent: bool,
    /// The ledger closes; until then the writer may go on trying.
    closing: Option<Instant>,
    stage: Stage,
    /// The writer left nothing behind when it stopped.
    clean: bool,
}

/// What the writer does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Take a batch and write it.
    Batch,
    /// Nothing is to be written: there is time to tidy up.
    Tidy,
    /// End.
    Over,
}

/// How far the writer has come.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Running,
    /// It takes nothing any more.
    Stopped,
    /// It has let go of the database and of the lock.
    Ended,
}

impl Backlog {
    fn is_empty(&self) -> bool {
        self.since.is_none()
    }

    /// Notes that something comes; true when nothing stood here before, so that the writer must be woken.
    fn note(&mut self, now: Instant) -> bool {
        let first = self.since.is_none();
        if first {
            self.since = Some(now);
        }
        first
    }
}

/// What the writer takes in one go.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// The serial of `opened[0]`.
    pub first: u64,
    pub opened: Vec<Opening>,
    pub closed: Vec<Closing>,
    pub sums: Sums,
    /// How many attempts stand in `sums` alone.
    pub spilled: u64,
    pub notes: Notes,
    pub known: Vec<Known>,
    pub settled: Vec<Settled>,
}

impl Shared {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            next_request: AtomicU64::new(1),
            writable: AtomicBool::new(false),
            keep_ms: AtomicI64::new(KEEP_MS),
            settles: AtomicBool::new(false),
            unsettled_news: AtomicU64::new(0),
            watcher: OnceLock::new(),
            #[cfg(test)]
            max_pages: std::sync::atomic::AtomicU32::new(0),
            totals: Mutex::default(),
            backlog: Mutex::default(),
            wake: Condvar::new(),
            settled: Condvar::new(),
        }
    }

    fn backlog(&self) -> MutexGuard<'_, Backlog> {
        // Nothing that is done under the lock leaves it half done.
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn totals(&self) -> MutexGuard<'_, Totals> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in an attempt that leaves.
    pub(super) fn open(&self, opening: Opening, now: Instant) -> Place {
        let mut backlog = self.backlog();
        let wake = backlog.note(now);
        backlog.counts.requests += u64::from(opening.number == 1);
        backlog.counts.attempts += 1;
        let place = if backlog.opened.len() + backlog.held < LIMIT && backlog.stage == Stage::Running {
            let serial = backlog.first + backlog.opened.len() as u64;
            backlog.opened.push(opening);
            Place::Entry(serial)
        } else {
            let mut opening = opening;
            if backlog.sums.0.len() >= SUMS_LIMIT && !backlog.sums.0.contains_key(&SumKey::of(&opening, None))
            {
                opening.model = Arc::from("(other)");
            }
            let key = SumKey::of(&opening, None);
            let mut opened = Sum::opened(&opening);
            backlog.sums.add(key.clone(), opened);
            backlog.sums.move_request(&opening, None);
            if opening.moved().is_some() {
                opened += Sum::moved();
            }
            backlog.spilled += 1;
            Place::Sum(Box::new((key, opened)))
        };
        drop(backlog);
        if wake {
            self.wake.notify_one();
        }
        place
    }

    /// Takes in the end of an attempt.
    pub(super) fn close(&self, place: &Place, mut closing: Closing, now: Instant) {
        let mut backlog = self.backlog();
        let wake = backlog.note(now);
        backlog.counts.ended(&closing);
        match place {
            Place::Entry(_) if backlog.stage != Stage::Running => {}
            Place::Entry(serial) => {
                closing.serial = *serial;
                backlog.closed.push(closing);
            }
            Place::Sum(open) => {
                // Without a row there is no queue for it.
                closing.settling = closing.settling.map(|_| Settling::Never);
                backlog.sums.close(open.0.clone(), open.1, &closing);
            }
        }
        drop(backlog);
        if wake {
            self.wake.notify_one();
        }
    }

    /// Takes in the generation of an attempt that is open.
    pub(super) fn head(&self, place: &Place, generation: Box<str>) {
        let &Place::Entry(serial) = place else { return };
        let mut backlog = self.backlog();
        // Known or not, it is told again at the end; this is not worth memory while nothing can be written.
        if backlog.stage != Stage::Running || backlog.known.len() >= LIMIT {
            return;
        }
        let wake = backlog.note(Instant::now());
        backlog.known.push(Known { serial, generation });
        drop(backlog);
        if wake {
            self.wake.notify_one();
        }
    }

    /// Takes in what became of an entry in the queue.
    pub(super) fn settle(&self, settled: Settled) {
        let mut backlog = self.backlog();
        if backlog.stage != Stage::Running || backlog.settled.len() >= SETTLED_LIMIT {
            return;
        }
        let wake = backlog.note(Instant::now());
        backlog.settled.push(settled);
        drop(backlog);
        if wake {
            self.wake.notify_one();
        }
    }

    /// What was counted so far.
    pub(super) fn counts(&self) -> Counts {
        self.backlog().counts
    }

    /// Takes in a note, or that one is to be forgotten.
    pub(super) fn note(&self, kind: &'static str, id: &str, value: Option<String>) {
        let mut backlog = self.backlog();
        if backlog.stage != Stage::Running {
            return;
        }
        let wake = backlog.note(Instant::now());
        backlog.notes.push(kind, id, value);
        drop(backlog);
        if wake {
            self.wake.notify_one();
        }
    }

    /// Attempts by key on the clock's day, whether written or not.
    pub(super) fn used_today(&self) -> HashMap<Box<str>, u64> {
        let today = self.clock.now().day();
        // A part of a sum may be negative: what moves from one status to another.
        let mut used: HashMap<Box<str>, i64> = HashMap::new();
        let mut count = |key: &str, attempts: i64| match used.get_mut(key) {
            Some(sum) => *sum += attempts,
            None => drop(used.insert(key.into(), attempts)),
        };
        let totals = self.totals();
        let backlog = self.backlog();
        for ((day, key), sum) in &totals.days {
            if *day == today {
                count(key, sum.attempts);
            }
        }
        for (key, sum) in totals.tail.0.iter().chain(&backlog.sums.0) {
            if key.hour.day() == today {
                count(&key.key, sum.sum.attempts);
            }
        }
        for opening in &backlog.opened {
            if opening.at.day() == today {
                count(&opening.key, 1);
            }
        }
        used.into_iter().map(|(key, attempts)| (key, u64::try_from(attempts).unwrap_or(0))).collect()
    }

    /// Waits until there is a batch to take or something to tidy up, `tidy` from when on; over once the ledger closes and
    /// nothing is left, or its time is over.
    pub(super) fn wait_for_batch(&self, tidy: Instant) -> Turn {
        let mut backlog = self.backlog();
        loop {
            let hurry = backlog.urgent || backlog.closing.is_some();
            let over = backlog.closing.is_some_and(|until| Instant::now() >= until);
            match backlog.since {
                since if over || (since.is_none() && backlog.closing.is_some()) => {
                    backlog.stage = Stage::Stopped;
                    backlog.clean = since.is_none();
                    return Turn::Over;
                }
                None => {
                    backlog.urgent = false;
                    let left = tidy.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Turn::Tidy;
                    }
                    backlog = self.wake.wait_timeout(backlog, left).unwrap_or_else(PoisonError::into_inner).0;
                }
                Some(since) => {
                    let left = GATHER.saturating_sub(since.elapsed());
                    if hurry || left.is_zero() {
                        return Turn::Batch;
                    }
                    backlog = self.wake.wait_timeout(backlog, left).unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }

    /// Swaps out what stands in the backlog against `spare`, whose vectors are empty.
    pub(super) fn take(&self, spare: Taken) -> Taken {
        let mut guard = self.backlog();
        let backlog = &mut *guard;
        let first = backlog.first;
        backlog.first += backlog.opened.len() as u64;
        backlog.held = backlog.opened.len();
        backlog.since = None;
        backlog.urgent = false;
        backlog.taken += 1;
        Taken {
            first,
            opened: mem::replace(&mut backlog.opened, spare.opened),
            closed: mem::replace(&mut backlog.closed, spare.closed),
            sums: mem::take(&mut backlog.sums),
            spilled: mem::take(&mut backlog.spilled),
            notes: mem::take(&mut backlog.notes),
            known: mem::take(&mut backlog.known),
            settled: mem::take(&mut backlog.settled),
        }
    }

    /// How many attempts the backlog knows by their sums alone.
    pub(super) fn spilled(&self) -> u64 {
        self.backlog().spilled
    }

    /// The batch last taken is written.
    pub(super) fn batch_done(&self) {
        let mut backlog = self.backlog();
        backlog.held = 0;
        backlog.done = backlog.taken;
        drop(backlog);
        self.settled.notify_all();
    }

    /// Waits `pause` before the next try, or less when somebody waits for it. False when the ledger closes and the time
    /// for that is over: what is held is given up.
    pub(super) fn wait_for_retry(&self, pause: Duration) -> bool {
        let start = Instant::now();
        let mut backlog = self.backlog();
        loop {
            let pause = match backlog.closing {
                Some(until) if Instant::now() >= until => {
                    backlog.stage = Stage::Stopped;
                    return false;
                }
                Some(_) => pause.min(GATHER),
                None => pause,
            };
            let left = pause.saturating_sub(start.elapsed());
            if mem::take(&mut backlog.urgent) || left.is_zero() {
                return true;
            }
            backlog = self.wake.wait_timeout(backlog, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The writer has let go of everything.
    pub(super) fn ended(&self) {
        let mut backlog = self.backlog();
        backlog.stage = Stage::Ended;
        drop(backlog);
        self.settled.notify_all();
    }

    /// Waits until all that came before this call is written, at most `timeout`; tells whether it is.
    pub(super) fn flush(&self, timeout: Duration) -> bool {
        let mut backlog = self.backlog();
        let target = backlog.taken + u64::from(!backlog.is_empty());
        if backlog.done < target {
            backlog.urgent = true;
            self.wake.notify_one();
        }
        let reached = |backlog: &mut Backlog| backlog.done < target && backlog.stage != Stage::Ended;
        let (backlog, _) = self
            .settled
            .wait_timeout_while(backlog, timeout, reached)
            .unwrap_or_else(PoisonError::into_inner);
        backlog.done >= target
    }

    /// Writes what is left and ends the writer, in at most `timeout`; tells whether all was written. A second call only
    /// waits for the first.
    pub(super) fn shut(&self, timeout: Duration) -> bool {
        let mut backlog = self.backlog();
        backlog.closing.get_or_insert_with(|| Instant::now() + timeout);
        self.wake.notify_one();
        let (backlog, _) = self
            .settled
            .wait_timeout_while(backlog, timeout, |backlog| backlog.stage != Stage::Ended)
            .unwrap_or_else(PoisonError::into_inner);
        backlog.stage == Stage::Ended && backlog.clean
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}
