//! `OpenRouter`'s language: pure functions of bytes and headers, without state and sockets.

pub mod request;
pub mod usage;
