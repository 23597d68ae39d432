//! Who waits, in which order, and for what: pure given the time.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Blocked, Full, GaveUp, ROOM_FOR_ALL, ROOM_FOR_CALLER, RoomState};
use crate::clock::Time;
use crate::keys::KeyName;
use crate::keys::need::{Bind, Class, Exhausted, Need, Runs, Tried};

/// The driver looks at the clock at least so often.
const LONGEST_DOZE: Duration = Duration::from_secs(1);
/// And, by itself, not more often than this, whatever it is told of the next return.
const SHORTEST_DOZE: Duration = Duration::from_millis(10);

/// Those who wait. `G` is what they wait for.
pub(super) struct Queue<G> {
    /// The callers, the one whose turn it is first; none is without a waiter.
    turns: VecDeque<Turn>,
    /// What those who wait wait for.
    groups: HashMap<Arc<Group>, Held>,
    /// Results that were not fetched yet.
    settled: HashMap<u64, Result<G, GaveUp>>,
    waiting: usize,
    driver: Option<(u64, Arc<Notify>)>,
    latest: u64,
    /// When it was last looked whether something returned, and when that is due again.
    looked: Time,
    look_again: Time,
}

struct Turn {
    caller: Arc<str>,
    waiters: VecDeque<Waiter>,
}

struct Waiter {
    id: u64,
    need: OwnedNeed,
    group: Arc<Group>,
    deadline: Instant,
    seat: Arc<Notify>,
}

/// Those who wait for the same.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Group {
    class: Class,
    model: Arc<str>,
    runs: OwnedRuns,
    only: Option<KeyName>,
    /// The caller's keys; none for any.
    keys: Option<Arc<[Box<str>]>>,
    /// Who tried some keys already shares its group with nobody.
    alone: Option<u64>,
}

/// A group that is held.
struct Held {
    waiting: usize,
    /// What holds it; none while that is being found out.
    why: Option<Blocked>,
}

/// A [`Need`] that is kept.
#[derive(Clone, Debug)]
pub(super) struct OwnedNeed {
    model: Arc<str>,
    runs: OwnedRuns,
    class: Class,
    bind: OwnedBind,
    keys: Option<Arc<[Box<str>]>>,
    tried: Tried,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum OwnedRuns {
    Nothing,
    Named(Box<[String]>),
    Unseen,
}

#[derive(Clone, Debug)]
enum OwnedBind {
    Free,
    Prefer(KeyName),
    Only(KeyName),
}

impl From<&Need<'_>> for OwnedNeed {
    fn from(need: &Need<'_>) -> Self {
        let bind = match need.bind {
            Bind::Free => OwnedBind::Free,
            Bind::Prefer(key) => OwnedBind::Prefer(key.clone()),
            Bind::Only(key) => OwnedBind::Only(key.clone()),
        };
        let runs = match need.runs {
            Runs::Nothing => OwnedRuns::Nothing,
            Runs::Named(others) => OwnedRuns::Named(others.into()),
            Runs::Unseen => OwnedRuns::Unseen,
        };
        let keys = need.keys.cloned();
        Self { model: need.model.into(), runs, class: need.class, bind, keys, tried: need.tried.clone() }
    }
}

impl OwnedNeed {
    pub(super) fn as_need(&self) -> Need<'_> {
        let bind = match &self.bind {
            OwnedBind::Free => Bind::Free,
            OwnedBind::Prefer(key) => Bind::Prefer(key),
            OwnedBind::Only(key) => Bind::Only(key),
        };
        let runs = match &self.runs {
            OwnedRuns::Nothing => Runs::Nothing,
            OwnedRuns::Named(others) => Runs::Named(others),
            OwnedRuns::Unseen => Runs::Unseen,
        };
        let keys = self.keys.as_ref();
        Need { model: &self.model, runs, class: self.class, bind, keys, tried: &self.tried }
    }
}

impl Group {
    /// Whether a request of the `other` group takes what one of this could have. The quotas of free models are shared by
    /// them all.
    fn shares_with(&self, other: &Self) -> bool {
        self.class == other.class
            && (self.class == Class::Free || self.model == other.model)
            && (self.only.is_none() || self.only == other.only)
            && (self.keys.as_ref().zip(other.keys.as_ref()))
                .is_none_or(|(own, others)| own.iter().any(|key| others.contains(key)))
    }
}

impl<G> Default for Queue<G> {
    fn default() -> Self {
        Self {
            turns: VecDeque::new(),
            groups: HashMap::new(),
            settled: HashMap::new(),
            waiting: 0,
            driver: None,
            latest: 0,
            looked: Time(0),
            look_again: Time(0),
        }
    }
}

