//! The server's end: one task on the control thread's runtime that answers a few clients at a time.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{Answer, FILE, Reply, View};

/// How many clients are answered at once; the next ones wait in the backlog.
const CLIENTS: usize = 8;

/// How long one client may take, from its connecting to its having the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest question, bytes. Names of keys and models are far shorter.
const LONGEST: u64 = 4096;

/// The control socket of a running server; dropping it removes it.
pub struct Control {
    listener: UnixListener,
    view: View,
    _place: Place,
}

/// The socket's file.
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        // One that is left behind is found dead by the next server.
        let _ = fs::remove_file(&self.0);
    }
}

impl Control {
    /// Opens the socket in `directory`, in place of one that a dead process left there.
    ///
    /// The kernel takes paths of about 100 bytes at most; a longer one is an error.
    pub fn open(directory: &Path, view: View) -> io::Result<Self> {
        let path = directory.join(FILE);
        let address = SockAddr::unix(&path)?;
        if fs::symlink_metadata(&path).is_ok_and(|about| about.file_type().is_socket()) && is_dead(&address)?
        {
            fs::remove_file(&path)?;
        }
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&address)?;
        let place = Place(path);
        // Nobody can connect before it listens, and by then only its owner can.
        fs::set_permissions(&place.0, fs::Permissions::from_mode(0o600))?;
        socket.listen(64)?;
        socket.set_nonblocking(true)?;
        Ok(Self { listener: OwnedFd::from(socket).into(), view, _place: place })
    }

    /// Answers until it is dropped. Has to be run by a tokio runtime.
    pub async fn serve(self) {
        let Self { listener, view, _place } = self;
        let listener = match tokio::net::UnixListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::warn!("the control socket does not work: {error}");
                return;
            }
        };
        let view = Arc::new(view);
        let mut clients = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept(), if clients.len() < CLIENTS => match accepted {
                    Ok((stream, _)) => {
                        clients.spawn(timeout(PATIENCE, exchange(stream, Arc::clone(&view))));
                    }
                    // Out of files, most likely: some will be given back.
                    Err(_) => sleep(Duration::from_millis(100)).await,
                },
                Some(_) = clients.join_next() => {}
            }
        }
    }
}

/// Whether nobody listens on the socket at `address` any more.
fn is_dead(address: &SockAddr) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A server whose backlog is full lives.
    socket.set_nonblocking(true)?;
    Ok(socket.connect(address).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused))
}

/// Takes one line and answers it. A client that breaks off has said all it wanted.
async fn exchange(mut stream: UnixStream, view: Arc<View>) -> io::Result<()> {
    let (read, mut write) = stream.split();
    let mut line = Vec::new();
    BufReader::new(read).take(LONGEST + 1).read_until(b'\n', &mut line).await?;
    let reply = if u64::try_from(line.len()).is_ok_and(|length| length <= LONGEST) {
        view.answer(&line)
    } else {
        let answer = Answer::Error(format!("the line is longer than {LONGEST} bytes"));
        Reply { server: view.server.clone(), answer }
    };
    let mut text = serde_json::to_vec(&reply)?;
    text.push(b'\n');
    write.write_all(&text).await?;
    write.shutdown().await
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;
    use std::path::{Path, PathBuf};

    use super::super::tests::view;
    use super::{Control, FILE};

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn only_its_owner_can_connect_and_it_goes_with_its_server() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        let control = Control::open(directory.path(), view()).unwrap();
        assert_eq!(mode(&path), 0o600);
        drop(control);
        assert!(!path.exists());
    }

    #[test]
    fn a_dead_socket_is_replaced_and_a_living_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a process that dies leaves it behind");
        let living = Control::open(directory.path(), view()).unwrap();
        assert!(Control::open(directory.path(), view()).is_err());
        assert!(path.exists(), "it was left alone");
        drop(living);
    }

    #[test]
    fn a_file_of_that_name_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        fs::write(&path, "precious").unwrap();
        assert!(Control::open(directory.path(), view()).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_path_too_long_for_a_socket_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let deep: PathBuf = directory.path().join("d".repeat(120));
        fs::create_dir(&deep).unwrap();
        assert!(Control::open(&deep, view()).is_err());
        assert_eq!(fs::read_dir(&deep).unwrap().count(), 0);
    }
}
