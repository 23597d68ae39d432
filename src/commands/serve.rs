//! `hermux serve`, the composition root: opens files, ledger, pool and listener, wires them, and waits.

mod doors;
mod files;
pub(super) mod listen;
pub(super) mod poll;
pub(super) mod recall;
mod settle;
mod signals;
pub(super) mod tls;
#[cfg(unix)]
mod unix;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use hyper::service::service_fn;
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

use self::doors::Entrance;
use self::files::Files;
use self::listen::{Place, Sockets};
use self::poll::Poll;
use self::settle::Settle;
use self::signals::{Event, Health, Signals, notify};
use self::tls::InForce;
use super::Usage;
use crate::clock::Clock;
use crate::commands::ask::{Asker, PATIENCE, connector};
use crate::config::Config;
use crate::control::live::{Awaited, Failure, History, Live};
use crate::control::{About, Control, View, Waiting};
use crate::keys::breaker::Breakers;
use crate::keys::{Key, reference};
use crate::ledger::observe::Watch;
use crate::ledger::{Ledger, OpenError};
use crate::logging::READY;
use crate::metrics::{Faults, Listener, Metrics, Sources};
use crate::proxy::cors::Cors;
use crate::proxy::room::Room;
use crate::proxy::trouble::Troubles;
use crate::proxy::{Bounds, Proxy, Settings, Shared};
use crate::server::{self, Limits, Phase};
use crate::upstream::{Connector, Upstream};

/// How often `tokens.csv` and `allow.txt` are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How often what changed in the pool is handed to the ledger, besides what is handed over at once.
const REMEMBER: Duration = Duration::from_millis(50);

/// How long the ledger may take to write its last entries.
const FLUSH: Duration = Duration::from_secs(10);

/// Runs the proxy until it is told to stop.
pub(super) fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let inherited = Sockets::inherited()?;
    let signals =
        Builder::new_current_thread().enable_all().build().context("could not start the signal loop")?;
    // Installed before the port opens, so that no signal is missed.
    let mut signals_seen = {
        let _inside = signals.enter();
        Signals::install().context("could not install signal handlers")?
    };
    let running = start_on(inherited, config, Clock::system())?;
    let stop = running.stop.clone();
    let mut done = running.done();
    signals.block_on(async {
        let mut stopping = false;
        loop {
            tokio::select! {
                _ = done.wait_for(|done| *done) => break,
                event = signals_seen.next() => match event {
                    Event::Reload => stop.send(Command::Reload),
                    Event::Stop if !stopping => {
                        stopping = true;
                        tracing::info!("stopping; a second signal ends at once");
                        stop.send(Command::Stop);
                    }
                    Event::Stop => std::process::exit(1),
                },
            }
        }
    });
    running.join()?;
    Ok(ExitCode::SUCCESS)
}

/// Starts the proxy: when this returns, the port is open and requests are served.
pub fn start(config: &Config, clock: Clock) -> anyhow::Result<Running> {
    start_on(None, config, clock)
}

