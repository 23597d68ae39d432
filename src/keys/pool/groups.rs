//! Which keys are one account, as the operator says or as it turns out.

use std::time::Duration;

use super::super::state::Fact;
use super::account::{Account, AccountId};
use super::slot::Slot;
use super::stock::{Changed, Stock};
use crate::clock::Time;

/// When no key joined another's account for so long, all that will for now have: a round of questions asks five a second.
const SETTLED: Duration = Duration::from_secs(3);

impl Slot {
    /// What names its account: the operator, else `GET /key`, else an error.
    fn account_id(&self) -> Option<AccountId> {
        if let Some(column) = &self.key.terms().account {
            return Some(AccountId::Column(column.clone()));
        }
        self.known.told.as_ref().or(self.known.said.as_ref()).cloned().map(AccountId::Learned)
    }
}

impl Stock {
    pub(super) fn new_account(&mut self, id: Option<AccountId>) -> usize {
        let account = Account::new(id.clone());
        let place = if let Some(place) = self.vacant.pop() {
            self.accounts[place] = account;
            place
        } else {
            self.accounts.push(account);
            self.accounts.len() - 1
        };
        if let Some(id) = id {
            self.by_id.insert(id, place);
        }
        place
    }

    /// Gives a key to the account that owns it as far as is known; what the two counted adds up.
    pub(super) fn regroup(&mut self, at: usize, now: Time) {
        let old = self.slots[at].account;
        if self.gather(at, now) {
            let new = self.slots[at].account;
            self.came_back |= self.refresh_account(old, now) | self.refresh_account(new, now);
        }
    }

    /// The same, true when it changed anything; the keys of both accounts are to be refreshed then. That is left to who does
    /// this for many keys.
    pub(super) fn gather(&mut self, at: usize, now: Time) -> bool {
        let id = self.slots[at].account_id();
        let old = self.slots[at].account;
        if self.accounts[old].id == id {
            return false;
        }
        let known = id.as_ref().and_then(|id| self.by_id.get(id).copied());
        if self.accounts[old].keys.len() > 1 {
            let new = known.unwrap_or_else(|| self.new_account(id));
            self.part(at, new, now);
        } else if let Some(new) = known {
            self.join(old, new, now);
        } else {
            self.rename(old, id);
        }
        let new = self.slots[at].account;
        self.mark_key(at);
        self.mark_account(new);
        true
    }

    /// Moves one key from an account it shared to another.
    fn part(&mut self, at: usize, new: usize, now: Time) {
        let (old, free) = (self.slots[at].account, self.slots[at].free);
        let left = &mut self.accounts[old];
        left.keys.retain(|&other| other != at);
        left.forget_probes();
        left.day.set(left.day.used(now).saturating_sub(free), now);
        self.accounts[new].keys.push(at);
        let mut moved = Account::new(None);
        moved.day.count(free, now);
        let sent = self.sent(new, &moved);
        self.accounts[new].merge(&moved, sent, now);
        self.slots[at].account = new;
        self.mark_account(old);
    }

    /// Makes two accounts one.
    fn join(&mut self, old: usize, new: usize, now: Time) {
        let other = std::mem::replace(&mut self.accounts[old], Account::new(None));
        for &at in &other.keys {
            self.slots[at].account = new;
        }
        self.accounts[new].keys.extend(&other.keys);
        let sent = self.sent(new, &other);
        self.accounts[new].merge(&other, sent, now);
        self.forget_id(other.id);
        self.vacant.push(old);
    }

    /// How many free requests the keys of an account sent today from here; none where no report about it or `other` asks
    /// for that, so that thousands of keys are put together in no time.
    fn sent(&self, account: usize, other: &Account) -> u64 {
        let account = &self.accounts[account];
        if account.reported.or(other.reported).is_none() {
            return 0;
        }
        account.keys.iter().map(|&at| self.slots[at].free).sum()
    }

    fn rename(&mut self, account: usize, id: Option<AccountId>) {
        if let Some(id) = &id {
            self.by_id.insert(id.clone(), account);
        }
        let old = std::mem::replace(&mut self.accounts[account].id, id);
        self.forget_id(old);
    }

    fn forget_id(&mut self, id: Option<AccountId>) {
        if let Some(id) = id {
            self.by_id.remove(&id);
            self.changed.push(Changed::Gone(Fact { kind: "account", id: id.text(), value: None }));
        }
    }

    /// Forgets what was learned of a key, whose row has another secret now. What its day's attempts were counted
    /// against stays with the account of the secret before.
    pub(super) fn begin_anew(&mut self, at: usize, now: Time) {
        let old = self.slots[at].account;
        self.accounts[old].keys.retain(|&other| other != at);
        self.accounts[old].forget_probes();
        if self.accounts[old].id.is_none() {
            self.vacant.push(old);
        }
        let new = self.new_account(None);
        self.accounts[new].keys.push(at);
        let slot = &mut self.slots[at];
        slot.free_before += slot.free;
        (slot.account, slot.free, slot.known) = (new, 0, Box::default());
        self.mark_key(at);
        if old != new {
            self.mark_account(old);
        }
        self.refresh_account(old, now);
    }

    /// Notes that keys may have turned out to be one account, which is to be told of when no more join.
    pub(super) fn warn_of(&mut self, account: usize, now: Time) {
        if self.shared_by(account).is_some() {
            if !self.joined.contains(&account) {
                self.joined.push(account);
            }
            self.settles = now.after(SETTLED);
        }
    }

    /// Tells, once for each number of them, of the keys that turned out to be one account, where that has settled.
    pub(super) fn tell_of_accounts(&mut self, now: Time) {
        // The clock may have been set back.
        if now < self.settles && self.settles <= now.after(SETTLED) {
            return;
        }
        for account in std::mem::take(&mut self.joined) {
            let Some(names) = self.shared_by(account) else { continue };
            let count = names.len();
            let names = names.join(", ");
            self.warnings
                .push(format!("these {count} keys are one account: they add no free quota: {names}"));
            self.accounts[account].warned = count;
        }
    }

    /// The names of the keys that are one account, as was learned of more than were told of.
    fn shared_by(&self, account: usize) -> Option<Vec<&str>> {
        let Account { id: Some(AccountId::Learned(_)), keys, warned, .. } = &self.accounts[account] else {
            return None;
        };
        let mut keys = keys.clone();
        keys.retain(|&at| self.slots[at].is_listed);
        keys.sort_unstable();
        let names: Vec<&str> = keys.iter().map(|&at| self.slots[at].key.name().as_str()).collect();
        (names.len() > (*warned).max(1)).then_some(names)
    }
}
