//! uTP (BEP 29): byte streams over UDP that yield to other traffic, as the one who connects.
//!
//! Knows nothing of BitTorrent, and of this crate only time, randomness, containers and limits.

pub mod seq;
pub mod packet;

pub use packet::is_utp;
