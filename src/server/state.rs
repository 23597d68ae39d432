//! What the server knows of one connection: what it was told, what is under way, and since when it idles.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use http::Version;

use super::Ticker;

/// What a connection was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    /// Nothing.
    Serve,
    /// End after the open requests.
    Finish,
    /// End now.
    Cut,
}

/// What the server knows of one connection. Times are ticks of the worker's sweeper.
#[derive(Debug)]
pub(crate) struct State {
    id: u64,
    ticker: Rc<Ticker>,
    order: Cell<Order>,
    waker: RefCell<Option<Waker>>,
    in_flight: Cell<u32>,
    /// When bytes arrived, or the connection opened, that are not yet a whole head.
    head_since: Cell<Option<u64>>,
    idle_since: Cell<u64>,
    pub(super) is_h2: Cell<bool>,
    /// Something that came may be left unread: of the last request's body, say.
    has_unread: Cell<bool>,
    /// The end of an answer is told by closing, so a cut must not look like one.
    ends_by_closing: Cell<bool>,
    /// An answer was broken off.
    broke: Cell<bool>,
    blocked: Cell<bool>,
    /// Bodies that wait for the socket: one on HTTP/1, any number of streams on HTTP/2.
    flush_wakers: RefCell<Vec<Waker>>,
}

impl State {
    pub(crate) fn new(id: u64, ticker: Rc<Ticker>) -> Self {
        let now = ticker.now();
        Self {
            id,
            ticker,
            order: Cell::new(Order::Serve),
            waker: RefCell::default(),
            in_flight: Cell::new(0),
            head_since: Cell::new(Some(now)),
            idle_since: Cell::new(now),
            is_h2: Cell::new(false),
            has_unread: Cell::new(false),
            ends_by_closing: Cell::new(false),
            broke: Cell::new(false),
            blocked: Cell::new(false),
            flush_wakers: RefCell::default(),
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn order(&self, order: Order) {
        if order > self.order.get() {
            self.order.set(order);
            if let Some(waker) = self.waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }

    /// Since when a request's head is incomplete, where that is so. While an answer is still being flushed, what arrives
    /// is pipelined and waits its turn. On HTTP/2 bytes may be pings, so there the idle time alone counts.
    pub(crate) fn slow_since(&self) -> Option<u64> {
        let waits = self.is_h2.get() || self.in_flight.get() > 0 || self.blocked.get();
        if waits { None } else { self.head_since.get() }
    }

    /// Since when there is no request, where that is so.
    pub(crate) fn idle_since(&self) -> Option<u64> {
        (self.in_flight.get() == 0).then(|| self.idle_since.get())
    }

    pub(super) fn bytes_arrived(&self) {
        if self.in_flight.get() == 0 && self.head_since.get().is_none() {
            self.head_since.set(Some(self.ticker.now()));
        }
    }

    pub(super) fn may_have_unread(&self) -> bool {
        self.has_unread.get()
    }

    pub(super) fn set_blocked(&self, blocked: bool) {
        let was_blocked = self.blocked.replace(blocked);
        if !blocked {
            // What waited for its turn has its time from now on.
            if was_blocked && self.head_since.get().is_some() {
                self.head_since.set(Some(self.ticker.now()));
            }
            // A caller that still takes the tail of its last answer is not idle. On HTTP/2 the server's own
            // frames, pings say, would pass for that.
            if !self.is_h2.get() && self.in_flight.get() == 0 {
                self.idle_since.set(self.ticker.now());
            }
            self.flush_wakers.take().into_iter().for_each(Waker::wake);
        }
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.get()
    }

    /// Whether everything given to the socket so far has gone; else `cx` is woken when some has.
    pub(super) fn poll_flushed(&self, cx: &Context<'_>) -> Poll<()> {
        if self.blocked.get() {
            let mut wakers = self.flush_wakers.borrow_mut();
            if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                wakers.push(cx.waker().clone());
            }
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    pub(super) fn answer_broke(&self) {
        self.broke.set(true);
    }

    /// Whether it was told to finish, has nothing left to send, and yet stays: hyper waits for an HTTP/2
    /// peer to acknowledge, for ever if need be.
    pub(crate) fn outstays(&self) -> bool {
        self.order.get() == Order::Finish && self.in_flight.get() == 0 && !self.blocked.get()
    }

    /// Whether a cut on this connection has to be a reset, because closing would look like an end.
    pub(super) fn must_reset(&self) -> bool {
        self.ends_by_closing.get() && (self.in_flight.get() > 0 || self.broke.get() || self.blocked.get())
    }

    /// A request began. Of a body there may be more to come, or something behind it: some callers send an empty line.
    pub(super) fn request_began(&self, has_body: bool, version: Version) {
        self.in_flight.set(self.in_flight.get() + 1);
        self.head_since.set(None);
        self.has_unread.set(has_body);
        self.ends_by_closing.set(version == Version::HTTP_10);
    }

    /// What came is not read to its end.
    pub(super) fn leaves_unread(&self) {
        self.has_unread.set(true);
    }

    fn request_ended(&self) {
        self.in_flight.set(self.in_flight.get() - 1);
        self.idle_since.set(self.ticker.now());
    }

    pub(super) fn poll_order(&self, cx: &Context<'_>, seen: Order) -> Poll<Order> {
        let order = self.order.get();
        if order > seen {
            return Poll::Ready(order);
        }
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// Counts a request as open until it is dropped.
#[derive(Debug)]
pub(super) struct InFlight(pub(super) Rc<State>);

impl InFlight {
    pub(super) fn state(&self) -> &State {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.request_ended();
    }
}
