//! One key of the pool: its use, what of it rests, and what is known of it.

use std::sync::Arc;
use std::time::Duration;

use super::super::Key;
use super::super::need::{Class, Used, Why};
use super::super::quota::{Cooldown, Ends, Hold, Ticket, proven, released};
use super::line::Rank;
use crate::clock::Time;

/// After how long a refused key is tried again, doubling.
const REFUSED: (Duration, Duration) = (Duration::from_secs(15 * 60), Duration::from_secs(24 * 3_600));

/// After how long a key is tried again whose cap is spent and resets nobody knows when.
const CAP: Duration = Duration::from_secs(3_600);

/// How long an unidentified rate limit rests a key without a hint, doubling.
const UNIDENTIFIED: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));

/// One key and its use. A slot outlives its row in the file, so that a key that comes back the same day
/// still counts what it was used for.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they are marks, each of its own")]
pub(super) struct Slot {
    pub(super) key: Arc<Key>,
    /// Whether it is in the file.
    pub(super) is_listed: bool,
    pub(super) account: usize,
    pub(super) in_flight: u32,
    /// Attempts today.
    pub(super) used: u64,
    /// Attempts today on free models.
    pub(super) free: u64,
    /// The same with the secrets that stood in its row before: the ledger counts them by the same name.
    pub(super) free_before: u64,
    /// Spent today, nano-dollars.
    pub(super) cost: i64,
    /// Spent since the pool began, nano-dollars.
    pub(super) spent: i64,
    /// As the operator says, in thousandths.
    weight: u32,
    /// Until the UTC day ends, nothing of it or its account rests, or rested without having been answered since, or is
    /// bounded: all there is to do for an attempt is to count it, and a good request looks at nothing else.
    pub(super) is_quiet: bool,
    /// Whether a limit on what it spends is known.
    pub(super) is_capped: bool,
    // Apart, so that many slots are in the processor's caches.
    pub(super) known: Box<Known>,
    /// Whether its facts are among those to be remembered anew.
    pub(super) changed: bool,
}

/// What was learned of a key; another secret makes it another key, of which nothing is known.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Its account, as `GET /key` told.
    pub(super) told: Option<Box<str>>,
    /// Its account, as an error told.
    pub(super) said: Option<Box<str>>,
    pub(super) expires: Option<Time>,
    pub(super) management: bool,
    pub(super) refused: Option<Cooldown>,
    pub(super) cap: Option<Cooldown>,
    /// By class.
    pub(super) unidentified: [Option<Cooldown>; 3],
    /// What was left of its cap, less what was spent since, nano-dollars.
    pub(super) cap_left: Option<i64>,
    pub(super) cap_resets: Option<Time>,
}

impl Slot {
    pub(super) fn new(key: Arc<Key>, account: usize, used: Used) -> Self {
        Self {
            weight: key.terms().weight.max(1),
            key,
            is_listed: true,
            account,
            in_flight: 0,
            used: used.attempts,
            free: used.free_today,
            free_before: 0,
            cost: used.cost,
            spent: 0,
            is_quiet: false,
            is_capped: true,
            known: Box::default(),
            changed: false,
        }
    }

    /// Takes over its row in a changed file.
    pub(super) fn set_key(&mut self, key: Arc<Key>) {
        self.weight = key.terms().weight.max(1);
        self.key = key;
    }

    pub(super) fn rank(&self) -> Rank {
        let used = self.used.saturating_mul(1_000_000) / u64::from(self.weight);
        Rank { used, in_flight: self.in_flight }
    }

    /// Whether nothing of it asks for a look at each attempt until `tomorrow`.
    pub(super) fn has_nothing_to_watch(&self, tomorrow: Time) -> bool {
        let known = &self.known;
        known.refused.is_none()
            && known.cap.is_none()
            && known.unidentified.iter().all(Option::is_none)
            && known.expires.is_none_or(|expires| tomorrow <= expires)
            && self.key.terms().daily_requests.is_none()
    }

    /// Whether what it spends asks for a look.
    pub(super) fn has_cap(&self) -> bool {
        self.known.cap_left.is_some() || self.key.terms().daily_cost.is_some()
    }

    /// All that holds it for a class of requests, whatever holds its account; `tomorrow` is when the UTC day ends.
    pub(super) fn holds(&self, class: Class, now: Time, tomorrow: Time) -> [Option<Hold>; 8] {
        let (terms, known) = (self.key.terms(), &self.known);
        let never = |is: bool, why| is.then_some(Hold::new(why, Ends::Never));
        let today = |is: bool, why| is.then_some(Hold::new(why, Ends::At(tomorrow)));
        let rest = |cooldown: &Option<Cooldown>, why| cooldown.as_ref()?.hold(why, now);
        let [refused, cap] = self.cooldowns(now);
        [
            never(!terms.enabled, Why::Disabled),
            never(known.management, Why::Management),
            never(known.expires.is_some_and(|expires| expires <= now), Why::Expired),
            refused,
            cap,
            rest(&known.unidentified[class as usize], Why::Unidentified),
            today(terms.daily_requests.is_some_and(|most| self.used >= most), Why::DailyRequests),
            today(terms.daily_cost.is_some_and(|most| self.cost >= most), Why::DailyCost),
        ]
    }

