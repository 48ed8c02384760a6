//! A sans-IO BitTorrent DHT crawler and metadata fetcher.

#![forbid(unsafe_code)]

pub mod addr;
pub mod bencode;
pub mod config;
pub mod crawler;
pub mod dialer;
pub mod endpoint;
pub mod exchange;
pub mod fault;
pub mod frontier;
pub mod id;
pub mod info;
pub mod intake;
pub mod job;
pub mod krpc;
pub mod ledger;
pub mod limits;
pub mod magnet;
pub mod pacer;
pub mod pieces;
pub mod rng;
pub mod row;
pub mod stats;
pub mod store;
pub mod sweep;
pub mod table;
pub mod time;
pub mod walk;
pub mod walks;
pub mod wire;
