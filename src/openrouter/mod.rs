//! `OpenRouter`'s language: pure functions of bytes and headers, without state and sockets.

pub mod account;
pub mod catalogue;
pub mod dialect;
pub mod fault;
pub mod generation;
mod json;
mod money;
pub mod request;
pub mod resource;
pub mod sse;
pub mod usage;
