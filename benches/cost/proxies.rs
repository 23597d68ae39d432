//! The contenders: hermux and nginx as child processes, what they cost, and their end.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::load::Target;

/// How many access tokens there are.
const CALLERS: usize = 1_001;

/// How long a contender may take to be ready, and to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// One proxy to be measured, with its files.
#[derive(Debug)]
pub(crate) struct Contender {
    pub(crate) label: String,
    kind: Kind,
    files: TempDir,
}

#[derive(Debug)]
enum Kind {
    Hermux(PathBuf),
    Nginx(PathBuf),
}

impl Contender {
    /// `binary` with so many keys.
    pub(crate) fn hermux(label: String, binary: PathBuf, keys: usize) -> io::Result<Self> {
        let files = TempDir::new()?;
        let mut rows = "name,token\n".to_owned();
        for key in 0..keys {
            let _ = writeln!(rows, "key-{key:05},{}", key_of(key));
        }
        let mut tokens = String::new();
        for caller in 0..CALLERS {
            let _ = writeln!(tokens, "{} # caller-{caller}", token_of(caller));
        }
        private(&files.path().join("tokens.csv"), &rows)?;
        private(&files.path().join("allow.txt"), &tokens)?;
        private(&files.path().join("config.toml"), "")?;
        Ok(Self { label, kind: Kind::Hermux(binary), files })
    }

    /// nginx with an equal check, where it is installed.
    pub(crate) fn nginx() -> io::Result<Option<Self>> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path)
            .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")])
            .map(|directory| directory.join("nginx"))
            .find(|file| file.is_file());
        let Some(binary) = found else { return Ok(None) };
        Ok(Some(Self { label: "nginx".to_owned(), kind: Kind::Nginx(binary), files: TempDir::new()? }))
    }

    /// Starts it alone on `core`, with an empty data directory, and waits until it is ready.
    pub(crate) fn start(&self, upstream: u16, core: Option<&str>) -> io::Result<Running> {
        let port = free_port()?;
        let data = TempDir::new()?;
        let files = self.files.path();
        let mut command = match (&self.kind, core) {
            (Kind::Hermux(binary) | Kind::Nginx(binary), None) => Command::new(binary),
            (Kind::Hermux(binary) | Kind::Nginx(binary), Some(core)) => {
                let mut command = Command::new("taskset");
                command.args(["-c", core]).arg(binary);
                command
            }
        };
        match &self.kind {
            Kind::Hermux(_) => {
                command
                    .args(["serve", "--workers", "1", "--address", "127.0.0.1"])
                    .args(["--port", &port.to_string()])
                    .args(["--upstream", &format!("http://127.0.0.1:{upstream}/api/v1")])
                    .arg("--tokens")
                    .arg(files.join("tokens.csv"))
                    .arg("--allow")
                    .arg(files.join("allow.txt"))
                    .arg("--config")
                    .arg(files.join("config.toml"))
                    .arg("--data-dir")
                    .arg(data.path());
            }
            Kind::Nginx(_) => {
                let config = data.path().join("nginx.conf");
                fs::write(&config, nginx_conf(data.path(), port, upstream))?;
                command.arg("-p").arg(data.path()).arg("-c").arg(config).arg("-e").arg("stderr");
            }
        }
        let log = data.path().join("stderr");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HERMUX_") {
                command.env_remove(name);
            }
        }
        // What hermux asks on its own account is no part of a request's cost.
        command.env("HERMUX_NO_POLL", "true");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&log)?);
        let since = Instant::now();
        let child = command.spawn()?;
        let target = Target { port, token: token_of(CALLERS - 1) };
        let mut running = Running { child, target, ready: Duration::ZERO, _data: data };
        while !is_ready(port) {
            if running.child.try_wait()?.is_some() || since.elapsed() > PATIENCE {
                let log = fs::read_to_string(&log).unwrap_or_default();
                return Err(io::Error::other(format!("{} did not become ready: {log}", self.label)));
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        running.ready = since.elapsed();
        Ok(running)
    }
}