/// The same on the sockets that were handed over, where there are some.
fn start_on(inherited: Option<Sockets>, config: &Config, clock: Clock) -> anyhow::Result<Running> {
    let commands = reference::Commands::allowed_if(config.allow_commands);
    let mut files = Files::new(&config.tokens, commands, (!config.no_auth).then_some(config.allow.as_path()));
    let tls = config.tls_cert.as_deref().zip(config.tls_key.as_deref());
    let tls = tls.map(|(certificate, key)| files.load_tls(certificate, key)).transpose()?;
    let keys = files.load_keys()?;
    let mut access = files.load_access()?;
    let ledger = open_ledger(config, clock.clone())?;
    recall::callers(&mut access, None, &ledger, clock.now());
    let connector = Arc::new(connector(config)?);
    ledger.keep(config.keep_entries);
    let asking = asking(config, &connector, &keys, &mut files, &ledger)?;
    let pool = recall::pool(keys, &ledger, clock.now());
    files::warn_of_keys(&access, &pool, &config.allow);
    let max_connections = listen::connection_bound(config.max_connections);
    let sockets = inherited.map_or_else(|| Sockets::bind(config), Ok)?;
    check(&sockets, config)?;
    let address = sockets.tcp().next();
    let metrics = config.metrics.map(bind_metrics).transpose()?;

    let counts = (pool.len(), access.len());
    let breakers = Breakers::default();
    let room = Room::new(pool.clone(), breakers.clone(), clock.clone());
    let shared = Arc::new(Shared {
        access: ArcSwap::from_pointee(access),
        keys: pool,
        affinity: recall::affinity(&ledger, clock.now()),
        breakers,
        room,
        ledger,
        settings: proxy_settings(config, tls.is_some() && sockets.tcp().next().is_some()),
        remembering: Mutex::default(),
        troubles: Troubles::default(),
        bounds: Bounds::default(),
        ready: AtomicBool::new(true),
        clock,
    });
    let limits = Limits {
        header_timeout: config.header_timeout,
        keep_alive_timeout: config.keep_alive_timeout,
        max_header_bytes: config.max_header_bytes,
        ..Limits::default()
    };

    let (phase, phases) = watch::channel(Phase::Run);
    let permits = Arc::new(Semaphore::new(max_connections));
    let shown = sockets.show("");
    let ready = sockets.show(if tls.is_some() { "https://" } else { "http://" });
    let ready = if sockets.are_inherited() { format!("{ready}, from the service manager") } else { ready };
    let paths: Vec<_> = sockets.paths().collect();
    let handles = (0..config.workers).map(|_| sockets.handles()).collect::<Result<Vec<_>, _>>()?;
    let mut workers = Workers { handles: Vec::new(), phase, place: sockets.close() };
    for (number, sockets) in handles.into_iter().enumerate() {
        let worker = Worker {
            sockets,
            tls: tls.clone(),
            permits: Arc::clone(&permits),
            shared: Arc::clone(&shared),
            connector: Arc::clone(&connector),
            limits,
            phases: phases.clone(),
        };
        let handle = std::thread::Builder::new()
            .name(format!("worker-{number}"))
            .spawn(move || worker.run())
            .context("could not start a worker")?;
        workers.handles.push(handle);
    }

    let seen = Seen::open(config, &shared, shown, metrics);
    let (commands, inbox) = mpsc::unbounded_channel();
    let (done_sender, done) = watch::channel(false);
    let grace = config.grace;
    let control_shared = Arc::clone(&shared);
    let control = std::thread::Builder::new()
        .name("control".to_owned())
        .spawn(move || {
            let ended = control(inbox, files, &control_shared, asking, seen, workers, grace);
            done_sender.send_replace(true);
            ended
        })
        .context("could not start the control thread")?;

    let (keys, access_tokens) = counts;
    let callers = if config.no_auth {
        "no access token is asked for".to_owned()
    } else {
        counted(access_tokens, "access token")
    };
    let data = config.data_dir.display();
    // Its own target, so that it is shown however quiet the log is to be.
    tracing::info!(
        target: READY,
        "ready: {ready} ({}, {callers}, data in {data})",
        counted(keys, "key"),
    );
    for path in paths {
        tracing::info!("to try it: curl --unix-socket {} http://localhost/health", path.display());
    }
    notify(Health::Ready);
    recall::generations(shared);
    Ok(Running { address, stop: Commands(commands), done, control })
}

