//! The DHT side, one address family at a time: transactions, routing table, walks, the sweep.
//!
//! Knows no peer and no connection; `peer` knows nothing of this. What spans both is in `crawl`.

pub mod endpoint;
pub mod table;
pub mod walk;
pub(crate) mod walks;
pub(crate) mod region;
pub(crate) mod known;
pub(crate) mod sweep;
pub(crate) mod query;
pub(crate) mod delayed;
pub(crate) mod bootstrap;
pub(crate) mod warm;
pub(crate) mod network;
