//! An `OpenRouter` look-alike: accounts, quotas, faults, streams; for `demo` and for tests.
//!
//! It runs in a thread of its own and keeps its own books, so that a test can ask it, and not the
//! proxy, what was sent and what it cost.
//!
//! ```
//! use hermux::simulator::{Fault, Scenario, Simulator, Then};
//!
//! let scenario = Scenario::default().fault(Fault::new(Then::answer(503, "{}")).once());
//! let simulator = Simulator::start(scenario)?;
//! assert!(simulator.url().ends_with("/api/v1"));
//! assert!(simulator.attempts().is_empty());
//! # Ok::<(), std::io::Error>(())
//! ```

mod answer;
mod asked;
mod body;
mod books;
mod catalogue;
mod dialect;
pub mod errors;
mod fault;
mod record;
mod resource;
mod route;
mod scenario;
mod script;
mod text;
mod wire;

pub use books::KeyUsage;
pub use errors::Cause;
pub use fault::{After, Canned, Close, Fault, Step, Then};
pub use record::{Attempt, Class, Outcome};
pub use scenario::{Account, Key, Model, Pace, Quirk, Reset, Scenario};

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use crate::clock::{Clock, Time};
use books::Books;
use errors::Denial;
use fault::Faults;
use record::Records;
use resource::Resources;
use wire::Wire;

/// A running simulator; dropping it stops it.
#[derive(Debug)]
pub struct Simulator {
    shared: Arc<Shared>,
    address: SocketAddr,
    tls: bool,
    thread: Option<JoinHandle<()>>,
}

/// What the connections of a simulator share.
#[derive(Debug)]
struct Shared {
    records: Records,
    clock: Clock,
    state: Mutex<State>,
    wires: Mutex<Vec<Weak<Wire>>>,
    generations: AtomicU64,
    stopping: AtomicBool,
    stop: Notify,
}

/// What can change while a simulator runs.
#[derive(Debug)]
struct State {
    books: Books,
    faults: Faults,
    models: Vec<Model>,
    pace: Pace,
    headers: Vec<(String, String)>,
    clock_offset_ms: i64,
    generation_delay: Duration,
    usage_with_finish: bool,
    open_credits: bool,
    quirks: Vec<Quirk>,
    url_origin: String,
    resources: Resources,
    keep_body: usize,
}

impl Simulator {
    /// Starts on a free port of 127.0.0.1, without TLS.
    pub fn start(scenario: Scenario) -> io::Result<Self> {
        Self::start_on(scenario, TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?, None)
    }

