//! What is known of one model that is watched: pure given the time.

use std::time::Duration;

use crate::clock::Time;

/// The breaker opens when failures in a row weigh as much as this.
const OPENS_AT: u32 = 5;
/// The same once failures without a guard are many.
const OPENS_SOON_AT: u32 = 2;
/// So many of them are.
const MANY: u32 = 6;
/// What a failure weighs that says itself when to ask again.
const HINTED: u32 = 3;
/// Attempts at a time on a model that has not proved itself.
const UNPROVEN: u32 = 8;
/// The same while its latest result is a failure.
const FAILING: u32 = 2;
/// A model proves itself with so many good answers.
const PROVEN_AT: u32 = 16;
/// The first probe leaves so long after the breaker opened. Nor is anybody held longer for what is merely not known.
const FIRST: Duration = Duration::from_secs(2);
/// The longest time between two probes, where upstream does not say.
const LONGEST: Duration = Duration::from_secs(15);
/// A probe out for longer does not hold up the next.
const PROBE_LASTS: Duration = Duration::from_secs(15);
/// While a probe is out, those who wait are told to look again after this.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// A moment that lies further ahead than this was noted before the clock was turned back.
const SLACK: Duration = Duration::from_secs(1);
/// The bounds of what upstream says.
const HINT_MIN: Duration = Duration::from_secs(1);
const HINT_MAX: Duration = Duration::from_secs(15 * 60);
/// A model that is up and was not asked for so long is forgotten.
const FORGET_UP: Duration = Duration::from_secs(60);
/// A model that is down and was not asked for so long after its next probe was due is forgotten.
const FORGET_DOWN: Duration = Duration::from_secs(15 * 60);

/// How an attempt ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Report {
    Answered,
    /// When upstream says to ask again, and the time.
    Failed(Option<Time>, Time),
    /// Nothing is known.
    Nothing,
}

/// What a report means for the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is watched on.
    Watch,
    /// There is nothing to watch.
    Forget,
    /// It proved itself, at this time.
    Trust(Time),
    /// It is down.
    Down,
}

/// A model that is watched.
#[derive(Debug)]
pub(super) struct Watched {
    /// Guarded attempts from this number on left since the watch began.
    since: u64,
    /// When it was last asked for.
    seen: Time,
    state: State,
}

#[derive(Debug)]
enum State {
    Up(Up),
    Down(Down),
}

#[derive(Debug, Default)]
struct Up {
    /// It proved itself before the watch began.
    is_trusted: bool,
    /// Good answers to guarded attempts.
    good: u32,
    /// What the failures in a row of guarded attempts weigh.
    failed: u32,
    /// Failures in a row of attempts that left without a guard, before the watch began.
    bare: u32,
    /// Guarded attempts that are out.
    out: u32,
    /// When the first of those that are out left, and the latest.
    first_left: Option<Time>,
    latest_left: Option<Time>,
}

#[derive(Debug)]
struct Down {
    /// When the next probe may leave, as decided at `decided`.
    next: Time,
    decided: Time,
    /// What the next failure of a probe costs, unless upstream says.
    pause: Duration,
    /// The probe that is out, and when it left.
    probe: Option<(u64, Time)>,
}

impl Watched {
    pub(super) fn new(is_trusted: bool, since: u64, now: Time) -> Self {
        Self { since, seen: now, state: State::Up(Up { is_trusted, ..Up::default() }) }
    }

    /// Lets the guarded attempt `number` leave, or says until when it is held.
    pub(super) fn leave(&mut self, number: u64, is_patient: bool, now: Time) -> Result<(), Time> {
        self.seen = now;
        match &mut self.state {
            State::Up(up) => {
                if let Some(until) = up.held_until(now).filter(|_| is_patient) {
                    return Err(until);
                }
                if up.out == 0 {
                    up.first_left = Some(now);
                }
                up.latest_left = Some(now);
                up.out += 1;
            }
            State::Down(down) => {
                if let Some(until) = down.held_until(now) {
                    return Err(until);
                }
                down.probe = Some((number, now));
            }
        }
        Ok(())
    }

    /// Until when it holds everybody.
    pub(super) fn down_until(&self, now: Time) -> Option<Time> {
        match &self.state {
            State::Up(_) => None,
            State::Down(down) => down.held_until(now),
        }
    }

