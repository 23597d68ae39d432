//! What the pool tells of itself: why none can serve, how many could, and how each key stands.

use std::collections::HashMap;

use super::super::need::{Bind, Class, Exhausted, Need, Runs, Why};
use super::super::quota::{Ends, FREE_TIER_A_DAY, Hold};
use super::super::state::{Glance, KeyState, PoolState, RestState, Verdict};
use super::account::AccountId;
use super::stock::Stock;
use crate::clock::Time;

/// A forecast of more is as good as one of this many.
const PLENTY: u64 = 10_000;

/// An answer that took a look at each key, and for whom it holds.
#[derive(Debug)]
pub(super) struct Asked {
    model: Box<str>,
    version: u64,
    answer: Exhausted,
}

impl Stock {
    /// What keeps all keys from serving a need that none was found for.
    pub(super) fn exhausted(&mut self, need: &Need<'_>, now: Time) -> Exhausted {
        let is_plain = need.tried.keys.is_empty()
            && need.tried.accounts.is_empty()
            && matches!(need.runs, Runs::Nothing | Runs::Named([]));
        if let Bind::Only(name) = need.bind {
            let account = self.by_name.get(name).map(|&at| self.slots[at].account);
            let keys: &[usize] = account.map_or(&[], |account| &self.accounts[account].keys);
            let mut tally = Tally::default();
            for &at in keys.iter().filter(|&&at| self.slots[at].is_listed) {
                tally.add(self.verdict(at, need, now), now);
            }
            let others = self.listed.len() - tally.keys;
            return tally.exhausted(Why::Bound, others);
        }
        if need.keys.is_some() {
            let mut tally = Tally::default();
            for at in self.may_have(need) {
                tally.add(self.verdict(at, need, now), now);
            }
            let others = self.listed.len() - tally.keys;
            return tally.exhausted(Why::Caller, others);
        }
        if !is_plain {
            // Mostly an attempt was spent before, which costs more than a look at each key.
            return self.look_at_each(need, now);
        }
        if self.restricted == 0 {
            return self.exhausted_by_the_line(need.class, now);
        }
        let version = self.version;
        let asked = self.asked[need.class as usize].as_ref();
        if let Some(asked) = asked.filter(|asked| asked.version == version && *asked.model == *need.model)
            && asked.answer.until.is_none_or(|until| now < until)
        {
            return asked.answer.clone();
        }
        let answer = self.look_at_each(need, now);
        self.asked[need.class as usize] =
            Some(Asked { model: need.model.into(), version, answer: answer.clone() });
        answer
    }

    fn exhausted_by_the_line(&self, class: Class, now: Time) -> Exhausted {
        let Some(line) = &self.lines[class as usize] else {
            return Tally::default().exhausted(Why::Bound, 0);
        };
        let (until, back) = line.first_back(now);
        Exhausted { until, back, why: sorted(line.why().collect()) }
    }

    fn look_at_each(&self, need: &Need<'_>, now: Time) -> Exhausted {
        let mut tally = Tally::default();
        for &at in &self.listed {
            tally.add(self.verdict(at, need, now), now);
        }
        tally.exhausted(Why::Bound, 0)
    }

    /// What keeps a key from serving a need.
    fn verdict(&self, at: usize, need: &Need<'_>, now: Time) -> Option<Hold> {
        match self.misfit(at, need) {
            Some(why) => Some(Hold::new(why, Ends::Never)),
            None => self.hold(at, need.class, now),
        }
    }

