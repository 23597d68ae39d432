//! The listening sockets, made here or handed over by a service manager, and how many connections the file limit allows.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener};
#[cfg(unix)]
use std::os::unix::net::UnixListener;

use anyhow::{Context, bail};
use socket2::{Domain, Protocol, Type};

#[cfg(unix)]
use super::unix::{self, SocketFile};
#[cfg(unix)]
use crate::commands::Usage;
use crate::config::{Address, Config};

/// Connections that wait to be accepted. The kernel may hold it lower.
const BACKLOG: i32 = 4096;

/// What is listened on.
#[derive(Debug)]
pub(super) struct Sockets {
    open: Vec<Socket>,
    /// Whether a service manager handed them over, who keeps them open after this process.
    inherited: bool,
    #[cfg(unix)]
    file: Option<SocketFile>,
}

/// One socket that is listened on.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener),
}

impl Sockets {
    /// Opens what the configuration says.
    pub(super) fn bind(config: &Config) -> anyhow::Result<Self> {
        match &config.address {
            Address::Ip(address) => {
                let socket = Socket::Tcp(bind(*address, config.port)?);
                Ok(Self {
                    open: vec![socket],
                    inherited: false,
                    #[cfg(unix)]
                    file: None,
                })
            }
            #[cfg(unix)]
            Address::Unix(path) => {
                let (listener, file) = unix::bind(path, config.socket_mode, BACKLOG)?;
                Ok(Self { open: vec![Socket::Unix(listener)], inherited: false, file: Some(file) })
            }
            #[cfg(not(unix))]
            Address::Unix(_) => {
                bail!("this system has no Unix sockets: {}\nhint: choose an IP address", config.address)
            }
        }
    }

    /// The sockets that the service manager handed over (`sd_listen_fds(3)`); `None` where it did not. Has to be called
    /// before any thread is started, since it takes the variables away.
    #[cfg(unix)]
    pub(super) fn inherited() -> anyhow::Result<Option<Self>> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut handed = listenfd::ListenFd::from_env();
        let mut sockets = Vec::new();
        for at in 0..handed.len() {
            let name = names.next().filter(|name| !name.is_empty()).unwrap_or("without a name");
            let socket = match handed.take_tcp_listener(at) {
                Ok(socket) => socket.map(Socket::Tcp),
                Err(_) => handed.take_unix_listener(at).ok().flatten().map(Socket::Unix),
            };
            let socket = socket.filter(Socket::listens).ok_or_else(|| {
                Usage(format!(
                    "the service manager handed over what is no listening stream socket: {name}\n\
                     hint: use ListenStream= in the socket unit, and Accept=no"
                ))
            })?;
            socket.set_nonblocking().context("could not prepare the socket")?;
            sockets.push(socket);
        }
        Ok((!sockets.is_empty()).then_some(Self { open: sockets, inherited: true, file: None }))
    }

    #[cfg(not(unix))]
    pub(super) fn inherited() -> anyhow::Result<Option<Self>> {
        Ok(None)
    }

    /// Whether a service manager handed them over.
    pub(super) fn are_inherited(&self) -> bool {
        self.inherited
    }

    /// The addresses of those that are TCP.
    pub(super) fn tcp(&self) -> impl Iterator<Item = SocketAddr> {
        self.open.iter().filter_map(Socket::tcp)
    }

    /// The paths of those that are Unix sockets.
    #[cfg(unix)]
    pub(super) fn paths(&self) -> impl Iterator<Item = std::path::PathBuf> {
        self.open.iter().filter_map(Socket::path)
    }

    #[cfg(not(unix))]
    pub(super) fn paths(&self) -> impl Iterator<Item = std::path::PathBuf> {
        std::iter::empty()
    }

    /// All of them, `scheme` before what is TCP: `http://127.0.0.1:3333, unix:/run/hermux.sock`.
    pub(super) fn show(&self, scheme: &str) -> String {
        let tcp = self.tcp().map(|address| format!("{scheme}{address}"));
        let unix = self.paths().map(|path| format!("unix:{}", path.display()));
        tcp.chain(unix).collect::<Vec<_>>().join(", ")
    }

    /// More handles on the same sockets.
    pub(super) fn handles(&self) -> anyhow::Result<Vec<Socket>> {
        self.open.iter().map(|socket| socket.try_clone().context("could not share the listener")).collect()
    }

    /// Closes these handles. What is handed out removes the file of a Unix socket when it is dropped.
    pub(super) fn close(self) -> Place {
        Place {
            #[cfg(unix)]
            _file: self.file,
        }
    }
}

