//! Timeouts without a timer each: a worker's ticks are counted, and whoever waits notes the tick it waits for.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

/// Ticks in the shortest timeout: a timeout ends late by at most this part of it.
const PARTS: u32 = 40;
const LONGEST_TICK: Duration = Duration::from_secs(1);
const SHORTEST_TICK: Duration = Duration::from_millis(5);

const NEVER: u64 = u64::MAX;

/// The tick that suits the shortest of some timeouts.
pub(super) fn tick_for(shortest: Duration) -> Duration {
    (shortest / PARTS).clamp(SHORTEST_TICK, LONGEST_TICK)
}

/// A duration as whole ticks, rounded up.
pub(super) fn ticks(duration: Duration, tick: Duration) -> u64 {
    let ticks = duration.as_nanos().div_ceil(tick.as_nanos().max(1));
    u64::try_from(ticks).unwrap_or(NEVER / 2).min(NEVER / 2)
}

/// A worker's count of ticks and the timers that follow it. It stands still while nobody calls [`Ticker::advance`].
#[derive(Debug, Default)]
pub(super) struct Ticker {
    now: Cell<u64>,
    timers: RefCell<Vec<Rc<Timer>>>,
}

/// One connection's timer. It lives as long as its connection holds it.
#[derive(Default)]
pub(super) struct Timer {
    due: Cell<Option<u64>>,
    waker: Cell<Option<Waker>>,
}

impl std::fmt::Debug for Timer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Timer").field("due", &self.due).finish_non_exhaustive()
    }
}

impl Ticker {
    /// The tick that is running.
    pub(super) fn now(&self) -> u64 {
        self.now.get()
    }

    /// The tick at whose start at least `ticks` whole ones have passed from now.
    pub(super) fn after(&self, ticks: u64) -> u64 {
        self.now.get().saturating_add(ticks).saturating_add(1)
    }

    /// A new timer, at rest.
    pub(super) fn timer(&self) -> Rc<Timer> {
        let timer = Rc::new(Timer::default());
        self.timers.borrow_mut().push(Rc::clone(&timer));
        timer
    }

    /// Lets `ticks` pass and wakes whoever is due. Says whether any timer is left.
    pub(super) fn advance(&self, ticks: u64) -> bool {
        self.now.set(self.now.get().saturating_add(ticks));
        let now = self.now.get();
        let mut timers = self.timers.borrow_mut();
        timers.retain(|timer| Rc::strong_count(timer) > 1);
        for timer in timers.iter() {
            if timer.due.get().is_some_and(|due| due <= now)
                && let Some(waker) = timer.waker.take()
            {
                waker.wake();
            }
        }
        !timers.is_empty()
    }
}

impl Timer {
    /// There was progress: the next wait starts anew.
    pub(super) fn rest(&self) {
        self.due.set(None);
    }

    /// Forgets whom to wake, so that a connection at rest keeps no task alive.
    pub(super) fn release(&self) {
        self.due.set(None);
        self.waker.take();
    }

    /// Waits up to `ticks` from the first call since [`Timer::rest`]. True when they have passed; else the
    /// task of `cx` will be woken then.
    pub(super) fn has_expired(&self, ticker: &Ticker, ticks: u64, cx: &Context<'_>) -> bool {
        match self.due.get() {
            Some(due) if due <= ticker.now() => return true,
            Some(_) => {}
            None => self.due.set(Some(ticker.after(ticks))),
        }
        let waker = self.waker.take().filter(|waker| waker.will_wake(cx.waker()));
        self.waker.set(Some(waker.unwrap_or_else(|| cx.waker().clone())));
        false
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake, Waker};
    use std::time::Duration;

    use super::{Ticker, tick_for, ticks};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_timer_expires_after_whole_ticks_without_progress() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let cx = Context::from_waker(&waker);
        let ticker = Ticker::default();
        let timer = ticker.timer();
        assert!(!timer.has_expired(&ticker, 2, &cx));
        ticker.advance(2);
        assert!(!timer.has_expired(&ticker, 2, &cx));
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        ticker.advance(1);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(timer.has_expired(&ticker, 2, &cx));
        timer.rest();
        assert!(!timer.has_expired(&ticker, 2, &cx));
    }

    #[test]
    fn a_dropped_timer_is_forgotten() {
        let ticker = Ticker::default();
        let timer = ticker.timer();
        assert!(ticker.advance(1));
        drop(timer);
        assert!(!ticker.advance(1));
    }

    #[test]
    fn ticks_suit_the_shortest_timeout() {
        assert_eq!(tick_for(Duration::from_millis(200)), Duration::from_millis(5));
        assert_eq!(tick_for(Duration::from_secs(300)), Duration::from_secs(1));
        assert_eq!(ticks(Duration::from_millis(201), Duration::from_millis(5)), 41);
        assert_eq!(ticks(Duration::ZERO, Duration::from_millis(5)), 0);
    }
}
