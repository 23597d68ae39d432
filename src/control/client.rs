//! The commands' end: asks the server that uses a data directory, blocking; none is an answer too.

use std::io;
use std::path::Path;

use super::live::Live;
use super::{About, Answer, Ask, AskError, FILE, NO_SUCH_KEY, Reply, State};
use crate::keys::state::Verdict;

/// An answer and whose it is; none where no server uses the directory.
type Asked<T> = Result<Option<(About, T)>, AskError>;

/// The state of the server that uses `directory`.
pub fn state(directory: &Path) -> Asked<State> {
    ask(directory, &Ask::State, |answer| match answer {
        Answer::State(state) => Ok(state),
        other => Err(other),
    })
}

/// The state of the server that uses `directory`, and what led there.
pub fn live(directory: &Path) -> Asked<Live> {
    ask(directory, &Ask::Live, |answer| match answer {
        Answer::Live(live) => Ok(*live),
        other => Err(other),
    })
}

/// Ends the cooldowns of `key` and its account, or of all; tells how many keys had one, or `None` where there is no such key.
pub fn reset(directory: &Path, key: Option<&str>) -> Asked<Option<usize>> {
    ask(directory, &Ask::Reset { key: key.map(str::to_owned) }, |answer| match answer {
        Answer::Reset(ended) => Ok(Some(ended)),
        Answer::Error(why) if why == NO_SUCH_KEY => Ok(None),
        other => Err(other),
    })
}

/// For each key in the file's order, whether it would be chosen for `model` now.
pub fn verdicts(directory: &Path, model: &str) -> Asked<Vec<Verdict>> {
    ask(directory, &Ask::Explain { model: model.to_owned() }, |answer| match answer {
        Answer::Explain(verdicts) => Ok(verdicts),
        other => Err(other),
    })
}

/// Asks, and has the answer taken apart; `take` hands back one that does not belong to the question.
fn ask<T>(directory: &Path, ask: &Ask, take: impl FnOnce(Answer) -> Result<T, Answer>) -> Asked<T> {
    let path = directory.join(FILE);
    let text = match exchange(&path, ask) {
        Ok(Some(text)) => text,
        Ok(None) => return Ok(None),
        Err(reason) => return Err(AskError::Unreachable { path, reason }),
    };
    let Ok(Reply { server, answer }) = serde_json::from_slice(&text) else {
        return Err(AskError::Garbled { path });
    };
    match take(answer) {
        Ok(taken) => Ok(Some((server, taken))),
        Err(Answer::Error(why)) => Err(AskError::Refused(why)),
        Err(_) => Err(AskError::Garbled { path }),
    }
}

#[cfg(unix)]
fn exchange(path: &Path, ask: &Ask) -> io::Result<Option<Vec<u8>>> {
    use std::io::{Read, Write};
    use std::time::Duration;

    use socket2::{Domain, SockAddr, Socket, Type};

    /// For each step. Longer than a server bears with the clients that may stand before this one.
    const PATIENCE: Duration = Duration::from_secs(10);

    // No server can have a socket at a path that is too long for one.
    let Ok(address) = SockAddr::unix(path) else { return Ok(None) };
    let mut socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // On Linux this bounds the wait for a place in the backlog too.
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    if let Err(error) = socket.connect(&address) {
        return match error.kind() {
            // The second is what a process that was killed leaves behind.
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
            _ => Err(error),
        };
    }
    let mut line = serde_json::to_vec(ask)?;
    line.push(b'\n');
    socket.write_all(&line)?;
    let mut text = Vec::new();
    socket.read_to_end(&mut text)?;
    match text.last() {
        Some(b'\n') => Ok(Some(text)),
        _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it broke off")),
    }
}

#[cfg(not(unix))]
fn exchange(_path: &Path, _ask: &Ask) -> io::Result<Option<Vec<u8>>> {
    Ok(None)
}
