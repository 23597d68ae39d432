//! The choice of a key: the one used least today that may serve, lent out as a lease.

mod account;
mod facts;
mod groups;
mod line;
mod news;
mod slot;
mod stock;
#[cfg(test)]
mod tests;
mod view;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use self::stock::{Lent, Stock};
use super::need::{Bind, Class, Exhausted, Need, Question, Rest, Runs, Told, Tried, Used};
use super::state::{Fact, Glance, PoolState, Verdict};
use super::{Key, KeyName};
use crate::clock::{Day, Time};

/// The keys one process may use. Clones share it.
///
/// A choice costs the logarithm of the number of keys: for each class of requests those that may be lent stand in the
/// order of choice, the others in the order in which they come back.
#[derive(Clone, Debug)]
pub struct KeyPool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    stock: Mutex<Stock>,
    returned: Notify,
    has_facts: AtomicBool,
    /// Whether a person is to be told of accounts.
    has_joined: AtomicBool,
    /// Whether some key serves some models only.
    is_restricted: AtomicBool,
}

impl KeyPool {
    /// A pool of `keys`, of which some were `used` (attempts, by name) on `day` already.
    #[must_use]
    pub fn new(keys: Vec<Key>, used: &HashMap<Box<str>, u64>, day: Day) -> Self {
        let attempts = |name: &KeyName| used.get(name.as_str()).copied().unwrap_or(0);
        Self::of(Stock::new(keys, |name| Used { attempts: attempts(name), ..Used::default() }, day.start()))
    }

    /// A pool of `keys`, of which some were `used`, by name, until `now`.
    #[must_use]
    pub fn resume(keys: Vec<Key>, used: &HashMap<Box<str>, Used>, now: Time) -> Self {
        let mut stock = Stock::new(keys, |name| used.get(name.as_str()).copied().unwrap_or_default(), now);
        let absent = used.iter().filter(|(name, _)| !stock.has(name));
        // When it comes back the minute is another one.
        let absent = absent.map(|(name, used)| (name.clone(), Used { free_minute: 0, ..*used })).collect();
        stock.absent.1 = absent;
        Self::of(stock)
    }

    fn of(stock: Stock) -> Self {
        let is_restricted = AtomicBool::new(stock.restricted > 0);
        Self(Arc::new(Shared {
            stock: Mutex::new(stock),
            returned: Notify::new(),
            has_facts: AtomicBool::new(false),
            has_joined: AtomicBool::new(false),
            is_restricted,
        }))
    }

    /// Lends the key that was used least today and can serve `need`. The use is counted here.
    pub fn lease(&self, need: &Need<'_>, now: Time) -> Result<Lease, Exhausted> {
        let lent = self.run(now, |stock, now| stock.lease(need, now))?;
        Ok(Lease { pool: self.clone(), is_open: AtomicBool::new(lent.is_probe), lent })
    }

    /// How many requests of this need could be lent a key from now until `until`, those of now included; an estimate from
    /// what is known, `u64::MAX` where nothing bounds it. Above 10,000 it is no longer exact.
    #[must_use]
    pub fn forecast(&self, need: &Need<'_>, now: Time, until: Time) -> u64 {
        self.run(now, |stock, now| stock.forecast(need, now, until))
    }

    /// Whether the [`Rest::Unidentified`] that was just met is an outage: all keys that could serve `need`, two at least, met
    /// the same within seconds, which is no fault of theirs. Then none of them rests for it; the model is down.
    #[must_use = "in an outage the model is down"]
    pub fn is_outage(&self, need: &Need<'_>, now: Time) -> bool {
        self.run(now, |stock, now| stock.is_outage(need, now))
    }

    /// Ends what rests the keys of `met` for a class since they met a [`Rest::Unidentified`], which was no fault of theirs.
    pub fn acquit(&self, met: &Tried, class: Class, now: Time) {
        self.run(now, |stock, now| stock.acquit(&met.keys, class, now));
    }

    /// The question about a key that is asked now; to be made before it leaves.
    #[must_use]
    pub fn question(&self, key: &KeyName, now: Time) -> Question {
        let stock = self.lock();
        let spent = stock.by_name.get(key).map_or(0, |&at| stock.slots[at].spent);
        Question { asked: now, spent }
    }

