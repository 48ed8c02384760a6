//! What lies between the crawler and the far end: the events at the boundary, links with their
//! faults, and the virtual internet that carries datagrams and streams to the actors.
//!
//! It never looks at the crawler, only at what crosses the boundary.

pub mod event;
pub mod link;
pub mod internet;

pub use internet::{Delivery, Net, Shard};
