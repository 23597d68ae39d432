//! Callers of every kind: those who stay, those who leave, and those whose answers break off.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use crate::asks;
use crate::support::{Connection, End};

const PATHS: [&str; 5] =
    ["/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/completions", "/v1/embeddings"];

/// An answer that came to its end: its generation, and when its last byte was here.
pub(crate) type Whole = (String, Instant);

/// Has `callers` callers send requests one after another until there were `requests` of them or `stop` says so; each third one
/// of a stream leaves it. The answers that came to their end.
pub(crate) fn run(
    address: SocketAddr,
    callers: usize,
    requests: usize,
    stop: &Arc<AtomicBool>,
) -> Vec<Whole> {
    let next = Arc::new(AtomicUsize::new(0));
    let whole = Arc::new(Mutex::new(Vec::new()));
    let threads: Vec<_> = (0..callers)
        .map(|_| {
            let (next, whole, stop) = (Arc::clone(&next), Arc::clone(&whole), Arc::clone(stop));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= requests {
                        return;
                    }
                    if let Some(done) = one(address, number) {
                        whole.lock().unwrap().push(done);
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        // Once hermux is killed, a caller's connection may fail in any way.
        let _ = thread.join();
    }
    std::mem::take(&mut *whole.lock().unwrap())
}

fn one(address: SocketAddr, number: usize) -> Option<Whole> {
    let path = PATHS[number % PATHS.len()];
    let stream = number.is_multiple_of(2);
    let mut connection = Connection::open(address);
    connection.send(asks(path, stream, &format!("number {number}")).bytes());
    let head = connection.answer();
    if head.status() != 200 {
        let _ = connection.rest();
        return None;
    }
    if stream && path != "/v1/embeddings" && number.is_multiple_of(3) {
        connection.bytes_at_least(1);
        connection.cut_fin();
        return None;
    }
    let (_, end) = connection.rest();
    let at = Instant::now();
    (end == End::Complete).then(|| (head.header("x-generation-id").unwrap_or_default().to_owned(), at))
}
