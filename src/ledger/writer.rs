//! The one thread that owns the write connection: takes what was reported, at most 100 ms late, in one
//! transaction.

use std::collections::HashMap;
use std::fs::File;
use std::hint::black_box;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::backlog::{Closing, Known, LIMIT, Shared, Taken, Turn};
use super::notes::Notes;
use super::place::Identity;
use super::settling::Settled;
use super::store::{self, FILE, FORM, Store};
use super::sums::{Hour, Settling, Sum, SumKey, Sums, Totals};
use super::{OpenError, Opening, StoreError};
use crate::clock::{Day, Time};

/// The first pause after a failed write; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long after one look for hours that are over and for entries that are too old the next comes, and how long where one
/// left something to do.
const TIDY: Duration = Duration::from_secs(60);
const TIDY_SOON: Duration = Duration::from_millis(200);

/// How long one look may take before it leaves the rest to the next.
const TIDY_STEP: Duration = Duration::from_millis(10);

/// Vectors with more room than this are given back to the system after use.
const SPARE_LIMIT: usize = 8_192;

/// The tail, entries that are not in the database's sums, is added to them when it has this many rows for each sum it
/// changes, so that sums cost little with any number of keys; not below and not beyond these numbers of rows, the last for
/// those who read it.
const TAIL_ROWS_A_SUM: usize = 12;
const TAIL_ROWS: RangeInclusive<usize> = 1_000..=120_000;

/// What is written in one transaction.
#[derive(Debug)]
pub(super) struct Batch {
    /// The serial of `opened[0]`; the others follow it without a gap.
    pub(super) first: u64,
    pub(super) opened: Vec<Opening>,
    pub(super) closed: Vec<Closing>,
    /// For each of `opened`, where its end stands in `closed`.
    pub(super) ends: Vec<Option<u32>>,
    /// Ends of entries that an earlier batch opened: the row, and where the end stands in `closed`.
    pub(super) later: Vec<(i64, u32)>,
    /// What goes into the database's sums at once, because no row of the tail says it.
    pub(super) sums: Sums,
    /// Whether the whole tail, with this batch, goes into the sums, and what it adds up to.
    pub(super) sums_tail: bool,
    pub(super) tail: Sums,
    /// How many attempts have no row.
    spilled: u64,
    pub(super) notes: Notes,
    /// Generations of entries that stay open: by serial of those that the batch opens, by row of the others.
    pub(super) known: HashMap<u64, Box<str>>,
    pub(super) heads: Vec<(i64, Box<str>)>,
    /// What became of entries in the queue; only together with the whole tail.
    pub(super) settled: Vec<Settled>,
    /// When it was taken.
    pub(super) at: Time,
    /// For each of `opened`, its row once written; 0 for one that is closed already.
    pub(super) rows: Vec<i64>,
    /// How often writing it failed.
    failures: u32,
    /// The count of files for which it was made.
    files: u32,
}

/// An entry that was written open.
struct OpenRow {
    /// Its row; `None` when the file it stands in is gone.
    row: Option<i64>,
    /// Its place in the sums, which has no status yet.
    key: SumKey,
    /// What counted there when it left.
    opened: Sum,
    /// Whether its request moved there from another key.
    moved: bool,
}

/// Since when the database cannot be written.
struct Outage {
    since: Time,
    pause: Duration,
}

/// Where batches go.
enum Target {
    Memory,
    Directory {
        path: PathBuf,
        /// Held as long as anything may be written.
        _lock: File,
    },
}

/// The state of the writing thread.
pub(super) struct Writer {
    shared: Arc<Shared>,
    target: Target,
    store: Option<Store>,
    /// The file the rows in `open` stand in, and how many there were before it.
    file: Option<Identity>,
    files: u32,
    /// Whether the database's own state has been taken over.
    loaded: bool,
    /// How many rows the tail has.
    tail_rows: usize,
    /// The last entry that is in the database's sums.
    summed: i64,
    /// Whether a database begun anew still lacks what was counted before it.
    unseeded: bool,
    /// The number of the batch that is written next.
    number: i64,
    open: HashMap<u64, OpenRow>,
    /// The oldest day whose sums are still in memory.
    oldest: Day,
    outage: Option<Outage>,
}

