//! Access tokens with limits, against the running server, and the commands that make, show, check and revoke them.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "../support/mod.rs"]
mod support;

mod commands;
mod counts;
mod keys;
mod lasting;
mod models;
#[cfg(target_os = "linux")]
mod terminal;

use support::hermux::{Answer, write_private};
use support::{Exchange, Hermux, Request, Setup, TOKEN, Upstream, samples};

/// Answers every request with a chat completion, which costs 21 millionths of a dollar.
fn chat(exchange: Exchange) {
    exchange.json(200, samples::CHAT);
}

/// hermux whose one caller has these attributes.
fn bounded(upstream: &Upstream, attributes: &str) -> Setup {
    let setup = Setup::new(upstream);
    bind(&setup, attributes);
    setup
}

/// Gives the caller these attributes.
fn bind(setup: &Setup, attributes: &str) {
    write_private(&setup.allow(), &format!("{TOKEN} name=tester {attributes}\n"));
}

/// A chat completion of this model.
fn of(model: &str) -> Request {
    Request::post("/v1/chat/completions", &format!(r#"{{"model":"{model}","messages":[]}}"#))
}

/// The sentence of an error.
fn said(answer: &Answer) -> String {
    answer.json()["error"]["message"].as_str().unwrap().to_owned()
}

/// Asks until the answer has this status.
fn wait_for(hermux: &Hermux, request: &Request, status: u16) -> Answer {
    support::eventually(&format!("the answer is a {status}"), || {
        Some(hermux.ask(request)).filter(|answer| answer.status() == status)
    })
}
