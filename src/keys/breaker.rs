//! Models that are down: one probe at a time, the others wait.
//!
//! # When a model counts as down
//!
//! One 502 of a flaky model must stop nobody, and a model that is down must not cost each of its callers an attempt,
//! so three rules work together:
//!
//! - **Five failures in a row open the breaker**, over all callers, with no good answer in between; a failure that says
//!   itself when to ask again (`Retry-After`, `availability`) weighs as much as three, so that two of them do.
//! - **"In a row" goes by departure.** An answer that comes now tells how the model was when its request left, and
//!   failures come quicker than answers: of a hundred requests that left together, all the failures are known while the
//!   first answer is still being thought about. So the first failure only begins a watch. From then on attempts leave
//!   with a guard, and these alone count, for and against; and the breaker of a model that proved itself stays closed
//!   while more of them are still out than failed. One good answer ends the watch. Failures without a guard decide
//!   nothing, but where six of them came in a row, two guarded failures are enough, and no more than two
//!   guarded attempts leave at a time.
//! - **A model that has not proved itself gets eight attempts at a time**, and two while its latest result is a failure:
//!   else twenty callers that start together would have twenty attempts under way before the first failure is known.
//!   It proves itself with sixteen good answers, until nobody asks for it for a minute, or it was down. This limit is
//!   soft: nobody is held by it for more than two seconds, and those that can't wait not at all ([`Breakers::admit`]).
//!
//! With 7 % of failures, five of ten attempts fail once in some thousand times; and then those who ask wait for a probe.
//! An outage of 20 s costs the callers of a model that had not proved itself eight attempts and three probes (after 2, 6
//! and 14 s); of one that had, what is under way when the first failure comes back, two to
//! five more and the probes.
//!
//! # How it closes
//!
//! One probe at a time, the first 2 s later, then after 4, 8, 15, 15 … s, or when upstream said, within 1 s and 15 min.
//! A good answer of any attempt that left since the trouble began closes it; the model then has to prove itself again,
//! so that those who waited do not all rush at it. A probe that has not reported after 15 s does not hold up the next.
//!
//! Time is the wall clock's, and may jump: what seems to lie further off than it was set is due.

#[cfg(test)]
mod tests;
mod watched;

use std::collections::HashMap;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::quality::RandomState;
use tokio::sync::Notify;

use self::watched::{Report, Verdict, Watched};
use crate::clock::Time;

/// So many models are watched at most; of others nothing is noted.
const MODELS: usize = 1024;
/// Cells that remember which models proved themselves. Models that share one by chance share its word, which harms
/// nobody.
const CELLS: usize = 1024;
/// For so many seconds after its latest attempt a model that proved itself is trusted.
const TRUSTED_S: u32 = 60;
/// How often what is to be forgotten is looked for.
const SWEEP: Duration = Duration::from_secs(10);

/// The models that are down. Clones share it.
#[derive(Clone, Default)]
pub struct Breakers(Arc<Shared>);

struct Shared {
    /// The second of the latest attempt on models that proved themselves, by hash; 0 where there is none.
    proven: [AtomicU32; CELLS],
    hasher: RandomState,
    /// How many models are watched.
    watched: AtomicUsize,
    models: Mutex<Models>,
    returned: Notify,
}

#[derive(Debug, Default)]
struct Models {
    watched: HashMap<Arc<str>, Watched>,
    latest: u64,
    swept: Option<Time>,
}

/// Whether an attempt on a model may leave.
#[derive(Debug)]
pub enum Admission {
    /// It may. An attempt whose result matters, such as the probe of a model that is down, reports through its guard;
    /// dropped without a report it counts for nothing. One without a guard reports a failure to [`Breakers::failed`],
    /// and nothing else.
    Go(Option<Probe>),
    /// Not yet; the next may leave then, or when [`Breakers::returned`] says so.
    Wait(Time),
}

/// An attempt that finds out whether a model is up: the one on a model that is down, or one of those on a model that
/// is watched.
pub struct Probe {
    shared: Arc<Shared>,
    model: Arc<str>,
    /// Later ones have greater numbers.
    number: u64,
    /// Whether it has still to tell how it ended.
    is_out: bool,
}

impl Breakers {
    /// Asks whether an attempt on `model` may leave, for a request that can't wait: only a model that is down holds it.
    /// An empty name, where a request runs no model, is never held.
    #[must_use]
    pub fn admit(&self, model: &str, now: Time) -> Admission {
        self.ask(model, now, false)
    }

    /// The same for a request that can wait: too many at once on a model that has not proved itself are held as well,
    /// for up to 2 s.
    #[must_use]
    pub fn admit_patiently(&self, model: &str, now: Time) -> Admission {
        self.ask(model, now, true)
    }

    /// Until when `model` holds everybody because it is down; none where it is not, or its next probe may leave. Lets
    /// nobody leave.
    #[must_use]
    pub fn down_until(&self, model: &str, now: Time) -> Option<Time> {
        if self.0.watched.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.0.lock().watched.get(model)?.down_until(now)
    }

    fn ask(&self, model: &str, now: Time, is_patient: bool) -> Admission {
        let shared = &*self.0;
        if model.is_empty() {
            return Admission::Go(None);
        }
        let is_proven = shared.is_proven(model, now);
        if is_proven && shared.watched.load(Ordering::Relaxed) == 0 {
            return Admission::Go(None);
        }
        let mut models = shared.lock();
        models.sweep(now);
        let admission = models.admit(model, is_proven, is_patient, now);
        shared.watched.store(models.watched.len(), Ordering::Relaxed);
        drop(models);
        match admission {
            Ok(None) => Admission::Go(None),
            Ok(Some((model, number))) => {
                Admission::Go(Some(Probe { shared: Arc::clone(&self.0), model, number, is_out: true }))
            }
            Err(until) => Admission::Wait(until),
        }
    }

