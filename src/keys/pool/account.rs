//! One account: its quota windows, what of it rests, and the keys it owns.

use std::time::Duration;

use super::super::need::{Class, Why};
use super::super::quota::{Cooldown, Ends, Hold, Recent, SHORTEST, Ticket, Window, proven, released};
use crate::clock::Time;

/// When an account without credits is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(3_600);

/// How long requests in flight hold an account's credits when nothing is hinted.
const IN_FLIGHT: Duration = Duration::from_secs(2);

/// How often at most the rest is doubled that follows a turn which was none.
const MOST_STRIKES: u8 = 5;

/// So long the first free attempt of new windows goes alone: `OpenRouter` refuses at once what is beyond a limit, while
/// an answer may take its time.
pub(super) const ALONE: Duration = Duration::from_secs(3);

/// What names an account.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum AccountId {
    /// The operator did, in the column `account`.
    Column(Box<str>),
    /// `OpenRouter` did.
    Learned(Box<str>),
}

/// An account; one that nothing names owns one key.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) id: Option<AccountId>,
    /// Slots, those that are not in the file too.
    pub(super) keys: Vec<usize>,
    pub(super) minute: Window,
    pub(super) day: Window,
    /// The first free attempt of new windows, which goes alone for a moment, and when it left.
    pub(super) first: Option<(Ticket, Time)>,
    /// How often in a row that attempt met the old window, whose end had been told too early.
    strikes: u8,
    /// Free attempts.
    pub(super) recent: Recent,
    /// When `GET /key` was last asked that told how many free requests it made: that told of those of all its keys.
    pub(super) reported: Option<Time>,
    pub(super) no_credits: Option<Cooldown>,
    /// The same, found by a free attempt.
    pub(super) no_credits_free: Option<Cooldown>,
    pub(super) in_flight: Option<Cooldown>,
    /// Of how many keys the log told that they are one account.
    pub(super) warned: usize,
    /// Whether its facts are among those to be remembered anew.
    pub(super) changed: bool,
    /// The forecast that looked at it last, and how many requests that had left for it.
    pub(super) forecast: (u64, u64),
}

impl Account {
    pub(super) fn new(id: Option<AccountId>) -> Self {
        Self {
            id,
            keys: Vec::new(),
            minute: Window::minute(),
            day: Window::day(),
            first: None,
            strikes: 0,
            recent: Recent::default(),
            reported: None,
            no_credits: None,
            no_credits_free: None,
            in_flight: None,
            warned: 0,
            changed: false,
            forecast: (0, 0),
        }
    }

    /// All that holds its keys for a class of requests.
    pub(super) fn holds(&self, class: Class, now: Time) -> [Option<Hold>; 4] {
        let rest = |cooldown: &Option<Cooldown>, why| cooldown.as_ref()?.hold(why, now);
        let window = |window: &Window, why| window.held(now).map(|end| Hold::new(why, Ends::At(end)));
        match class {
            Class::Free => [
                rest(&self.no_credits_free, Why::NoCredits),
                window(&self.minute, Why::FreeMinute),
                window(&self.day, Why::FreeDay),
                self.goes_alone(now).then_some(Hold::new(Why::Probing, Ends::Soon)),
            ],
            Class::Paid => {
                [rest(&self.no_credits, Why::NoCredits), rest(&self.in_flight, Why::InFlight), None, None]
            }
            Class::Other => [None; 4],
        }
    }

    /// Whether it is out of credits, for any class.
    pub(super) fn credits(&self, now: Time) -> Option<Hold> {
        self.no_credits?.hold(Why::NoCredits, now)
    }

    pub(super) fn hold(&self, class: Class, now: Time) -> Option<Hold> {
        Hold::longest(self.holds(class, now))
    }

    /// Whether the first free attempt of new windows is under way, and may still find the old ones.
    fn goes_alone(&self, now: Time) -> bool {
        self.first.is_some_and(|(_, left)| now < left.after(ALONE))
    }

    fn is_first(&self, ticket: Ticket) -> bool {
        self.first.is_some_and(|(first, _)| first == ticket)
    }

    /// Counts an attempt; true when it is one that finds something out.
    pub(super) fn take(&mut self, class: Class, ticket: Ticket, now: Time) -> bool {
        let probes = |cooldown: &mut Option<Cooldown>| {
            cooldown.as_mut().is_some_and(|cooldown| cooldown.probe(ticket, now))
        };
        match class {
            Class::Free => {
                let asks = probes(&mut self.no_credits_free);
                let is_first = self.minute.is_unproven(now) || self.day.is_unproven(now);
                if is_first {
                    self.first = Some((ticket, now));
                }
                self.count_free(now);
                asks || is_first
            }
            Class::Paid => probes(&mut self.no_credits),
            Class::Other => false,
        }
    }

    /// Whether nothing of it asks for a look at each attempt that is no free one.
    pub(super) fn has_nothing_to_watch(&self) -> bool {
        self.no_credits.is_none() && self.no_credits_free.is_none()
    }

    pub(super) fn count_free(&mut self, now: Time) {
        self.minute.count(1, now);
        self.day.count(1, now);
        self.recent.add(1, now);
    }

    pub(super) fn uncount_free(&mut self, now: Time) {
        self.minute.uncount(now);
        self.day.uncount(now);
        self.recent.add(-1, now);
    }