impl Writer {
    pub(super) fn of_directory(shared: Arc<Shared>, directory: &Path, lock: File) -> Self {
        Self::new(shared, Target::Directory { path: directory.join(FILE), _lock: lock })
    }

    pub(super) fn of_memory(shared: Arc<Shared>) -> Self {
        Self::new(shared, Target::Memory)
    }

    fn new(shared: Arc<Shared>, target: Target) -> Self {
        Self {
            shared,
            target,
            store: None,
            file: None,
            files: 0,
            loaded: false,
            tail_rows: 0,
            summed: 0,
            unseeded: false,
            number: 1,
            open: HashMap::new(),
            oldest: Day(i32::MIN),
            outage: None,
        }
    }

    /// Opens the database for the first time, on the thread that starts up.
    pub(super) fn begin(&mut self) -> Result<(), OpenError> {
        match self.ensure_store() {
            Err(StoreError::Newer(found)) => {
                let file = self.path().map(|path| path.display().to_string()).unwrap_or_default();
                return Err(OpenError::Newer { found, known: FORM, file });
            }
            Err(error) => {
                // Numbers of requests stay unique: no count of requests comes near the time in milliseconds.
                let now = u64::try_from(self.shared.clock.now().0).unwrap_or(1);
                self.shared.next_request.fetch_max(now, Ordering::Relaxed);
                self.fail(&error);
            }
            Ok(()) => self.shared.writable.store(true, Ordering::Relaxed),
        }
        Ok(())
    }

    /// Writes until the ledger closes.
    pub(super) fn run(mut self) {
        let mut spare = Taken::default();
        let mut tidy = Instant::now() + TIDY_SOON;
        loop {
            let turn = self.shared.wait_for_batch(tidy);
            if turn != Turn::Over && Instant::now() >= tidy {
                tidy = Instant::now() + self.tidy();
            }
            match turn {
                Turn::Over => break,
                Turn::Tidy => continue,
                Turn::Batch => {}
            }
            let mut batch = self.next_batch(spare);
            while let Err(error) = self.write(&mut batch) {
                batch.failures += 1;
                let pause = self.fail(&error);
                if !self.shared.wait_for_retry(pause) {
                    tracing::warn!(
                        "the ledger closed with {} entries unwritten: {error}",
                        batch.opened.len() + batch.later.len()
                    );
                    return self.end();
                }
            }
            self.recover(&batch);
            spare = self.settle(batch);
            self.shared.batch_done();
        }
        self.end();
    }

    /// Lets go of the database and the lock before anybody is told.
    fn end(self) {
        let shared = Arc::clone(&self.shared);
        shared.writable.store(false, Ordering::Relaxed);
        drop(self);
        shared.ended();
    }

    /// Adds one hour that is over to its day and deletes some entries that are too old: in small steps, so that nothing waits
    /// long for them. How long to wait before the next.
    fn tidy(&mut self) -> Duration {
        let now = self.shared.clock.now();
        let end = Time(now.0.saturating_sub(self.shared.keep_ms.load(Ordering::Relaxed)));
        let Some(store) = self.store.as_mut().filter(|store| store.is_in_place()) else { return TIDY };
        let start = Instant::now();
        let more = loop {
            match store.roll(now).and_then(|more| Ok(store.trim(end)? || more)) {
                Ok(true) if start.elapsed() < TIDY_STEP => {}
                more => break more,
            }
        };
        match more {
            Ok(true) => TIDY_SOON,
            Ok(false) => TIDY,
            Err(error) => {
                tracing::debug!("the ledger could not be tidied up: {error}");
                // Whatever is wrong with it, the next batch starts from the file, and tells.
                self.store = None;
                TIDY
            }
        }
    }

    /// Takes what stands in the backlog and adds it up.
    fn next_batch(&mut self, spare: Taken) -> Batch {
        // Held until both are in step, so that nothing is counted twice or not at all meanwhile.
        let mut totals = self.shared.totals();
        let taken = self.shared.take(spare);
        self.tail_rows += taken.opened.len();
        let mut batch = Batch::new(taken, &mut self.open, self.summed, &mut totals.tail);
        batch.files = self.files;
        batch.at = self.shared.clock.now();
        totals.add(&batch.sums);
        let wanted = totals.tail.0.len() * TAIL_ROWS_A_SUM;
        // What is settled late is added to the sums alone, so that its entry has to be in them.
        if self.tail_rows >= wanted.clamp(*TAIL_ROWS.start(), *TAIL_ROWS.end()) || !batch.settled.is_empty() {
            batch.take_tail(&mut totals);
        }
        batch
    }

