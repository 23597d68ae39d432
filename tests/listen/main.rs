//! The ways in besides plain TCP: TLS, Unix sockets, sockets of a service manager; and pages of other origins.

#![expect(clippy::unwrap_used, reason = "in a test it is an assertion, also in what tests share")]

#[path = "../support/mod.rs"]
mod support;

mod activation;
mod cors;
mod held;
mod line;
mod tls;
mod unix;

use support::{Exchange, samples};

/// Answers any request with a chat completion.
fn chat(exchange: Exchange) {
    exchange.json(200, samples::CHAT);
}
