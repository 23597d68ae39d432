//! The waiting room: requests that no key can serve yet, or whose model is down, wait here for their turn.
//!
//! There is no thread and no task of its own: one of those who wait is the driver. It sleeps until the earliest return,
//! at most a second (the wall clock may jump), or until it is roused, then looks for everybody and hands leases out; when
//! it leaves, another takes over. The others sleep until they are served or their patience ends.
//!
//! Each caller's requests are served in order and the callers take turns. Those that wait for the same, by model, class
//! of quota, the resource's key and the caller's keys, form a group: when one of them can't be served, none can, and the turn goes on to
//! the other groups. So a model that is down holds nobody else. Those that were refused some keys already are each a
//! group of their own, since others may be served before them.

mod queue;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use self::queue::{OwnedNeed, Queue};
use crate::clock::{Clock, Time};
use crate::keys::breaker::{Admission, Breakers, Probe};
use crate::keys::need::{Exhausted, Need, Why};
use crate::keys::pool::{KeyPool, Lease};

/// So many requests wait at most.
pub const ROOM_FOR_ALL: usize = 1000;
/// So many of one caller.
pub const ROOM_FOR_CALLER: usize = 100;
/// Nobody waits longer than this, whatever was asked for: moments further off can't be told.
const LONGEST: Duration = Duration::from_secs(86_400);

/// What is waited for: the pool, or what stands for it in a test.
pub trait Keys {
    /// One key borrowed.
    type Lease;

    /// Lends a key for `need`, or says that none can serve it.
    fn lease(&self, need: &Need<'_>, now: Time) -> Result<Self::Lease, Exhausted>;

    /// How many requests of this need could be lent a key from now until `until`.
    fn forecast(&self, need: &Need<'_>, now: Time, until: Time) -> u64;

    /// Rouses who waits when a key comes back before its time.
    fn returned(&self) -> &Notify;

    /// Gives a lease back with which no attempt was made.
    fn unused(lease: Self::Lease);
}

impl Keys for KeyPool {
    type Lease = Lease;

    fn lease(&self, need: &Need<'_>, now: Time) -> Result<Lease, Exhausted> {
        KeyPool::lease(self, need, now)
    }

    fn forecast(&self, need: &Need<'_>, now: Time, until: Time) -> u64 {
        KeyPool::forecast(self, need, now, until)
    }

    fn returned(&self) -> &Notify {
        KeyPool::returned(self)
    }

    fn unused(lease: Lease) {
        lease.unused();
    }
}

/// The waiting room. Clones share it.
pub struct Room<K: Keys = KeyPool>(Arc<Inner<K>>);

struct Inner<K: Keys> {
    /// How many wait.
    waiting: AtomicUsize,
    queue: Mutex<Queue<Granted<K::Lease>>>,
    keys: K,
    breakers: Breakers,
    clock: Clock,
}

/// Leave to make one attempt.
#[derive(Debug)]
pub struct Granted<L = Lease> {
    /// The key it is made with.
    pub lease: L,
    /// Its guard, where the model is watched: it has to be told how the attempt ended.
    pub probe: Option<Probe>,
}

/// What keeps a request from being served now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// No key can.
    Keys(Exhausted),
    /// The model is down; its next probe may leave then.
    Model(Time),
}

/// Why a request waits no longer, or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GaveUp {
    /// Too many wait already.
    Full(Full, Blocked),
    /// It cannot be served while its patience lasts, as far as is known.
    TooLate(Blocked),
    /// It waited as long as it may.
    Patience(Blocked),
}

/// For whom the room is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// For everybody: [`ROOM_FOR_ALL`] wait.
    OfAll,
    /// For this caller: [`ROOM_FOR_CALLER`] of it wait.
    OfCaller,
}

/// The waiting room at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomState {
    /// How many requests wait.
    pub waiting: usize,
    /// How many of each caller.
    pub callers: BTreeMap<String, usize>,
}

impl Blocked {
    /// When that may end; none where it needs a person.
    #[must_use]
    pub fn until(&self) -> Option<Time> {
        match self {
            Self::Keys(exhausted) => exhausted.until,
            Self::Model(until) => Some(*until),
        }
    }

    /// Whether it lasts longer than until `deadline`, as far as is known.
    fn outlasts(&self, deadline: Time) -> bool {
        match self {
            // Somebody else's attempt decides, and rouses those who wait.
            Self::Keys(Exhausted { until: None, why, .. }) => {
                !why.iter().any(|(why, _)| *why == Why::Probing)
            }
            Self::Keys(Exhausted { until: Some(until), .. }) | Self::Model(until) => *until > deadline,
        }
    }
}

