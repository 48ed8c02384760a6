//! A sans-IO BitTorrent DHT crawler and metadata fetcher: bytes, addresses and virtual time go in;
//! datagrams, connections to open and verified rows come out.
//!
//! Nothing in this crate knows what a socket, clock, thread, file or random source of the operating
//! system is, so the same code runs on real networks, in a simulator and in a test that jumps
//! through six hours, and an equal seed with equal inputs gives equal outputs, byte for byte.
//!
//! # The two networks
//!
//! [`Crawler`] is the control plane: UDP, routing tables, sweep, walks, dialling. It hands
//! out a [`Dial`] for each connection it wants; inside is an [`Exchange`], the
//! data plane: one owned value per byte stream, which ends with exactly one
//! [`Outcome`].
//!
//! # The loop
//!
//! ```
//! use estudely_core::Family;
//! use estudely_core::Crawler;
//! use estudely_core::Instant;
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
//! The rooms below are listed from the ground up, and each names only what stands above it in this
//! list; `dht`, `peer` and `state` never name each other. Start with `crawl/crawler.rs` to see how
//! they are put together, or with `peer/exchange.rs` for the conversation with one peer.

#![forbid(unsafe_code)]

pub(crate) mod base;
pub mod limits;
pub(crate) mod lead;
pub(crate) mod config;
pub(crate) mod stats;
pub(crate) mod codec;
pub(crate) mod dht;
pub(crate) mod peer;
pub(crate) mod state;
pub(crate) mod crawl;

pub use base::addr::{AddressPolicy, Contact, Family};
pub use base::fault::PeerFault;
pub use base::id::{Id, InfoHash, NodeId};
pub use base::rng::Seed;
pub use base::time::{Duration, Instant};
pub use codec::{bencode, info, krpc, magnet, wire};
pub use config::{Config, Mode};
pub use crawl::crawler::{Bootstrap, Crawler, Full, Transmit};
pub use crawl::dial::{Dial, PeerKey};
pub use crawl::row::{FailureCause, Row, Verdict};
pub use peer::exchange::{Exchange, Fetched, Metadata, Outcome, Step, Transport};
pub use state::{Restored, StateError, WallTime};
pub use stats::Stats;

/// The parts one by one, for fuzzing, simulation and tests. No promise is made about any of it.
#[doc(hidden)]
pub mod internal {
    pub use crate::base::{addr, fault, id, planted, rng, store, time};
    pub use crate::crawl::{crawler, pace, row};
    pub use crate::dht::{endpoint, sweep, table, walk};
    pub use crate::peer::{exchange, pieces};
}

#[cfg(test)]
mod display;
#[cfg(test)]
mod properties;
