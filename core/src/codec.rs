//! Bytes to meaning and back: bencode, KRPC, the peer wire, magnet links, info dictionaries.
//!
//! Nothing here keeps state between two calls, and nothing names what is above it.

pub mod bencode;
pub mod krpc;
pub mod wire;
pub mod magnet;
pub mod info;
