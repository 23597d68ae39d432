//! What the integration tests stand on: the real binary, a scripted upstream, and clients that see exact bytes.
#![allow(dead_code, unused_imports, reason = "each test file uses a part of it")]

pub(crate) mod h2;
pub(crate) mod hermux;
pub(crate) mod request;
pub(crate) mod samples;
pub(crate) mod upstream;
pub(crate) mod wire;

use std::thread;
use std::time::{Duration, Instant};

pub(crate) use hermux::{Hermux, Setup, TOKEN};
pub(crate) use request::Request;
pub(crate) use upstream::{Exchange, Upstream};
pub(crate) use wire::{Connection, End, Head, find};

/// How long a test waits for something that has to come. It is reached only when the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Asks `probe` again and again until it returns something, and fails with `what` when it never does.
/// For states that no event announces, such as a file that has been read again.
pub(crate) fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "this did not come about in {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Shows bytes in a failure's text, cut to a readable length.
pub(crate) fn show(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(2_000)];
    let rest = bytes.len() - shown.len();
    let more = if rest > 0 { format!(" … and {rest} more bytes") } else { String::new() };
    format!("{}{more}", String::from_utf8_lossy(shown))
}
