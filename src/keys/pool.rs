//! The choice of a key: the one used least today, lent out as a lease.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::need::{Exhausted, Need, Rest, Told, Tried};
use super::state::{Fact, PoolState, Verdict};
use super::{Key, KeyName};
use crate::clock::{Day, Time};

/// Among how many of the least used keys chance decides.
const CHANCE: usize = 16;

/// The keys one process may use. Clones share it.
///
/// A choice costs the logarithm of the number of different uses, not of keys.
#[derive(Clone, Debug)]
pub struct KeyPool(Arc<Mutex<Pool>>, Arc<Notify>);

#[derive(Debug)]
struct Pool {
    day: Day,
    slots: Vec<Slot>,
    by_name: HashMap<KeyName, usize>,
    /// The slots that may be lent, those of one rank together; no group is empty.
    ranks: BTreeMap<Rank, Vec<usize>>,
    /// How many may be lent.
    lendable: usize,
}

/// One key and its use. A slot outlives its row in the file, so that a key that comes back the same day
/// still counts what it was used for.
#[derive(Debug)]
struct Slot {
    key: Arc<Key>,
    /// Where it stands in its rank's group; `None` when it is not in the file.
    place: Option<usize>,
    rank: Rank,
}

/// Least used today, then fewest in flight. Among equals chance decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    used: u64,
    in_flight: u32,
}

impl KeyPool {
    /// A pool of `keys`, of which some were `used` (attempts, by name) on `day` already.
    #[must_use]
    pub fn new(keys: Vec<Key>, used: &HashMap<Box<str>, u64>, day: Day) -> Self {
        let mut pool =
            Pool { day, slots: Vec::new(), by_name: HashMap::new(), ranks: BTreeMap::new(), lendable: 0 };
        pool.replace(keys, |name| used.get(name.as_str()).copied().unwrap_or(0));
        Self(Arc::new(Mutex::new(pool)), Arc::new(Notify::new()))
    }

    /// Lends the key that was used least today and can serve `need`. The use is counted here.
    pub fn lease(&self, _need: &Need<'_>, now: Time) -> Result<Lease, Exhausted> {
        self.lend(now).ok_or(Exhausted { until: None, why: Vec::new() })
    }

    /// How many requests of this need could be lent a key from now until `until`, those of now included; an estimate from
    /// what is known, `u64::MAX` where nothing bounds it.
    #[must_use]
    pub fn forecast(&self, _need: &Need<'_>, _now: Time, _until: Time) -> u64 {
        u64::MAX
    }

    /// Takes over what `GET /key`, asked at `asked`, told about a key.
    pub fn learn(&self, _key: &KeyName, _told: &Told, _asked: Time, _now: Time) {}

    /// Takes over that `GET /key` refused the key.
    pub fn learn_refused(&self, _key: &KeyName, _now: Time) {}

    /// Rouses whoever waits for a key when one comes back before its time: after a probe, news, a reload or a reset.
    #[must_use]
    pub fn returned(&self) -> &Notify {
        &self.1
    }

    /// Ends the cooldowns of one key and its account, or of all; tells how many keys had one, or `None` where there is no
    /// such key.
    #[must_use]
    pub fn reset(&self, _name: Option<&str>, _now: Time) -> Option<usize> {
        Some(0)
    }

    /// The pool at this moment.
    #[must_use]
    pub fn state(&self, _now: Time) -> PoolState {
        PoolState::default()
    }

    /// For each key in the file's order, whether it would be chosen for `need` now.
    #[must_use]
    pub fn explain(&self, _need: &Need<'_>, _now: Time) -> Vec<Verdict> {
        Vec::new()
    }

    /// What changed since the last call and is to be remembered; cheap when nothing did.
    #[must_use]
    pub fn take_facts(&self) -> Vec<Fact> {
        Vec::new()
    }

    /// Takes over what an earlier process remembered: kind, id and value of its facts.
    pub fn restore(&self, _facts: &[(String, String, String)], _now: Time) {}

    fn lend(&self, now: Time) -> Option<Lease> {
        let mut pool = self.lock();
        pool.turn(now.day());
        let group = pool.ranks.values().next()?;
        // Chance among the last few: with thousands of keys, neighbours are in the processor's caches.
        let slot = group[rand::random_range(group.len().saturating_sub(CHANCE)..group.len())];
        pool.change(slot, |rank| {
            rank.used += 1;
            rank.in_flight += 1;
        });
        let key = Arc::clone(&pool.slots[slot].key);
        drop(pool);
        Some(Lease { pool: self.clone(), slot, key })
    }

