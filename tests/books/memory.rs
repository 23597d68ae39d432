//! A stream takes little memory, whatever passes.

use std::thread;

use crate::support::{Hermux, Request, Upstream, eventually};

/// Streams one line of `bytes` bytes through hermux, then its usage; how much memory it took meanwhile at most, bytes.
fn line_of(bytes: usize) -> u64 {
    let upstream = Upstream::start();
    let hermux = Hermux::start(&upstream);
    let (mut connection, mut exchange) = hermux.open(&Request::chat(true), &upstream);
    exchange.begin_stream();
    connection.answer();
    let before = hermux.resident_bytes();
    let mut writer = exchange.wire.writer();
    let writing = thread::spawn(move || {
        let mut chunk = |text: &str| writer.try_send(format!("{:x}\r\n{text}\r\n", text.len())).unwrap();
        chunk("data: {\"choices\":[{\"delta\":{\"content\":\"");
        let slice = "x".repeat(1 << 16);
        (0..bytes >> 16).for_each(|_| chunk(&slice));
        chunk(
            "\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":7,\"cost\":0.5}}\n\ndata: [DONE]\n\n",
        );
        writer.try_send("0\r\n\r\n").unwrap();
    });
    let mut most = before;
    let mut left = bytes;
    while left > 0 {
        let part = left.min(1 << 22);
        left = left.saturating_sub(connection.bytes_at_least(part).len());
        most = most.max(hermux.resident_bytes());
    }
    connection.rest();
    writing.join().unwrap();
    let sum = hermux.stats_when("its usage", |sum| sum.completion_tokens == 7);
    assert_eq!(sum.prompt_tokens, 3);
    eventually("it is over", || hermux.running().then_some(()));
    most - before
}

#[test]
fn a_line_of_64_mebibytes_takes_no_memory() {
    let took = line_of(1 << 26);
    assert!(took < 4 << 20, "{took}");
}

#[test]
#[ignore = "takes long: run by `just slow`"]
fn a_line_of_a_gibibyte_takes_no_memory() {
    let took = line_of(1 << 30);
    assert!(took < 4 << 20, "{took}");
}
