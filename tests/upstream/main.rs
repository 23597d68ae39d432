//! The upstream client over real sockets, against servers that cut, stall, split and garble by script.

#![expect(clippy::unwrap_used, reason = "in a test it is an assertion, also in what tests share")]

mod answers;
mod connections;
mod oracle;
mod requests;
mod script;
mod tls;
