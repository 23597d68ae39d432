//! The real binary as a child process: its files, its address, its log, its end.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::PATIENCE;
use super::request::Request;
use super::upstream::Upstream;
use super::wire::{Connection, End, Head};

/// The access token in `allow.txt`, whose caller is called `tester`.
pub(crate) const TOKEN: &str = "hx-0123456789abcdef0123456789abcdef-tests";

/// The secret of the key called `key-{number}`.
pub(crate) fn secret(number: usize) -> String {
    format!("sk-or-v1-{number:064x}")
}

/// `tokens.csv` with the keys of these numbers.
pub(crate) fn tokens_csv(numbers: impl IntoIterator<Item = usize>) -> String {
    numbers.into_iter().fold("name,token\n".to_owned(), |mut csv, number| {
        writeln!(csv, "key-{number},{}", secret(number)).expect("a String takes text");
        csv
    })
}

/// What hermux is started with: its directory, flags and environment. The directory goes when this goes.
#[derive(Debug)]
pub(crate) struct Setup {
    directory: TempDir,
    upstream: String,
    args: Vec<String>,
    variables: Vec<(String, String)>,
    files: Option<usize>,
    port: u16,
    polls: bool,
    handed: Vec<OwnedFd>,
}

impl Setup {
    /// One key (`key-1`), one access token, and `upstream` behind it.
    pub(crate) fn new(upstream: &Upstream) -> Self {
        Self::url(&upstream.url())
    }

    /// The same with any `--upstream`.
    pub(crate) fn url(upstream: &str) -> Self {
        let directory = TempDir::new().expect("the temporary directory is writable");
        let setup = Self {
            directory,
            upstream: upstream.to_owned(),
            args: Vec::new(),
            variables: Vec::new(),
            files: None,
            port: 0,
            polls: false,
            handed: Vec::new(),
        };
        write_private(&setup.tokens(), &tokens_csv([1]));
        write_private(&setup.allow(), &format!("{TOKEN} # tester\n"));
        setup
    }

    /// `count` keys, `key-1` and on.
    pub(crate) fn keys(self, count: usize) -> Self {
        write_private(&self.tokens(), &tokens_csv(1..=count));
        self
    }

    /// A flag and its value.
    pub(crate) fn flag(mut self, flag: &str, value: &str) -> Self {
        self.args.extend([flag.to_owned(), value.to_owned()]);
        self
    }

    /// A flag without a value.
    pub(crate) fn switch(mut self, flag: &str) -> Self {
        self.args.push(flag.to_owned());
        self
    }

    /// Lets hermux ask upstream about its keys on its own account; without this, upstream sees what the test sends alone.
    pub(crate) fn polling(mut self) -> Self {
        self.polls = true;
        self
    }

    /// An environment variable.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Holds no answer back while only its head and comments came, for tests that send them before the rest.
    pub(crate) fn holding_nothing(self) -> Self {
        self.variable("HERMUX_COMMIT_AFTER", "0s")
    }

    /// A port of the test's choice.
    pub(crate) fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// A listening socket, or what may pass for one, that is handed over as by a service manager; two at most.
    pub(crate) fn handing(mut self, socket: impl Into<OwnedFd>) -> Self {
        self.handed.push(socket.into());
        self
    }

    /// A limit on open files, soft and hard.
    pub(crate) fn open_files(mut self, limit: usize) -> Self {
        self.files = Some(limit);
        self
    }

    /// `tokens.csv`.
    pub(crate) fn tokens(&self) -> PathBuf {
        self.directory.path().join("tokens.csv")
    }

