//! Quota windows and cooldowns: what holds a key or an account, and when that ends.

use std::collections::VecDeque;
use std::time::Duration;

use super::need::Why;
use crate::clock::Time;

/// The shortest rest: a hint that just passed may be a matter of two clocks.
pub(super) const SHORTEST: Duration = Duration::from_secs(1);

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 1_440 * MINUTE_MS;

/// The most that a clock's minutes are believed to begin beside ours, milliseconds.
const MOST_BESIDE: i64 = 15_000;

/// Free requests a UTC day of an account that never bought credits (`OpenRouter` docs, Limits page).
pub(super) const FREE_TIER_A_DAY: u64 = 50;

/// Names one lease, so that only the attempt that went to find out something ends the finding out.
pub(super) type Ticket = u64;

/// When a hold ends, the earliest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ends {
    /// When an attempt that is under way tells.
    Soon,
    /// By itself.
    At(Time),
    /// When a person does something.
    Never,
}

impl Ends {
    /// The moment, where one is known; what ends soon is to be asked for again after a second.
    pub(super) fn moment(self, now: Time) -> Option<Time> {
        match self {
            Self::Soon => Some(now.after(SHORTEST)),
            Self::At(at) => Some(at),
            Self::Never => None,
        }
    }
}

/// What keeps a key from serving a class of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) ends: Ends,
    pub(super) why: Why,
}

impl Hold {
    pub(super) fn new(why: Why, ends: Ends) -> Self {
        Self { ends, why }
    }

    /// Of several that hold at once, the one that ends last.
    pub(super) fn longest(holds: impl IntoIterator<Item = Option<Self>>) -> Option<Self> {
        holds.into_iter().flatten().max_by_key(|hold| hold.ends)
    }
}

/// A rest until a moment. One that goes `alone` does not end then: one attempt at a time finds out whether it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cooldown {
    pub(super) since: Time,
    pub(super) until: Time,
    /// How often it was doubled.
    pub(super) step: u8,
    pub(super) alone: bool,
    /// The attempt that is finding out.
    pub(super) probe: Option<Ticket>,
}

impl Cooldown {
    /// A rest that ends by itself.
    pub(super) fn until(until: Time, now: Time) -> Self {
        let until = until.max(now.after(SHORTEST));
        Self { since: now, until, step: 0, alone: false, probe: None }
    }

    /// A rest that is `first` long after nothing, and after `last` had ended twice as long as that, up to `most`. Faults
    /// that came of attempts side by side are one: while `last` lasts, it stays.
    pub(super) fn doubled(last: Option<Self>, first: Duration, most: Duration, now: Time) -> Self {
        match last {
            Some(last) if now < last.until => last,
            _ => {
                let step = last.map_or(0, |last| last.step.saturating_add(1));
                let length = first.saturating_mul(1 << step.min(16)).min(most);
                Self { step, ..Self::until(now.after(length), now) }
            }
        }
    }

    /// The same, but not over before an attempt found out.
    pub(super) fn alone(self) -> Self {
        Self { alone: true, ..self }
    }

    pub(super) fn hold(&self, why: Why, now: Time) -> Option<Hold> {
        if now < self.until {
            Some(Hold::new(why, Ends::At(self.until)))
        } else {
            self.probe.map(|_| Hold::new(Why::Probing, Ends::Soon))
        }
    }

    /// Sends the attempt `ticket` to find out, where it is time to.
    pub(super) fn probe(&mut self, ticket: Ticket, now: Time) -> bool {
        let due = self.alone && now >= self.until;
        if due {
            self.probe = Some(ticket);
        }
        due
    }
}

/// Ends what the attempt `ticket` went to find out.
pub(super) fn proven(cooldown: &mut Option<Cooldown>, ticket: Ticket) -> bool {
    let ours = is_probed_by(cooldown.as_ref(), ticket);
    if ours {
        *cooldown = None;
    }
    ours
}

