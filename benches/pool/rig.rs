//! A simulator and a hermux in front of it: as a process of its own, or inside this one on a clock that can be turned.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hermux::clock::{Clock, Time};
use hermux::commands::serve;
use hermux::config::{Config, Surroundings};
use hermux::simulator::{Class, Key, Scenario, Simulator};
use tempfile::TempDir;

use crate::caller::{Answer, Ask};

/// How long hermux may take to be ready.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many callers there are.
const CALLERS: usize = 8;

/// A simulator with hermux in front of it; all of it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Rig {
    hermux: Hermux,
    pub(crate) simulator: Simulator,
    files: TempDir,
}

#[derive(Debug)]
enum Hermux {
    Process(Option<Process>),
    Inside(Option<Box<serve::Running>>),
}

impl Rig {
    /// Starts both, hermux as a process with the keys of `scenario` and the variables `settings`.
    pub(crate) fn start(scenario: Scenario, settings: &[(&str, &str)]) -> io::Result<Self> {
        let (files, simulator) = prepare(scenario)?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let settings =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let process = Process::start(files.path(), port, &simulator.url(), settings)?;
        Ok(Self { hermux: Hermux::Process(Some(process)), simulator, files })
    }

    /// Starts both inside this process, on the clock of `scenario`.
    pub(crate) fn start_inside(scenario: Scenario, settings: &[(&str, &str)]) -> io::Result<Self> {
        let clock = scenario.clock.clone();
        let (files, simulator) = prepare(scenario)?;
        let path = |name: &str| files.path().join(name).display().to_string();
        let flags = [
            ("tokens", path("tokens.csv")),
            ("allow", path("allow.txt")),
            ("config", path("config.toml")),
            ("data_dir", path("data")),
            ("port", "0".to_owned()),
            ("workers", "1".to_owned()),
            ("upstream", simulator.url()),
        ];
        let mut around = Surroundings::of_process();
        around.variables.retain(|(name, _)| !name.to_string_lossy().starts_with("HERMUX_"));
        around.variables.extend(settings.iter().map(|(name, value)| (name.into(), value.into())));
        let config = Config::resolve(&flags, &around).map_err(io::Error::other)?;
        let running = serve::start(&config, clock).map_err(io::Error::other)?;
        Ok(Self { hermux: Hermux::Inside(Some(Box::new(running))), simulator, files })
    }

    /// Where hermux listens.
    pub(crate) fn address(&self) -> SocketAddr {
        match &self.hermux {
            Hermux::Process(process) => {
                let port = process.as_ref().map_or(0, |process| process.port);
                SocketAddr::from((Ipv4Addr::LOCALHOST, port))
            }
            Hermux::Inside(running) => running
                .as_ref()
                .and_then(|running| running.address())
                .unwrap_or(SocketAddr::from(([0; 4], 0))),
        }
    }

    /// Sends `ask` as the caller of this number.
    pub(crate) fn ask(&self, caller: usize, ask: &Ask) -> Answer {
        ask.send(self.address(), &token_of(caller))
    }

