//! hermux: a multiplexing streaming proxy for `OpenRouter`, and the toolkit around it.
//!
//! The modules stand in the order in which they may name each other, ground first;
//! `ARCHITECTURE.md` tells the way of a request and `tests/layers.rs` keeps the arrows.

pub mod clock;
pub mod secret;
pub mod textfile;

mod http1;

pub mod access;
pub mod keys;
pub mod ledger;
pub mod openrouter;
pub mod upstream;

pub mod proxy;
pub mod server;

pub mod simulator;

pub mod control;
pub mod metrics;

pub mod config;
pub mod logging;
pub mod watch;

pub mod cli;
pub mod commands;
