//! `hermux serve`, the composition root: opens files, ledger, pool and listener, wires them, and waits.

pub(super) mod ask;
mod files;
mod listen;
pub(super) mod poll;
pub(super) mod recall;
mod settle;

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
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

use self::ask::Asker;
use self::files::Files;
use self::poll::Poll;
use self::settle::Settle;
use crate::clock::Clock;
use crate::config::Config;
use crate::control::{About, Control, View, Waiting};
use crate::keys::breaker::Breakers;
use crate::ledger::{Ledger, OpenError};
use crate::logging::READY;
use crate::proxy::room::Room;
use crate::proxy::{Bounds, Proxy, Settings, Shared};
use crate::server::{self, Limits, Phase};
use crate::upstream::{Connector, Origin, Upstream};

/// How often `tokens.csv` and `allow.txt` are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How often what changed in the pool is handed to the ledger, besides what is handed over at once.
const REMEMBER: Duration = Duration::from_millis(50);

/// How long the ledger may take to write its last entries.
const FLUSH: Duration = Duration::from_secs(10);

/// Runs the proxy until it is told to stop.
pub(super) fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let signals =
        Builder::new_current_thread().enable_all().build().context("could not start the signal loop")?;
    // Installed before the port opens, so that no signal is missed.
    let mut signals_seen = {
        let _inside = signals.enter();
        Signals::install().context("could not install signal handlers")?
    };
    let running = start(config, Clock::system())?;
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
    let mut files = Files::new(&config.tokens, (!config.no_auth).then_some(config.allow.as_path()));
    let keys = files.load_keys()?;
    let access = files.load_access()?;
    let ledger = open_ledger(config, clock.clone())?;
    let connector = Arc::new(Connector::new(upstream_settings(config))?);
    ledger.keep(config.keep_entries);
    let asking = if config.no_poll {
        None
    } else {
        let asker = Asker::new(config, &connector).context("could not prepare to ask upstream")?;
        ledger.settles();
        let settle = Settle::new(asker.clone(), keys.clone(), files.reloads());
        let poll = Poll::new(asker, keys.clone(), files.reloads(), config.data_dir.clone());
        Some((poll, settle))
    };
    let pool = recall::pool(keys, &ledger, clock.now());
    let max_connections = listen::connection_bound(config.max_connections);
    let listener = listen::bind(config.address, config.port)?;
    let address = listener.local_addr().context("could not read the listener's address")?;

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
        settings: Settings {
            base: config.upstream.base.clone(),
            no_auth: config.no_auth,
            replay_bytes: config.replay_bytes,
            replay_total: config.replay_total,
            body_timeout: config.body_timeout,
            max_uri_bytes: config.max_uri_bytes,
            max_wait: config.max_wait,
            commit_after: config.commit_after,
            affinity: !config.no_affinity,
        },
        remembering: Mutex::default(),
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
    let mut workers = Workers { handles: Vec::new(), phase };
    for number in 0..config.workers {
        let listener = listener.try_clone().context("could not share the listener")?;
        let worker = Worker {
            listener,
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
    drop(listener);

    let control_socket = open_control(config, &shared, address);
    let (commands, inbox) = mpsc::unbounded_channel();
    let (done_sender, done) = watch::channel(false);
    let grace = config.grace;
    let control_shared = Arc::clone(&shared);
    let control = std::thread::Builder::new()
        .name("control".to_owned())
        .spawn(move || {
            let ended = control(inbox, files, &control_shared, asking, control_socket, workers, grace);
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
        "ready: http://{address} ({}, {callers}, data in {data})",
        counted(keys, "key"),
    );
    notify(&[sd_notify::NotifyState::Ready]);
    recall::generations(shared);
    Ok(Running { address, stop: Commands(commands), done, control })
}

/// A number with its noun: `1 key`, `3 keys`.
fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

pub(super) fn upstream_settings(config: &Config) -> crate::upstream::Settings {
    let upstream = &config.upstream;
    crate::upstream::Settings {
        origin: Origin { tls: upstream.tls, host: upstream.host.clone(), port: upstream.port },
        connect_timeout: config.connect_timeout,
        first_byte_timeout: config.first_byte_timeout,
        idle_timeout: config.idle_timeout,
        ca_file: config.ca_file.clone(),
        proxy: config.upstream_proxy.clone().map(|(host, port)| Origin { tls: false, host, port }),
    }
}

/// The control socket in the data directory; the proxy serves without it too.
fn open_control(config: &Config, shared: &Arc<Shared>, address: SocketAddr) -> Option<Control> {
    let server = About {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        started_ms: shared.clock.now().0,
        address: address.to_string(),
        tokens: std::path::absolute(&config.tokens).unwrap_or_else(|_| config.tokens.clone()),
    };
    let room = shared.room.clone();
    let waiting = move || {
        let state = room.state();
        Waiting { requests: state.waiting, callers: state.callers.len() }
    };
    let remembering = Arc::clone(shared);
    let view = View {
        server,
        keys: shared.keys.clone(),
        clock: shared.clock.clone(),
        waiting: Box::new(waiting),
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
    address: SocketAddr,
    stop: Commands,
    done: watch::Receiver<bool>,
    control: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    /// Where it listens; the port is the one that was picked.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
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
}

/// One worker thread's part.
struct Worker {
    listener: std::net::TcpListener,
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
            let listener = match tokio::net::TcpListener::from_std(self.listener) {
                Ok(listener) => listener,
                Err(error) => {
                    tracing::error!("a worker could not listen: {error}");
                    return;
                }
            };
            let proxy = Proxy::new(self.shared, Upstream::new(self.connector));
            let service = service_fn(move |request| proxy.clone().handle(request));
            server::serve(listener, self.permits, service, self.limits, self.phases).await;
        });
    }
}