    /// How many requests of a need could be lent a key from `now` until `until`.
    pub(super) fn forecast(&mut self, need: &Need<'_>, now: Time, until: Time) -> u64 {
        self.build(need.class, now);
        self.forecasts += 1;
        let Some(line) = &self.lines[need.class as usize] else { return 0 };
        let only = match need.bind {
            Bind::Only(name) => Some(self.by_name.get(name).map(|&at| self.slots[at].account)),
            _ => None,
        };
        let (slots, accounts) = (&self.slots, &mut self.accounts);
        let mut sum = 0_u64;
        for at in line.before(until) {
            let slot = &slots[at];
            let is_bound = only.is_some_and(|account| account != Some(slot.account));
            let is_tried = need.tried.keys.contains(&at)
                || need.tried.accounts.iter().any(|&other| slots[other].account == slot.account);
            if is_bound
                || is_tried
                || !need.may_have(slot.key.name())
                || !need.is_among(&slot.key.terms().models)
            {
                continue;
            }
            let (tomorrow, terms) = (self.day.next().start(), slot.key.terms());
            let from = match slot.hold(need.class, now, tomorrow).map(|hold| hold.ends.moment(now)) {
                None => now,
                Some(Some(from)) if from < until => from,
                Some(_) => continue,
            };
            let own = terms.daily_requests.map_or(u64::MAX, |most| {
                let left = if from < tomorrow { most.saturating_sub(slot.used) } else { 0 };
                let last = Time(until.0.saturating_sub(1)).max(from).day();
                let days = u64::try_from(i64::from(last.0) - i64::from(self.day.0)).unwrap_or(0);
                left.saturating_add(most.saturating_mul(days))
            });
            let mut taken = own;
            if need.class == Class::Free {
                let account = &mut accounts[slot.account];
                if account.forecast.0 != self.forecasts {
                    account.forecast = (self.forecasts, account.room(from, until, now));
                }
                taken = own.min(account.forecast.1);
                account.forecast.1 -= taken;
            }
            sum = sum.saturating_add(taken);
            if sum >= PLENTY {
                break;
            }
        }
        sum
    }

    /// The pool at this moment.
    pub(super) fn state(&self, now: Time) -> PoolState {
        let mut numbers = Numbers::default();
        let keys = self.listed.iter().map(|&at| self.key_state(at, &mut numbers, now)).collect();
        PoolState { keys }
    }

    /// The pool as far as `GET /key` may tell more of it.
    pub(super) fn glance(&self, now: Time) -> Vec<Glance> {
        let glance = |&at: &usize| {
            let slot = &self.slots[at];
            let credits = self.accounts[slot.account].credits(now);
            let rests = slot.cooldowns(now).into_iter().chain([credits]).flatten();
            Glance {
                name: slot.key.name().clone(),
                used_today: slot.used,
                rests: rests
                    .filter(|hold| hold.why != Why::Probing)
                    .map(|hold| (hold.why, hold.ends.moment(now)))
                    .collect(),
            }
        };
        self.listed.iter().map(glance).collect()
    }

    fn key_state(&self, at: usize, numbers: &mut Numbers, now: Time) -> KeyState {
        let slot = &self.slots[at];
        let account = &self.accounts[slot.account];
        let mut rests = Vec::new();
        // What rests a key for all classes stands in each of them.
        let own = Class::ALL.map(|class| slot.holds(class, now, self.tomorrow()));
        let mut list = |what: &str, holds: &[Option<Hold>]| {
            rests.extend(holds.iter().flatten().map(|hold| RestState {
                what: what.to_owned(),
                why: hold.why.word().to_owned(),
                until_ms: hold.ends.moment(now).map(|time| time.0),
            }));
        };
        let is_of_all = |hold: &Option<Hold>| {
            hold.is_some_and(|hold| own.iter().all(|holds| holds.contains(&Some(hold))))
        };
        list("all", &own[0].into_iter().filter(is_of_all).collect::<Vec<_>>());
        for (class, what) in Class::ALL.into_iter().zip(["free", "paid", "other"]) {
            let of_class = own[class as usize].into_iter().filter(|hold| !is_of_all(hold));
            list(what, &of_class.chain(account.holds(class, now)).collect::<Vec<_>>());
        }
        KeyState {
            name: slot.key.name().to_string(),
            account: numbers.name(slot.account, account.id.as_ref()),
            used_today: slot.used,
            in_flight: slot.in_flight,
            cost_today: slot.cost,
            free_minute_left: account.minute.left(now),
            free_day_left: account.day.left(now),
            free_day_limit: account.day.limit(),
            cap_left: slot.cap_left(now),
            free_tier: account.day.assumed.map(|limit| limit == FREE_TIER_A_DAY),
            expires_ms: slot.known.expires.map(|expires| expires.0),
            rests,
        }
    }

