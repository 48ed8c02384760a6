//! A sans-IO BitTorrent DHT crawler and metadata fetcher.

#![forbid(unsafe_code)]

pub mod addr;
pub mod bencode;
pub mod exchange;
pub mod fault;
pub mod id;
pub mod krpc;
pub mod limits;
pub mod magnet;
pub mod pieces;
pub mod rng;
pub mod stats;
pub mod store;
pub mod table;
pub mod time;
pub mod walk;
pub mod wire;