    /// Takes over what `GET /key` told about a key.
    pub fn learn(&self, key: &KeyName, told: &Told, question: Question, now: Time) {
        self.run(now, |stock, now| {
            if let Some(&at) = stock.by_name.get(key) {
                stock.learn(at, told, question, now);
            }
        });
    }

    /// Takes over that `GET /key` refused the key.
    pub fn learn_refused(&self, key: &KeyName, now: Time) {
        self.run(now, |stock, now| {
            if let Some(&at) = stock.by_name.get(key) {
                stock.refuse(at, now);
            }
        });
    }

    /// Rouses whoever waits for a key when one comes back before its time: after a probe, news, a reload or a reset.
    ///
    /// All that wait are roused (`notify_waiters`), since one event may bring back many keys; nothing is kept for those who
    /// come later. So make the [`Notified`](tokio::sync::futures::Notified) first, then ask for a lease, then wait.
    #[must_use]
    pub fn returned(&self) -> &Notify {
        &self.0.returned
    }

    /// Ends the cooldowns of one key and its account, or of all; tells how many keys had one, or `None` where there is no
    /// such key. What was counted, and the operator's limits, stay.
    #[must_use]
    pub fn reset(&self, name: Option<&str>, now: Time) -> Option<usize> {
        let name = match name {
            Some(name) => Some(KeyName::parse(name).ok()?),
            None => None,
        };
        self.run(now, |stock, now| stock.reset_all(name.as_ref(), now))
    }

    /// The pool at this moment.
    #[must_use]
    pub fn state(&self, now: Time) -> PoolState {
        self.run(now, |stock, now| stock.state(now))
    }

    /// As much of the pool as [`GET /key`](Self::learn) is asked by; holds the pool far shorter than [`state`](Self::state).
    #[must_use]
    pub fn glance(&self, now: Time) -> Vec<Glance> {
        self.run(now, |stock, now| stock.glance(now))
    }

    /// For each key in the file's order, whether it would be chosen for `need` now.
    #[must_use]
    pub fn explain(&self, need: &Need<'_>, now: Time) -> Vec<Verdict> {
        self.run(now, |stock, now| stock.explain(need, now))
    }

    /// What changed since the last call and is to be remembered; one look at an atomic when nothing did. Many are told in
    /// several calls, so that nobody waits for the pool meanwhile: none is left when there is nothing.
    #[must_use]
    pub fn take_facts(&self) -> Vec<Fact> {
        // One that is to be forgotten without ever having been noted is no fact, but not the last one either.
        while self.0.has_facts.load(Ordering::Acquire) {
            let mut stock = self.lock();
            let facts = stock.take_facts();
            self.0.has_facts.store(!stock.changed.is_empty(), Ordering::Release);
            if !facts.is_empty() {
                return facts;
            }
        }
        Vec::new()
    }

    /// Warns a person of keys that turned out to be one account, once no more join it; to be called now and then, one look at
    /// an atomic when there is nothing to tell.
    pub fn tell_of_accounts(&self, now: Time) {
        // Whoever joins meanwhile sets it again.
        if self.0.has_joined.swap(false, Ordering::AcqRel) {
            self.run(now, Stock::tell_of_accounts);
        }
    }

    /// Takes over what an earlier process remembered: kind, id and value of its facts.
    pub fn restore(&self, facts: &[(String, String, String)], now: Time) {
        self.run(now, |stock, now| stock.restore(facts, now));
    }

    /// Takes over the keys of a changed file. Leases under way keep the key they have.
    pub fn reload(&self, keys: Vec<Key>) {
        let now = self.lock().now;
        let restricted = self.run(now, |stock, now| {
            stock.reload(keys, now);
            stock.restricted
        });
        self.0.is_restricted.store(restricted > 0, Ordering::Relaxed);
    }

    /// Whether some key serves some models only, so that all that a request runs has to be looked for. Free of cost.
    #[must_use]
    pub fn is_restricted(&self) -> bool {
        self.0.is_restricted.load(Ordering::Relaxed)
    }