impl<G> Queue<G> {
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    pub(super) fn state(&self) -> RoomState {
        let callers: BTreeMap<_, _> =
            self.turns.iter().map(|turn| (turn.caller.to_string(), turn.waiters.len())).collect();
        RoomState { waiting: self.waiting, callers }
    }

    pub(super) fn awaited(&self) -> Vec<(Arc<str>, usize, Option<Time>)> {
        let mut models: BTreeMap<&Arc<str>, (usize, Option<Time>)> = BTreeMap::new();
        for (group, held) in &self.groups {
            let (waiting, until) = models.entry(&group.model).or_default();
            *waiting += held.waiting;
            let next = held.why.as_ref().and_then(Blocked::until);
            *until = until.iter().copied().chain(next).min();
        }
        models.into_iter().map(|(model, (waiting, until))| (Arc::clone(model), waiting, until)).collect()
    }

    /// The group that a new request belongs to.
    pub(super) fn group_of(&self, need: &OwnedNeed) -> Arc<Group> {
        let only = match &need.bind {
            OwnedBind::Only(key) => Some(key.clone()),
            // Who prefers a key takes any, and is served whenever one is.
            OwnedBind::Free | OwnedBind::Prefer(_) => None,
        };
        let alone = (!need.tried.is_empty()).then_some(self.latest + 1);
        let (model, runs, keys) = (Arc::clone(&need.model), need.runs.clone(), need.keys.clone());
        Arc::new(Group { class: need.class, model, runs, only, keys, alone })
    }

    /// What holds a group for which somebody waits.
    pub(super) fn why(&self, group: &Group) -> Option<&Blocked> {
        self.groups.get(group)?.why.as_ref()
    }

    /// Whether there is no room for one more of this caller.
    pub(super) fn full(&self, caller: &str) -> Option<Full> {
        let own = self.turns.iter().find(|turn| *turn.caller == *caller).map_or(0, |turn| turn.waiters.len());
        if self.waiting >= ROOM_FOR_ALL {
            return Some(Full::OfAll);
        }
        (own >= ROOM_FOR_CALLER).then_some(Full::OfCaller)
    }

    /// How many leases it takes until a new request of `caller` has one: all of its own that wait for the same are
    /// served before it, and as many of each other caller's, and one more.
    pub(super) fn place(&self, caller: &str, group: &Group) -> u64 {
        let shares = |waiter: &&Waiter| {
            // Who waits for a model takes nothing as long as that is down.
            let is_held_by_keys = !matches!(self.why(&waiter.group), Some(Blocked::Model(_)));
            group.shares_with(&waiter.group) && is_held_by_keys
        };
        let (mut own, mut others) = (0, Vec::new());
        for turn in &self.turns {
            let count = turn.waiters.iter().filter(shares).count() as u64;
            if *turn.caller == *caller { own = count } else { others.push(count) }
        }
        own + 1 + others.into_iter().map(|count| count.min(own + 1)).sum::<u64>()
    }

    /// Takes in a request that is held.
    pub(super) fn join(
        &mut self,
        caller: &Arc<str>,
        need: OwnedNeed,
        group: Arc<Group>,
        why: Blocked,
        deadline: Instant,
    ) -> (u64, Arc<Notify>) {
        self.latest += 1;
        let (id, seat) = (self.latest, Arc::new(Notify::new()));
        // The driver sleeps for what was known before.
        if let Some(until) = why.until()
            && until < self.look_again
        {
            self.look_again = until;
            self.rouse_driver();
        }
        let held = self.groups.entry(Arc::clone(&group)).or_insert(Held { waiting: 0, why: None });
        held.waiting += 1;
        held.why = Some(why);
        let waiter = Waiter { id, need, group, deadline, seat: Arc::clone(&seat) };
        if let Some(turn) = self.turns.iter_mut().find(|turn| turn.caller == *caller) {
            turn.waiters.push_back(waiter);
        } else {
            self.turns.push_back(Turn { caller: Arc::clone(caller), waiters: VecDeque::from([waiter]) });
        }
        self.waiting += 1;
        (id, seat)
    }

    /// Takes out a request that waits no longer, with what held it; none when it is not here.
    pub(super) fn remove(&mut self, id: u64) -> Option<(OwnedNeed, Blocked)> {
        let (index, waiter) = self.turns.iter_mut().enumerate().find_map(|(index, turn)| {
            let place = turn.waiters.iter().position(|waiter| waiter.id == id)?;
            Some((index, turn.waiters.remove(place)?))
        })?;
        if self.turns[index].waiters.is_empty() {
            self.turns.remove(index);
        }
        let why = self.why(&waiter.group).cloned();
        self.forget(&waiter);
        // Of each group for which somebody waits, it is known what holds it.
        Some((waiter.need, why.unwrap_or(Blocked::Keys(Exhausted::for_good(Vec::new())))))
    }