    /// Notes that an attempt without a guard was answered. One look at an atomic while no model is watched.
    pub fn answered(&self, model: &str) {
        if self.0.watched.load(Ordering::Relaxed) > 0 {
            self.0.settle(model, None, Report::Answered);
        }
    }

    /// Notes that an attempt without a guard failed by `model`'s fault: from now on they leave with one. `until` is when
    /// upstream says to ask again.
    pub fn failed(&self, model: &str, until: Option<Time>, now: Time) {
        self.0.settle(model, None, Report::Failed(until, now));
    }

    /// Rouses one of those who wait for a model, when more attempts may leave than before.
    #[must_use]
    pub fn returned(&self) -> &Notify {
        &self.0.returned
    }
}

impl Probe {
    /// The model answered.
    pub fn answered(mut self) {
        self.report(Report::Answered, true);
    }

    /// The attempt failed by the model's fault; `until` is when upstream says to ask again.
    pub fn failed(mut self, until: Option<Time>, now: Time) {
        self.report(Report::Failed(until, now), true);
    }

    /// No attempt was made with it. Rouses nobody: who gives it back goes on to ask for others.
    pub fn unused(mut self) {
        self.report(Report::Nothing, false);
    }

    fn report(&mut self, report: Report, rouse: bool) {
        if std::mem::take(&mut self.is_out) {
            self.shared.settle(&self.model, Some(self.number), report);
            if rouse {
                self.shared.returned.notify_one();
            }
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.report(Report::Nothing, true);
    }
}

impl Shared {
    /// Whether `model` proved itself and was asked for lately; then it is asked for now.
    fn is_proven(&self, model: &str, now: Time) -> bool {
        let cell = self.cell(model);
        let (latest, second) = (cell.load(Ordering::Relaxed), second_of(now));
        let is_proven = latest != 0 && latest.abs_diff(second) <= TRUSTED_S;
        if is_proven && latest != second {
            cell.store(second, Ordering::Relaxed);
        }
        is_proven
    }

    /// Takes over how an attempt ended; `number` is its guard's, where it has one.
    fn settle(&self, model: &str, number: Option<u64>, report: Report) {
        if model.is_empty() {
            return;
        }
        let mut models = self.lock();
        if let Report::Failed(_, now) = report
            && !models.watched.contains_key(model)
        {
            let is_proven = self.is_proven(model, now);
            models.watch(model, is_proven, now);
        }
        let next = models.latest + 1;
        let Some(watched) = models.watched.get_mut(model) else { return };
        match watched.settle(number, report, next) {
            Verdict::Watch => {}
            Verdict::Forget => _ = models.watched.remove(model),
            Verdict::Trust(now) => {
                models.watched.remove(model);
                self.cell(model).store(second_of(now), Ordering::Relaxed);
            }
            Verdict::Down => self.cell(model).store(0, Ordering::Relaxed),
        }
        self.watched.store(models.watched.len(), Ordering::Relaxed);
    }

    fn cell(&self, model: &str) -> &AtomicU32 {
        let hash = self.hasher.hash_one(model);
        &self.proven[usize::try_from(hash % CELLS as u64).unwrap_or(0)]
    }

    fn lock(&self) -> MutexGuard<'_, Models> {
        // Each change is complete before anything can panic.
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Models {
    /// The guard of an attempt on `model` that may leave, where it needs one; else until when it is held.
    fn admit(
        &mut self,
        model: &str,
        is_proven: bool,
        is_patient: bool,
        now: Time,
    ) -> Result<Option<(Arc<str>, u64)>, Time> {
        if !is_proven && !self.watched.contains_key(model) {
            self.watch(model, false, now);
        }
        let number = self.latest + 1;
        let Some(watched) = self.watched.get_mut(model) else { return Ok(None) };
        watched.leave(number, is_patient, now)?;
        self.latest = number;
        let model = self.watched.get_key_value(model).map(|(model, _)| Arc::clone(model));
        Ok(model.map(|model| (model, number)))
    }

    fn watch(&mut self, model: &str, is_trusted: bool, now: Time) {
        if self.watched.len() >= MODELS {
            self.swept = None;
            self.sweep(now);
        }
        if self.watched.len() < MODELS {
            self.watched.insert(Arc::from(model), Watched::new(is_trusted, self.latest + 1, now));
        }
    }

    fn sweep(&mut self, now: Time) {
        if self.swept.is_none_or(|swept| now < swept || now >= swept.after(SWEEP)) {
            self.swept = Some(now);
            self.watched.retain(|_, watched| !watched.is_forgotten(now));
        }
    }
}

/// The second of a moment, for the cells: never 0.
fn second_of(now: Time) -> u32 {
    u32::try_from(now.0 / 1000).unwrap_or(u32::MAX).max(1)
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            proven: std::array::from_fn(|_| AtomicU32::new(0)),
            hasher: RandomState::default(),
            watched: AtomicUsize::new(0),
            models: Mutex::default(),
            returned: Notify::new(),
        }
    }
}

impl fmt::Debug for Breakers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breakers").field("models", &*self.0.lock()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe")
            .field("model", &self.model)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}