impl GaveUp {
    /// What kept the request from being served.
    #[must_use]
    pub fn why(&self) -> &Blocked {
        match self {
            Self::Full(_, why) | Self::TooLate(why) | Self::Patience(why) => why,
        }
    }
}

impl<K: Keys> Room<K> {
    /// A room for those who wait for `keys` and for models that are down.
    #[must_use]
    pub fn new(keys: K, breakers: Breakers, clock: Clock) -> Self {
        let (waiting, queue) = (AtomicUsize::new(0), Mutex::default());
        Self(Arc::new(Inner { waiting, queue, keys, breakers, clock }))
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.waiting.load(Ordering::Relaxed) == 0
    }

    /// Who waits.
    #[must_use]
    pub fn state(&self) -> RoomState {
        self.0.lock().state()
    }

    /// What is waited for, by model: how many requests, and until when at the earliest, where that is known.
    #[must_use]
    pub fn awaited(&self) -> Vec<(Arc<str>, usize, Option<Time>)> {
        self.0.lock().awaited()
    }

    /// Leave for one attempt: at once where nobody waits and a key and the model are there, else when the turn comes.
    ///
    /// `patience` is how long the request may still wait, and grows shorter by what it waited; zero never waits.
    /// Dropped, the request leaves the room, and what it was handed goes to the next.
    pub async fn enter(
        &self,
        caller: &Arc<str>,
        need: &Need<'_>,
        patience: &mut Duration,
        now: Time,
    ) -> Result<Granted<K::Lease>, GaveUp> {
        if self.is_empty()
            && let Ok(granted) = self.0.grant(need, !patience.is_zero(), now)
        {
            return Ok(granted);
        }
        let begun = Instant::now();
        let deadline = begun + (*patience).min(LONGEST);
        match self.arrive(caller, need, deadline)? {
            Arrival::Granted(granted) => Ok(granted),
            // In a box, so that those who don't wait don't carry it about.
            Arrival::Waits(place) => {
                let result = Box::pin(place.wait(deadline)).await;
                *patience = patience.saturating_sub(begun.elapsed());
                result
            }
        }
    }

    fn arrive(&self, caller: &Arc<str>, need: &Need<'_>, deadline: Instant) -> Result<Arrival<K>, GaveUp> {
        let mut queue = self.0.lock();
        let received = self.0.receive(&mut queue, caller, need, deadline);
        self.0.leave(queue);
        let (id, seat) = match received? {
            Received::Granted(granted) => return Ok(Arrival::Granted(granted)),
            Received::Waits(id, seat) => (id, seat),
        };
        Ok(Arrival::Waits(Place { room: Arc::clone(&self.0), id, seat }))
    }
}

/// How a request that arrives fares.
enum Arrival<K: Keys> {
    Granted(Granted<K::Lease>),
    Waits(Place<K>),
}

/// The same, as the queue knows it.
enum Received<L> {
    Granted(Granted<L>),
    Waits(u64, Arc<Notify>),
}

impl<K: Keys> Inner<K> {
    fn receive(
        &self,
        queue: &mut Queue<Granted<K::Lease>>,
        caller: &Arc<str>,
        need: &Need<'_>,
        deadline: Instant,
    ) -> Result<Received<K::Lease>, GaveUp> {
        let now = self.clock.now();
        let patience = deadline.saturating_duration_since(Instant::now());
        // Those who wait already come first.
        if queue.is_due(now) {
            self.look(queue, now);
        }
        let need = OwnedNeed::from(need);
        let group = queue.group_of(&need);
        let why = match queue.why(&group) {
            Some(why) => why.clone(),
            None => match self.grant(&need.as_need(), !patience.is_zero(), now) {
                Ok(granted) => return Ok(Received::Granted(granted)),
                Err(why) => why,
            },
        };
        let ends = now.after(patience);
        if patience.is_zero() || why.outlasts(ends) {
            return self.at_last(&need, why, now).map(Received::Granted).map_err(GaveUp::TooLate);
        }
        if let Some(full) = queue.full(caller) {
            return Err(GaveUp::Full(full, why));
        }
        // When a model that is down comes back nobody knows, so that nothing is forecast for it.
        if matches!(why, Blocked::Keys(_))
            && queue.place(caller, &group) > self.keys.forecast(&need.as_need(), now, ends)
        {
            return Err(GaveUp::TooLate(why));
        }
        let (id, seat) = queue.join(caller, need, group, why, deadline);
        Ok(Received::Waits(id, seat))
    }

    /// Leave for one attempt of a request that can't wait any longer: it is not held by what merely is not known of its
    /// model.
    fn at_last(&self, need: &OwnedNeed, why: Blocked, now: Time) -> Result<Granted<K::Lease>, Blocked> {
        match why {
            Blocked::Model(_) => self.grant(&need.as_need(), false, now),
            Blocked::Keys(_) => Err(why),
        }
    }

