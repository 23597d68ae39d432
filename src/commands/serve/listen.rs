//! The listening socket, and how many connections the file limit allows.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener};

use anyhow::{Context, bail};
use socket2::{Domain, Protocol, Socket, Type};

/// Connections that wait to be accepted. The kernel may hold it lower.
const BACKLOG: i32 = 4096;

/// Binds the one listening socket, which the workers share: a port that somebody else has, another
/// hermux included, is an error.
pub(in crate::commands) fn bind(address: IpAddr, port: u16) -> anyhow::Result<TcpListener> {
    let at = SocketAddr::new(address, port);
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))
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