    /// Takes over how an attempt ended: guarded attempt `number`, or one without a guard. The next guarded attempt will
    /// be `next`.
    pub(super) fn settle(&mut self, number: Option<u64>, report: Report, next: u64) -> Verdict {
        if let Report::Failed(_, now) = report {
            self.seen = now;
        }
        let left_since = number.filter(|&number| number >= self.since);
        match &mut self.state {
            State::Up(up) => {
                if left_since.is_some() {
                    up.out = up.out.saturating_sub(1);
                    match report {
                        Report::Answered if up.is_trusted => return Verdict::Forget,
                        Report::Answered => {
                            up.failed = 0;
                            up.good += 1;
                            if up.good >= PROVEN_AT {
                                return Verdict::Trust(self.seen);
                            }
                        }
                        Report::Failed(until, now) => {
                            up.failed += if until.is_some() { HINTED } else { 1 };
                            if up.is_down() {
                                self.state = State::Down(Down::new(until, FIRST, now));
                                return Verdict::Down;
                            }
                        }
                        Report::Nothing => {}
                    }
                } else if number.is_none() {
                    match report {
                        Report::Failed(..) => up.bare += 1,
                        Report::Answered => up.bare = 0,
                        Report::Nothing => {}
                    }
                }
                if up.is_blank() { Verdict::Forget } else { Verdict::Watch }
            }
            State::Down(down) => {
                let is_probe = number.is_some() && down.probe.map(|(number, _)| number) == number;
                match report {
                    Report::Answered if left_since.is_some() => {
                        self.since = next;
                        self.state = State::Up(Up { good: 1, ..Up::default() });
                    }
                    Report::Failed(until, now) if is_probe => {
                        *down = Down::new(until, (down.pause * 2).min(LONGEST), now);
                    }
                    // It left before the breaker opened, and says no more than that it had to.
                    Report::Failed(until, now) => {
                        if let Some(until) = until {
                            down.next = down.next.max(within_bounds(until, now));
                        }
                    }
                    Report::Nothing if is_probe => down.probe = None,
                    // An answer to what left before the trouble tells how the model was then.
                    Report::Answered | Report::Nothing => {}
                }
                Verdict::Watch
            }
        }
    }

    /// Whether nobody asked for it for long.
    pub(super) fn is_forgotten(&self, now: Time) -> bool {
        match &self.state {
            State::Up(_) => now >= self.seen.after(FORGET_UP),
            State::Down(down) => now >= self.seen.max(down.next).after(FORGET_DOWN),
        }
    }
}

impl Up {
    /// Until when an attempt that can wait is held.
    fn held_until(&self, now: Time) -> Option<Time> {
        let (most, left) = match self.failed {
            _ if self.is_trusted && self.bare < MANY => return None,
            0 if !self.is_trusted => (UNPROVEN, self.first_left?),
            _ => (FAILING, self.latest_left?),
        };
        let until = left.after(FIRST);
        (self.out >= most && is_within(left, until, now)).then_some(until)
    }

    fn is_down(&self) -> bool {
        let most = if self.bare < MANY { OPENS_AT } else { OPENS_SOON_AT };
        self.failed >= most && (!self.is_trusted || self.out <= self.failed)
    }

    /// Whether nothing is known against it or for it, and nothing under way.
    fn is_blank(&self) -> bool {
        !self.is_trusted && self.out == 0 && self.good == 0 && self.failed == 0
    }
}

impl Down {
    fn new(until: Option<Time>, pause: Duration, now: Time) -> Self {
        let next = until.map_or(now.after(pause), |until| within_bounds(until, now));
        Self { next, decided: now, pause, probe: None }
    }

    fn held_until(&self, now: Time) -> Option<Time> {
        if let Some((_, left)) = self.probe
            && is_within(left, left.after(PROBE_LASTS), now)
        {
            return Some(now.after(LOOK_AGAIN));
        }
        is_within(self.decided, self.next, now).then_some(self.next)
    }
}

/// Whether `now` lies in what was set at `from` and lasts until `until`; outside, too, when the clock was turned back.
fn is_within(from: Time, until: Time, now: Time) -> bool {
    // Who read the clock first does not always come first.
    now < until && now.after(SLACK) >= from
}

fn within_bounds(until: Time, now: Time) -> Time {
    until.clamp(now.after(HINT_MIN), now.after(HINT_MAX))
}