    /// `allow.txt`.
    pub(crate) fn allow(&self) -> PathBuf {
        self.directory.path().join("allow.txt")
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The directory that holds all of it.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Starts `hermux serve` and waits until it is ready.
    pub(crate) fn start(self) -> Hermux {
        let process = self.spawn();
        let line = process.wait_for_line("ready: ");
        let address = match line.split("://").nth(1).and_then(|rest| rest.split([' ', ',', '/']).next()) {
            Some(address) => {
                address.parse().unwrap_or_else(|_| panic!("no address in the ready line: {line}"))
            }
            // On a Unix socket alone.
            None => SocketAddr::from(([0; 4], 0)),
        };
        Hermux { process, address, setup: self }
    }

    /// Starts `hermux serve`, which must end by itself, and returns its exit and what it said.
    pub(crate) fn start_in_vain(&self) -> (ExitStatus, String) {
        let process = self.spawn();
        let status = process.wait();
        (status, process.lines().join("\n"))
    }

    /// A `hermux` command in a clean environment.
    pub(crate) fn command(&self) -> Command {
        self.command_with(&[])
    }

    /// The same with sockets handed over.
    fn command_with(&self, handed: &[OwnedFd]) -> Command {
        let binary = env!("CARGO_BIN_EXE_hermux");
        let limit = self.files.map(|limit| format!("ulimit -n {limit}; "));
        // Sockets come in as standard input and output and are moved to where a service manager puts them.
        let hand = (!handed.is_empty()).then(|| {
            let count = handed.len();
            let names = &["callers:more", "callers"][2 - count];
            format!(
                "exec 3<&0 4>&1 </dev/null >/dev/null; \
                 export LISTEN_PID=$$ LISTEN_FDS={count} LISTEN_FDNAMES={names}; "
            )
        });
        let mut command = match (limit, hand) {
            (None, None) => Command::new(binary),
            (limit, hand) => {
                let mut shell = Command::new("/bin/sh");
                let before = limit.unwrap_or_default() + &hand.unwrap_or_default();
                shell.args(["-c", &format!("{before}exec \"$0\" \"$@\""), binary]);
                shell
            }
        };
        command.env_clear().env("HOME", self.directory.path()).current_dir(self.directory.path());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    fn spawn(&self) -> Process {
        let mut command = self.command_with(&self.handed);
        command.arg("serve").args(["--port", &self.port.to_string(), "--upstream", &self.upstream]);
        for (flag, path) in [("--tokens", self.tokens()), ("--allow", self.allow())] {
            command.arg(flag).arg(path);
        }
        if !self.args.iter().any(|arg| arg == "--data-dir") {
            command.arg("--data-dir").arg(self.data());
        }
        if !self.polls {
            command.arg("--no-poll");
        }
        let mut ends = self.handed.iter().map(|socket| socket.try_clone().expect("a socket can be doubled"));
        let mut end = || ends.next().map_or_else(Stdio::null, Stdio::from);
        let (stdin, stdout) = (end(), end());
        Process::spawn(command.args(&self.args).stdin(stdin).stdout(stdout))
    }
}

/// Writes a file that only its owner can read.
pub(crate) fn write_private(path: &Path, text: &str) {
    fs::write(path, text).expect("the temporary directory is writable");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("the file is the test's own");
}

/// What a process wrote to stderr so far.
#[derive(Debug, Default)]
struct Log {
    lines: Vec<String>,
    ended: bool,
}

/// A child process whose stderr is read all the time. It is killed when this is dropped.
#[derive(Debug)]
struct Process {
    pid: u32,
    log: Arc<(Mutex<Log>, Condvar)>,
    exit: Receiver<ExitStatus>,
    exited: Mutex<Option<ExitStatus>>,
}

impl Process {
    fn spawn(command: &mut Command) -> Self {
        command.stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary was built");
        let pid = child.id();
        let stderr = child.stderr.take().expect("it is piped");
        let log = Arc::new((Mutex::new(Log::default()), Condvar::new()));
        let (sender, exit) = mpsc::channel();
        let filling = Arc::clone(&log);
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                filling.0.lock().expect("nobody panics with it").lines.push(line);
                filling.1.notify_all();
            }
            filling.0.lock().expect("nobody panics with it").ended = true;
            filling.1.notify_all();
            sender.send(child.wait().expect("it is our child")).ok();
        });
        Self { pid, log, exit, exited: Mutex::new(None) }
    }

    fn lines(&self) -> Vec<String> {
        self.log.0.lock().expect("nobody panics with it").lines.clone()
    }

    fn find_line(&self, pattern: &str) -> Option<String> {
        let start = Instant::now();
        let mut log = self.log.0.lock().expect("nobody panics with it");
        loop {
            if let Some(line) = log.lines.iter().find(|line| line.contains(pattern)) {
                return Some(line.clone());
            }
            let left = PATIENCE.checked_sub(start.elapsed())?;
            if log.ended {
                return None;
            }
            log = self.log.1.wait_timeout(log, left).expect("nobody panics with it").0;
        }
    }

    fn wait_for_line(&self, pattern: &str) -> String {
        self.find_line(pattern).unwrap_or_else(|| {
            panic!("hermux never said `{pattern}`; it said:\n{}", conceal(&self.lines().join("\n")))
        })
    }

    fn wait(&self) -> ExitStatus {
        let mut exited = self.exited.lock().expect("nobody panics with it");
        *exited.get_or_insert_with(|| {
            self.exit.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("hermux did not end in {PATIENCE:?}"))
        })
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.pid.to_string()]).status();
        assert!(status.expect("kill is installed").success(), "the process is there to take {name}");
    }

    fn running(&self) -> bool {
        let mut exited = self.exited.lock().unwrap_or_else(PoisonError::into_inner);
        if exited.is_none() {
            *exited = self.exit.try_recv().ok();
        }
        exited.is_none()
    }
}