    /// Takes over the keys of a changed file. Leases under way keep the key they have.
    pub fn reload(&self, keys: Vec<Key>) {
        self.lock().replace(keys, |_| 0);
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().lendable
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        // Each change is complete before anything can panic, so a poisoned pool is a sound one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    fn replace(&mut self, keys: Vec<Key>, used_before: impl Fn(&KeyName) -> u64) {
        for slot in &mut self.slots {
            slot.place = None;
        }
        let mut listed = Vec::with_capacity(keys.len());
        for key in keys {
            if let Some(&at) = self.by_name.get(key.name()) {
                self.slots[at].key = Arc::new(key);
                listed.push(at);
            } else {
                let rank = Rank { used: used_before(key.name()), in_flight: 0 };
                self.by_name.insert(key.name().clone(), self.slots.len());
                listed.push(self.slots.len());
                self.slots.push(Slot { key: Arc::new(key), place: None, rank });
            }
        }
        self.line_up(listed);
    }

    /// Starts a new day's counts when `today` is not the day counted so far.
    fn turn(&mut self, today: Day) {
        if today == self.day {
            return;
        }
        self.day = today;
        for slot in &mut self.slots {
            slot.rank.used = 0;
        }
        let listed = (0..self.slots.len()).filter(|&at| self.slots[at].place.is_some()).collect();
        self.line_up(listed);
    }

    fn line_up(&mut self, mut listed: Vec<usize>) {
        self.lendable = listed.len();
        // Nobody is always the first of a day.
        if !listed.is_empty() {
            let first = rand::random_range(..listed.len());
            listed.rotate_left(first);
        }
        self.ranks.clear();
        for at in listed {
            self.enter(at);
        }
    }

    fn change(&mut self, at: usize, change: impl FnOnce(&mut Rank)) {
        let is_listed = self.leave(at);
        change(&mut self.slots[at].rank);
        if is_listed {
            self.enter(at);
        }
    }

    fn enter(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        let group = self.ranks.entry(slot.rank).or_default();
        slot.place = Some(group.len());
        group.push(at);
    }

    /// Takes a slot out of its group; false when it was in none.
    fn leave(&mut self, at: usize) -> bool {
        let slot = &mut self.slots[at];
        let Some(place) = slot.place.take() else { return false };
        let rank = slot.rank;
        if let Some(group) = self.ranks.get_mut(&rank) {
            group.swap_remove(place);
            if let Some(&moved) = group.get(place) {
                self.slots[moved].place = Some(place);
            } else if group.is_empty() {
                self.ranks.remove(&rank);
            }
        }
        true
    }
}

/// One key borrowed for one request; given back when dropped.
#[derive(Debug)]
pub struct Lease {
    pool: KeyPool,
    slot: usize,
    key: Arc<Key>,
}

impl Lease {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Counts one more attempt on the same key.
    pub fn count_again(&self, now: Time) {
        let mut pool = self.pool.lock();
        pool.turn(now.day());
        pool.change(self.slot, |rank| rank.used += 1);
    }
}

impl Lease {
    /// Tells that the key served: what rested on suspicion is well again.
    pub fn answered(&self, _now: Time) {}

    /// Tells that something is to rest.
    pub fn bench(&self, _rest: Rest, _now: Time) {}

    /// Adds to what the key spent today, nano-dollars.
    pub fn spent(&self, _cost: i64, _now: Time) {}

    /// Takes over whose the key is, as an error told it; what `GET /key` told weighs more.
    pub fn belongs_to(&self, _user_id: &str, _now: Time) {}
}

impl Lease {
    /// Gives the key back as if it had never been lent: no attempt was made with it.
    pub fn unused(self) {
        self.pool.lock().change(self.slot, |rank| rank.used = rank.used.saturating_sub(1));
    }
}

