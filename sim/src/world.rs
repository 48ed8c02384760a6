//! What is true of a simulated network before anything is sent: torrents, nodes, peers, where and
//! when they live, what each stores and does wrong, and the scenario that all of it follows from.
//!
//! Nothing here sends, receives or changes, and nothing here knows what a crawler does.

pub(crate) mod draw;
pub mod vice;
pub mod addresses;
pub mod torrent;
pub mod routing;
pub mod dht;
pub mod scenario;
pub(crate) mod skew;
pub mod universe;
pub mod truth;

pub use dht::{Carriage, Door, NodeKind, PeerState, World};
