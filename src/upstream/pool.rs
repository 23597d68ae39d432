//! A worker's connections: those at rest, what all of them share, and the task that looks after them.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::conn::Conn;
use super::dial::dial;
use super::timer::{Ticker, ticks};
use super::{Connection, Connector, SendError};
use crate::http1::{Intake, Spare};

/// Connections at rest, for one worker; more are closed after their request.
const MAX_IDLE: usize = 512;
/// After this a connection serves no further request, so that a busy one follows upstream to new addresses, too.
const MAX_AGE: Duration = Duration::from_secs(600);

/// What one worker's connections share. It stays on its thread.
pub(super) struct Worker {
    pub(super) connector: Arc<Connector>,
    pub(super) ticker: Ticker,
    /// Timeouts of the settings, in ticks.
    pub(super) first_byte: u64,
    pub(super) silence: u64,
    pub(super) intake: Intake,
    /// What is written. Borrowed only within a poll.
    pub(super) out: RefCell<Vec<u8>>,
    /// What of the heads before serves again. Borrowed only within a poll.
    pub(super) spare: RefCell<Spare>,
    /// The last one used is the first one taken.
    idle: RefCell<Vec<Conn>>,
    kept: Cell<bool>,
}

impl Worker {
    pub(super) fn new(connector: Arc<Connector>) -> Self {
        let tick = connector.tick;
        Self {
            first_byte: ticks(connector.settings.first_byte_timeout, tick),
            silence: ticks(connector.settings.idle_timeout, tick),
            connector,
            ticker: Ticker::default(),
            intake: Intake::default(),
            out: RefCell::default(),
            spare: RefCell::default(),
            idle: RefCell::default(),
            kept: Cell::new(false),
        }
    }

    /// A connection for one request.
    pub(super) async fn connection(self: &Rc<Self>, which: Connection) -> Result<Conn, SendError> {
        if which == Connection::Any
            && let Some(conn) = self.take()
        {
            return Ok(conn);
        }
        // Boxed, because a request on a kept-alive connection should not carry the size of a handshake.
        let io = Box::pin(dial(&self.connector)).await?;
        let conn = Conn {
            io,
            timer: self.ticker.timer(),
            reused: false,
            retire: self.ticker.after(ticks(MAX_AGE, self.connector.tick)),
            expire: 0,
        };
        if !self.kept.replace(true) {
            tokio::task::spawn_local(keep(Rc::downgrade(self), self.connector.tick));
        }
        Ok(conn)
    }

    fn take(&self) -> Option<Conn> {
        let mut idle = self.idle.borrow_mut();
        while let Some(mut conn) = idle.pop() {
            if conn.io.is_quiet() {
                return Some(conn);
            }
        }
        None
    }

    /// Takes back a connection whose request and answer are both complete.
    pub(super) fn give_back(&self, mut conn: Conn) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < MAX_IDLE && self.ticker.now() < conn.retire {
            conn.reused = true;
            conn.timer.release();
            conn.expire = self.ticker.after(ticks(self.connector.idle_limit, self.connector.tick));
            idle.push(conn);
        }
    }

    /// How many connections are at rest.
    pub(super) fn idle(&self) -> usize {
        self.idle.borrow().len()
    }
}

/// Counts a worker's ticks and closes connections that rested too long or were closed by upstream, for as
/// long as there are connections.
async fn keep(worker: Weak<Worker>, tick: Duration) {
    let start = Instant::now();
    let mut passed = 0;
    loop {
        sleep(tick).await;
        let Some(worker) = worker.upgrade() else { return };
        let now = u64::try_from(start.elapsed().as_nanos() / tick.as_nanos().max(1)).unwrap_or(passed);
        let any = worker.ticker.advance(now - passed);
        passed = now;
        let now = worker.ticker.now();
        worker.idle.borrow_mut().retain_mut(|conn| now < conn.expire && conn.io.is_quiet());
        if !any {
            worker.kept.set(false);
            return;
        }
    }
}