/// Where callers find the server; dropping it has nobody find it any more.
#[derive(Debug)]
pub(super) struct Place {
    #[cfg(unix)]
    _file: Option<SocketFile>,
}

impl Socket {
    fn try_clone(&self) -> std::io::Result<Self> {
        match self {
            Self::Tcp(listener) => listener.try_clone().map(Self::Tcp),
            #[cfg(unix)]
            Self::Unix(listener) => listener.try_clone().map(Self::Unix),
        }
    }

    fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            #[cfg(unix)]
            Self::Unix(_) => None,
        }
    }

    #[cfg(unix)]
    fn path(&self) -> Option<std::path::PathBuf> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(listener) => {
                let address = listener.local_addr().ok()?;
                Some(address.as_pathname().map_or_else(|| "(abstract)".into(), std::path::Path::to_owned))
            }
        }
    }

    #[cfg(unix)]
    fn set_nonblocking(&self) -> std::io::Result<()> {
        match self {
            Self::Tcp(listener) => listener.set_nonblocking(true),
            Self::Unix(listener) => listener.set_nonblocking(true),
        }
    }

    /// Whether it takes connections and is not one itself.
    #[cfg(unix)]
    fn listens(&self) -> bool {
        let socket = match self {
            Self::Tcp(listener) => socket2::SockRef::from(listener),
            Self::Unix(listener) => socket2::SockRef::from(listener),
        };
        // Not every system tells.
        socket.is_listener().unwrap_or(true)
    }
}

/// Binds the one listening socket, which the workers share: a port that somebody else has, another
/// hermux included, is an error.
pub(in crate::commands) fn bind(address: IpAddr, port: u16) -> anyhow::Result<TcpListener> {
    let at = SocketAddr::new(address, port);
    let socket = socket2::Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))
        .context("could not make a socket")?;
    // Only lets a port be taken again whose old connections still linger; never one that is listened on.
    #[cfg(unix)]
    socket.set_reuse_address(true).context("could not prepare the socket")?;
    if let Err(error) = socket.bind(&at.into()).and_then(|()| socket.listen(BACKLOG)) {
        match error.kind() {
            ErrorKind::AddrInUse => {
                bail!(
                    "the port is taken: {at}\nhint: stop what listens there, or choose another port with --port"
                )
            }
            ErrorKind::PermissionDenied => {
                bail!("not allowed to listen: {at}\nhint: choose a port above 1023 with --port")
            }
            ErrorKind::AddrNotAvailable => {
                bail!(
                    "no such address on this machine: {address}\nhint: 127.0.0.1 serves this machine, 0.0.0.0 every network"
                )
            }
            _ => return Err(error).with_context(|| format!("could not listen: {at}")),
        }
    }
    socket.set_nonblocking(true).context("could not prepare the socket")?;
    Ok(socket.into())
}

/// Files that are not connections: ledger, logs, key files.
const OTHER_FILES: u64 = 64;

/// How many connections may be open. Each may need one more towards upstream, so without a configured
/// bound it is half of what the file limit, raised to its hard value, leaves.
pub(super) fn connection_bound(configured: Option<usize>) -> usize {
    let files = raise_file_limit();
    let default = usize::try_from(files.saturating_sub(OTHER_FILES) / 2).unwrap_or(usize::MAX);
    configured.unwrap_or(default).clamp(1, tokio::sync::Semaphore::MAX_PERMITS)
}

#[cfg(unix)]
fn raise_file_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    current.unwrap_or(1 << 20)
}

#[cfg(not(unix))]
fn raise_file_limit() -> u64 {
    1 << 16
}
