//! Accepts connections and serves them: permits, timeouts, drain. It knows nothing of proxying.
//!
//! Each worker thread runs [`serve`] on its own clone of the listening socket. A connection stays on the
//! thread that accepted it, so everything it touches is single-threaded.

mod body;
mod connection;
mod h1;
mod head;
mod incoming;
mod io;
mod listener;
mod state;
mod wire;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::service::Service;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::spawn_local;
use tokio::time::{MissedTickBehavior, interval, sleep};

use self::connection::{Places, run};
use self::state::{Order, State};
use self::wire::Buffers;

pub use self::incoming::{Broken, Incoming};
pub use self::listener::{Listener, Stream};

/// How long a connection may take, and how much it may send before it is a request.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From accepting, or from the first byte of a request's head, to the head's last byte.
    pub header_timeout: Duration,
    /// How long a kept-alive connection without a request may stay.
    pub keep_alive_timeout: Duration,
    /// The largest head of a request, its first line included, bytes, more is answered 431.
    pub max_header_bytes: usize,
    /// Concurrent streams of one HTTP/2 connection.
    pub max_h2_streams: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(15),
            keep_alive_timeout: Duration::from_secs(120),
            max_header_bytes: 64 << 10,
            max_h2_streams: 256,
        }
    }
}

/// What the server is to do; only ever moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Accept and serve.
    Run,
    /// Take no new connections, close idle ones, let open requests finish.
    Drain,
    /// Cut what is still open.
    Cut,
}

/// After the port closed, requests that were already on the wire still get this long to be read.
const LAME_DUCK: Duration = Duration::from_millis(50);

/// After a failed accept (no file descriptors left, say) nothing is accepted for this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How many connections are still taken from the backlog of a listener that closes; one that a service manager keeps open
/// may never run dry.
const MOST_WAITING: usize = 4096;

/// A worker's open connections, and its coarse clock.
pub(crate) struct Connections {
    open: std::cell::RefCell<BTreeMap<u64, Rc<State>>>,
    next: std::cell::Cell<u64>,
    empty: tokio::sync::Notify,
    ticker: Rc<Ticker>,
}

/// Counts sweeps, so that connections note times without reading a clock.
#[derive(Debug, Default)]
pub(crate) struct Ticker(std::cell::Cell<u64>);

impl Ticker {
    pub(crate) fn now(&self) -> u64 {
        self.0.get()
    }
}

/// Accepts on `listener` and serves every connection by `service` until `phase` says otherwise; returns
/// when the last connection is gone.
///
/// A permit is taken before each accept: at the bound, new connections wait in the listener's backlog.
/// Call it inside a [`tokio::runtime::LocalRuntime`].
pub async fn serve<L, S, B>(
    mut listener: L,
    permits: Arc<Semaphore>,
    service: S,
    limits: Limits,
    mut phase: watch::Receiver<Phase>,
) where
    L: Listener,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + 'static,
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let connections = Rc::new(Connections {
        open: std::cell::RefCell::default(),
        next: std::cell::Cell::new(0),
        empty: tokio::sync::Notify::new(),
        ticker: Rc::default(),
    });
    let sweeper = spawn_local(sweep(Rc::clone(&connections), limits));
    let limits = Rc::new(limits);
    let places = Rc::new(Places::default());
    let buffers: Rc<Buffers> = Rc::default();
    let open = |opening: L::Opening, permit: OwnedSemaphorePermit| {
        let state = connections.add();
        let connections = Rc::clone(&connections);
        let service = service.clone();
        let (limits, places) = (Rc::clone(&limits), Rc::clone(&places));
        let buffers = Rc::clone(&buffers);
        spawn_local(async move {
            let open = Open { connections, state, _permit: permit };
            run(opening, service, places, buffers, &limits, &open.state).await;
        });
    };

    loop {
        tokio::select! {
            biased;
            () = reached(&mut phase, Phase::Drain) => break,
            accepted = accept(&mut listener, &permits) => match accepted {
                Ok((opening, permit)) => open(opening, permit),
                Err(error) => {
                    tracing::warn!("could not accept a connection: {error}");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    // Connections that the kernel completed before the port closes were promised an answer.
    let mut waiting = listener.close().take(MOST_WAITING);
    while let Ok(permit) = Arc::clone(&permits).try_acquire_owned()
        && let Some(opening) = waiting.next()
    {
        open(opening, permit);
    }
    drop(waiting);
    sleep(LAME_DUCK).await;
    connections.order(Order::Finish);
    tokio::select! {
        () = connections.all_gone() => {}
        () = reached(&mut phase, Phase::Cut) => {
            connections.order(Order::Cut);
            connections.all_gone().await;
        }
    }
    sweeper.abort();
}

/// Resolves once the phase is `at_least` this one; a sender that is gone means `Cut`.
async fn reached(phase: &mut watch::Receiver<Phase>, at_least: Phase) {
    let _ = phase.wait_for(|now| *now >= at_least).await;
}

async fn accept<L: Listener>(
    listener: &mut L,
    permits: &Arc<Semaphore>,
) -> std::io::Result<(L::Opening, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(std::io::Error::other)?;
    loop {
        match poll_fn(|cx| listener.poll_accept(cx)).await {
            Ok(opening) => return Ok((opening, permit)),
            Err(error) if listener::is_the_peers(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// An open connection; forgotten, and its permit given back, when dropped, be it by a panic.
struct Open {
    connections: Rc<Connections>,
    state: Rc<State>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connections.remove(&self.state);
    }
}

impl Connections {
    fn add(&self) -> Rc<State> {
        let id = self.next.get();
        self.next.set(id + 1);
        let state = Rc::new(State::new(id, Rc::clone(&self.ticker)));
        self.open.borrow_mut().insert(id, Rc::clone(&state));
        state
    }

    fn remove(&self, state: &State) {
        self.open.borrow_mut().remove(&state.id());
        if self.open.borrow().is_empty() {
            self.empty.notify_one();
        }
    }

    fn order(&self, order: Order) {
        for state in self.open.borrow().values() {
            state.order(order);
        }
    }

    async fn all_gone(&self) {
        while !self.open.borrow().is_empty() {
            self.empty.notified().await;
        }
    }
}

/// Ends connections that idle too long or are too slow with a request's head.
async fn sweep(connections: Rc<Connections>, limits: Limits) {
    let shortest = limits.header_timeout.min(limits.keep_alive_timeout);
    let period = (shortest / 8).clamp(Duration::from_millis(25), Duration::from_secs(1));
    let ticks = |timeout: Duration| {
        u64::try_from(timeout.as_millis().div_ceil(period.as_millis())).unwrap_or(u64::MAX)
    };
    let (header, idle) = (ticks(limits.header_timeout), ticks(limits.keep_alive_timeout));
    let second = ticks(Duration::from_secs(1));
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let now = connections.ticker.now() + 1;
        connections.ticker.0.set(now);
        for state in connections.open.borrow().values() {
            let idles_for = |limit: u64| state.idle_since().is_some_and(|since| now - since > limit);
            // Whoever was told to finish and does not has a second; whoever takes nothing of an answer's
            // tail has the header timeout besides.
            let too_long = state.slow_since().is_some_and(|since| now - since > header)
                || (state.outstays() && idles_for(second))
                || idles_for(idle.saturating_add(header));
            if too_long {
                state.order(Order::Cut);
            } else if idles_for(idle) {
                state.order(Order::Finish);
            }
        }
    }
}
