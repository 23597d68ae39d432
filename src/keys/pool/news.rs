//! What attempts and polls tell about keys and accounts, and what follows from it.

use std::time::Duration;

use super::super::KeyName;
use super::super::need::{Class, Need, Question, Rest, Told};
use super::super::quota::{FREE_TIER_A_DAY, proven};
use super::stock::{Lent, Stock};
use crate::clock::Time;

/// Within which time the same unidentified fault of all keys is an outage.
const AT_ONCE: Duration = Duration::from_secs(10);

/// So shortly before its end a refusal is asked about, or a little later.
const ABOUT_OVER: Duration = Duration::from_secs(3);

/// Fewer free requests than were counted are believed of an account that made none for so long, milliseconds, and none at
/// all of a day so young: reports lag.
const LAG_MS: i64 = 120_000;

impl Stock {
    /// Whether the key of a lease is still the one in its row.
    fn is_current(&self, lent: &Lent) -> bool {
        self.slots[lent.slot].key.authorization() == lent.key.authorization()
    }

    fn account_of(&self, lent: &Lent) -> usize {
        self.slots[lent.slot].account
    }

    /// A key served.
    pub(super) fn answered(&mut self, lent: &Lent, now: Time) {
        if !self.is_current(lent) {
            return self.release(lent, now);
        }
        let account = self.account_of(lent);
        let key_well = self.slots[lent.slot].proven(lent.class, lent.ticket, now);
        let account_well = self.accounts[account].proven(lent.class, lent.ticket);
        if key_well {
            self.mark_key(lent.slot);
            self.came_back |= self.refresh(lent.slot, now);
        }
        if account_well {
            self.mark_account(account);
            self.came_back |= self.refresh_account(account, now);
        }
    }

    /// What a lease went to find out is open again.
    pub(super) fn release(&mut self, lent: &Lent, now: Time) {
        let account = self.account_of(lent);
        if self.accounts[account].released(lent.ticket) {
            self.came_back |= self.refresh_account(account, now);
        }
        if self.slots[lent.slot].released(lent.ticket) {
            self.came_back |= self.refresh(lent.slot, now);
        }
    }

    /// Something is to rest.
    pub(super) fn bench(&mut self, lent: &Lent, rest: Rest, now: Time) {
        if !self.is_current(lent) {
            return self.release(lent, now);
        }
        let (place, ticket) = (self.account_of(lent), lent.ticket);
        let slot = &mut self.slots[lent.slot];
        let account = &mut self.accounts[place];
        let whole_account = match rest {
            Rest::Refused => {
                slot.refuse(now);
                false
            }
            Rest::Cap(until) => {
                slot.cap_spent(until, now);
                false
            }
            Rest::Unidentified(until) => {
                slot.suspect(lent.class, until, now);
                false
            }
            Rest::NoCredits => {
                account.out_of_credits(lent.class, now);
                true
            }
            Rest::InFlight(until) => {
                account.hold_credits(until, now);
                true
            }
            Rest::FreeMinute { until, limit } => {
                account.used_up(|account| &mut account.minute, (until, limit), ticket, now);
                true
            }
            Rest::FreeDay { until, limit } => {
                account.used_up(|account| &mut account.day, (until, limit), ticket, now);
                true
            }
        };
        if whole_account {
            // Whoever is told of its account is not refused itself.
            if proven(&mut slot.known.refused, ticket) {
                self.mark_key(lent.slot);
            }
            self.mark_account(place);
        } else {
            self.mark_key(lent.slot);
        }
        self.release(lent, now);
        self.refresh(lent.slot, now);
        if whole_account {
            self.refresh_account(place, now);
        }
    }

    /// Whether no key is left that could serve a need, and at least two that could met an unidentified fault just now,
    /// which is no fault of theirs then: their rests end. A key that may not serve it tells nothing, idle or not.
    pub(super) fn is_outage(&mut self, need: &Need<'_>, now: Time) -> bool {
        self.build(need.class, now);
        if self.choose(need).is_some() {
            return false;
        }
        let met = |at: &usize| {
            self.slots[*at].known.unidentified[need.class as usize]
                .is_some_and(|rest| now < rest.until && now.since(rest.since) <= AT_ONCE)
        };
        let could_serve = |at: &usize| self.is_near(*at, need) && self.misfit(*at, need).is_none();
        let met: Vec<usize> = self.listed.iter().copied().filter(met).filter(could_serve).collect();
        let is_outage = met.len() > 1;
        if is_outage {
            self.acquit(&met, need.class, now);
        }
        is_outage
    }

    /// Ends what rests keys for a class after an unidentified fault.
    pub(super) fn acquit(&mut self, met: &[usize], class: Class, now: Time) {
        for &at in met {
            self.slots[at].known.unidentified[class as usize] = None;
            self.mark_key(at);
            self.came_back |= self.refresh(at, now);
        }
    }