    /// Starts on `listener`, behind TLS where `tls` is given.
    pub fn start_on(
        scenario: Scenario,
        listener: TcpListener,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = Arc::new(Shared::new(scenario));
        let acceptor = tls.map(TlsAcceptor::from);
        let tls = acceptor.is_some();
        let served = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("simulator".to_owned()).spawn(move || {
            runtime.block_on(accept(served, listener, acceptor));
            // What is still open ends here, with the runtime.
        })?;
        Ok(Self { shared, address, tls, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`, or `https://localhost:PORT`.
    #[must_use]
    pub fn origin(&self) -> String {
        if self.tls {
            format!("https://localhost:{}", self.address.port())
        } else {
            format!("http://{}", self.address)
        }
    }

    /// The base URL as clients of `OpenRouter` want it, ending in `/api/v1`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}/api/v1", self.origin())
    }

    /// Every request that arrived, oldest first.
    #[must_use]
    pub fn attempts(&self) -> Vec<Attempt> {
        self.shared.records.all()
    }

    /// How many attempts there were of each kind that `of` tells apart, such as
    /// `|attempt| (attempt.key.clone(), attempt.status)`.
    #[must_use]
    pub fn count<K: Ord>(&self, of: impl FnMut(&Attempt) -> K) -> BTreeMap<K, usize> {
        let mut counts = BTreeMap::new();
        for kind in self.attempts().iter().map(of) {
            *counts.entry(kind).or_default() += 1;
        }
        counts
    }

    /// The attempts that need not have been made, since an earlier answer had told that they would be refused:
    /// the key was refused or its cap spent, the account without credits, its window used up.
    #[must_use]
    pub fn wasted(&self) -> Vec<Attempt> {
        self.shared.records.wasted()
    }

    /// Waits until `holds` of the attempts, looking again at each change; false when `timeout` passed first.
    /// `holds` must not ask this simulator for its attempts.
    pub fn wait_for(&self, holds: impl FnMut(&[Attempt]) -> bool, timeout: Duration) -> bool {
        self.shared.records.wait_for(holds, timeout)
    }

    /// What every key used, in the scenario's order.
    #[must_use]
    pub fn usage(&self) -> Vec<KeyUsage> {
        self.shared.with(|state, _| state.books.usage())
    }

    /// From now on `fault` happens too, after those that were there before.
    pub fn add_fault(&self, fault: Fault) {
        self.shared.with(|state, _| state.faults.add(fault));
    }

    /// From now on, and for `span`, the provider of `model` fails every request with `denial`.
    pub fn fail_model(&self, model: &str, span: Duration, denial: Denial) {
        self.shared.with(|state, now| {
            let fault = Fault::new(Then::Deny(denial)).on_model(model).between(now, now.after(span));
            state.faults.add(fault.of_the_provider());
        });
    }

    /// From now on all goes well.
    pub fn clear_faults(&self) {
        self.shared.with(|state, _| state.faults.clear());
    }

    /// Sets how fast answers come, for those that begin from now on.
    pub fn set_pace(&self, pace: Pace) {
        self.shared.with(|state, _| state.pace = pace);
    }

    /// Sets by how many milliseconds its clock is ahead.
    pub fn set_clock_offset(&self, milliseconds: i64) {
        self.shared.with(|state, _| state.clock_offset_ms = milliseconds);
    }

    /// Sets the models on offer.
    pub fn set_models(&self, models: Vec<Model>) {
        self.shared.with(|state, _| state.models = models);
    }

    /// Changes the account that owns the key `name`; it must keep its list of keys in length and order.
    pub fn change_account(&self, name: &str, change: impl FnOnce(&mut Account)) {
        self.shared.with(|state, _| state.books.change_account(name, change));
    }

    /// Changes the key `name`.
    pub fn change_key(&self, name: &str, change: impl FnOnce(&mut Key)) {
        self.change_account(name, |account| {
            if let Some(key) = account.keys.iter_mut().find(|key| key.name == name) {
                change(key);
            }
        });
    }

    /// Ends all connections that are open, whether they are in use or not.
    pub fn drop_connections(&self, how: Close) {
        let wires = self.shared.wires.lock().unwrap_or_else(PoisonError::into_inner);
        wires.iter().filter_map(Weak::upgrade).for_each(|wire| wire.end_now(vec![Step::Close(how)]));
    }

    /// How many connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        let wires = self.shared.wires.lock().unwrap_or_else(PoisonError::into_inner);
        wires.iter().filter(|wire| wire.strong_count() > 0).count()
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.shared.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic there has already been reported by the thread itself.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn new(scenario: Scenario) -> Self {
        let now = at(&scenario.clock, scenario.clock_offset_ms);
        let books = Books::new(&scenario, now);
        Self {
            records: Records::new(scenario.keep_attempts),
            clock: scenario.clock,
            state: Mutex::new(State {
                books,
                faults: Faults::new(scenario.faults),
                models: scenario.models,
                pace: scenario.pace,
                headers: scenario.headers,
                clock_offset_ms: scenario.clock_offset_ms,
                generation_delay: scenario.generation_delay,
                usage_with_finish: scenario.usage_with_finish,
                open_credits: scenario.open_credits,
                quirks: scenario.quirks,
                url_origin: scenario.url_origin,
                resources: Resources::default(),
                keep_body: scenario.keep_body,
            }),
            wires: Mutex::new(Vec::new()),
            generations: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            stop: Notify::new(),
        }
    }

    /// Does something with the state, at the simulator's time.
    fn with<R>(&self, act: impl FnOnce(&mut State, Time) -> R) -> R {
        let mut state: MutexGuard<'_, State> = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = at(&self.clock, state.clock_offset_ms);
        act(&mut state, now)
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// A new id in `OpenRouter`'s form: `gen-<seconds>-<20 characters>`.
    fn next_generation(&self) -> String {
        let number = self.generations.fetch_add(1, Ordering::Relaxed);
        let seconds = self.with(|_, now| now.0.div_euclid(1_000));
        format!("gen-{seconds}-{}", &hex(&Sha256::digest(number.to_be_bytes()))[..20])
    }

    fn open_wire(&self, number: u64) -> Arc<Wire> {
        let wire = Arc::new(Wire::new(number));
        let mut wires = self.wires.lock().unwrap_or_else(PoisonError::into_inner);
        if wires.len() == wires.capacity() {
            wires.retain(|wire| wire.strong_count() > 0);
        }
        wires.push(Arc::downgrade(&wire));
        wire
    }
}

async fn accept(shared: Arc<Shared>, listener: TcpListener, tls: Option<TlsAcceptor>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let mut number = 0;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.stop.notified() => return,
        };
        let Ok((tcp, _)) = accepted else {
            // Out of files, most likely: some will be given back.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let wire = shared.open_wire(number);
        number += 1;
        tokio::spawn(wire::serve(Arc::clone(&shared), wire, tcp, tls.clone()));
    }
}

fn at(clock: &Clock, offset_ms: i64) -> Time {
    Time(clock.now().0.saturating_add(offset_ms))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
