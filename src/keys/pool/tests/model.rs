//! The rules of the choice once more, slow and plain, for the pool to be held against.

use super::super::line::Rank;
use super::*;

pub(super) const MINUTE_LIMIT: usize = 3;
pub(super) const DAY_LIMIT: usize = 8;

/// A pool of five keys: the first two are one account, whose free requests in a day are known; the third counts half,
/// the fourth serves twelve requests a day.
pub(super) fn made() -> KeyPool {
    let keys = vec![
        key("k0"),
        key("k1"),
        key_with("k2", |terms| terms.weight = 2_000),
        key_with("k3", |terms| terms.daily_requests = Some(12)),
        key("k4"),
    ];
    let pool = KeyPool::resume(keys, &HashMap::new(), NOON);
    for key in ["k0", "k1"] {
        let told = Told { free_limit: Some(DAY_LIMIT as u64), ..owned_by("x") };
        pool.learn(&name(key), &told, pool.question(&name(key), NOON), NOON);
    }
    for account in &mut pool.lock().accounts {
        account.minute.told = Some(MINUTE_LIMIT as u64);
    }
    pool
}

/// When a key comes back: `None` soon.
type Back = Option<Time>;

/// A rest and the lease that finds out whether it is over.
#[derive(Clone, Copy, Debug)]
struct Rested {
    until: Time,
    doubled: u32,
    alone: bool,
    probe: Option<usize>,
}

#[derive(Debug, Default)]
struct ModelKey {
    used: u64,
    in_flight: u32,
    refused: Option<Rested>,
    cap: Option<Rested>,
    suspected: [Option<Rested>; 3],
    suspected_at: [Option<Time>; 3],
}

#[derive(Debug, Default)]
struct ModelAccount {
    /// When its free attempts left.
    free: Vec<Time>,
    /// The minute that they were counted in last: how many, when it ends, and how much later than ours such minutes turn.
    minute: (usize, Option<Time>, i64),
    minute_rest: Option<Time>,
    day_rest: Option<Time>,
    first: Option<(usize, Time)>,
    strikes: u32,
    no_credits: Option<Rested>,
    no_credits_free: Option<Rested>,
    in_flight: Option<Time>,
}

#[derive(Debug)]
struct ModelLease {
    key: usize,
    class: Class,
    is_open: bool,
}

#[derive(Debug)]
pub(super) struct Model {
    day: crate::clock::Day,
    keys: Vec<ModelKey>,
    accounts: Vec<ModelAccount>,
    leases: Vec<ModelLease>,
}

impl ModelAccount {
    fn minute_end(&self, now: Time) -> Time {
        Time(now.0 + MINUTE - (now.0 - self.minute.2).rem_euclid(MINUTE))
    }

    fn in_minute(&self, now: Time) -> usize {
        let covers = |end: Time| now < end && now.0 >= end.0 - MINUTE;
        if self.minute.1.is_some_and(covers) { self.minute.0 } else { 0 }
    }

    fn count(&mut self, now: Time) {
        self.free.push(now);
        (self.minute.0, self.minute.1) = (self.in_minute(now) + 1, Some(self.minute_end(now)));
    }

    fn turns_at(&mut self, end: Time, now: Time) {
        let later = (end.0 + MINUTE / 2 - 1).rem_euclid(MINUTE) - (MINUTE / 2 - 1);
        if (-15 * SECOND..=15 * SECOND).contains(&later) {
            let counted = self.in_minute(now);
            self.minute.2 = later;
            if counted > 0 {
                self.minute = (counted, Some(self.minute_end(now)), later);
            }
        }
    }
}

fn hold(rest: Option<Rested>, now: Time) -> Option<Back> {
    let rest = rest?;
    if now < rest.until { Some(Some(rest.until)) } else { rest.probe.map(|_| None) }
}