    /// The result of a request, once; none while it waits.
    pub(super) fn take(&mut self, id: u64) -> Option<Result<G, GaveUp>> {
        self.settled.remove(&id)
    }

    /// Whether something may have returned since the last look.
    pub(super) fn is_due(&self, now: Time) -> bool {
        self.waiting != 0 && (now >= self.look_again || now < self.looked)
    }

    /// Hands out what `grant` gives, caller by caller, and ends what can't be served in time.
    pub(super) fn look(
        &mut self,
        now: Time,
        instant: Instant,
        mut grant: impl FnMut(&OwnedNeed) -> Result<G, Blocked>,
    ) {
        for held in self.groups.values_mut() {
            held.why = None;
        }
        // Until no caller in the whole round could be served.
        let mut passed_over = 0;
        while passed_over < self.turns.len() {
            let Some(mut turn) = self.turns.pop_front() else { break };
            passed_over += 1;
            while let Some(at) = turn.waiters.iter().position(|waiter| self.why(&waiter.group).is_none()) {
                match grant(&turn.waiters[at].need) {
                    Ok(granted) => {
                        if let Some(waiter) = turn.waiters.remove(at) {
                            self.settle(&waiter, Ok(granted));
                        }
                        passed_over = 0;
                        break;
                    }
                    Err(why) => {
                        if let Some(held) = self.groups.get_mut(&turn.waiters[at].group) {
                            held.why = Some(why);
                        }
                    }
                }
            }
            if !turn.waiters.is_empty() {
                self.turns.push_back(turn);
            }
        }
        self.end_hopeless(now, instant);
        let earliest = self.groups.values().filter_map(|held| held.why.as_ref()?.until()).min();
        self.looked = now;
        self.look_again = earliest
            .unwrap_or(now.after(LONGEST_DOZE))
            .clamp(now.after(SHORTEST_DOZE), now.after(LONGEST_DOZE));
    }

    /// Ends those who wait for keys that return too late. Who waits for a model stays: a probe under way may bring it
    /// back at any moment.
    fn end_hopeless(&mut self, now: Time, instant: Instant) {
        let mut turns = std::mem::take(&mut self.turns);
        for turn in &mut turns {
            let waiters = std::mem::take(&mut turn.waiters);
            for waiter in waiters {
                let ends = now.after(waiter.deadline.saturating_duration_since(instant));
                match self.why(&waiter.group) {
                    Some(why @ Blocked::Keys(_)) if why.outlasts(ends) => {
                        let why = why.clone();
                        self.settle(&waiter, Err(GaveUp::TooLate(why)));
                    }
                    _ => turn.waiters.push_back(waiter),
                }
            }
        }
        turns.retain(|turn| !turn.waiters.is_empty());
        self.turns = turns;
    }

    /// How long the driver may sleep after a look at `now`.
    pub(super) fn doze(&self, now: Time) -> Duration {
        self.look_again.since(now)
    }

    pub(super) fn is_driver(&self, id: u64) -> bool {
        self.driver.as_ref().is_some_and(|(driver, _)| *driver == id)
    }

    /// Sees to it that somebody drives as long as anybody waits.
    pub(super) fn appoint(&mut self) {
        if self.driver.is_none()
            && let Some(waiter) = self.turns.front().and_then(|turn| turn.waiters.front())
        {
            self.driver = Some((waiter.id, Arc::clone(&waiter.seat)));
            self.rouse_driver();
        }
    }

    /// Has the driver look again.
    pub(super) fn rouse_driver(&self) {
        if let Some((_, seat)) = &self.driver {
            seat.notify_one();
        }
    }

    /// Leaves a result for a request that was taken out.
    fn settle(&mut self, waiter: &Waiter, result: Result<G, GaveUp>) {
        self.forget(waiter);
        self.settled.insert(waiter.id, result);
        waiter.seat.notify_one();
    }

    fn forget(&mut self, waiter: &Waiter) {
        self.waiting -= 1;
        if self.is_driver(waiter.id) {
            self.driver = None;
        }
        if let Some(held) = self.groups.get_mut(&waiter.group) {
            held.waiting -= 1;
            if held.waiting == 0 {
                self.groups.remove(&waiter.group);
            }
        }
    }
}