    /// Whether a request that is bound to this key can be served at all: it or another of its account is in the file.
    #[must_use]
    pub fn has_account_of(&self, key: &KeyName) -> bool {
        self.lock().has_account_of(key)
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().listed.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Does one piece of work as of `now`, and tells those whom it concerns.
    fn run<T>(&self, now: Time, work: impl FnOnce(&mut Stock, Time) -> T) -> T {
        let mut stock = self.lock();
        let now = stock.tick(now);
        let done = work(&mut stock, now);
        self.publish(stock);
        done
    }

    fn publish(&self, mut stock: MutexGuard<'_, Stock>) {
        let came_back = std::mem::take(&mut stock.came_back);
        let warnings = std::mem::take(&mut stock.warnings);
        if !stock.changed.is_empty() {
            self.0.has_facts.store(true, Ordering::Release);
        }
        if !stock.joined.is_empty() {
            self.0.has_joined.store(true, Ordering::Release);
        }
        drop(stock);
        if came_back {
            self.0.returned.notify_waiters();
        }
        for warning in warnings {
            tracing::warn!("{warning}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Stock> {
        // Each change is complete before anything can panic, so a poisoned pool is a sound one.
        self.0.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One key borrowed for one request; given back when dropped.
#[derive(Debug)]
pub struct Lease {
    pool: KeyPool,
    lent: Lent,
    /// Whether its answer is still to tell something about what rested.
    is_open: AtomicBool,
}

impl Lease {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.lent.key
    }

    /// Counts one more attempt on the same key.
    pub fn count_again(&self, now: Time) {
        self.pool.run(now, |stock, now| stock.count_again(&self.lent, now));
    }

    /// Gives the key back as if it had never been lent: no attempt was made with it.
    pub fn unused(self) {
        let mut stock = self.pool.lock();
        let now = stock.now;
        stock.uncount(&self.lent, now);
        self.pool.publish(stock);
    }

    /// Tells that the key served: what rested on suspicion is well again. Free of cost where nothing did.
    pub fn answered(&self, now: Time) {
        if self.is_open.swap(false, Ordering::Relaxed) {
            self.pool.run(now, |stock, now| stock.answered(&self.lent, now));
        }
    }

    /// Tells that something is to rest. After a [`Rest::Unidentified`] ask whether it is an [outage](KeyPool::is_outage).
    pub fn bench(&self, rest: Rest, now: Time) {
        self.is_open.store(false, Ordering::Relaxed);
        self.pool.run(now, |stock, now| stock.bench(&self.lent, rest, now));
    }

    /// The same as [`KeyPool::is_outage`], where nobody knows any more what the request needed: any key of its class counts.
    #[must_use = "in an outage the model is down"]
    pub fn ends_in_outage(&self, now: Time) -> bool {
        let (class, tried) = (self.lent.class, Tried::default());
        let need =
            Need { model: "", runs: Runs::Nothing, class, bind: Bind::Free, keys: None, tried: &tried };
        self.pool.is_outage(&need, now)
    }

    /// Whether the key could not be lent again now for a request of this class.
    #[must_use]
    pub fn rests(&self, now: Time) -> bool {
        self.pool.run(now, |stock, now| stock.hold(self.lent.slot, self.lent.class, now).is_some())
    }

    /// Adds to what the key spent today, nano-dollars.
    pub fn spent(&self, cost: i64, now: Time) {
        if cost > 0 {
            self.pool.run(now, |stock, now| stock.spent(&self.lent, cost, now));
        }
    }

    /// Takes over whose the key is, as an error told it; what `GET /key` told weighs more.
    pub fn belongs_to(&self, user_id: &str, now: Time) {
        self.pool.run(now, |stock, now| stock.belongs_to(&self.lent, user_id, now));
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut stock = self.pool.lock();
        stock.give_back(&self.lent, *self.is_open.get_mut());
        self.pool.publish(stock);
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
        self.keys.push(lease.lent.slot);
    }

    /// The request is not to be given a key of this account again.
    pub fn account(&mut self, lease: &Lease) {
        self.accounts.push(lease.lent.slot);
    }
}