/// Notes that the attempt `ticket` found nothing out.
pub(super) fn released(cooldown: &mut Option<Cooldown>, ticket: Ticket) -> bool {
    let ours = is_probed_by(cooldown.as_ref(), ticket);
    if let Some(cooldown) = cooldown.as_mut().filter(|_| ours) {
        cooldown.probe = None;
    }
    ours
}

fn is_probed_by(cooldown: Option<&Cooldown>, ticket: Ticket) -> bool {
    cooldown.is_some_and(|cooldown| cooldown.probe == Some(ticket))
}

/// A counted limit with a reset, at whole minutes or UTC days.
#[derive(Clone, Debug)]
pub(super) struct Window {
    every: i64,
    /// How much later than at our whole minutes it turns, milliseconds: the turn is of upstream's clock.
    later: i64,
    /// When what was counted last ends.
    ends: Time,
    used: u64,
    /// What was told of its size.
    pub(super) told: Option<u64>,
    /// Its size while nothing was told.
    pub(super) assumed: Option<u64>,
    /// Until when it is used up, whatever was counted. It stays until an attempt went to find out.
    pub(super) rest: Option<Time>,
}

impl Window {
    fn new(every: i64, assumed: Option<u64>) -> Self {
        Self { every, later: 0, ends: Time(i64::MIN), used: 0, told: None, assumed, rest: None }
    }

    /// An account's free requests in a minute (20 for everybody: `OpenRouter` docs, Limits page).
    pub(super) fn minute() -> Self {
        Self::new(MINUTE_MS, Some(20))
    }

    /// An account's free requests in a UTC day.
    pub(super) fn day() -> Self {
        Self::new(DAY_MS, None)
    }

    pub(super) fn limit(&self) -> Option<u64> {
        self.told.or(self.assumed)
    }

    /// Whether what was counted is of the window that `now` lies in.
    pub(super) fn covers(&self, now: Time) -> bool {
        now < self.ends && now.0 >= self.ends.0.saturating_sub(self.every)
    }

    /// How many were counted in the window that `now` lies in.
    pub(super) fn used(&self, now: Time) -> u64 {
        if self.covers(now) { self.used } else { 0 }
    }

    /// When the window that `now` lies in ends.
    pub(super) fn end(&self, now: Time) -> Time {
        Time(now.0.saturating_add(self.every - now.0.saturating_sub(self.later).rem_euclid(self.every)))
    }

    /// Takes over that it turns at `end`, so that the next turns are those of the same clock. Of a day nothing is taken
    /// over: its turn is ours in all that is remembered.
    pub(super) fn turns_at(&mut self, end: Time, now: Time) {
        let beside = end.0.rem_euclid(MINUTE_MS);
        let later = if beside > MINUTE_MS / 2 { beside - MINUTE_MS } else { beside };
        if self.every == MINUTE_MS && later.abs() <= MOST_BESIDE {
            self.later = later;
            if self.covers(now) {
                self.ends = self.end(now);
            }
        }
    }

    /// Until when it is used up.
    pub(super) fn held(&self, now: Time) -> Option<Time> {
        let counted = self.limit().is_some_and(|limit| self.used(now) >= limit).then(|| self.end(now));
        self.rest.filter(|rest| now < *rest).max(counted)
    }

    /// How many are left in it; none where its size is not known.
    pub(super) fn left(&self, now: Time) -> Option<u64> {
        if self.held(now).is_some() {
            return Some(0);
        }
        self.limit().map(|limit| limit.saturating_sub(self.used(now)))
    }

    /// Whether it was used up and turned, and no attempt has shown yet that it turned upstream too.
    pub(super) fn is_unproven(&self, now: Time) -> bool {
        let was_full = self.used > 0 && self.limit().is_some_and(|limit| self.used >= limit);
        self.rest.is_some_and(|rest| rest <= now) || (was_full && now >= self.ends)
    }

    /// Counts `amount` more.
    pub(super) fn count(&mut self, amount: u64, now: Time) {
        self.set(self.used(now).saturating_add(amount), now);
    }

