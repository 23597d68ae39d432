//! Bodies and headers pass as they came, in both directions, at any size and pace.

mod support;

#[path = "relay/bodies.rs"]
mod bodies;
#[path = "relay/closing.rs"]
mod closing;
#[path = "relay/headers.rs"]
mod headers;
#[path = "relay/leaving.rs"]
mod leaving;
#[path = "relay/protocols.rs"]
mod protocols;
#[path = "relay/redaction.rs"]
mod redaction;
#[path = "relay/wire.rs"]
mod wire;