    /// What of it rests that somebody may end, for all classes.
    pub(super) fn cooldowns(&self, now: Time) -> [Option<Hold>; 2] {
        let rest = |cooldown: &Option<Cooldown>, why| cooldown.as_ref()?.hold(why, now);
        let cap = self.known.cap.is_some_and(|cap| cap.alone);
        [
            rest(&self.known.refused, Why::Refused),
            rest(&self.known.cap, if cap { Why::CapForGood } else { Why::Cap }),
        ]
    }

    pub(super) fn hold(&self, class: Class, now: Time, tomorrow: Time) -> Option<Hold> {
        Hold::longest(self.holds(class, now, tomorrow))
    }

    /// Sends an attempt to find out what there is to; true when its answer tells something about what rested.
    pub(super) fn take(&mut self, class: Class, ticket: Ticket, now: Time) -> bool {
        let probes = |cooldown: &mut Option<Cooldown>| {
            cooldown.as_mut().is_some_and(|cooldown| cooldown.probe(ticket, now))
        };
        probes(&mut self.known.refused)
            | probes(&mut self.known.cap)
            | self.known.unidentified[class as usize].is_some()
    }

    pub(super) fn count(&mut self, class: Class) {
        self.used += 1;
        self.free += u64::from(class == Class::Free);
    }

    pub(super) fn uncount(&mut self, class: Class) {
        self.used = self.used.saturating_sub(1);
        self.free = self.free.saturating_sub(u64::from(class == Class::Free));
    }

    /// The attempt `ticket` was answered: what it went to find out is well. True when that ends something.
    pub(super) fn proven(&mut self, class: Class, ticket: Ticket, now: Time) -> bool {
        let has_room = proven(&mut self.known.cap, ticket);
        if has_room {
            // How much, nobody knows.
            self.known.cap_left = None;
        }
        let unidentified = &mut self.known.unidentified[class as usize];
        let suspected = unidentified.is_some_and(|rest| rest.until <= now);
        if suspected {
            *unidentified = None;
        }
        proven(&mut self.known.refused, ticket) | has_room | suspected
    }

    /// The attempt `ticket` ended without finding out. True when others waited for it.
    pub(super) fn released(&mut self, ticket: Ticket) -> bool {
        released(&mut self.known.refused, ticket) | released(&mut self.known.cap, ticket)
    }

    pub(super) fn refuse(&mut self, now: Time) {
        let (first, most) = REFUSED;
        self.known.refused = Some(Cooldown::doubled(self.known.refused, first, most, now).alone());
    }

    /// Rests it because its cap is spent, until `until`, or else until its cap resets where that is known.
    pub(super) fn cap_spent(&mut self, until: Option<Time>, now: Time) {
        let known = self.known.cap_resets.filter(|resets| now < *resets);
        self.known.cap_left = self.known.cap_left.map(|left| left.min(0));
        self.known.cap = Some(match until.or(known) {
            Some(until) => Cooldown::until(until, now),
            None => Cooldown::doubled(self.known.cap.filter(|cap| cap.alone), CAP, CAP, now).alone(),
        });
    }

    /// Takes over what is left of its cap, as was `asked` a moment ago.
    pub(super) fn cap_is(&mut self, left: Option<i64>, resets: Option<Time>, asked: Time, now: Time) {
        (self.known.cap_left, self.known.cap_resets) = (left, resets);
        if left.is_some() {
            self.known.cap = self.known.cap.filter(|cap| asked < cap.since);
        }
        if left.is_some_and(|left| left <= 0) {
            // As of now, so that no attempt has to find out what was just told.
            self.cap_spent(None, now);
        }
    }

    /// What is left of its cap; none where it has none or none is known.
    pub(super) fn cap_left(&self, now: Time) -> Option<i64> {
        // What is left after a reset nobody told.
        self.known.cap_left.filter(|_| self.known.cap_resets.is_none_or(|resets| now < resets))
    }

    /// Takes what was spent off what is left of its cap.
    pub(super) fn draw(&mut self, cost: i64, now: Time) {
        if let Some(left) = self.cap_left(now) {
            self.known.cap_left = Some(left.saturating_sub(cost));
            if left <= cost && self.known.cap.is_none_or(|cap| cap.until <= now) {
                self.cap_spent(None, now);
            }
        }
    }

    /// Rests it for a class after a rate limit that nothing identifies.
    pub(super) fn suspect(&mut self, class: Class, hint: Option<Time>, now: Time) {
        let last = self.known.unidentified[class as usize];
        let (first, most) = UNIDENTIFIED;
        self.known.unidentified[class as usize] = Some(match hint {
            Some(hint) => {
                let lasting = last.map_or(hint, |last| last.until.max(hint));
                Cooldown { step: last.map_or(0, |last| last.step), ..Cooldown::until(lasting, now) }
            }
            None => Cooldown { since: now, ..Cooldown::doubled(last, first, most, now) },
        });
    }

    /// Whether anything of it rests, the operator's limits aside.
    pub(super) fn rests(&self, now: Time) -> bool {
        let known = &self.known;
        [known.refused, known.cap].into_iter().flatten().any(|rest| rest.alone || now < rest.until)
            || known.unidentified.into_iter().flatten().any(|rest| now < rest.until)
            || known.management
            || known.expires.is_some_and(|expires| expires <= now)
    }

    /// Ends what rests, the operator's limits aside.
    pub(super) fn reset(&mut self, now: Time) {
        let known = &mut self.known;
        (known.refused, known.cap, known.unidentified) = (None, None, [None; 3]);
        known.management = false;
        known.expires = known.expires.filter(|expires| now < *expires);
        known.cap_left = known.cap_left.filter(|left| *left > 0);
    }
}
