//! What a caller sees when upstream fails, before the first byte and behind it.

mod support;

#[path = "faults/after.rs"]
mod after;
#[path = "faults/before.rs"]
mod before;
#[path = "faults/blocked.rs"]
mod blocked;
#[path = "faults/reuse.rs"]
mod reuse;
#[path = "faults/upload.rs"]
mod upload;
