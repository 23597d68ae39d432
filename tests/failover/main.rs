//! What hermux does about an answer that is no answer: another key, once more, or passing it on.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "../support/mod.rs"]
mod support;

mod cut;
mod hold;
mod keys;
mod provider;

use std::sync::atomic::{AtomicUsize, Ordering};

use support::hermux::Answer;
use support::{Exchange, Hermux, Request, Setup, Upstream, samples};

/// An error as `OpenRouter` words it (its docs, Errors and Limits pages; the wording of 401 and 403 was seen live).
const REFUSED: (u16, &str) = (401, r#"{"error":{"message":"User not found.","code":401}}"#);
const NO_CREDITS: (u16, &str) = (
    402,
    r#"{"error":{"message":"Insufficient credits. Add more using https://openrouter.ai/settings/credits","code":402,"metadata":{"limit_source":"openrouter_credits"}}}"#,
);
const CAP: (u16, &str) = (403, r#"{"error":{"message":"Key limit exceeded (total limit)","code":403}}"#);
const FREE_MINUTE: (u16, &str) = (
    429,
    r#"{"error":{"message":"Rate limit exceeded: free-models-per-min. ","code":429,"metadata":{"limit_source":"openrouter_free_tier_per_minute"}}}"#,
);
const BUSY: (u16, &str) = (
    429,
    r#"{"error":{"message":"Provider returned error","code":429,"metadata":{"provider_name":"Acme","limit_source":"upstream_provider_shared_pool"}}}"#,
);
const DOWN: (u16, &str) = (
    502,
    r#"{"error":{"message":"Provider returned error","code":502,"metadata":{"provider_name":"Acme"}}}"#,
);

/// An upstream whose first `count` answers come from `bad`, and all later ones are good.
fn bad_first(count: usize, bad: impl Fn(Exchange) + Send + Sync + 'static) -> Upstream {
    let asked = AtomicUsize::new(0);
    Upstream::answering(move |exchange| {
        if asked.fetch_add(1, Ordering::SeqCst) < count {
            bad(exchange);
        } else {
            exchange.json(200, samples::CHAT);
        }
    })
}

/// The same with an error.
fn fails_first(count: usize, (status, body): (u16, &'static str)) -> Upstream {
    bad_first(count, move |exchange| exchange.json(status, body))
}

/// A hermux with `keys` keys that keeps nobody waiting, neither for a key nor for what is held.
fn start(upstream: &Upstream, keys: usize) -> Hermux {
    Setup::new(upstream).keys(keys).variable("HERMUX_COMMIT_AFTER", "5s").start()
}

/// A request that would rather be refused than wait.
fn chat() -> Request {
    Request::chat(false).header("X-HERMUX-Max-Wait", "0")
}

/// How many attempts an answer says there were.
fn attempts(answer: &Answer) -> usize {
    answer.head.header("x-hermux-attempts").expect("it came of an attempt").parse().unwrap()
}