impl Drop for Process {
    #[expect(clippy::print_stderr, reason = "a failed test shows what hermux said")]
    fn drop(&mut self) {
        let ended = if self.running() {
            Command::new("kill").args(["-s", "KILL", &self.pid.to_string()]).status().ok();
            String::new()
        } else {
            let exited = *self.exited.lock().unwrap_or_else(PoisonError::into_inner);
            exited.map(|status| format!(" and had ended ({status})")).unwrap_or_default()
        };
        let said = self.lines().join("\n");
        if thread::panicking() {
            eprintln!("hermux said{ended}:\n{}", conceal(&said));
        } else {
            // Whatever a test does: no secret of the files may ever stand in the log.
            assert_eq!(said, conceal(&said), "a secret stands in the log");
        }
    }
}

/// `text` without the access token and without anything that looks like a key.
fn conceal(text: &str) -> String {
    let mut pieces = text.split("sk-or-v1-");
    let mut clean = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        clean.push_str("(a key)");
        clean.push_str(piece.trim_start_matches(|c: char| c.is_ascii_hexdigit()));
    }
    clean.replace(TOKEN, "(the access token)")
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Status and headers.
    pub(crate) head: Head,
    /// All of the body that came.
    pub(crate) body: Vec<u8>,
    /// How the body ended.
    pub(crate) end: End,
}

impl Answer {
    /// The status.
    pub(crate) fn status(&self) -> u16 {
        self.head.status()
    }

    /// The body as JSON, which must be complete.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.end, End::Complete, "the body was cut");
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", super::show(&self.body)))
    }

    /// The name of the key that served it.
    pub(crate) fn key_name(&self) -> &str {
        self.head.header("x-token-name").expect("every answer of upstream names its key")
    }
}

/// A running `hermux serve`.
#[derive(Debug)]
pub(crate) struct Hermux {
    process: Process,
    address: SocketAddr,
    setup: Setup,
}

impl Hermux {
    /// Starts it with one key and one access token in front of `upstream`.
    pub(crate) fn start(upstream: &Upstream) -> Self {
        Setup::new(upstream).start()
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid
    }

    /// Its files.
    pub(crate) fn setup(&self) -> &Setup {
        &self.setup
    }

    /// A new connection to it.
    pub(crate) fn connect(&self) -> Connection {
        Connection::open(self.address)
    }

    /// Sends a request on a new connection, without waiting for the answer.
    pub(crate) fn send(&self, request: &Request) -> Connection {
        let mut connection = self.connect();
        connection.send(request.bytes());
        connection
    }

    /// Sends a request on a new connection and reads the whole answer.
    pub(crate) fn ask(&self, request: &Request) -> Answer {
        answer(&mut self.send(request))
    }

    /// Sends `request`, which a scripted upstream gets as an exchange: both ends of one request.
    pub(crate) fn open(&self, request: &Request, upstream: &Upstream) -> (Connection, super::Exchange) {
        let connection = self.send(request);
        (connection, upstream.next())
    }

    /// Sends it a signal: `TERM`, `INT`, `HUP`, `KILL`.
    pub(crate) fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Waits for its end.
    pub(crate) fn wait(&self) -> ExitStatus {
        self.process.wait()
    }

    /// Whether it has not ended.
    pub(crate) fn running(&self) -> bool {
        self.process.running()
    }