    /// Takes one back that was counted in the window that `now` lies in.
    pub(super) fn uncount(&mut self, now: Time) {
        if self.covers(now) {
            self.used = self.used.saturating_sub(1);
        }
    }

    /// Takes over how many there were. A rest that passed is forgotten.
    pub(super) fn set(&mut self, used: u64, now: Time) {
        self.rest = self.rest.filter(|rest| now < *rest);
        (self.used, self.ends) = (used, self.end(now));
    }

    /// Takes over how many there were, which tells nothing of whether it turned.
    pub(super) fn correct(&mut self, used: u64, now: Time) {
        let rest = self.rest;
        self.set(used, now);
        self.rest = rest;
    }

    /// Takes over what another one, of the same account as it turned out, knows.
    pub(super) fn merge(&mut self, other: &Self, now: Time) {
        let rest = self.rest.max(other.rest);
        self.later = if self.later == 0 { other.later } else { self.later };
        // What ended unproven stays so; there is nothing to add.
        if other.used(now) > 0 {
            self.count(other.used(now), now);
        }
        self.rest = rest;
        self.told = self.told.or(other.told);
        self.assumed = self.assumed.or(other.assumed);
    }

    /// How many more there may be from `from` until `until`, when `used` of the window that `from` lies in are.
    pub(super) fn room(&self, used: u64, from: Time, until: Time) -> u64 {
        let Some(limit) = self.limit() else { return u64::MAX };
        let number = |at: i64| at.saturating_sub(self.later).div_euclid(self.every);
        let turns = number(until.0.saturating_sub(1)) - number(from.0);
        let turns = u64::try_from(turns).unwrap_or(0);
        limit.saturating_sub(used).saturating_add(limit.saturating_mul(turns))
    }
}

/// What was counted in the last minutes and when: exact to a second, bounded, and where it is not exact, rather later.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent(VecDeque<Span>);

#[derive(Clone, Copy, Debug)]
struct Span {
    first: Time,
    last: Time,
    amount: i64,
}

impl Recent {
    const KEPT: Duration = Duration::from_secs(240);
    const SPANS: usize = 16;

    pub(super) fn add(&mut self, amount: i64, now: Time) {
        while self.0.front().is_some_and(|span| now.since(span.last) > Self::KEPT) {
            self.0.pop_front();
        }
        let is_full = self.0.len() == Self::SPANS;
        match self.0.back_mut() {
            Some(span) if is_full || now.since(span.first) < Duration::from_secs(1) => {
                span.last = span.last.max(now);
                span.amount = span.amount.saturating_add(amount);
            }
            _ => self.0.push_back(Span { first: now, last: now, amount }),
        }
    }

    /// How much came since `from`.
    pub(super) fn since(&self, from: Time) -> i64 {
        self.0.iter().filter(|span| span.last >= from).map(|span| span.amount).sum()
    }

    /// Whether anything came from `from` on and before `to`.
    pub(super) fn any(&self, from: Time, to: Time) -> bool {
        self.0.iter().any(|span| span.first < to && span.last >= from)
    }