    fn write(&mut self, batch: &mut Batch) -> Result<(), StoreError> {
        if matches!(self.target, Target::Memory) {
            batch.rows = vec![0; batch.opened.len()];
            return Ok(());
        }
        let result = self.try_write(batch);
        if result.is_err() {
            // Whatever is wrong with it, the next try starts from the file.
            self.store = None;
        }
        result
    }

    fn try_write(&mut self, batch: &mut Batch) -> Result<(), StoreError> {
        self.ensure_store()?;
        let Some(store) = &mut self.store else { return Ok(()) };
        #[cfg(test)]
        store.limit(self.shared.max_pages.load(Ordering::Relaxed))?;
        if batch.files != self.files {
            batch.files = self.files;
            // Neither those rows nor the tail are in this file.
            batch.later.clear();
            batch.heads.clear();
            batch.take_tail(&mut self.shared.totals());
        }
        // A commit that was reported as failed may have reached the file.
        if batch.failures == 0 || store.state()?.batch != self.number {
            let seed = if self.unseeded { seed(&self.shared.totals(), batch) } else { Sums::default() };
            let next_request = self.shared.next_request.load(Ordering::Relaxed);
            store.write(batch, &seed, next_request, self.number)?;
        }
        if batch.sums_tail {
            self.summed = store.state()?.summed;
            self.tail_rows = 0;
        }
        Ok(())
    }

    fn path(&self) -> Option<&Path> {
        match &self.target {
            Target::Memory => None,
            Target::Directory { path, .. } => Some(path),
        }
    }

    /// Sees to it that the database is open and is the one its path leads to.
    fn ensure_store(&mut self) -> Result<(), StoreError> {
        let Some(path) = self.path().map(Path::to_owned) else { return Ok(()) };
        if self.store.as_ref().is_some_and(|store| !store.is_in_place()) {
            tracing::warn!("the ledger was removed or replaced, it is opened anew: {}", path.display());
            self.store = None;
            self.file = None;
        }
        if self.store.is_none() {
            let (store, fresh) = match Store::open(&path) {
                Err(error) if error.is_corrupt() => self.begin_anew(&path, &error)?,
                opened => opened?,
            };
            self.adopt(store, fresh)?;
        }
        Ok(())
    }

    fn begin_anew(&self, path: &Path, error: &StoreError) -> Result<(Store, bool), StoreError> {
        let aside = store::set_aside(path, self.shared.clock.now())?;
        tracing::error!(
            "the ledger is corrupt ({error}), a new one is begun and the old one was moved to: {}",
            aside.display()
        );
        Store::open(path)
    }

    /// Takes over a database that was opened: `fresh` when it has just begun.
    fn adopt(&mut self, mut store: Store, fresh: bool) -> Result<(), StoreError> {
        store.begin(self.shared.clock.now())?;
        self.unseeded |= fresh;
        // Inodes are used again, so a database that has just begun is another one whatever its inode.
        if fresh || self.file != Some(store.identity()) {
            store.sum_tail()?;
            self.summed = store.state()?.summed;
            self.file = Some(store.identity());
            self.files += 1;
            self.open.values_mut().for_each(|open| open.row = None);
        }
        if !self.loaded {
            let state = store.state()?;
            let today = store.days_from(self.shared.clock.now().day())?;
            let lost = store.mark_lost(self.shared.clock.now())?;
            if lost > 0 {
                tracing::info!("entries left open by a process that died: {lost}");
            }
            self.shared.next_request.fetch_max(state.next_request, Ordering::Relaxed);
            self.number = state.batch + 1;
            let mut totals = self.shared.totals();
            for (key, sum) in today {
                *totals.days.entry(key).or_default() += sum;
            }
            self.loaded = true;
        }
        self.store = Some(store);
        Ok(())
    }

