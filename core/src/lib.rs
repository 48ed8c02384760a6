//! A sans-IO BitTorrent DHT crawler and metadata fetcher: bytes, addresses and virtual time go in;
//! datagrams, connections to open and verified rows come out.
//!
//! Nothing in this crate knows what a socket, clock, thread, file or random source of the operating
//! system is, so the same code runs on real networks, in a simulator and in a test that jumps
//! through six hours, and an equal seed with equal inputs gives equal outputs, byte for byte.
//!
//! # The two networks
//!
//! [`crawler::Crawler`] is the control plane: UDP, routing tables, sweep, walks, dialling. It hands
//! out a [`crawler::Dial`] for each connection it wants; inside is an [`exchange::Exchange`], the
//! data plane: one owned value per byte stream, which ends with exactly one
//! [`exchange::Outcome`].
//!
//! # The loop
//!
//! ```
//! use estudely_core::addr::Family;
//! use estudely_core::crawler::Crawler;
//! use estudely_core::time::Instant;
//!
//! fn turn(crawler: &mut Crawler, now: Instant, buf: &mut Vec<u8>) -> Option<Instant> {
//!     // 1. One handle_* for whatever happened: a datagram, an outcome, or time.
//!     crawler.handle_timeout(now);
//!     // 2. Drain every poll_*.
//!     for family in Family::ALL {
//!         while let Some(transmit) = crawler.poll_transmit(now, family, buf) {
//!             // send the last `transmit.len` bytes of `buf` to `transmit.to`
//!             buf.clear();
//!         }
//!     }
//!     while let Some(dial) = crawler.poll_dial(now) {
//!         // connect to `dial.to`, feed `dial.exchange`, give back `dial.peer` with its outcome
//!     }
//!     while let Some(row) = crawler.poll_row() {
//!         // write it down
//!     }
//!     // 3. Wait for input, but no longer than this.
//!     crawler.poll_timeout()
//! }
//! ```
//!
//! `examples/drive.rs` is that loop with a node and a peer at the other end.
//!
//! # Reading order
//!
//! The modules below are listed from the ground up. Start with [`crawler`] to see how they are put
//! together, or with [`exchange`] for the conversation with one peer.

#![forbid(unsafe_code)]

pub mod base;
pub mod limits;
pub mod config;
pub mod stats;
pub mod codec;
pub mod dht;
pub mod peer;
pub mod state;
pub mod crawl;

pub use base::{addr, fault, id, planted, rng, store, time};
pub use codec::{bencode, info, krpc, magnet, wire};
pub use crawl::{crawler, job, pace, row};
pub use dht::{endpoint, sweep, table, walk};
pub use peer::{exchange, pieces};

#[cfg(test)]
mod display;
#[cfg(test)]
mod properties;