    /// The attempt `ticket` was answered: what it went to find out is well. True when that ends something.
    pub(super) fn proven(&mut self, class: Class, ticket: Ticket) -> bool {
        let mut ended = proven(&mut self.no_credits_free, ticket);
        if proven(&mut self.no_credits, ticket) && class == Class::Paid {
            // Whoever pays has credits.
            self.no_credits_free = None;
            ended = true;
        }
        if self.is_first(ticket) {
            (self.first, self.strikes, ended) = (None, 0, true);
        }
        ended
    }

    /// The attempt `ticket` ended without finding out. True when others waited for it.
    pub(super) fn released(&mut self, ticket: Ticket) -> bool {
        let is_first = self.is_first(ticket);
        if is_first {
            self.first = None;
        }
        released(&mut self.no_credits, ticket) | released(&mut self.no_credits_free, ticket) | is_first
    }

    pub(super) fn out_of_credits(&mut self, class: Class, now: Time) {
        let rest = |last| Some(Cooldown::doubled(last, ASK_AGAIN, ASK_AGAIN, now).alone());
        self.no_credits = rest(self.no_credits);
        if class == Class::Free {
            self.no_credits_free = rest(self.no_credits_free);
        }
    }

    pub(super) fn hold_credits(&mut self, until: Option<Time>, now: Time) {
        let until = until.unwrap_or(now.after(IN_FLIGHT));
        let lasting = self.in_flight.map_or(until, |last| last.until.max(until));
        self.in_flight = Some(Cooldown::until(lasting, now));
    }

    /// The window that `which` gives is used up, as the attempt `ticket` was told.
    pub(super) fn used_up(
        &mut self,
        which: fn(&mut Self) -> &mut Window,
        (until, limit): (Option<Time>, Option<u32>),
        ticket: Ticket,
        now: Time,
    ) {
        let was_first = self.is_first(ticket);
        let window = which(self);
        // A limit of none would rest it for good.
        window.told = limit.filter(|limit| *limit > 0).map(u64::from).or(window.told);
        let hint = until.unwrap_or_else(|| window.end(now));
        let mut shortest = SHORTEST;
        let is_over = hint <= now.after(SHORTEST);
        if was_first && is_over {
            // Its clock is behind ours: the end it tells is over, and its window is not.
            shortest *= 1 << self.strikes;
            self.strikes = (self.strikes + 1).min(MOST_STRIKES);
        }
        let window = which(self);
        let rest = hint.max(now.after(shortest));
        if until.is_some() && (was_first || !is_over) {
            window.turns_at(rest, now);
        }
        window.rest = window.rest.max(Some(rest));
    }

    /// Ends its cooldowns and what is being found out.
    pub(super) fn reset(&mut self) {
        (self.no_credits, self.no_credits_free, self.in_flight) = (None, None, None);
        (self.minute.rest, self.day.rest) = (None, None);
        self.first = None;
    }

    /// Whether anything of it rests, other than by what was counted.
    pub(super) fn rests(&self, now: Time) -> bool {
        [self.minute.rest, self.day.rest].into_iter().flatten().any(|rest| now < rest)
            || [self.no_credits, self.no_credits_free, self.in_flight]
                .into_iter()
                .flatten()
                .any(|rest| rest.alone || now < rest.until)
            || self.goes_alone(now)
    }

    /// How many free requests it has before `until`, when the first of its keys may be lent `from` a moment on.
    pub(super) fn room(&self, from: Time, until: Time, now: Time) -> u64 {
        let back = match self.hold(Class::Free, now).map(|hold| hold.ends.moment(now)) {
            None => now,
            Some(Some(back)) => back,
            Some(None) => return 0,
        };
        let from = from.max(back);
        if from >= until {
            return 0;
        }
        let room = |window: &Window| {
            let is_same = window.covers(now) && window.covers(from);
            window.room(if is_same { window.used(now) } else { 0 }, from, until)
        };
        room(&self.minute).min(room(&self.day))
    }

    /// How many free requests it made today together with another one that turned out to be the same, when their keys sent
    /// `sent` from here: a report about either counts what the other had sent before.
    fn used_with(&self, other: &Self, sent: u64, now: Time) -> u64 {
        let reported = |one: &Self, other: &Self| {
            let asked = one.reported.filter(|asked| asked.day() == now.day())?;
            let since = u64::try_from(other.recent.since(asked)).unwrap_or(0);
            Some(one.day.used(now).saturating_add(since))
        };
        match reported(self, other).max(reported(other, self)) {
            Some(used) => used.max(sent),
            None => self.day.used(now).saturating_add(other.day.used(now)),
        }
    }

    /// Takes over what another one knows that turned out to be the same; the keys of both sent `sent` free requests today.
    pub(super) fn merge(&mut self, other: &Self, sent: u64, now: Time) {
        let used = self.used_with(other, sent, now);
        let later = |a: Option<Cooldown>, b: Option<Cooldown>| a.into_iter().chain(b).max_by_key(|c| c.until);
        self.minute.merge(&other.minute, now);
        self.day.merge(&other.day, now);
        if used != self.day.used(now) {
            self.day.correct(used, now);
        }
        self.reported = self.reported.max(other.reported);
        self.recent.merge(&other.recent);
        self.no_credits = later(self.no_credits, other.no_credits);
        self.no_credits_free = later(self.no_credits_free, other.no_credits_free);
        self.in_flight = later(self.in_flight, other.in_flight);
        self.first = self.first.or(other.first);
        self.strikes = self.strikes.max(other.strikes);
    }

    /// Waits for no attempt any more, whose key is another account's now.
    pub(super) fn forget_probes(&mut self) {
        self.first = None;
        for cooldown in [&mut self.no_credits, &mut self.no_credits_free].into_iter().flatten() {
            cooldown.probe = None;
        }
    }
}
