//! What the pool's mutex guards: the keys, their accounts, and for each class of requests the line of its keys.

use std::collections::{HashMap, VecDeque};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use super::super::need::{Bind, Class, Exhausted, Need, Used, Why};
use super::super::quota::{Hold, Ticket};
use super::super::state::Fact;
use super::super::{Key, KeyName};
use super::account::{ALONE, Account, AccountId};
use super::facts::KeyFact;
use super::line::{Line, Rank, Standing};
use super::slot::Slot;
use super::view::Asked;
use crate::clock::{Day, Time};

/// Up to this much earlier is a matter of two threads that read the clock and come in in the other order; more is a
/// clock that was set back.
const IN_DISORDER: Duration = Duration::from_secs(5);

/// All keys and what is known of them. It is told the time and does nothing by itself.
#[derive(Debug)]
pub(super) struct Stock {
    pub(super) now: Time,
    pub(super) day: Day,
    pub(super) slots: Vec<Slot>,
    pub(super) accounts: Vec<Account>,
    /// Slots, in the file's order.
    pub(super) listed: Vec<usize>,
    pub(super) by_name: HashMap<KeyName, usize>,
    pub(super) by_id: HashMap<AccountId, usize>,
    /// Accounts that turned out to be others.
    pub(super) vacant: Vec<usize>,
    /// By class; none before its first request.
    pub(super) lines: [Option<Line>; 3],
    /// How many listed keys serve some models only.
    pub(super) restricted: usize,
    tickets: Ticket,
    /// When attempts left that go alone for a moment, and with which key.
    firsts: VecDeque<(Time, usize)>,
    /// Something came back before its time since the last look.
    pub(super) came_back: bool,
    /// What is to be remembered anew since the last look.
    pub(super) changed: Vec<Changed>,
    /// Accounts that keys joined, which a person is to be told of, and when that has settled.
    pub(super) joined: Vec<usize>,
    pub(super) settles: Time,
    /// What is to be told to a person since the last look.
    pub(super) warnings: Vec<String>,
    /// What was remembered of keys that are not in the file.
    pub(super) unclaimed: HashMap<Box<str>, KeyFact>,
    /// What keys that are not in the file were used for on the day on which the pool began.
    pub(super) absent: (Day, HashMap<Box<str>, Used>),
    /// When the pool began.
    pub(super) began: Time,
    /// Goes up whenever a key's standing changes.
    pub(super) version: u64,
    /// The last answer for each class that took a look at each key.
    pub(super) asked: [Option<Asked>; 3],
    pub(super) forecasts: u64,
}

/// What has other facts than before.
#[derive(Debug)]
pub(super) enum Changed {
    Key(usize),
    Account(usize),
    Gone(Fact),
}

/// What a lease needs to know of what it holds.
#[derive(Debug)]
pub(super) struct Lent {
    pub(super) slot: usize,
    pub(super) key: Arc<Key>,
    pub(super) class: Class,
    pub(super) ticket: Ticket,
    /// Its answer tells something about what rested.
    pub(super) is_probe: bool,
}

impl Stock {
    pub(super) fn new(keys: Vec<Key>, used: impl Fn(&KeyName) -> Used, now: Time) -> Self {
        let mut stock = Self {
            now,
            day: now.day(),
            slots: Vec::with_capacity(keys.len()),
            accounts: Vec::with_capacity(keys.len()),
            listed: Vec::new(),
            by_name: HashMap::with_capacity(keys.len()),
            by_id: HashMap::new(),
            vacant: Vec::new(),
            lines: [const { None }; 3],
            restricted: 0,
            tickets: 0,
            firsts: VecDeque::new(),
            came_back: false,
            changed: Vec::new(),
            joined: Vec::new(),
            settles: now,
            warnings: Vec::new(),
            unclaimed: HashMap::new(),
            absent: (now.day(), HashMap::new()),
            began: now,
            version: 0,
            asked: [const { None }; 3],
            forecasts: 0,
        };
        stock.replace(keys, used, now);
        stock.came_back = false;
        stock
    }

