//! What outlives a process and what it learns by itself: notes, the columns of `tokens.csv`, questions about the keys.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by its panic")]

#[path = "../support/mod.rs"]
mod support;

mod columns;
mod notes;
mod poll;
mod restart;
