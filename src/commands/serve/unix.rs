//! The Unix socket that callers connect to: made, guarded by its mode, removed at the end.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use socket2::{Domain, SockAddr, Socket, Type};

/// The file of a socket; dropping this removes it, unless another one stands there by then.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: Option<Identity>,
}

impl SocketFile {
    fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), identity: identity(path) }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path) == self.identity {
            // One that is left behind is found dead by the next server.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Device, inode, and when it was made, since the number of an inode is used again.
type Identity = (u64, u64, i64, i64);

fn identity(path: &Path) -> Option<Identity> {
    let about = fs::symlink_metadata(path).ok()?;
    Some((about.dev(), about.ino(), about.mtime(), about.mtime_nsec()))
}

/// Listens on a new socket at `path` that only `mode` lets connect, in place of one that a dead process left there.
pub(super) fn bind(path: &Path, mode: u32, backlog: i32) -> anyhow::Result<(UnixListener, SocketFile)> {
    let shown = path.display();
    let address = SockAddr::unix(path).with_context(|| {
        format!("not a path for a Unix socket, which has about 100 bytes at most: {shown}")
    })?;
    make_room(path, &address)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).context("could not make a socket")?;
    if let Err(error) = socket.bind(&address) {
        match error.kind() {
            ErrorKind::NotFound => bail!("no such directory, for a Unix socket in it: {shown}"),
            ErrorKind::PermissionDenied => bail!(
                "not allowed to make a Unix socket: {shown}\nhint: choose a directory that you may write to"
            ),
            _ => return Err(error).with_context(|| format!("could not listen: unix:{shown}")),
        }
    }
    let file = SocketFile::new(path);
    // Nobody can connect before it listens, and by then only who may can.
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .with_context(|| format!("could not set the mode of the Unix socket: {shown}"))?;
    socket.listen(backlog).with_context(|| format!("could not listen: unix:{shown}"))?;
    socket.set_nonblocking(true).context("could not prepare the socket")?;
    Ok((OwnedFd::from(socket).into(), file))
}

/// Removes the socket that a dead process left at `path`. Anything else that stands there is an error.
fn make_room(path: &Path, address: &SockAddr) -> anyhow::Result<()> {
    let shown = path.display();
    let Ok(about) = fs::symlink_metadata(path) else { return Ok(()) };
    if !about.file_type().is_socket() {
        bail!("a file stands there that is no socket: {shown}\nhint: choose another path with --address");
    }
    match knock(address) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path)
            .with_context(|| format!("could not remove the socket of a process that is gone: {shown}")),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            bail!("another user's socket stands there: {shown}\nhint: choose another path with --address")
        }
        _ => bail!(
            "the socket is taken: {shown}\nhint: stop what listens there, or choose another path with --address"
        ),
    }
}

/// Connects, or says why not; a server whose backlog is full lives.
fn knock(address: &SockAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(address)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;

    use super::bind;

    #[test]
    fn a_socket_has_its_mode_and_goes_with_its_server() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("callers.sock");
        let (_listener, file) = bind(&path, 0o660, 16).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        UnixStream::connect(&path).unwrap();
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_dead_socket_is_replaced_and_a_living_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("callers.sock");
        let (listener, file) = bind(&path, 0o600, 16).unwrap();
        std::mem::forget(file);
        assert!(bind(&path, 0o600, 16).unwrap_err().to_string().starts_with("the socket is taken: "));
        drop(listener);
        let (_listener, _file) = bind(&path, 0o600, 16).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn who_ends_late_leaves_the_socket_of_who_came_after() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("callers.sock");
        let (listener, file) = bind(&path, 0o600, 16).unwrap();
        drop(listener);
        let (_listener, _new) = bind(&path, 0o600, 16).unwrap();
        drop(file);
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn what_stands_in_the_way_is_named_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("precious");
        fs::write(&path, "text").unwrap();
        let told = bind(&path, 0o600, 16).unwrap_err().to_string();
        assert!(told.contains("no socket") && told.contains("precious"), "{told}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "text");
        for path in [folder.path().join("d".repeat(120)), folder.path().join("missing/callers.sock")] {
            let told = bind(&path, 0o600, 16).unwrap_err().to_string();
            assert!(told.contains(&path.display().to_string()), "{told}");
        }
    }
}