/// Refuses sockets that the configuration does not allow, and warns of what goes in the clear.
fn check(sockets: &Sockets, config: &Config) -> Result<(), Usage> {
    let beyond = |address: &SocketAddr| !address.ip().to_canonical().is_loopback();
    let inherited = sockets.are_inherited();
    match sockets.tcp().find(beyond) {
        Some(address) if config.no_auth => {
            return Err(Usage(format!(
                "--no-auth goes with loopback addresses and Unix sockets only, and the service manager handed over: {address}\n\
                 hint: `hermux allow gen` makes an access token"
            )));
        }
        // Whoever sets up socket units may have TLS before them.
        Some(address) if config.tls_cert.is_none() && !inherited => tracing::warn!(
            "access tokens travel in the clear beyond this machine, without --tls-cert and --tls-key: {address}"
        ),
        _ => {}
    }
    if config.tls_cert.is_some() && sockets.tcp().next().is_none() {
        tracing::warn!("TLS is not used, since it is for TCP, and only Unix sockets are listened on");
    }
    Ok(())
}

/// A number with its noun: `1 key`, `3 keys`.
fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// What asks upstream on hermux's own account, where it may.
fn asking(
    config: &Config,
    connector: &Connector,
    keys: &[Key],
    files: &mut Files,
    ledger: &Ledger,
) -> anyhow::Result<Option<(Poll, Settle)>> {
    if config.no_poll {
        return Ok(None);
    }
    let asker = Asker::new(config, connector, PATIENCE).context("could not prepare to ask upstream")?;
    ledger.settles();
    let settle = Settle::new(asker.clone(), keys.to_vec(), files.reloads());
    let poll = Poll::new(asker, keys.to_vec(), files.reloads(), config.data_dir.clone());
    Ok(Some((poll, settle)))
}

fn proxy_settings(config: &Config, tls: bool) -> Settings {
    Settings {
        base: config.upstream.base.clone(),
        tls,
        no_auth: config.no_auth,
        replay_bytes: config.replay_bytes,
        replay_total: config.replay_total,
        body_timeout: config.body_timeout,
        max_uri_bytes: config.max_uri_bytes,
        max_wait: config.max_wait,
        commit_after: config.commit_after,
        affinity: !config.no_affinity,
        cors: Cors::new(&config.cors),
    }
}

/// The metrics' own socket.
fn bind_metrics(address: SocketAddr) -> anyhow::Result<std::net::TcpListener> {
    if !address.ip().to_canonical().is_loopback() {
        tracing::warn!(
            "metrics tell the names of keys, callers and models to everybody who can connect, beyond this machine too: {address}"
        );
    }
    let listener = std::net::TcpListener::bind(address)
        .with_context(|| format!("can't listen for those who ask for metrics: {address}"))?;
    tracing::info!("metrics at http://{}/metrics", listener.local_addr().unwrap_or(address));
    Ok(listener)
}

/// Metrics of what happens from now on.
fn tell_metrics(listener: std::net::TcpListener, shared: &Arc<Shared>) -> Listener {
    let (room, troubles) = (shared.room.clone(), Arc::clone(shared));
    let metrics = Arc::new(Metrics::new(Sources {
        keys: shared.keys.clone(),
        clock: shared.clock.clone(),
        started: shared.clock.now(),
        waiting: Box::new(move || room.state().waiting),
        faults: Box::new(move || {
            let counted = troubles.troubles.counted();
            let faults = counted.faults.into_iter().map(|((kind, key), count)| (kind, key, count));
            Faults { met: faults.collect(), refused: counted.refused.into_iter().collect() }
        }),
    }));
    shared.ledger.watch(Arc::clone(&metrics) as Arc<dyn Watch>);
    Listener::new(listener, metrics)
}

/// The control socket in the data directory; the proxy serves without it too.
fn open_control(
    config: &Config,
    shared: &Arc<Shared>,
    history: &Arc<History>,
    address: String,
) -> Option<Control> {
    let server = About {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        started_ms: shared.clock.now().0,
        address,
        tokens: std::path::absolute(&config.tokens).unwrap_or_else(|_| config.tokens.clone()),
    };
    let room = shared.room.clone();
    let waiting = move || {
        let state = room.state();
        Waiting { requests: state.waiting, callers: state.callers.len() }
    };
    let (living, history) = (Arc::clone(shared), Arc::clone(history));
    let (remembering, ledger) = (Arc::clone(shared), shared.ledger.clone());
    let view = View {
        server,
        keys: shared.keys.clone(),
        clock: shared.clock.clone(),
        waiting: Box::new(waiting),
        unwritten: Box::new(move || !ledger.is_writable()),
        live: Box::new(move || live(&living, &history)),
        remember: Box::new(move || remembering.remember()),
    };
    let opened = Control::open(&config.data_dir, view);
    opened
        .inspect_err(|error| {
            tracing::warn!(
                "no control socket, so `hermux keys` can't ask this server ({error}): {}",
                config.data_dir.display()
            );
        })
        .ok()
}