    /// Sends all of `asks` at once, each from a thread of its own as the caller beside it; the answers in order.
    pub(crate) fn ask_all(&self, asks: &[(usize, Ask)]) -> Vec<Answer> {
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                asks.iter().map(|(caller, ask)| scope.spawn(move || self.ask(*caller, ask))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or_default()).collect()
        })
    }

    /// Writes `tokens.csv` anew, with these keys.
    pub(crate) fn write_keys<'k>(&self, keys: impl IntoIterator<Item = &'k Key>) -> io::Result<()> {
        let path = self.files.path().join("tokens.csv");
        let beside = self.files.path().join("tokens.csv.new");
        private(&beside, &rows(keys))?;
        fs::rename(beside, path)
    }

    /// Kills hermux where it stands and starts it again with the same files; tells how many attempts upstream had
    /// seen by then.
    pub(crate) fn kill_and_restart(&mut self) -> io::Result<usize> {
        let Hermux::Process(slot) = &mut self.hermux else {
            return Err(io::Error::other("only a process can be killed"));
        };
        let Some(mut process) = slot.take() else {
            return Err(io::Error::other("it has been killed before"));
        };
        process.child.kill()?;
        process.child.wait()?;
        // What the dead process had sent arrives all the same.
        std::thread::sleep(Duration::from_millis(50));
        let seen = self.simulator.attempts().len();
        let (port, settings) = (process.port, std::mem::take(&mut process.settings));
        *slot = Some(Process::start(self.files.path(), port, &self.simulator.url(), settings)?);
        Ok(seen)
    }

    /// Requests for inference that arrived upstream, by key; those of no known key are left out.
    pub(crate) fn upstream_by_key(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for attempt in self.simulator.attempts() {
            if let (Some(key), true) = (attempt.key, attempt.class != Class::Other) {
                *counts.entry(key).or_default() += 1;
            }
        }
        counts
    }

    /// Waits until hermux asked `GET /key` with each of its keys, or some seconds; whether it does ask is
    /// a setting.
    pub(crate) fn settle(&self, keys: usize) {
        let asked = |attempts: &[hermux::simulator::Attempt]| {
            let mut names: Vec<_> = attempts
                .iter()
                .filter(|attempt| attempt.outcome.is_some())
                .filter_map(|it| it.key.as_ref())
                .collect();
            names.sort_unstable();
            names.dedup();
            names.len() >= keys
        };
        // Five a second, as the facts are asked for in the background.
        let patience = Duration::from_secs(3 + keys as u64 / 3);
        self.simulator.wait_for(asked, patience);
    }

    /// What hermux wrote to its log, for when something went wrong.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.files.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        match &mut self.hermux {
            Hermux::Process(process) => drop(process.take()),
            Hermux::Inside(running) => {
                if let Some(running) = running.take() {
                    let _ = running.stop();
                }
            }
        }
    }
}

/// The access token of a caller.
pub(crate) fn token_of(caller: usize) -> String {
    format!("hermux-pool-{caller:032x}")
}

fn prepare(scenario: Scenario) -> io::Result<(TempDir, Simulator)> {
    let files = TempDir::new()?;
    private(&files.path().join("tokens.csv"), &rows(scenario.keys()))?;
    let mut tokens = String::new();
    for caller in 0..CALLERS {
        let _ = writeln!(tokens, "{} # caller-{caller}", token_of(caller));
    }
    private(&files.path().join("allow.txt"), &tokens)?;
    private(&files.path().join("config.toml"), "")?;
    Ok((files, Simulator::start(scenario)?))
}

fn rows<'k>(keys: impl IntoIterator<Item = &'k Key>) -> String {
    let mut rows = "name,token\n".to_owned();
    for key in keys {
        let _ = writeln!(rows, "{},{}", key.name, key.secret);
    }
    rows
}

fn private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// `hermux serve`; killed when dropped.
#[derive(Debug)]
struct Process {
    child: Child,
    port: u16,
    settings: Vec<(String, String)>,
}

impl Process {
    fn start(files: &Path, port: u16, upstream: &str, settings: Vec<(String, String)>) -> io::Result<Self> {
        let mut command = Command::new(PathBuf::from(env!("CARGO_BIN_EXE_hermux")));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HERMUX_") {
                command.env_remove(name);
            }
        }
        command.envs(settings.iter().map(|(name, value)| (name, value)));
        command.args([
            "serve",
            "--address",
            "127.0.0.1",
            "--port",
            &port.to_string(),
            "--upstream",
            upstream,
        ]);
        for (flag, name) in [
            ("--tokens", "tokens.csv"),
            ("--allow", "allow.txt"),
            ("--config", "config.toml"),
            ("--data-dir", "data"),
        ] {
            command.arg(flag).arg(files.join(name));
        }
        let log = fs::OpenOptions::new().create(true).append(true).open(files.join("log"))?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
        let mut process = Self { child, port, settings };
        let since = Instant::now();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        while Ask::get("/ready").send(address, "").status != Some(200) {
            if process.child.try_wait()?.is_some() || since.elapsed() > PATIENCE {
                let said = fs::read_to_string(files.join("log")).unwrap_or_default();
                return Err(io::Error::other(format!("hermux did not become ready: {said}")));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(process)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A clock that runs as fast as the real one from a moment of choice.
#[derive(Debug)]
pub(crate) struct Turning {
    pub(crate) clock: Clock,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Turning {
    pub(crate) fn from(start: Time) -> Self {
        let clock = Clock::fixed(start);
        let stop = Arc::new(AtomicBool::new(false));
        let (moved, stopped) = (clock.clone(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let since = Instant::now();
            while !stopped.load(Ordering::Relaxed) {
                moved.set(start.after(since.elapsed()));
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        Self { clock, stop, thread: Some(thread) }
    }
}

impl Drop for Turning {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