/// Watches the files, asks about the keys and waits for the stop; then drains the workers and closes the ledger.
fn control(
    mut inbox: mpsc::UnboundedReceiver<Command>,
    mut files: Files,
    shared: &Arc<Shared>,
    asking: Option<(Poll, Settle)>,
    control_socket: Option<Control>,
    workers: Workers,
    grace: Duration,
) -> anyhow::Result<()> {
    let runtime =
        Builder::new_current_thread().enable_all().build().context("could not start the control loop")?;
    runtime.block_on(async {
        let answering = control_socket.map(|control| tokio::spawn(control.serve()));
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (poll, settle) = asking.unzip();
        let poll = poll.map(|poll| tokio::spawn(poll.run(Arc::clone(shared))));
        let settle = settle.map(|settle| tokio::spawn(settle.run(Arc::clone(shared))));
        let mut remember = interval(REMEMBER);
        remember.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                command = inbox.recv() => match command {
                    Some(Command::Reload) => {
                        notify(&[sd_notify::NotifyState::Reloading]);
                        files.reload_all(shared);
                        notify(&[sd_notify::NotifyState::Ready]);
                    }
                    Some(Command::Stop) | None => break,
                },
                _ = look.tick() => files.reload_changed(shared),
                _ = remember.tick() => shared.remember(),
            }
        }
        shared.ready.store(false, Ordering::Relaxed);
        for asking in [poll, settle].into_iter().flatten() {
            asking.abort();
        }
        notify(&[sd_notify::NotifyState::Stopping]);
        let Workers { handles, phase } = workers;
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

/// Tells systemd, where it asked to be told; elsewhere this does nothing.
fn notify(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!("could not notify the service manager: {error}");
    }
}

enum Event {
    Reload,
    Stop,
}

/// The signals that concern the server.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn install() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Event {
        tokio::select! {
            _ = self.terminate.recv() => Event::Stop,
            _ = self.interrupt.recv() => Event::Stop,
            _ = self.hangup.recv() => Event::Reload,
        }
    }
}