    /// Notes that writing failed; how long to wait before the next try.
    fn fail(&mut self, error: &StoreError) -> Duration {
        if error.is_corrupt()
            && let Some(path) = self.path()
            && self.store.is_none()
        {
            // A page deep inside is broken. The next try begins a new file, and finds this one out of the way.
            match store::set_aside(path, self.shared.clock.now()) {
                Ok(aside) => tracing::error!(
                    "the ledger is corrupt ({error}), a new one is begun and the old one was moved to: {}",
                    aside.display()
                ),
                Err(error) => tracing::error!("the corrupt ledger cannot be moved aside: {error}"),
            }
        }
        self.shared.writable.store(false, Ordering::Relaxed);
        let now = self.shared.clock.now();
        let outage = self.outage.get_or_insert_with(|| {
            tracing::warn!(
                "the ledger cannot be written since {}; requests go on, up to {LIMIT} entries wait in memory and beyond \
                 them only sums: {error}",
                moment(now)
            );
            Outage { since: now, pause: FIRST_PAUSE / 2 }
        });
        outage.pause = (outage.pause * 2).min(LONGEST_PAUSE);
        outage.pause
    }

    /// Notes that writing went well.
    fn recover(&mut self, batch: &Batch) {
        self.number += 1;
        self.unseeded = false;
        let queued = batch.closed.iter().any(|closing| closing.settling == Some(Settling::Waits));
        if queued || !batch.settled.is_empty() {
            self.shared.unsettled_news.fetch_add(1, Ordering::Relaxed);
        }
        let Some(outage) = self.outage.take() else { return };
        self.shared.writable.store(true, Ordering::Relaxed);
        tracing::warn!(
            "the ledger is written again; of the attempts since {}, those of which only sums were kept: {}",
            moment(outage.since),
            batch.spilled + self.shared.spilled()
        );
    }

    /// Remembers what is still open; gives the vectors back for use again.
    fn settle(&mut self, mut batch: Batch) -> Taken {
        let open = batch.opened.drain(..).zip(&batch.ends).zip(&batch.rows).enumerate();
        for (at, ((opening, end), row)) in open {
            if end.is_none() {
                let open = OpenRow {
                    row: Some(*row),
                    key: SumKey::of(&opening, None),
                    opened: Sum::opened(&opening),
                    moved: opening.moved().is_some(),
                };
                self.open.insert(batch.first + at as u64, open);
            }
        }
        // The days that attempts still open may belong to stay; the others are in the database.
        let oldest = Day(self.shared.clock.now().day().0 - 1);
        if self.oldest != oldest {
            self.oldest = oldest;
            self.shared.totals().days.retain(|(day, _), _| *day >= oldest);
        }
        batch.closed.clear();
        let mut spare = Taken { opened: batch.opened, closed: batch.closed, ..Taken::default() };
        if spare.opened.capacity() > SPARE_LIMIT {
            spare.opened = Vec::new();
        }
        if spare.closed.capacity() > SPARE_LIMIT {
            spare.closed = Vec::new();
        }
        spare
    }
}

impl Batch {
    /// Pairs ends with what they end, here or among the rows in `open`, and adds all up: into `tail` what rows beyond
    /// `summed` say.
    fn new(taken: Taken, open: &mut HashMap<u64, OpenRow>, summed: i64, tail: &mut Sums) -> Self {
        let Taken { first, opened, closed, mut sums, spilled, notes, known, settled } = taken;
        // All at once: with thousands of keys each is far from the processor, which else waits for one after the other.
        for opening in &opened {
            black_box(opening.key.as_bytes().first().copied());
        }
        let mut ends = vec![None; opened.len()];
        let mut later = Vec::new();
        for (end, closing) in (0_u32..).zip(&closed) {
            let place = closing.serial.checked_sub(first).and_then(|at| usize::try_from(at).ok());
            if let Some(at) = place {
                ends[at] = Some(end);
            } else if let Some(OpenRow { row, key, opened, moved }) = open.remove(&closing.serial) {
                if moved {
                    sums.settle_moved(&key, closing.status);
                }
                let sums = if row.is_some_and(|row| row > summed) { &mut *tail } else { &mut sums };
                sums.close(key, opened, closing);
                later.extend(row.map(|row| (row, end)));
            }
        }
        for (opening, end) in opened.iter().zip(&ends) {
            let mut sum = Sum::opened(opening);
            if let Some(end) = end {
                let closing = &closed[*end as usize];
                sum += Sum::closed(closing);
                tail.add_closed(SumKey::of(opening, closing.status), sum, closing);
                sums.move_request(opening, closing.status);
            } else {
                tail.add(SumKey::of(opening, None), sum);
                sums.move_request(opening, None);
            }
        }
        let (known, heads) = still_open(known, first, &ends, open);
        Self {
            first,
            opened,
            closed,
            ends,
            later,
            sums,
            sums_tail: false,
            tail: Sums::default(),
            spilled,
            notes,
            known,
            heads,
            settled,
            at: Time(0),
            rows: Vec::new(),
            failures: 0,
            files: 0,
        }
    }

