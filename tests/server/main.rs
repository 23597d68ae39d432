//! The server on connections in memory: what it reads and writes, beside hyper's, and the time of a request's head.

#![expect(clippy::unwrap_used, reason = "in a test it is an assertion, also in what tests share")]

mod answers;
mod leave;
mod oracle;
mod script;
mod seen;
mod split;
mod streams;
mod strict;
mod time;