    /// Takes over the keys of a changed file.
    pub(super) fn replace(&mut self, keys: Vec<Key>, used: impl Fn(&KeyName) -> Used, now: Time) {
        let before: Vec<bool> =
            self.slots.iter_mut().map(|slot| std::mem::take(&mut slot.is_listed)).collect();
        self.listed.clear();
        for key in keys {
            let at = match self.by_name.get(key.name()) {
                Some(&at) => {
                    let slot = &mut self.slots[at];
                    let is_another = slot.key.authorization() != key.authorization();
                    let is_edited = slot.key.terms() != key.terms() || before.get(at) == Some(&false);
                    slot.set_key(Arc::new(key));
                    if is_another {
                        self.begin_anew(at, now);
                    } else if is_edited && slot.known.refused.take().is_some() {
                        // Whoever edited the row has looked after it.
                        self.mark_key(at);
                    }
                    at
                }
                None => self.add(key, &used, now),
            };
            self.slots[at].is_listed = true;
            self.listed.push(at);
            self.gather(at, now);
        }
        for at in 0..self.slots.len() {
            self.refresh(at, now);
        }
        let is_restricted = |at: &&usize| !self.slots[**at].key.terms().models.is_empty();
        self.restricted = self.listed.iter().filter(is_restricted).count();
        self.line_up(now);
        self.came_back = true;
    }

    /// The same while it runs: who comes back is known from the start, if it is still the same day.
    pub(super) fn reload(&mut self, keys: Vec<Key>, now: Time) {
        let absent = std::mem::take(&mut self.absent.1);
        let is_today = self.absent.0 == self.day;
        let used =
            |name: &KeyName| absent.get(name.as_str()).filter(|_| is_today).copied().unwrap_or_default();
        self.replace(keys, used, now);
        // Whoever is known by now is not asked for again.
        self.absent.1 = absent;
    }

    /// Whether a key of this name is, or was, in the file.
    pub(super) fn has(&self, name: &str) -> bool {
        KeyName::parse(name).is_ok_and(|name| self.by_name.contains_key(&name))
    }

    fn add(&mut self, key: Key, used: impl Fn(&KeyName) -> Used, now: Time) -> usize {
        let (at, used, name) = (self.slots.len(), used(key.name()), key.name().clone());
        let account = self.new_account(None);
        self.accounts[account].keys.push(at);
        self.accounts[account].minute.count(used.free_minute, now);
        self.accounts[account].day.count(used.free_today, now);
        self.slots.push(Slot::new(Arc::new(key), account, used));
        if let Some(fact) = self.unclaimed.remove(name.as_str()) {
            self.recall(at, fact, now);
        }
        self.by_name.insert(name, at);
        at
    }

    /// Takes the time over and what came with it. Later work goes by the time that is returned.
    pub(super) fn tick(&mut self, now: Time) -> Time {
        let now = if now < self.now && self.now.since(now) < IN_DISORDER { self.now } else { now };
        self.now = now;
        if now >= self.day.next().start() || now < self.day.start() {
            self.begin_day(now);
        }
        while self.firsts.front().is_some_and(|(left, _)| now >= left.after(ALONE)) {
            if let Some((_, at)) = self.firsts.pop_front() {
                self.came_back |= self.refresh_account(self.slots[at].account, now);
            }
        }
        for class in Class::ALL {
            while let Some(at) = self.lines[class as usize].as_mut().and_then(|line| line.due(now)) {
                self.refresh(at, now);
            }
        }
        now
    }

    fn begin_day(&mut self, now: Time) {
        self.day = now.day();
        for at in 0..self.slots.len() {
            let slot = &mut self.slots[at];
            (slot.used, slot.free, slot.free_before, slot.cost) = (0, 0, 0, 0);
            slot.is_quiet = false;
            if slot.known.cap_left.is_some() {
                // It is remembered together with the day's cost.
                self.mark_key(at);
            }
        }
        self.line_up(now);
    }

    /// Makes the lines that there are anew.
    fn line_up(&mut self, now: Time) {
        for class in Class::ALL {
            if self.lines[class as usize].take().is_some() {
                self.build(class, now);
            }
        }
        self.version += 1;
    }

    /// Makes the line of a class, where there is none.
    pub(super) fn build(&mut self, class: Class, now: Time) {
        if self.lines[class as usize].is_some() {
            return;
        }
        let mut line = Line::new(self.slots.len());
        if !self.listed.is_empty() {
            // Nobody is always the first of a day.
            let (behind, before) = self.listed.split_at(rand::random_range(..self.listed.len()));
            for &at in before.iter().chain(behind) {
                line.put(at, self.standing(at, class, now));
            }
        }
        self.lines[class as usize] = Some(line);
    }

    /// When this UTC day ends.
    pub(super) fn tomorrow(&self) -> Time {
        self.day.next().start()
    }

    /// What keeps a key from serving a class, whatever the request.
    pub(super) fn hold(&self, at: usize, class: Class, now: Time) -> Option<Hold> {
        let slot = &self.slots[at];
        let account = &self.accounts[slot.account];
        Hold::longest([slot.hold(class, now, self.tomorrow()), account.hold(class, now)])
    }

