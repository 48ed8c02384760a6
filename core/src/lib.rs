//! A sans-IO BitTorrent DHT crawler and metadata fetcher: bytes, addresses and virtual time go in;
//! datagrams, connections to open and verified rows come out.
//!
//! Nothing in this crate knows what a socket, clock, thread, file or random source of the operating
//! system is, so the same code runs on real networks, in a simulator and in a test that jumps
//! through six hours, and an equal seed with equal inputs gives equal outputs, byte for byte.
//!
//! # Two planes
//!
//! [`Crawler`] is the control plane: UDP, routing tables, sweep, walks, dialling. It hands
//! out a [`Dial`] for each connection it wants; inside is an [`Exchange`], the
//! data plane: one owned value per byte stream, which ends with exactly one
//! [`Outcome`].
//!
//! # The loop
//!
//! ```
//! use estudely_core::krpc::{self, Envelope, Kind, Message, Method, ReplyBody};
//! use estudely_core::{
//!     Bootstrap, Config, Crawler, Duration, Family, InfoHash, Instant, Mode, NodeId, Seed,
//! };
//!
//! // A network of one node, which knows one torrent and of nobody that has it.
//! let node = "20.0.0.1:6881".parse()?;
//! let answer = |datagram: &[u8]| -> Vec<u8> {
//!     let query = Message::parse(datagram).expect("the crawler writes valid messages");
//!     let Kind::Query(asked) = query.kind else { return Vec::new() };
//!     let sampled = matches!(asked.method, Method::SampleInfohashes { .. });
//!     let samples = [InfoHash([7; 20])];
//!     let reply = ReplyBody {
//!         samples: sampled.then_some(&samples),
//!         interval: sampled.then_some(300),
//!         ..ReplyBody::new(NodeId([1; 20]))
//!     };
//!     let transaction = query.transaction;
//!     let envelope = Envelope { transaction, version: None, read_only: false, external: None };
//!     let mut out = Vec::new();
//!     krpc::emit_reply(&mut out, &envelope, &reply);
//!     out
//! };
//!
//! let config = Config::new(Mode::Crawl)
//!     .with_own("20.0.0.9:6881".parse()?)?
//!     .with_max_infohashes(Some(1));
//! let mut now = Instant::START;
//! let mut crawler = Crawler::new(config, Seed::from_u64(1), now);
//! crawler.handle_bootstrap(now, &[node], Bootstrap::Node);
//! let (mut buf, mut rows) = (Vec::new(), Vec::new());
//! while !crawler.is_finished() {
//!     // 1. Drain every `poll_*`.
//!     for family in Family::ALL {
//!         while let Some(transmit) = crawler.poll_transmit(now, family, &mut buf) {
//!             // Here a socket would send `buf` to `transmit.to`, and its answer would come later.
//!             crawler.handle_datagram(now, transmit.to, &answer(&buf));
//!             buf.clear();
//!         }
//!     }
//!     while let Some(mut dial) = crawler.poll_dial(now) {
//!         // Here `dial.to` would be connected to and talk to `dial.exchange`.
//!         crawler.handle_outcome(now, dial.peer, dial.exchange.handle_closed(now));
//!     }
//!     while let Some(row) = crawler.poll_row() {
//!         rows.push(row);
//!     }
//!     // Every output holds them: a saved state need not know them any more.
//!     crawler.acknowledge_rows(rows.len() as u64);
//!     // 2. Wait for input, but no longer than this. Nothing comes by itself here: jump ahead.
//!     now = crawler.poll_timeout().unwrap_or(now + Duration::from_secs(1)).max(now);
//!     // 3. One `handle_*` for whatever happened: a datagram, an outcome, or time.
//!     crawler.handle_timeout(now);
//! }
//! assert_eq!(rows.len(), 1, "the torrent is settled: no peer of it was found");
//! assert_eq!(crawler.stats().infohashes_sampled, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `examples/drive.rs` is that loop with a peer that has the metadata.
//!
//! # What may grow
//!
//! Counters, settings, modes, transports, faults and fields of results are `#[non_exhaustive]`:
//! more may come without breaking an adapter, which names what it knows. [`Verdict`], [`Step`],
//! [`Bootstrap`], [`Family`] and [`AddressPolicy`] are closed, because an adapter that listed them
//! all must hear from the compiler when there is one more.
//!
//! # Reading order
//!
//! The rooms below are listed from the ground up, and each names only what stands above it in this
//! list; `dht`, `peer` and `state` never name each other (`core/tests/layers` holds that). Start
//! with `crawl/crawler.rs` to see how they are put together, or with `peer/exchange.rs` for the
//! conversation with one peer.

#![forbid(unsafe_code)]

pub(crate) mod base;
pub mod limits;
pub(crate) mod lead;
pub(crate) mod config;
pub(crate) mod stats;
pub(crate) mod codec;
pub mod utp;
pub(crate) mod dht;
pub(crate) mod peer;
pub mod state;
pub(crate) mod crawl;

pub use base::addr::{AddressPolicy, Contact, Family};
pub use base::fault::PeerFault;
pub use base::flags::{Flag, FlagSet};
pub use base::id::{Id, InfoHash, NodeId};
pub use base::rng::Seed;
pub use base::time::{Duration, Instant};
pub use codec::{bencode, info, krpc, magnet, wire};
pub use config::{Config, ConfigError, EncryptionPolicy, Mode, TransportPolicy};
pub use crawl::crawler::{Bootstrap, Crawler, Full, Transmit};
pub use crawl::deadline::{Deadline, Why};
pub use crawl::dial::{Dial, PeerKey};
pub use crawl::row::{FailureCause, Row, Verdict};
pub use crawl::session;
pub use crawl::streams::StreamState;
pub use lead::Request;
pub use peer::exchange::{Exchange, Fetched, Metadata, Outcome, Step, Transport};
pub use peer::mse::Encryption;
pub use stats::Stats;

/// What an adapter may borrow: randomness that follows from the seed of the run, and compact sets
/// of what strangers name, which they cannot flood because they do not know the seed.
pub mod keyed {
    pub use crate::base::rng::Rng;
    pub use crate::base::store::{FingerprintSet, Seen};
}

/// The one door for simulation, fuzzing and tests: parts one by one. No promise is made about any
/// of it, and no adapter uses it (`core/tests/layers` holds that).
#[doc(hidden)]
pub mod internal {
    pub use crate::base::{addr, fault, id, planted, rng, store, time};
    pub use crate::crawl::{attempts, crawler, row};
    pub use crate::dht::{endpoint, table, walk};
    pub use crate::peer::{clients, exchange, mse, pieces};
}

/// Its examples are compiled and run with the others.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(test)]
mod display;
#[cfg(test)]
mod properties;
