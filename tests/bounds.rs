//! What one caller can cost: time, memory, connections; and that no two readers read one request differently.

mod support;

#[path = "bounds/connections.rs"]
mod connections;
#[path = "bounds/floods.rs"]
mod floods;
#[path = "bounds/sizes.rs"]
mod sizes;
#[path = "bounds/smuggling.rs"]
mod smuggling;
#[path = "bounds/time.rs"]
mod time;