    fn standing(&self, at: usize, class: Class, now: Time) -> Standing {
        let slot = &self.slots[at];
        if !slot.is_listed {
            return Standing::Absent;
        }
        self.hold(at, class, now).map_or_else(|| Standing::Lendable(slot.rank()), Standing::Held)
    }

    /// Puts a key where it belongs; true when it came back.
    pub(super) fn refresh(&mut self, at: usize, now: Time) -> bool {
        let mut came_back = false;
        let slot = &self.slots[at];
        self.slots[at].is_quiet =
            slot.has_nothing_to_watch(self.tomorrow()) && self.accounts[slot.account].has_nothing_to_watch();
        self.slots[at].is_capped = self.slots[at].has_cap();
        for class in Class::ALL {
            if self.lines[class as usize].is_some() {
                let standing = self.standing(at, class, now);
                if let Some(line) = &mut self.lines[class as usize] {
                    came_back |= line.put(at, standing);
                }
            }
        }
        self.version += 1;
        came_back
    }

    /// Puts the keys of an account where they belong; true when one came back.
    pub(super) fn refresh_account(&mut self, account: usize, now: Time) -> bool {
        let mut came_back = false;
        for place in 0..self.accounts[account].keys.len() {
            let at = self.accounts[account].keys[place];
            came_back |= self.refresh(at, now);
        }
        came_back
    }

    fn rerank(&mut self, at: usize) {
        let rank = self.slots[at].rank();
        for line in self.lines.iter_mut().flatten() {
            line.rank(at, rank);
        }
    }

    pub(super) fn lease(&mut self, need: &Need<'_>, now: Time) -> Result<Lent, Exhausted> {
        self.build(need.class, now);
        while let Some(at) = self.choose(need) {
            let slot = &self.slots[at];
            if !slot.is_quiet && slot.known.expires.is_some_and(|expires| expires <= now) {
                // Nobody looked since it expired; now it leaves the line.
                self.refresh(at, now);
                continue;
            }
            self.foresee(need.class);
            return Ok(self.take(at, need.class, now));
        }
        Err(self.exhausted(need, now))
    }

    /// Looks at what the next keys will be lent with, so that it is in the processor's caches by then: with thousands of
    /// keys each request takes one that is not, and would wait for memory time and again. What one look finds tells where
    /// the next has to look, so each takes place at another lease.
    fn foresee(&self, class: Class) {
        let Some(line) = &self.lines[class as usize] else { return };
        let mut next = line.next_ones();
        if let Some(at) = next.next() {
            self.slots[at].key.look_at_texts();
        }
        if let Some(at) = next.next() {
            self.slots[at].key.look_at_itself();
        }
        if let Some(at) = next.next() {
            black_box((self.slots[at].in_flight, self.slots[at].is_quiet, line.standing(at)));
        }
    }

    pub(super) fn choose(&self, need: &Need<'_>) -> Option<usize> {
        let line = self.lines[need.class as usize].as_ref()?;
        if let Bind::Prefer(name) | Bind::Only(name) = need.bind {
            let bound = self.by_name.get(name).and_then(|&at| self.choose_near(at, line, need));
            if bound.is_some() || matches!(need.bind, Bind::Only(_)) {
                return bound;
            }
        }
        if need.keys.is_some() {
            let lendable = self.may_have(need).filter_map(|at| self.lendable(at, line, need));
            return lendable.min().map(|(_, at)| at);
        }
        line.choose(|at| self.misfit(at, need).is_none())
    }

    /// The keys in the file that a need's caller is confined to; none where it is not.
    pub(super) fn may_have(&self, need: &Need<'_>) -> impl Iterator<Item = usize> {
        let names = need.keys.map_or(&[][..], |keys| keys).iter();
        names.filter_map(|name| self.by_name.get(&**name).copied()).filter(|&at| self.slots[at].is_listed)
    }

    /// The key with its rank where it may be lent for a need.
    fn lendable(&self, at: usize, line: &Line, need: &Need<'_>) -> Option<(Rank, usize)> {
        match line.standing(at) {
            Standing::Lendable(rank) => self.misfit(at, need).is_none().then_some((rank, at)),
            _ => None,
        }
    }

    /// Whether the key, or another of its account, is in the file.
    pub(super) fn has_account_of(&self, name: &KeyName) -> bool {
        let Some(&at) = self.by_name.get(name) else { return false };
        let slot = &self.slots[at];
        slot.is_listed || self.accounts[slot.account].keys.iter().any(|&at| self.slots[at].is_listed)
    }