/// A contender that serves; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    pub(crate) target: Target,
    /// From before its start until it first said that it was ready.
    pub(crate) ready: Duration,
    _data: TempDir,
}

impl Running {
    /// The process and its children.
    fn processes(&self) -> Vec<u32> {
        let parent = self.child.id();
        let children = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|pid| parent_of(*pid) == Some(parent));
        std::iter::once(parent).chain(children).collect()
    }

    /// CPU time of all its threads so far, user and kernel.
    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        let mut nanos = 0_u64;
        for pid in self.processes() {
            for task in fs::read_dir(format!("/proc/{pid}/task"))? {
                let stat = fs::read_to_string(task?.path().join("schedstat"))?;
                nanos += stat.split(' ').next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
            }
        }
        if nanos == 0 {
            return Err(io::Error::other("this kernel keeps no /proc/PID/schedstat"));
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Resident memory, KiB; what the kernel holds for its sockets is not in it.
    pub(crate) fn resident(&self) -> io::Result<u64> {
        let mut sum = 0;
        for pid in self.processes() {
            let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
            let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
            sum += line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(sum)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let processes = self.processes();
        // Asked first, because a master that is killed leaves its workers behind.
        signal("TERM", &processes[..1]);
        let since = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            // Streams that are still open would be given their time; nobody waits for them here.
            if since.elapsed() > Duration::from_secs(2) {
                signal("KILL", &processes);
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.wait();
    }
}

fn signal(name: &str, processes: &[u32]) {
    let pids: Vec<_> = processes.iter().map(u32::to_string).collect();
    let script = format!("kill -{name} {}", pids.join(" "));
    // A process that has ended already is what is wanted.
    let _ = Command::new("sh").args(["-c", &script]).stderr(Stdio::null()).status();
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn is_ready(port: u16) -> bool {
    let ask = || -> io::Result<bool> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut socket = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        socket.write_all(b"GET /ready HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
        let mut status = [0; 12];
        socket.read_exact(&mut status)?;
        Ok(status == *b"HTTP/1.1 200")
    };
    ask().unwrap_or(false)
}

fn private(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

fn key_of(number: usize) -> String {
    format!("sk-or-v1-{number:064x}")
}

fn token_of(number: usize) -> String {
    format!("hermux-bench-{number:032x}")
}

/// One worker, the same check of 1,001 access tokens, the key set, the answer named, nothing buffered.
fn nginx_conf(directory: &Path, port: u16, upstream: u16) -> String {
    let directory = directory.display();
    let mut tokens = String::new();
    for caller in 0..CALLERS {
        let _ = writeln!(tokens, r#"        "Bearer {}" "caller-{caller}";"#, token_of(caller));
    }
    let is_root = fs::read_to_string("/proc/self/status").is_ok_and(|status| status.contains("\nUid:\t0\t"));
    let user = if is_root { "user root;" } else { "" };
    let key = key_of(1);
    format!(
        r#"{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
pid {directory}/nginx.pid;
error_log stderr error;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    tcp_nodelay on;
    keepalive_timeout 120s;
    keepalive_requests 1000000000;
    client_max_body_size 0;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    map_hash_max_size 8192;
    map_hash_bucket_size 128;
    map $http_authorization $caller {{
        default "";
{tokens}    }}
    upstream mock {{
        server 127.0.0.1:{upstream};
        keepalive 2048;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = /ready {{ return 200; }}
        location /api/v1/ {{
            if ($caller = "") {{ return 401; }}
            proxy_pass http://mock;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host "openrouter.ai";
            proxy_set_header Authorization "Bearer {key}";
            proxy_buffering off;
            proxy_read_timeout 300s;
            add_header X-TOKEN-NAME "key-00001";
        }}
    }}
}}
"#
    )
}