fn doubled(last: Option<Rested>, first: i64, most: i64, alone: bool, now: Time) -> Rested {
    match last {
        Some(last) if now < last.until => last,
        _ => {
            let doubled = last.map_or(0, |last| last.doubled + 1);
            let until = Time(now.0 + first.saturating_mul(1 << doubled.min(20)).min(most));
            Rested { until, doubled, alone, probe: None }
        }
    }
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            day: NOON.day(),
            keys: (0..5).map(|_| ModelKey::default()).collect(),
            accounts: (0..4).map(|_| ModelAccount::default()).collect(),
            leases: Vec::new(),
        }
    }

    fn account_of(key: usize) -> usize {
        key.saturating_sub(1)
    }

    pub(super) fn rank(&self, key: usize) -> Rank {
        let weight = if key == 2 { 2_000 } else { 1_000 };
        Rank { used: self.keys[key].used * 1_000_000 / weight, in_flight: self.keys[key].in_flight }
    }

    pub(super) fn turn(&mut self, now: Time) {
        if now.day() != self.day {
            self.day = now.day();
            self.keys.iter_mut().for_each(|key| key.used = 0);
        }
    }

    /// How many free attempts an account made in the same minute, or day.
    fn counted(&self, account: usize, at: Time, same: fn(Time, Time) -> bool) -> usize {
        self.accounts[account].free.iter().filter(|&&free| same(free, at)).count()
    }

    fn day_limit(account: usize) -> usize {
        if account == 0 { DAY_LIMIT } else { usize::MAX }
    }

    /// What holds a key, by when each ends.
    fn holds(&self, at: usize, class: Class, now: Time) -> Vec<Back> {
        let (key, place) = (&self.keys[at], Self::account_of(at));
        let account = &self.accounts[place];
        let midnight = now.day().next().start();
        let mut holds =
            vec![hold(key.refused, now), hold(key.cap, now), hold(key.suspected[class as usize], now)];
        holds.push((at == 3 && key.used >= 12).then_some(Some(midnight)));
        match class {
            Class::Free => {
                let minute = account.in_minute(now);
                let day = self.counted(place, now, |a, b| a.day() == b.day());
                let minute_end = account.minute_end(now);
                holds.push((minute >= MINUTE_LIMIT).then_some(Some(minute_end)));
                holds.push((day >= Self::day_limit(place)).then_some(Some(midnight)));
                for rest in [account.minute_rest, account.day_rest] {
                    holds.push(rest.filter(|rest| now < *rest).map(Some));
                }
                holds.push(hold(account.no_credits_free, now));
                holds.push(account.first.filter(|(_, left)| now < Time(left.0 + 3 * SECOND)).map(|_| None));
            }
            Class::Paid => {
                holds.push(hold(account.no_credits, now));
                holds.push(account.in_flight.filter(|until| now < *until).map(Some));
            }
            Class::Other => {}
        }
        holds.into_iter().flatten().collect()
    }

    pub(super) fn may_serve(&self, class: Class, now: Time) -> Vec<usize> {
        (0..self.keys.len()).filter(|&key| self.holds(key, class, now).is_empty()).collect()
    }

    /// When the first key is back.
    pub(super) fn first_back(&self, class: Class, now: Time) -> Option<Time> {
        let back = (0..self.keys.len()).map(|key| self.holds(key, class, now).into_iter().max().flatten());
        back.map(|back| back.unwrap_or(Time(now.0 + SECOND))).min()
    }

    /// Whether an account's windows were used up, are over, and no attempt left since.
    fn is_unproven(&self, place: usize, now: Time) -> bool {
        let account = &self.accounts[place];
        let rests = [account.minute_rest, account.day_rest];
        let rested =
            rests.into_iter().flatten().any(|rest| rest <= now && !account.free.iter().any(|at| *at >= rest));
        let Some(&last) = account.free.last() else { return rested };
        let (counted, end, _) = account.minute;
        let minute = counted >= MINUTE_LIMIT && end.is_some_and(|end| end <= now);
        let day = self.counted(place, last, |a, b| a.day() == b.day()) >= Self::day_limit(place);
        rested || minute || (day && last.day() < now.day())
    }

    pub(super) fn lease(&mut self, at: usize, class: Class, now: Time) {
        let id = self.leases.len();
        let place = Self::account_of(at);
        let is_unproven = self.is_unproven(place, now);
        let (key, account) = (&mut self.keys[at], &mut self.accounts[place]);
        key.used += 1;
        key.in_flight += 1;
        let mut is_open = key.suspected[class as usize].is_some();
        let mut due = vec![&mut key.refused, &mut key.cap];
        match class {
            Class::Free => due.push(&mut account.no_credits_free),
            Class::Paid => due.push(&mut account.no_credits),
            Class::Other => {}
        }
        for rest in due.into_iter().flatten().filter(|rest| rest.alone && now >= rest.until) {
            rest.probe = Some(id);
            is_open = true;
        }
        if class == Class::Free {
            if is_unproven {
                account.first = Some((id, now));
                is_open = true;
            }
            account.count(now);
        }
        self.leases.push(ModelLease { key: at, class, is_open });
    }

    pub(super) fn again(&mut self, id: usize, now: Time) {
        let lease = &self.leases[id];
        self.keys[lease.key].used += 1;
        if lease.class == Class::Free {
            self.accounts[Self::account_of(lease.key)].count(now);
        }
    }

    pub(super) fn answered(&mut self, id: usize, now: Time) {
        let ModelLease { key, class, is_open } = &mut self.leases[id];
        if !std::mem::take(is_open) {
            return;
        }
        let (account, key, class) =
            (&mut self.accounts[Self::account_of(*key)], &mut self.keys[*key], *class);
        let ours = |rest: &Option<Rested>| rest.is_some_and(|rest| rest.probe == Some(id));
        if ours(&account.no_credits) {
            (account.no_credits, account.no_credits_free) = (None, None);
        }
        for rest in [&mut key.refused, &mut key.cap, &mut account.no_credits_free] {
            if ours(rest) {
                *rest = None;
            }
        }
        let suspected = &mut key.suspected[class as usize];
        *suspected = suspected.filter(|rest| now < rest.until);
        if account.first.is_some_and(|(first, _)| first == id) {
            (account.first, account.strikes) = (None, 0);
        }
    }

    pub(super) fn release(&mut self, id: usize) {
        let key = self.leases[id].key;
        let (account, key) = (&mut self.accounts[Self::account_of(key)], &mut self.keys[key]);
        let rests = [&mut key.refused, &mut key.cap, &mut account.no_credits_free, &mut account.no_credits];
        for rest in rests.into_iter().flatten().filter(|rest| rest.probe == Some(id)) {
            rest.probe = None;
        }
        account.first = account.first.filter(|(first, _)| *first != id);
    }

    pub(super) fn given_back(&mut self, id: usize) {
        if std::mem::take(&mut self.leases[id].is_open) {
            self.release(id);
        }
        self.keys[self.leases[id].key].in_flight -= 1;
    }

    pub(super) fn class(&self, id: usize) -> Class {
        self.leases[id].class
    }

    /// Tells whether it is an outage.
    pub(super) fn bench(&mut self, id: usize, rest: Rest, now: Time) -> bool {
        let ModelLease { key: at, class, is_open } = &mut self.leases[id];
        *is_open = false;
        let (at, class) = (*at, *class);
        let (account, key) = (&mut self.accounts[Self::account_of(at)], &mut self.keys[at]);
        let at_least = |hint: Time, length: i64| hint.max(Time(now.0 + length));
        let is_of_account = !matches!(rest, Rest::Refused | Rest::Cap(_) | Rest::Unidentified(_));
        if is_of_account && key.refused.is_some_and(|rest| rest.probe == Some(id)) {
            key.refused = None;
        }
        match rest {
            Rest::Refused => key.refused = Some(doubled(key.refused, 15 * MINUTE, 24 * HOUR, true, now)),
            Rest::Cap(Some(until)) => {
                let until = at_least(until, SECOND);
                key.cap = Some(Rested { until, doubled: 0, alone: false, probe: None });
            }
            Rest::Cap(None) => {
                key.cap = Some(doubled(key.cap.filter(|cap| cap.alone), HOUR, HOUR, true, now));
            }
            Rest::NoCredits => {
                account.no_credits = Some(doubled(account.no_credits, HOUR, HOUR, true, now));
                if class == Class::Free {
                    account.no_credits_free = Some(doubled(account.no_credits_free, HOUR, HOUR, true, now));
                }
            }
            Rest::InFlight(until) => {
                let until = at_least(until.unwrap_or(Time(now.0 + 2 * SECOND)), SECOND);
                account.in_flight = account.in_flight.max(Some(until));
            }
            Rest::FreeMinute { until, .. } | Rest::FreeDay { until, .. } => {
                let is_minute = matches!(rest, Rest::FreeMinute { .. });
                let end = if is_minute { account.minute_end(now) } else { now.day().next().start() };
                let hint = until.unwrap_or(end);
                let mut length = SECOND;
                let (is_first, is_over) =
                    (account.first.is_some_and(|(first, _)| first == id), hint <= Time(now.0 + SECOND));
                if is_first && is_over {
                    length <<= account.strikes;
                    account.strikes = (account.strikes + 1).min(5);
                }
                if is_minute && until.is_some() && (is_first || !is_over) {
                    account.turns_at(at_least(hint, length), now);
                }
                let place = if is_minute { &mut account.minute_rest } else { &mut account.day_rest };
                *place = (*place).max(Some(at_least(hint, length)));
            }
            Rest::Unidentified(hint) => {
                let last = key.suspected[class as usize];
                key.suspected_at[class as usize] = Some(now);
                key.suspected[class as usize] = Some(match hint {
                    None => doubled(last, 10 * SECOND, 300 * SECOND, false, now),
                    Some(hint) => Rested {
                        until: at_least(last.map_or(hint, |last| last.until.max(hint)), SECOND),
                        doubled: last.map_or(0, |last| last.doubled),
                        alone: false,
                        probe: None,
                    },
                });
            }
        }
        self.release(id);
        matches!(rest, Rest::Unidentified(_)) && self.is_outage(class, now)
    }

    fn is_outage(&mut self, class: Class, now: Time) -> bool {
        let c = class as usize;
        let just_now = |key: &ModelKey| {
            key.suspected[c].is_some_and(|rest| now < rest.until)
                && key.suspected_at[c].is_some_and(|at| now.0 - at.0 <= 10 * SECOND)
        };
        let is_outage =
            self.may_serve(class, now).is_empty() && self.keys.iter().filter(|key| just_now(key)).count() > 1;
        if is_outage {
            self.keys.iter_mut().filter(|key| just_now(key)).for_each(|key| key.suspected[c] = None);
        }
        is_outage
    }

    pub(super) fn reset(&mut self) {
        for key in &mut self.keys {
            (key.refused, key.cap, key.suspected) = (None, None, [None; 3]);
        }
        for account in &mut self.accounts {
            (account.no_credits, account.no_credits_free, account.in_flight) = (None, None, None);
            (account.minute_rest, account.day_rest, account.first) = (None, None, None);
        }
    }
}