    /// The key itself, else the least used of its account.
    fn choose_near(&self, at: usize, line: &Line, need: &Need<'_>) -> Option<usize> {
        let lendable = |at: usize| self.lendable(at, line, need);
        let near = || self.accounts[self.slots[at].account].keys.iter().filter_map(|&at| lendable(at)).min();
        lendable(at).or_else(near).map(|(_, at)| at)
    }

    /// Whether a key is of the account that a need is bound to, where it has to have one.
    pub(super) fn is_near(&self, at: usize, need: &Need<'_>) -> bool {
        let Bind::Only(name) = need.bind else { return true };
        self.by_name.get(name).is_some_and(|&bound| self.slots[bound].account == self.slots[at].account)
    }

    /// What speaks against giving a request this key, even when it may be lent.
    pub(super) fn misfit(&self, at: usize, need: &Need<'_>) -> Option<Why> {
        let tried = need.tried;
        let account = self.slots[at].account;
        let is_tried = tried.keys.contains(&at)
            || tried.accounts.iter().any(|&other| self.slots[other].account == account);
        if is_tried {
            return Some(Why::Tried);
        }
        if !need.may_have(self.slots[at].key.name()) {
            return Some(Why::Caller);
        }
        let serves = self.restricted == 0 || need.is_among(&self.slots[at].key.terms().models);
        (!serves).then_some(Why::Models)
    }

    fn take(&mut self, at: usize, class: Class, now: Time) -> Lent {
        self.tickets += 1;
        let (ticket, slot) = (self.tickets, &mut self.slots[at]);
        slot.in_flight += 1;
        slot.count(class);
        let key = Arc::clone(&slot.key);
        let mut is_probe = !slot.is_quiet && slot.take(class, ticket, now);
        if !slot.is_quiet || class == Class::Free {
            is_probe |= self.accounts[slot.account].take(class, ticket, now);
            if is_probe && self.accounts[slot.account].first == Some((ticket, now)) {
                self.firsts.push_back((now, at));
            }
        }
        self.settle(at, class, is_probe, now);
        Lent { slot: at, key, class, ticket, is_probe }
    }

    /// Puts a key, of which an attempt was counted, where it belongs.
    fn settle(&mut self, at: usize, class: Class, is_probe: bool, now: Time) {
        let slot = &self.slots[at];
        if (is_probe || class == Class::Free) && self.accounts[slot.account].hold(class, now).is_some() {
            self.refresh_account(slot.account, now);
        } else if slot.is_quiet {
            self.rerank(at);
        } else {
            self.refresh(at, now);
        }
    }

    /// Counts one more attempt of a lease.
    pub(super) fn count_again(&mut self, lent: &Lent, now: Time) {
        let slot = &mut self.slots[lent.slot];
        slot.count(lent.class);
        if lent.class == Class::Free {
            self.accounts[slot.account].count_free(now);
        }
        self.settle(lent.slot, lent.class, false, now);
    }

    /// Takes back the count of a lease that no attempt was made with.
    pub(super) fn uncount(&mut self, lent: &Lent, now: Time) {
        let slot = &mut self.slots[lent.slot];
        slot.uncount(lent.class);
        let account = slot.account;
        if lent.class == Class::Free {
            self.accounts[account].uncount_free(now);
            self.came_back |= self.refresh_account(account, now);
        } else {
            self.came_back |= self.refresh(lent.slot, now);
        }
    }

    /// Takes a lease back, whose answer `is_open` when it told nothing.
    pub(super) fn give_back(&mut self, lent: &Lent, is_open: bool) {
        self.slots[lent.slot].in_flight -= 1;
        if is_open {
            self.release(lent, self.now);
        }
        self.rerank(lent.slot);
    }

    pub(super) fn mark_key(&mut self, at: usize) {
        if !std::mem::replace(&mut self.slots[at].changed, true) {
            self.changed.push(Changed::Key(at));
        }
    }

    /// What is known of an account that nothing names is remembered with its key.
    pub(super) fn mark_account(&mut self, account: usize) {
        match (&self.accounts[account].id, self.accounts[account].keys.first()) {
            (None, Some(&at)) => self.mark_key(at),
            (None, None) => {}
            (Some(_), _) => {
                if !std::mem::replace(&mut self.accounts[account].changed, true) {
                    self.changed.push(Changed::Account(account));
                }
            }
        }
    }
}