    /// The lines it wrote to stderr so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.process.lines()
    }

    /// Waits for a line on stderr that contains `pattern`, from its start on.
    pub(crate) fn wait_for_line(&self, pattern: &str) -> String {
        self.process.wait_for_line(pattern)
    }

    /// Kills it, without a chance to clean up, and starts it again with the same files.
    pub(crate) fn kill_and_restart(self) -> Self {
        self.signal("KILL");
        self.wait();
        self.restart()
    }

    /// Starts it again with the same files; it has ended.
    pub(crate) fn restart(self) -> Self {
        let Self { process, setup, .. } = self;
        drop(process);
        setup.start()
    }

    /// Stops it and starts it again with the same files.
    pub(crate) fn stop_and_restart(self) -> Self {
        self.signal("TERM");
        assert!(self.wait().success(), "a stop is a success");
        let Self { process, setup, .. } = self;
        drop(process);
        setup.start()
    }

    /// Stops it and leaves its files.
    pub(crate) fn stop(self) -> Setup {
        self.signal("TERM");
        assert!(self.wait().success(), "a stop is a success");
        let Self { process, setup, .. } = self;
        drop(process);
        setup
    }

    /// Whether hermux asks upstream about its keys, from its next start on.
    pub(crate) fn polls_next(mut self, polls: bool) -> Self {
        self.setup.polls = polls;
        self
    }

    /// What `hermux stats --json` says, read by a second process.
    pub(crate) fn stats(&self) -> Vec<KeyStats> {
        stats(&self.setup)
    }

    /// Waits until `hermux stats` shows what `wanted` looks for; entries are written in batches.
    pub(crate) fn stats_when(&self, what: &str, wanted: impl Fn(&KeyStats) -> bool) -> KeyStats {
        let start = Instant::now();
        loop {
            let sum = KeyStats::sum(&self.stats());
            if wanted(&sum) {
                return sum;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "this did not come about in {PATIENCE:?}: {what}; the sums: {sum:?}"
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Its resident memory, bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs on Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has memory");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of kB") * 1024
    }

    /// The processor time it has used, in clock ticks of 10 ms.
    pub(crate) fn processor_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("it runs on Linux");
        let behind_name = stat.rsplit(") ").next().expect("the name stands in brackets");
        let fields: Vec<&str> = behind_name.split(' ').collect();
        // utime and stime are fields 14 and 15 of proc_pid_stat(5); the state behind the name is field 3.
        [11, 12].map(|field: usize| fields[field].parse::<u64>().expect("a number")).iter().sum()
    }
}

/// Reads the whole answer on a connection.
pub(crate) fn answer(connection: &mut Connection) -> Answer {
    let head = connection.answer();
    let (body, end) = connection.rest();
    Answer { head, body, end }
}

/// What `hermux stats --json` says of the data directory of `setup`.
pub(crate) fn stats(setup: &Setup) -> Vec<KeyStats> {
    let output = setup.command().args(["stats", "--json", "--data-dir"]).arg(setup.data()).output();
    let output = output.expect("the binary was built");
    let errors = conceal(&String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "hermux stats failed: {errors}");
    let stats: Value = serde_json::from_slice(&output.stdout).expect("hermux stats --json prints JSON");
    let keys = stats["keys"].as_array().unwrap_or_else(|| panic!("no keys in {stats}"));
    keys.iter().map(KeyStats::read).collect()
}

/// What one key was used for today.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyStats {
    /// The key's name.
    pub(crate) name: String,
    /// Requests of callers.
    pub(crate) requests: u64,
    /// Requests sent upstream.
    pub(crate) attempts: u64,
    /// Tokens read.
    pub(crate) prompt_tokens: u64,
    /// Tokens written.
    pub(crate) completion_tokens: u64,
}

impl KeyStats {
    fn read(value: &Value) -> Self {
        let number = |name: &str| value[name].as_u64().unwrap_or_else(|| panic!("no {name} in {value}"));
        Self {
            name: value["name"].as_str().unwrap_or_else(|| panic!("no name in {value}")).to_owned(),
            requests: number("requests"),
            attempts: number("attempts"),
            prompt_tokens: number("prompt_tokens"),
            completion_tokens: number("completion_tokens"),
        }
    }

    fn sum(all: &[Self]) -> Self {
        all.iter().fold(Self::default(), |sum, key| Self {
            name: sum.name,
            requests: sum.requests + key.requests,
            attempts: sum.attempts + key.attempts,
            prompt_tokens: sum.prompt_tokens + key.prompt_tokens,
            completion_tokens: sum.completion_tokens + key.completion_tokens,
        })
    }
}