    /// Leave for one attempt, now.
    fn grant(&self, need: &Need<'_>, is_patient: bool, now: Time) -> Result<Granted<K::Lease>, Blocked> {
        let admission = if is_patient {
            self.breakers.admit_patiently(need.model, now)
        } else {
            self.breakers.admit(need.model, now)
        };
        let probe = match admission {
            Admission::Go(probe) => probe,
            Admission::Wait(until) => return Err(Blocked::Model(until)),
        };
        match self.keys.lease(need, now) {
            Ok(lease) => Ok(Granted { lease, probe }),
            Err(exhausted) => {
                if let Some(probe) = probe {
                    probe.unused();
                }
                Err(Blocked::Keys(exhausted))
            }
        }
    }

    /// Hands out what there is.
    fn look(&self, queue: &mut Queue<Granted<K::Lease>>, now: Time) {
        queue.look(now, Instant::now(), |need| self.grant(&need.as_need(), true, now));
    }

    fn lock(&self) -> MutexGuard<'_, Queue<Granted<K::Lease>>> {
        // A look that broke off in the middle leaves nobody without an end: patience ends all the same.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a change of the queue: somebody drives, and the fast path knows whether anybody waits.
    fn leave(&self, mut queue: MutexGuard<'_, Queue<Granted<K::Lease>>>) {
        queue.appoint();
        self.waiting.store(queue.len(), Ordering::Relaxed);
    }
}

/// A request's place in the room; dropped, it leaves.
struct Place<K: Keys> {
    room: Arc<Inner<K>>,
    id: u64,
    /// Rouses it.
    seat: Arc<Notify>,
}

/// What one who waits has to do.
enum Role<L> {
    Served(Result<Granted<L>, GaveUp>),
    Driver,
    Sleeper,
}

impl<K: Keys> Place<K> {
    async fn wait(self, deadline: Instant) -> Result<Granted<K::Lease>, GaveUp> {
        let room = &*self.room;
        let end = sleep_until(deadline);
        tokio::pin!(end);
        loop {
            match self.role() {
                Role::Served(result) => return result,
                Role::Sleeper => tokio::select! {
                    () = self.seat.notified() => {}
                    () = &mut end => return self.give_up(),
                },
                Role::Driver => {
                    // Made before looking, so that nothing that returns in between is missed.
                    let (key, model) = (room.keys.returned().notified(), room.breakers.returned().notified());
                    let doze = self.drive();
                    tokio::select! {
                        () = self.seat.notified() => {}
                        () = key => {}
                        () = model => {}
                        () = sleep(doze) => {}
                        () = &mut end => return self.give_up(),
                    }
                }
            }
        }
    }

    fn role(&self) -> Role<K::Lease> {
        let mut queue = self.room.lock();
        match queue.take(self.id) {
            Some(result) => Role::Served(result),
            None if queue.is_driver(self.id) => Role::Driver,
            None => Role::Sleeper,
        }
    }

    /// Looks for everybody, and tells how long nothing is to be expected.
    fn drive(&self) -> Duration {
        let now = self.room.clock.now();
        let mut queue = self.room.lock();
        self.room.look(&mut queue, now);
        let doze = queue.doze(now);
        self.room.leave(queue);
        doze
    }

    fn give_up(&self) -> Result<Granted<K::Lease>, GaveUp> {
        let mut queue = self.room.lock();
        let result = match (queue.take(self.id), queue.remove(self.id)) {
            // What came in the last moment is not refused.
            (Some(result), _) => result,
            (None, Some((need, why))) => {
                self.room.at_last(&need, why, self.room.clock.now()).map_err(GaveUp::Patience)
            }
            // Only after a look that broke off in the middle.
            (None, None) => Err(GaveUp::Patience(Blocked::Keys(Exhausted::for_good(Vec::new())))),
        };
        self.room.leave(queue);
        result
    }
}

impl<K: Keys> Drop for Place<K> {
    fn drop(&mut self) {
        let mut queue = self.room.lock();
        match queue.take(self.id) {
            Some(Ok(Granted { lease, probe })) => {
                K::unused(lease);
                if let Some(probe) = probe {
                    probe.unused();
                }
                queue.rouse_driver();
            }
            Some(Err(_)) => {}
            None => _ = queue.remove(self.id),
        }
        self.room.leave(queue);
    }
}

impl<K: Keys> Clone for Room<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Keys> fmt::Debug for Room<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("waiting", &self.0.waiting).finish_non_exhaustive()
    }
}