    pub(super) fn spent(&mut self, lent: &Lent, cost: i64, now: Time) {
        let slot = &mut self.slots[lent.slot];
        slot.cost = slot.cost.saturating_add(cost);
        slot.spent = slot.spent.saturating_add(cost);
        if !slot.is_capped {
            return;
        }
        let before = slot.known.cap;
        slot.draw(cost, now);
        let is_capped = before != slot.known.cap;
        let is_dear = slot.key.terms().daily_cost.is_some_and(|most| slot.cost >= most);
        if is_capped {
            self.mark_key(lent.slot);
        }
        if is_capped || is_dear {
            self.refresh(lent.slot, now);
        }
    }

    /// An error named the account of a key.
    pub(super) fn belongs_to(&mut self, lent: &Lent, user_id: &str, now: Time) {
        let known = &self.slots[lent.slot].known;
        if known.said.as_deref() == Some(user_id) || !self.is_current(lent) {
            return;
        }
        self.slots[lent.slot].known.said = Some(user_id.into());
        self.regroup(lent.slot, now);
        self.mark_key(lent.slot);
        self.warn_of(self.account_of(lent), now);
    }

    /// `GET /key` told about a key.
    pub(super) fn learn(&mut self, at: usize, told: &Told, question: Question, now: Time) {
        let Question { asked, spent } = question;
        let slot = &mut self.slots[at];
        // What came to light behind the question is not known to the answer.
        slot.known.refused = slot.known.refused.filter(|refused| asked < refused.since);
        slot.known.management = told.management;
        slot.known.expires = told.expires;
        let left = told.cap_left.map(|left| left.saturating_sub(slot.spent.saturating_sub(spent)));
        slot.cap_is(left, told.cap_resets, asked, now);
        if told.account.is_some() {
            slot.known.told.clone_from(&told.account);
        }
        self.regroup(at, now);

        let place = self.slots[at].account;
        self.learn_free(place, told, asked, now);
        self.mark_key(at);
        self.mark_account(place);
        self.came_back |= self.refresh(at, now) | self.refresh_account(place, now);
        self.warn_of(place, now);
    }

    fn learn_free(&mut self, place: usize, told: &Told, asked: Time, now: Time) {
        let account = &mut self.accounts[place];
        // 50 a day, 1000 once credits were bought (OpenRouter docs, Limits page).
        let assumed = told.free_tier.map(|is_free| if is_free { FREE_TIER_A_DAY } else { 1_000 });
        account.day.assumed = assumed.or(account.day.assumed);
        account.day.told = told.free_limit.or(account.day.told);
        // What is told at the beginning of a day may still be the sum of the one before.
        let is_todays = asked.day() == now.day() && asked >= Time(now.day().start().0 + LAG_MS);
        let Some(used) = told.free_used.filter(|_| is_todays) else { return };
        account.reported = Some(asked);
        let since = u64::try_from(account.recent.since(asked)).unwrap_or(0);
        let (used, counted) = (used.saturating_add(since), account.day.used(now));
        let lagging = Time(asked.0.saturating_sub(LAG_MS));
        // What was sent before the pool began, and when, nobody knows.
        let is_settled = || self.began <= lagging && !account.recent.any(lagging, asked);
        if used > counted || (used < counted && is_settled()) {
            account.day.set(used, now);
        }
    }

    /// Whether anything of a key or its account rests, other than by what was counted.
    fn rests(&self, at: usize, now: Time) -> bool {
        let slot = &self.slots[at];
        slot.rests(now) || self.accounts[slot.account].rests(now)
    }

    /// `GET /key` refused a key.
    pub(super) fn refuse(&mut self, at: usize, now: Time) {
        if let Some(refused) = &mut self.slots[at].known.refused
            && refused.until <= now.after(ABOUT_OVER)
        {
            // It goes on, twice as long: nobody has to find out when it would have ended.
            refused.until = refused.until.min(now);
        }
        self.slots[at].refuse(now);
        self.mark_key(at);
        self.refresh(at, now);
    }

    /// Ends what rests of one key and its account, or of all; tells of how many keys anything did.
    pub(super) fn reset_all(&mut self, name: Option<&KeyName>, now: Time) -> Option<usize> {
        let chosen = match name {
            Some(name) => vec![self.by_name.get(name).copied().filter(|&at| self.slots[at].is_listed)?],
            None => self.listed.clone(),
        };
        let rested = |at: &&usize| self.rests(**at, now);
        let before = self.listed.iter().filter(rested).count();
        for at in chosen {
            self.reset(at, now);
        }
        let rested = |at: &&usize| self.rests(**at, now);
        Some(before - self.listed.iter().filter(rested).count())
    }

    /// Ends what rests of a key and its account.
    fn reset(&mut self, at: usize, now: Time) {
        let place = self.slots[at].account;
        self.slots[at].reset(now);
        self.accounts[place].reset();
        self.mark_key(at);
        self.mark_account(place);
        self.came_back |= self.refresh_account(place, now);
    }
}
