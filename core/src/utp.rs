//! uTP (BEP 29): byte streams over UDP that yield to other traffic, as the one who connects.
//!
//! Knows nothing of BitTorrent, and of this crate only time, randomness, containers and limits.

pub mod seq;
pub mod packet;
pub mod fault;
mod rtt;
mod delay;
mod congestion;
mod send;
mod receive;
mod acks;
pub mod stream;
mod agenda;
mod rate;
pub mod endpoint;

pub use endpoint::{Endpoint, StreamId, Transmit};
pub use fault::Fault;
pub use packet::is_utp;
pub use stream::{Reception, State, Stream};