impl Tried {
    /// Whether nothing was tried yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.accounts.is_empty()
    }

    /// The request is not to be given this key again.
    pub fn key(&mut self, lease: &Lease) {
        self.keys.push(lease.slot);
    }

    /// The request is not to be given a key of this account again.
    pub fn account(&mut self, lease: &Lease) {
        self.accounts.push(lease.slot);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.lock().change(self.slot, |rank| rank.in_flight -= 1);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::KeyPool;
    use crate::clock::{Day, Time};
    use crate::keys::{Key, KeyName};
    use crate::secret::Secret;

    const NOON: Time = Time(1_700_000_000_000);

    fn key(name: &str) -> Key {
        Key::new(KeyName::parse(name).unwrap(), &Secret::new(format!("sk-or-v1-{name}")))
    }

    fn pool(names: &[&str], used: &[(&str, u64)]) -> KeyPool {
        let used: HashMap<_, _> = used.iter().map(|(name, count)| (Box::from(*name), *count)).collect();
        KeyPool::new(names.iter().copied().map(key).collect(), &used, NOON.day())
    }

    fn lend(pool: &KeyPool, count: usize, now: Time) -> HashMap<String, usize> {
        let mut by_name = HashMap::new();
        for _ in 0..count {
            let lease = pool.lend(now).unwrap();
            *by_name.entry(lease.key().name().to_string()).or_default() += 1;
        }
        by_name
    }

    #[test]
    fn equal_requests_spread_evenly() {
        let by_name = lend(&pool(&["a", "b", "c", "d"], &[]), 400, NOON);
        assert!(by_name.len() == 4 && by_name.values().all(|&count| count == 100), "{by_name:?}");
    }

    #[test]
    fn the_key_used_least_today_comes_first() {
        let pool = pool(&["a", "b"], &[("a", 3)]);
        assert_eq!(lend(&pool, 3, NOON), HashMap::from([("b".to_owned(), 3)]));
        assert_eq!(lend(&pool, 2, NOON).len(), 2);
    }

    #[test]
    fn of_keys_used_alike_the_one_with_fewer_in_flight_comes_first() {
        for _ in 0..32 {
            let pool = pool(&["a", "b"], &[]);
            let held = pool.lend(NOON).unwrap();
            let other = pool.lend(NOON).unwrap();
            let free = other.key().name().clone();
            drop(other);
            let third = pool.lend(NOON).unwrap();
            assert_eq!(third.key().name(), &free);
            drop(held);
        }
    }

    #[test]
    fn a_tie_is_settled_by_chance() {
        let mut first = std::collections::HashSet::new();
        for _ in 0..200 {
            first.insert(pool(&["a", "b"], &[]).lend(NOON).unwrap().key().name().to_string());
        }
        assert_eq!(first.len(), 2);
    }

    #[test]
    fn a_new_day_starts_from_zero() {
        let pool = pool(&["a", "b"], &[("a", 500)]);
        let tomorrow = Time(NOON.0 + 86_400_000);
        let by_name = lend(&pool, 10, tomorrow);
        assert_eq!(by_name["a"], 5);
    }

    #[test]
    fn a_second_attempt_counts() {
        let pool = pool(&["a", "b"], &[]);
        let lease = pool.lend(NOON).unwrap();
        let twice = lease.key().name().to_string();
        lease.count_again(NOON);
        drop(lease);
        let by_name = lend(&pool, 2, NOON);
        assert!(!by_name.contains_key(&twice) || by_name[&twice] < 2, "{by_name:?}");
        assert_eq!(lend(&pool, 2, NOON).values().sum::<usize>(), 2);
    }

    #[test]
    fn a_reload_keeps_counts_and_leases() {
        let pool = pool(&["a", "b"], &[]);
        let held = pool.lend(NOON).unwrap();
        let held_name = held.key().name().to_string();
        let other = if held_name == "a" { "b" } else { "a" };
        pool.reload(vec![key(other)]);
        assert_eq!(pool.len(), 1);
        assert_eq!(lend(&pool, 3, NOON), HashMap::from([(other.to_owned(), 3)]));
        drop(held);
        pool.reload(vec![key("a"), key("b"), key("c")]);
        // 1 use of the first, 3 of the other, none of the new one.
        assert_eq!(lend(&pool, 1, NOON), HashMap::from([("c".to_owned(), 1)]));
        let by_name = lend(&pool, 4, NOON);
        assert_eq!(by_name.get(other), None, "{by_name:?}");
    }

    #[test]
    fn an_empty_pool_lends_nothing() {
        assert!(KeyPool::new(Vec::new(), &HashMap::new(), Day(0)).lend(NOON).is_none());
    }
}