    /// Takes over what another one counted.
    pub(super) fn merge(&mut self, other: &Self) {
        let mut spans: Vec<Span> = self.0.drain(..).chain(other.0.iter().copied()).collect();
        spans.sort_by_key(|span| span.last);
        for span in spans {
            if self.0.len() < Self::SPANS {
                self.0.push_back(span);
            } else if let Some(back) = self.0.back_mut() {
                back.first = back.first.min(span.first);
                back.last = back.last.max(span.last);
                back.amount = back.amount.saturating_add(span.amount);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Cooldown, Recent, Window};
    use crate::clock::Time;

    const HOUR: Time = Time(1_700_002_800_000);

    fn at(seconds: i64) -> Time {
        Time(HOUR.0 + seconds * 1_000)
    }

    #[test]
    fn a_window_is_a_whole_minute_of_the_clock() {
        let mut minute = Window::minute();
        minute.count(20, at(59));
        assert_eq!(minute.held(at(59)), Some(at(60)));
        assert!(!minute.is_unproven(at(59)));
        assert_eq!((minute.held(at(60)), minute.left(at(60))), (None, Some(20)));
        assert!(minute.is_unproven(at(60)));
        minute.count(1, at(61));
        assert!(!minute.is_unproven(at(61)));
        assert_eq!(minute.left(at(119)), Some(19));
        // A window that was not used up turns without more ado.
        assert!(!minute.is_unproven(at(120)));
    }

    #[test]
    fn what_is_told_outweighs_what_was_counted() {
        let mut day = Window::day();
        day.count(3, HOUR);
        assert_eq!((day.held(HOUR), day.left(HOUR)), (None, None));
        day.assumed = Some(50);
        assert_eq!(day.left(HOUR), Some(47));
        day.told = Some(3);
        assert_eq!((day.held(HOUR), day.left(HOUR)), (Some(day.end(HOUR)), Some(0)));
        day.told = Some(1_000);
        day.rest = Some(at(9));
        assert_eq!(day.held(HOUR), Some(at(9)));
        assert!(day.held(at(9)).is_none() && day.is_unproven(at(9)));
    }

    #[test]
    fn the_room_of_a_stretch_is_that_of_its_windows() {
        let minute = Window::minute();
        for (used, from, until, room) in [
            (0, 0, 1, 20),
            (15, 0, 60, 5),
            (15, 0, 61, 25),
            (20, 30, 60, 0),
            (20, 30, 121, 40),
            (0, 59, 61, 40),
        ] {
            assert_eq!(minute.room(used, at(from), at(until)), room, "{used} {from} {until}");
        }
        assert_eq!(Window::day().room(9, at(0), at(1)), u64::MAX);
    }

    #[test]
    fn a_minute_turns_by_the_clock_that_told_of_its_end() {
        let mut minute = Window::minute();
        minute.count(20, at(59));
        minute.count(1, at(60));
        // Upstream is seven seconds behind: what was counted last is of the window that is not over.
        minute.turns_at(at(67), at(60));
        assert_eq!((minute.used(at(66)), minute.used(at(67))), (1, 0));
        minute.count(20, at(68));
        assert_eq!((minute.held(at(126)), minute.held(at(127))), (Some(at(127)), None));
        assert_eq!(minute.room(20, at(68), at(127)), 0);
        assert_eq!(minute.room(20, at(68), at(128)), 20);
        minute.turns_at(at(173), at(127));
        assert_eq!(minute.end(at(127)), at(173), "it may be ahead too");
        minute.turns_at(at(200), at(174));
        assert_eq!(minute.end(at(174)), at(233), "what is no minute at all tells nothing");
        minute.turns_at(at(240), at(234));
        assert_eq!(minute.end(at(234)), at(240), "nor is it for ever");
    }

    #[test]
    fn faults_side_by_side_double_nothing() {
        let (first, most) = (Duration::from_secs(10), Duration::from_secs(300));
        let mut rest = Cooldown::doubled(None, first, most, at(0));
        assert_eq!(Cooldown::doubled(Some(rest), first, most, at(5)), rest);
        let mut lengths = Vec::new();
        for _ in 0..7 {
            lengths.push(rest.until.since(rest.since).as_secs());
            rest = Cooldown::doubled(Some(rest), first, most, rest.until);
        }
        assert_eq!(lengths, [10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn what_came_since_a_moment_is_never_too_little() {
        let mut recent = Recent::default();
        for second in 0..40 {
            recent.add(1, at(second));
        }
        assert!(recent.0.len() <= Recent::SPANS);
        assert!(recent.since(at(30)) >= 10 && recent.since(at(0)) == 40);
        assert!(recent.any(at(0), at(1)) && !recent.any(at(40), at(50)));
        recent.add(1, at(1_000));
        assert_eq!(recent.since(at(0)), 1, "what is old is forgotten");
    }
}