/// What `hermux top` is told besides the state.
fn live(shared: &Shared, history: &History) -> Live {
    let text = |text: Option<Arc<str>>| text.map(|text| text.to_string());
    let errors = shared.troubles.last().into_iter().map(|trouble| Failure {
        at_ms: trouble.at.0,
        key: text(trouble.key),
        caller: text(trouble.caller),
        model: text(trouble.model),
        what: trouble.what,
        status: trouble.status,
    });
    let awaited = shared.room.awaited().into_iter().map(|(model, waiting, until)| Awaited {
        model: model.to_string(),
        waiting,
        until_ms: until.map(|until| until.0),
    });
    Live {
        counts: shared.ledger.counts(),
        samples: history.samples(),
        awaited: awaited.collect(),
        callers: shared.room.state().callers.into_iter().collect(),
        errors: errors.collect(),
        ..Live::default()
    }
}

/// The ledger in the data directory; in memory where nothing can be written there.
fn open_ledger(config: &Config, clock: Clock) -> anyhow::Result<Ledger> {
    match Ledger::open(&config.data_dir, clock.clone()) {
        Ok(ledger) => Ok(ledger),
        Err(OpenError::Unwritable { reason, .. }) => {
            tracing::warn!(
                "use is counted in memory only and forgotten at the end, since nothing can be written ({reason}): {}",
                config.data_dir.display()
            );
            Ok(Ledger::in_memory(clock))
        }
        Err(error) => Err(error.into()),
    }
}

/// A proxy that runs in threads of its own.
#[derive(Debug)]
pub struct Running {
    address: Option<SocketAddr>,
    stop: Commands,
    done: watch::Receiver<bool>,
    control: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    /// Where it listens by TCP, if it does; the port is the one that was picked.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Stops accepting, drains, and returns when everything is written.
    pub fn stop(self) -> anyhow::Result<()> {
        self.stop.send(Command::Stop);
        self.join()
    }

    fn done(&self) -> watch::Receiver<bool> {
        self.done.clone()
    }

    fn join(self) -> anyhow::Result<()> {
        self.control.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the control thread panicked")))
    }
}

/// What the control thread is asked to do.
#[derive(Clone, Copy, Debug)]
enum Command {
    Reload,
    Stop,
}

#[derive(Clone, Debug)]
struct Commands(mpsc::UnboundedSender<Command>);

impl Commands {
    fn send(&self, command: Command) {
        // When the control thread is gone there is nothing left to control.
        let _ = self.0.send(command);
    }
}

struct Workers {
    handles: Vec<JoinHandle<()>>,
    phase: watch::Sender<Phase>,
    place: Place,
}

/// One worker thread's part.
struct Worker {
    sockets: Vec<listen::Socket>,
    tls: Option<InForce>,
    permits: Arc<Semaphore>,
    shared: Arc<Shared>,
    connector: Arc<Connector>,
    limits: Limits,
    phases: watch::Receiver<Phase>,
}

impl Worker {
    fn run(self) {
        let runtime = match Builder::new_current_thread()
            .enable_all()
            .build_local(tokio::runtime::LocalOptions::default())
        {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!("a worker could not start: {error}");
                return;
            }
        };
        runtime.block_on(async move {
            let entrance = Entrance::open(self.sockets, self.tls.as_ref());
            let proxy = Proxy::new(self.shared, Upstream::new(self.connector));
            let service = service_fn(move |request| proxy.clone().handle(request));
            let (permits, limits, phases) = (self.permits, self.limits, self.phases);
            match entrance {
                Ok(Entrance::Plain(tcp)) => server::serve(tcp, permits, service, limits, phases).await,
                Ok(Entrance::Doors(doors)) => server::serve(doors, permits, service, limits, phases).await,
                Err(error) => tracing::error!("a worker could not listen: {error}"),
            }
        });
    }
}