    /// For each key, whether it would be chosen now, and why.
    pub(super) fn explain(&self, need: &Need<'_>, now: Time) -> Vec<Verdict> {
        let bound = match need.bind {
            Bind::Prefer(name) | Bind::Only(name) => self.by_name.get(name).copied(),
            Bind::Free => None,
        };
        // The key it is bound to, then its account, then the others.
        let distance = |at: usize| match bound {
            Some(near) if near == at => 0,
            Some(near) if self.slots[near].account == self.slots[at].account => 1,
            _ => 2_u8,
        };
        let verdicts: Vec<Option<Hold>> = self
            .listed
            .iter()
            .map(|&at| {
                let is_bound = matches!(need.bind, Bind::Only(_)) && distance(at) == 2;
                let bound = is_bound.then_some(Hold::new(Why::Bound, Ends::Never));
                bound.or_else(|| self.verdict(at, need, now))
            })
            .collect();
        let mut order: Vec<usize> = (0..verdicts.len()).filter(|&row| verdicts[row].is_none()).collect();
        order.sort_by_key(|&row| {
            let at = self.listed[row];
            (distance(at), self.slots[at].rank())
        });
        let mut places = vec![None; verdicts.len()];
        for (place, row) in order.into_iter().enumerate() {
            places[row] = Some(place + 1);
        }
        let names = self.listed.iter().map(|&at| self.slots[at].key.name().to_string());
        names
            .zip(verdicts)
            .zip(places)
            .map(|((name, hold), place)| Verdict {
                name,
                place,
                why: hold.map(|hold| hold.why),
                until_ms: hold.and_then(|hold| hold.ends.moment(now)).map(|time| time.0),
            })
            .collect()
    }
}

/// Numbers for the accounts whose names are not to be told, in the order in which they are met.
#[derive(Default)]
struct Numbers(HashMap<usize, usize>);

impl Numbers {
    fn name(&mut self, account: usize, id: Option<&AccountId>) -> Option<String> {
        match id? {
            AccountId::Column(name) => Some(name.to_string()),
            AccountId::Learned(_) => {
                let next = self.0.len() + 1;
                let number = self.0.entry(account).or_insert(next);
                Some(format!("account {number}"))
            }
        }
    }
}

/// Counts what holds keys.
#[derive(Debug, Default)]
struct Tally {
    keys: usize,
    first: Option<Time>,
    back: Option<Time>,
    why: std::collections::BTreeMap<Why, usize>,
}

impl Tally {
    fn add(&mut self, hold: Option<Hold>, now: Time) {
        self.keys += 1;
        if let Some(hold) = hold {
            let moment = hold.ends.moment(now);
            self.first = self.first.into_iter().chain(moment).min();
            self.back = self.back.into_iter().chain(moment.filter(|_| !hold.why.needs_person())).min();
            *self.why.entry(hold.why).or_default() += 1;
        }
    }

    /// That none of them is left; `others` have to be left out for this reason.
    fn exhausted(mut self, why: Why, others: usize) -> Exhausted {
        if others > 0 {
            self.why.insert(why, others);
        }
        Exhausted { until: self.first, back: self.back, why: sorted(self.why.into_iter().collect()) }
    }
}

/// What holds most of them first.
fn sorted(mut why: Vec<(Why, usize)>) -> Vec<(Why, usize)> {
    why.sort_by_key(|(why, count)| (std::cmp::Reverse(*count), *why));
    why
}
