//! The peer side: one conversation over one byte stream, in the clear or encrypted, and the
//! pieces it brings.
//!
//! Knows no node and no table; `dht` knows nothing of this. What spans both is in `crawl`.

pub mod pieces;
pub mod clients;
pub mod mse;
pub mod exchange;