/// Where the control thread shows what happens.
struct Seen {
    control: Option<Control>,
    history: Arc<History>,
    metrics: Option<Listener>,
}

impl Seen {
    fn open(
        config: &Config,
        shared: &Arc<Shared>,
        address: String,
        metrics: Option<std::net::TcpListener>,
    ) -> Self {
        let history = Arc::new(History::default());
        let control = open_control(config, shared, &history, address);
        Self { control, history, metrics: metrics.map(|listener| tell_metrics(listener, shared)) }
    }
}

/// Watches the files, asks about the keys and waits for the stop; then drains the workers and closes the ledger.
fn control(
    mut inbox: mpsc::UnboundedReceiver<Command>,
    mut files: Files,
    shared: &Arc<Shared>,
    asking: Option<(Poll, Settle)>,
    seen: Seen,
    workers: Workers,
    grace: Duration,
) -> anyhow::Result<()> {
    let runtime =
        Builder::new_current_thread().enable_all().build().context("could not start the control loop")?;
    runtime.block_on(async {
        let Seen { control, history, metrics } = seen;
        let answering = control.map(|control| tokio::spawn(control.serve()));
        let metrics = metrics.map(|metrics| tokio::spawn(metrics.serve()));
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (poll, settle) = asking.unzip();
        let poll = poll.map(|poll| tokio::spawn(poll.run(Arc::clone(shared))));
        let settle = settle.map(|settle| tokio::spawn(settle.run(Arc::clone(shared))));
        let mut remember = interval(REMEMBER);
        remember.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_reloading = false;
        loop {
            tokio::select! {
                command = inbox.recv() => match command {
                    Some(Command::Reload) => {
                        notify(Health::Reloading);
                        files.reload_all(shared);
                        is_reloading = true;
                    }
                    Some(Command::Stop) | None => break,
                },
                _ = look.tick() => {
                    files.reload_changed(shared);
                    history.sample(shared.clock.now(), || shared.ledger.counts());
                }
                read = files.read_keys() => {
                    if files.put_in_force(read, shared) && std::mem::take(&mut is_reloading) {
                        notify(Health::Ready);
                    }
                }
                _ = remember.tick() => shared.remember(),
            }
        }
        shared.ready.store(false, Ordering::Relaxed);
        for asking in [poll, settle].into_iter().flatten() {
            asking.abort();
        }
        notify(Health::Stopping);
        let Workers { handles, phase, place } = workers;
        // Nobody new is to find the server, and those who have found it are still taken.
        drop(place);
        phase.send_replace(Phase::Drain);
        let mut all_ended = tokio::task::spawn_blocking(move || {
            handles.into_iter().map(JoinHandle::join).filter(Result::is_err).count()
        });
        let drained = timeout(grace, &mut all_ended).await;
        let panicked = if let Ok(panicked) = drained {
            panicked
        } else {
            tracing::warn!("cutting what is still open after {} s", grace.as_secs_f32());
            phase.send_replace(Phase::Cut);
            all_ended.await
        };
        shared.remember();
        if let Some(metrics) = metrics {
            metrics.abort();
        }
        if let Some(answering) = answering {
            // Gone before the directory's lock is, so that the next server's socket is not taken for this one's.
            answering.abort();
            let _ = answering.await;
        }
        if !shared.ledger.close(FLUSH) {
            tracing::warn!("the ledger's last entries could not be written in time");
        }
        match panicked {
            Ok(0) => Ok(()),
            _ => Err(anyhow::anyhow!("a worker panicked")),
        }
    })
}