    /// Decides that the tail goes into the sums with this batch.
    fn take_tail(&mut self, totals: &mut Totals) {
        if !self.sums_tail {
            self.sums_tail = true;
            self.tail = totals.take_tail();
        }
    }
}

/// Of the generations in `known` those of entries that stay open: by serial where the batch from `first` on opens them, by
/// row where they are in `open`.
#[expect(clippy::type_complexity, reason = "the two halves of a batch")]
fn still_open(
    known: Vec<Known>,
    first: u64,
    ends: &[Option<u32>],
    open: &HashMap<u64, OpenRow>,
) -> (HashMap<u64, Box<str>>, Vec<(i64, Box<str>)>) {
    let (mut here, mut heads) = (HashMap::new(), Vec::new());
    for Known { serial, generation } in known {
        match serial.checked_sub(first).and_then(|at| usize::try_from(at).ok()) {
            Some(at) if ends.get(at).is_some_and(Option::is_none) => drop(here.insert(serial, generation)),
            Some(_) => {}
            None => heads.extend(open.get(&serial).and_then(|open| open.row).map(|row| (row, generation))),
        }
    }
    (here, heads)
}

/// What was counted in `totals` besides `batch`: a database that begins anew starts with it. Callers and models are not
/// known of it any more.
fn seed(totals: &Totals, batch: &Batch) -> Sums {
    let mut missing = totals.days.clone();
    for (key, cell) in batch.sums.0.iter().chain(&batch.tail.0) {
        *missing.entry((key.hour.day(), Arc::clone(&key.key))).or_default() -= cell.sum;
    }
    let unknown: Arc<str> = Arc::from("");
    let mut seed = Sums::default();
    for ((day, key), sum) in missing {
        if sum != Sum::default() {
            let (caller, model) = (Arc::clone(&unknown), Arc::clone(&unknown));
            seed.add(SumKey { hour: Hour::of(day.start()), key, caller, model, status: 0 }, sum);
        }
    }
    seed
}

fn moment(at: Time) -> String {
    jiff::Timestamp::from_millisecond(at.0).map_or_else(|_| format!("{} ms", at.0), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::super::backlog::{Closing, Shared, Taken};
    use super::super::query::keys_on;
    use super::super::{Opening, Outcome, Report, lock};
    use super::Writer;
    use crate::clock::{Clock, Time};

    #[test]
    fn a_commit_that_was_reported_as_failed_is_not_written_twice() {
        let directory = tempfile::tempdir().unwrap();
        let shared = Arc::new(Shared::new(Clock::fixed(Time(0))));
        let lock = lock::take(directory.path()).unwrap();
        let mut writer = Writer::of_directory(Arc::clone(&shared), directory.path(), lock);
        writer.begin().unwrap();
        let name = Arc::<str>::from("a");
        let opening = Opening {
            request: 1,
            number: 1,
            at: Time(0),
            caller: Arc::clone(&name),
            key: Arc::clone(&name),
            model: Arc::clone(&name),
            path: name,
            inference: true,
            waited: Duration::ZERO,
            previous: None,
        };
        let place = shared.open(opening, Instant::now());
        let mut batch = writer.next_batch(Taken::default());
        writer.write(&mut batch).unwrap();
        batch.failures = 1;
        writer.store = None;
        writer.write(&mut batch).unwrap();
        writer.recover(&batch);
        let spare = writer.settle(batch);

        let closing = Closing::new(Outcome::Failed, &mut Report::default(), Duration::ZERO, None);
        shared.close(&place, closing, Instant::now());
        let mut batch = writer.next_batch(spare);
        assert_eq!(batch.later.len(), 1, "the row is known");
        writer.write(&mut batch).unwrap();
        let rows = keys_on(directory.path(), Time(0).day()).unwrap();
        assert_eq!((rows[0].requests, rows[0].attempts, rows[0].failed), (1, 1, 1));
    }
}
